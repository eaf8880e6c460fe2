# SPDX-License-Identifier: GPL-2.0-or-later
"""A place where backends die: a namespace with three of them, each a process of its own, and a client's cgroup.

Before it: sandbox.py. After it: dying.py and past.py put a way to them in between and end them. It must never touch
the places of subjects.py: what dies here would be missed there.
"""
import json
import os
import time

from harness.daemon import Daemon
from harness.sandbox import SandboxError, Namespace
from harness.service import put

BACKENDS = ("127.0.1.1", "127.0.1.2", "127.0.1.3")
PORT, VIP = 8080, "10.96.0.1"


def policy(name, **spec):
    return {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": name, "namespace": "test"},
            "spec": spec}


def everyone(port=PORT):
    """All three backends."""
    return [(b, port) for b in BACKENDS]


class Ground:
    """Client and backends in one namespace, over its loopback. `together`: on one CPU and in one cgroup, as in the
    rest of the bench; else the client has a CPU for itself."""

    def __init__(self, sandbox, build, name, route_vips=False, together=False):
        self.sandbox, self.build, self.name = sandbox, build, name
        self.namespace = Namespace(sandbox, route_vips=route_vips, addresses=BACKENDS)
        self.cgroup = sandbox.cgroup(name)
        self.place = {"cpu": sandbox.cpu, "cgroup": self.cgroup} if together else {}
        self.backends = {}
        for number in range(len(BACKENDS)):
            self.start(number)

    def tool(self, name):
        return os.path.join(self.build, "tests", "bench", name)

    def start(self, number):
        self.backends[number] = self.serve(f"{BACKENDS[number]}:{PORT}")

    def serve(self, at, *words, namespace=None):
        return self.sandbox.start_ready([self.tool("serve"), "--listen", at, *words],
                                        namespace=namespace or self.namespace, **self.place)

    def kill(self, number):
        self.backends[number].kill()
        self.backends.pop(number).wait()

    def mend(self):
        """All backends are there again."""
        for number in range(len(BACKENDS)):
            if number not in self.backends:
                self.start(number)

    def daemon(self, *objects, attached=True):
        """A sinewd that serves this client; `attached`: at this namespace's interfaces, too."""
        daemon = Daemon(self.sandbox, self.build, self.name, self.cgroup,
                        namespace=self.namespace if attached else None)
        put(daemon, *objects)
        return daemon

    def load(self, *words, seconds=60):
        """What load.c tells from here."""
        command = [self.tool("load"), "--cpu", str(self.sandbox.cpu), *words]
        return json.loads(self.sandbox.run(command, namespace=self.namespace, cgroup=self.cgroup,
                                           cpu=self.sandbox.cpu, seconds=seconds))

    def wait_answering(self, to, child=None):
        said = "no answer"
        for _ in range(100):
            if child and child.poll() is not None:
                said = self.sandbox.said(child)
                break
            result = self.load("--mode", "crr", "--to", to, "--milliseconds", "1")
            if result["operations"] and not result["errors"]:
                return
            said = result.get("first_error", said)
            time.sleep(0.1)
        raise SandboxError(f"{to} does not answer: {said}")

    def storm(self, to, steps, rate=2000):
        """Calls at a steady rate while things happen: `steps` are (milliseconds, what to do after them or None). The
        figures of storm.c by phase, which are the steps."""
        cpu = self.sandbox.cpu
        command = [self.tool("storm"), "--to", to, "--rate", str(rate), "--cpu", str(cpu)]
        for length, _ in steps:
            command += ["--phase", str(length)]
        child = self.sandbox.start(command, namespace=self.namespace, cgroup=self.cgroup, cpu=cpu)
        if child.stdout.readline() != b"begin\n":
            raise SandboxError(f"storm did not begin: {self.sandbox.said(child)}")
        at = time.monotonic()
        for length, act in steps:
            at += length / 1000
            time.sleep(max(0, at - time.monotonic()))
            if act:
                act()
        out = child.stdout.read()
        if child.wait(timeout=30) != 0:
            raise SandboxError(f"storm: {self.sandbox.said(child)}")
        return json.loads(out)
