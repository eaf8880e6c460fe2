# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests as a fuzzer makes them: good ones, spoiled in one to four places. The same seed makes the same requests.

Before it: serving.py's request(). After it: test_fuzz.py sends them. It must know nothing of what is right.
"""
import copy
import json

from serving import as_list, policy, request, service

METHODS = ["GET", "PUT", "PATCH", "DELETE", "POST", "HEAD", "OPTIONS", "BREW"]
LISTS = ["/v1/services", "/v1/policies", "/v1/backends", "/v1/flows", "/v1/sources", "/v1/explain"]
SINGLE = ["/healthz", "/metrics", "/v1/config", "/v1/doctor", "/v1/events", "/v1/openapi.json", "/v1/status",
          "/v1/uninstall", "/v1/workloads", "/v1/nothing", "/"]
NAMES = ["a", "b", "payments", "x" * 63, "x" * 64, "Upper", "-", "%2F", "%00", "%zz", "..", "%C3%A9", "%ff", "a b", "", "%25",
         "service-00003", "shop", "shop-3"]
SOURCES = ["x", "manifest", "consul%2Fdc1", "synthetic", "%2F", "Bad", "a/b", "x" * 127, "x" * 128, "y"]
QUERY_NAMES = ["namespace", "label", "source", "limit", "continue", "dryRun", "verbose", "ignoreNotFound", "service", "destination",
               "protocol", "cgroup", "mark", "nmespace", "", "limit", "%00"]
QUERY_VALUES = ["a", "shop", "shop-3", "true", "false", "1", "0", "-1", "10000", "10001", "99999999999999999999", "x",
                "a/b", "team=t1", "127.128.0.1:80", "[::1]:80", "shop-3/service-00003:80", "1.2.3.4:99999", "udp", "tcp",
                "%zz", "%00", "%C3%28", "+", "", "a" * 300, "%2F", "0x10"]
HEADERS = {
    "accept": ["application/json", "*/*", "text/html", "application/json;q=0", ";;,,", "", "a" * 2000,
               "application/openmetrics-text", "text/plain;q=0.5,*/*;q=0.1"],
    "content_type": ["application/json", "text/plain", "", "application/json; charset=x", "a" * 500],
    "if_match": ["*", '"0"', '"1"', '"', "W/\"1\"", '"a", "b"', "", '"' + "x" * 900 + '"'],
    "if_none_match": ["*", '"0"', '"', ""],
    "connection": ["close", "keep-alive", "Upgrade"],
    "expect": ["100-continue", "200-maybe"],
    "cookie": ["a=b; c", "=;=", "a" * 500],
}
JUNK = [None, True, False, 0, -1, 1, 65535, 65536, 1 << 63, (1 << 64) - 1, 1 << 64, 1.5, 1e308, -0.0, "", "a", "x" * 63,
        "x" * 64, "x" * 5000, "\u0000", "\u00e9", "\U0001f600", "10.0.0.1", "::1", "fe80::1%1", "0.0.0.0", "127.0.0.1",
        "224.0.0.1", "10.96.0.1", [], {}, [[]], [None], {"a": 1}, {"": ""}, [0] * 100, "sinew/v1", "Service",
        "TrafficPolicy", "List", "default", "random", "TCP", "UDP", "tcp", "../../etc", "%s%n", "a\nb", "\\", '"']


class Maker:
    """make() -> (method, path, bytes, is it HTTP). What is not HTTP may be cut instead of answered."""

    def __init__(self, random):
        self.random = random

    def one_of(self, values):
        return values[self.random.randrange(len(values))]

    def maybe(self, chance):
        return self.random.random() < chance

    def path(self):
        kind = self.random.randrange(6)
        if kind == 0:
            path = self.one_of(LISTS + SINGLE)
        elif kind <= 2:
            path = f"/v1/services/{self.one_of(NAMES[:3] + NAMES)}/{self.one_of(NAMES[:3] + NAMES)}"
        elif kind == 3:
            path = f"/v1/policies/{self.one_of(NAMES[:3] + NAMES)}/{self.one_of(NAMES[:3] + NAMES)}"
        else:
            path = "/v1/sources/" + self.one_of(SOURCES[:3] * 2 + SOURCES)
        path = path.replace(" ", "%20")
        if self.maybe(0.03):
            path += self.one_of(["/", "//", "/x", ";a", "#a", "%"])
        pairs = [f"{self.one_of(QUERY_NAMES)}={self.one_of(QUERY_VALUES)}"
                 for _ in range(self.random.randrange(1, 4))] if self.maybe(0.25) else []
        if self.maybe(0.2):
            pairs.append(self.one_of(["dryRun=true", "verbose=true", "source=x", "source=consul/dc1"]))
        return path + ("?" + "&".join(pairs) if pairs else "")

    def service(self):
        ends = [(f"10.0.{self.random.randrange(4)}.{i + 1}", 8080 + self.random.randrange(3), self.random.randrange(300))
                for i in range(self.random.randrange(5))]
        made = service(self.one_of(NAMES[:3]), ends, namespace=self.one_of(["a", "b", "shop"]))
        if self.maybe(0.3):
            made["spec"]["address"] = f"127.128.{self.random.randrange(2)}.{self.random.randrange(1, 9)}"
        if self.maybe(0.3):
            made["metadata"]["labels"] = {"team": "t1"}
        return made

    def object(self):
        return self.service() if self.maybe(0.75) else policy(self.one_of(NAMES[:3]), self.one_of(["a", "b"]))

    def value(self, path):
        """A good body for the path; what a path names, its body names, mostly."""
        parts = path.split("?")[0].split("/")
        if "sources" not in parts:
            made = self.object()
            if len(parts) == 5 and self.maybe(0.8):
                made = policy("a") if parts[2] == "policies" else self.service()
                made["metadata"].update({"namespace": parts[3], "name": parts[4]})
            return made
        if self.maybe(0.5):
            return as_list(*[self.object() for _ in range(self.random.randrange(5))])
        made = {"upsert": [self.object() for _ in range(self.random.randrange(3))]}
        if self.maybe(0.5):
            made["delete"] = [{"kind": self.one_of(["Service", "TrafficPolicy"]), "namespace": self.one_of(["a", "b"]),
                               "name": self.one_of(NAMES[:3])}]
        return made

    def spoil_value(self, value):
        """Something else somewhere in the tree."""
        if isinstance(value, (dict, list)) and value and self.maybe(0.8):
            key = self.one_of(list(value)) if isinstance(value, dict) else self.random.randrange(len(value))
            act = self.random.randrange(6)
            if act == 0:
                del value[key]
            elif act == 1 and isinstance(value, dict):
                value[self.one_of([key + "s", key[:-1], key.upper(), "x", "", "a/b~c"])] = value.pop(key)
            elif act == 1:
                value *= self.random.randrange(1, 9)
            elif act == 2:
                value[key] = copy.deepcopy(self.one_of(JUNK))
            else:
                value[key] = self.spoil_value(value[key])
            return value
        return copy.deepcopy(self.one_of(JUNK))

    def spoil_bytes(self, data):
        data = bytearray(data)
        for _ in range(self.random.randrange(1, 4)):
            at = self.random.randrange(len(data) + 1)
            act = self.random.randrange(5)
            if act == 0 and at < len(data):
                data[at] ^= 1 << self.random.randrange(8)
            elif act == 1:
                del data[at:at + self.random.randrange(1, 30)]
            elif act == 2:
                data[at:at] = self.one_of([b"\x00", b"\xff\xfe", b'"', b"{", b"[" * 40, b"}", b",", b"\\u0000", b"\r\n",
                                           b"1e999", b"-", b" " * 100, b"\xc3"])
            elif act == 3:
                data[at:at] = data[at:at + self.random.randrange(60)]
            else:
                del data[at:]
        return bytes(data)

    def body(self, path):
        value = self.value(path)
        for _ in range(self.random.randrange(3)):
            value = self.spoil_value(value)
        data = json.dumps(value, ensure_ascii=self.maybe(0.5)).encode("utf-8", "surrogatepass")
        if self.maybe(0.03) and data.startswith(b"{") and len(data) > 2:
            data = data[:-1] + b"," + data[1:]  # every key twice
        return self.spoil_bytes(data) if self.maybe(0.3) else data

    def make(self):
        path = self.path()
        method = self.one_of(METHODS) if self.maybe(0.3) else self.one_of(["GET", "PUT", "PUT", "PUT", "PATCH", "DELETE"])
        headers = {name: self.one_of(values) for name, values in HEADERS.items() if self.maybe(0.06)}
        if self.maybe(0.01):
            return method, path, request(method, path, content_type="application/json",
                                         content_length=(32 << 20) + self.random.randrange(1, 1 << 40)), True
        body = self.body(path) if method in ("PUT", "PATCH", "POST") or self.maybe(0.05) else None
        data = request(method, path, body, **headers)
        if self.maybe(0.8):
            return method, path, data, True
        return method, path, self.spoil_bytes(data), False
