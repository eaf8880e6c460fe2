# SPDX-License-Identifier: GPL-2.0-or-later
"""What sinew-agent showed a server as its credential is nowhere in its memory once the file has another one and the last request
with the old one has ended. Root reads its memory; nobody else could."""
import base64
import contextlib
import os
import secrets
import ssl
import time

import pytest

from harness.agent import Agent
from harness.certificate import Authority
from harness.fake_consul import FakeConsul, instance
from harness.fake_etcd import FakeEtcd
from harness.fake_eureka import FakeEureka
from harness.fake_kubernetes import FakeKubernetes
from harness.fixtures import BUILD
from harness.sandbox import SandboxError

PIECE = 12
ENDS = ["10.1.0.1:8080"]


def pieces(secret):
    """What is left of it, if it is twice as long, has one of these in it."""
    encoded = base64.b64encode(f"sinew:{secret}".encode())
    return [text[at:at + PIECE] for text in (secret.encode(), encoded[8:]) for at in range(0, len(text) - PIECE + 1, PIECE)]


def memory_of(pid):
    """All that it may write to."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            where, mode = line.split()[:2]
            at, end = (int(one, 16) for one in where.split("-"))
            while mode.startswith("rw") and at < end:
                try:
                    data = os.pread(memory.fileno(), min(end - at, 1 << 24), at)
                except OSError:  # given back meanwhile
                    break
                if not data:
                    break
                yield data
                at += len(data)


def left(agent, secret):
    """How often some of it is there."""
    looked_for = pieces(secret)
    return sum(data.count(one) for data in memory_of(agent.child.pid) for one in looked_for)


class Consul:
    type, path, asks = "consul", "tokenFile", 2  # requests, once end() was called

    def __init__(self, *_):
        self.server = FakeConsul({"pay": [instance("a", "10.1.0.1", 8080)]})
        self.keys = {"address": self.server.address}

    def end(self):
        """No request goes on with what it was begun with."""
        self.server.set("pay", [instance("a", "10.1.0.1", 8080)])

    def shown(self):
        return [headers["X-Consul-Token"] for _, _, _, headers in self.server.requests]


class Eureka:
    type, path, asks = "eureka", "passwordFile", 2

    def __init__(self, folder, tls=False):
        self.server = FakeEureka()
        self.server.put("PAY", "10.1.0.1", 8080)
        self.server.spoil = lambda _: time.sleep(0.3)  # long enough to be seen
        self.keys = {"address": self.server.url, "interval": "200ms", "username": "sinew"}
        if tls:
            authority, context = Authority(folder), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*authority.issue("server"))
            self.server.server.socket = context.wrap_socket(self.server.server.socket, server_side=True)
            self.keys.update(address=f"https://localhost:{self.server.port}/eureka", caFile=authority.certificate)

    def end(self):
        pass

    def shown(self):
        return [base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode().removeprefix("sinew:")
                for _, headers, _ in self.server.requests]


class EurekaTls(Eureka):
    def __init__(self, folder):
        super().__init__(folder, tls=True)


class Kubernetes:
    type, path, asks = "kubernetes", "tokenFile", 4

    def __init__(self, *_):
        self.server = FakeKubernetes()
        self.server.put_service("pay", namespace="default")
        self.server.put_slice("pay-1", "pay", ["10.1.0.1"], namespace="default")
        self.keys = {"address": self.server.url}

    def end(self):
        for kind in list(self.server.open):
            self.server.end_watches(kind)

    def shown(self):
        return [one.headers["authorization"].removeprefix("Bearer ") for one in self.server.requests]


class Etcd:
    type, path, asks = "etcd", "tokenFile", 1

    def __init__(self, *_):
        self.server = FakeEtcd()
        self.server.put("pay/a", "10.1.0.1:8080")
        self.keys = {"address": self.server.url, "interval": "200ms"}

    def end(self):
        self.server.closing = True
        with self.server.changed:
            self.server.changed.notify_all()
        end = time.monotonic() + 20
        while self.server.open and time.monotonic() < end:
            time.sleep(0.005)
        self.server.closing = False

    def shown(self):
        return [headers.get("Authorization") for _, _, headers, _ in self.server.requests]


@pytest.fixture(name="run")
def make_run(sandbox, daemon, request):
    """run(registry) -> an Agent that follows it alone."""
    agents = []
    with contextlib.suppress(SandboxError):  # of the test before
        daemon.request("DELETE", "/v1/sources/agent")

    def run(registry):
        agents.append(Agent(sandbox, BUILD, daemon, [registry], name=f"agent-{request.node.name[-24:]}"))
        return agents[-1]
    yield run
    for agent in agents:
        assert agent.stop() == 0, agent.log()


def give(path, secret):
    with open(f"{path}.new", "w", encoding="ascii") as f:
        f.write(secret + "\n")
    os.rename(f"{path}.new", path)


@pytest.mark.parametrize("kind", [Consul, Eureka, EurekaTls, Kubernetes, Etcd])
@pytest.mark.parametrize("length", (36, 900))
def test_a_credential_that_was_replaced_is_nowhere_in_its_memory(run, sandbox, kind, length):
    name = f"forgets-{kind.__name__}-{length}"
    path, old, new = sandbox.path(f"{name}.secret"), *(secrets.token_urlsafe(length)[:length] for _ in range(2))
    registry = kind(sandbox.path(f"{name}.tls"))
    give(path, old)
    with contextlib.ExitStack() as stack:
        stack.enter_context(registry.server)
        agent = run({"name": "r", "type": registry.type, registry.path: path, **registry.keys})
        agent.wait_endpoints("pay", ENDS)
        assert registry.shown()[0] == old
        agent.wait(lambda: left(agent, old), what="credential in use")
        give(path, new)
        registry.end()
        agent.wait(lambda: registry.shown().count(new) >= registry.asks, what="requests with the new one")
        agent.wait(lambda: not left(agent, old), what="end of what was replaced")


def test_a_password_is_forgotten_once_there_is_a_token_for_it_and_a_token_once_there_is_another(run, sandbox):
    path, password, refused = sandbox.path("forgets-login.secret"), secrets.token_urlsafe(90), []
    give(path, password)

    def log_in(request):
        """Each login gets a token of its own, and takes long enough to be seen."""
        if request.path == "/v3/auth/authenticate":
            time.sleep(1)
            request.send(200, {"token": secrets.token_urlsafe(90)})
        elif request.headers["Authorization"] in refused:
            request.send(401, {"code": 16, "message": "etcdserver: invalid auth token"})
        else:
            return False
        return True
    registry = Etcd()
    registry.server.spoil = log_in

    def watched_with():
        return [headers["Authorization"] for where, _, headers, _ in registry.server.requests if where == "/v3/watch"]
    with registry.server:
        agent = run({"name": "r", "type": "etcd", "passwordFile": path, "username": "sinew", **registry.keys})
        agent.wait(lambda: left(agent, password), what="password in use")
        agent.wait(watched_with, what="watch")
        agent.wait(lambda: not left(agent, password), what="end of the password")
        old = watched_with()[0]
        assert left(agent, old)
        refused.append(old)
        registry.end()
        agent.wait(lambda: watched_with()[-1] != old, 20, "watch with another token")
        agent.wait(lambda: not left(agent, old), what="end of the token")
        agent.wait(lambda: not left(agent, password), what="end of the password")
