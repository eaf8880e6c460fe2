# SPDX-License-Identifier: GPL-2.0-or-later
"""A Kubernetes API server that can misbehave: lists, watches and discovery as the real one has them, and a script of what
it does instead.

Before it: nothing; it listens on 127.0.0.1 alone. After it: tests of the Kubernetes source that a real server never gives
(peer_kubernetes.py is that one). `instead(kind, verb, action)` is done once each, in order, in place of an answer.
"""
import contextlib
import gzip
import json
import re
import socket
import threading
import time
import urllib.parse

KINDS = {"services": "Service", "endpointslices": "EndpointSlice", "nodes": "Node", "configmaps": "ConfigMap",
         "pods": "Pod"}
GONE = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version: 1 (2)"}


class Request:
    def __init__(self, method, target, headers):
        self.method, self.headers, self.at = method, headers, time.monotonic()
        split = urllib.parse.urlsplit(target)
        self.path = split.path
        self.query = {key: values[0] for key, values in urllib.parse.parse_qs(split.query, True).items()}
        parts = split.path.split("/")
        word = next((part for part in reversed(parts) if part in KINDS), None)
        self.kind = word or "discovery"
        self.name = parts[-1] if word and parts[-1] != word else None
        self.verb = "watch" if "watch" in self.query else "list" if word and not self.name else "get"
        if self.verb == "list" and word in ("services", "endpointslices") and \
                "=" in self.query.get("labelSelector", "") + self.query.get("fieldSelector", ""):
            self.verb = "look"  # at one service, beside the watches
        self.initial = self.query.get("sendInitialEvents") == "true"


