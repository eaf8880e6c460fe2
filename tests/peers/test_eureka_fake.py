# SPDX-License-Identifier: GPL-2.0-or-later
"""The Eureka source against servers that misbehave: what was believed stays, what differs is asked for again, and never in
a storm."""
import base64
import contextlib
import gzip
import json
import threading
import time

import pytest

from harness.fake_eureka import FakeEureka
from harness.follow import Follow
from harness.life import FULL

ENDS = ["10.0.0.1:8080", "10.0.0.2:8080"]
FAST = "100ms"


@pytest.fixture
def server():
    with FakeEureka() as made:
        made.put("PAY", "10.0.0.1", 8080)
        made.put("PAY", "10.0.0.2", 8080)
        yield made


def follow(server, interval=FAST, **more):
    more.setdefault("address", server.url)
    return Follow("eureka", interval=interval, **more)


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def errors(me):
    return [one for one in me.statuses if one.get("error") not in (None, "ok")]


def only_deltas(answer):
    """A spoiler for deltas alone."""
    return lambda request: request.is_delta and (answer(request) or True)


def test_everything_once_then_what_changed(server):
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.asked(delta=True) > 2)
        server.put("PAY", "10.0.0.3", 9090)
        me.wait_ends("default/pay", *ENDS, "10.0.0.3:9090")
        server.put("CART", "10.0.1.1", 80)
        me.wait(lambda _: "default/cart" in me.services)
        server.remove("CART", "10.0.1.1", 80)
        me.wait(lambda _: "default/cart" not in me.services)
        server.put("PAY", "10.0.0.3", 9090, status="DOWN")
        me.wait_ends("default/pay", *ENDS)
        count = server.asked(delta=True)
        until(lambda: server.asked(delta=True) > count + 5)
        assert len(me.snapshots) == 1 == server.asked(delta=False)
        assert sum(line["say"] == "upsert" for line in me.lines) == 3
        assert not errors(me)


def test_an_application_that_is_renamed_keeps_the_name_that_both_come_to(server):
    server.put("CARD-API", "10.0.2.1", 80)
    server.put("CARD_API", "10.0.2.2", 80)
    server.put("card-api", "10.0.2.3", 80)
    with follow(server) as me:
        me.wait_ends("default/card-api", "10.0.2.1:80")
        until(lambda: server.asked(delta=True) > 1)
        server.changes.clear()  # as after three minutes
        server.remove("CARD-API", "10.0.2.1", 80)
        me.wait_ends("default/card-api", "10.0.2.2:80")
        server.remove("CARD_API", "10.0.2.2", 80)
        me.wait_ends("default/card-api", "10.0.2.3:80")
        server.remove("card-api", "10.0.2.3", 80)
        me.wait(lambda _: "default/card-api" not in me.services)
        assert len(me.snapshots) == 1


def test_a_server_that_is_well_is_asked_often_enough_not_to_look_stale(server):
    with follow(server, interval="10m", staleAfter="2s") as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.asked(delta=True) > 2)
        until(lambda: server.asked(delta=True) > 5)


def test_asks_for_json_packed_with_gzip(server):
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.asked(delta=True))
    for _, headers, _ in server.requests:
        assert headers["Accept"] == "application/json" and "gzip" in headers["Accept-Encoding"]
        assert "Authorization" not in headers


@pytest.mark.parametrize("base,configured", [
    ("/eureka", "/eureka/"), ("/eureka", ""), ("/eureka/v2", "/eureka"), ("/eureka", "/eureka/v2"), ("/eureka/v2", ""),
    ("/a/b/eureka", "/a/b"), ("/own", "/own"), ("/eureka", "/eureka/apps/")])
def test_the_base_path_is_the_configured_one_or_one_of_both_usual_ones(base, configured):
    with FakeEureka(base) as server:
        server.put("PAY", "10.0.0.1", 8080)
        with follow(server, address=f"http://127.0.0.1:{server.port}{configured}") as me:
            me.wait_ends("default/pay", "10.0.0.1:8080")
            until(lambda: server.asked(delta=True) > 1)
            assert not errors(me)
            assert len(server.requests) < 12


def test_no_base_path_at_all_is_missing_and_a_server_that_comes_there_later_is_found(server):
    server.base = "/elsewhere"
    with follow(server, address=f"http://127.0.0.1:{server.port}") as me:
        assert "apps" in me.wait_error("missing")["text"]
        assert {path for path, _, _ in server.requests} == {"/apps", "/eureka/apps", "/eureka/v2/apps"}
        server.base = "/eureka/v2"
        me.wait_ends("default/pay", *ENDS)


