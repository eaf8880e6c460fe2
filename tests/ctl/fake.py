# SPDX-License-Identifier: GPL-2.0-or-later
"""A control socket, and the agent's, that answers what a test put into it. HTTP over a unix socket, in a thread; it
knows the API's shapes and none of its meaning. conftest.py makes one for each test."""

import http.server
import json
import os
import socket
import socketserver
import sys
import threading
import urllib.parse

SERVICES = [
    {
        "apiVersion": "sinew/v1",
        "kind": "Service",
        "metadata": {
            "namespace": "shop", "name": "payments", "labels": {"team": "billing"},
            "source": "kubernetes", "resourceVersion": "00000000000000a1",
        },
        "spec": {
            "addresses": ["10.96.0.10", "fd00:96::10"],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
            "endpoints": [
                {"address": "10.0.1.5", "port": 8080, "weight": 100, "zone": "a"},
                {"address": "10.0.1.6", "port": 8080, "weight": 0},
                {"address": "fd00::9", "port": 8080, "weight": 100},
            ],
            "policy": "gentle",
        },
        "status": {
            "addresses": ["10.96.0.10", "fd00:96::10"], "allocated": False, "usable": 2,
            "traffic": {
                "attempts": 188310, "active": 41,
                "outcomes": {"connected": 188301, "refused": 9, "timeout": 0, "unreachable": 0,
                             "reset": 0, "aborted": 0, "not_sent": 0, "error": 0},
                "refused": {"no_backend": 0, "bypass_mark": 3},
                "p50Seconds": 0.0000221, "p99Seconds": 0.00018,
            },
            "endpoints": [
                {"address": "10.0.1.5", "weight": 100, "zone": "a",
                 "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "state": "active",
                 "attempts": 188000, "active": 41, "outcomes": {"connected": 188000},
                 "failed": {"refused": 0, "timeout": 0, "unreachable": 0, "reset": 0},
                 "p50Seconds": 0.000021, "p99Seconds": 0.00009},
                {"address": "10.0.1.6", "weight": 0,
                 "ports": [{"port": 8080, "protocol": "TCP"}], "state": "draining",
                 "attempts": 310, "active": 0, "outcomes": {"connected": 301, "refused": 9},
                 "failed": {"refused": 9, "timeout": 0, "unreachable": 0, "reset": 0}},
                {"address": "fd00::9", "weight": 100,
                 "ports": [{"port": 8080, "protocol": "TCP"}], "state": "active",
                 "attempts": 0, "active": 0, "outcomes": {},
                 "failed": {"refused": 0, "timeout": 0, "unreachable": 0, "reset": 0}},
            ],
        },
    },
    {
        "apiVersion": "sinew/v1",
        "kind": "Service",
        "metadata": {"namespace": "shop", "name": "mail", "source": "consul/dc1",
                     "resourceVersion": "00000000000000a2"},
        "spec": {"ports": [{"port": 25, "protocol": "TCP"}],
                 "endpoints": [{"address": "10.0.3.1", "port": 25, "weight": 0}]},
        "status": {"addresses": ["127.128.44.9"], "allocated": True, "usable": 0,
                   "traffic": {"attempts": 0, "active": 0, "outcomes": {},
                               "refused": {"no_backend": 7}},
                   "endpoints": []},
    },
]

BACKENDS = [
    {"namespace": "shop", "service": "payments", "source": "kubernetes", "address": "10.0.1.5",
     "weight": 100, "zone": "a", "portName": "http", "port": 8080, "protocol": "TCP",
     "state": "active", "index": 17, "incarnation": 2, "consecutiveFailures": 0,
     "attempts": 188000, "active": 41, "outcomes": {"connected": 188000},
     "failed": {"refused": 0, "timeout": 0, "unreachable": 0, "reset": 0},
     "p50Seconds": 0.000021, "p99Seconds": 0.00009},
    {"namespace": "shop", "service": "payments", "source": "kubernetes", "address": "fd00::9",
     "weight": 100, "port": 8080, "protocol": "TCP", "state": "pending", "index": 0,
     "incarnation": 0, "consecutiveFailures": 0, "attempts": 0, "active": 0, "outcomes": {},
     "failed": {"refused": 0, "timeout": 0, "unreachable": 0, "reset": 0}},
]

