# SPDX-License-Identifier: GPL-2.0-or-later
"""A Eureka server of the test's own, which can be made to misbehave as no real one can.

Before it: nothing. After it: tests of the Eureka source. It answers as Netflix's and Spring Cloud's do (Netflix/eureka,
ApplicationsResource.java); `spoil(request)` may answer instead.
"""
import collections
import gzip
import http.server
import json
import threading
import time
import urllib.parse


def lease(seconds, length=90):
    """Of one that is up for so long and was heard of just now; a real server writes down when it ends."""
    now = time.time() * 1000
    return {"renewalIntervalInSecs": 30, "durationInSecs": length, "evictionTimestamp": 0,
            "registrationTimestamp": int(now - seconds * 1000), "serviceUpTimestamp": int(now - seconds * 1000),
            "lastRenewalTimestamp": int(now + length * 1000)}


def instance(app, address, port, status="UP", identity=None, **more):
    return {"instanceId": identity or f"{app}:{address}:{port}", "app": app, "ipAddr": address, "status": status,
            "port": {"$": port, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
            "leaseInfo": lease(600), **more}


class Request(http.server.BaseHTTPRequestHandler):
    """One exchange; .server.fake is the FakeEureka."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a head and its body are two writes

    def do_GET(self):
        fake = self.server.fake
        fake.requests.append((self.path, dict(self.headers), time.monotonic()))
        try:
            if fake.spoil and fake.spoil(self):
                return
            fake.answer(self)
        except OSError:
            self.close_connection = True

    def send(self, status, body, headers=None):
        """A whole answer; text is packed, as real servers do."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = dict(headers or {})
        if body and "Content-Encoding" not in headers:
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def begin(self, length, status=200):
        """The head of an answer whose body the caller writes, plainly."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.close_connection = True

    @property
    def is_delta(self):
        return self.path.endswith("/apps/delta")

    @property
    def one(self):
        """(application, id) that is asked for, or None: it is about all."""
        path = self.server.fake.below(self.path)
        return tuple(urllib.parse.unquote(word) for word in path.split("/")) if path.count("/") == 1 else None

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        """A client that resets is part of the play."""

    def server_bind(self):  # the one of HTTPServer asks DNS for its own name
        self.socket.bind(self.server_address)


class FakeEureka:
    """.spoil and .hashcode (what it says, whatever is true) may be set at any time; .requests are (path, headers, time)."""

    def __init__(self, base="/eureka", port=0):
        self.base, self.apps, self.changes = base, collections.defaultdict(dict), []
        self.requests, self.spoil, self.hashcode = [], None, None
        self.server = Server(("127.0.0.1", port), Request)
        self.server.fake = self
        self.port = self.server.socket.getsockname()[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{self.base}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    # --- what it has ---

    def put(self, app, address, port, told=True, **more):
        """`told`: whether deltas have it."""
        one = instance(app, address, port, **more)
        action = "MODIFIED" if one["instanceId"] in self.apps[app] else "ADDED"
        self.apps[app][one["instanceId"]] = one
        if told:
            self.changes.append({**one, "actionType": action})
        return one

    def remove(self, app, address, port, told=True, identity=None):
        one = self.apps[app].pop(identity or f"{app}:{address}:{port}")
        if not self.apps[app]:
            del self.apps[app]
        if told:
            self.changes.append({**one, "actionType": "DELETED"})

    def hash(self):
        if self.hashcode is not None:
            return self.hashcode
        count = collections.Counter(one["status"] for app in self.apps.values() for one in app.values())
        return "".join(f"{status}_{n}_" for status, n in sorted(count.items()))

    def whole(self):
        return {"applications": {"versions__delta": "1", "apps__hashcode": self.hash(), "application": [
            {"name": name, "instance": list(some.values())} for name, some in self.apps.items()]}}

    def delta(self):
        some = collections.defaultdict(list)
        for one in self.changes:
            some[one["app"]].append(one)
        return {"applications": {"versions__delta": "7", "apps__hashcode": self.hash(), "application": [
            {"name": name, "instance": list_} for name, list_ in some.items()]}}

    def answer(self, request):
        if request.path == f"{self.base}/apps":
            request.send(200, self.whole())
        elif request.path == f"{self.base}/apps/delta":
            request.send(200, self.delta())
        elif request.one and request.one[1] in self.apps.get(request.one[0], ()):
            request.send(200, {"instance": self.apps[request.one[0]][request.one[1]]})
        else:
            request.send(404, b'{"status":404,"error":"Not Found"}')

    # --- what it was asked ---

    def asked(self, delta=None):
        """How often, for deltas (True), for everything (False)."""
        return sum(delta is None or path.endswith("/delta") == delta for path, _, _ in self.requests)

    def asked_for(self):
        """Instances that were asked for by themselves, as paths behind /apps/."""
        paths = [self.below(path) for path, _, _ in self.requests]
        return [path for path in paths if path.count("/") == 1]

    def below(self, path):
        """What is behind /apps/; "": it is elsewhere."""
        start = f"{self.base}/apps/"
        return path.removeprefix(start) if path.startswith(start) else ""
