# SPDX-License-Identifier: GPL-2.0-or-later
"""fake_control as a child, and HTTP/1.1 over its unix sockets, written by hand: what a library would never send is
what these tests are for.

Before it: `make control` has built fake_control, plain and with sanitizers. After it: the tests of this ring. Every
wait has a bound; a Fake that did not end well, or whose sanitizer spoke, is a failure.
"""
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import time

BUILD = os.environ.get("SINEW_BUILD") or os.path.join(os.path.dirname(__file__), "..", "..", "build")
PATIENCE = 20


class Answer:
    """One answer: status, headers by lower-case name, body; `ended` if the connection ended with it."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def etag(self):
        return self.headers["etag"]

    def problem(self, status):
        """The problem document, which must be whole and of that status (RFC 9457)."""
        assert self.status == status, (self.status, self.body[:400])
        assert self.headers["content-type"] == "application/problem+json"
        said = self.json
        assert said["status"] == status and said["title"] and said["detail"]
        assert said["type"].startswith("urn:sinew:problem:")
        for error in said.get("errors", []):
            assert set(error) - {"limit"} == {"pointer", "detail"} and error["detail"]
            assert error["pointer"] == "" or error["pointer"].startswith("/")
        return said


class Wire:
    """One connection. `receive` gives None when it was closed before an answer began."""

    def __init__(self, path, timeout=PATIENCE):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(timeout)
        end = time.monotonic() + timeout
        while True:
            try:
                self.sock.connect(path)
                break
            except BlockingIOError:  # a full queue of connections; a socket without a timeout would wait
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def head(self):
        """Status and headers; the body is still to be read."""
        line = self.file.readline(65536)
        if not line:
            return None
        version, status, _ = line.decode("latin-1").split(" ", 2)
        assert version in ("HTTP/1.1", "HTTP/1.0"), line
        headers = {}
        while True:
            line = self.file.readline(65536)
            assert line.endswith(b"\r\n"), "the head ends in the middle"
            if line == b"\r\n":
                return int(status), headers
            name, value = line.decode("latin-1").split(":", 1)
            headers[name.lower()] = value.strip()

    def chunk(self):
        """One chunk of a body; b"" at its end."""
        line = self.file.readline(100)
        assert line.endswith(b"\r\n"), "the body ends in the middle"
        size = int(line.split(b";")[0], 16)
        data = self.file.read(size)
        assert len(data) == size, "the body ends in the middle"
        if size:
            assert self.file.read(2) == b"\r\n"
            return data
        while line not in (b"\r\n", b""):
            line = self.file.readline(1000)
        return b""

    def body(self, headers):
        if headers.get("transfer-encoding") == "chunked":
            return b"".join(iter(self.chunk, b""))
        if "content-length" not in headers:
            return self.file.read() if headers.get("connection") == "close" else b""
        data = self.file.read(int(headers["content-length"]))
        assert len(data) == int(headers["content-length"]), "the body ends in the middle"
        return data

    def receive(self, to_head=False):
        got = self.head()
        if got is None:
            return None
        status, headers = got
        return Answer(status, headers, b"" if to_head or status in (204, 304) else self.body(headers))

    def ask(self, method, path, body=None, **headers):
        self.send(request(method, path, body, **headers))
        return self.receive(method == "HEAD")

    def is_closed(self, seconds=PATIENCE):
        """Whether the other end closes within the time; what it still sends is passed over."""
        self.sock.settimeout(seconds)
        try:
            while self.sock.recv(1 << 16):
                pass
        except socket.timeout:
            return False
        except ConnectionError:
            pass
        return True


def request(method, path, body=None, **headers):
    """The bytes of a request. `body`: bytes, or a value to be sent as JSON. Header if_match is sent as If-Match."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    head = {"Host": "sinew"}
    if body is not None:
        head.update({"Content-Type": "application/json", "Content-Length": len(body)})
    head.update({name.replace("_", "-").title(): value for name, value in headers.items()})
    lines = [f"{method} {path} HTTP/1.1"] + [f"{n}: {v}" for n, v in head.items() if v is not None]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


class Fake:
    """A fake_control with `options`, e.g. services=100, receive_ms=500. `plain`: without sanitizers, for sizes."""

    def __init__(self, plain=False, **options):
        self.folder = tempfile.TemporaryDirectory(prefix="sinew-control.")
        self.control = os.path.join(self.folder.name, "control.sock")
        self.status = os.path.join(self.folder.name, "status.sock")
        self.log = os.path.join(self.folder.name, "log")
        program = os.path.join(BUILD, "" if plain else "san", "tests/control/fake_control")
        command = [os.path.normpath(program), "--control", self.control, "--status", self.status]
        for name, value in options.items():
            command.append("--" + name.replace("_", "-"))
            if value is not True:
                command.append(str(value))
        env = {**os.environ, "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1:allocator_may_return_null=1",
               "UBSAN_OPTIONS": "print_stacktrace=1"}
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=env)
        if not select.select([self.child.stdout], [], [], 60)[0] or self.child.stdout.readline() != b"ready\n":
            self.child.kill()
            raise AssertionError(f"fake_control did not start: {self.said()}")

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()[-4000:]

    def wire(self, status=False, timeout=PATIENCE):
        return Wire(self.status if status else self.control, timeout)

    def ask(self, method, path, body=None, status=False, **headers):
        """One request on a connection of its own."""
        with self.wire(status) as wire:
            return wire.ask(method, path, body, **headers)

    def get(self, path, **headers):
        answer = self.ask("GET", path, status=True, **headers)
        assert answer.status == 200, (path, answer.status, answer.body[:400])
        return answer.json

    def put(self, path, body, **headers):
        answer = self.ask("PUT", path, body, **headers)
        assert answer.status in (200, 201), (path, answer.status, answer.body[:400])
        return answer

    def counters(self):
        return self.get("/v1/status")["control"]

    def stop(self):
        """Ends it as systemd would; its exit status and whatever a sanitizer said are looked at."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            status = self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            status = "it did not end on SIGTERM"
        said = self.said()
        self.child.stdout.close()
        self.folder.cleanup()
        assert status == 0 and "Sanitizer" not in said and "runtime error" not in said, (status, said)


def service(name, endpoints=(("10.0.0.5", 8080),), namespace="shop", labels=None, **spec):
    """A Service object; endpoints: (address, port) or (address, port, weight)."""
    made = {"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
                     "endpoints": [dict(zip(("address", "port", "weight"), e)) for e in endpoints], **spec}}
    if labels:
        made["metadata"]["labels"] = labels
    return made


def policy(name, namespace="shop", **spec):
    return {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": name, "namespace": namespace},
            "spec": spec or {"loadBalancer": {"algorithm": "random"}}}


def as_list(*objects):
    return {"apiVersion": "sinew/v1", "kind": "List", "items": list(objects)}
