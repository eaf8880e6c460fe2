# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent as its unit runs it, beside real registries: TLS with a client certificate and a token, unix sockets that only a
group may use; and nothing of a credential anywhere but in its memory. What it registers so is in test_register_chain.py."""
import contextlib
import os

import pytest

from harness.confined import GROUP, USER, make_confined  # noqa: F401 pylint: disable=unused-import
from harness.fake_docker import FakeDocker, container
from harness.peer_consul import Consul
from harness.peer_docker import Docker, Podman
from harness.registering import ConsulBoard, wait_for


@pytest.fixture(scope="module", name="board")
def make_board(sandbox):
    made = ConsulBoard(sandbox)
    yield made
    made.server.stop()


def own(path, mode=0o400):
    os.chown(path, USER, USER)
    os.chmod(path, mode)
    return path


def test_consul_over_tls_with_a_token(confine, sandbox):
    server = Consul(sandbox, acl=True, tls=True)
    server.register("pay", "10.0.0.1", 8080)
    token = own(sandbox.write("token", server.management + "\n"))
    pair = [own(path) for path in server.pair]
    agent = confine([{"name": "dc1", "type": "consul", "address": f"https://localhost:{server.port}", "tokenFile": token,
                      "caFile": server.authority.certificate, "certFile": pair[0], "keyFile": pair[1]}])
    agent.wait_endpoints("pay", ["10.0.0.1:8080"])
    server.register("pay", "10.0.0.2", 8080)
    agent.wait_endpoints("pay", ["10.0.0.1:8080", "10.0.0.2:8080"])
    with open(pair[1], encoding="ascii") as f:
        key = f.read().splitlines()[1]
    for where, text in agent.seen().items():
        assert server.management.encode() not in text and key.encode() not in text, where
    server.stop()


def test_consul_by_its_unix_socket(confine, sandbox):
    server = Consul(sandbox, unix=True)
    server.register("pay", "10.0.0.3", 8080)
    os.chown(server.unix_path, -1, GROUP)
    os.chmod(server.unix_path, 0o660)
    agent = confine([{"name": "dc1", "type": "consul", "address": f"unix://{server.unix_path}"}])
    agent.wait_endpoints("pay", ["10.0.0.3:8080"])
    server.stop()


def test_docker_by_its_unix_socket(confine, sandbox):
    with contextlib.closing(FakeDocker(sandbox.tmp)) as engine:
        engine.containers = [container("one", 8080)]
        os.chown(engine.socket, -1, GROUP)
        os.chmod(engine.socket, 0o600)
        agent = confine([{"name": "engine", "type": "docker", "address": f"unix://{engine.socket}",
                          "nodeAddress": "10.0.0.4"}])
        assert "group of the socket" in agent.wait_error("engine", "unreachable")["hint"]
        os.chmod(engine.socket, 0o660)
        agent.wait_endpoints("pay", ["10.0.0.4:8080"])


def test_srv_by_a_resolver(confine, board):
    board.server.register("cart", "127.0.0.5", 8080)
    agent = confine([{"name": "names", "type": "srv", "names": ["cart.service.consul"],
                      "address": f"dns://127.0.0.1:{board.server.dns_port}"}])
    agent.wait_endpoints("cart", ["127.0.0.5:8080"])


@pytest.mark.parametrize("kind", (Docker, Podman))
def test_what_listens_in_a_container_is_registered_by_its_label(confine, daemon, sandbox, board, kind):
    engine = kind(sandbox)
    os.chown(engine.socket, -1, GROUP)
    os.chmod(engine.socket, 0o660)
    agent = confine([board.config, {"name": "engine", "type": "docker", "address": f"unix://{engine.socket}"}],
                    settings={"node.name": "n1"})
    daemon.put("/v1/registrations/shop/payments", {
        "apiVersion": "sinew/v1", "kind": "Registration", "metadata": {"name": "payments", "namespace": "shop"},
        "spec": {"service": "payments", "registry": "dc1", "workload": {"container": {"app": "payments", "tier": "web"}},
                 "port": 18090, "ttl": "3s"}})
    served = {"CgroupParent": f"{daemon.cgroup.removeprefix(sandbox.cgroup_top)}/docker"}
    for address, labels in (("127.0.0.2", {"app": "payments"}), ("127.0.0.3", {"app": "payments", "tier": "back"}),
                            ("127.0.0.1", {"app": "payments", "tier": "web", "team": "billing"})):
        engine.run_container(f"at-{address}", labels=labels, command=("httpd", "-f", "-p", f"{address}:18090"), HostConfig=served)
    wait_for(lambda: board.ids("payments") == {"127.0.0.1:18090"})
    wait_for(lambda: len(daemon.get("/v1/listeners")["items"]) == 3)
    # The registry has it a moment before it has answered that it does.
    wait_for(lambda: agent.get("/v1/registrations")["items"][0]["state"] == "registered")
    assert board.ids("payments") == {"127.0.0.1:18090"}
    engine.kill_container("at-127.0.0.1")
    took = wait_for(lambda: not board.ids("payments"))
    print(f"{engine.PEER}: killed to gone, with the engine's own answer: {took * 1e3:.1f} ms")
    assert took <= 1
    for address in ("127.0.0.2", "127.0.0.3"):
        engine.remove(f"at-{address}")
    engine.stop()
    daemon.request("DELETE", "/v1/registrations/shop/payments")
