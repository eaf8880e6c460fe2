# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole way: a process listens, the kernel says so, sinewd tells, sinew-agent registers in a real registry; and back when
the process is killed. As in production: each registry over TLS and by credentials, the agent confined as its unit does it.
What registries are told otherwise is in test_register.py."""
import contextlib
import json
import os
import signal
import subprocess
import time

import pytest

from harness.confined import CREDENTIALS, Confined
from harness.fixtures import BUILD
from harness.guarded import GUARDED
from harness.peer_server import free_ports
from harness.registering import Watched, listening, percentile, wait_for
from harness.sandbox import SandboxError

ROUNDS = 50
WARM_UP = 5  # Eureka compiles itself while it runs
PORT, OTHER = free_ports(2)  # of this host's loopback, where others may be, too
END = f"127.0.0.1:{PORT}"


def kill(pid):
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module", params=list(GUARDED))
def board(request, sandbox):
    made = GUARDED[request.param](sandbox)
    yield made
    made.server.stop()


def declare(daemon, name, port):
    below = daemon.cgroup.removeprefix(daemon.sandbox.cgroup_top)
    daemon.put(f"/v1/registrations/shop/{name}", {
        "apiVersion": "sinew/v1", "kind": "Registration", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"service": name, "registry": "dc1", "workload": {"cgroup": below}, "port": port, "ttl": "3s"}})


@pytest.fixture(scope="module")
def agent(sandbox, daemon, board):
    made = Confined(sandbox, BUILD, daemon, [board.keys(CREDENTIALS)], name=f"agent.{board.kind}",
                    settings={"node.name": "n1"}, credentials=board.begin("payments"))
    declare(daemon, "payments", PORT)
    wait_for(lambda: made.get("/v1/registrations")["items"])
    yield made
    made.stop()
    with contextlib.suppress(SandboxError):
        daemon.request("DELETE", "/v1/sources/agent")


@pytest.fixture(name="listener")
def make_listener(sandbox, daemon, agent, board):
    """A process that listens, and is registered."""
    pid = sandbox.spawn(listening, "127.0.0.1", PORT, cgroup=daemon.cgroup)
    wait_for(lambda: board.ids("payments") == {END})
    yield pid
    sandbox.end(pid)
    wait_for(lambda: not board.ids("payments"))


def test_a_process_that_listens_is_registered_and_a_killed_one_is_gone(sandbox, daemon, agent, board):
    there, gone = [], []
    for _ in range(WARM_UP + ROUNDS):
        pid = sandbox.spawn(listening, "127.0.0.1", PORT, cgroup=daemon.cgroup)
        there.append(wait_for(lambda: board.ids("payments") == {END}))
        kill(pid)
        gone.append(wait_for(lambda: not board.ids("payments")))
        sandbox.end(pid)
    there, gone = there[WARM_UP:], gone[WARM_UP:]
    print(f"{board.kind}: {ROUNDS} rounds, ms p50/p99: there {percentile(there, .5) * 1e3:.1f}/"
          f"{percentile(there, .99) * 1e3:.1f}, gone {percentile(gone, .5) * 1e3:.1f}/{percentile(gone, .99) * 1e3:.1f}")
    assert percentile(gone, .99) <= 1


def test_what_is_registered_is_followed_and_no_secret_shown(agent, board, listener):
    agent.wait_endpoints("payments", [END])
    with open(os.path.join(agent.credentials, "secret"), "rb") as f:
        secret = f.read().strip()
    assert len(secret) > 30
    for where, text in agent.seen().items():
        assert secret not in text, where


def test_sigterm_of_the_agent_takes_it_out_first(agent, board, listener):
    assert agent.stop() == 0
    assert not board.ids("payments")
    agent.start()
    wait_for(lambda: board.ids("payments") == {END})


def test_a_sinewd_that_is_killed_meanwhile_costs_nothing(daemon, agent, board, listener):
    with Watched(board, "payments", [END]) as watched:
        daemon.kill()
        daemon.start()
        agent.share_control()
        wait_for(lambda: agent.get("/v1/registrations")["daemon"]["synced"])
    assert watched.looks and not watched.missing


def test_credentials_that_change_cost_nothing(sandbox, daemon, agent, board):
    pid = sandbox.spawn(listening, "127.0.0.1", PORT, cgroup=daemon.cgroup)
    wait_for(lambda: board.ids("payments") == {END})
    with Watched(board, "payments", [END]) as watched:
        board.change(lambda secret: agent.give("secret", secret))
        time.sleep(3.5)  # more than a lease
    assert watched.looks and not watched.missing
    for _ in range(2):
        sandbox.end(pid)
        wait_for(lambda: not board.ids("payments"))
        board.change(lambda secret: agent.give("secret", secret))
        pid = sandbox.spawn(listening, "127.0.0.1", PORT, cgroup=daemon.cgroup)
        wait_for(lambda: board.ids("payments") == {END})
    sandbox.end(pid)
    wait_for(lambda: not board.ids("payments"))


@pytest.mark.parametrize("board", ["consul"], indirect=True)
def test_an_agent_that_is_killed_after_its_credentials_changed(agent, board, listener):
    """Consul's own agent goes on with the token that came with an instance; of others a lease is a lease."""
    board.change(lambda secret: agent.give("secret", secret))
    time.sleep(2)
    # What the next agent asks for first; service:write is all that it takes.
    assert board.server.http.get("/v1/agent/services", headers={"X-Consul-Token": board.token["SecretID"]})
    agent.kill()
    wait_for(lambda: not board.ids("payments"), 3 * board.lost_after + 6)
    agent.start()
    wait_for(lambda: board.ids("payments") == {END})


