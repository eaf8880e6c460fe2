# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of others: asked of resolvers that do well, and of resolvers that do what resolvers do on a bad day."""
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import time

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from harness.fake_resolver import HERE, Resolver

BUILD = os.environ.get("SINEW_BUILD") or os.path.join(os.path.dirname(__file__), "..", "..", "build")


def program():
    """With sanitizers, if they were built."""
    built = os.path.join(BUILD, "san/tests/control/dns_serve")
    return built if os.path.exists(built) else os.path.join(BUILD, "tests/control/dns_serve")


class Server:
    def __init__(self, *resolvers, services="0"):
        self.child = subprocess.Popen([program(), services, *resolvers], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)
        self.port = int(self.child.stdout.readline())

    def ask(self, name="example.org", kind="A", over_tcp=False, seconds=8, **words):
        query = dns.message.make_query(name, kind, **words)
        ask = dns.query.tcp if over_tcp else dns.query.udp
        return ask(query, HERE, seconds, self.port)

    def end(self):
        """The counts; it must end by itself with everything closed, and no sanitizer may have spoken."""
        self.child.stdin.close()
        counts = json.loads(self.child.stdout.readline())
        assert self.child.wait(10) == 0
        assert self.child.stderr.read() == ""
        return counts


@pytest.fixture(name="start")
def make_start():
    """start(script..., services=...) -> (server, resolvers); what is no function is a resolver's name."""
    made = []

    def start(*scripts, **words):
        resolvers = [one if isinstance(one, str) else Resolver(one) for one in scripts]
        made.extend(one for one in resolvers if not isinstance(one, str))
        server = Server(*(one if isinstance(one, str) else one.name() for one in resolvers), **words)
        made.append(server)
        return server, resolvers
    yield start
    for one in made:
        if isinstance(one, Resolver):
            one.close()
        elif one.child.poll() is None:
            one.child.kill()
            one.child.wait()
    for one in made:
        if isinstance(one, Server):
            one.child.stdout.close()
            one.child.stderr.close()


def reply(asked, *addresses, rcode=0):
    made = dns.message.make_response(asked, recursion_available=True)
    made.set_rcode(rcode)
    name = asked.question[0].name
    if addresses:
        made.answer = [dns.rrset.from_text(name, 60, "IN", "A", *addresses)]
    return made


def good(asked, _):
    return reply(asked, "192.0.2.1").to_wire()


def silent(*_):
    return None


def failing(asked, _):
    return reply(asked, rcode=dns.rcode.SERVFAIL).to_wire()


def addresses(answer):
    return [str(record) for rrset in answer.answer for record in rrset]


def closed_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((HERE, 0))
        return f"{HERE}:{one.getsockname()[1]}"


def test_somebody_elses_name_is_asked_of_a_resolver(start):
    server, (resolver,) = start(good)
    for over_tcp in (False, True):
        answer = server.ask("ExAmPle.org", over_tcp=over_tcp)
        assert addresses(answer) == ["192.0.2.1"] and answer.flags & dns.flags.RA
        assert str(answer.question[0].name) == "ExAmPle.org."
    assert addresses(server.ask("pay.shop.sinew")) == ["127.128.255.1"]
    assert server.ask("nobody.sinew").rcode() == dns.rcode.NXDOMAIN
    assert [seen[2] for seen in resolver.seen] == [False, False], "ours are asked of nobody; TCP is for what is long"
    counts = server.end()
    assert counts["forwarded"] == counts["answered"] == 2 and counts["unanswered"] == 0


def test_without_a_resolver_it_is_refused(start):
    server, _ = start()
    assert server.ask().rcode() == dns.rcode.REFUSED


def test_no_such_name_is_an_answer(start):
    server, _ = start(lambda asked, _: reply(asked, rcode=dns.rcode.NXDOMAIN).to_wire(), good)
    assert server.ask().rcode() == dns.rcode.NXDOMAIN


