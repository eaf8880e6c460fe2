# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever an application does with a connect that went on: it must not notice. And when every backend is dead, it gets
the error that it would have got without Sinew, and not later.

The clients' namespace has the dead backends and one live one on loopback, and a cable to others (far.py).
"""
import contextlib
import errno
import hashlib
import os
import select
import socket
import time

import pytest

from harness import raw
from harness.daemon import Daemon
from harness.far import make_far
from harness.going import declare, going, traffic
from harness.life import eventually, tool
from harness.sandbox import Namespace
from harness.service import family, put, reset_on_close, serve_tcp, service

from conftest import BUILD

PORT, ECHO = 8080, 8081
LO = {4: ("10.1.0.3", "10.1.0.1"), 6: ("fd00::3", "fd00::1")}  # dead, live
WIRE = {4: ("10.9.0.3", "10.9.0.2"), 6: ("fd09::3", "fd09::2")}  # both are the far end's
SILENT = ("10.7.0.1", "10.7.0.2", "10.7.0.3")
UNREACHABLE = ("10.8.0.1", "10.8.0.2", "10.8.0.3")
SIZE = 50 << 20
VIPS = {("lo", 4): "10.96.0.1", ("lo", 6): "fd96::1", ("wire", 4): "10.96.0.2", ("wire", 6): "fd96::2"}
PLACES = [(place, six) for place in ("lo", "wire", "pod") for six in (4, 6)]  # "pod": from behind a veth pair


@pytest.fixture(scope="module")
def daemon(sandbox, namespace):
    """Instead of the ring's: it looks after the interfaces of the clients' namespace."""
    return Daemon(sandbox, BUILD, "sinewd", sandbox.cgroup("served"), namespace=namespace)


@pytest.fixture(scope="module", autouse=True)
def far(sandbox, namespace, daemon):
    made = make_far(sandbox, namespace)
    namespace.run(["sysctl", "-qw", "net.ipv4.tcp_syn_retries=1"])
    for address, length in (("10.9.0.3", 24), ("10.9.0.4", 24), ("10.9.0.5", 24), ("fd09::3", 64)):
        made.run(["ip", "address", "add", f"{address}/{length}", "dev", "end", *(["nodad"] if length == 64 else [])])
    put(daemon, going("on"), going("off", attempts=0))
    for place, where, all_ends in (("lo", namespace, LO), ("wire", made, WIRE)):
        for six, (dead, live) in all_ends.items():
            sandbox.spawn(serve_tcp, live, PORT, namespace=where)
            sandbox.spawn(serve_echo, live, ECHO, namespace=where)
            declare(daemon, f"{place}{six}", VIPS[place, six], (dead, PORT), [(live, PORT)], "on")
            declare(daemon, f"{place}{six}-echo", VIPS[place, six].replace("96", "97", 1), (dead, ECHO), [(live, ECHO)], "on")
    assert eventually(lambda: {one["name"] for one in daemon.get("/v1/status")["interfaces"] if not one.get("reason")} >=
                      {"lo", "cable"})
    return made


def serve_echo(address, port):
    """For Sandbox.spawn: sends back all that it gets, in a child for each connection."""
    server = socket.socket(family(address), socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen(64)
    yield
    while True:
        client, _ = server.accept()
        if os.fork() == 0:
            server.close()
            with contextlib.suppress(OSError):  # a test ends it from outside
                while part := client.recv(1 << 18):
                    client.sendall(part)
            os._exit(0)
        client.close()


@pytest.fixture(scope="module")
def pod(sandbox, namespace, far):
    """A container's namespace: its way out is a veth pair whose other end is in the host's, which routes."""
    made = Namespace(sandbox, addresses=())
    namespace.run(["ip", "link", "add", "pod", "type", "veth", "peer", "name", "eth", "netns", str(made.keeper.pid)])
    for place, device, host in ((namespace, "pod", 1), (made, "eth", 2)):
        place.run(["ip", "link", "set", device, "up"])
        place.run(["ip", "address", "add", f"10.12.0.{host}/24", "dev", device])
        place.run(["ip", "address", "add", f"fd12::{host}/64", "dev", device, "nodad"])
    for net, gateway, back in (("10.12.0.0/24", "10.12.0.1", "10.9.0.1"), ("fd12::/64", "fd12::1", "fd09::1")):
        made.run(["ip", "route", "add", "default", "via", gateway])
        far.run(["ip", "route", "add", net, "via", back])
    namespace.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
    yield made
    namespace.run(["sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"])


@pytest.fixture(params=PLACES, ids=lambda p: f"{p[0]}{p[1]}")
def way(request, sandbox, namespace, daemon):
    """(VIP, VIP of the echo service, the live backend, what calls a function in the client's place); afterwards the
    connects of the test did go on."""
    place, six = request.param
    client = namespace
    if place == "pod":
        place, client = "wire", request.getfixturevalue("pod")
        assert eventually(lambda: "pod" in {one["name"] for one in daemon.get("/v1/status")["interfaces"]
                                            if not one.get("reason")})
    names = (f"{place}{six}", f"{place}{six}-echo")
    before = sum(traffic(daemon, name)["failedOver"] for name in names)
    vip = VIPS[place, six]

    def call(function, *args, seconds=60):
        return sandbox.call(function, *args, namespace=client, cgroup=daemon.cgroup, seconds=seconds)
    call.place = client
    yield vip, vip.replace("96", "97", 1), (LO if place == "lo" else WIRE)[six][1], call
    assert sum(traffic(daemon, name)["failedOver"] for name in names) > before
    for name in names:
        assert eventually(lambda: traffic(daemon, name)["active"] == 0), name  # pylint: disable=cell-var-from-loop


# --- every backend dead -----------------------------------------------------------------------------------------------

def connect_for(vip):
    """(errno, seconds)"""
    with socket.socket(family(vip)) as sock:
        begin = time.monotonic()
        number = raw.connect(sock, raw.sockaddr(vip, 80))
        return number, time.monotonic() - begin


def same_as_without(daemon, inside, name, number, backends, **spec):
    """What a connect gets without a service at all, and with failover: ((errno, seconds), (errno, seconds))"""
    put(daemon, going(name, **spec),
        service(name, f"10.96.3.{number}", [(one, PORT) for one in backends], policy=name),
        service(f"{name}-alone", f"10.96.4.{number}", [(backends[0], PORT)], policy="off"))
    plain = inside(connect_for, f"10.96.4.{number}")
    direct = inside(connect_direct, backends[0])
    ours = inside(connect_for, f"10.96.3.{number}")
    assert direct[0] == plain[0] == ours[0], (direct, plain, ours)
    return direct[0], direct[1], ours[1], traffic(daemon, name)


def connect_direct(address):
    with socket.socket(family(address)) as sock:
        begin = time.monotonic()
        number = raw.connect(sock, raw.sockaddr(address, PORT))
        return number, time.monotonic() - begin


def test_all_refusing_is_refused_at_once(daemon, inside):
    number, _, ours, told = same_as_without(daemon, inside, "refusing", 1, ["10.9.0.3", "10.9.0.4", "10.9.0.5"])
    assert number == errno.ECONNREFUSED and ours < 0.1, ours
    assert told["outcomes"]["refused"] == told["attempts"] == 3 and not told["active"]


def test_all_silent_is_a_timeout_not_later_than_without(daemon, inside):
    number, direct, ours, told = same_as_without(
        daemon, inside, "silent", 2, SILENT, on=("refused", "unreachable", "timeout"), connect={"attemptTimeout": "50ms"})
    assert number == errno.ETIMEDOUT and ours <= direct * 1.1, (direct, ours)
    assert told["attempts"] == told["outcomes"]["timeout"] >= 2 and not told["active"]


def test_all_unreachable_is_unreachable_at_once(daemon, inside):
    number, direct, ours, told = same_as_without(daemon, inside, "lost", 3, UNREACHABLE)
    assert number == errno.EHOSTUNREACH and ours <= direct * 1.1 + 0.1, (direct, ours)
    assert told["outcomes"]["unreachable"] == told["attempts"] == 3 and not told["active"]


# --- the application's ways -------------------------------------------------------------------------------------------

def ask_by_epoll(vip):
    with socket.socket(family(vip)) as sock, select.epoll() as poll:
        sock.setblocking(False)
        first = raw.connect(sock, raw.sockaddr(vip, 80))
        poll.register(sock, select.EPOLLOUT)
        ready = poll.poll(5)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        again = raw.connect(sock, raw.sockaddr(vip, 80))
        return first, [mask for _, mask in ready], error, again, raw.peer(sock), raw.read_all(sock).decode()


def test_non_blocking_and_epoll(way):
    """The second call of connect() tells that the first one is done, as it does without us."""
    vip, _, live, call = way
    first, masks, *told = call(ask_by_epoll, vip)
    assert first == errno.EINPROGRESS and masks[0] & select.EPOLLOUT and not masks[0] & select.EPOLLERR
    assert told == [0, 0, (vip, 80), live]


@pytest.mark.parametrize("mode", ["plain", "async", "sqpoll"])
def test_io_uring(way, sandbox, daemon, mode):
    vip, _, live, call = way
    said = sandbox.run([tool(BUILD, "uring_connect"), mode, vip, "80"], namespace=call.place, cgroup=daemon.cgroup).split()
    if said == ["none"]:
        call(raw.ask, family(vip), raw.sockaddr(vip, 80))
        pytest.skip("this kernel has no io_uring")
    assert said == ["0", vip, "80", live]


@pytest.mark.parametrize("place", ["lo", "wire"])
@pytest.mark.parametrize("form", ["mapped", "mptcp"])
def test_mapped_and_mptcp_sockets(daemon, inside, place, form):
    vip, live = VIPS[place, 4], (LO if place == "lo" else WIRE)[4][1]
    before = traffic(daemon, f"{place}4")["failedOver"]
    if form == "mapped":
        said = inside(raw.ask, socket.AF_INET6, raw.sockaddr(vip, 80, socket.AF_INET6))
    else:
        try:
            said = inside(raw.ask, socket.AF_INET, raw.sockaddr(vip, 80), socket.SOCK_STREAM, raw.IPPROTO_MPTCP)
        except OSError as error:
            pytest.skip(f"no MPTCP here: {error}")
    assert said["errno"] == 0 and raw.plain(said["peer"][0]) == vip and said["backend"] == live
    assert traffic(daemon, f"{place}4")["failedOver"] == before + 1


def ask_bound(vip, times):
    """From one local port, which each connect takes anew."""
    seen, port = [], 0
    for _ in range(times):
        with socket.socket(family(vip)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(("::" if ":" in vip else "0.0.0.0", port))
            port = sock.getsockname()[1]
            seen.append((raw.connect(sock, raw.sockaddr(vip, 80)), raw.peer(sock), raw.read_all(sock).decode()))
            reset_on_close(sock)
    return seen


def test_a_bound_port_used_again_and_again(way):
    vip, _, live, call = way
    assert call(ask_bound, vip, 20) == [(0, (vip, 80), live)] * 20


def transfer(vip, size):
    """Sends and gets back so many bytes: the digests of what was sent and of what came, after a half-close."""
    sent, got = hashlib.sha256(), hashlib.sha256()
    block = os.urandom(1 << 20)
    with socket.create_connection((vip, 80), timeout=60) as sock:
        pid = os.fork()
        if pid == 0:
            for i in range(size >> 20):
                sock.sendall(bytes([i & 255]) + block[1:])
            sock.shutdown(socket.SHUT_WR)
            os._exit(0)
        for i in range(size >> 20):
            sent.update(bytes([i & 255]) + block[1:])
        count = 0
        while part := sock.recv(1 << 18):
            got.update(part)
            count += len(part)
        os.waitpid(pid, 0)
    return count, sent.hexdigest() == got.hexdigest()


def test_fifty_megabytes_both_ways_and_a_half_close(way):
    """With segmentation offload as the devices have it."""
    assert way[3](transfer, way[1], SIZE, seconds=120) == (SIZE, True)


def wait_for_reset(sandbox, far, vip, pause):
    """What a socket hears when its connection, idle for a while, is reset by the backend: errno of recv"""
    with socket.create_connection((vip, 80), timeout=5) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        time.sleep(pause)
        sandbox.run(["ss", "-K", "sport", "=", f":{ECHO}"], namespace=far)
        try:
            return sock.recv(1)
        except OSError as error:
            return error.errno


@pytest.mark.parametrize("six", [4, 6])
def test_a_late_reset_of_the_backend_reaches_the_socket(sandbox, far, inside, daemon, six):
    before = traffic(daemon, f"wire{six}-echo")["failedOver"]
    vip = VIPS["wire", six].replace("96", "97", 1)
    assert inside(wait_for_reset, sandbox, far, vip, 1.5) == errno.ECONNRESET
    assert traffic(daemon, f"wire{six}-echo")["failedOver"] == before + 1


def read_mtu(vip, size):
    """The path's MTU as the socket knows it, after a transfer; whether that was whole."""
    with socket.create_connection((vip, 80), timeout=20) as sock:
        sock.sendall(b"x" * size)
        sock.shutdown(socket.SHUT_WR)
        count = 0
        while part := sock.recv(65536):
            count += len(part)
        level, name = (socket.IPPROTO_IPV6, 24) if ":" in vip else (socket.IPPROTO_IP, 14)
        return count, sock.getsockopt(level, name)


@pytest.mark.parametrize("six", [4, 6])
def test_a_smaller_mtu_behind_the_second_backends_router_is_heard_of(sandbox, far, daemon, inside, six):
    """The router's word quotes the second backend's address; the socket knows the first one's only."""
    host = ("10.11.0.2", "fd11::2")[six == 6]
    behind = Namespace(sandbox, addresses=())
    far.run(["ip", "link", "add", f"narrow{six}", "mtu", "1300", "type", "veth", "peer", "name", "deep",
             "netns", str(behind.keeper.pid)])
    for place, device, last in ((far, f"narrow{six}", "1"), (behind, "deep", "2")):
        place.run(["ip", "link", "set", device, "up"])
        place.run(["ip", "address", "add", host[:-1] + last + ("/64" if six == 6 else "/24"), "dev", device,
                   *(["nodad"] if six == 6 else [])])
    behind.run(["ip", "route", "add", "default", "via", host[:-1] + "1", "mtu", "1300", "advmss", "1400"])
    daemon.namespace.run(["ip", "route", "add", host[:-1] + ("/64" if six == 6 else "0/24"), "via", WIRE[six][1]])
    sandbox.spawn(serve_echo, host, ECHO, namespace=behind)
    vip = ("10.96.5.1", "fd96::5:1")[six == 6]
    declare(daemon, f"narrow{six}", vip, (WIRE[six][0], ECHO), [(host, ECHO)], "on")
    count, mtu = inside(read_mtu, vip, 1 << 20)
    assert (count, mtu) == (1 << 20, 1300)
    assert traffic(daemon, f"narrow{six}")["failedOver"] == 1
