# SPDX-License-Identifier: GPL-2.0-or-later
"""A real kube-apiserver, sinew-agent and sinewd together: an application connects to a ClusterIP, changes are there soon,
and whatever becomes of the API server no live backend is lost.

Pitfalls: P-83, P-84. What was measured is printed (-rP); the bounds here are wide, for machines that are busy.
"""
import json
import multiprocessing
import statistics
import time

import pytest

from harness.agent import Agent
from harness.daemon import Daemon, UnixConnection
from harness.fixtures import BUILD
from harness.peer_kubernetes import KubeApiserver
from harness.service import ask_tcp, ask_tcp_often, serve_tcp

ADDRESSES = [f"10.1.0.{n}" for n in range(1, 4)]
SERVICES, ENDPOINTS = 10000, 30000


@pytest.fixture(scope="module")
def inside_daemon(sandbox, namespace):
    for address in ADDRESSES:
        sandbox.spawn(serve_tcp, address, 8080, namespace=namespace)
    return Daemon(sandbox, BUILD, "sinewd-inside", sandbox.cgroup("inside"), namespace=namespace,
                  settings=["services.allow=10.0.0.0/16"])


@pytest.fixture(scope="module")
def kubernetes(sandbox, namespace):
    server = KubeApiserver(sandbox, namespace=namespace)
    server.grant("reader")
    yield server
    server.stop()
    server.etcd.stop()


@pytest.fixture
def agent(sandbox, inside_daemon, kubernetes, namespace, request):
    name = f"agent-{request.node.name[5:25]}"
    made = Agent(sandbox, BUILD, inside_daemon, [{
        "name": "cluster", "type": "kubernetes", "path": kubernetes.kubeconfig("reader", "certificate"),
        "staleAfter": "10s"}], name=name, namespace=namespace)
    made.wait_ready(20)
    yield made
    assert made.stop() == 0, made.log()


def fill(kubernetes, ends, name="pay"):
    kubernetes.put_service(name, ports=[{"name": "http", "port": 80, "protocol": "TCP"}])
    kubernetes.put_slice(name, ends, ports=[{"name": "http", "port": 8080, "protocol": "TCP"}])
    return kubernetes.get("services", name)["spec"]["clusterIP"]


def ports(addresses):
    return [f"{address}:8080" for address in addresses]


def call_on(address, stop, counted):
    """Connects again and again; counts (answers, errors)."""
    answers = errors = 0
    while not stop.is_set():
        try:
            ask_tcp(address, 80)
            answers += 1
        except OSError:
            errors += 1
        time.sleep(0.002)
    counted.put((answers, errors))


class Caller:
    """An application that connects all the time while inside."""

    def __init__(self, sandbox, namespace, daemon, address):
        self.stop, self.counted = multiprocessing.Event(), multiprocessing.Queue()
        enter = sandbox.entering(namespace, daemon.cgroup, None, False)

        def run():
            enter()
            call_on(address, self.stop, self.counted)
        self.child = multiprocessing.get_context("fork").Process(target=run)

    def __enter__(self):
        self.child.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.answers, self.errors = self.counted.get(timeout=20)
        self.child.join(20)


def test_an_application_reaches_a_cluster_address(kubernetes, agent, inside_daemon, sandbox, namespace):
    address = fill(kubernetes, ADDRESSES)
    agent.wait_endpoints("pay", ports(ADDRESSES))
    seen = sandbox.call(ask_tcp_often, address, 80, 200, namespace=namespace, cgroup=inside_daemon.cgroup)
    assert sorted(seen) == ADDRESSES
    said = agent.registry("cluster")
    assert said["state"] == "ok" and not said.get("lastError")


