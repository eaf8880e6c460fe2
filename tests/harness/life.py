# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests of sinewd's own life share: looks into the kernel beside it, programs of others, patience.

Before it: sandbox.py and daemon.py, and the programs of tests/integration. After it: test_life_*.py.
"""
import http.client
import json
import os
import subprocess
import time

from harness.daemon import UnixConnection

BPFTOOL = "/usr/sbin/bpftool" if os.path.exists("/usr/sbin/bpftool") else "bpftool"
FULL = os.environ.get("SINEW_FULL") == "1"  # the sizes that the project promises; else smaller ones


def eventually(function, seconds=3.0, every=0.02):
    """The first true value of function(), or what it said last."""
    end = time.monotonic() + seconds
    while True:
        value = function()
        if value or time.monotonic() > end:
            return value
        time.sleep(every)


def tool(build, name):
    return os.path.join(build, "tests", "integration", name)


def census(build, daemon):
    """{"pid", "heartbeat", "links": {hook: {id, program, cgroup}}, "services": {"addr:port": {index, backends}}}"""
    done = subprocess.run([tool(build, "census"), daemon.pinned], capture_output=True, text=True,
                          check=True, timeout=30)
    return json.loads(done.stdout)


def ask(path, method, target, body=None, headers=()):
    """(status, bytes) of one HTTP request to a unix socket; whatever the status is."""
    connection = UnixConnection(path, timeout=20)
    try:
        data = json.dumps(body).encode() if body is not None else None
        connection.request(method, target, data, {"Content-Type": "application/json", **dict(headers)})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def try_put(daemon, target, body):
    """The status of a PUT that may find sinewd dying: 0 then."""
    try:
        return ask(daemon.socket, "PUT", target, body)[0]
    except (OSError, http.client.HTTPException):
        return 0


def source(*objects):
    """The body of PUT /v1/sources/NAME."""
    return {"apiVersion": "sinew/v1", "kind": "List", "items": list(objects)}


def names(daemon):
    """Declared services, as namespace/name."""
    return sorted(f"{one['metadata']['namespace']}/{one['metadata']['name']}"
                  for one in daemon.get("/v1/services")["items"])


def attempts(daemon, name, namespace="test"):
    return daemon.get(f"/v1/services/{namespace}/{name}")["status"]["traffic"]["attempts"]


def checks(daemon):
    """{name: (level, text, hint)} of doctor."""
    return {one["name"]: (one["level"], one["text"], one.get("hint", "")) for one in daemon.get("/v1/doctor")["items"]}


def run_refused(daemon_command, env=None, seconds=20):
    """(exit status, what it said) of a sinewd that must not become ready."""
    done = subprocess.run(daemon_command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
                          check=False, env=env)
    return done.returncode, done.stderr + done.stdout


def start_foreign(sandbox, build, cgroup, mode, *rewrite, hook="connect4"):
    """A program of another owner on a cgroup; see foreign.c. The child has .program, its id."""
    child = sandbox.start_ready([tool(build, "foreign"), cgroup, hook, mode, *rewrite])
    child.program = int(child.stdout.readline())
    return child
