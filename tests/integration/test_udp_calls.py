# SPDX-License-Identifier: GPL-2.0-or-later
"""The rarer calls on datagram sockets: many messages at once, segments, io_uring, the error queue.

Pitfalls: P-13, P-14.
"""
import collections
import errno
import os
import select
import socket
import struct

import pytest

from harness.datagram import WAYS, connect, errno_of, is_v6, open_socket, sendto
from harness.service import put, serve_udp, service

from conftest import ADDRESSES, BUILD

PORT = 5353
VIP = {False: "10.96.6.1", True: "fd00:96::61"}
CLOSED = {False: "10.96.6.2", True: "fd00:96::62"}
SEVERAL = {False: [f"10.96.6.{i}" for i in range(10, 13)], True: [f"fd00:96::6:{i}" for i in range(10, 13)]}
NOBODY = "10.96.6.99"
IP_RECVERR, IPV6_RECVERR, ORIGIN_ICMP, ORIGIN_ICMP6 = 11, 25, 2, 3
FORMS = [("4", False), ("6", True), ("m", False)]


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, daemon):
    for address in ADDRESSES:
        sandbox.spawn(serve_udp, address, PORT, namespace=namespace)
    put(daemon, service("nobody", NOBODY, [], port=53, protocol="UDP"))
    for six in (False, True):
        backends = ADDRESSES[3:] if six else ADDRESSES[:3]
        put(daemon, service(f"all{int(six)}", VIP[six], [(end, PORT) for end in backends], port=53, protocol="UDP"),
            service(f"closed{int(six)}", CLOSED[six], [(backends[0], 9)], port=53, protocol="UDP"))
        for i, address in enumerate(SEVERAL[six]):
            put(daemon, service(f"several{int(six)}{i}", address, [(backends[i], PORT)], port=53, protocol="UDP"))


@pytest.fixture(scope="module")
def datagrams(sandbox, namespace, daemon):
    """(source, port, server, data) of each datagram that came back; skips if the kernel lacks the way."""
    def run(*words):
        said = sandbox.run([os.path.join(BUILD, "tests", "integration", "datagrams"), *map(str, words)],
                           namespace=namespace, cgroup=daemon.cgroup)
        if said == "none\n":
            pytest.skip(f"this kernel lacks {words[0]}")
        return [tuple(line.split(" ", 3)) for line in said.splitlines()]
    return run


def as_told(form, address):
    return f"::ffff:{address}" if form == "m" else address


@pytest.mark.parametrize("form, six", FORMS)
def test_p14_sendmmsg_and_recvmmsg_to_several_services(datagrams, form, six):
    """One call sends to three services and to a backend's own address; each reply is from whom was asked."""
    own = ADDRESSES[5] if six else ADDRESSES[2]
    asked = [(address, 53) for address in SEVERAL[six][:2]] + [(own, PORT)] + [(SEVERAL[six][0], 53)]
    told = datagrams("mmsg", form, *(word for pair in asked for word in pair))
    assert sorted((source, int(port), data) for source, port, _, data in told) == \
        sorted((as_told(form, address), port, address) for address, port in asked)


@pytest.mark.parametrize("form, six", FORMS)
def test_p14_sendmmsg_keeps_to_one_backend(datagrams, form, six):
    told = datagrams("mmsg", form, *([VIP[six], 53] * 16))
    assert len(told) == 16 and len({server for *_, server, _ in told}) == 1
    assert {(source, port) for source, port, *_ in told} == {(as_told(form, VIP[six]), "53")}


def test_p14_sendmmsg_stops_at_a_service_without_backend(sandbox, namespace, daemon, datagrams):
    """As for any destination that cannot be reached: what came before it was sent."""
    del datagrams
    with pytest.raises(Exception, match="sendmmsg"):
        sandbox.run([os.path.join(BUILD, "tests", "integration", "datagrams"), "mmsg", "4", VIP[False], "53", NOBODY,
                     "53"], namespace=namespace, cgroup=daemon.cgroup)


@pytest.mark.parametrize("form, six", FORMS)
@pytest.mark.parametrize("kind", ["connected", "unconnected"])
def test_p14_udp_segment_sends_all_segments_to_one_backend(datagrams, form, six, kind):
    told = datagrams("gso", form, VIP[six], 53, kind)
    assert len(told) == 16 and len({server for *_, server, _ in told}) == 1
    assert {(source, port) for source, port, *_ in told} == {(as_told(form, VIP[six]), "53")}
    assert [data for *_, data in told] == [chr(ord("a") + i) * 100 for i in range(16)]