@pytest.mark.parametrize("how", ("old", "empty"))
def test_p84_no_live_backend_is_lost_by_a_server_that_comes_back(kubernetes, agent, inside_daemon, sandbox, namespace, how):
    """Killed under traffic, and back with an old state that has one backend of three, or with nothing at all."""
    name = f"pay-{how}"
    address = fill(kubernetes, ADDRESSES[:1], name)
    kubernetes.save()
    kubernetes.start()
    fill(kubernetes, ADDRESSES, name)
    agent.wait_endpoints(name, ports(ADDRESSES), seconds=30)
    with Caller(sandbox, namespace, inside_daemon, address) as caller:
        kubernetes.kill()
        agent.wait_error("cluster", "unreachable", 20)
        time.sleep(1)
        assert set(agent.endpoints(name)) == set(ports(ADDRESSES))
        if how == "old":
            kubernetes.restore()
        else:
            kubernetes.wipe()
        kubernetes.start()
        kubernetes.grant("reader")
        agent.wait(lambda: agent.registry("cluster")["suspect"] >= 2, 40, "suspects")
        agent.wait_state("cluster", seconds=30)
        assert set(agent.endpoints(name)) == set(ports(ADDRESSES))
        time.sleep(2)
        assert set(agent.endpoints(name)) == set(ports(ADDRESSES))
        # What runs is named again, by a controller that finds it missing.
        if how == "empty":
            kubernetes.put_service(name, ports=[{"name": "http", "port": 80, "protocol": "TCP"}], clusterIP=address)
        fill(kubernetes, ADDRESSES, name)
        agent.wait(lambda: not [one for one in agent.endpoints(name).values() if one.get("suspect")], 20, "certainty")
        assert set(agent.endpoints(name)) == set(ports(ADDRESSES))
    print(f"{how}: {caller.answers} connects, {caller.errors} errors")
    assert caller.answers > 100 and caller.errors == 0


def p99(took):
    return sorted(took)[max(0, len(took) * 99 // 100 - 1)]


def measure(kubernetes, connection, name, want):
    """Milliseconds from the API server's answer until sinewd has so many backends."""
    kubernetes.put_slice(name, want, ports=[{"name": "http", "port": 8080, "protocol": "TCP"}])
    began = time.monotonic()
    while time.monotonic() < began + 2:
        connection.request("GET", f"/v1/services/default/{name}")
        if len(json.loads(connection.getresponse().read())["spec"]["endpoints"]) == len(want):
            break
    return (time.monotonic() - began) * 1000


def test_a_change_is_in_sinewd_soon(kubernetes, agent, inside_daemon):
    """From the API server's answer to what sinewd has, asked all the time; each service changes once in so long that the
    guard has nothing to hold. Removals wait 16 ms for the other half of a move between slices."""
    names = [f"quick-{n}" for n in range(100)]
    for name in names:
        fill(kubernetes, ADDRESSES[:2], name)
    agent.wait_endpoints(names[-1], ports(ADDRESSES[:2]))
    connection = UnixConnection(inside_daemon.status_socket)
    for what, want in (("added", ADDRESSES), ("removed", ADDRESSES[:2])):
        took = []
        for name in names:
            took.append(measure(kubernetes, connection, name, want))
            time.sleep(0.1)  # longer than changes are gathered for
        print(f"{what}: median {statistics.median(took):.1f} ms, p99 {p99(took):.1f} ms, most {max(took):.1f} ms")
        assert statistics.median(took) < 40
    connection.close()


def test_ten_thousand_services(kubernetes, inside_daemon, sandbox, namespace):
    kubernetes.make_many(SERVICES, ENDPOINTS)
    target = "/apis/discovery.k8s.io/v1/namespaces/many/endpointslices?limit=1"
    end = time.monotonic() + 60
    while kubernetes.http.get(target)["metadata"].get("remainingItemCount") != SERVICES - 1 and time.monotonic() < end:
        time.sleep(1)
    agent = Agent(sandbox, BUILD, inside_daemon, [{
        "name": "cluster", "type": "kubernetes", "path": kubernetes.kubeconfig("reader", "token")}],
        name="agent-many", namespace=namespace)
    began = time.monotonic()
    agent.wait_ready(60)
    synced = time.monotonic() - began
    said = agent.registry("cluster")
    assert said["endpoints"] >= ENDPOINTS and said["services"] >= SERVICES
    peak = agent.pss_bytes() / (1 << 20)
    time.sleep(4)  # its last good state is written
    print(f"{said['services']} services, {said['endpoints']} endpoints in sinewd after {synced:.2f} s; agent "
          f"{agent.cpu_seconds():.2f} s of processor, {peak:.1f} MiB, then {agent.pss_bytes() / (1 << 20):.1f} MiB")
    assert synced < 10 and agent.pss_bytes() < 96 << 20
    assert agent.stop() == 0
