# SPDX-License-Identifier: GPL-2.0-or-later
"""Datagram sockets through service addresses: connected and not, in every form of address.

The addresses of the "local" services are this namespace's own, too: what passes untouched ends at a server there,
which answers with the service's address instead of a backend's.

Pitfalls: P-06, P-08, P-20, P-22.
"""
import errno
import os
import select
import socket
import struct
import time

import pytest

from harness.daemon import Daemon
from harness.datagram import (WAYS, ask, ask_connected, ask_once, connect, disconnect, errno_of, is_v6, open_socket,
                              plain, receive, sendto)
from harness.sandbox import CLONE_NEWNS, MS_PRIVATE, MS_REC, Namespace, SandboxError, check_call, libc
from harness.service import put, serve_udp, service

from conftest import ADDRESSES, BUILD

KINDS = ("connected", "unconnected")
BACKENDS = {False: ADDRESSES[:3], True: ADDRESSES[3:]}
MARK = 0x51e3
MS_BIND = 0x1000

ECHO = {False: "10.96.1.1", True: "fd00:96::1"}
NOBODY = {False: "10.96.1.2", True: "fd00:96::2"}
LOCAL = {False: "10.96.1.3", True: "fd00:96::3"}
HALF = {False: "10.96.1.4", True: "fd00:96::4"}  # of the one service that has both; its endpoints are IPv4
HALF6 = {False: "10.96.1.6", True: "fd00:96::6"}  # the same, and its endpoints are IPv6
DNS = {False: "10.96.1.5", True: "fd00:96::5"}
POOL = {False: "127.128.7.7", True: "fd73:696e:6577::77"}
MANY = [f"10.96.2.{i}" for i in range(1, 11)]


@pytest.fixture(scope="module")
def namespace(sandbox):
    return Namespace(sandbox, addresses=(*ADDRESSES, *LOCAL.values()))


@pytest.fixture(scope="module")
def daemon(sandbox):
    served = sandbox.cgroup("served")
    return Daemon(sandbox, BUILD, "sinewd", served,
                  [f"bypass.mark={MARK}", f"bypass.cgroups={sandbox.cgroup('served/bypassed')}"])


@pytest.fixture(scope="module")
def free(sandbox):
    """A cgroup that is not served."""
    return sandbox.cgroup("free")


def serve_dns(address, port):
    """Every name has one address: that of the server which was asked."""
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, port))
    yield
    while True:
        query, client = server.recvfrom(2048)
        end = query.index(b"\0", 12) + 5
        kind = struct.unpack_from("!H", query, end - 4)[0]
        own = socket.inet_pton(server.family, address)
        has = (kind == 1 and len(own) == 4) or (kind == 28 and len(own) == 16)
        answer = query[:2] + struct.pack("!HHHHH", 0x8580, 1, int(has), 0, 0) + query[12:end]
        if has:
            answer += struct.pack("!HHHIH", 0xc00c, kind, 1, 1, len(own)) + own
        server.sendto(answer, client)


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, daemon):
    for address in (*ADDRESSES, *LOCAL.values(), "127.0.0.1", "::1"):
        sandbox.spawn(serve_udp, address, 5353, namespace=namespace)
    for address in ADDRESSES:
        sandbox.spawn(serve_dns, address, 53, namespace=namespace)
    for six, version in ((False, "4"), (True, "6")):
        ends = [(address, 5353) for address in BACKENDS[six]]
        for name, address, port, has in (
                ("echo", ECHO, 53, ends), ("nobody", NOBODY, 53, []), ("local", LOCAL, 5353, ends),
                ("dns", DNS, 53, [(end, 53) for end in BACKENDS[six]])):
            put(daemon, service(name + version, address[six], has, port=port, protocol="UDP"))
        pool = service(f"pool{version}", POOL[six], [(end, 1) for end in BACKENDS[six]], port=0, protocol="UDP")
        for end in pool["spec"]["endpoints"]:
            del end["port"]
        put(daemon, pool)
    put(daemon, service("half4", HALF.values(), [(end, 5353) for end in ADDRESSES[:3]], port=53, protocol="UDP"),
        service("half6", HALF6.values(), [(end, 5353) for end in ADDRESSES[3:]], port=53, protocol="UDP"))
    for i, address in enumerate(MANY):
        put(daemon, service(f"many{i}", address, [(ADDRESSES[i % 3], 5353)], port=53, protocol="UDP"))


def repeat(times, function, *args):
    return [function(*args) for _ in range(times)]


# --- translated ---------------------------------------------------------------------------------

