# SPDX-License-Identifier: GPL-2.0-or-later
"""The event stream: one JSON object per line, to whoever keeps up."""
import json
import socket
import time

from serving import as_list, request, service

LIMIT_SUBSCRIBERS = 16


class Subscriber:
    """A stream of events; `lines(n)` waits for n of them."""

    def __init__(self, fake, query="", status=True):
        self.wire = fake.wire(status)
        self.wire.send(request("GET", "/v1/events" + query))
        self.status, self.headers = self.wire.head()
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.close()

    def lines(self, n):
        found = []
        while len(found) < n:
            part = self.wire.chunk()
            assert part, "the stream ended"
            *whole, self.rest = (self.rest + part).split(b"\n")
            found += [json.loads(line) for line in whole]
        return found


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.02)
    return condition()


def test_kernel_events_come_as_lines(start):
    fake = start(services=20, events=200)
    with Subscriber(fake) as one:
        assert one.status == 200 and one.headers["content-type"] == "application/x-ndjson"
        lines = one.lines(100)
    cookies = [line["cookie"] for line in lines if line["type"] == "outcome"]
    assert cookies == list(range(cookies[0], cookies[0] + len(cookies))), "none is missing, none is twice"
    assert {"connected", "refused", "timeout"} <= {line["reason"] for line in lines}
    line = lines[0]
    assert line["destination"] == "127.128.0.1:0" and line["protocol"] == "TCP" and line["message"]
    assert line["latencySeconds"] == 0.000024 and line["time"].endswith("Z")


def test_a_stream_without_connects_tells_the_rest(start):
    fake = start(services=20, events=2000)
    with Subscriber(fake, "?connects=false") as one:
        fake.put("/v1/sources/x", as_list(service("a")))
        assert one.lines(1)[0]["type"] == "source.changed"
    fake.ask("GET", "/v1/events?connects=maybe").problem(400)


def test_changes_are_told(fake):
    with Subscriber(fake) as one:
        fake.put("/v1/sources/x", as_list(service("a")))
        line, = one.lines(1)
    assert (line["type"], line["object"]) == ("source.changed", "x") and line["message"]


def test_filters_let_only_their_service_through(start):
    fake = start(services=20, events=2000)
    with Subscriber(fake, "?namespace=shop-3&service=service-00003") as one, \
            Subscriber(fake, "?namespace=shop-1") as other, Subscriber(fake, "?service=none") as nothing:
        assert {(e["namespace"], e["service"]) for e in one.lines(20)} == {("shop-3", "service-00003")}
        assert {e["namespace"] for e in other.lines(20)} == {"shop-1"}
        nothing.wire.sock.settimeout(0.2)
        try:
            assert not nothing.wire.sock.recv(1)
        except socket.timeout:
            pass


def recent(fake, query):
    answer = fake.ask("GET", "/v1/events" + query)
    assert answer.status == 200 and answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.body.splitlines()]


def test_the_last_events_are_remembered_without_anybody_listening(start):
    fake = start(services=20, events=2000)
    assert until(lambda: len(recent(fake, "?recent=256")) == 256)
    cookies = [line["cookie"] for line in recent(fake, "?recent=100")]
    assert len(cookies) == 100 and cookies == list(range(cookies[0], cookies[0] + 100)), "the oldest first"
    mine = recent(fake, "?recent=3&namespace=shop-3&service=service-00003")
    assert len(mine) == 3 and {line["service"] for line in mine} == {"service-00003"}
    assert recent(fake, "?recent=5&service=none") == []
    for bad in ("0", "257", "-1", "", "many"):
        fake.ask("GET", "/v1/events?recent=" + bad).problem(400)


def test_no_events_are_an_empty_answer_and_changes_are_remembered(fake):
    assert recent(fake, "?recent=10") == []
    fake.put("/v1/sources/x", as_list(service("a")))
    line, = recent(fake, "?recent=10")
    assert (line["type"], line["object"]) == ("source.changed", "x")


