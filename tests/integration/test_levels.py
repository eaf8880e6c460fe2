# SPDX-License-Identifier: GPL-2.0-or-later
"""Levels of preference on the wire: near backends before far ones, those of a fallback service last, and one backend
for one caller. Which set is published for what is shown by tests/scenario; here the programs draw from it.

Pitfalls: P-62, P-84.
"""
import errno
import socket

import pytest

from harness.daemon import Daemon
from harness.service import ask_tcp_often, connect_errno, put, serve_kept, serve_tcp, service

from conftest import ADDRESSES, BUILD

NEAR, ALSO_NEAR, FAR, LENT = ADDRESSES[0], ADDRESSES[1], ADDRESSES[2], "10.1.0.4"
PORT, DEAD = 8080, 9


@pytest.fixture(scope="module")
def daemon(sandbox):
    return Daemon(sandbox, BUILD, "levels", sandbox.cgroup("levels"), ["node.name=n1", "node.zone=z1"])


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace):
    namespace.run(["ip", "address", "add", f"{LENT}/32", "dev", "lo"])
    for address in (NEAR, ALSO_NEAR, FAR, LENT):
        sandbox.spawn(serve_tcp, address, PORT, namespace=namespace)


def at(address, zone=None, node=None, port=PORT):
    places = {"zone": zone, "node": node}
    return {"address": address, "port": port, **{key: place for key, place in places.items() if place}}


def policy(name, **spec):
    return {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": name, "namespace": "test"},
            "spec": spec}


def locality(name, prefer, spill=True):
    return policy(name, loadBalancer={"locality": {"prefer": prefer, "spill": spill}})


def errors_then_answers(vip, times):
    """How many of the first connects failed, and the answers of the rest; a failure after an answer is an error."""
    failed = 0
    while failed < times and connect_errno(vip, 80):
        failed += 1
    return failed, ask_tcp_often(vip, 80, times)


def test_near_ones_get_everything(inside, daemon):
    put(daemon, locality("zone", "zone"),
        service("near", "10.96.8.1", [at(NEAR, "z1"), at(FAR, "z2"), at(ALSO_NEAR, "z1"), at(LENT)], policy="zone"))
    seen = inside(ask_tcp_often, "10.96.8.1", 80, 100)
    assert set(seen) == {NEAR, ALSO_NEAR} and min(seen.values()) > 20


def test_p62_unusable_near_one_is_left_for_a_far_one(inside, daemon):
    put(daemon, locality("zone", "zone"),
        service("spill", "10.96.8.2", [at(NEAR, "z1", port=DEAD), at(FAR, "z2")], policy="zone"))
    failed, seen = inside(errors_then_answers, "10.96.8.2", 50)
    assert failed <= 5 and seen == {FAR: 50}
    put(daemon, service("spill", "10.96.8.2", [at(NEAR, "z1"), at(FAR, "z2")], policy="zone"))
    assert inside(ask_tcp_often, "10.96.8.2", 80, 50) == {NEAR: 50}


def test_p62_no_spill_means_none(inside, daemon):
    put(daemon, locality("only", "zone", spill=False),
        service("only", "10.96.8.3", [at(NEAR, "z1"), at(FAR, "z2")], policy="only"))
    assert inside(ask_tcp_often, "10.96.8.3", 80, 50) == {NEAR: 50}
    put(daemon, service("only", "10.96.8.3", [at(FAR, "z2")], policy="only"))
    assert inside(connect_errno, "10.96.8.3", 80) == errno.EHOSTUNREACH
    put(daemon, locality("only", "zone"))
    assert inside(ask_tcp_often, "10.96.8.3", 80, 50) == {FAR: 50}


def test_own_node_before_own_zone(inside, daemon):
    ends = [at(FAR, "z2", "n3"), at(ALSO_NEAR, "z1", "n2"), at(NEAR, "z1", "n1")]
    put(daemon, locality("node", "node"), service("node", "10.96.8.4", ends, policy="node"))
    assert inside(ask_tcp_often, "10.96.8.4", 80, 30) == {NEAR: 30}
    put(daemon, service("node", "10.96.8.4", ends[:2], policy="node"))
    assert inside(ask_tcp_often, "10.96.8.4", 80, 30) == {ALSO_NEAR: 30}
    put(daemon, service("node", "10.96.8.4", ends[:1], policy="node"))
    assert inside(ask_tcp_often, "10.96.8.4", 80, 30) == {FAR: 30}


def attempts(daemon, name):
    return daemon.get(f"/v1/services/test/{name}")["status"]["traffic"]["attempts"]