STATUS = {
    "apiVersion": "sinew/v1", "kind": "Status", "version": "0.1.0", "abi": 1, "pid": 4711,
    "startedAt": "2026-01-02T03:04:05.000Z", "attachedAt": "2026-01-01T03:04:05.000Z",
    "kernel": "6.12.38", "cgroup": "/sys/fs/cgroup", "cgroupOk": True, "cgroupRepairs": 0,
    "bpffs": "/sys/fs/bpf/sinew", "programs": {"attached": 9, "wanted": 9},
    "heartbeatAgeSeconds": 0.3, "stateWriteFailures": 0, "loopMaxSeconds": 0.001,
    "services": {"total": 212, "degraded": 3, "withoutBackend": 1},
    "endpoints": {"total": 1904, "usable": 1896, "draining": 2}, "policies": 4,
    "traffic": {"attempts": 1000, "active": 7, "failedOver": 0, "outcomes": {"connected": 990, "refused": 10},
                "refused": {"no_backend": 0, "untracked": 0}},
    "node": {"event_lost": 0}, "maps": [{"name": "sn_frontends", "used": 491, "max": 16384},
                                        {"name": "sn_services", "used": 12, "max": 16384}],
    "programRuns": [],
    "sources": [{"name": "manifest", "generation": 3, "services": 2, "policies": 1,
                 "changedAt": "2026-01-02T03:04:05.000Z"}],
    "control": {"clients": 1},
}


POLICIES = [
    {"apiVersion": "sinew/v1", "kind": "TrafficPolicy",
     "metadata": {"namespace": "shop", "name": "gentle", "source": "manifest", "resourceVersion": "00000000000000b1"},
     "spec": {"loadBalancer": {"algorithm": "random"}, "outlierDetection": {"window": "20s"},
              "connectionLimits": {"service": 1000}, "fallback": ["mail", "ops/spare"]},
     "status": {
         "effective": {
             "loadBalancer": {"algorithm": "random", "affinity": {"by": "off", "timeout": "3h"},
                              "locality": {"prefer": "none", "spill": True}, "slowStart": "0s"},
             "outlierDetection": {"consecutiveFailures": 5, "window": "20s", "minVolume": 20, "failureRatio": "50%",
                                  "slowConnect": {"threshold": "0s", "ratio": "50%"}, "baseEjectionTime": "30s",
                                  "maxEjectionTime": "5m", "maxEjectionPercent": 10, "enforcing": "100%",
                                  "shadow": False},
             "panic": {"threshold": "50%", "mode": "all"}, "halfOpen": {"probes": 1},
             "connectionLimits": {"service": 1000, "backend": 0, "pending": 0},
             "retryBudget": {"ratio": "20%", "minPerSecond": 10, "ttl": "10s", "mode": "observe"},
             "connect": {"timeout": "0s", "attemptTimeout": "0s"},
             "failover": {"attempts": 2, "on": ["refused", "unreachable"]},
             "fallback": ["mail", "ops/spare"], "negativeAffinity": "10s", "onRemove": "drain"},
         "fallback": [{"namespace": "shop", "name": "mail", "exists": True},
                      {"namespace": "ops", "name": "spare", "exists": False}],
         "services": 1}},
]