def test_a_flood_of_connects_does_not_wash_the_story_away(start):
    fake = start(services=20, events=2000, story=7)
    assert until(lambda: recent(fake, "?recent=256")[0]["type"] == "outcome", 20)
    story = recent(fake, "?recent=5&connects=false")
    assert [line["type"] for line in story] == ["shadow", "ejected", "panic", "panic", "restored"]
    assert recent(fake, "?recent=2&connects=false") == story[-2:]
    assert {line["type"] for line in recent(fake, "?recent=5&connects=true")} == {"outcome"}
    assert recent(fake, "?recent=5&connects=false&service=none") == []
    fake.ask("GET", "/v1/events?recent=5&connects=maybe").problem(400)


def test_both_kinds_come_in_their_order(start):
    fake = start(services=20, story=7)
    types = [line["type"] for line in recent(fake, "?recent=10")]
    assert types == ["shadow", "ejected", "failed_over", "panic", "panic", "restored"]
    assert [line["type"] for line in recent(fake, "?recent=4")] == types[2:]


def test_a_quiet_stream_has_a_heartbeat(start):
    fake = start(services=0, heartbeat_ms=300, receive_ms=1000, answer_s=1)
    with Subscriber(fake) as one:
        lines = one.lines(4)
    assert [line["type"] for line in lines] == ["heartbeat"] * 4
    assert fake.counters()["slowSenders"] == 0 and fake.counters()["slowReaders"] == 0


def test_a_subscriber_that_is_slow_is_cut_and_counted_and_the_others_miss_nothing(start):
    fake = start(services=20, events=2000, plain=True)
    with Subscriber(fake) as slow, Subscriber(fake) as quick:
        end = time.monotonic() + 20
        seen = []
        while fake.counters()["slowReaders"] == 0 and time.monotonic() < end:
            seen += quick.lines(500)
        seen += quick.lines(2000)
        assert fake.counters()["slowReaders"] == 1 and slow.wire.is_closed(5)
    cookies = [line["cookie"] for line in seen]
    assert cookies == list(range(cookies[0], cookies[0] + len(cookies)))
    assert until(lambda: fake.counters()["subscribers"] == 0)


def test_as_many_events_at_once_as_the_kernel_holds_cut_nobody_who_reads(start):
    """Its ring has 256 KiB and an event with its head 112 bytes; ten times a second is the fake's pace."""
    burst = (256 << 10) // 112
    fake = start(services=20, events=10 * burst)
    with Subscriber(fake) as one:
        cookies = [line["cookie"] for line in one.lines(burst)]
        assert fake.counters()["slowReaders"] == 0
    assert cookies == list(range(cookies[0], cookies[0] + burst))


def test_the_17th_subscriber_is_refused_until_one_goes(fake):
    held = [Subscriber(fake, status=bool(i % 2)) for i in range(LIMIT_SUBSCRIBERS)]
    answer = fake.ask("GET", "/v1/events")
    assert "16" in answer.problem(503)["detail"] and answer.headers["retry-after"] == "1"
    assert fake.counters()["subscribers"] == LIMIT_SUBSCRIBERS
    held.pop().wire.close()
    # A client that is gone is found when something is sent to it.
    fake.put("/v1/sources/x", as_list(service("a")))
    assert until(lambda: fake.counters()["subscribers"] == LIMIT_SUBSCRIBERS - 1)
    with Subscriber(fake) as one:
        assert one.status == 200
        fake.put("/v1/sources/x", as_list())
        assert one.lines(1)
    for one in held:
        one.wire.close()


def test_streams_end_whole_when_the_daemon_ends(start):
    fake = start(services=0)
    with Subscriber(fake) as one:
        fake.put("/v1/sources/x", as_list(service("a")))
        fake.child.terminate()
        assert fake.child.wait(20) == 0
        assert one.lines(1)
        assert one.wire.chunk() == b"" and one.wire.is_closed(5)
