# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent as its unit runs it, beside real registries: TLS with a client certificate and a token, unix sockets that only a
group may use; and nothing of a credential anywhere but in its memory."""
import contextlib
import os

from harness.confined import GROUP, USER, make_confined  # noqa: F401 pylint: disable=unused-import
from harness.fake_docker import FakeDocker, container
from harness.peer_consul import Consul


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