@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_backends_answer_as_the_service(inside, way, kind):
    six = is_v6(way)
    replies = inside(repeat, 40, ask_once, way, kind, ECHO[six], 53)
    assert {reply.server for reply in replies} == set(BACKENDS[six])
    assert {reply.source for reply in replies} == {(ECHO[six], 53)}
    assert {reply.peer for reply in replies} == {(ECHO[six], 53) if kind == "connected" else None}


def receive_in_each_way(way, kind, address, port):
    """The raw source that recvfrom, recvmsg, recvfrom_into and a read after poll report."""
    with open_socket(way) as sock:
        if kind == "connected":
            connect(sock, way, address, port)
        sources = []

        def send():
            if kind == "connected":
                sock.send(b"x")
            else:
                sendto(sock, way, b"x", address, port)
        send()
        sources.append(sock.recvfrom(100)[1])
        send()
        sources.append(sock.recvmsg(100, 100)[3])
        send()
        sources.append(sock.recvfrom_into(bytearray(100))[1])
        sock.setblocking(False)
        early = errno_of(sock.recvfrom, 100, socket.MSG_DONTWAIT)
        send()
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        ready = poll.poll(5000)
        peeked = sock.recvfrom(100, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        sources.append(peeked[1])
        assert sock.recvfrom(100, socket.MSG_DONTWAIT) == peeked
        return sources, early, len(ready)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_call_that_receives_tells_the_service(inside, way, kind):
    address = ECHO[is_v6(way)]
    sources, early, ready = inside(receive_in_each_way, way, kind, address, 53)
    said = address if way in ("inet", "inet6") else f"::ffff:{address}"
    assert {source[:2] for source in sources} == {(said, 53)}
    assert early == errno.EAGAIN and ready == 1


def keep_asking(way, kind, address, times):
    with open_socket(way) as sock:
        if kind == "connected":
            connect(sock, way, address, 53)
            return {ask_connected(sock).server for _ in range(times)}
        return {ask(sock, way, address, 53).server for _ in range(times)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_keeps_its_backend(inside, way, kind):
    assert len(inside(keep_asking, way, kind, ECHO[is_v6(way)], 30)) == 1


# --- refused, untouched, bypassed ---------------------------------------------------------------

def refusal(way, kind, address, port):
    with open_socket(way) as sock:
        if kind == "connected":
            return errno_of(connect, sock, way, address, port)
        return errno_of(sendto, sock, way, b"x", address, port)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_p20_without_a_backend_it_is_ehostunreach(inside, way, kind):
    assert inside(refusal, way, kind, NOBODY[is_v6(way)], 53) == errno.EHOSTUNREACH


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_k7_backends_of_the_other_family_are_no_backends(inside, way, kind):
    """A datagram to an IPv6 address may not be sent to an IPv4 one (ENOTSUPP): such a backend is never offered."""
    six = is_v6(way)
    usable, other = (HALF6, HALF) if six else (HALF, HALF6)
    assert inside(ask_once, way, kind, usable[six], 53).server in BACKENDS[six]
    assert inside(refusal, way, kind, other[six], 53) == errno.EHOSTUNREACH


def test_k7_endpoints_that_could_never_be_reached_are_refused(daemon):
    for address, end in ((ECHO[True], "10.1.0.1"), (ECHO[False], "fd00::1")):
        with pytest.raises(SandboxError, match=f": 422 .*endpoint {end} is .*but the service only has the address"):
            put(daemon, service("mixed", address, [(end, 5353)], port=99, protocol="UDP"))


def start_fate(way, kind, sock, address, port, options):
    for level, name in options:
        sock.setsockopt(level, name, 1)
    if kind == "unconnected":
        return [errno_of(sendto, sock, way, b"x", address, port)]
    return [errno_of(connect, sock, way, address, port), errno_of(sock.getpeername) or plain(sock.getpeername()),
            errno_of(sock.send, b"x")]


def fates(way, kind, destinations):
    """Everything that sockets tell about destinations: errors at once, and what comes within a while."""
    socks = [open_socket(way, timeout=0) for _ in destinations]
    told = [start_fate(way, kind, sock, *destination) for sock, destination in zip(socks, destinations)]
    time.sleep(0.4)
    for sock, said in zip(socks, told):
        try:
            said.append(receive(sock))
        except OSError as error:
            said.append(error.errno)
        sock.close()
    return told


STRANGE = [
    ("no route", "192.0.2.1", "2001:db8::1", 53, ()),
    ("closed port", "10.1.0.1", "fd00::1", 9, ()),
    ("another port of a service", "10.96.1.1", "fd00:96::1", 54, ()),
    ("port 0", "10.1.0.1", "fd00::1", 0, ()),
    ("port 0 of a service", "10.96.1.1", "fd00:96::1", 0, ()),
    ("loopback", "127.0.0.1", "::1", 5353, ()),
    ("the zero address", "0.0.0.0", "::", 5353, ()),
    ("multicast", "224.0.0.251", "ff02::fb", 5353, ()),
    ("broadcast", "255.255.255.255", "ff02::1", 5353, ()),
    ("broadcast, allowed", "255.255.255.255", "ff02::1", 5353, ((socket.SOL_SOCKET, socket.SO_BROADCAST),)),
    ("a backend by its own address", "10.1.0.1", "fd00::1", 5353, ()),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_k10_p29_other_destinations_are_as_if_we_were_not_here(inside, free, way, kind):
    there = [(six if is_v6(way) else four, port, options) for _, four, six, port, options in STRANGE]
    served, unserved = inside(fates, way, kind, there), inside(fates, way, kind, there, cgroup=free)
    for i, (what, *_) in enumerate(STRANGE):
        assert (what, served[i]) == (what, unserved[i])


def test_k10_the_zero_address_reaches_loopback(inside):
    for way in ("inet", "inet6", "mapped"):
        for kind in KINDS:
            reply = inside(ask_once, way, kind, "::" if is_v6(way) else "0.0.0.0", 5353)
            assert reply.server in ("127.0.0.1", "::1")
            assert reply.source == (reply.server, 5353)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.251", "ff02::fb", "255.255.255.255"])
def test_k10_no_service_may_claim_such_an_address(daemon, address):
    with pytest.raises(SandboxError, match=": 4[0-9][0-9] "):
        put(daemon, service("bad", address, [("10.1.0.1", 5353)], port=5353, protocol="UDP"))


def exchange_multicast(group, interface):
    """A member of a group hears the datagram from its true sender and answers it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as member, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        member.bind((group, 5454))
        member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                          socket.inet_aton(group) + socket.inet_aton(interface))
        sender.bind((interface, 0))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        for sock in (member, sender):
            sock.settimeout(5)
        ask(sender, "inet", ECHO[False], 53)  # its flow must not touch what follows
        sender.sendto(b"x", (group, 5454))
        source = member.recvfrom(10)[1]
        member.sendto(b"y", source)
        return source == sender.getsockname(), sender.recvfrom(10)[1]


def test_multicast_is_left_alone(inside):
    assert inside(exchange_multicast, "224.0.0.199", "127.0.0.1") == (True, ("127.0.0.1", 5454))


def ask_marked(way, kind, address, port, mark):
    with open_socket(way) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        if kind == "connected":
            connect(sock, way, address, port)
            return ask_connected(sock)
        return ask(sock, way, address, port)


def check_bypassed(reply, address):
    assert (reply.server, reply.source) == (address, (address, 5353))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_bypass_by_mark_and_by_cgroup(sandbox, namespace, daemon, inside, way, kind):
    address = LOCAL[is_v6(way)]
    assert inside(ask_once, way, kind, address, 5353).server in BACKENDS[is_v6(way)]
    assert inside(ask_marked, way, kind, address, 5353, MARK + 1).server in BACKENDS[is_v6(way)]
    check_bypassed(inside(ask_marked, way, kind, address, 5353, MARK), address)
    check_bypassed(inside(ask_once, way, kind, address, 5353, cgroup=f"{daemon.cgroup}/bypassed"), address)
    below = f"{daemon.cgroup}/bypassed/{way}-{kind}"
    os.mkdir(below)
    check_bypassed(sandbox.call(ask_once, way, kind, address, 5353, namespace=namespace, cgroup=below), address)


def test_bypasses_are_counted(daemon, inside):
    def refused():
        seen = daemon.get("/v1/status")["traffic"]["refused"]
        return seen["bypass_mark"], seen["bypass_workload"], seen["no_backend"]
    before = refused()
    for kind in KINDS:
        inside(ask_marked, "inet", kind, LOCAL[False], 5353, MARK)
        inside(ask_once, "inet", kind, LOCAL[False], 5353, cgroup=f"{daemon.cgroup}/bypassed")
        inside(refusal, "inet", kind, NOBODY[False], 53)
    assert refused() == tuple(count + 2 for count in before)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_any_port_of_a_pool_address(inside, way, kind):
    """The port that was asked for is the backend's, too, and comes back in the reply."""
    six = is_v6(way)
    reply = inside(ask_once, way, kind, POOL[six], 5353)
    assert reply.server in BACKENDS[six]
    assert reply.source == (POOL[six], 5353)
    assert reply.peer == ((POOL[six], 5353) if kind == "connected" else None)


# --- one socket, many services ------------------------------------------------------------------

def ask_all(way, addresses, times):
    with open_socket(way) as sock:
        sources, servers = [], {}
        for _ in range(times):
            for address in addresses:
                reply = ask(sock, way, address, 53, address.encode())
                sources.append((reply.source, reply.data.decode()))
                servers.setdefault(address, set()).add(reply.server)
        return sources, servers


def test_ten_services_on_one_socket_keep_apart(inside):
    for way in ("inet", "mapped", "inet_on_inet6"):
        sources, servers = inside(ask_all, way, MANY, 5)
        assert all(source == (asked, 53) for source, asked in sources)
        # Services 0, 3, 6 and 9 share a backend: its replies tell the service that was asked last.
        assert servers == {address: {ADDRESSES[i % 3]} for i, address in enumerate(MANY)}


def ask_at_once(addresses):
    """Questions to services with different backends, all sent before the first answer is read."""
    with open_socket("inet") as sock:
        for address in addresses:
            sendto(sock, "inet", address.encode(), address, 53)
        return [(reply.source[0], reply.data.decode()) for reply in (receive(sock) for _ in addresses)]


def test_answers_of_several_services_may_cross(inside):
    told = inside(ask_at_once, MANY[:3])
    assert len(told) == 3 and all(source == asked for source, asked in told)


def switch_connected(way, addresses):
    told = []
    with open_socket(way) as sock:
        for address in addresses:
            connect(sock, way, address, 53)
            reply = ask_connected(sock)
            told.append((reply.source, reply.peer, reply.server))
        disconnect(sock)
        told.append(errno_of(sock.getpeername))
        told.append(ask(sock, way, addresses[0], 53).source)
        connect(sock, way, addresses[1], 53)
        told.append(ask_connected(sock).source)
    return told


def test_p22_a_connected_socket_may_connect_to_another_service(inside):
    for way in ("inet", "mapped", "inet_on_inet6"):
        told = inside(switch_connected, way, MANY[:4])
        for i, address in enumerate(MANY[:4]):
            assert told[i] == ((address, 53), (address, 53), ADDRESSES[i % 3])
        assert told[4:] == [errno.ENOTCONN, (MANY[0], 53), (MANY[1], 53)]


def alternate_connection(way, service_address, backend):
    told = []
    with open_socket(way) as sock:
        for _ in range(3):
            connect(sock, way, service_address, 53)
            reply = ask_connected(sock)
            told.append((reply.source, reply.peer))
            connect(sock, way, backend, 5353)
            reply = ask_connected(sock)
            told.append((reply.source, reply.peer))
    return told


def test_p08_connecting_to_the_backend_itself_shows_the_backend(inside):
    for way in ("inet", "mapped", "inet_on_inet6"):
        told = inside(alternate_connection, way, MANY[0], ADDRESSES[0])
        assert told == [((MANY[0], 53),) * 2, ((ADDRESSES[0], 5353),) * 2] * 3


# --- a client that checks whom an answer is from --------------------------------------------------

def resolve_strictly(server, six):
    """As dig does: an answer from another source is dropped with a warning, and waited for in vain."""
    question = struct.pack("!HHHHHH", 0x5151, 0x0100, 1, 0, 0, 0) + b"\3www\4shop\0" + \
        struct.pack("!HH", 28 if six else 1, 1)
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(question, (server, 53))
        answer, source = sock.recvfrom(2048)
        if source[:2] != (server, 53):
            return f"reply from unexpected source: {source}, expected {server}"
        return socket.inet_ntop(sock.family, answer[-16 if six else -4:])


@pytest.mark.parametrize("six", (False, True))
def test_p06_a_resolver_that_checks_the_source_is_content(inside, six):
    assert set(inside(repeat, 30, resolve_strictly, DNS[six], six)) == set(BACKENDS[six])


def resolve_by_libc(config, six):
    """getaddrinfo() of the C library, whose only name server is the service."""
    check_call(libc.unshare(CLONE_NEWNS), "unshare")
    check_call(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "make mounts private")
    check_call(libc.mount(config.encode(), b"/etc/resolv.conf", None, MS_BIND, None), "bind resolv.conf")
    family = socket.AF_INET6 if six else socket.AF_INET
    return {socket.getaddrinfo(f"www{i}.shop.test", 80, family, socket.SOCK_STREAM)[0][4][0] for i in range(20)}


@pytest.mark.parametrize("six", (False, True))
def test_the_c_library_resolves_names_through_a_service(sandbox, inside, six):
    config = sandbox.write(f"resolv.{six}", f"nameserver {DNS[six]}\noptions timeout:2 attempts:1\n")
    assert inside(resolve_by_libc, config, six) <= set(BACKENDS[six])
