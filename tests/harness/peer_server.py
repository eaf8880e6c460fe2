# SPDX-License-Identifier: GPL-2.0-or-later
"""Real servers on loopback: started, asked, killed, brought back, and removed with the sandbox.

Before it: sandbox.py, and programs that tests/peers/build/run built. After it: peer_consul.py and the others, one server
each. A server has ports and a folder of its own; it must never listen beyond loopback, or see another one's data.
"""
import contextlib
import glob
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness.sandbox import CLONE_NEWNET, SandboxError, check_call, libc

BUILD_FOLDER = os.path.join(os.path.dirname(__file__), "..", "peers", "build")
LOG_SHOWN = 2000
FIRST_PORT, PORTS_EACH, PORT_RANGES = 2000, 250, 32
cursor = itertools.count()  # a port is not given again soon: servers come back to theirs
claimed = []  # the range of this process, and what holds it
started = []  # servers whose logs are of interest when a test fails


def peers_folder():
    """Where built servers are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get("SINEW_PEERS_DIR") or os.path.join(cache, "sinew", "peers")


def versions():
    """{name: (version, what it is)} of tests/peers/build/versions."""
    known = {}
    with open(os.path.join(BUILD_FOLDER, "versions"), encoding="utf-8") as f:
        for line in f:
            if not line.startswith("#") and line.strip():
                name, version, what = line.strip().split(" ", 2)
                known[name] = (version, what)
    return known


def is_built(name):
    """Whether the version that the recipe names is there."""
    try:
        with open(os.path.join(peers_folder(), name, "built"), encoding="utf-8") as f:
            return f"version {versions()[name][0]}" in f.read().splitlines()
    except FileNotFoundError:
        return False


def built(name, program):
    """The file `program` of the peer `name`; a test without it is skipped."""
    if not is_built(name):
        pytest.skip(f"{name} is not built: scripts/test --peers")
    return os.path.join(peers_folder(), name, program)


class in_namespace:  # pylint: disable=invalid-name
    """While inside, this thread makes its sockets in that network namespace (None: stays where it is)."""

    def __init__(self, namespace):
        self.fd = namespace.fd if namespace else None

    def __enter__(self):
        if self.fd is not None:
            self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            check_call(libc.setns(self.fd, CLONE_NEWNET), "setns")

    def __exit__(self, *_):
        if self.fd is not None:
            check_call(libc.setns(self.home, CLONE_NEWNET), "setns")
            os.close(self.home)


def own_range():
    """Where this process looks for ports, the first and how many: no other run of tests on this host looks there. Who is asked
    for ports uses them a moment later, and again after it was down for a while."""
    if not claimed:
        for n in range(PORT_RANGES):
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            try:
                claim.bind(f"\0sinew-test-ports-{n}")  # until we end, however
            except OSError:
                claim.close()
                continue
            claimed.append((FIRST_PORT + n * PORTS_EACH, claim))
            break
        else:
            raise SandboxError(f"{PORT_RANGES} runs of tests at once: no more ports")
    return claimed[0][0], PORTS_EACH


def free_ports(count, namespace=None):
    """Ports of 127.0.0.1 that nobody uses, TCP and UDP; below those that the kernel gives to clients."""
    found = []
    first, size = own_range()
    with in_namespace(namespace):
        for port in (first + next(cursor) % size for _ in range(size)):
            try:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with socket.socket(socket.AF_INET, kind) as probe:
                        probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise SandboxError("no free ports on loopback")


class AnswerError(Exception):
    """A server's answer that is not 2xx: .status, .body."""

    def __init__(self, what, status, body):
        super().__init__(f"{what}: {status}: {body[:300]!r}")
        self.status, self.body = status, body


