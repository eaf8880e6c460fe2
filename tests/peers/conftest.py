# SPDX-License-Identifier: GPL-2.0-or-later
"""What every test with real clients gets. Before it: tests/harness/fixtures.py, peer.py. After it: test_*.py."""
import fcntl
import os
import subprocess

import pytest

from harness.fixtures import BUILD, daemon, inside, namespace, sandbox  # noqa: F401 pylint: disable=unused-import
from harness.peer import need
from harness.peer_server import report_logs

HERE = os.path.dirname(__file__)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """What the servers said last, beside a test that failed."""
    report_logs(item, (yield).get_result())


@pytest.fixture(scope="session")
def go_client():
    """main.go, built; what the Go tool keeps is kept below the build folder."""
    go = need("go")
    folder = os.path.join(os.path.realpath(BUILD), "peers")
    os.makedirs(folder, exist_ok=True)
    env = {**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOPROXY": "off",
           "GOCACHE": os.path.join(folder, "go-cache"), "GOPATH": os.path.join(folder, "go")}
    env.pop("GOFLAGS", None)
    program = os.path.join(folder, "go-client")
    with open(os.path.join(folder, "go-client.lock"), "w", encoding="ascii") as lock:  # files run at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = subprocess.run([go, "build", "-o", f"{program}.new", os.path.join(HERE, "main.go")], capture_output=True,
                               text=True, env=env, cwd=folder, timeout=600, check=False)
        assert built.returncode == 0, built.stderr
        os.replace(f"{program}.new", program)  # who runs the old one goes on
    return program


@pytest.fixture(scope="module")
def client(sandbox, namespace, daemon):  # noqa: F811
    """client(WORDS...): what a program says that runs in the served cgroup."""
    def run(*words, seconds=60):
        return sandbox.run(list(words), namespace=namespace, cgroup=daemon.cgroup, seconds=seconds)
    return run