def doctor(daemon, agent):
    """(exit code, {name of a check: its lines}) of sinewctl doctor."""
    done = subprocess.run([os.path.join(BUILD, "sinewctl"), "--socket", daemon.socket, "--agent-socket", agent.socket, "doctor",
                           "-o", "json"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False)
    checks = {}
    for one in json.loads(done.stdout)["items"]:
        checks.setdefault(one["name"], []).append(one)
    return done.returncode, checks


@pytest.mark.parametrize("board", ["consul", "etcd"], indirect=True)
def test_a_permission_that_is_missing_is_named(sandbox, daemon, agent, board):
    declare(daemon, "orders", OTHER)
    pid = sandbox.spawn(listening, "127.0.0.1", OTHER, cgroup=daemon.cgroup)

    def orders():
        return next((one for one in agent.get("/v1/registrations")["items"] if one["name"] == "orders"), {})
    wait_for(lambda: orders().get("state") == "failing")
    assert board.missing in orders()["instances"][0]["lastError"]
    code, checks = doctor(daemon, agent)
    told, = (one for one in checks["registration"] if one["level"] != "ok")
    assert code == 1 and told["level"] == "fail" and "shop/orders" in told["text"] and board.missing in told["text"]
    assert not board.ids("orders")
    board.allow("orders")
    wait_for(lambda: board.ids("orders") == {f"127.0.0.1:{OTHER}"}, 20)
    code, checks = doctor(daemon, agent)
    assert [one["level"] for one in checks["registration"]] == ["ok"]
    kill(pid)
    wait_for(lambda: not board.ids("orders"))
    daemon.request("DELETE", "/v1/registrations/shop/orders")


def test_credentials_that_are_wrong_are_told(daemon, agent, board, listener):
    agent.stop()
    with open(os.path.join(agent.credentials, "secret"), encoding="ascii") as f:
        right = f.read()
    agent.give("secret", "00000000-1111-2222-3333-444444444444")
    agent.start()

    def told():
        return [checks for checks in doctor(daemon, agent)[1].get("registration", []) if checks["level"] == "fail"]
    wait_for(told, every=0.1)
    assert any(board.wrong in one["text"] for one in told())
    os.unlink(os.path.join(agent.credentials, "secret"))
    wait_for(lambda: any(f"{CREDENTIALS}/secret: No such file" in one["text"] for one in told()), 20, every=0.1)
    agent.give("secret", right)
    wait_for(lambda: board.ids("payments") == {END}, 20)


def test_an_authority_that_is_not_trusted_is_told(sandbox, daemon, agent, board, listener):
    agent.stop()
    agent.write([{key: value for key, value in agent.registries[0].items() if key != "caFile"}])
    agent.start()
    wait_for(lambda: any("certificate" in one["text"] for one in doctor(daemon, agent)[1].get("registration", [])), 20, every=0.1)
    assert not board.ids("payments")
    agent.kill()  # it would wait for a registry that it cannot reach
    agent.write([board.keys(CREDENTIALS)])
    agent.start()
    wait_for(lambda: board.ids("payments") == {END})