def test_p81_a_change_that_deltas_miss_is_found_by_the_hash(server):
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.asked(delta=True) > 1)
        server.put("PAY", "10.0.0.3", 8080, told=False)
        me.wait_ends("default/pay", *ENDS, "10.0.0.3:8080")
        server.remove("PAY", "10.0.0.3", 8080, told=False)
        me.wait_ends("default/pay", *ENDS)
        assert server.asked(delta=False) <= 3
        assert not errors(me)


def test_p81_a_hash_that_is_always_wrong_is_no_error_and_no_storm(server):
    server.hashcode = "UP_99_"
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        time.sleep(4)
        assert 3 <= server.asked(delta=False) <= 8  # 0.2 s, 0.4 s, ... apart
        server.put("PAY", "10.0.0.3", 8080)
        me.wait_ends("default/pay", *ENDS, "10.0.0.3:8080", seconds=1)  # deltas go on
        assert server.asked(delta=True) < 60
        assert not errors(me)


@pytest.mark.skipif(not FULL, reason="takes three minutes: SINEW_FULL=1")
def test_p81_after_deltas_were_missed_for_longer_than_a_server_remembers_them_everything_is_asked_for(server):
    """What changed meanwhile has the same hash code, so that nothing else shows it."""
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.asked(delta=True) > 1)
        server.spoil = lambda request: request.send(503, b"") or True
        server.put("PAY", "10.0.0.3", 8080, told=False)
        server.remove("PAY", "10.0.0.1", 8080, told=False)
        time.sleep(155)
        assert me.ends("default/pay") == ENDS
        server.spoil = None
        me.wait_ends("default/pay", "10.0.0.2:8080", "10.0.0.3:8080", seconds=20)
        assert len(me.snapshots) == 2


@pytest.mark.parametrize("body", [b"", b"{}", b"null"])
def test_p81_a_delta_with_nothing_in_it_is_followed_by_a_full_answer(server, body):
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        server.spoil = only_deltas(lambda request: request.send(200 if body else 204, body))
        server.put("PAY", "10.0.0.3", 8080)
        me.wait_ends("default/pay", *ENDS, "10.0.0.3:8080")
        assert not errors(me)


def test_deltas_that_are_denied_are_done_without(server):
    server.spoil = only_deltas(lambda request: request.send(403, b""))
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        server.put("PAY", "10.0.0.3", 8080)
        me.wait_ends("default/pay", *ENDS, "10.0.0.3:8080")
        until(lambda: server.asked(delta=False) > 5)
        assert server.asked(delta=True) == 1
        assert not errors(me)


def test_what_a_server_says_of_a_restart_is_believed_here(server):
    """Whether it is believed is the guard's to say."""
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        server.apps.clear()
        server.changes.clear()
        me.wait(lambda _: me.snapshots[-1]["n"] == 0)


@pytest.mark.parametrize("status,reason,hint", [
    (401, "unauthorized", "passwordFile"), (403, "forbidden", "five minutes"), (404, "missing", "/apps"),
    (406, "garbage", "compression"), (429, "overloaded", "interval"), (500, "failed", ""), (503, "overloaded", "interval"),
    (302, "garbage", "redirects")])
def test_each_refusal_is_another_answer_and_takes_nothing_away(server, status, reason, hint):
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.asked(delta=True) > 1)
        server.spoil = lambda request: request.send(status, b"<html>", {"Location": "/login"}) or True
        said = me.wait_error(reason)
        assert str(status) in said["text"] and hint in said["hint"]
        assert me.ends("default/pay") == ENDS and len(me.snapshots) == 1
        count, _ = len(server.requests), time.sleep(1)
        assert len(server.requests) - count < 12  # ever more rarely
        server.spoil = None
        server.put("PAY", "10.0.0.3", 8080)
        me.wait_ends("default/pay", *ENDS, "10.0.0.3:8080", seconds=20)
        assert me.ask()["error"] == "ok"


def test_a_server_that_says_when_to_come_again_is_not_asked_before(server):
    server.spoil = lambda request: request.send(503, b"", {"Retry-After": "2"}) or True
    with follow(server) as me:
        me.wait_error("overloaded")
        server.spoil, began = None, time.monotonic()
        me.wait_ends("default/pay", *ENDS)
        assert 1.9 < time.monotonic() - began < 3


def test_a_redirect_is_not_followed_and_the_password_goes_nowhere(server, tmp_path):
    (tmp_path / "password").write_text("geheim\n")
    with FakeEureka() as other:
        server.spoil = lambda request: request.send(307, b"", {"Location": f"{other.url}/apps"}) or True
        with follow(server, username="agent", passwordFile=tmp_path / "password") as me:
            assert "redirects" in me.wait_error("garbage")["hint"]
            time.sleep(0.5)
            assert not other.requests
            assert "geheim" not in json.dumps(me.lines)


