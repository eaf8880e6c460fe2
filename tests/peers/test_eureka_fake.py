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

from harness.fake_eureka import FakeEureka, instance, lease
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


# --- a second look -------------------------------------------------------------------------------

GONE = ["PAY/PAY%3A10.0.0.1%3A8080", "PAY/PAY%3A10.0.0.2%3A8080"]


@pytest.fixture(name="crowd")
def make_crowd(server):
    """Others that stay."""
    for number in range(1, 4):
        server.put("CART", f"10.0.1.{number}", 80)
    return server


def gone(server, me):
    """PAY is scaled to zero, and that was said once."""
    me.wait(lambda _: len(me.services) >= 2)
    until(lambda: server.asked(delta=True) > 1)
    for number in (1, 2):
        server.remove("PAY", f"10.0.0.{number}", 8080)
    me.wait(lambda _: "default/pay" not in me.services)


def said_after_look(me):
    """Of single services, since the first look began. (A delta without anything is followed by a whole answer.)"""
    with me.changed:
        at = next(number for number, line in enumerate(me.lines) if line["say"] == "look")
        return [me.brief(line) for line in me.lines[at:] if line["say"] in ("upsert", "remove")]


def said_by_look(me, name="default/pay"):
    assert me.look(name)
    until(lambda: me.look(name), 20)  # the first one is over
    return said_after_look(me)


def only_ones(answer, wanted=lambda one: True):
    """A spoiler for questions about one instance, of those that are wanted."""
    return lambda request: bool(request.one and wanted(request.one)) and (answer(request) or True)


def of(app):
    return lambda one: one[0] == app


def test_a_second_look_asks_for_those_that_went_and_then_for_witnesses(crowd):
    with follow(crowd, interval="300ms") as me:
        gone(crowd, me)
        assert me.look("default/pay")
        me.wait(lambda _: me.since_look() == ["remove default/pay"])
        asked = crowd.asked_for()
        assert sorted(asked[:2]) == GONE and len(asked) == 5
        assert all(path.startswith("CART/CART%3A10.0.1.") for path in asked[2:])
        assert me.look("default/pay") and me.look("default/cart")  # nobody is missed any more
        time.sleep(0.5)
        assert len(crowd.asked_for()) == 5 and not me.since_look() and not errors(me)


def test_a_second_look_at_a_service_of_which_some_are_left(crowd):
    with follow(crowd, interval="300ms") as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: crowd.asked(delta=True) > 1)
        crowd.put("PAY", "10.0.0.1", 8080, status="OUT_OF_SERVICE")  # which is no 404
        me.wait_ends("default/pay", ENDS[1])
        assert me.look("default/pay")
        me.wait(lambda _: me.since_look() == ["upsert default/pay"])
        assert me.ends("default/pay") == ENDS[1:]


@pytest.mark.parametrize("base", ["/eureka", "/eureka/v2"])
def test_a_second_look_with_a_password_below_either_path(tmp_path, base):
    (tmp_path / "password").write_text("geheim\n")
    good = "Basic " + base64.b64encode(b"agent:geheim").decode()
    with FakeEureka(base) as server:
        server.put("PAY", "10.0.0.1", 8080)
        server.put("CART", "10.0.1.1", 80)
        server.spoil = lambda request: request.headers["Authorization"] != good and (request.send(401, b"") or True)
        with follow(server, address=f"http://127.0.0.1:{server.port}", username="agent",
                    passwordFile=tmp_path / "password") as me:
            me.wait(lambda _: len(me.services) == 2)
            until(lambda: server.asked(delta=True) > 1)
            server.remove("PAY", "10.0.0.1", 8080)
            me.wait(lambda _: "default/pay" not in me.services)
            assert me.look("default/pay")
            me.wait(lambda _: me.since_look() == ["remove default/pay"])
            assert server.asked_for() == [GONE[0]] + ["CART/CART%3A10.0.1.1%3A80"] * 3