class Http:
    """A client with one kept-alive connection per thread to a server on loopback: by port, or by the path of a socket."""

    def __init__(self, port=None, path=None, tls=None, headers=None, namespace=None):
        self.port, self.path, self.tls, self.namespace = port, path, tls, namespace
        self.headers = dict(headers or {})
        self.local = threading.local()

    def connection(self, seconds):
        kept = getattr(self.local, "connection", None)
        if kept:
            if kept.sock:
                kept.sock.settimeout(seconds)
            return kept
        if self.tls:
            kept = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=seconds, context=self.tls)
        else:
            kept = http.client.HTTPConnection("127.0.0.1", self.port or 80, timeout=seconds)
        if self.path:
            kept.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            kept.sock.settimeout(seconds)
            kept.sock.connect(self.path)
        else:
            with in_namespace(self.namespace):
                kept.connect()
            kept.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.local.connection = kept
        return kept

    def close(self):
        kept = getattr(self.local, "connection", None)
        if kept:
            kept.close()
        self.local.connection = None

    def request(self, method, target, body=None, headers=None, seconds=60):
        """(status, headers, bytes), whatever the status is. Asks once more if a kept connection turns out to be dead."""
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        said = {**({"Content-Type": "application/json"} if body is not None else {}), **self.headers, **(headers or {})}
        for kept in (getattr(self.local, "connection", None) is not None, False):
            try:
                connection = self.connection(seconds)
                connection.request(method, target, body, said)
                answer = connection.getresponse()
                return answer.status, answer.headers, answer.read()
            except socket.timeout:
                self.close()
                raise
            except (OSError, http.client.HTTPException):
                self.close()
                if not kept:
                    raise
        raise AssertionError("not reached")

    @contextlib.contextmanager
    def stream(self, method, target, body=None, headers=None, seconds=10):
        """The lines of an answer as they come, up to its end, however that comes, or until nothing came for `seconds`. A
        connection of its own; the answer has begun when this is entered."""
        other = Http(self.port, self.path, self.tls, self.headers, self.namespace)
        connection = other.connection(seconds)
        connection.request(method, target, json.dumps(body) if body is not None else None,
                           {**self.headers, **(headers or {})})
        answer = connection.getresponse()

        def lines():
            with contextlib.suppress(OSError, http.client.HTTPException):
                yield from iter(answer.readline, b"")
        try:
            yield lines()
        finally:
            other.close()

    def ask(self, method, target, body=None, headers=None, seconds=60):
        """The answer: JSON as a value, else bytes; anything but 2xx is an AnswerError."""
        status, answered, said = self.request(method, target, body, headers, seconds)
        if not 200 <= status < 300:
            raise AnswerError(f"{method} {target}", status, said)
        return json.loads(said) if said and "json" in answered.get("Content-Type", "") else said

    def get(self, target, **more):
        return self.ask("GET", target, **more)

    def put(self, target, body=None, **more):
        return self.ask("PUT", target, body, **more)

    def post(self, target, body=None, **more):
        return self.ask("POST", target, body, **more)

    def delete(self, target, **more):
        return self.ask("DELETE", target, **more)


