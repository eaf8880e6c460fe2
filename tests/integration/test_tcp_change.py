# SPDX-License-Identifier: GPL-2.0-or-later
"""Services that change under connects: what was removed gets nothing more, what drains keeps what it has, nobody ever
meets half a change, and the books stay right when a connection outlives its backend.

Pitfalls: P-10, P-51, P-60, P-66.
"""
import array
import errno
import json
import os
import selectors
import socket
import time

import pytest

from harness import raw
from harness.service import ask_tcp_often, family, put, reset_on_close, serve_tcp, service

ENDS = [("10.1.0.1", 8080), ("10.1.0.2", 8080), ("10.1.0.3", 8080)]
FLIPPED = [(f"10.2.0.{host}", 8088) for host in range(1, 101)]
FLIP_SECONDS, THREADS, PER_SECOND = 4, 8, 1000


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace):
    namespace.run(["ip", "route", "add", "local", "10.2.0.0/24", "dev", "lo"])
    for address, port in ENDS:
        sandbox.spawn(serve_tcp, address, port, namespace=namespace)
        sandbox.spawn(serve_echo, address, 7000, namespace=namespace)
    # Who answers at the services' own addresses: nobody may ever get there.
    namespace.run(["ip", "address", "add", "10.96.0.60/32", "dev", "lo"])
    sandbox.spawn(serve_tcp, "10.96.0.60", 80, namespace=namespace)
    sandbox.spawn(serve_local_name, 8088, namespace=namespace)


def serve_echo(address, port):
    """For Sandbox.spawn: sends back what it gets, to many clients at once."""
    with socket.socket(family(address)) as server:
        server.bind((address, port))
        server.listen(64)
        yield
        poll = selectors.DefaultSelector()
        poll.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in poll.select():
                if key.fileobj is server:
                    poll.register(server.accept()[0], selectors.EVENT_READ)
                    continue
                try:
                    said = key.fileobj.recv(100)
                except ConnectionError:
                    said = b""
                if said:
                    key.fileobj.sendall(said)
                else:
                    poll.unregister(key.fileobj)
                    key.fileobj.close()


