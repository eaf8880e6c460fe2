# SPDX-License-Identifier: GPL-2.0-or-later
"""What every test with a real daemon gets: a sandbox of its file, a sinewd in it, a place for clients.

Before it: sandbox.py and daemon.py. After it: the conftest.py of a ring takes them over. When the ring has run,
nothing may be left of it: its last tests of all (left_behind.py) look.
"""
import os

import pytest

from harness.daemon import Daemon
from harness.sandbox import Namespace, Sandbox

BUILD = os.environ.get("SINEW_BUILD") or os.path.join(os.path.dirname(__file__), "..", "..", "build")
ADDRESSES = ("10.1.0.1", "10.1.0.2", "10.1.0.3", "fd00::1", "fd00::2", "fd00::3")


@pytest.fixture(scope="module")
def sandbox(request):
    name = os.path.basename(request.path).removeprefix("test_").removesuffix(".py")
    with Sandbox(name) as made:
        yield made


@pytest.fixture(scope="module")
def namespace(sandbox):
    """Where clients and servers live: addresses of ADDRESSES on loopback, no way out."""
    return Namespace(sandbox, addresses=ADDRESSES)


@pytest.fixture(scope="module")
def daemon(sandbox):
    """A sinewd on a cgroup of its own."""
    return Daemon(sandbox, BUILD, "sinewd", sandbox.cgroup("served"))


@pytest.fixture(scope="module")
def inside(sandbox, namespace, daemon):
    """inside(function, *args): called in a child process in the namespace and the served cgroup."""
    def call(function, *args, cgroup=None, seconds=60):
        return sandbox.call(function, *args, namespace=namespace, cgroup=cgroup or daemon.cgroup, seconds=seconds)
    return call
