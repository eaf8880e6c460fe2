# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole way: a process listens, the kernel says so, sinewd tells, sinew-agent registers in a real Consul; and back when
the process is killed. What registries are told otherwise is in test_register.py."""
import os
import signal
import socket

import pytest

from harness.agent import Agent
from harness.fixtures import BUILD
from harness.registering import ConsulBoard, Watched, percentile, wait_for

ROUNDS = 50


def serve(address, port):
    """A process that listens, for Sandbox.spawn."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(8)
        yield
        signal.pause()


@pytest.fixture(scope="module")
def board(sandbox):
    made = ConsulBoard(sandbox)
    yield made
    made.server.stop()


@pytest.fixture(scope="module")
def agent(sandbox, daemon, board):
    made = Agent(sandbox, BUILD, daemon, [board.config], settings={"node.name": "n1"})
    below = daemon.cgroup.removeprefix(sandbox.cgroup_top)
    daemon.put("/v1/registrations/shop/payments", {
        "apiVersion": "sinew/v1", "kind": "Registration", "metadata": {"name": "payments", "namespace": "shop"},
        "spec": {"service": "payments", "registry": "dc1", "workload": {"cgroup": below}, "port": 18080, "ttl": "3s"}})
    wait_for(lambda: made.get("/v1/registrations")["items"])
    yield made
    made.stop()


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def test_a_process_that_listens_is_registered_and_a_killed_one_is_gone(sandbox, daemon, agent, board):
    there, gone = [], []
    for _ in range(ROUNDS):
        pid = sandbox.spawn(serve, "127.0.0.1", 18080, cgroup=daemon.cgroup)
        there.append(wait_for(lambda: board.ids("payments") == {"127.0.0.1:18080"}))
        kill(pid)
        gone.append(wait_for(lambda: not board.ids("payments")))
        sandbox.end(pid)
    print(f"{ROUNDS} rounds, ms p50/p99: there {percentile(there, .5) * 1e3:.1f}/{percentile(there, .99) * 1e3:.1f}, "
          f"gone {percentile(gone, .5) * 1e3:.1f}/{percentile(gone, .99) * 1e3:.1f}")
    assert percentile(gone, .99) <= 1


def test_a_sinewd_that_is_killed_meanwhile_costs_nothing(sandbox, daemon, agent, board):
    pid = sandbox.spawn(serve, "127.0.0.1", 18080, cgroup=daemon.cgroup)
    wait_for(lambda: board.ids("payments") == {"127.0.0.1:18080"})
    with Watched(board, "payments", ["127.0.0.1:18080"]) as watched:
        daemon.kill()
        daemon.start()
        wait_for(lambda: agent.get("/v1/registrations")["daemon"]["synced"])
    assert watched.looks and not watched.missing
    kill(pid)
    wait_for(lambda: not board.ids("payments"), 5)
    sandbox.end(pid)
