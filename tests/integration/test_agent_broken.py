# SPDX-License-Identifier: GPL-2.0-or-later
"""Registries whose configuration is broken when sinew-agent starts: each says what is wrong, keeps what it had, and is followed
without a restart once a person, or whoever writes its files, has mended it."""
import json
import os
import ssl

import pytest

from harness.agent import Agent
from harness.certificate import Authority
from harness.fake_consul import FakeConsul, instance
from harness.fake_kubernetes import FakeKubernetes
from harness.fixtures import BUILD

ENDS = ["10.1.0.1:8080", "10.1.0.2:8080"]


@pytest.fixture(name="run")
def make_run(sandbox, daemon, request):
    """run(registry) -> an Agent that follows it alone."""
    agents = []

    def run(registry):
        agents.append(Agent(sandbox, BUILD, daemon, [registry], name=f"agent-{request.node.name[5:40]}"))
        return agents[-1]
    yield run
    for agent in agents:
        assert agent.stop() == 0, agent.log()


@pytest.fixture(name="consul")
def make_consul():
    with FakeConsul({"pay": [instance("a", "10.1.0.1", 8080), instance("b", "10.1.0.2", 8080)]}) as server:
        yield server


def write(path, text):
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.rename(path + ".new", path)


def kubeconfig(url):
    return json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [],
                       "clusters": [{"name": "c", "cluster": {"server": url}}],
                       "contexts": [{"name": "c", "context": {"cluster": "c"}}]})


def test_a_kubeconfig_that_comes_later_is_used_and_what_was_known_stays_until_then(run, sandbox):
    path = sandbox.path("kubeconfig")
    with FakeKubernetes() as server:
        server.put_service("pay", address="10.96.4.4")
        server.put_slice("pay-1", "pay", ["10.1.0.1", "10.1.0.2"])
        write(path, kubeconfig(server.url))
        agent = run({"name": "cluster", "type": "kubernetes", "path": path})
        agent.wait_endpoints("pay", ENDS, "shop")
        agent.stop()
        os.unlink(path)
        agent.start()
        error = agent.wait_error("cluster", "config")
        assert path in error["text"] and "No such file" in error["text"] and "again" in error["hint"]
        assert agent.registry("cluster")["state"] == "failed" and agent.registry("cluster")["endpoints"] == 2
        write(path, "clusters: {")
        agent.wait(lambda: "No such file" not in agent.registry("cluster")["lastError"]["text"])
        assert agent.registry("cluster")["state"] == "failed"
        assert set(agent.endpoints("pay", "shop")) == set(ENDS)
        write(path, kubeconfig(server.url))
        agent.wait_state("cluster")
        assert "lastError" not in agent.registry("cluster")
        assert set(agent.endpoints("pay", "shop")) == set(ENDS)
        server.put_slice("pay-2", "pay", ["10.1.0.3"])
        agent.wait_endpoints("pay", [*ENDS, "10.1.0.3:8080"], "shop")
        log = agent.log()
        assert log.count("not followed") == 2 and "kubernetes/cluster: followed now" in log  # each cause once


def test_a_token_file_that_comes_later_is_used(run, sandbox, consul):
    path = sandbox.path("token")
    agent = run({"name": "dc1", "type": "consul", "address": consul.address, "tokenFile": path})
    assert path in agent.wait_error("dc1", "unauthorized")["text"]
    assert not consul.asked
    write(path, "secret\n")
    agent.wait_endpoints("pay", ENDS)
    assert consul.requests[0][3]["X-Consul-Token"] == "secret"


def test_an_authority_s_file_that_comes_later_is_used(run, sandbox, consul):
    authority, path = Authority(sandbox.path("tls")), sandbox.path("ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server"))
    consul.server.socket = context.wrap_socket(consul.server.socket, server_side=True)
    agent = run({"name": "dc1", "type": "consul", "address": f"https://localhost:{consul.port}", "caFile": path})
    agent.wait_error("dc1", "tls")
    with open(authority.certificate, encoding="ascii") as f:
        write(path, f.read())
    agent.wait_endpoints("pay", ENDS)