class Connection:
    """One client's; what actions write to."""

    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")

    def read(self):
        line = self.file.readline(65536)
        if not line:
            return None
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers = {}
        while (line := self.file.readline(65536)) not in (b"\r\n", b""):
            name, value = line.decode("latin-1").split(":", 1)
            headers[name.lower()] = value.strip()
        return Request(method, target, headers)

    def send(self, data):
        self.sock.sendall(data)

    def head(self, status=200, length=None, **headers):
        """`length`: bytes that are said to follow; None: chunks."""
        lines = [f"HTTP/1.1 {status} Said", "Content-Type: application/json"]
        lines += ["Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join(lines + ["", ""]).encode())

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def answer(self, body, status=200, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.head(status, len(data), **headers)
        self.send(data)

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class FakeKubernetes:
    """`streaming`: lists by sendInitialEvents; `page`: at most so many objects a page, whatever is asked for; `tls`: a
    server's ssl.SSLContext, for connections from then on."""

    def __init__(self, minor="34", streaming=True, page=None, tls=None):
        self.tls = tls
        self.minor, self.streaming, self.page = minor, streaming, page
        self.versions = ["discovery.k8s.io/v1"]
        self.objects = {kind: {} for kind in KINDS}
        self.events = {kind: [] for kind in KINDS}  # (version, type, object)
        self.version, self.oldest = 100, 0
        self.pages = {}  # continue token: (kind, version, objects)
        self.script, self.requests, self.open = {}, [], {kind: [] for kind in KINDS}
        self.changed = threading.Condition()
        self.stopping, self.connections = False, set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        with self.changed:
            self.changed.notify_all()

    def cut(self):
        """Every connection ends at once, as when a server is killed."""
        for connection in list(self.connections):
            connection.close()

    # --- what tests do to it ---

    def instead(self, kind, verb, *actions):
        """Actions for the next requests of that kind ("discovery": any other) and verb ("list", "watch", "get")."""
        self.script.setdefault((kind, verb), []).extend(actions)

    def put(self, kind, body):
        meta = body["metadata"]
        with self.changed:
            self.version += 1
            key = (meta.get("namespace", ""), meta["name"])
            old = self.objects[kind].get(key, {"metadata": {"uid": f"uid-{self.version}"}})
            body = {"kind": KINDS[kind], "apiVersion": "v1", **body, "metadata": {
                **meta, "uid": old["metadata"]["uid"], "resourceVersion": str(self.version)}}
            self.events[kind].append((self.version, "MODIFIED" if key in self.objects[kind] else "ADDED", body))
            self.objects[kind][key] = body
            self.changed.notify_all()

    def delete(self, kind, name, namespace="shop", tell=True):
        """`tell` False: the event never reaches a watch; only a list shows it."""
        with self.changed:
            self.version += 1
            body = self.objects[kind].pop((namespace if kind != "nodes" else "", name))
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
            if tell:
                self.events[kind].append((self.version, "DELETED", body))
            self.changed.notify_all()

    def put_service(self, name, address="10.96.0.10", ports=None, namespace="shop", labels=None, **spec):
        """`address` None: headless."""
        ports = [{"name": "http", "port": 80, "protocol": "TCP"}] if ports is None else ports
        self.put("services", {"metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
                              "spec": {"clusterIP": address or "None", "clusterIPs": [address or "None"],
                                       "ports": ports, **spec}})

    def put_slice(self, name, service, ends, namespace="shop", ports=None, **more):
        """`ends`: addresses, or as the API has them."""
        ends = [{"addresses": [one], "conditions": {"ready": True}} if isinstance(one, str) else one for one in ends]
        ports = [{"name": "http", "port": 8080, "protocol": "TCP"}] if ports is None else ports
        self.put("endpointslices", {
            "addressType": "IPv4", "endpoints": ends, "ports": ports, **more,
            "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": service}}})

    def put_pod(self, name, namespace="shop", node="n1", status=None, annotations=None, **labels):
        """Its uid is uid-VERSION of when it was made."""
        self.put("pods", {"metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations or {}},
                          "spec": {"nodeName": node}, "status": status or {}})
        return self.objects["pods"][(namespace, name)]["metadata"]["uid"]

    def put_node(self, name, zone=None):
        self.put("nodes", {"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone} if zone else {}}})

    def compact(self):
        """Versions before the present one are gone."""
        with self.changed:
            self.oldest = self.version
            for events in self.events.values():
                events.clear()

    def forget(self, version=1):
        """As a server that lost all it had, its versions, too."""
        with self.changed:
            self.version, self.oldest = version, 0
            for kind in KINDS:
                self.objects[kind].clear()
                self.events[kind].clear()

    def say(self, kind, line):
        """A line of one's own into each open watch of that kind."""
        data = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
        for connection in list(self.open[kind]):
            with contextlib.suppress(OSError):
                connection.chunk(data)

    def end_watches(self, kind):
        """As when their time is over: the answer is whole."""
        for connection in list(self.open[kind]):
            connection.ended = True
        with self.changed:
            self.changed.notify_all()

    def asked(self, kind, verb):
        return [one for one in self.requests if (one.kind, one.verb) == (kind, verb)]

    def wait_asked(self, kind, verb, count=1, seconds=10):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked(kind, verb)) >= count, seconds), \
                [(one.kind, one.verb, one.query) for one in self.requests]

    def wait_watched(self, *kinds, seconds=10):
        """Until each is watched, with all that was listed before it delivered."""
        end = time.monotonic() + seconds
        while not all(self.open[kind] for kind in kinds or ("services", "endpointslices", "nodes")):
            assert time.monotonic() < end, [(one.kind, one.verb, one.query) for one in self.requests]
            time.sleep(0.005)

    # --- serving ---

    def accept(self):
        while not self.stopping:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            connection = Connection(self.tls.wrap_socket(sock, server_side=True) if self.tls else sock)
        except OSError:  # a client that does not like our certificate; the socket is closed
            return
        self.connections.add(connection)
        with contextlib.suppress(OSError, ValueError):
            while (request := connection.read()):
                with self.changed:
                    self.requests.append(request)
                    actions = self.script.get((request.kind, request.verb))
                    action = actions.pop(0) if actions else None
                    self.changed.notify_all()
                (action or self.answer)(request, connection)
        self.connections.discard(connection)
        connection.close()

    def answer(self, request, connection):
        if request.kind == "discovery":
            self.discover(request, connection)
        elif request.verb == "get":
            with self.changed:
                found = [one for (_, name), one in self.objects[request.kind].items()
                         if name == request.name and self.is_wanted(request, one)]
            if found and self.is_served(request):
                connection.answer(found[0])
            else:
                connection.answer({"kind": "Status", "code": 404, "message": "not found"}, 404)
        elif request.verb in ("list", "look"):
            self.list(request, connection)
        elif request.initial and not self.streaming:
            connection.answer({"kind": "Status", "code": 422, "reason": "Invalid",
                               "message": "sendInitialEvents is forbidden"}, 422)
        else:
            self.stream(request, connection)

    def discover(self, request, connection):
        if request.path == "/version":
            connection.answer({"major": "1", "minor": self.minor, "gitVersion": f"v1.{self.minor}.0"})
        elif request.path == "/apis/discovery.k8s.io" and self.versions:
            connection.answer({"kind": "APIGroup", "name": "discovery.k8s.io", "versions": [
                {"groupVersion": one, "version": one.split("/")[1]} for one in self.versions]})
        else:
            connection.answer({"kind": "Status", "code": 404, "message": "not found"}, 404)

    def is_served(self, request):
        return request.kind != "endpointslices" or any(
            f"/{one}/" in request.path for one in self.versions)

    @staticmethod
    def is_wanted(request, one):
        where = re.search("/namespaces/([^/]+)/", request.path)
        meta = one["metadata"]
        label, equals, value = request.query.get("labelSelector", "").partition("=")
        field, _, name = request.query.get("fieldSelector", "").partition("=")
        of = one.get("spec", {}).get("nodeName") if field == "spec.nodeName" else meta["name"]
        labels = meta.get("labels", {})
        return (not where or meta.get("namespace") == where.group(1)) and (not field or of == name) and \
            (not label or (labels.get(label) == value if equals else label in labels))

    def wanted(self, request):
        return [one for one in self.objects[request.kind].values() if self.is_wanted(request, one)]

    def list(self, request, connection):
        if not self.is_served(request):
            connection.answer({"kind": "Status", "code": 404, "message": "not found"}, 404)
            return
        with self.changed:
            token = request.query.get("continue")
            if token and token not in self.pages:
                connection.answer(GONE, 410)
                return
            version, rest = self.pages.pop(token) if token else (self.version, self.wanted(request))
            size = self.page or int(request.query.get("limit", 0)) or len(rest)
            meta = {"resourceVersion": str(version)}
            if len(rest) > size:
                meta["continue"] = f"{request.kind}+{len(self.pages)}/{version}"
                self.pages[meta["continue"]] = (version, rest[size:])
        connection.answer({"kind": f"{KINDS[request.kind]}List", "apiVersion": "v1", "metadata": meta,
                           "items": rest[:size]})

    def bookmark(self, kind, version, initial=False):
        meta = {"resourceVersion": str(version)}
        if initial:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        return {"type": "BOOKMARK", "object": {"kind": KINDS[kind], "apiVersion": "v1", "metadata": meta}}

    def stream(self, request, connection):
        kind = request.kind
        if not self.is_served(request):
            connection.answer({"kind": "Status", "code": 404, "message": "not found"}, 404)
            return
        at = int(request.query.get("resourceVersion") or 0)
        connection.ended = False
        connection.head()
        if request.initial:
            with self.changed:
                at, all_of = self.version, self.wanted(request)
            for one in all_of:
                connection.chunk(json.dumps({"type": "ADDED", "object": one}).encode() + b"\n")
            connection.chunk(json.dumps(self.bookmark(kind, at, True)).encode() + b"\n")
        elif at < self.oldest:
            connection.chunk(json.dumps({"type": "ERROR", "object": GONE}).encode() + b"\n")
            connection.send(b"0\r\n\r\n")
            return
        elif at > self.version:
            connection.chunk(json.dumps({"type": "ERROR", "object": {
                "kind": "Status", "code": 504, "reason": "Timeout", "message":
                f"Too large resource version: {at}, current: {self.version}", "details": {"retryAfterSeconds": 1, "causes": [
                    {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}}}).encode() + b"\n")
            connection.send(b"0\r\n\r\n")
            return
        self.follow(request, connection, at)

    def follow(self, request, connection, at):
        end = time.monotonic() + int(request.query.get("timeoutSeconds", 3600))
        kind = request.kind
        self.open[kind].append(connection)
        try:
            while not self.stopping:
                with self.changed:
                    news = [one for one in self.events[kind] if one[0] > at and self.is_wanted(request, one[2])]
                    over = connection.ended or time.monotonic() > end
                    if not news and not over:
                        self.changed.wait(min(1, max(0.01, end - time.monotonic())))
                        continue
                for at, what, body in news:
                    connection.chunk(json.dumps({"type": what, "object": body}).encode() + b"\n")
                if over:
                    connection.chunk(json.dumps(self.bookmark(kind, self.version)).encode() + b"\n")
                    connection.send(b"0\r\n\r\n")
                    return
        finally:
            self.open[kind].remove(connection)


# --- actions for instead() ---

def status(code, body=None, **headers):
    def act(_, connection):
        connection.answer(body or {"kind": "Status", "code": code, "message": f"said {code}"}, code, **headers)
    return act


def raw(data):
    """A 200 with these bytes as its body."""
    def act(_, connection):
        connection.answer(data)
    return act


def drop(_, connection):
    """No answer at all."""
    connection.close()


def half(server):
    """The true answer, but only the first half of it arrives."""
    def act(request, connection):
        items = server.wanted(request)
        data = json.dumps({"kind": f"{KINDS[request.kind]}List", "metadata": {"resourceVersion": str(server.version)},
                           "items": items}).encode()
        connection.head(length=len(data))
        connection.send(data[:len(data) // 2])
        connection.close()
    return act


def trickle(seconds=30):
    """One byte a second."""
    def act(_, connection):
        connection.head(length=100000)
        for _ in range(seconds):
            connection.send(b" ")
            time.sleep(1)
        connection.close()
    return act


def huge(_, connection):
    """A body of 1 GiB, in good JSON as far as it goes."""
    connection.head(length=1 << 30)
    connection.send(b'{"kind":"ServiceList","metadata":{"resourceVersion":"1"},"items":[],"more":"')
    block = b"x" * (1 << 20)
    for _ in range(1 << 10):
        connection.send(block)


def bomb(_, connection):
    """1 GiB of spaces, packed."""
    data = gzip.compress(b" " * (64 << 20), 9)
    connection.head(length=16 * len(data), Content_Encoding="gzip")
    for _ in range(16):
        connection.send(data)


def deep(_, connection):
    """Brackets in brackets, 100,000 of them."""
    connection.answer(b'{"kind":"ServiceList","metadata":{"resourceVersion":"1"},"items":' + b"[" * 100000 +
                      b"]" * 100000 + b"}")
