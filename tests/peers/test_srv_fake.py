# SPDX-License-Identifier: GPL-2.0-or-later
"""The SRV source against resolvers that do what resolvers do on a bad day: what it had said stays, and it is told which
kind of day it is."""
import os
import socket
import subprocess
import time

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from harness.fake_resolver import Resolver
from harness.fixtures import BUILD
from harness.follow import Follow

NAME = "_http._tcp.pay.example"
PAY = "default/pay"


class Zone:
    """What a resolver knows: .records {(name, type): [text]}; .spoil, if set, gets (query, answer, over TCP) and returns what
    is sent; .ttl of everything."""

    def __init__(self):
        self.records, self.ttl, self.rcode, self.spoil, self.additional = {}, 1, None, None, True
        self.set(("a.example", 80, "10.0.0.1"))

    def set(self, *targets, name=NAME):
        """SRV records of (target, port, address[, priority, weight])."""
        self.records[name, "SRV"] = [f"{more[0] if more else 0} {more[1] if more else 1} {port} {target}."
                                     for target, port, _, *more in targets]
        for target, _, address, *_ in targets:
            if address:
                self.records[target, "AAAA" if ":" in address else "A"] = [address]

    def find(self, name, kind):
        texts = self.records.get((name, kind))
        return dns.rrset.from_text_list(name + ".", self.ttl, "IN", kind, texts) if texts else None

    def __call__(self, query, over_tcp):
        answer = dns.message.make_response(query)
        question = query.question[0]
        name, kind = str(question.name).lower().rstrip("."), dns.rdatatype.to_text(question.rdtype)
        found = self.find(name, kind)
        if found:
            answer.answer.append(found)
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        if found and kind == "SRV" and self.additional:
            for one in found:
                for other in ("A", "AAAA"):
                    more = self.find(str(one.target).rstrip("."), other)
                    if more:
                        answer.additional.append(more)
        if self.rcode is not None:
            answer = dns.message.make_response(query)
            answer.set_rcode(self.rcode)
        return self.spoil(query, answer, over_tcp) if self.spoil else answer.to_wire()


@pytest.fixture(name="zone")
def make_zone():
    return Zone()


@pytest.fixture(name="resolver")
def make_resolver(zone):
    resolver = Resolver(zone)
    yield resolver
    resolver.close()


def follow(resolver, names=NAME, **keys):
    return Follow("srv", address=f"dns://{resolver.name()}", names=names, **keys)


def grow(zone, told):
    """It is followed as before."""
    zone.set(("a.example", 80, "10.0.0.1"), ("b.example", 81, "10.0.0.2"))
    told.wait_ends(PAY, "10.0.0.1:80", "10.0.0.2:81")


def test_records_are_endpoints_as_long_as_they_live(zone, resolver):
    with follow(resolver, zone="a") as told:
        told.wait_ends(PAY, "10.0.0.1:80")
        port, = told.services[PAY]["spec"]["ports"]
        assert port["name"] == "http" and port["port"] == 0
        assert told.services[PAY]["spec"]["endpoints"][0]["zone"] == "a"
        grow(zone, told)
        zone.set(("b.example", 82, "10.0.0.2", 1, 5), ("a.example", 80, "10.0.0.1", 2, 1))
        told.wait_ends(PAY, "10.0.0.2:82")
        assert told.services[PAY]["spec"]["endpoints"][0]["weight"] == 500
        zone.records[NAME, "SRV"] = ["0 0 0 ."]
        told.wait_ends(PAY)


def test_addresses_that_are_not_added_are_asked_for(zone, resolver):
    zone.additional = False
    zone.set(("a.example", 80, "10.0.0.1"), ("six.example", 81, "fd00::6"), ("none.example", 82, None))
    zone.records["alias.example", "CNAME"] = ["a.example."]
    with follow(resolver) as told:
        told.wait_ends(PAY, "10.0.0.1:80", "fd00::6:81")
        told.wait(lambda me: me.ask()["skipped"])
    kinds = [dns.rdatatype.to_text(one.question[0].rdtype) for *_, one in resolver.seen[:6]]
    assert kinds[:2] == ["SRV", "A"] and "AAAA" in kinds


