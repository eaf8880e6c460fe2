# SPDX-License-Identifier: GPL-2.0-or-later
"""A sinewd in a sandbox, and HTTP over its unix sockets.

Before it: sandbox.py and a built sinewd. After it: tests and the bench fill and ask it. Each has
its own sockets, pins, cgroup and state; it must never see the host's.
"""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import threading
import time

from harness.sandbox import SandboxError


def read_abi():
    """SN_ABI_VERSION: the pins of one ABI are in a folder of its own."""
    path = os.path.join(os.path.dirname(__file__), "..", "..", "headers", "sinew", "abi.h")
    with open(path, encoding="utf-8") as f:
        return int(re.search(r"#define SN_ABI_VERSION (\d+)u", f.read()).group(1))


ABI = read_abi()


class UnixConnection(http.client.HTTPConnection):
    """HTTP/1.1 over a unix socket."""

    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask_well(who, socket_path, method, path, body=None):
    """The bytes that `who` answers at a unix socket; anything but 2xx is an error."""
    connection = UnixConnection(socket_path)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        said = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise SandboxError(f"{who}: {method} {path}: {error!r}") from error
    finally:
        connection.close()
    if answer.status // 100 != 2:
        raise SandboxError(f"{who}: {method} {path}: {answer.status} {said[:600].decode(errors='replace')}")
    return said


class Daemon:
    """One sinewd in the foreground, killed with the sandbox. `settings` are KEY=VALUE lines of --set. In a `namespace`
    it looks after the interfaces there; without one it leaves the host's alone."""

    def __init__(self, sandbox, build, name, cgroup, settings=(), start=True, namespace=None):
        self.sandbox = sandbox
        self.program = os.path.join(build, "sinewd")
        self.cgroup = cgroup
        self.namespace = namespace
        self.settings = list(settings)
        self.folder = sandbox.path(name)
        self.socket = os.path.join(self.folder, "control.sock")
        self.status_socket = os.path.join(self.folder, "status.sock")
        self.pins = os.path.join(sandbox.bpffs, name)
        self.pinned = os.path.join(self.pins, f"v{ABI}")
        self.state = os.path.join(self.folder, "state")
        self.config = os.path.join(self.folder, "sinewd.yaml")
        self.child = None
        os.makedirs(self.state)
        os.mkdir(self.pins)
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("log: {format: text}\n")
        if not os.access(self.program, os.X_OK):
            raise SandboxError("sinewd is not built")
        if start:
            self.start()

    def command(self):
        words = [self.program, "--config", self.config, "--socket", self.socket, "--status-socket",
                 self.status_socket, "--bpffs", self.pins, "--cgroup", self.cgroup, "--state", self.state,
                 "--log-level", "info"]
        for setting in ([] if self.namespace else ["failover.interfaces=off"]) + self.settings:
            words += ["--set", setting]
        return words

    def start(self):
        """Starts it (again) and waits until it is ready."""
        self.child = self.sandbox.start_notifying(self.command(), namespace=self.namespace)

    def kill(self):
        """As kill -9 does; programs and maps stay."""
        self.child.kill()
        self.child.wait()

    def stop(self):
        """As systemctl stop does; returns the exit status."""
        self.child.terminate()
        return self.child.wait(timeout=20)

    def reload(self, settings, seconds=10):
        """As systemctl reload does, with these settings in its file: {key: text}; returns when they are in force."""
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("log.format: text\n")
            for key, text in settings.items():
                f.write(f"{key}: {json.dumps(text)}\n")
        done = self.log().count("settings reloaded")
        self.child.send_signal(signal.SIGHUP)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.log().count("settings reloaded") > done:
                return
            time.sleep(0.02)
        raise SandboxError(f"sinewd did not take over {settings}: {self.log()[-600:]}")

    def log(self):
        with open(self.child.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def request(self, method, path, body=None, status=False):
        """The answer's bytes; anything but 2xx is an error."""
        return ask_well("sinewd", self.status_socket if status else self.socket, method, path, body)

    def put(self, path, value):
        return self.request("PUT", path, json.dumps(value).encode())

    def get(self, path):
        return json.loads(self.request("GET", path, status=True))

    def map_pin(self, name):
        return os.path.join(self.pinned, "maps", name)

    def pss_bytes(self):
        """Of the daemon and the helpers that it started."""
        return sum(read_pss(pid) for pid in family(self.child.pid))


class Events:
    """What /v1/events tells while inside. A context manager; `query` filters, for example "?service=shop"."""

    def __init__(self, daemon, query=""):
        self.connection = UnixConnection(daemon.status_socket, timeout=300)
        self.connection.request("GET", "/v1/events" + query)
        self.answer = self.connection.getresponse()
        self.socket = self.connection.sock or self.answer.fp.raw._sock  # pylint: disable=protected-access
        self.told = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            while True:
                line = self.answer.readline()
                if not line:
                    return
                self.told.append(json.loads(line))

    def matching(self, **fields):
        return [event for event in self.told if all(event.get(key) == value for key, value in fields.items())]

    def wait(self, count=1, seconds=10, **fields):
        """The events with these fields, as soon as there are so many of them; else as many as there are."""
        end = time.monotonic() + seconds
        while len(self.matching(**fields)) < count and time.monotonic() < end:
            time.sleep(0.02)
        return self.matching(**fields)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.reader.join(5)
        self.connection.close()


def family(pid):
    """A process and its descendants."""
    found = [pid]
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            children = f.read().split()
    except FileNotFoundError:
        return found
    for child in children:
        found += family(int(child))
    return found


def read_pss(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        for line in f:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
