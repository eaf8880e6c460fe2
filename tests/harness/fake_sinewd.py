# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of sinewd's control API that registering needs, as a test wants it: who listens, which Registrations there are.

Before it: nothing; it is a server on a unix socket in this process. After it: tests of sinew-agent that want to say what
listens themselves, or a sinewd that misbehaves. It must never be taken for the real one where that is at hand.
"""
import contextlib
import hashlib
import http.server
import json
import os
import queue
import socketserver
import threading

HEARTBEAT = {"type": "HEARTBEAT", "time": "2026-01-01T00:00:00.000Z"}


def registration(name, registry, port, service=None, workload=None, namespace="test", **spec):
    """One as GET /v1/registrations shows it."""
    return {"apiVersion": "sinew/v1", "kind": "Registration", "metadata": {"name": name, "namespace": namespace},
            "spec": {"service": service or name, "registry": registry, "workload": workload or {"cgroup": "/shop/*"},
                     "port": port, "protocol": "tcp", "ttl": "15s", **spec}}


def listener(cookie, port, address="127.0.0.1", cgroup="/shop/pay", **more):
    return {"cookie": cookie, "netns": 1, "address": address, "port": port, "protocol": "tcp", "cgroup": cgroup,
            "cgroupId": 8000 + cookie, "since": "2026-01-01T00:00:00.000Z", "seen": "listen", **more}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def address_string(self):
        return "unix"

    def reply(self, status, value=None, **headers):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        with contextlib.suppress(OSError):  # an agent may be gone
            self.end_headers()
            self.wfile.write(body)

    def do_GET(self):
        fake = self.server.fake
        if self.path == "/v1/registrations":
            with fake.lock:
                value = {"apiVersion": "sinew/v1", "kind": "RegistrationList", "metadata": {},
                         "items": list(fake.registrations.values())}
            etag = '"' + hashlib.md5(json.dumps(value).encode()).hexdigest()[:16] + '"'
            if self.headers.get("If-None-Match") == etag:
                self.reply(304, None, ETag=etag)
            else:
                self.reply(200, value, ETag=etag)
        elif self.path == "/v1/listeners?watch=true":
            self.stream(fake)
        else:
            self.reply(404, {"title": "not found"})

    def take_body(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/v1/pods":
            self.reply(200, {}, ETag='"1"')
            return
        fake = self.server.fake
        with fake.lock:
            status = fake.pods_statuses.pop(0) if fake.pods_statuses else 204
            if status == 204:
                fake.pods = json.loads(body)["items"] if self.command == "PUT" else None
            fake.pods_told += 1
        self.reply(status, None if status == 204 else {"detail": "said"})

    do_PUT = do_PATCH = do_DELETE = take_body

    def stream(self, fake):
        lines = queue.Queue()
        with fake.lock:
            for one in fake.listeners.values():
                lines.put({"type": "ADDED", "listener": one})
            if fake.says_synced:
                lines.put({"type": "SYNCED"})
            fake.streams.append(lines)
            fake.opened += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while True:
                line = lines.get()
                if line is None:
                    break
                text = (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
                self.wfile.flush()
        except OSError:
            pass
        finally:
            with fake.lock, contextlib.suppress(ValueError):
                fake.streams.remove(lines)
            self.close_connection = True


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def get_request(self):
        connection, _ = super().get_request()
        with self.fake.lock:
            self.fake.connections.append(connection)
        return connection, ("unix", 0)


class FakeSinewd:
    """.listeners {cookie: listener} and .registrations {name: object}; listen(), close(), put() and remove() change them
    and tell. stop() and start(): as sinewd goes and comes, knowing what it knew. `says_synced`: whether a stream is told
    that it has everything."""

    def __init__(self, path):
        self.socket, self.lock = path, threading.Lock()
        self.listeners, self.registrations, self.streams, self.connections = {}, {}, [], []
        self.says_synced = True
        self.pods, self.pods_told, self.pods_statuses = None, 0, []  # what they are called; requests; answers other than 204
        self.opened = 0  # streams, ever
        self.server = None
        self.cookies = iter(range(1, 1 << 40))
        self.start()

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket)
        self.server = Server(self.socket, Handler)
        self.server.fake = self
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        with self.lock:
            for lines in self.streams:
                lines.put(None)
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(2)
            self.connections.clear()
        os.unlink(self.socket)

    def tell(self, line):
        """To every stream; bytes as they are."""
        with self.lock:
            for lines in self.streams:
                lines.put(line)

    def listen(self, port, cookie=None, tell=True, **more):
        """The cookie of a new listener."""
        one = listener(cookie or next(self.cookies), port, **more)
        with self.lock:
            self.listeners[one["cookie"]] = one
        if tell:
            self.tell({"type": "ADDED", "listener": one})
        return one["cookie"]

    def close(self, cookie, tell=True):
        with self.lock:
            one = self.listeners.pop(cookie)
        if tell:
            self.tell({"type": "DELETED", "listener": one})

    def put(self, one):
        with self.lock:
            self.registrations[one["metadata"]["name"]] = one

    def remove(self, name):
        with self.lock:
            del self.registrations[name]
