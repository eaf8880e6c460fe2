# SPDX-License-Identifier: GPL-2.0-or-later
"""A sinewd of the bench, and HTTP over its unix sockets.

Before it: sandbox.py and a built sinewd. After it: subjects.py fills one, control.py measures another. Each has
its own sockets, pins, cgroup and state; it must never see the host's.
"""
import http.client
import json
import os
import socket

from sandbox import BenchError


class UnixConnection(http.client.HTTPConnection):
    """HTTP/1.1 over a unix socket."""

    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    """One sinewd in the foreground, killed with the run."""

    def __init__(self, sandbox, build, name, cgroup):
        self.cgroup = cgroup
        self.folder = sandbox.path(name)
        self.socket = os.path.join(self.folder, "control.sock")
        self.status_socket = os.path.join(self.folder, "status.sock")
        self.pins = os.path.join(sandbox.bpffs, name)
        os.makedirs(os.path.join(self.folder, "state"))
        os.mkdir(self.pins)
        config = os.path.join(self.folder, "sinewd.yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write("log: {format: text}\n")
        program = os.path.join(build, "sinewd")
        if not os.access(program, os.X_OK):
            raise BenchError("sinewd is not built")
        self.child = sandbox.start_notifying([
            program, "--config", config, "--socket", self.socket, "--status-socket", self.status_socket,
            "--bpffs", self.pins, "--cgroup", cgroup, "--state", os.path.join(self.folder, "state"),
            "--log-level", "info"])

    def request(self, method, path, body=None, status=False):
        """The answer's bytes; anything but 2xx is an error."""
        connection = UnixConnection(self.status_socket if status else self.socket)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise BenchError(f"sinewd: {method} {path}: {error!r}") from error
        finally:
            connection.close()
        if answer.status // 100 != 2:
            raise BenchError(f"sinewd: {method} {path}: {answer.status} {said[:600].decode(errors='replace')}")
        return said

    def put(self, path, value):
        return self.request("PUT", path, json.dumps(value).encode())

    def get(self, path):
        return json.loads(self.request("GET", path, status=True))

    def map_pin(self, name):
        return os.path.join(self.pins, "v1", "maps", name)

    def pss_bytes(self):
        """Of the daemon and the helpers that it started."""
        return sum(read_pss(pid) for pid in family(self.child.pid))


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
