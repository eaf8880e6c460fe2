#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One real registry for scripts/demo: starts it, and does what the demo says, line by line.

    demo-registry.py --version KIND           the version that scripts/test --peers has built; status 1 without
    demo-registry.py KIND FOLDER SERVERS      KIND: consul, kubernetes, eureka or etcd; SERVERS: a=10.1.0.1:8080,...

Before it: scripts/demo, inside its sandbox, with which it ends. After it: the servers of tests/harness. Writes FOLDER/agent.yaml,
which follows the registry, says "ready", and then answers each line of standard input with "done" or with what went wrong:
`publish a b` (exactly these are registered), `kill`, `start`.
"""
import contextlib
import os
import subprocess
import sys

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.join(ROOT, "tests"))


class Place:
    """What the servers of tests/harness want of a sandbox; the demo's own is around it."""

    def __init__(self, folder):
        self.folder, self.children = folder, []

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, command, env=None, **_):
        with open(self.path(f"{len(self.children)}.log"), "ab") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=env)
        child.log = log.name
        self.children.append(child)
        return child

    @staticmethod
    def said(child):
        with open(child.log, encoding="utf-8", errors="replace") as f:
            return f.read()[-600:]


def settings(follow):
    """agent.yaml: one registry, in five lines or so."""
    lines = ["registries:", "  - name: demo"]
    for key, value in follow.items():
        lines.append(f"    {key}: {value if isinstance(value, str) else '[' + ', '.join(value) + ']'}")
    return "\n".join(lines) + "\n"


def obey(publisher, words):
    {"publish": publisher.publish, "kill": publisher.server.kill, "start": publisher.server.start}[words[0]](*words[1:])


def main(kind, folder, servers):
    os.makedirs(folder, exist_ok=True)
    known = {}
    for one in servers.split(","):
        name, where = one.split("=")
        address, port = where.split(":")
        known[name] = (address, int(port))
    from harness.publisher import KINDS
    publisher = KINDS[kind](Place(folder), known)
    with open(os.path.join(folder, "agent.yaml"), "w", encoding="ascii") as f:
        f.write(settings(publisher.follow()))
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            obey(publisher, line.split())
            print("done", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            print(f"{line.strip()}: {error}".replace("\n", " ")[:300], flush=True)
    for child in publisher.server.sandbox.children:
        with contextlib.suppress(OSError):
            child.kill()


def version(kind):
    from harness.peer_server import is_built, versions
    if not is_built(kind):
        return 1
    print(versions()[kind][0])
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--version"] and len(sys.argv) == 3:
        sys.exit(version(sys.argv[2]))
    main(*sys.argv[1:])