@pytest.mark.parametrize("form, six", FORMS)
@pytest.mark.parametrize("mode", ["plain", "async", "sqpoll"])
def test_p14_io_uring_sendmsg_and_recvmsg(datagrams, daemon, form, six, mode):
    """A request that is issued again must not choose again; a worker of the ring is no kernel thread of its own."""
    before = daemon.get("/v1/status")["traffic"]
    told = datagrams("uring", form, VIP[six], 53, mode)
    after = daemon.get("/v1/status")["traffic"]
    assert len(told) == 16 and len({server for *_, server, _ in told}) == 1
    assert {(source, port) for source, port, *_ in told} == {(as_told(form, VIP[six]), "53")}
    assert [data for *_, data in told] == ["q" + chr(ord("a") + i) for i in range(16)]
    assert after["attempts"] - before["attempts"] == 1
    assert after["refused"] == before["refused"]


# --- errors -------------------------------------------------------------------------------------

Fault = collections.namedtuple("Fault", "error destination origin offender")


def read_fault(sock):
    """What the error queue tells: whom the datagram was for, and who complained."""
    poll = select.poll()
    poll.register(sock, 0)
    assert poll.poll(5000)[0][1] & select.POLLERR
    _, control, _, destination = sock.recvmsg(100, 500, socket.MSG_ERRQUEUE)
    assert len(control) == 1
    error, origin = struct.unpack_from("=IB", control[0][2])
    if control[0][0] == socket.IPPROTO_IPV6:
        offender = socket.inet_ntop(socket.AF_INET6, control[0][2][24:40])
    else:
        offender = socket.inet_ntop(socket.AF_INET, control[0][2][20:24])
    return Fault(error, destination[:2], origin, offender)


def provoke(way, kind, address):
    with open_socket(way) as sock:
        if way != "inet6":
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        if way != "inet":
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        if kind == "connected":
            connect(sock, way, address, 53)
            sock.send(b"x")
        else:
            sendto(sock, way, b"x", address, 53)
        return read_fault(sock)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["connected", "unconnected"])
def test_p13_the_error_queue_tells_the_backend_as_documented(inside, way, kind):
    six = is_v6(way)
    backend = ADDRESSES[3 if six else 0]
    fault = inside(provoke, way, kind, CLOSED[six])
    assert fault.error == errno.ECONNREFUSED
    assert fault.origin == (ORIGIN_ICMP6 if six else ORIGIN_ICMP)
    shown = backend if way in ("inet", "inet6") else f"::ffff:{backend}"
    assert fault.destination == (shown, 9)
    assert fault.offender.removeprefix("::ffff:") == backend


@pytest.mark.parametrize("document", ["README.md", "userspace/man/sinewd.8.scd"])
def test_p13_the_documents_say_so(document):
    with open(os.path.join(os.path.dirname(__file__), "..", "..", document), encoding="utf-8") as f:
        said = [line for line in f if "MSG_ERRQUEUE" in line]
    assert said and all("backend" in line for line in said)


def refused_soon(way, address):
    """A plain connected socket to a closed port: the error comes as without us."""
    with open_socket(way) as sock:
        connect(sock, way, address, 53)
        sock.send(b"x")
        return errno_of(sock.recv, 10)


@pytest.mark.parametrize("way", WAYS)
def test_a_closed_port_is_econnrefused_as_ever(inside, way):
    assert inside(refused_soon, way, CLOSED[is_v6(way)]) == errno.ECONNREFUSED


def use_without_waiting(way, address):
    """MSG_DONTWAIT both ways, and poll for writing and reading."""
    with open_socket(way) as sock:
        sock.setblocking(False)
        poll = select.poll()
        poll.register(sock, select.POLLIN | select.POLLOUT)
        told = [poll.poll(1000)[0][1]]
        told.append(errno_of(sock.recvfrom, 10, socket.MSG_DONTWAIT))
        sendto(sock, way, b"x", address, 53, socket.MSG_DONTWAIT)
        poll.modify(sock, select.POLLIN)
        told.append(poll.poll(5000)[0][1])
        told.append(sock.recvfrom(100, socket.MSG_DONTWAIT)[1][:2])
        return told


@pytest.mark.parametrize("way", WAYS)
def test_nothing_waits_that_was_asked_not_to(inside, way):
    address = VIP[is_v6(way)]
    told = address if way in ("inet", "inet6") else f"::ffff:{address}"
    assert inside(use_without_waiting, way, address) == [select.POLLOUT, errno.EAGAIN, select.POLLIN, (told, 53)]