def test_each_question_has_an_id_and_a_port_that_cannot_be_guessed(start):
    server, (resolver,) = start(good)
    times = 200
    for number in range(times):
        server.ask(id=number)
    ids, ports = [seen[0] for seen in resolver.seen], [seen[1] for seen in resolver.seen]
    assert len(ids) == times
    assert len(set(ids)) > times - 10 and len(set(ports)) > times - 10
    assert sum(one == number for number, one in enumerate(ids)) < 3
    for values in (ids, ports):
        steps = [abs(b - a) for a, b in zip(values, values[1:])]
        assert sum(step < 100 for step in steps) < times / 10, "they follow each other"


def test_what_is_truncated_is_asked_over_tcp(start):
    many = [f"192.0.2.{n}" for n in range(1, 120)]

    def long(asked, over_tcp):
        if over_tcp:
            return reply(asked, *many).to_wire(max_size=65535)
        cut = reply(asked)
        cut.flags |= dns.flags.TC
        return cut.to_wire()
    server, (resolver,) = start(long)
    short = server.ask()
    assert short.flags & dns.flags.TC and not short.answer and len(short.to_wire()) < 512
    assert sorted(addresses(server.ask(over_tcp=True))) == sorted(many)
    edns = server.ask(use_edns=0, payload=4096)
    assert edns.flags & dns.flags.TC and edns.edns == 0, "no datagram of ours is longer than 1,232 bytes"
    assert [seen[2] for seen in resolver.seen] == [False, True] * 3
    assert server.end()["over_tcp"] == 3


def test_a_silent_resolver_costs_its_time_once(start):
    server, (first, _) = start(silent, good)
    began = time.monotonic()
    assert addresses(server.ask()) == ["192.0.2.1"]
    assert 1.3 < time.monotonic() - began < 2.5
    began = time.monotonic()
    for _ in range(5):
        assert addresses(server.ask()) == ["192.0.2.1"]
    assert time.monotonic() - began < 1 and len(first.seen) == 1


@pytest.mark.parametrize("bad", [failing, lambda asked, _: reply(asked, rcode=dns.rcode.REFUSED).to_wire(),
                                 lambda asked, _: reply(asked, rcode=dns.rcode.FORMERR).to_wire(),
                                 lambda asked, _: good(asked, _)[:-3]],
                         ids=["servfail", "refused", "formerr", "cut short"])
def test_one_that_cannot_say_is_followed_by_the_next_at_once(start, bad):
    server, _ = start(bad, good)
    began = time.monotonic()
    assert addresses(server.ask()) == ["192.0.2.1"]
    assert time.monotonic() - began < 1


def test_nobody_at_a_port_is_noticed_at_once(start):
    server, _ = start(closed_port(), good)
    began = time.monotonic()
    assert addresses(server.ask()) == ["192.0.2.1"]
    assert time.monotonic() - began < 1


def test_what_they_all_say_is_passed_on(start):
    server, (one, other) = start(failing, failing)
    answer = server.ask()
    assert answer.rcode() == dns.rcode.SERVFAIL and len(one.seen) + len(other.seen) == 4


def test_questions_of_one_port_with_one_id_are_told_apart(start):
    def slow(asked, _):
        time.sleep(0.2)
        return good(asked, _)
    server, (resolver,) = start(slow)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(8)
        names = {f"{name}.example.org." for name in ("one", "two", "three")}
        for name in [*names, *names]:  # each again, too: one of each is enough
            sock.sendto(dns.message.make_query(name, "A", id=0).to_wire(), (HERE, server.port))
        assert {str(dns.message.from_wire(sock.recv(512)).question[0].name) for _ in names} == names
    assert len(resolver.seen) == 3


def test_who_has_asked_all_over_tcp_and_says_so_gets_his_answer(start):
    server, _ = start(good)
    wire = dns.message.make_query("example.org", "A", id=9).to_wire()
    with socket.create_connection((HERE, server.port), 8) as sock:
        sock.sendall(struct.pack("!H", len(wire)) + wire)
        sock.shutdown(socket.SHUT_WR)
        length, = struct.unpack("!H", sock.recv(2, socket.MSG_WAITALL))
        assert dns.message.from_wire(sock.recv(length, socket.MSG_WAITALL)).id == 9
        assert sock.recv(1) == b""