def serve_local_name(port):
    """For Sandbox.spawn: at every address of the namespace that has no server, says the address it was reached at."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("0.0.0.0", port))
        server.listen(4096)
        yield
        while True:
            client, _ = server.accept()
            with client:
                try:
                    client.send(client.getsockname()[0].encode())
                except ConnectionError:
                    continue


def traffic(daemon, name):
    return daemon.get(f"/v1/services/test/{name}")["status"]["traffic"]


def wait_idle(daemon, name, seconds=10):
    end = time.monotonic() + seconds
    while traffic(daemon, name)["active"] and time.monotonic() < end:
        time.sleep(0.02)
    return traffic(daemon, name)


def test_removed_backend_gets_nothing_more(inside, daemon):
    put(daemon, service("removed", "10.96.0.1", ENDS))
    assert sorted(inside(ask_tcp_often, "10.96.0.1", 80, 100)) == [end[0] for end in ENDS]
    put(daemon, service("removed", "10.96.0.1", ENDS[1:]))
    assert sorted(inside(ask_tcp_often, "10.96.0.1", 80, 200)) == [end[0] for end in ENDS[1:]]
    put(daemon, service("removed", "10.96.0.1", ENDS))
    assert sorted(inside(ask_tcp_often, "10.96.0.1", 80, 100)) == [end[0] for end in ENDS]
    assert wait_idle(daemon, "removed")["attempts"] == 400  # also those of the backend that was away


def test_changed_weights_take_effect(inside, daemon):
    put(daemon, service("weights", "10.96.0.2", [(*ENDS[0], 100), (*ENDS[1], 100)]))
    even = inside(ask_tcp_often, "10.96.0.2", 80, 400)
    put(daemon, service("weights", "10.96.0.2", [(*ENDS[0], 900), (*ENDS[1], 100)]))
    skew = inside(ask_tcp_often, "10.96.0.2", 80, 400)
    put(daemon, service("weights", "10.96.0.2", [(*ENDS[0], 0), (*ENDS[1], 100)]))
    assert inside(ask_tcp_often, "10.96.0.2", 80, 50) == {"10.1.0.2": 50}
    assert 140 < even["10.1.0.1"] < 260  # 6 standard deviations round 200
    assert 324 < skew["10.1.0.1"] < 396  # and round 360


@pytest.mark.parametrize("how", ["drained", "removed", "service-deleted"])
def test_p10_open_connections_stay(inside, daemon, how):
    """Weight 0, gone, the whole service gone: the connections that are open go on, and tell the same peer."""
    name = f"stays-{how}"
    put(daemon, service(name, "10.96.0.3", [("10.1.0.1", 7000)]))

    def change():
        if how == "service-deleted":
            daemon.request("DELETE", f"/v1/services/test/{name}")
        elif how == "removed":
            put(daemon, service(name, "10.96.0.3", [("10.1.0.2", 7000)]))
        else:
            put(daemon, service(name, "10.96.0.3", [("10.1.0.1", 7000, 0), ("10.1.0.2", 7000)]))

    def echo(sock):
        sock.sendall(b"hello")
        return sock.recv(5), sock.getpeername()

    def ask():
        with socket.create_connection(("10.96.0.3", 80), timeout=5) as old:
            before = echo(old)
            change()
            after = echo(old)
            states = {item["address"]: item["state"] for item in daemon.get("/v1/backends")["items"]
                      if item["service"] == name}
            if how == "service-deleted":
                return before, after, states
            with socket.create_connection(("10.96.0.3", 80), timeout=5) as new:
                assert echo(new) == before
            return before, after, states
    before, after, states = inside(ask)
    assert before == after == (b"hello", ("10.96.0.3", 80))
    assert states == {"drained": {"10.1.0.1": "draining", "10.1.0.2": "active"}, "removed": {"10.1.0.2": "active"},
                      "service-deleted": {}}[how]
    if how != "service-deleted":
        seen = wait_idle(daemon, name)
        assert (seen["active"], seen["attempts"], seen["outcomes"]["connected"]) == (0, 2, 2)
        daemon.request("DELETE", f"/v1/services/test/{name}")


@pytest.mark.parametrize("whole", [False, True], ids=["backend", "service"])
def test_p66_connections_that_outlive_their_backend_are_booked_on_no_other(inside, daemon, whole):
    """The backend goes and comes back while connections to it are open: their end must not be taken from the new one."""
    name = "returns"
    put(daemon, service(name, "10.96.0.4", [("10.1.0.1", 7000), ("10.1.0.2", 7000)]))

    def connect():
        sock = socket.create_connection(("10.96.0.4", 80), timeout=5)
        reset_on_close(sock)
        return sock

    def ask():
        old = [connect() for _ in range(10)]
        for _ in range(3):
            if whole:
                daemon.request("DELETE", f"/v1/services/test/{name}")
            else:
                put(daemon, service(name, "10.96.0.4", [("10.1.0.3", 7000)]))
            put(daemon, service(name, "10.96.0.4", [("10.1.0.1", 7000), ("10.1.0.2", 7000)]))
        new = [connect() for _ in range(6)]
        during = traffic(daemon, name)["active"]
        for sock in old:
            sock.close()
        after = traffic(daemon, name)["active"]
        for sock in new:
            sock.close()
        return during, after
    during, after = inside(ask)
    assert during in (6, 16)  # a service that was deleted has forgotten the old ones
    assert after == 6
    assert wait_idle(daemon, name)["active"] == 0
    daemon.request("DELETE", f"/v1/services/test/{name}")


# --- under load -------------------------------------------------------------------------------------------------------

def connect_steadily(vip, seconds, per_second):
    """{what came of it: how often}: the place that answered, cut to its network, or an errno."""
    seen = {}
    start = time.monotonic()
    for turn in range(int(seconds * per_second)):
        wait = start + turn / per_second - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        elif wait < -1 and time.monotonic() - start > seconds:
            break  # a machine that is too busy for the pace
        with socket.socket() as sock:
            reset_on_close(sock)
            sock.settimeout(20)
            try:
                sock.connect((vip, 80))
                peer = sock.getpeername()
                said = sock.recv(100).decode()
                came = said.rsplit(".", 1)[0] if peer == (vip, 80) else f"peer {peer}"
            except OSError as error:
                came = errno.errorcode.get(error.errno, repr(error))
        seen[came] = seen.get(came, 0) + 1
    return seen


def connect_in_parallel(vip):
    """connect_steadily() in so many processes; the sums."""
    pipes = []
    for _ in range(THREADS):
        reading, writing = os.pipe()
        if os.fork() == 0:
            said = json.dumps(connect_steadily(vip, FLIP_SECONDS, PER_SECOND / THREADS))
            os.write(writing, said.encode())
            os._exit(0)
        os.close(writing)
        pipes.append(reading)
    total = {}
    for reading in pipes:
        with os.fdopen(reading) as pipe:
            for came, n in json.load(pipe).items():
                total[came] = total.get(came, 0) + n
    for _ in pipes:
        os.wait()
    return total


def flip_until(daemon, pid, name, sets):
    """Declares one set after the other for as long as a process runs; how often."""
    flips = 0
    end = time.monotonic() + 10 * FLIP_SECONDS
    while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < end:
        put(daemon, service(name, "10.96.0.60", sets[flips % len(sets)]))
        flips += 1
    return flips


@pytest.mark.parametrize("sets,allowed", [((FLIPPED[:1], FLIPPED), {"10.2.0"}),
                                          ((FLIPPED[:50], FLIPPED[50:]), {"10.2.0"}),
                                          (([], FLIPPED), {"10.2.0", "EHOSTUNREACH"})],
                         ids=["1-and-100", "disjoint-halves", "none-and-100"])
def test_p60_set_that_flips_under_connects(sandbox, namespace, daemon, sets, allowed):
    """1,000 connects a second from eight processes. At the service's own address somebody listens, and is never met."""
    name = "flips"
    put(daemon, service(name, "10.96.0.60", sets[1]))
    path = sandbox.path(f"flips.{len(sets[0])}")

    def load():
        yield
        with open(path, "w", encoding="ascii") as f:
            json.dump(connect_in_parallel("10.96.0.60"), f)
    pid = sandbox.spawn(load, namespace=namespace, cgroup=daemon.cgroup)
    flips = flip_until(daemon, pid, name, sets)
    sandbox.spawned.remove(pid)
    with open(path, encoding="ascii") as f:
        seen = json.load(f)
    assert set(seen) == allowed
    assert sum(seen.values()) > 100
    assert flips > 10
    counted = wait_idle(daemon, name)
    assert counted["active"] == 0
    assert counted["refused"]["torn"] == 0
    assert counted["attempts"] == counted["outcomes"]["connected"] == seen["10.2.0"]
    assert counted["refused"]["no_backend"] == seen.get("EHOSTUNREACH", 0)
    assert daemon.get("/v1/status")["node"]["bad_map"] == 0
    daemon.request("DELETE", f"/v1/services/test/{name}")