@pytest.mark.parametrize("rcode, error", ((dns.rcode.SERVFAIL, "failed"), (dns.rcode.REFUSED, "forbidden"),
                                          (dns.rcode.FORMERR, "failed"), (dns.rcode.NXDOMAIN, "missing")))
def test_each_refusal_is_told_as_what_it_is_and_takes_nothing_away(zone, resolver, rcode, error):
    with follow(resolver) as told:
        told.wait_ends(PAY, "10.0.0.1:80")
        zone.rcode = rcode
        assert NAME in told.wait_error(error)["text"]
        time.sleep(2)
        assert told.ends(PAY) == ["10.0.0.1:80"]
        zone.rcode = None
        grow(zone, told)
        assert told.ask()["error"] == "ok"


def test_that_there_are_no_records_is_an_answer(zone, resolver):
    with follow(resolver) as told:
        told.wait_ends(PAY, "10.0.0.1:80")
        zone.records[NAME, "TXT"] = ["x"]
        del zone.records[NAME, "SRV"]
        told.wait_ends(PAY)
        assert told.ask()["error"] == "ok"


def test_silence_is_told_and_takes_nothing_away(zone, resolver):
    with follow(resolver) as told:
        told.wait_ends(PAY, "10.0.0.1:80")
        zone.spoil = lambda query, answer, over_tcp: None
        told.wait_error("timed_out", 12)
        assert told.ends(PAY) == ["10.0.0.1:80"]
        zone.spoil = None
        grow(zone, told)


def test_a_resolver_that_is_gone_is_told(zone, resolver):
    with follow(resolver) as told:
        told.wait_ends(PAY, "10.0.0.1:80")
        resolver.close()
        told.wait_error("unreachable", 12)
        assert told.ends(PAY) == ["10.0.0.1:80"]


def test_the_next_resolver_is_asked(zone, resolver):
    silent = Resolver(lambda query, over_tcp: None)
    with Follow("srv", address=f"dns://{silent.name()},{resolver.name()}", names=NAME) as told:
        told.wait_ends(PAY, "10.0.0.1:80")
        grow(zone, told)
    silent.close()


def half(query, answer, over_tcp):
    return answer.to_wire()[:30]


def nothing_but_a_header(query, answer, over_tcp):
    return answer.to_wire()[:12]


def noise(query, answer, over_tcp):
    return b"\xff" * 300


def other_id(query, answer, over_tcp):
    answer.id ^= 1
    answer.answer = [dns.rrset.from_text(NAME + ".", 1, "IN", "SRV", "0 1 80 a.example.")]
    answer.additional = [dns.rrset.from_text("a.example.", 1, "IN", "A", "10.6.6.6")]
    return answer.to_wire()


def other_question(query, answer, over_tcp):
    other = dns.message.make_response(dns.message.make_query("_http._tcp.evil.example", "SRV"))
    other.id = query.id
    other.answer = [dns.rrset.from_text(NAME + ".", 1, "IN", "SRV", "0 1 80 a.example.")]
    other.additional = [dns.rrset.from_text("a.example.", 1, "IN", "A", "10.6.6.6")]
    return other.to_wire()


def a_query(query, answer, over_tcp):
    return query.to_wire()


@pytest.mark.parametrize("spoil", (half, nothing_but_a_header, noise, other_id, other_question, a_query))
def test_what_is_no_answer_is_not_believed(zone, resolver, spoil):
    with follow(resolver) as told:
        told.wait_ends(PAY, "10.0.0.1:80")
        zone.spoil = spoil
        told.wait(lambda me: any(one["error"] != "ok" for one in me.statuses), 15)
        assert told.ends(PAY) == ["10.0.0.1:80"]
        zone.spoil = None
        grow(zone, told)