def test_p84_ids_of_any_bytes_are_asked_for_as_they_are(crowd):
    names = ["a/../b", "%2e%2e", "a b?c#d", "\u00e4\u2028\\;", "x\r\ny: z"]
    for number, name in enumerate(names):
        crowd.put("ODD", f"10.0.2.{number}", 80, identity=name)
    with follow(crowd, interval="300ms") as me:
        me.wait(lambda _: "default/odd" in me.services)
        until(lambda: crowd.asked(delta=True) > 1)
        seen = []
        crowd.spoil = lambda request: bool(request.one) and seen.append(request.one)
        for number, name in enumerate(names):
            crowd.remove("ODD", f"10.0.2.{number}", 80, identity=name)
        me.wait(lambda _: "default/odd" not in me.services)
        assert me.look("default/odd")
        me.wait(lambda _: me.since_look() == ["remove default/odd"])
        assert {one for one in seen if one[0] == "ODD"} == {("ODD", name) for name in names}


def test_p84_an_id_that_is_another_path_is_not_asked_for(crowd):
    crowd.put("ODD", "10.0.2.1", 80, identity="..")
    with follow(crowd) as me:
        me.wait(lambda _: "default/odd" in me.services)
        until(lambda: crowd.asked(delta=True) > 1)
        crowd.remove("ODD", "10.0.2.1", 80, identity="..")
        me.wait(lambda _: "default/odd" not in me.services)
        assert not said_by_look(me, "default/odd") and not crowd.asked_for()


def test_p84_one_that_is_up_all_the_same_is_told_and_everything_is_asked_for(crowd):
    one = {"instance": crowd.apps["PAY"]["PAY:10.0.0.2:8080"]}
    with follow(crowd, interval="300ms") as me:
        gone(crowd, me)
        crowd.spoil = only_ones(lambda request: request.send(200, one), lambda it: it[1].startswith("PAY:10.0.0.2"))
        whole = crowd.asked(delta=False)
        assert me.look("default/pay")
        until(lambda: crowd.asked(delta=False) > whole)
        me.wait(lambda _: me.ask()["skippedText"].startswith("PAY: PAY:10.0.0.2:8080 is UP"))
        assert not [line for line in me.since_look() if "pay" in line]
        assert not [path for path in crowd.asked_for() if path.startswith("CART")]  # no need of a witness


def silent(_):
    time.sleep(5)


def young(server):
    return only_ones(lambda request: request.send(200, {"instance": {
        **server.apps["CART"][request.one[1]], "leaseInfo": lease(60)}}), of("CART"))


@pytest.mark.parametrize("bad", [
    "wiped", "one witness", "young witnesses", "no leases", 500, 503, 401, 403, 400, 204, 302, "garbage", "another one",
    "a list", "closed", "silent", "bomb"])
def test_p84_a_second_look_that_proves_nothing_says_nothing(crowd, bad):
    other = instance("PAY", "10.0.0.9", 8080, status="DOWN")
    spoilers = {
        "wiped": only_ones(lambda request: request.send(404, b"")),
        "one witness": only_ones(lambda request: request.send(404, b""), lambda one: one[1] == "CART:10.0.1.2:80"),
        "young witnesses": young(crowd),
        "no leases": only_ones(lambda request: request.send(200, {"instance": {
            **crowd.apps["CART"][request.one[1]], "leaseInfo": None}}), of("CART")),
        "garbage": only_ones(lambda request: request.send(200, b"<html>"), of("PAY")),
        "another one": only_ones(lambda request: request.send(200, {"instance": other}), of("PAY")),
        "a list": only_ones(lambda request: request.send(200, crowd.whole()), of("PAY")),
        "closed": only_ones(closed, of("PAY")), "silent": only_ones(silent, of("PAY")), "bomb": only_ones(bomb, of("PAY")),
    }
    with follow(crowd, interval="300ms") as me:
        gone(crowd, me)
        crowd.spoil = spoilers.get(bad) or only_ones(lambda request: request.send(bad, b""), of("PAY"))
        assert not said_by_look(me)
        assert crowd.asked_for() and "default/pay" not in me.services and not errors(me)
        crowd.spoil = None  # the second one, or
        until(lambda: me.look("default/pay"), 20)
        me.wait(lambda _: said_after_look(me) == ["remove default/pay"], 20)