# --- handed over ------------------------------------------------------------------------------------------------------

def hand_over(sandbox, namespace, creator, user, function):
    """function(sock) in a process of cgroup `user`, with a TCP socket made by one of cgroup `creator`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def create():
        with socket.socket() as sock:
            theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()]))])

    def use():
        _, control, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
        with socket.socket(fileno=array.array("i", control[0][2])[0]) as sock:
            return function(sock)
    with ours, theirs:
        sandbox.call(create, namespace=namespace, cgroup=creator)
        return sandbox.call(use, namespace=namespace, cgroup=user)


@pytest.mark.parametrize("served", ["creator", "user"])
def test_p51_socket_that_was_handed_over_is_its_creators(sandbox, namespace, daemon, served):
    """The programs of the cgroup in which a socket was made are the ones that see it, whoever uses it."""
    name = f"handed-{served}"
    put(daemon, service(name, "10.96.0.60", [("10.1.0.1", 8080)]))
    outside = sandbox.cgroup(f"outside-{served}")

    def ask(sock):
        number = raw.connect(sock, raw.sockaddr("10.96.0.60", 80))
        return number, raw.peer(sock), traffic(daemon, name)["active"], raw.read_all(sock).decode()
    creator, user = (daemon.cgroup, outside) if served == "creator" else (outside, daemon.cgroup)
    seen = hand_over(sandbox, namespace, creator, user, ask)
    counted = wait_idle(daemon, name)
    if served == "creator":
        assert seen == (0, ("10.96.0.60", 80), 1, "10.1.0.1")
        assert (counted["attempts"], counted["active"]) == (1, 0)
    else:
        assert seen == (0, ("10.96.0.60", 80), 0, "10.96.0.60")
        assert counted["attempts"] == 0
    daemon.request("DELETE", f"/v1/services/test/{name}")


@pytest.mark.parametrize("bypassed", ["creator", "user", "neither"])
def test_p51_bypass_and_workload_go_by_the_process_that_connects(sandbox, namespace, daemon, bypassed):
    name = f"caller-{bypassed}"
    put(daemon, service(name, "10.96.0.60", [("10.1.0.1", 7000)]))
    places = {who: os.path.join(daemon.cgroup, f"{bypassed}-{who}") for who in ("creator", "user")}
    for path in places.values():
        os.mkdir(path)
    daemon.reload({"bypass.cgroups": places.get(bypassed, "")})

    def ask(sock):
        assert raw.connect(sock, raw.sockaddr("10.96.0.60", 80)) == 0
        return [flow["workload"] for flow in daemon.get(f"/v1/flows?service={name}")["items"]]
    try:
        seen = hand_over(sandbox, namespace, places["creator"], places["user"], ask)
    finally:
        daemon.reload({"bypass.cgroups": ""})
        daemon.request("DELETE", f"/v1/services/test/{name}")
    assert seen == ([] if bypassed == "user" else [os.stat(places["user"]).st_ino & 0xffffffff])