REGISTRIES = [
    {"name": "dc1", "type": "consul", "state": "ok", "services": 12, "policies": 1, "endpoints": 40, "suspect": 0,
     "refused": 0, "skipped": 0, "lastContact": "2026-01-02T03:04:05.000Z", "lastChange": "2026-01-01T03:04:05.000Z",
     "latencySeconds": 0.0021, "errors": {"unreachable": 2, "forbidden": 0}},
    {"name": "production", "type": "kubernetes", "state": "stale", "services": 1, "policies": 0, "endpoints": 2, "suspect": 3,
     "refused": 4, "skipped": 1, "lastSkipped": "service shop/Odd: no RFC 1123 label",
     "lastContact": "2026-01-02T03:04:05.000Z", "lastChange": "2026-01-01T03:04:05.000Z", "latencySeconds": 0.012,
     "lastError": {"reason": "forbidden", "text": "403 on list endpointslices (discovery.k8s.io) as "
                   "system:serviceaccount:sinew:agent", "hint": "kubectl create clusterrole sinew-agent --verb=get,list,watch "
                   "--resource=services,endpointslices"},
     "errors": {"unreachable": 0, "forbidden": 7}},
    {"name": "old", "type": "eureka", "state": "connecting", "services": 0, "policies": 0, "endpoints": 0, "suspect": 0,
     "refused": 0, "skipped": 0, "latencySeconds": 0.0, "errors": {"unreachable": 0, "forbidden": 0}},
]


def registries(items, **daemon):
    return {**list_of("RegistryList", items), "daemon": {"refused": [], "synced": True, **daemon}}


def list_of(kind, items):
    return {"apiVersion": "sinew/v1", "kind": kind, "items": items}


def problem(status, detail, errors=None):
    body = {"type": "about:blank", "title": "refused", "status": status, "detail": detail}
    if errors is not None:
        body["errors"] = errors
    return status, body


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def address_string(self):
        return "unix"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        path = urllib.parse.unquote(url.path)
        self.server.seen.append((self.command, path, query, json.loads(body) if body else None))
        route = self.server.routes.get((self.command, path))
        if callable(route):
            route = route(query, json.loads(body) if body else None)
        if route is None:
            route = problem(404, "there is nothing at " + path)
        if isinstance(route, Raw):
            route.send(self)
            return
        status, value = route
        text = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type",
                         "application/json" if status < 300 else "application/problem+json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST = answer


class Raw:
    """Bytes written as they are, in pieces; then the connection is closed, or kept silent."""

    def __init__(self, pieces, hang=None):
        self.pieces = pieces
        self.hang = hang

    def send(self, handler):
        for piece in self.pieces:
            handler.wfile.write(piece)
            handler.wfile.flush()
        if self.hang:
            self.hang.wait(30)
        handler.close_connection = True

REGISTRATIONS = [
    {"apiVersion": "sinew/v1", "kind": "Registration",
     "metadata": {"name": "payments", "namespace": "shop", "labels": {"team": "billing"}, "source": "manifest",
                  "resourceVersion": "00000000000000aa"},
     "spec": {"service": "payments", "registry": "dc1", "workload": {"unit": "payments.service"}, "port": 8080,
              "protocol": "tcp", "ttl": "15s", "tags": ["v2", "blue"], "meta": {"team": "billing", "zone": "a"}}},
    {"apiVersion": "sinew/v1", "kind": "Registration",
     "metadata": {"name": "web", "namespace": "shop", "source": "manifest", "resourceVersion": "00000000000000ab"},
     "spec": {"service": "WEB", "registry": "eureka", "workload": {"container": {"app": "web", "tier": "front"}}, "port": 80,
              "protocol": "tcp", "address": "10.0.0.5", "ttl": "30s"}},
    {"apiVersion": "sinew/v1", "kind": "Registration",
     "metadata": {"name": "db", "namespace": "shop", "source": "manifest", "resourceVersion": "00000000000000ac"},
     "spec": {"service": "db", "registry": "dc1", "workload": {"pod": {"namespace": "data", "name": "db-*", "labels": {
         "app": "db", "tier": "back"}, "container": "main"}}, "port": 5432, "protocol": "tcp", "ttl": "30s"}},
]

