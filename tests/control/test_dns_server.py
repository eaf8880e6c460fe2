# SPDX-License-Identifier: GPL-2.0-or-later
"""The DNS server over its sockets: UDP, TCP, what a stranger may do to it, and its counts."""
import json
import os
import socket
import struct
import subprocess
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

PROGRAM = os.path.join(os.environ.get("SINEW_BUILD", "build"), "tests/control/dns_serve")
HERE = "127.0.0.1"


class Server:
    def __init__(self):
        self.process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def end(self):
        """The counts; it must end by itself with everything closed."""
        self.process.stdin.close()
        counts = json.loads(self.process.stdout.readline())
        assert self.process.wait(10) == 0
        return counts

    def connect(self):
        return socket.create_connection((HERE, self.port), 5)


@pytest.fixture(name="server")
def make_server():
    made = Server()
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait()
    made.process.stdout.close()


def query(name="pay.shop.sinew", kind="A", **words):
    return dns.message.make_query(name, kind, **words)


def framed(message):
    wire = message.to_wire() if hasattr(message, "to_wire") else message
    return struct.pack("!H", len(wire)) + wire


def read_answer(sock):
    def exactly(n):
        data = b""
        while len(data) < n:
            more = sock.recv(n - len(data))
            assert more, "the server closed"
            data += more
        return data
    return dns.message.from_wire(exactly(struct.unpack("!H", exactly(2))[0]))


def is_closed(sock):
    sock.settimeout(5)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_the_same_answer_over_udp_and_tcp(server):
    for ask in (dns.query.udp, dns.query.tcp):
        answer = ask(query(), HERE, 5, server.port)
        assert [str(rr) for rr in answer.answer] == ["pay.shop.sinew. 5 IN A 127.128.255.1"]
    assert {key: n for key, n in server.end().items() if n} == {"udp": 1, "tcp": 1}


def test_a_resolver_gets_the_long_answer_over_tcp(server):
    short = dns.query.udp(query("many.shop.sinew", "SRV"), HERE, 5, server.port, ignore_trailing=False)
    assert short.flags & dns.flags.TC and not short.answer
    whole, fell_back = dns.query.udp_with_fallback(query("many.shop.sinew", "SRV"), HERE, 5, server.port)
    assert fell_back and len(whole.answer[0]) == 32
    assert server.end()["truncated"] == 2


def test_queries_in_one_stream_are_answered_in_their_order(server):
    with server.connect() as sock:
        queries = [query(id=number) for number in range(1, 21)]
        sock.sendall(b"".join(framed(one) for one in queries))
        assert [read_answer(sock).id for _ in queries] == list(range(1, 21))


def test_more_queries_in_one_go_than_there_is_room_for_are_all_answered(server):
    with server.connect() as sock:
        queries = [query(id=number) for number in range(1, 1001)]
        sock.sendall(b"".join(framed(one) for one in queries))
        assert [read_answer(sock).id for _ in queries] == list(range(1, 1001))
    assert server.end()["tcp"] == 1000


def test_who_has_asked_all_and_says_so_gets_all_answers(server):
    with server.connect() as sock:
        queries = [query(id=number) for number in range(1, 201)]
        sock.sendall(b"".join(framed(one) for one in queries))
        sock.shutdown(socket.SHUT_WR)
        assert [read_answer(sock).id for _ in queries] == list(range(1, 201))
        assert is_closed(sock)


def test_a_query_byte_by_byte(server):
    with server.connect() as sock:
        for byte in framed(query(id=7)):
            sock.sendall(bytes([byte]))
            time.sleep(0.002)
        assert read_answer(sock).id == 7


def test_a_frame_that_is_no_query_closes_its_stream_alone(server):
    with server.connect() as bad, server.connect() as huge, server.connect() as good:
        bad.sendall(framed(b"\0\0\x80"))
        huge.sendall(b"\xff\xff" + b"x" * 5000)
        assert is_closed(bad) and is_closed(huge)
        good.sendall(framed(query(id=9)))
        assert read_answer(good).id == 9


def test_one_connection_too_many_is_closed_and_udp_goes_on(server):
    held = [server.connect() for _ in range(64)]
    try:
        held[0].sendall(framed(query(id=1)))
        assert read_answer(held[0]).id == 1  # the server has seen the others by now, or sees them first
        with server.connect() as extra:
            assert is_closed(extra)
        assert dns.query.udp(query(), HERE, 5, server.port).answer
    finally:
        for sock in held:
            sock.close()
    assert server.end()["refused"] == 1


def test_datagrams_that_are_no_queries_get_no_answer(server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.3)
        answer = query().to_wire()[:2] + b"\x80" + query().to_wire()[3:]
        for junk in (b"", b"x", b"\0" * 11, answer):
            sock.sendto(junk, (HERE, server.port))
        with pytest.raises(socket.timeout):
            sock.recv(512)
        sock.sendto(query(id=3).to_wire(), (HERE, server.port))
        assert dns.message.from_wire(sock.recv(512)).id == 3


def test_a_broken_query_is_told_so(server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(query(id=5).to_wire()[:-3], (HERE, server.port))
        answer = sock.recv(512)
    assert answer[:2] == b"\0\5" and answer[3] & 15 == dns.rcode.FORMERR