def test_fallback_is_the_last_level_and_follows_its_service(inside, daemon):
    put(daemon, service("stock", "10.96.8.6", [at(LENT)]), policy("safe", fallback=["stock"]),
        service("pay", "10.96.8.5", [at(NEAR)], policy="safe"))
    assert inside(ask_tcp_often, "10.96.8.5", 80, 30) == {NEAR: 30}
    put(daemon, service("pay", "10.96.8.5", [at(NEAR, port=DEAD)], policy="safe"))
    failed, seen = inside(errors_then_answers, "10.96.8.5", 50)
    assert failed <= 5 and seen == {LENT: 50}
    assert attempts(daemon, "stock") == 0 and attempts(daemon, "pay") == 30 + failed + 1 + 50
    put(daemon, service("stock", "10.96.8.6", [at(FAR)]))
    assert inside(ask_tcp_often, "10.96.8.5", 80, 30) == {FAR: 30}
    put(daemon, service("pay", "10.96.8.5", [], policy="safe"))
    assert inside(ask_tcp_often, "10.96.8.5", 80, 30) == {FAR: 30}
    put(daemon, policy("safe"))
    assert inside(connect_errno, "10.96.8.5", 80) == errno.EHOSTUNREACH


def test_p84_a_suspect_is_the_last_and_all_of_them_are_a_service(inside, daemon):
    """Nobody is sent to what its registry took back while another is left, not even a fallback's; then it must do."""
    named, suspect = at(NEAR, port=DEAD), {**at(FAR), "suspect": True}
    put(daemon, service("doubt", "10.96.8.10", [at(NEAR), suspect]))
    assert inside(ask_tcp_often, "10.96.8.10", 80, 50) == {NEAR: 50}
    shown = daemon.get("/v1/services/test/doubt")["status"]
    assert shown["suspect"] == 1 and [(end["level"], end.get("suspect")) for end in shown["endpoints"]] == [
        (0, None), (1, True)]
    put(daemon, service("doubt", "10.96.8.10", [named, suspect]))
    failed, seen = inside(errors_then_answers, "10.96.8.10", 50)
    assert failed <= 5 and seen == {FAR: 50}
    put(daemon, service("doubt", "10.96.8.10", [suspect, {**at(ALSO_NEAR), "suspect": True}]))
    seen = inside(ask_tcp_often, "10.96.8.10", 80, 100)
    assert set(seen) == {FAR, ALSO_NEAR} and min(seen.values()) > 20
    put(daemon, service("lends", "10.96.8.11", [at(LENT)]), policy("lends", fallback=["lends"]),
        service("doubt", "10.96.8.10", [suspect], policy="lends"))
    assert inside(ask_tcp_often, "10.96.8.10", 80, 30) == {LENT: 30}


def flows_of(daemon, vip):
    """The services of what is shown of one open connection, asked for by each name."""
    with socket.socket() as sock:
        sock.settimeout(5)
        sock.connect((vip, 80))
        return [[one["service"] for one in daemon.get(f"/v1/flows?service={name}")["items"]]
                for name in ("asker", "lender")]


def test_flow_over_a_lent_backend_is_the_askers(sandbox, namespace, inside, daemon):
    sandbox.spawn(serve_kept, LENT, 8082, namespace=namespace)
    put(daemon, service("lender", "10.96.8.9", [at(LENT, port=8082)]), policy("lent", fallback=["lender"]),
        service("asker", "10.96.8.8", [], policy="lent"))
    assert inside(flows_of, daemon, "10.96.8.8") == [["asker"], []]
    assert inside(flows_of, daemon, "10.96.8.9") == [[], ["lender"]]


def test_one_caller_keeps_its_backend(inside, daemon):
    """By consistent hash; another one goes, and comes back."""
    ends = [at(NEAR), at(ALSO_NEAR), at(FAR), at(LENT)]
    put(daemon, policy("hash", loadBalancer={"algorithm": "consistentHash"}),
        service("hash", "10.96.8.7", ends, policy="hash"))
    (mine, n), = inside(ask_tcp_often, "10.96.8.7", 80, 50).items()
    assert n == 50
    put(daemon, service("hash", "10.96.8.7", [end for end in ends if end["address"] != mine], policy="hash"))
    (other, n), = inside(ask_tcp_often, "10.96.8.7", 80, 20).items()
    assert n == 20 and other != mine
    put(daemon, service("hash", "10.96.8.7", ends, policy="hash"))
    assert inside(ask_tcp_often, "10.96.8.7", 80, 20) == {mine: 20}
    daemon.kill()
    daemon.start()
    assert inside(ask_tcp_often, "10.96.8.7", 80, 20) == {mine: 20}
