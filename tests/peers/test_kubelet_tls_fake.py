# SPDX-License-Identifier: GPL-2.0-or-later
"""A kubelet over TLS: who it must prove to be, what it is shown, and that no token leaves before it has."""
import os
import ssl

import pytest

from harness.certificate import Authority
from harness.fake_kubernetes import FakeKubernetes
from harness.registering import wait_for
from test_register_pods_fake import COUNT, Place, kubelet_list


@pytest.fixture(name="authority", scope="module")
def make_authority(sandbox):
    return Authority(sandbox.path("kubelet-tls"), "cluster")


def context(authority, name, clients=None, **more):
    """A server's, with a certificate of that authority's; `clients`: who signs those of its clients, who need one then."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*authority.issue(name, **more))
    if clients:
        made.load_verify_locations(clients.certificate)
        made.verify_mode = ssl.CERT_REQUIRED
    return made


class Node:
    """An API server and a kubelet, both over TLS, and an agent that follows the kubelet's pods."""

    def __init__(self, sandbox, authority):
        self.sandbox, self.authority = sandbox, authority
        self.good = context(authority, "kubelet", names=())
        self.server = FakeKubernetes(tls=context(authority, "server"))
        self.server.put_node("n1")
        self.kubelet = FakeKubernetes(tls=self.good)
        self.answer = (200, kubelet_list(("pay-0", "uid-0")))
        self.kubelet.list = lambda request, connection: connection.answer(self.answer[1], self.answer[0])
        self.token, self.place = sandbox.path(f"kubelet-token-{next(COUNT)}"), None
        self.write("one")

    def write(self, token):
        with open(f"{self.token}.new", "w", encoding="ascii") as f:
            f.write(token)
        os.rename(f"{self.token}.new", self.token)

    def begin(self, **more):
        settings = more or {"tokenFile": self.token}
        self.place = Place(self.sandbox, self.server, f"k{next(COUNT)}", wanted=False, pods="true", kubelet=self.kubelet.url,
                           interval="100ms", caFile=self.authority.certificate, **settings)

    def error(self):
        return (self.place.agent.registry("cluster").get("pods") or {}).get("lastError")

    def shown(self):
        """What the kubelet was shown as Authorization."""
        return {one.headers.get("authorization") for one in self.kubelet.requests}

    def wait_known(self, *names):
        wait_for(lambda: self.place.known() == set(names) and not self.error(), 30)

    def end(self):
        if self.place:
            self.place.end()
        self.kubelet.stop()
        self.server.stop()


@pytest.fixture
def node(sandbox, authority):
    made = Node(sandbox, authority)
    yield made
    made.end()


def test_the_token_is_shown_to_one_who_is_of_the_authority_and_is_read_anew(node):
    node.begin()
    node.wait_known("pay-0")
    assert node.shown() == {"Bearer one"} and {one.path for one in node.kubelet.requests} == {"/pods"}
    node.write("two")
    wait_for(lambda: node.shown() == {"Bearer one", "Bearer two"})
    node.answer = (200, kubelet_list(("pay-0", "uid-0"), ("pay-1", "uid-1")))
    node.wait_known("pay-0", "pay-1")


@pytest.mark.parametrize("which", ("of another authority", "for another host", "that has ended", "of nobody"))
def test_one_with_a_certificate_that_is_wrong_is_told_nothing(node, which):
    if which == "of another authority":
        bad = context(Authority(node.sandbox.path(f"foreign-{next(COUNT)}"), "cluster"), "kubelet")
    elif which == "for another host":
        bad = context(node.authority, "elsewhere", names=("node-2", "localhost"), addresses=("127.0.0.2",))
    elif which == "that has ended":
        bad = context(node.authority, "ended", days=-1)
    else:
        bad = None  # it speaks HTTP
    node.kubelet.tls = bad
    node.begin()
    wait_for(node.error, 20)
    if bad:
        assert node.error()["reason"] == "tls" and "caFile" in node.error()["hint"], node.error()
    else:
        assert "TLS handshake" in node.error()["text"], node.error()
    assert node.kubelet.requests == [] and node.place.known() == set()
    node.place.agent.wait_state("cluster")  # services do not suffer
    node.kubelet.tls = node.good
    node.wait_known("pay-0")
    node.kubelet.tls = bad

    def is_refused():
        node.kubelet.cut()  # one that was made before may still be good
        return node.error()
    wait_for(is_refused, 30, every=0.2)
    assert node.place.known() == {"pay-0"}  # no name is taken away by that


def test_a_certificate_of_ours_will_do_where_there_is_no_token(node):
    asked = []
    node.kubelet.tls = context(node.authority, "kubelet", clients=node.authority)

    def answer(_, connection):
        asked.append(dict(one[0] for one in connection.sock.getpeercert()["subject"])["commonName"])
        connection.answer(node.answer[1])
    node.kubelet.list = answer
    certificate, key = node.authority.issue("agent", "/O=sinew/CN=sinew-agent")
    node.begin(certFile=certificate, keyFile=key)
    node.wait_known("pay-0")
    assert set(asked) == {"sinew-agent"} and node.shown() == {None}


def test_who_needs_a_certificate_and_gets_none_tells_nothing(node):
    node.kubelet.tls = context(node.authority, "kubelet", clients=node.authority)
    node.begin()
    wait_for(node.error, 20)
    assert node.error()["reason"] in ("tls", "unreachable"), node.error()
    assert node.kubelet.requests == [] and node.place.known() == set()


def test_a_token_that_is_not_taken_is_replaced_while_the_agent_runs(node):
    def answer(request, connection):
        good = request.headers.get("authorization") == "Bearer two"
        connection.answer(node.answer[1] if good else {}, 200 if good else 401)
    node.kubelet.list = answer
    node.begin()
    wait_for(node.error, 20)
    assert node.error()["reason"] == "unauthorized" and node.place.known() == set()
    node.write("two")
    node.wait_known("pay-0")
