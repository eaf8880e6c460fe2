# SPDX-License-Identifier: GPL-2.0-or-later
"""Failover where one interface sits on another, as a bridge does on its ports.

    host, with sinewd: bridge 10.3.0.1 -- ports -- client .2, dead .3 .5, live .4
"""
import errno
import glob
import json
import os
import socket
import struct
import threading
import time

import pytest

from harness.daemon import Daemon
from harness.life import BPFTOOL, eventually
from harness.sandbox import Namespace
from harness.service import ask_tcp, put, reset_on_close, serve_tcp, service

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


def talk(address, port):
    """A server's loop: greets with its address, then says back what it hears."""
    def serve(client):
        with client:
            client.sendall(address.encode())
            while heard := client.recv(64):
                client.sendall(heard)

    server = socket.create_server((address, port))
    yield
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()


def from_port(port, to):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.settimeout(0.5)
    reset_on_close(client)
    client.bind(("0.0.0.0", port))
    client.connect(to)
    return client


def connect_beside(live, port, times):
    """What comes of connects from the port by which another connection talks to `live`; that one must stay."""
    seen = {}
    with from_port(port, (live, 8081)) as old:
        assert old.recv(64) == live.encode()
        for _ in range(times):
            try:
                with from_port(port, (VIP, 80)) as client:
                    answer = client.recv(64).decode()
            except OSError as error:
                answer = error.errno
            seen[answer] = seen.get(answer, 0) + 1
            old.sendall(b"still here?")
            assert old.recv(64) == b"still here?", seen
    return seen


class Net:
    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.host = Namespace(sandbox, addresses=("10.9.0.1", "10.9.0.2", "10.9.0.3"))
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
        self.address(live, "eth", "10.3.0.6/24")
        self.host.run(["ip", "route", "add", "10.96.0.0/12", "dev", "bridge"])
        for address, place in (("10.3.0.4", live), ("10.9.0.2", self.host)):
            sandbox.spawn(serve_tcp, address, 8080, namespace=place)
        for place, address in ((live, "10.3.0.4"), (live, "10.3.0.6"), (self.host, "10.9.0.2"), (self.host, "10.9.0.3")):
            sandbox.spawn(talk, address, 8081, namespace=place)
        self.daemon = Daemon(sandbox, BUILD, "stacked", sandbox.cgroup("stacked"), namespace=self.host)
        put(self.daemon, POLICY)

    def cable(self, name, place):
        self.host.run(["ip", "link", "add", name, "type", "veth", "peer", "name", "eth", "netns", str(place.keeper.pid)])

    @staticmethod
    def address(place, device, address):
        place.run(["ip", "link", "set", device, "up"])
        place.run(["ip", "address", "add", address, "dev", device])

    def put(self, *ends, port=8080):
        put(self.daemon, service("shop", [VIP], [(end, port) for end in ends], policy="calm"))
        assert eventually(lambda: {"lo", "bridge", "port2", "port3", "port4"} <= {
            one["name"] for one in self.daemon.get("/v1/status")["interfaces"] if one["attached"] != "none"})

    def call(self, place, function, *args):
        return self.sandbox.call(function, *args, namespace=place, cgroup=self.daemon.cgroup)

    def moved(self):
        """Entries that translate, or did until lately."""
        pin, = glob.glob(os.path.join(self.daemon.pins, "v*", "maps", "sn_moved"))
        said = self.sandbox.run([BPFTOOL, "-j", "map", "lookup", "pinned", pin, "key", "0", "0", "0", "0"])
        return struct.unpack("<Q", bytes(int(byte, 16) for byte in json.loads(said)["value"]))[0]

    def traffic(self):
        return self.daemon.get("/v1/services/test/shop")["status"]["traffic"]


@pytest.fixture(scope="module")
def net(sandbox):
    return Net(sandbox)


def test_what_passes_two_interfaces_is_translated_once(net):
    net.put("10.3.0.3", "10.3.0.5", "10.3.0.4")
    seen, worst = net.call(net.host, connect_often, 40)
    assert seen == {"10.3.0.4": 40} and worst < 0.9, (seen, worst)
    assert net.traffic()["failedOver"] > 5
    assert eventually(lambda: net.traffic()["active"] == 0), net.traffic()


def test_a_refusal_by_the_last_backend_reaches_the_socket_too(net):
    net.put("10.3.0.3", "10.3.0.5")
    before = net.moved()
    seen, worst = net.call(net.host, connect_often, 20)
    assert seen == {errno.ECONNREFUSED: 20} and worst < 0.9, (seen, worst)
    assert net.moved() == before  # what nobody answered is not kept


def test_behind_a_bridge_a_routed_connect_goes_on(net):
    net.put("10.9.0.1", "10.9.0.2")
    seen, worst = net.call(net.client, connect_often, 40)
    assert seen == {"10.9.0.2": 40} and worst < 0.9, (seen, worst)


def test_a_connect_to_a_neighbour_on_the_bridge_is_as_without_us(net):
    """Its frames are for that neighbour's own address; another backend would never see them."""
    net.put("10.3.0.3", "10.3.0.4")
    seen, worst = net.call(net.client, connect_often, 40)
    assert set(seen) == {"10.3.0.4", errno.ECONNREFUSED} and worst < 0.9, (seen, worst)
    assert eventually(lambda: net.traffic()["active"] == 0), net.traffic()


def test_a_connection_from_the_same_port_is_not_taken_for_the_one_that_moves(net):
    net.put("10.3.0.3", "10.3.0.4", "10.3.0.6", port=8081)
    seen = net.call(net.host, connect_beside, "10.3.0.4", 20001, 30)
    assert set(seen) == {"10.3.0.6", errno.EADDRNOTAVAIL}, seen  # the latter as without us


def test_nor_is_one_behind_the_interface_where_it_cannot_be_known(net):
    net.put("10.9.0.1", "10.9.0.2", "10.9.0.3", port=8081)
    seen = net.call(net.client, connect_beside, "10.9.0.2", 20002, 15)
    assert seen.get("10.9.0.3") and "10.9.0.2" not in seen, seen