class PeerServer:
    """One server. A subclass says PEER, command() and is_ready(); .http asks it. `namespace`: where it runs and is asked
    (None: this host's own loopback). What it keeps is in .data; start(), stop(), kill() may follow each other at will."""

    PEER = ""
    READY_SECONDS = 60

    def __init__(self, sandbox, name=None, namespace=None, start=True):
        self.sandbox, self.namespace = sandbox, namespace
        self.name = name or f"{self.PEER}.{len(sandbox.children)}"
        self.folder = sandbox.path(self.name)
        self.data = os.path.join(self.folder, "data")
        self.child, self.http, self.seconds, self.own_cgroup = None, None, None, None
        os.makedirs(self.data)
        self.prepare()
        if start:
            self.start()

    def prepare(self):
        """Ports, keys and files, once; sets .http."""
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def is_ready(self):
        """True when it serves; an error means not yet."""
        raise NotImplementedError

    def environment(self):
        return {**os.environ, "HOME": self.folder, "NO_PROXY": "*"}

    def write(self, name, text):
        """A file in its folder; the path."""
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text if isinstance(text, str) else json.dumps(text, indent=1))
        return path

    def start(self, wait=True):
        """Starts it (again) on the same ports with the data there is."""
        began = time.monotonic()
        # Both streams into one file, which never blocks: a full pipe would.
        self.child = self.sandbox.start(["/bin/sh", "-c", 'exec "$@" >&2', "sh", *self.command()],
                                        namespace=self.namespace, cgroup=self.own_cgroup, env=self.environment())
        if self not in started:
            started.append(self)
        if wait:
            self.wait_ready()
            self.seconds = time.monotonic() - began

    def wait_ready(self):
        end = time.monotonic() + self.READY_SECONDS
        while time.monotonic() < end and self.child.poll() is None:
            try:
                if self.is_ready():
                    return
            except (OSError, AnswerError, ValueError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise SandboxError(f"{self.name} did not become ready: {self.sandbox.said(self.child)}")

    def is_running(self):
        return self.child is not None and self.child.poll() is None

    def end(self, number, seconds=20):
        if not self.is_running():
            return
        self.child.send_signal(number)
        try:
            self.child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()

    def stop(self):
        """As its user stops it."""
        self.end(signal.SIGTERM)

    def kill(self):
        """As kill -9 does."""
        self.end(signal.SIGKILL)

    def restart(self):
        self.stop()
        self.start()

    def pause(self):
        """It answers nobody, though its connections stay. A thread on another processor goes on for a moment: this waits."""
        self.child.send_signal(signal.SIGSTOP)
        end = time.monotonic() + 20
        while set(thread_states(self.child.pid)) - set("TtZX"):
            if time.monotonic() > end:
                raise SandboxError(f"{self.name} was stopped and goes on")
            time.sleep(0.001)

    def resume(self):
        self.child.send_signal(signal.SIGCONT)

    def wipe(self):
        """Ended, and nothing left of its data; start() finds it empty."""
        self.kill()
        shutil.rmtree(self.data)
        os.makedirs(self.data)

    def save(self, label="old"):
        """Ended, its data kept under a label; start() goes on with the same."""
        self.stop()
        shutil.copytree(self.data, os.path.join(self.folder, f"saved.{label}"), dirs_exist_ok=True)

    def restore(self, label="old"):
        """Ended, its data as they were at save(); start() serves them."""
        self.kill()
        shutil.rmtree(self.data)
        shutil.copytree(os.path.join(self.folder, f"saved.{label}"), self.data)

    def log(self):
        with open(self.child.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def memory(self):
        """Its proportional share of memory, in MiB."""
        with open(f"/proc/{self.child.pid}/smaps_rollup", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("Pss:")) / 1024


def thread_states(pid):
    """The letters of /proc/PID/task/*/stat."""
    for path in glob.glob(f"/proc/{pid}/task/*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(path, encoding="ascii", errors="replace") as f:
            yield f.read().rsplit(")", 1)[1].split()[0]


def report_logs(item, report):
    """For pytest_runtest_makereport: beside a test that failed, the last words of each server that it had. Whatever still
    runs then may belong to the next test, too."""
    if report.when != "call":
        return
    for server in list(started):
        if report.failed and os.path.exists(server.child.log):
            report.sections.append((f"log of {server.name} ({item.name})", server.log()[-LOG_SHOWN:]))
        if not server.is_running():
            started.remove(server)


def in_threads(count, function, items):
    """function(item) for all items, `count` at a time; the first error is raised when all have ended."""
    items, lock, errors = list(items), threading.Lock(), []

    def work():
        while not errors:
            with lock:
                if not items:
                    return
                item = items.pop()
            try:
                function(item)
            except Exception as error:  # pylint: disable=broad-except
                errors.append(error)
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