LISTENERS = [
    {"cookie": 4711, "netns": 1, "address": "127.0.0.1", "port": 8080, "protocol": "tcp", "cgroupId": 8123,
     "cgroup": "/system.slice/payments.service", "unit": "payments.service", "since": "2026-01-31T12:00:00.000Z", "seen": "listen"},
    {"cookie": 4712, "netns": 4026, "address": "::", "port": 80, "protocol": "tcp", "cgroupId": 9001,
     "cgroup": "/kubepods/burstable/pod0e6ec1f2-6e4e-4c0e-8a6e-0123456789ab/" + "4bf0c1ab" * 8, "container": "4bf0c1ab" * 8,
     "pod": "0e6ec1f2-6e4e-4c0e-8a6e-0123456789ab", "since": "2026-01-31T12:00:00.000Z", "seen": "sweep"},
]


def stream(lines, hang=None):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
    return Raw([head] + lines, hang)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, path):
        super().__init__(path, Handler)
        self.routes = {}
        self.seen = []
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def handle_error(self, request, client_address):
        """A client that went away is what some tests are about."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def get_request(self):
        request, _ = self.socket.accept()
        return request, ("unix", 0)

    def on(self, method, path, route):
        self.routes[(method, path)] = route

    def on_defaults(self):
        self.on("GET", "/v1/services", (200, list_of("ServiceList", SERVICES)))
        for s in SERVICES:
            name = "/v1/services/%s/%s" % (s["metadata"]["namespace"], s["metadata"]["name"])
            self.on("GET", name, (200, s))
        self.on("GET", "/v1/backends", (200, list_of("BackendList", BACKENDS)))
        self.on("GET", "/v1/status", (200, STATUS))
        self.on("GET", "/v1/policies", (200, list_of("TrafficPolicyList", POLICIES)))
        self.on("GET", "/v1/policies/shop/gentle", (200, POLICIES[0]))
        self.on("GET", "/v1/registrations", (200, list_of("RegistrationList", REGISTRATIONS)))
        for r in REGISTRATIONS:
            self.on("GET", "/v1/registrations/%s/%s" % (r["metadata"]["namespace"], r["metadata"]["name"]), (200, r))
        self.on("GET", "/v1/sources", (200, list_of("SourceList", STATUS["sources"])))
        self.on("GET", "/v1/registries", (200, registries(REGISTRIES)))
        self.on("GET", "/v1/workloads", (200, list_of("WorkloadList", [
            {"cgroup": "/sys/fs/cgroup/a.slice", "id": 8123, "bypass": True}])))
        self.on("GET", "/v1/flows", (200, list_of("FlowList", [
            {"namespace": "shop", "service": "payments", "protocol": "TCP", "cookie": 77,
             "destination": "10.96.0.10:80", "backend": "10.0.1.5:8080", "state": "established",
             "ageSeconds": 3.2, "workload": 8123},
            {"namespace": "shop", "service": "payments", "protocol": "TCP", "cookie": 78,
             "destination": "10.96.0.10:80", "backend": "10.0.1.5:8080", "wire": "10.0.1.6:8080", "state": "established",
             "ageSeconds": 1.0, "workload": 8123}])))
        self.on("GET", "/v1/listeners", (200, list_of("ListenerList", LISTENERS)))
        self.on("GET", "/v1/config", (200, list_of("SettingList", [
            {"key": "socket", "value": "/run/sinew/control.sock", "origin": "default"},
            {"key": "pool4", "value": "127.128.0.0/9", "origin": "/etc/sinew/sinewd.yaml"}])))
        self.on("GET", "/v1/doctor", (200, list_of("CheckList", [
            {"name": "kernel", "level": "ok", "text": "6.12.38: everything is there"},
            {"name": "order", "level": "warn", "text": "cilium also translates at connect4",
             "hint": "see sinewd(8)"}])))

    def close(self):
        self.shutdown()
        self.server_close()
        os.unlink(self.server_address)


def unbound_socket(path):
    """A socket file that nobody listens on."""
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.close()
