# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way of ending connected datagram sockets of a removed backend; older kernels have only sock_diag.

Pitfalls: P-01, P-02, P-03, P-04, P-05.
"""
import errno
import socket
import time

import pytest

from conftest import ADDRESSES, BUILD
from harness.daemon import Daemon
from harness.life import eventually
from harness.sandbox import Namespace
from harness.service import family, put, serve_udp, service

VIPS = {"v4": "10.96.2.1", "v6": "fd00:96::2"}
BACKENDS = {"v4": ("10.1.0.1", "10.1.0.2"), "v6": ("fd00::1", "fd00::2")}


@pytest.fixture(scope="module", params=["iterator", "diag"])
def daemon(request, sandbox, namespace):
    """One sinewd for each way, on a cgroup of its own."""
    if request.param == "iterator":
        with open("/proc/kallsyms", encoding="ascii", errors="replace") as f:
            if not any(line.split()[2] == "bpf_sock_destroy" for line in f):
                pytest.skip("this kernel has no bpf_sock_destroy: only sock_diag ends sockets here")
    made = Daemon(sandbox, BUILD, request.param, sandbox.cgroup(request.param), [f"datagrams.end={request.param}"])
    yield made
    made.stop()


@pytest.fixture(scope="module", autouse=True)
def servers(sandbox, namespace):
    for pair in BACKENDS.values():
        for address in pair:
            sandbox.spawn(serve_udp, address, 5353, namespace=namespace)


def declare(daemon, ends):
    for form, vip in VIPS.items():
        put(daemon, service(f"dns-{form}", vip, [(BACKENDS[form][i], 5353) for i in ends], port=53, protocol="UDP"))


def node_count(daemon, reason):
    for line in daemon.request("GET", "/metrics", status=True).decode().splitlines():
        if line.startswith(f'sinew_node_events_total{{reason="{reason}"}}'):
            return float(line.split()[-1])
    return None


def hold(address, mapped):
    """A client's life, step by step: connected and answered; then, once told, what its socket has become."""
    client = socket.socket(socket.AF_INET6 if mapped else family(address), socket.SOCK_DGRAM)
    client.settimeout(5)
    client.connect(("::ffff:" + address if mapped else address, 53))
    client.send(b"a")
    first = client.recv(100).split()[0].decode()
    loose = socket.socket(family(address), socket.SOCK_DGRAM)
    loose.settimeout(5)
    loose.sendto(b"b", (address, 53))
    loose.recvfrom(100)
    port = loose.getsockname()[1]
    yield first
    end = time.monotonic() + 5
    said = 0
    while time.monotonic() < end and not said:
        said = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        time.sleep(0.02)
    loose.sendto(b"c", (address, 53))
    moved = loose.recvfrom(100)[0].split()[0].decode()
    yield said, moved, loose.getsockname()[1] == port


def in_two_steps(daemon, address, mapped):
    """Runs hold() around the removal of whatever backend it got."""
    life = hold(address, mapped)
    first = next(life)
    pair = BACKENDS["v6" if ":" in address else "v4"]
    declare(daemon, [1 - pair.index(first)])
    return (first, *next(life))


@pytest.mark.parametrize("form", ["v4", "v6", "mapped"])
@pytest.mark.parametrize("place", ["same namespace", "another namespace"])
def test_p01_p02_p03_p04_connected_socket_ends_and_unconnected_survives(sandbox, namespace, daemon, form, place):
    declare(daemon, [0, 1])
    before = node_count(daemon, "evicted")
    where = namespace
    if place == "another namespace":
        where = Namespace(sandbox, addresses=ADDRESSES)
        for pair in BACKENDS.values():
            for address in pair:
                sandbox.spawn(serve_udp, address, 5353, namespace=where)
    address = VIPS["v6" if form == "v6" else "v4"]
    first, said, moved, same_port = sandbox.call(in_two_steps, daemon, address, form == "mapped", namespace=where,
                                                 cgroup=daemon.cgroup)
    assert said == errno.ECONNABORTED
    assert moved != first and same_port
    assert eventually(lambda: node_count(daemon, "evicted") == before + 1)  # told when the sweep is over


def reconnected(daemon):
    """A socket that left its service for a server of its own must not notice that a backend goes."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(5)
    client.connect((VIPS["v4"], 53))
    client.send(b"a")
    first = client.recv(100).split()[0].decode()
    client.connect(("10.1.0.3", 9))
    declare(daemon, [1 - BACKENDS["v4"].index(first)])
    time.sleep(1.2)
    return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), client.getpeername()


def test_p05_socket_that_connected_elsewhere_lives(sandbox, namespace, daemon):
    declare(daemon, [0, 1])
    assert sandbox.call(reconnected, daemon, namespace=namespace, cgroup=daemon.cgroup) == (0, ("10.1.0.3", 9))
