# SPDX-License-Identifier: GPL-2.0-or-later
"""agent.yaml is changed while sinew-agent runs: what is as before goes on without a break, what is new is followed, what is
another keeps what it had until it speaks, what is missing goes, and an error changes nothing."""
import json
import os
import re
import socket
import time

import pytest

from harness.agent import Agent
from harness.fake_consul import FakeConsul, instance
from harness.fixtures import BUILD

ENDS = [f"10.1.0.{n}:8080" for n in (1, 2, 3)]


def instances(*last):
    return [instance(f"i{n}", f"10.1.0.{n}", 8080) for n in last]


@pytest.fixture(name="run")
def make_run(sandbox, daemon, request):
    """run(registry...) -> an Agent that follows these."""
    agents = []

    def run(*registries, **more):
        agents.append(Agent(sandbox, BUILD, daemon, list(registries), name=f"agent-{request.node.name[5:35]}", **more))
        return agents[-1]
    yield run
    for agent in agents:
        if agent.child.poll() is None:
            agent.reload([])  # the next test has the same sinewd
            agent.wait(lambda: not daemon.get("/v1/services?source=agent")["items"], what="nothing left")
            assert agent.stop() == 0, agent.log()


@pytest.fixture(name="consul")
def make_consul():
    with FakeConsul({"pay": instances(1, 2, 3)}) as server:
        yield server


@pytest.fixture(name="other")
def make_other():
    with FakeConsul({"cart": instances(1, 2)}) as server:
        yield server


def follow(server, name="dc1", **more):
    return {"name": name, "type": "consul", "address": server.address, **more}


def first_questions(server):
    """How many were those of somebody who follows it and knows nothing yet."""
    return len([what for _, what, query, _ in server.requests if "index" not in query and not what.startswith("agent/")])


def kept_file(agent, name):
    return os.path.join(agent.state, f"{name}.json")


def test_what_is_as_before_goes_on_and_a_new_one_is_followed(run, consul, other):
    agent = run(follow(consul))
    agent.wait_endpoints("pay", ENDS)
    asked, since = first_questions(consul), agent.registry("dc1")["lastChange"]
    agent.reload([follow(other, "dc2"), follow(consul, onStale="fail")])  # another place in the list, another onStale
    agent.wait_endpoints("cart", ENDS[:2])
    assert set(agent.endpoints("pay")) == set(ENDS)
    consul.set("pay", instances(1, 2, 3, 4))
    agent.wait_endpoints("pay", [*ENDS, "10.1.0.4:8080"])
    assert first_questions(consul) == asked
    assert agent.registry("dc1")["state"] == "ok" and agent.registry("dc1")["lastChange"] > since
    assert [one["name"] for one in agent.get("/v1/registries")["items"]] == ["dc2", "dc1"]
    assert "sinew_registry_up{registry=\"dc2\",type=\"consul\"} 1" in agent.request("GET", "/metrics").decode()


def test_what_is_missing_goes_with_all_that_it_said(run, consul, other):
    """All at once, which the guard would hold if a registry did it."""
    consul.set("both", instances(1))
    other.set("both", instances(2))
    agent = run(follow(consul), follow(other, "dc2"))
    agent.wait_endpoints("pay", ENDS)
    agent.wait_endpoints("both", ENDS[:2])
    agent.wait(lambda: os.path.exists(kept_file(agent, "dc1")), what="last good state")
    agent.reload([follow(other, "dc2")])
    agent.wait(lambda: agent.service("pay") is None, what="end of pay")
    agent.wait_endpoints("both", ENDS[1:2])
    assert set(agent.endpoints("cart")) == set(ENDS[:2])
    assert not os.path.exists(kept_file(agent, "dc1"))
    asked = len(consul.requests)
    time.sleep(1)
    assert len(consul.requests) == asked, "nobody follows it"
    assert "dc1" not in agent.request("GET", "/metrics").decode()
    agent.stop()
    agent.start()
    agent.wait_ready()
    assert agent.service("pay") is None
    agent.reload([follow(consul), follow(other, "dc2")])
    agent.wait_endpoints("pay", ENDS)
    agent.wait_endpoints("both", ENDS[:2])


def test_one_at_another_address_keeps_what_it_had_until_it_speaks(run, consul, other):
    other.set("pay", instances(1, 2))
    agent = run(follow(consul))
    agent.wait_endpoints("pay", ENDS)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        agent.reload([{**follow(consul), "address": f"http://127.0.0.1:{silent.getsockname()[1]}"}])
        assert silent.accept()
        assert set(agent.endpoints("pay")) == set(ENDS)
        assert agent.registry("dc1")["state"] == "connecting" and agent.registry("dc1")["endpoints"] == 3
    agent.reload([{**follow(consul), "address": "ftp://nowhere"}])
    assert "ftp://nowhere" in agent.wait_error("dc1", "config")["text"]
    assert set(agent.endpoints("pay")) == set(ENDS)
    agent.reload([follow(other)])
    agent.wait_endpoints("cart", ENDS[:2])
    agent.wait_state("dc1")
    assert set(agent.endpoints("pay")) == set(ENDS[:2])  # a third of it is no more than half
    other.set("pay", None)
    agent.wait(lambda: agent.registry("dc1")["suspect"] == 2, what="suspects")
    assert json.loads(agent.request("POST", "/v1/registries/dc1/confirm"))["released"] == 2
    agent.wait(lambda: agent.service("pay") is None, what="end of pay")


