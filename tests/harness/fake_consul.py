# SPDX-License-Identifier: GPL-2.0-or-later
"""A Consul that does what a test tells it: right by default, and as wrong as its `script` wants.

Before it: nothing. After it: test_consul_fake.py. It listens on loopback alone, and counts what it was asked.
"""
import collections
import http.server
import json
import socket
import threading
import time
import urllib.parse


def instance(identity, address, port=80, node="n1", checks=(), **service):
    """One entry of health/service/NAME; checks are (CheckID, Status)."""
    return {"Node": {"Node": node, "Address": "127.9.9.9"},
            "Service": {"ID": identity, "Address": address, "Port": port, **service},
            "Checks": [{"CheckID": name, "Status": status} for name, status in checks]}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        fake, parts = self.server.fake, urllib.parse.urlsplit(self.path)
        self.what = urllib.parse.unquote(parts.path.removeprefix("/v1/"))
        self.query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        with fake.lock:
            fake.asked[self.what] += 1
            fake.requests.append((time.monotonic(), self.what, self.query, self.headers))
        try:
            self.script = fake.script
            if not (self.script and self.script(self)):
                fake.answer(self)
        except OSError:
            self.close_connection = True

    def say(self, body, status=200, index=None, **headers):
        """A whole answer; headers have _ for -."""
        body = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.begin(len(body), status, index, **headers)
        self.wfile.write(body)

    def begin(self, length, status=200, index=None, **headers):
        self.send_response(status)
        said = {"Content-Length": str(length), "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0",
                "X-Consul-Index": str(self.server.fake.index if index is None else index)}
        said.update({name.replace("_", "-"): value for name, value in headers.items()})
        for name, value in said.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def cut(self):
        """The connection ends here."""
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def look(self):
        """An error when the client has gone."""
        try:
            if not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise ConnectionResetError
        except BlockingIOError:
            pass

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_):
        pass


class FakeConsul:
    """`services`: {name: [instance()]}; change them with set(), which moves the index. `script(request)`: true when it has
    answered; request has .what ("health/service/pay"), .query, .say() and what a BaseHTTPRequestHandler has."""

    handler = Handler

    def __init__(self, services=None):
        self.services, self.index, self.script = dict(services or {}), 10, None
        self.moved = {name: 10 for name in self.services}  # the index of a service's last change
        self.moved_catalog = 10
        self.lock, self.stopped, self.restored = threading.Condition(), False, 0
        self.asked, self.requests = collections.Counter(), []
        self.server = Server(("127.0.0.1", 0), self.handler)
        self.server.fake = self
        self.port = self.server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self.lock:
            self.stopped = True
            self.lock.notify_all()
        self.server.shutdown()
        self.server.server_close()

    def set(self, name, instances):
        """None: it is gone."""
        with self.lock:
            self.index += 1
            self.moved[name] = self.moved_catalog = self.index
            if instances is None:
                self.services.pop(name, None)
            else:
                self.services[name] = instances
            self.lock.notify_all()

    def restore(self, services, index):
        """An old snapshot is put in place of what there is: whoever waits is sent away with an older index."""
        with self.lock:
            self.restored += 1
            self.services, self.index, self.moved_catalog = dict(services), index, index
            self.moved = {name: index for name in services}
            self.lock.notify_all()

    def moved_index(self, what):
        if what == "catalog/services":
            return self.moved_catalog
        return self.moved.get(what.removeprefix("health/service/"), self.index)

    def wait(self, request):
        """As a blocking query does; its index."""
        after = int(request.query.get("index", 0))
        end = time.monotonic() + float(request.query.get("wait", "0ms").removesuffix("ms")) / 1000
        with self.lock:
            restored = self.restored
            while after and self.moved_index(request.what) <= after and not self.stopped and restored == self.restored:
                left = end - time.monotonic()
                if left <= 0:
                    break
                self.lock.wait(min(left, 0.25))
                request.look()
            return self.moved_index(request.what)

    def answer(self, request):
        index, script = self.wait(request), self.script
        if script and script is not request.script and script(request):  # it came while this one waited
            return
        with self.lock:
            if request.what == "catalog/services":
                body = {"consul": [], **{name: [] for name in self.services}}
            else:
                body = self.services.get(request.what.removeprefix("health/service/"), [])
        request.say(body, index=index)
