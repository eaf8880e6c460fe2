# SPDX-License-Identifier: GPL-2.0-or-later
"""Failover where one interface sits on another, as a bridge does on its ports.

    host, with sinewd: bridge 10.3.0.1 -- ports -- client .2, dead .3 .5, live .4
"""
import errno
import time

import pytest

from harness.daemon import Daemon
from harness.life import eventually
from harness.sandbox import Namespace
from harness.service import ask_tcp, put, serve_tcp, service

from conftest import BUILD

VIP = "10.96.0.1"
POLICY = {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": "calm", "namespace": "test"},
          "spec": {"loadBalancer": {"algorithm": "random"}, "negativeAffinity": "0s", "panic": {"threshold": "0%"},
                   "outlierDetection": {"consecutiveFailures": 0, "failureRatio": "0%"}, "failover": {"attempts": 3}}}


def connect_often(times):
    """{what came of it: how often}, and the slowest time."""
    seen, worst = {}, 0.0
    for _ in range(times):
        began = time.monotonic()
        try:
            answer, _ = ask_tcp(VIP, 80, timeout=2)
        except OSError as error:
            answer = error.errno
        worst = max(worst, time.monotonic() - began)
        seen[answer] = seen.get(answer, 0) + 1
    return seen, worst


class Net:
    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.host = Namespace(sandbox, addresses=("10.9.0.1", "10.9.0.2"))
        self.host.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        self.host.run(["ip", "link", "add", "bridge", "type", "bridge"])
        self.address(self.host, "bridge", "10.3.0.1/24")
        self.client, dead, live = (Namespace(sandbox, addresses=()) for _ in range(3))
        for number, place in ((2, self.client), (3, dead), (4, live)):
            self.cable(f"port{number}", place)
            self.host.run(["ip", "link", "set", f"port{number}", "up", "master", "bridge"])
            self.address(place, "eth", f"10.3.0.{number}/24")
            place.run(["ip", "route", "add", "default", "via", "10.3.0.1"])
        self.address(dead, "eth", "10.3.0.5/24")
        self.host.run(["ip", "route", "add", "10.96.0.0/12", "dev", "bridge"])
        for address, place in (("10.3.0.4", live), ("10.9.0.2", self.host)):
            sandbox.spawn(serve_tcp, address, 8080, namespace=place)
        self.daemon = Daemon(sandbox, BUILD, "stacked", sandbox.cgroup("stacked"), namespace=self.host)
        put(self.daemon, POLICY)

    def cable(self, name, place):
        self.host.run(["ip", "link", "add", name, "type", "veth", "peer", "name", "eth", "netns", str(place.keeper.pid)])

    @staticmethod
    def address(place, device, address):
        place.run(["ip", "link", "set", device, "up"])
        place.run(["ip", "address", "add", address, "dev", device])

    def put(self, *ends):
        put(self.daemon, service("shop", [VIP], [(end, 8080) for end in ends], policy="calm"))
        assert eventually(lambda: {"lo", "bridge", "port2", "port3", "port4"} <= {
            one["name"] for one in self.daemon.get("/v1/status")["interfaces"] if one["attached"] != "none"})

    def connect(self, place, times):
        return self.sandbox.call(connect_often, times, namespace=place, cgroup=self.daemon.cgroup)

    def traffic(self):
        return self.daemon.get("/v1/services/test/shop")["status"]["traffic"]


@pytest.fixture(scope="module")
def net(sandbox):
    return Net(sandbox)


def test_what_passes_two_interfaces_is_translated_once(net):
    net.put("10.3.0.3", "10.3.0.5", "10.3.0.4")
    seen, worst = net.connect(net.host, 40)
    assert seen == {"10.3.0.4": 40} and worst < 0.9, (seen, worst)
    assert net.traffic()["failedOver"] > 5
    assert eventually(lambda: net.traffic()["active"] == 0), net.traffic()


def test_a_refusal_by_the_last_backend_reaches_the_socket_too(net):
    net.put("10.3.0.3", "10.3.0.5")
    seen, worst = net.connect(net.host, 20)
    assert seen == {errno.ECONNREFUSED: 20} and worst < 0.9, (seen, worst)


def test_behind_a_bridge_a_routed_connect_goes_on(net):
    net.put("10.9.0.1", "10.9.0.2")
    seen, worst = net.connect(net.client, 40)
    assert seen == {"10.9.0.2": 40} and worst < 0.9, (seen, worst)


def test_a_connect_to_a_neighbour_on_the_bridge_is_as_without_us(net):
    """Its frames are for that neighbour's own address; another backend would never see them."""
    net.put("10.3.0.3", "10.3.0.4")
    seen, worst = net.connect(net.client, 40)
    assert set(seen) == {"10.3.0.4", errno.ECONNREFUSED} and worst < 0.9, (seen, worst)
    assert eventually(lambda: net.traffic()["active"] == 0), net.traffic()