def test_an_answer_from_elsewhere_is_not_believed(zone, resolver):
    """Somebody else guesses id and port, and is not where we asked."""
    forged = []

    def spoil(query, answer, over_tcp):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.2", resolver.port))
            for port in {seen[1] for seen in resolver.seen[-1:]}:
                evil = dns.message.make_response(query)
                evil.answer = [dns.rrset.from_text(NAME + ".", 1, "IN", "SRV", "0 1 80 a.example.")]
                evil.additional = [dns.rrset.from_text("a.example.", 1, "IN", "A", "10.6.6.6")]
                other.sendto(evil.to_wire(), ("127.0.0.1", port))
                forged.append(port)
        time.sleep(0.05)
        return answer.to_wire()
    with follow(resolver) as told:
        zone.spoil = spoil
        told.wait_ends(PAY, "10.0.0.1:80")
        told.wait(lambda me: len(resolver.seen) > 3)
        assert forged and all("10.6.6.6" not in str(line) for line in told.lines)
    assert len({seen[0] for seen in resolver.seen}) > 1 and len({seen[1] for seen in resolver.seen}) > 1


def test_what_does_not_fit_a_datagram_comes_over_tcp(zone, resolver):
    many = [(f"host-number-{n}.example", 1000 + n, f"10.0.{n // 250}.{n % 250 + 1}") for n in range(300)]
    zone.set(*many)

    def spoil(query, answer, over_tcp):
        if over_tcp:
            return answer.to_wire(max_size=65535)
        cut = dns.message.make_response(query)
        cut.flags |= dns.flags.TC
        return cut.to_wire()
    zone.spoil = spoil
    with follow(resolver) as told:
        told.wait(lambda me: PAY in me.services and len(me.services[PAY]["spec"]["endpoints"]) == 300)
    assert any(seen[2] for seen in resolver.seen)


def test_it_asks_as_often_as_records_live_and_no_oftener(zone, resolver):
    zone.ttl = 0
    with follow(resolver) as told:
        told.wait_ends(PAY, "10.0.0.1:80")
        time.sleep(3.5)
        assert 3 <= len(resolver.seen) <= 5
        zone.ttl = 3600
        zone.set(("b.example", 80, "10.0.0.2"))
        told.wait_ends(PAY, "10.0.0.2:80")
        count = len(resolver.seen)
        time.sleep(4)
        assert len(resolver.seen) == count


def test_an_error_makes_no_storm(zone, resolver):
    zone.rcode = dns.rcode.SERVFAIL
    with follow(resolver) as told:
        told.wait_error("failed")
        time.sleep(4)
        # Each time the one resolver is asked twice.
        assert len(resolver.seen) <= 8


def test_one_name_that_fails_leaves_the_others(zone, resolver):
    zone.set(("c.example", 90, "10.0.0.3"), name="cart.example")
    original = zone.__call__

    def script(query, over_tcp):
        if "bad" in str(query.question[0].name):
            answer = dns.message.make_response(query)
            answer.set_rcode(dns.rcode.SERVFAIL)
            return answer.to_wire()
        return original(query, over_tcp)
    resolver.script = script
    with follow(resolver, names=f"{NAME},shop/bad=_x._udp.bad.example,cart.example") as told:
        told.wait_ends(PAY, "10.0.0.1:80")
        told.wait_ends("default/cart", "10.0.0.3:90")
        assert "bad.example" in told.wait_error("failed")["text"]
        assert not told.snapshots  # what the bad one has is not known
        zone.set(("c.example", 91, "10.0.0.3"), name="cart.example")
        told.wait_ends("default/cart", "10.0.0.3:91")
        assert told.ask()["error"] == "failed"
        zone.set(("d.example", 99, "10.0.0.4"), name="_x._udp.bad.example")
        resolver.script = original
        told.wait_ends("shop/bad", "10.0.0.4:99", seconds=20)
        assert told.services["shop/bad"]["spec"]["ports"][0]["protocol"] == "UDP"
        assert told.snapshots and told.ask()["error"] == "ok"


