# SPDX-License-Identifier: GPL-2.0-or-later
"""One registry followed by tests/peers/follow.c, built with sanitizers: what its source says, line by line.

Before it: `make peers`, and a server, real or a fake. After it: tests of sources, without an agent around them. Every wait
has a bound; one that did not end well, or whose sanitizer spoke, is a failure.
"""
import ctypes
import json
import os
import signal
import subprocess
import tempfile
import threading
import time

from harness.fixtures import BUILD

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def name_of(one):
    return f"{one['metadata']['namespace']}/{one['metadata']['name']}"


def ends_of(service):
    """Its backends that take connections, as address:port of the first port."""
    found = []
    for end in service["spec"].get("endpoints", []):
        port = end.get("port") or next(iter(end.get("ports", {}).values()), None) or service["spec"]["ports"][0]["port"]
        if end.get("weight", 100):
            found.append(f"{end['address']}:{port}")
    return sorted(found)


class Follow:
    """follow TYPE test KEY=VALUE...; .objects is {kind: {namespace/name: object}} as told so far, .statuses and .snapshots
    what was said about them. `watch`, if given, is called with this after each line (in the reader's thread)."""

    def __init__(self, kind, watch=None, sanitized=True, env=None, namespace=None, **keys):
        program = os.path.join(BUILD, *(["san"] if sanitized else []), "tests", "peers", "follow")
        words = [f"{name}={value}" for name, value in keys.items()]
        self.objects, self.statuses, self.snapshots, self.lines = {"Service": {}, "TrafficPolicy": {}}, [], [], []
        self.changed, self.watch, self.error = threading.Condition(), watch, None
        self.log = tempfile.TemporaryFile()
        self.child = subprocess.Popen(
            [program, kind, "test", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            env={**os.environ, **(env or {})},
            preexec_fn=namespace.sandbox.entering(namespace, None, None, False) if namespace else
            lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop(check=kind is None)

    def read(self):
        for text in self.child.stdout:
            line = json.loads(text)
            with self.changed:
                self.take(line)
                if self.watch and not self.error:
                    try:
                        self.watch(self)
                    except Exception as error:  # pylint: disable=broad-except
                        self.error = error
                self.changed.notify_all()

    def take(self, line):
        self.lines.append(line)
        if line["say"] == "snapshot":
            self.snapshots.append(line)
            for kept in self.objects.values():
                kept.clear()
        if line["say"] in ("snapshot", "upsert"):
            for one in line["items"]:
                self.objects[one["kind"]][name_of(one)] = one
        elif line["say"] == "remove":
            self.objects[line["kind"]].pop(f"{line['namespace']}/{line['name']}", None)
        elif line["say"] in ("status", "refused"):
            self.statuses.append(line)

    @property
    def services(self):
        return self.objects["Service"]

    @property
    def policies(self):
        return self.objects["TrafficPolicy"]

    def ends(self, name):
        """Backends of namespace/name that take connections; None: there is no such service."""
        with self.changed:
            return ends_of(self.services[name]) if name in self.services else None

    def wait(self, function, seconds=10):
        """Until function(self) is true; what it said last."""
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                value = function(self)
                left = end - time.monotonic()
                if value or left <= 0 or self.error:
                    break
                self.changed.wait(min(left, 0.05))  # it may be about somebody else
        if self.error:
            raise self.error
        assert value, (f"not within {seconds} s: {list(self.services)[:10]}, {self.statuses[-3:]}", self.said())
        return value

    def wait_ends(self, name, *ends, seconds=10):
        self.wait(lambda me: name in me.services and ends_of(me.services[name]) == sorted(ends), seconds)

    def wait_error(self, error, seconds=10):
        """The status line that tells it."""
        return self.wait(lambda me: next((s for s in me.statuses if s.get("error") == error), None), seconds)

    def ask(self):
        """The state as it is now."""
        count = len(self.statuses)
        self.child.stdin.write(b"?")
        self.child.stdin.flush()
        return self.wait(lambda me: len(me.statuses) > count and me.statuses[-1], 20)

    def look(self, name=None):
        """A second look at namespace/name, or at everything, as an agent asks for; whether it looks. What it says comes later."""
        count = len(self.looks)
        self.child.stdin.write(f"look {name.replace('/', ' ')}\n".encode() if name else b"look\n")
        self.child.stdin.flush()
        return self.wait(lambda me: len(me.looks) > count and me.looks[-1:], 20)[0]["result"] == 0

    @property
    def looks(self):
        return [line for line in self.lines if line["say"] == "look"]

    def since_look(self):
        """What it said of services since the last look began: ["upsert shop/pay"...]."""
        with self.changed:
            at = max(number for number, line in enumerate(self.lines) if line["say"] == "look")
            return [self.brief(line) for line in self.lines[at:] if line["say"] in ("snapshot", "upsert", "remove")]

    @staticmethod
    def brief(line):
        if line["say"] == "remove":
            return f"remove {line['namespace']}/{line['name']}"
        return " ".join([line["say"], *(name_of(one) for one in line["items"])])

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-3000:]

    def memory(self, field="Pss"):
        """MiB; a sanitizer's shadow is part of it."""
        with open(f"/proc/{self.child.pid}/smaps_rollup", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith(f"{field}:")) / 1024

    def stop(self, check=True):
        """Ended as it should be: everything given back, and no sanitizer spoke."""
        self.child.stdin.close()
        try:
            status = self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            status = self.child.wait()
        self.thread.join(20)
        self.child.stdout.close()
        said = self.said()
        self.log.close()
        if check:
            assert not self.error, self.error
            assert status == 0, (status, said)
