# SPDX-License-Identifier: GPL-2.0-or-later
"""Failover inside connect(), from end to end: the application calls it once, and whatever its first backends do, it gets
one that answers. From the host over loopback and over Ethernet, and from behind a veth pair, IPv4 and IPv6.

    far, with the backends .2 .3 .4    host, with sinewd    inner, as a container is
        end 10.2.0.2-4, fd02::2-4 ---- out .1    in .1 ---- eth 10.1.0.2, fd01::2

What failover must take care of, and who shows it:
    F-1  checksums of partial and of big packets: here (exchange), test_failover_ways (fifty megabytes), bpf/test_failover
    F-2  entries outlive their sockets by 2 MSL, a full table is counted: core/test_syn, test_failover_hard (full bucket),
         test_failover_ways (a bound port)
    F-3  nothing after the handshake: test_failover_ways (a late reset)
    F-4  forged answers steer nothing: bpf/test_failover, test_failover_hard
    F-5  who looks sees both backends: here (flows), ctl/test_get
    F-6  IPv6, MPTCP, mapped addresses, every option of a SYN, stacked interfaces: here, test_failover_ways,
         bpf/test_failover, test_failover_stacked
    F-7  a daemon that ends or changes touches no translated flow: test_failover_hard, test_failover_interfaces
"""
import contextlib
import errno
import os
import socket
import time

import pytest

from harness.daemon import Daemon
from harness.life import eventually
from harness.sandbox import Namespace
from harness.service import ask_tcp, family, put, service

from conftest import BUILD

VIP, VIP6 = "10.96.0.1", "fd53::1"
LIVE = {"lo": ("10.9.0.3", "fd09::3"), "out": ("10.2.0.4", "fd02::4")}
DEAD = {"lo": (("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")), "out": (("10.2.0.2", "10.2.0.3"), ("fd02::2", "fd02::3"))}
UNREACHABLE, SILENT = ("10.8.0.1", "fd08::1"), ("10.7.0.1", "fd07::1")
CALM = {"loadBalancer": {"algorithm": "random"}, "negativeAffinity": "0s", "panic": {"threshold": "0%"},
        "outlierDetection": {"consecutiveFailures": 0, "failureRatio": "0%"}}


def policy(name, **failover):
    timeout = failover.pop("attemptTimeout", None)
    spec = {**CALM, "failover": failover, **({"connect": {"attemptTimeout": timeout}} if timeout else {})}
    return {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": name, "namespace": "test"},
            "spec": spec}


