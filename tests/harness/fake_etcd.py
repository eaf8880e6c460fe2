# SPDX-License-Identifier: GPL-2.0-or-later
"""etcd's JSON gateway of the test's own, which can be made to misbehave as no real one can.

Before it: nothing. After it: tests of the etcd source. `spoil(request)` may answer instead; a watch that is served here
can be written to by say().
"""
import base64
import http.server
import json
import threading
import time


def encode(text):
    return base64.b64encode(text.encode()).decode()


def is_look(asked):
    """A range of one service's keys: it ends below a folder."""
    return b"/" in base64.b64decode(asked["range_end"])


class Request(http.server.BaseHTTPRequestHandler):
    """One exchange; .server.fake is the FakeEtcd, .asked the body."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        fake = self.server.fake
        self.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fake.requests.append((self.path, self.asked, dict(self.headers), time.monotonic()))
        try:
            if fake.spoil and fake.spoil(self):
                return
            fake.answer(self)
        except OSError:
            self.close_connection = True

    @property
    def is_watch(self):
        return self.path == "/v3/watch"

    @property
    def is_list(self):
        return self.path == "/v3/kv/range" and not self.asked.get("count_only")

    @property
    def is_look(self):
        """At one service, beside the watch."""
        return self.is_list and is_look(self.asked)

    def send(self, status, body, headers=None):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def begin(self):
        """The head of an answer that has no end."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def write(self, data):
        data = data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        """A client that resets is part of the play."""

    def server_bind(self):  # the one of HTTPServer asks DNS for its own name
        self.socket.bind(self.server_address)


class FakeEtcd:
    """Keys below services/; .requests are (path, body, headers, time)."""

    def __init__(self):
        self.keys, self.log, self.revision, self.cluster, self.term, self.compacted = {}, [], 1, 7, 2, 0
        self.requests, self.spoil, self.changed = [], None, threading.Condition()
        self.closing, self.open = False, 0  # watches
        self.server = Server(("127.0.0.1", 0), Request)
        self.server.fake = self
        self.url = f"http://127.0.0.1:{self.server.socket.getsockname()[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closing = True
        with self.changed:
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    # --- what it has ---

    def put(self, key, address, told=True):
        """`told`: whether watches say it."""
        with self.changed:
            self.revision += 1
            kv = {"key": encode(f"services/{key}"), "mod_revision": str(self.revision),
                  "value": encode(json.dumps({"Op": 0, "Addr": address}))}
            self.keys[f"services/{key}"] = kv
            self.log.append((self.revision, {"kv": kv} if told else None))
            self.changed.notify_all()

    def delete(self, key, told=True):
        with self.changed:
            self.revision += 1
            del self.keys[f"services/{key}"]
            event = {"type": "DELETE", "kv": {"key": encode(f"services/{key}"), "mod_revision": str(self.revision)}}
            self.log.append((self.revision, event if told else None))
            self.changed.notify_all()

    def header(self, **more):
        return {"header": {"cluster_id": str(self.cluster), "revision": str(self.revision), "raft_term": str(self.term)},
                **more}

    def page(self, asked):
        begin = base64.b64decode(asked["key"]).decode()
        end = base64.b64decode(asked["range_end"]).decode()
        some = [self.keys[key] for key in sorted(self.keys) if begin <= key < end]
        if asked.get("count_only"):
            return self.header(count=str(len(some)))
        limit = int(asked["limit"])
        return self.header(kvs=some[:limit], count=str(len(some)), **({"more": True} if len(some) > limit else {}))

    def answer(self, request):
        if request.path == "/v3/kv/range":
            request.send(200, self.page(request.asked))
        elif request.is_watch:
            self.watch(request)
        else:
            request.send(404, b"Not Found")

    def watch(self, request):
        self.open += 1
        try:
            self.serve_watch(request)
        finally:
            self.open -= 1
            request.close_connection = True

    def serve_watch(self, request):
        at = int(request.asked["create_request"]["start_revision"])
        request.begin()
        request.write({"result": self.header(created=True)})
        if at <= self.compacted:
            request.write({"result": self.header(canceled=True, compact_revision=str(self.compacted + 1))})
            request.write(b"")
            return
        while not self.closing:
            with self.changed:
                self.changed.wait_for(lambda: self.closing or self.revision >= at, 0.5)
                events = [event for revision, event in self.log if revision >= at and event]
                at = max(at, self.revision + 1)
            if events:
                request.write({"result": self.header(events=events)})

    # --- what it was asked ---

    def asked(self, path, count_only=None):
        return [body for where, body, _, _ in self.requests if where == path and
                (count_only is None or bool(body.get("count_only")) == count_only)]

    @property
    def lists(self):
        return sum(not is_look(one) for one in self.asked("/v3/kv/range", False))

    @property
    def watches(self):
        return len(self.asked("/v3/watch"))