def test_one_of_another_type_keeps_what_it_had_until_it_speaks(run, consul, sandbox):
    folder = sandbox.path("folder-of-dc1")
    agent = run(follow(consul))
    agent.wait_endpoints("pay", ENDS)
    agent.reload([{"name": "dc1", "type": "files", "path": folder}])
    agent.wait_error("dc1", "missing")
    assert set(agent.endpoints("pay")) == set(ENDS)
    os.mkdir(folder)
    with open(os.path.join(folder, ".new"), "w", encoding="utf-8") as f:
        json.dump(manifest("10.96.9.1"), f)
    os.rename(os.path.join(folder, ".new"), os.path.join(folder, "pay.json"))
    agent.wait_state("dc1", seconds=60)
    agent.wait(lambda: {one["source"] for one in agent.endpoints("pay").values()} == {"files/dc1"}, what="its new tag")


def manifest(address, *ends):
    return {"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": "pay", "namespace": "default"},
            "spec": {"address": address, "ports": [{"port": 80}],
                     "endpoints": [{"address": one, "port": 8080} for one in ends or ["10.1.0.1"]]}}


def test_the_order_in_the_list_says_who_counts(run, sandbox):
    registries = []
    for name, address in (("one", "10.96.8.1"), ("two", "10.96.8.2")):
        path = sandbox.path(f"folder-{name}")
        os.mkdir(path)
        with open(os.path.join(path, "pay.json"), "w", encoding="utf-8") as f:
            json.dump(manifest(address), f)
        registries.append({"name": name, "type": "files", "path": path})

    def address():
        found = agent.service("pay")
        return found and found["spec"]["address"]

    agent = run(*registries)
    agent.wait(lambda: address() == "10.96.8.1", what="the address of the first")
    agent.reload(registries[::-1])
    agent.wait(lambda: address() == "10.96.8.2", what="the address of the other")


BROKEN = [("registries: [{name: dc1, type: consul, adress: x}]\n", ":1:40: unknown key \"adress\""),
          ("registries: [\n", ":1:14: flow sequence"), ("dns.address: 8.8.8.8\n", "a setting of dns is wrong"), (None, "No such file")]


def test_a_file_with_an_error_changes_nothing(run, consul):
    agent = run(follow(consul))
    agent.wait_endpoints("pay", ENDS)
    asked = first_questions(consul)
    for n, (text, error) in enumerate(BROKEN):
        os.unlink(agent.config)
        if text:
            with open(agent.config, "w", encoding="utf-8") as f:
                f.write(text)
        said = agent.reload()
        assert error in said["lastError"] and agent.config in said["lastError"], said
        assert agent.log().count("the settings have errors; the old ones stay in force") == n + 1
        text = agent.request("GET", "/metrics").decode()
        assert f"sinew_agent_config_reloads_total{{result=\"failed\"}} {n + 1}\n" in text
        assert "sinew_agent_config_last_reload_successful 0\n" in text
    assert agent.registry("dc1")["state"] == "ok" and set(agent.endpoints("pay")) == set(ENDS)
    consul.set("pay", instances(1, 2, 3, 4))
    agent.wait_endpoints("pay", [*ENDS, "10.1.0.4:8080"])
    assert first_questions(consul) == asked
    assert "lastError" not in agent.reload([follow(consul)])
    text = agent.request("GET", "/metrics").decode()
    assert "sinew_agent_config_reloads_total{result=\"ok\"} 1\n" in text
    assert "sinew_agent_config_last_reload_successful 1\n" in text


def test_settings_that_need_a_restart_are_told_and_the_others_are_in_force(run):
    agent = run()
    agent.wait_ready()
    said = agent.reload([], **{"log.level": "error", "dns.address": "127.0.0.1:0", "node.name": "other"})
    assert said["needRestart"] == "dns.address, node.name"
    before = agent.log()
    assert re.search(r"restart to take over: dns.address, node.name", before)
    agent.reload()
    assert agent.log() == before, "log.level is in force: what is no error is not logged"
    del agent.settings["dns.address"], agent.settings["node.name"]
    assert "needRestart" not in agent.reload([])


def test_the_service_manager_is_told(run, sandbox):
    path = sandbox.path("notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(20)
        agent = run(environment={**os.environ, "NOTIFY_SOCKET": path})
        assert manager.recv(4096) == b"READY=1"
        agent.reload()
        assert manager.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert manager.recv(4096) == b"READY=1"
        assert agent.stop() == 0
        assert manager.recv(4096) == b"STOPPING=1"


def test_many_reloads_lose_nothing(run, consul, other):
    """Twenty in a row, with one that comes, goes and changes, while sinewd is told."""
    agent = run(follow(consul))
    agent.wait_endpoints("pay", ENDS)
    for n in range(20):
        agent.reload([follow(consul), *([follow(other, "dc2", zone=f"z{n}")] if n % 3 else [])])
        assert set(agent.endpoints("pay")) == set(ENDS)
    agent.reload([follow(consul), follow(other, "dc2")])
    agent.wait_endpoints("cart", ENDS[:2])
    agent.reload([follow(consul)])
    agent.wait(lambda: agent.service("cart") is None, what="end of cart")
    assert set(agent.endpoints("pay")) == set(ENDS)
