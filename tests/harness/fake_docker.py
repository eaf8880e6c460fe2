# SPDX-License-Identifier: GPL-2.0-or-later
"""A Docker Engine that misbehaves on demand, on a unix socket: what it answers is what a test sets.

Before it: nothing. After it: tests/peers/test_docker_fake.py. Knows no container but those of .containers.
"""
import json
import os
import queue
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler


def container(identity, port, service="pay", state="running", mode="host", **more):
    """One of a list, as Docker has it."""
    return {"Id": identity, "Names": [f"/{identity}"], "State": state, "Status": "Up", "Ports": [],
            "Labels": {"sinew.service": service, "sinew.port": str(port)}, "HostConfig": {"NetworkMode": mode},
            "NetworkSettings": {"Networks": {}}, **more}


def event(action, identity, at):
    return json.dumps({"Type": "container", "Action": action, "Actor": {"ID": identity}, "timeNano": at}).encode() + b"\n"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "unix"

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        fake = self.server.fake
        path = self.path.split("?")[0]
        fake.asked.append((time.monotonic(), self.path))
        what = "ping" if path == "/_ping" else path.split("/", 2)[-1].split("?")[0]
        answer = fake.answers.get(what) or fake.answers.get(what.split("/")[0] + "/*")
        if answer:
            answer = answer(self)
            if answer:
                self.answer(*answer)
            return
        if what == "ping":
            self.answer(200, b"OK", [("Api-Version", fake.version)] if fake.version else [])
        elif what == "containers/json":
            self.answer(200, json.dumps(fake.containers).encode())
        elif what == "events":
            self.stream()
        else:
            self.answer(404, b'{"message": "no such container"}')

    def stream(self):
        """Until the fake ends it."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        mine = queue.Queue()
        self.server.fake.streams.append(mine)
        while True:
            said = mine.get()
            if said is None:
                self.close_connection = True
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(said), said))
            self.wfile.flush()


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass


class FakeDocker:
    """.containers is its list; .answers {"ping", "containers/json", "containers/*", "events": function(handler) -> (status,
    body) or None when it has answered} come first; .asked is [(when, path)]."""

    def __init__(self, folder):
        self.socket = os.path.join(folder, f"fake-{time.monotonic_ns()}.sock")
        self.version, self.containers, self.answers, self.asked, self.streams = "1.41", [], {}, [], []
        self.server = Server(self.socket, Handler)
        self.server.fake = self
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def tell(self, *lines):
        """To whoever listens to events; the first one may come a moment after it has the list."""
        end = time.monotonic() + 10
        while not self.streams and "events" not in self.answers and time.monotonic() < end:
            time.sleep(0.002)
        for one in list(self.streams):
            for line in lines:
                one.put(line)

    def end_streams(self):
        for one in list(self.streams):
            one.put(None)
        self.streams.clear()

    def count(self, what):
        return sum(1 for _, path in self.asked if what in path)

    def close(self):
        self.end_streams()
        self.server.shutdown()
        self.server.server_close()