@pytest.mark.parametrize("over_tcp", [False, True])
def test_nobody_answers_within_the_time_of_who_asks(start, over_tcp):
    server, _ = start(silent, silent, silent)
    began = time.monotonic()
    answer = server.ask(over_tcp=over_tcp, use_edns=0)
    assert answer.rcode() == dns.rcode.SERVFAIL and answer.edns == 0
    assert 4.2 < time.monotonic() - began < 5
    assert server.end()["unanswered"] == 1


def forged(asked, **changes):
    made = reply(asked, "203.0.113.66")
    for name, value in changes.items():
        setattr(made, name, value)
    return made.to_wire()


def other_question(asked):
    other = dns.message.make_query("evil.example", "A")
    other.id = asked.id
    return reply(other, "203.0.113.66").to_wire()


@pytest.mark.parametrize("forge", [
    lambda asked: forged(asked, id=asked.id ^ 1), other_question,
    lambda asked: forged(asked, flags=asked.flags & ~dns.flags.QR),
    lambda asked: forged(asked)[:2], lambda asked: b"",
    lambda asked: forged(asked)[:4] + b"\0\0" + forged(asked)[6:],
    lambda asked: forged(asked)[:4] + b"\0\2" + forged(asked)[6:]],
    ids=["id", "question", "no answer", "two bytes", "empty", "without a question", "two questions"])
def test_what_was_not_asked_for_does_not_count(start, forge):
    server, _ = start(lambda asked, _: [forge(asked), good(asked, _)])
    assert addresses(server.ask()) == ["192.0.2.1"]
    assert server.end()["foreign"] == 1


def test_a_forger_does_not_get_through_from_elsewhere(start):
    """The right id and question, from another port of the same host: the kernel itself drops it."""
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def raced(asked, _):
        port = next(one.seen for one in resolvers)[-1][1]
        stranger.sendto(forged(asked), (HERE, port))
        time.sleep(0.05)
        return good(asked, _)
    server, resolvers = start(raced)
    assert addresses(server.ask()) == ["192.0.2.1"]
    assert server.end()["foreign"] == 0
    stranger.close()


def test_many_guesses_make_it_ask_over_tcp(start):
    def guessed(asked, over_tcp):
        if over_tcp:
            return good(asked, over_tcp)
        return [forged(asked, id=(asked.id + n) & 0xffff) for n in range(1, 40)] + [forged(asked)]
    server, _ = start(guessed)
    assert addresses(server.ask()) == ["192.0.2.1"]
    counts = server.end()
    assert counts["foreign"] >= 16 and counts["over_tcp"] == 1


def test_garbage_is_survived(start):
    chance = random.Random(5)

    def garbage(asked, over_tcp):
        wire = bytearray(good(asked, over_tcp))
        for _ in range(chance.randrange(1, 8)):
            wire[chance.randrange(2, len(wire))] = chance.randrange(256)
        return bytes(wire)
    server, _ = start(garbage, garbage)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(250):
            sock.sendto(dns.message.make_query("example.org", "A", id=number).to_wire(), (HERE, server.port))
            assert addresses(server.ask("pay.shop.sinew")) == ["127.128.255.1"]
    time.sleep(5)
    counts = server.end()
    assert counts["answered"] + counts["unanswered"] == 250 and counts["foreign"] > 100


def test_more_than_it_can_hold_is_told_so_and_ours_go_on(start):
    server, _ = start(silent)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        for number in range(300):
            sock.sendto(dns.message.make_query("example.org", "A", id=number).to_wire(), (HERE, server.port))
            if number % 50 == 49:
                assert addresses(server.ask("pay.shop.sinew")) == ["127.128.255.1"]
        told = [dns.message.from_wire(sock.recv(512)) for _ in range(44)]
        assert {one.rcode() for one in told} == {dns.rcode.SERVFAIL}
        assert {one.id for one in told} == set(range(256, 300))
    assert server.end()["full"] == 44


