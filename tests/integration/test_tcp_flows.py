# SPDX-License-Identifier: GPL-2.0-or-later
"""What is remembered of open TCP sockets: it is listed while they are open, it may be more than the table holds, and
nothing of it stays. The table here has 1,024 places; the sockets that find theirs taken go to socket storage.

Pitfalls: P-07.
"""
import contextlib
import errno
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import time

import pytest

from harness import raw
from harness.daemon import Daemon
from harness.service import family, put, reset_on_close, service

BUILD = os.environ.get("SINEW_BUILD") or os.path.join(os.path.dirname(__file__), "..", "..", "build")
PLACES, SOCKETS = 1024, 1500


@pytest.fixture(scope="module")
def daemon(sandbox):
    """Instead of the ring's: with a small table."""
    return Daemon(sandbox, BUILD, "sinewd", sandbox.cgroup("served"), [f"maps.flows={PLACES}"])


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, daemon):
    for address in ("10.1.0.1", "fd00::1"):
        sandbox.spawn(serve_idle, address, 8080, namespace=namespace)
    put(daemon, service("many", ["10.96.0.1", "fd96::1"], [("10.1.0.1", 8080), ("fd00::1", 8080)]))


def allow_files(count):
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(count, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))


def serve_idle(address, port):
    """For Sandbox.spawn: answers each connection with one byte, and closes it when its client does."""
    allow_files(8192)
    with socket.socket(family(address)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(2048)
        poll = selectors.DefaultSelector()
        poll.register(server, selectors.EVENT_READ)
        yield
        while True:
            for key, _ in poll.select():
                if key.fileobj is server:
                    client, _ = server.accept()
                    with contextlib.suppress(ConnectionError):  # reset already: the next select() tells
                        client.send(b"!")
                    poll.register(client, selectors.EVENT_READ)
                    continue
                poll.unregister(key.fileobj)
                key.fileobj.close()


def traffic(daemon):
    return daemon.get("/v1/services/test/many")["status"]["traffic"]


def wait_idle(daemon, seconds=10):
    end = time.monotonic() + seconds
    while traffic(daemon)["active"] and time.monotonic() < end:
        time.sleep(0.02)
    return traffic(daemon)["active"]


def node(daemon, reason):
    return daemon.get("/v1/status")["node"][reason]


def dump(daemon, name):
    said = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", daemon.map_pin(name)], capture_output=True, check=True)
    return json.loads(said.stdout)


def remembered(daemon):
    """(places taken in the table, flows in socket storage)"""
    taken = sum(1 for element in dump(daemon, "sn_flows") if element["formatted"]["value"]["cookie"])
    return taken, dump(daemon, "sn_spilled")[0]["formatted"]["value"]


def open_many(vip, count):
    socks = []
    for _ in range(count):
        sock = socket.socket(family(vip))
        assert raw.connect(sock, raw.sockaddr(vip, 80)) == 0
        socks.append(sock)
    return socks


def test_flows_are_listed_while_they_are_open(inside, daemon):
    def look():
        allow_files(4096)
        with socket.create_connection(("10.96.0.1", 80)) as v4, socket.create_connection(("fd96::1", 80)) as v6, \
                socket.create_connection(("10.1.0.1", 8080)) as direct:
            assert v4.recv(1) + v6.recv(1) + direct.recv(1) == b"!!!"
            return daemon.get("/v1/flows")["items"]
    shown = inside(look)
    assert sorted((f["destination"], f["backend"], f["state"], f["protocol"], f["service"]) for f in shown) == [
        ("10.96.0.1:80", "10.1.0.1:8080", "established", "TCP", "many"),
        ("[fd96::1]:80", "[fd00::1]:8080", "established", "TCP", "many")]
    assert {f["workload"] for f in shown} == {os.stat(daemon.cgroup).st_ino & 0xffffffff}
    assert all(0 <= f["ageSeconds"] < 30 for f in shown)
    assert wait_idle(daemon) == 0
    assert daemon.get("/v1/flows")["items"] == []


@pytest.mark.parametrize("vip", ["10.96.0.1", "fd96::1"])
def test_p07_more_sockets_than_places(inside, daemon, vip):
    """Each still knows its service; what spilled is counted; every place is free afterwards."""
    before = (node(daemon, "flow_spilled"), traffic(daemon)["attempts"], traffic(daemon)["outcomes"]["connected"])

    def ask():
        allow_files(4096)
        socks = open_many(vip, SOCKETS)
        peers = {raw.peer(sock) for sock in socks}
        during = remembered(daemon), traffic(daemon)["active"], len(daemon.get("/v1/flows?limit=5000")["items"])
        for sock in socks:
            sock.close()
        return peers, during
    peers, ((taken, spilled), active, listed) = inside(ask)
    assert peers == {(vip, 80)}
    assert active == SOCKETS
    assert taken + spilled == SOCKETS and taken <= PLACES
    assert listed == taken
    assert wait_idle(daemon) == 0
    assert remembered(daemon) == (0, 0)
    after = (node(daemon, "flow_spilled"), traffic(daemon)["attempts"], traffic(daemon)["outcomes"]["connected"])
    assert [b - a for a, b in zip(before, after)] == [spilled, SOCKETS, SOCKETS]
    assert node(daemon, "flow_stale") == 0
    assert traffic(daemon)["refused"]["untracked"] == 0


def test_p07_sockets_in_storage_connect_again_and_end_in_every_way(sandbox, namespace, inside, daemon):
    """Closed, reset, undone, undone and connected again, killed: for flows in the table and in socket storage alike."""
    def ask():
        allow_files(4096)
        socks = open_many("10.96.0.1", SOCKETS)
        for i, sock in enumerate(socks):
            if i % 4 == 0:
                reset_on_close(sock)
            if i % 4 in (1, 2):
                assert raw.connect(sock, raw.UNSPEC) == 0
            if i % 4 == 2:
                assert raw.connect(sock, raw.sockaddr("10.96.0.1", 80)) == 0
                assert raw.peer(sock) == ("10.96.0.1", 80)
        taken, spilled = remembered(daemon)
        for sock in socks[::2]:
            sock.close()
        return taken + spilled
    before = traffic(daemon)["attempts"]
    assert inside(ask) == SOCKETS - SOCKETS // 4
    assert wait_idle(daemon) == 0
    assert remembered(daemon) == (0, 0)
    assert traffic(daemon)["attempts"] - before == SOCKETS + SOCKETS // 4

    def hold():
        allow_files(4096)
        kept = open_many("10.96.0.1", SOCKETS)
        yield
        signal.pause()
        del kept
    pid = sandbox.spawn(hold, namespace=namespace, cgroup=daemon.cgroup)
    assert sum(remembered(daemon)) == SOCKETS
    sandbox.end(pid)
    assert wait_idle(daemon) == 0
    assert remembered(daemon) == (0, 0)


def test_p07_short_connections_leave_nothing(inside, daemon):
    """Ten times as many sockets as places, some of them failing, while others stay open."""
    put(daemon, service("closed", "10.96.0.2", [("10.1.0.1", 9)]))
    connected = traffic(daemon)["outcomes"]["connected"]

    def ask():
        allow_files(4096)
        kept = open_many("10.96.0.1", 200)
        for i in range(10 * PLACES):
            with socket.socket() as sock:
                reset_on_close(sock)
                fails = i % 8 == 0
                number = raw.connect(sock, raw.sockaddr("10.96.0.2" if fails else "10.96.0.1", 80))
                assert number == (errno.ECONNREFUSED if fails else 0)
        return sum(remembered(daemon)), {raw.peer(sock) for sock in kept}
    assert inside(ask) == (200, {("10.96.0.1", 80)})
    assert wait_idle(daemon) == 0
    assert remembered(daemon) == (0, 0)
    refused = daemon.get("/v1/services/test/closed")["status"]["traffic"]
    assert (refused["attempts"], refused["outcomes"]["refused"]) == (10 * PLACES // 8, 10 * PLACES // 8)
    assert traffic(daemon)["outcomes"]["connected"] - connected == 200 + 10 * PLACES * 7 // 8