def test_that_a_name_is_not_there_is_believed_after_a_minute(zone, resolver):
    with follow(resolver) as told:
        told.wait_ends(PAY, "10.0.0.1:80")
        began = time.monotonic()
        zone.records.clear()
        told.wait_error("missing")
        told.wait_ends(PAY, seconds=75)
        assert 58 <= time.monotonic() - began <= 75
        assert told.ask()["error"] == "missing"
        zone.set(("a.example", 80, "10.0.0.1"))
        told.wait_ends(PAY, "10.0.0.1:80", seconds=12)
        assert told.ask()["error"] == "ok"


def test_without_an_address_it_asks_whom_the_host_asks(zone, resolver, tmp_path):
    """And whom it asks then, when the host has come to another network."""
    program = os.path.join(BUILD, "san", "tests", "peers", "follow")
    conf = tmp_path / "resolv.conf"
    conf.write_text(f"# here\nsearch example\nnameserver fe80::1%eth0\nnameserver {resolver.name()}\n")
    script = f"mount --bind {conf} /etc/resolv.conf && exec timeout 40 {program} srv test names={NAME}"
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert b"10.0.0.1" in child.stdout.readline()
        other = Zone()
        other.set(("b.example", 82, "10.0.0.2"))
        elsewhere = Resolver(other)
        resolver.close()
        conf.write_text(f"nameserver {elsewhere.name()}\n")
        assert any(b"10.0.0.2" in line for line in iter(child.stdout.readline, b""))
        child.stdin.close()
        assert child.wait(10) == 0
        elsewhere.close()


@pytest.mark.parametrize("keys", ({"address": "dns://nowhere"}, {"address": "http://127.0.0.1"}, {"address": "dns://"},
                                  {"names": "_a._sctp.x"}, {"names": f"{NAME},{NAME}"}, {"names": "a b"}))
def test_settings_that_are_wrong_are_refused(keys):
    told = Follow("srv", **{"address": "dns://127.0.0.1:9", "names": NAME, **keys})
    line = told.wait(lambda me: next((one for one in me.statuses if one["say"] == "refused"), None))
    assert '"address"' in line["text"] or "names" in line["text"]
    told.stop(check=False)


def test_many_names_are_all_followed(zone, resolver):
    names = [f"s{n}.example" for n in range(500)]
    for n, name in enumerate(names):
        zone.set((f"h{n}.example", 80, f"10.1.{n // 250}.{n % 250 + 1}"), name=name)
    zone.ttl = 60
    with follow(resolver, names=",".join(names)) as told:
        told.wait(lambda me: me.snapshots and len(me.services) == 500, 30)


def test_it_ends_in_the_middle_of_a_question(zone, resolver):
    zone.spoil = lambda query, answer, over_tcp: None
    for _ in range(3):
        with follow(resolver):
            time.sleep(0.2)
    assert resolver.seen


def test_a_second_look_is_the_next_answer_that_no_cache_can_repeat(zone, resolver):
    with follow(resolver) as told:
        told.wait_ends(PAY, "10.0.0.1:80")
        zone.records[NAME, "TXT"] = ["x"]  # the name is there, with nothing of that kind
        del zone.records[NAME, "SRV"]
        told.wait_ends(PAY)
        assert told.look(PAY)
        told.wait(lambda _: told.since_look() == [f"upsert {PAY}"])


def test_p84_what_a_cache_repeats_is_no_second_word(zone, resolver):
    """Asked each second, it answers with what has 3 s to live; a second look's word comes when those are over."""
    zone.ttl = 3
    with follow(resolver, interval="1s") as told:
        told.wait_ends(PAY, "10.0.0.1:80")
        count = len(resolver.seen)
        assert told.look(PAY)
        told.wait(lambda _: told.since_look() == [f"upsert {PAY}"])
        assert len(resolver.seen) >= count + 2


def test_p84_a_second_look_that_fails_waits_for_one_that_does_not(zone, resolver):
    with follow(resolver) as told:
        told.wait_ends(PAY, "10.0.0.1:80")
        zone.rcode = dns.rcode.SERVFAIL
        assert told.look(PAY)
        told.wait_error("failed")
        assert told.since_look() == []
        zone.rcode = None
        told.wait(lambda _: told.since_look() == [f"upsert {PAY}"], 30)