def echo(address, port):
    """A server's loop: answers with all that it got, after the client's end of it."""
    server = socket.socket(family(address), socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen(64)
    yield
    while True:
        client, _ = server.accept()
        with client, contextlib.suppress(ConnectionError):
            whole = b""
            while part := client.recv(65536):
                whole += part
            client.sendall(whole)


def serve(address, port):
    """A server's loop: answers with its address."""
    server = socket.socket(family(address), socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen(512)
    yield
    while True:
        client, _ = server.accept()
        with client, contextlib.suppress(ConnectionError):
            client.sendall(address.encode())


class Net:
    def __init__(self, sandbox, forwarding):
        self.sandbox = sandbox
        self.host = Namespace(sandbox, addresses=(*DEAD["lo"][0], *DEAD["lo"][1], *LIVE["lo"]))
        self.inner, self.far = Namespace(sandbox, addresses=()), Namespace(sandbox, addresses=())
        self.cable("out", self.far, "end", "02", ("2", "3", "4"))
        self.cable("in", self.inner, "eth", "01", ("2",))
        for prefix in ("10.7.0.0/24", "10.8.0.0/24", "fd07::/64", "fd08::/64"):
            self.host.run(["ip", "route", "add", prefix, "via", "fd02::2" if ":" in prefix else "10.2.0.2"])
            self.far.run(["ip", "route", "add", "blackhole" if "7" in prefix[:5] else "unreachable", prefix])
        quick = ["sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"]
        forward = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
        self.far.run([*quick, *forward])
        self.host.run([*quick, *(forward if forwarding else [])])
        for place in (self.host, self.far):
            side = LIVE["lo"] if place is self.host else LIVE["out"]
            for address in side:
                sandbox.spawn(serve, address, 8080, namespace=place)
                sandbox.spawn(echo, address, 8081, namespace=place)
        name = f"host{forwarding}"
        self.daemon = Daemon(sandbox, BUILD, name, sandbox.cgroup(name), namespace=self.host)
        put(self.daemon, policy("three", attempts=3), policy("patient", attempts=3, attemptTimeout="50ms",
                                                             on=["refused", "unreachable", "timeout"]))

    def cable(self, name, place, end, net, hosts):
        self.host.run(["ip", "link", "add", name, "type", "veth", "peer", "name", end, "netns", str(place.keeper.pid)])
        for where, device, numbers in ((self.host, name, ("1",)), (place, end, hosts)):
            where.run(["ip", "link", "set", device, "up"])
            for number in numbers:
                where.run(["ip", "address", "add", f"10.{int(net)}.0.{number}/24", "dev", device])
                where.run(["ip", "address", "add", f"fd{net}::{number}/64", "dev", device, "nodad"])
        place.run(["ip", "route", "add", "default", "via", f"10.{int(net)}.0.1"])
        place.run(["ip", "route", "add", "default", "via", f"fd{net}::1"])

    def put(self, *ends, port=8080, rules="three"):
        """The service, with these backends, over IPv4 and IPv6."""
        put(self.daemon, service("shop", [VIP, VIP6], [(end, port) for pair in ends for end in pair], policy=rules))
        eventually(lambda: {"lo", "in", "out"} <= {one["name"] for one in self.daemon.get("/v1/status")["interfaces"]
                                                   if one["attached"] != "none"})

    def call(self, function, *args, inside=False, seconds=60):
        return self.sandbox.call(function, *args, namespace=self.inner if inside else self.host,
                                 cgroup=self.daemon.cgroup, seconds=seconds)

    def traffic(self):
        return self.daemon.get("/v1/services/test/shop")["status"]["traffic"]


def pairs(*fours_and_sixes):
    return list(zip(*fours_and_sixes))


def dead(way):
    return pairs(*DEAD[way])


@pytest.fixture(scope="module", params=[0, 1], ids=["host", "router"])
def net(sandbox, request):
    made = Net(sandbox, request.param)
    # a route to the service, which a client needs before it asks, is nothing that failover knows of
    for place, device in ((made.host, "out"), (made.inner, "eth")):
        place.run(["ip", "route", "replace", "10.96.0.0/12", "dev", device])
        place.run(["ip", "route", "replace", "fd53::/64", "dev", device])
    return made


def connect_often(address, times):
    """{what came of it: how often}, and the slowest time."""
    seen, worst = {}, 0.0
    for _ in range(times):
        began = time.monotonic()
        try:
            answer, peer = ask_tcp(address, 80)
            assert peer == (address, 80)
        except OSError as error:
            answer = error.errno
        worst = max(worst, time.monotonic() - began)
        seen[answer] = seen.get(answer, 0) + 1
    return seen, worst


def exchange(address, size):
    """Sends so much and gets it back: (is it the same?, the biggest segment that came)."""
    text = os.urandom(65536) * (size // 65536)
    with socket.create_connection((address, 80), timeout=10) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        got = b""
        while part := client.recv(1 << 20):
            got += part
    return got == text


def flows_while_open(daemon, address, times):
    """What the daemon says of so many connections, and the peers that their sockets have."""
    with contextlib.ExitStack() as clients:
        peers = {clients.enter_context(socket.create_connection((address, 80), timeout=10)).getpeername()[:2]
                 for _ in range(times)}
        return daemon.get("/v1/flows")["items"], peers


WAYS = pytest.mark.parametrize("way", ["lo", "out", "inner"])
FAMILIES = pytest.mark.parametrize("six", [0, 1], ids=["v4", "v6"])


def where(net, way):
    if way == "inner" and net.daemon.namespace is net.host and "host0" in net.daemon.folder:
        pytest.skip("a host that does not forward has no containers behind it")
    return {"inside": way == "inner"}, "lo" if way == "lo" else "out"


@WAYS
@FAMILIES
def test_two_dead_backends_of_three_are_no_error(net, way, six):
    inside, side = where(net, way)
    net.put(*dead(side), LIVE[side])
    before = net.traffic()["failedOver"]
    seen, _ = net.call(connect_often, (VIP, VIP6)[six], 200, **inside)
    assert seen == {LIVE[side][six]: 200}
    assert net.traffic()["failedOver"] - before > 60
    assert eventually(lambda: net.traffic()["active"] == 0), net.traffic()


@WAYS
@FAMILIES
def test_what_comes_after_is_translated_both_ways(net, way, six):
    inside, side = where(net, way)
    net.put(*dead(side), LIVE[side], port=8081)
    for _ in range(8):
        assert net.call(exchange, (VIP, VIP6)[six], 4 << 20, **inside)


@pytest.mark.parametrize("way", ["lo", "out"])
def test_f5_flows_show_the_first_backend_and_the_one_on_the_wire(net, way):
    net.put(*dead(way), LIVE[way])
    flows, peers = net.call(flows_while_open, net.daemon, VIP, 30)
    live, gone = f"{LIVE[way][0]}:8080", {f"{four}:8080" for four in DEAD[way][0]}
    seen = [(flow["backend"], flow.get("wire")) for flow in flows if flow["destination"] == f"{VIP}:80"]
    assert peers == {(VIP, 80)} and len(seen) >= 30
    assert {backend for backend, wire in seen if wire is None} <= {live}
    assert {(backend in gone, wire) for backend, wire in seen if wire} == {(True, live)}


@WAYS
def test_every_backend_dead_is_the_same_error_at_once(net, way):
    inside, side = where(net, way)
    net.put(*dead(side))
    for address in (VIP, VIP6):
        seen, worst = net.call(connect_often, address, 50, **inside)
        assert seen == {errno.ECONNREFUSED: 50} and worst < 0.5
    assert eventually(lambda: net.traffic()["active"] == 0), net.traffic()


@pytest.mark.parametrize("way", ["out", "inner"])
@FAMILIES
def test_an_icmp_error_leads_on(net, way, six):
    inside, _ = where(net, way)
    net.put(UNREACHABLE, LIVE["out"])
    calls = [net.call(connect_often, (VIP, VIP6)[six], 1, **inside) for _ in range(4)]
    assert all(seen == {LIVE["out"][six]: 1} for seen, _ in calls)
    late = [round(worst, 2) for _, worst in calls if worst >= 0.9]
    assert not late, (late, net.daemon.get("/v1/status")["node"], net.traffic())


@pytest.mark.parametrize("way", ["out", "inner"])
@FAMILIES
def test_a_silent_backend_costs_one_attempt(net, way, six):
    inside, _ = where(net, way)
    net.put(SILENT, LIVE["out"], rules="patient")
    seen, worst = net.call(connect_often, (VIP, VIP6)[six], 12, **inside)
    assert seen == {LIVE["out"][six]: 12} and worst < 0.3