def test_p84_a_registry_with_one_service_has_no_witness(server):
    server.put("CART", "10.0.1.1", 80)
    with follow(server) as me:
        gone(server, me)
        server.remove("CART", "10.0.1.1", 80)
        me.wait(lambda _: not me.services)
        assert not said_by_look(me) and not server.asked_for()


def test_p84_a_redirect_at_a_second_look_takes_the_password_nowhere(crowd, tmp_path):
    (tmp_path / "password").write_text("geheim")
    with FakeEureka() as other:
        with follow(crowd, username="agent", passwordFile=tmp_path / "password") as me:
            gone(crowd, me)
            crowd.spoil = only_ones(lambda request: request.send(307, b"", {"Location": f"{other.url}/apps/PAY/x"}))
            assert not said_by_look(me) and crowd.asked_for()
            time.sleep(0.5)
            assert not other.requests


def test_a_server_that_wants_a_rest_is_looked_at_after_it(crowd):
    with follow(crowd) as me:
        gone(crowd, me)
        crowd.spoil = only_ones(lambda request: request.send(429, b"", {"Retry-After": "2"}))
        began = time.monotonic()
        assert me.look("default/pay")
        until(crowd.asked_for)
        crowd.spoil = None
        until(lambda: me.look("default/pay"))
        assert time.monotonic() - began > 1.8
        me.wait(lambda _: me.since_look() == ["remove default/pay"])


def test_more_that_goes_during_a_second_look_was_not_asked_about(crowd):
    crowd.put("PAY", "10.0.0.3", 8080)
    crowd.put("PAY", "10.0.0.4", 8080)
    with follow(crowd) as me:
        me.wait(lambda _: len(me.ends("default/pay") or ()) == 4)
        until(lambda: crowd.asked(delta=True) > 1)
        crowd.remove("PAY", "10.0.0.1", 8080)
        me.wait(lambda _: len(me.ends("default/pay")) == 3)
        release = threading.Event()
        crowd.spoil = only_ones(lambda request: release.wait(30) and request.send(404, b""), of("PAY"))
        assert me.look("default/pay")
        until(crowd.asked_for)
        crowd.remove("PAY", "10.0.0.2", 8080)
        me.wait(lambda _: len(me.ends("default/pay")) == 2)
        release.set()
        crowd.spoil = None
        until(lambda: len(crowd.asked_for()) == 4)
        time.sleep(0.3)
        assert me.since_look() == ["upsert default/pay"]  # what the poll said
        until(lambda: me.look("default/pay"))
        me.wait(lambda _: me.since_look() == ["upsert default/pay"])
        assert sorted(crowd.asked_for()[4:6]) == GONE


def test_a_look_at_everything_is_bounded(crowd):
    for app in range(20):
        for number in range(30):
            crowd.put(f"APP{app:02}", f"10.1.{app}.{number}", 80)
    with follow(crowd, interval="300ms") as me:
        me.wait(lambda _: len(me.services) == 22)
        until(lambda: crowd.asked(delta=True) > 1)
        for app in range(20):
            for number in range(30):
                crowd.remove(f"APP{app:02}", f"10.1.{app}.{number}", 80)
        me.wait(lambda _: len(me.services) == 2)
        assert me.look()
        me.wait(lambda _: len(me.since_look()) == 16, 20)
        asked = crowd.asked_for()
        assert len(asked) == 64 + 3 and len(set(asked)) >= 65
        assert me.look()
        me.wait(lambda _: len(me.since_look()) == 4, 20)
        assert len(crowd.asked_for()) == 67 + 64 + 3


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