def test_who_asks_again_is_asked_for_once(start):
    server, (resolver,) = start(silent)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(5):
            sock.sendto(dns.message.make_query("example.org", "A", id=7).to_wire(), (HERE, server.port))
        server.ask("pay.shop.sinew")
    time.sleep(0.2)
    assert len(resolver.seen) == 1


def test_who_goes_away_leaves_nothing_behind(start):
    server, (resolver,) = start(silent)
    for _ in range(20):
        with socket.create_connection((HERE, server.port), 5) as sock:
            wire = dns.message.make_query("example.org", "A").to_wire()
            sock.sendall(struct.pack("!H", len(wire)) + wire)
            time.sleep(0.02)
    end = time.monotonic() + 5
    while len(resolver.seen) < 20 and time.monotonic() < end:
        time.sleep(0.02)
    fds = f"/proc/{server.child.pid}/fd"
    while len(os.listdir(fds)) > 20 and time.monotonic() < end:
        time.sleep(0.02)
    assert len(os.listdir(fds)) <= 20
    assert server.end()["answered"] == 0


def test_it_ends_while_questions_are_open(start):
    server, _ = start(silent)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(30):
            sock.sendto(dns.message.make_query("example.org", "A", id=number).to_wire(), (HERE, server.port))
        server.ask("pay.shop.sinew")
        began = time.monotonic()
        server.end()
        assert time.monotonic() - began < 2


def test_options_of_one_hop_are_not_passed_on(start):
    server, (resolver,) = start(good)
    server.ask()
    assert resolver.seen[-1][3].edns == -1, "who has no EDNS is not answered with it"
    server.ask(use_edns=0, payload=4096, want_dnssec=True, options=[dns.edns.GenericOption(10, b"12345678")])
    asked = resolver.seen[-1][3]
    assert (asked.edns, asked.payload, asked.ednsflags & dns.flags.DO, asked.options) == (0, 1232, dns.flags.DO, ())
    wanted = dns.message.make_query("example.org", "A")
    wanted.flags = dns.flags.RD | dns.flags.CD | dns.flags.AD
    dns.query.udp(wanted, HERE, 5, server.port)
    assert resolver.seen[-1][3].flags == wanted.flags


def test_before_it_is_known_what_there_is_no_name_is_denied(start):
    server, _ = start(good, services="-")
    for name in ("pay.shop.sinew", "nobody.sinew", "sinew"):
        answer = server.ask(name)
        assert answer.rcode() == dns.rcode.SERVFAIL and not answer.answer and not answer.authority
    assert addresses(server.ask()) == ["192.0.2.1"]


def test_a_real_resolver(start):
    """dnsmasq, with a name of its own; and many at once."""
    dnsmasq = shutil.which("dnsmasq", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not dnsmasq:
        pytest.skip("dnsmasq is not installed: scripts/deps peers")
    port = int(closed_port().rsplit(":", 1)[1])
    with subprocess.Popen([dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                           "--user=root", "--pid-file=", "--bind-interfaces", f"--listen-address={HERE}", f"--port={port}",
                           "--address=/who.test/192.0.2.7", "--txt-record=long.test," + ",".join(["x" * 250] * 9)],
                          stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            server, _ = start(f"{HERE}:{port}")
            end = time.monotonic() + 5
            while server.ask("who.test").rcode() != 0 and time.monotonic() < end:
                time.sleep(0.05)
            for number in range(200):
                assert addresses(server.ask(f"n{number}.who.test")) == ["192.0.2.7"]
            whole, fell_back = dns.query.udp_with_fallback(dns.message.make_query("long.test", "TXT"), HERE, 5, server.port)
            assert fell_back and len(whole.answer[0][0].strings) == 9
        finally:
            child.kill()
