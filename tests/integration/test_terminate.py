# SPDX-License-Identifier: GPL-2.0-or-later
"""onRemove: established TCP connections to a backend that leaves are ended where the policy says so, by either way that
kernels have, and left alone everywhere else.
"""
import errno
import socket
import time

import pytest

from harness.daemon import Daemon, Events
from harness.sandbox import Namespace
from harness.service import family, put, service

from conftest import ADDRESSES, BUILD

VIPS = {"v4": "10.96.9.1", "v6": "fd00:96::91"}
BACKENDS = {"v4": ADDRESSES[:2], "v6": ADDRESSES[3:5]}
PORT = 8080
PATIENCE = 3


@pytest.fixture(scope="module", params=["iterator", "diag"])
def daemon(request, sandbox):
    if request.param == "iterator":
        with open("/proc/kallsyms", encoding="ascii", errors="replace") as f:
            if not any(line.split()[2] == "bpf_sock_destroy" for line in f):
                pytest.skip("this kernel has no bpf_sock_destroy: only sock_diag ends sockets here")
    made = Daemon(sandbox, BUILD, request.param, sandbox.cgroup(request.param), [f"datagrams.end={request.param}"])
    yield made
    made.stop()


def serve_kept(address, port):
    """For Sandbox.spawn: says its own address to whoever connects, and then keeps the connection."""
    with socket.socket(family(address)) as server:
        server.bind((address, port))
        server.listen(64)
        yield
        kept = []
        while True:
            client, _ = server.accept()
            client.sendall(address.encode())
            kept.append(client)


@pytest.fixture(scope="module", autouse=True)
def servers(sandbox, namespace):
    serve(sandbox, namespace)


def serve(sandbox, namespace):
    for pair in BACKENDS.values():
        for address in pair:
            sandbox.spawn(serve_kept, address, PORT, namespace=namespace)


def declare(daemon, form, ends, policy="end"):
    put(daemon, {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": "end", "namespace": "test"},
                 "spec": {"onRemove": "terminate", "loadBalancer": {"algorithm": "roundRobin"}}},
        service(f"kept-{form}", VIPS[form], [(end, PORT) for end in ends], policy=policy))


def fate(sock, seconds=PATIENCE):
    """errno of a reader, or 0 when the connection lives on."""
    sock.settimeout(seconds)
    try:
        return -1 if sock.recv(10) == b"" else -2
    except socket.timeout:
        return 0
    except OSError as error:
        return error.errno


def outlive(daemon, form, change):
    """(fate of a connection to the backend that leaves, of one to the other)"""
    held = {}
    while len(held) < 2:
        sock = socket.create_connection((VIPS[form], 80), timeout=5)
        held.setdefault(sock.recv(100).decode(), sock)
    gone = BACKENDS[form][0]
    change(daemon, form, gone)
    return fate(held.pop(gone)), fate(held.popitem()[1], 0.7)


def remove(daemon, form, gone):
    declare(daemon, form, [end for end in BACKENDS[form] if end != gone])


def remove_drained(daemon, form, gone):
    declare(daemon, form, [end for end in BACKENDS[form] if end != gone], policy="default")


def drain(daemon, form, gone):
    put(daemon, service(f"kept-{form}", VIPS[form], [(end, PORT, 0 if end == gone else 100) for end in BACKENDS[form]],
                        policy="end"))


def delete(daemon, form, _):
    daemon.request("DELETE", f"/v1/services/test/kept-{form}")


def evicted(daemon):
    return daemon.get("/v1/status")["node"]["evicted"]


@pytest.mark.parametrize("form", VIPS)
@pytest.mark.parametrize("place", ["same namespace", "another namespace"])
def test_terminate_ends_those_and_only_those(sandbox, namespace, daemon, form, place):
    where = namespace
    if place == "another namespace":
        where = Namespace(sandbox, addresses=ADDRESSES)
        serve(sandbox, where)
    declare(daemon, form, BACKENDS[form])
    before = evicted(daemon)
    fates = sandbox.call(outlive, daemon, form, remove, namespace=where, cgroup=daemon.cgroup)
    assert fates == (errno.ECONNABORTED, 0)
    assert evicted(daemon) == before + 1


def test_terminate_ends_all_of_a_deleted_service(inside, daemon):
    declare(daemon, "v4", BACKENDS["v4"])
    assert inside(outlive, daemon, "v4", delete) == (errno.ECONNABORTED, errno.ECONNABORTED)


@pytest.mark.parametrize("change", [remove_drained, drain])
def test_drain_leaves_established_connections_alone(inside, daemon, change):
    """By default; and a backend of weight 0 has not left."""
    declare(daemon, "v4", BACKENDS["v4"])
    before = evicted(daemon)
    assert inside(outlive, daemon, "v4", change) == (0, 0)
    assert evicted(daemon) == before


def test_terminated_connection_is_told_and_counts_against_nobody(inside, daemon):
    if "datagrams.end=diag" in daemon.settings:
        pytest.skip("sock_diag ends sockets without a word to the event ring")
    declare(daemon, "v4", BACKENDS["v4"])
    with Events(daemon) as events:
        assert inside(outlive, daemon, "v4", remove) == (errno.ECONNABORTED, 0)
        told, = events.wait(1, type="evicted")
    assert (told["protocol"], told["destination"], told["service"]) == ("TCP", f"{VIPS['v4']}:80", "kept-v4")
    time.sleep(0.2)
    traffic = daemon.get("/v1/services/test/kept-v4")["status"]["traffic"]
    assert traffic["active"] == 0 and not any(n for reason, n in traffic["outcomes"].items() if reason != "connected")
