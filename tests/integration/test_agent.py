# SPDX-License-Identifier: GPL-2.0-or-later
"""sinew-agent by itself beside a real sinewd: it starts, tells how it is, outlives sinewd, and ends. What registries say
is tested with each of them, in tests/peers."""
import contextlib
import os
import resource
import socket
import stat
import time

import pytest

from harness.agent import Agent
from harness.fake_consul import FakeConsul, instance
from harness.fixtures import BUILD
from harness.sandbox import SandboxError
from harness.service import service


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return sock


@pytest.fixture(name="agent")
def make_agent(sandbox, daemon, request):
    agent = Agent(sandbox, BUILD, daemon, [], name=f"agent-{request.node.name[5:40]}")
    yield agent
    if agent.child.poll() is None:
        assert agent.stop() == 0, agent.log()


def test_with_no_registry_it_lives_and_is_ready(agent):
    agent.wait_ready()
    assert agent.request("GET", "/livez") == b"ok\n"
    assert b"[+]sinewd ok\n" in agent.request("GET", "/readyz?verbose")
    assert agent.get("/v1/registries")["items"] == []


def test_its_metrics_hold_those_of_sinewd(agent):
    text = agent.request("GET", "/metrics").decode()
    assert "sinew_build_info" in text and "sinew_agent" in text


def test_its_socket_is_for_its_group_alone_and_is_removed(agent):
    assert stat.S_IMODE(os.stat(agent.socket).st_mode) == 0o660
    assert agent.stop() == 0
    assert not os.path.exists(agent.socket)


def test_what_was_applied_by_hand_is_left_alone(agent, daemon):
    agent.wait_ready()
    daemon.put("/v1/services/test/by-hand", service("by-hand", "10.96.7.7", [("10.1.0.1", 8080)]))
    agent.stop()
    agent.start()
    agent.wait_ready()
    assert agent.service("by-hand", "test")


def test_it_waits_for_sinewd_and_follows_a_restart(agent, daemon):
    agent.wait_ready()
    daemon.kill()
    daemon.start()
    agent.wait_ready()
    assert agent.child.poll() is None


def test_it_may_open_as_many_files_as_the_system_lets_it(sandbox, daemon):
    agent = Agent(sandbox, BUILD, daemon, [], name="agent-files", files=(256, 4096))
    assert resource.prlimit(agent.child.pid, resource.RLIMIT_NOFILE) == (4096, 4096)
    assert agent.stop() == 0


def test_clients_that_it_has_no_files_for_are_turned_away_and_cost_nothing(sandbox, daemon):
    agent = Agent(sandbox, BUILD, daemon, [], name="agent-few", files=(40, 40))
    agent.wait_ready()
    with contextlib.ExitStack() as held:
        for _ in range(60):
            held.enter_context(connect(agent.socket))
        before = agent.cpu_seconds()
        time.sleep(2)
        assert agent.cpu_seconds() - before < 0.5
        with connect(agent.socket) as late:
            late.settimeout(10)
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                late.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                assert late.recv(1000) == b""
    agent.wait(lambda: agent.request("GET", "/livez") == b"ok\n")
    assert "too many open files" in agent.log() and agent.stop() == 0


def test_more_services_of_a_consul_than_it_may_open_files(sandbox, daemon):
    """Each would have a connection of its own; now most take turns."""
    with FakeConsul({f"s{n}": [instance("a", "10.1.0.1")] for n in range(200)}) as consul:
        agent = Agent(sandbox, BUILD, daemon, [{"name": "dc1", "type": "consul", "address": consul.address}],
                      name="agent-many", files=(80, 80))
        agent.wait(lambda: agent.registry("dc1")["endpoints"] == 200)
        consul.set("s199", [instance("a", "10.1.0.2")])
        agent.wait_endpoints("s199", ["10.1.0.2:80"])
        assert "lastError" not in agent.registry("dc1") and len(os.listdir(f"/proc/{agent.child.pid}/fd")) < 70
        assert agent.stop() == 0


def test_settings_that_are_wrong_are_told_by_line(sandbox, daemon):
    agent = Agent(sandbox, BUILD, daemon, [], name="agent-mistyped", start=False)
    with open(agent.config, "w", encoding="utf-8") as f:
        f.write("coalesce: soon\nregistreis: []\nregistries: [{name: one, type: nonesuch}]\n")
    with pytest.raises(SandboxError):
        agent.start()
    assert agent.child.wait(10) == 2
    assert ":1:" in agent.log() and ":2:" in agent.log() and ":3:" in agent.log()
    assert "registries" in agent.log() and "nonesuch" in agent.log()