def test_credentials_are_read_anew_for_each_request(server, tmp_path):
    password = tmp_path / "password"
    password.write_text("one")

    def check(request):
        good = "Basic " + base64.b64encode(b"agent:two").decode()
        return request.headers["Authorization"] != good and (request.send(401, b"") or True)
    server.spoil = check
    with follow(server, username="agent", passwordFile=password) as me:
        me.wait_error("unauthorized")
        password.write_text("two\n")
        me.wait_ends("default/pay", *ENDS)
        password.unlink()
        assert str(password) in me.wait(lambda _: me.statuses[-1]["error"] == "unauthorized" and me.statuses[-1])["text"]
        password.write_text("two")
        me.wait(lambda _: me.statuses[-1]["error"] == "ok")


@pytest.mark.parametrize("address", ["ftp://x", "http://a:b@127.0.0.1:1/eureka", "http://", "http://x/?y", "localhost:8761"])
def test_an_address_that_is_none_is_refused(server, address):
    with follow(server, address=address) as me:
        assert "address" in me.wait(lambda _: me.statuses)[0]["text"]


# --- answers that are none -----------------------------------------------------------------------

def half(request):
    body = json.dumps(request.server.fake.whole()).encode()
    request.begin(len(body))
    request.wfile.write(body[:len(body) // 2])
    request.wfile.flush()


def cut(request):
    request.send(200, json.dumps(request.server.fake.whole()).encode()[:-30])


BOMB = gzip.compress(b" " * (1 << 28), 1)


def bomb(request):
    request.send(200, BOMB, {"Content-Encoding": "gzip"})


def deep(request):
    request.send(200, b'{"applications":{"application":' + b"[" * 100000 + b"]" * 100000 + b"}}")


def xml(request):
    request.send(200, b"<applications></applications>", {"Content-Type": "application/xml"})


def closed(request):
    request.close_connection = True


def other_json(request):
    request.send(200, {"status": "UP"})


def not_packed(request):
    request.send(200, b'{"applications":{}}', {"Content-Encoding": "gzip"})


@pytest.mark.parametrize("bad,reason", [
    (half, "unreachable"), (cut, "garbage"), (bomb, "garbage"), (deep, "garbage"), (xml, "garbage"), (closed, "unreachable"),
    (other_json, "garbage"), (not_packed, "garbage")])
@pytest.mark.parametrize("first", [True, False])
def test_an_answer_that_is_no_whole_one_takes_nothing_away(server, bad, reason, first):
    if first:
        server.spoil = lambda request: bad(request) or True
    with follow(server) as me:
        if not first:
            me.wait_ends("default/pay", *ENDS)
            server.spoil = lambda request: bad(request) or True
        me.wait_error(reason, seconds=20)
        assert len(me.snapshots) == (0 if first else 1)
        assert first or me.ends("default/pay") == ENDS
        server.spoil = None
        server.put("PAY", "10.0.0.3", 8080)
        me.wait_ends("default/pay", *ENDS, "10.0.0.3:8080", seconds=20)


def test_one_byte_a_second_ends_in_time(server):
    def drip(request):
        request.begin(10000)
        with contextlib.suppress(OSError):
            for _ in range(60):
                request.wfile.write(b" ")
                time.sleep(1)
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        server.spoil, began = only_deltas(drip), time.monotonic()
        me.wait_error("timed_out", seconds=40)
        assert 15 < time.monotonic() - began < 30
        assert me.ends("default/pay") == ENDS


def test_a_server_that_accepts_and_is_silent_times_out(server):
    release = threading.Event()
    server.spoil = lambda request: release.wait(30)
    with follow(server) as me:
        me.wait_error("timed_out", seconds=20)
        server.spoil = None
        release.set()
        me.wait_ends("default/pay", *ENDS, seconds=20)


def million(count):
    some = b",".join(b'{"hostName":"%x","ipAddr":"10.%d.%d.%d","status":"UP","port":1}' %
                     (n, n >> 16, n >> 8 & 255, n & 255) for n in range(count))
    return gzip.compress(b'{"applications":{"apps__hashcode":"UP_%d_","application":{"name":"MANY","instance":[' % count +
                         some + b"]}}}", 1)


def test_a_million_instances_are_taken_and_one_more_is_not(server):
    bodies = million(900000), million(1000001)
    server.spoil = lambda request: request.send(200, bodies[0], {"Content-Encoding": "gzip"}) or True
    with follow(server, sanitized=False, quiet=1, interval="300ms") as me:
        me.wait(lambda _: me.snapshots, seconds=60)
        assert me.snapshots[0]["endpoints"] == 4096  # limit of a service
        me.ask()  # the status of the snapshot itself may be what this one finds
        assert "over a limit" in me.ask()["skippedText"]
        print(f"900,000 instances: {me.memory():.0f} MiB")
        server.spoil = lambda request: request.send(200, bodies[1], {"Content-Encoding": "gzip"}) or True
        me.wait_error("garbage", seconds=60)
        assert len(me.snapshots) == 1
