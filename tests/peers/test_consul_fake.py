# SPDX-License-Identifier: GPL-2.0-or-later
"""A Consul that misbehaves: whatever it does, nothing that was known goes, nothing spins, nothing grows.

Before it: fake_consul.py and follow.py. What a real one does is test_consul.py's.

Pitfalls: P-80, P-84.
"""
import base64
import collections
import threading
import time

import pytest

from harness.fake_consul import FakeConsul, instance
from harness.follow import Follow
from harness.life import eventually

A, B = instance("a", "127.0.0.5"), instance("b", "127.0.0.6")
ENDS = ["127.0.0.5:80", "127.0.0.6:80"]
HEALTH = "health/service/pay"


@pytest.fixture(name="fake")
def make_fake():
    with FakeConsul({"pay": [A, B]}) as fake:
        yield fake


def follow(fake, **keys):
    return Follow("consul", address=fake.address, **keys)


def only(what, function):
    """A script that answers one question so, and leaves the others."""
    return lambda request: request.what == what and (function(request), True)[1]


def words(me):
    """How often something was said of services."""
    return sum(line["say"] in ("snapshot", "upsert", "remove") for line in me.lines)


def kept(me):
    """Nothing was taken away."""
    return me.ends("default/pay") == ENDS and not [line for line in me.lines if line["say"] == "remove"]


def test_p80_a_return_without_change_is_no_change_and_never_spins(fake):
    with follow(fake) as me:
        me.wait_ends("default/pay", *ENDS)
        # Every query returns at once, with the same index and the same body.
        fake.script = only(HEALTH, lambda request: request.say([A, B], index=fake.moved["pay"]))
        fake.set("cart", [A])
        me.wait_ends("default/cart", "127.0.0.5:80")
        fake.set("pay", [B, A])
        time.sleep(0.5)
        before, said = fake.asked[HEALTH], words(me)
        time.sleep(5)
        assert fake.asked[HEALTH] - before <= 12, fake.asked
        assert words(me) == said


def test_p80_an_index_that_goes_backwards_is_asked_without(fake):
    fake.index = fake.moved["pay"] = fake.moved_catalog = 500
    with follow(fake) as me:
        me.wait_ends("default/pay", *ENDS)
        time.sleep(0.3)
        fake.requests.clear()
        fake.restore({"pay": [A]}, 20)
        me.wait_ends("default/pay", "127.0.0.5:80")
        time.sleep(0.5)
        queries = [query for _, what, query, _ in fake.requests if what == HEALTH]
        assert "index" not in queries[0] and queries[-1]["index"] == "20", queries
        assert not any(query.get("index") in ("0", "500") for query in queries), queries


def test_p80_a_catalogue_that_goes_backwards_sends_all_back(fake):
    """The answer came just before an old state was restored: with its index, a query would wait for long."""
    fake.index = fake.moved["pay"] = fake.moved_catalog = 500

    def answer(request):
        fake.answer(request)
        fake.script = None
        fake.restore({"pay": [A]}, 20)
    fake.script = only(HEALTH, answer)
    with follow(fake) as me:
        me.wait(lambda me: me.snapshots)
        with fake.lock:  # what the catalogue's query waits for
            fake.index = fake.moved_catalog = 21
            fake.restored += 1
            fake.lock.notify_all()
        me.wait_ends("default/pay", "127.0.0.5:80")


@pytest.mark.parametrize("index", ["500", None])
def test_p80_an_answer_on_its_way_when_the_catalogue_went_back_is_not_believed(fake, index):
    """It has the index of before, with which the next query would wait for long: an answer to a query that blocks, and to the
    first one. Not all are asked anew at the same moment."""
    names = [f"s{n}" for n in range(60)]
    fake.services = {name: [A, B] for name in names}
    fake.index = fake.moved_catalog = 500
    fake.moved = dict.fromkeys(names, 500)

    def late(request):
        if not request.what.startswith("health/") or request.query.get("index") != index or fake.restored:
            return False
        while fake.asked["catalog/services"] < 3 and not fake.stopped:  # it has been told, and asks anew
            time.sleep(0.001)
        request.say([A, B], index=500)
        return True

    def count(index, catalogue):
        return sum(query.get("index") == index and (what == "catalog/services") is catalogue
                   for _, what, query, _ in list(fake.requests))
    fake.script = late
    with follow(fake) as me:
        me.wait(lambda _: count("500", True) and count(index, False) >= (60 if index else 1))
        fake.restore({name: [A] for name in names}, 20)
        me.wait(lambda me: all(me.ends(f"default/{name}") == ["127.0.0.5:80"] for name in names))


def test_p80_an_index_of_zero_is_one(fake):
    fake.script = only(HEALTH, lambda request: request.say([A, B], index=0))
    with follow(fake) as me:
        me.wait_ends("default/pay", *ENDS)
        time.sleep(0.5)
        assert [query["index"] for _, what, query, _ in fake.requests if what == HEALTH and "index" in query][0] == "1"


def test_p80_a_passing_check_on_a_dead_node_counts_for_nothing(fake):
    fake.services["pay"] = [A, instance("b", "127.0.0.6", checks=[("serfHealth", "critical"), ("service:b", "passing")])]
    with follow(fake) as me:
        me.wait_ends("default/pay", "127.0.0.5:80")


WRONG = {
    # what: (what is answered, error, a part of text or hint)
    "filtered": (lambda q: q.say([], X_Consul_Results_Filtered_By_ACLs="true"), "forbidden", "service_prefix"),
    "filtered in part": (lambda q: q.say([A], X_Consul_Results_Filtered_By_ACLs="true"), "forbidden", "node_prefix"),
    "denied": (lambda q: q.say("Permission denied: anonymous token lacks permission 'service:read'", 403), "forbidden",
               "lacks permission"),
    "unknown token": (lambda q: q.say("ACL not found", 403), "forbidden", "do not know the token"),
    "no leader": (lambda q: q.say("No cluster leader", 500), "failed", "no leader"),
    "other failure": (lambda q: q.say("rpc error making call: EOF", 500), "failed", "EOF"),
    "overloaded": (lambda q: q.say("Your IP is issuing too many concurrent connections", 429, Retry_After="1"), "overloaded",
                   "http_max_conns_per_client"),
    "missing": (lambda q: q.say("404 page not found", 404, X_Consul_Index=None), "missing", "is it a Consul"),
    "unauthorized": (lambda q: q.say("who are you", 401), "unauthorized", "who are you"),
    "cut off": (lambda q: q.say([], X_Consul_KnownLeader="false"), "failed", "no leader"),
    "not Consul's": (lambda q: q.say([], X_Consul_Index=None), "garbage", "X-Consul-Index"),
    "redirect": (lambda q: q.say("", 301, Location="http://127.0.0.1:1/v1/health/service/pay"), "garbage", "redirected to"),
    "no JSON": (lambda q: q.say("<html>"), "garbage", "service pay"),
    "another shape": (lambda q: q.say({"pay": []}), "garbage", "no list"),
    "null": (lambda q: q.say("null"), "garbage", "no list"),
    "deep": (lambda q: q.say("[" * 100000 + "]" * 100000), "garbage", "service pay"),
    "a bad entry": (lambda q: q.say([A, 7]), "garbage", "no object"),
    "closed": (lambda q: q.cut(), "unreachable", "Consul listen"),
    "half": (lambda q: (q.begin(1000), q.wfile.write(b'[{"Node":'), q.cut()), "unreachable", "service pay"),
}


@pytest.mark.parametrize("what", WRONG)
def test_p84_a_wrong_answer_takes_nothing_away(fake, what):
    answer, error, part = WRONG[what]
    with follow(fake) as me:
        me.wait_ends("default/pay", *ENDS)
        fake.script = only(HEALTH, answer)
        fake.set("pay", [A, B, instance("c", "127.0.0.7")])
        said = me.wait_error(error)
        assert part in said["text"] + said["hint"], said
        time.sleep(0.3)
        assert kept(me)
        fake.script = None
        me.wait_ends("default/pay", *ENDS, "127.0.0.7:80")
        me.wait(lambda me: me.statuses[-1]["error"] == "ok")


@pytest.mark.parametrize("what", WRONG)
def test_p84_a_wrong_first_answer_is_no_snapshot(fake, what):
    answer, error, _ = WRONG[what]
    fake.script = only(HEALTH, answer)
    with follow(fake) as me:
        me.wait_error(error)
        time.sleep(0.3)
        assert words(me) == 0 and me.ask()["state"] == "connecting"
        fake.script = None
        me.wait(lambda me: len(me.snapshots) == 1)
        assert me.ends("default/pay") == ENDS


def test_p84_a_wrong_catalogue_takes_nothing_away(fake):
    with follow(fake) as me:
        me.wait_ends("default/pay", *ENDS)
        for answer in (lambda q: q.say({}), lambda q: q.say({"consul": []}, X_Consul_Results_Filtered_By_ACLs="true"),
                       lambda q: q.say([]), lambda q: q.say('{"consul": []'), lambda q: q.say("No cluster leader", 500)):
            fake.script, count = only("catalog/services", answer), len(me.statuses)
            with fake.lock:
                fake.index += 1
                fake.moved_catalog = fake.index
                fake.lock.notify_all()
            me.wait(lambda me: [s for s in me.statuses[count:] if s["error"] != "ok"])
            fake.script = None
            me.wait(lambda me: me.statuses[-1]["error"] == "ok")
        assert kept(me)


@pytest.mark.parametrize("now", [[], [A]], ids=["empty", "fewer"])
def test_p84_an_answer_that_is_always_a_copy_is_no_storm(fake, now):
    """What a copy misses is asked for without blocking, which no Consul answers by a copy."""
    with follow(fake) as me:
        me.wait_ends("default/pay", *ENDS)
        fake.script = only(HEALTH, lambda q: q.say(now, X_Consul_Query_Backend="streaming", X_Consul_KnownLeader="false"))
        fake.set("pay", now)
        me.wait(lambda me: fake.asked[HEALTH] > 4)
        before = fake.asked[HEALTH]
        time.sleep(4)
        assert fake.asked[HEALTH] - before < 60, fake.asked
        assert kept(me)


def test_one_service_that_is_never_answered_keeps_no_other_from_being_known(fake):
    bad = instance("x", "127.0.0.9")
    fake.services.update({"cart": [A], "bad": [bad]})
    fake.script = only("health/service/bad", lambda q: q.say("rpc error making call: EOF", 500))
    with follow(fake) as me:
        me.wait_ends("default/pay", *ENDS, seconds=20)
        me.wait_ends("default/cart", "127.0.0.5:80", seconds=20)
        assert me.statuses[-1]["error"] == "failed" and me.ask()["state"] == "connecting"
        fake.set("cart", [B])
        me.wait_ends("default/cart", "127.0.0.6:80", seconds=20)
        assert not me.snapshots  # that is only said when nothing is missing
        fake.script = None
        me.wait(lambda me: me.snapshots, 20)
        assert me.ends("default/bad") == ["127.0.0.9:80"] and me.ends("default/pay") == ENDS
        assert me.ask()["state"] == "ok"


def test_keys_that_change_often_are_followed_as_fast(fake):
    def manifest(port):
        return (f"apiVersion: sinew/v1\nkind: Service\nmetadata: {{name: keyed}}\nspec:\n  ports: [{{port: 80}}]\n"
                f"  endpoints: [{{address: 127.0.0.5, port: {port}}}]\n").encode()

    def keys(request):
        if not request.what.startswith("kv/"):
            return False
        index = fake.wait(request)
        request.say([{"Key": "sinew/a", "Value": base64.b64encode(fake.value).decode(), "ModifyIndex": index}], index=index)
        return True
    fake.value, fake.script, fake.moved["kv/sinew/"] = manifest(1), keys, 10
    with follow(fake, prefix="sinew/") as me:
        me.wait_ends("default/keyed", "127.0.0.5:1")
        began = time.monotonic()
        for port in range(2, 12):
            fake.value = manifest(port)
            with fake.lock:
                fake.index += 1
                fake.moved["kv/sinew/"] = fake.index
                fake.lock.notify_all()
            me.wait_ends("default/keyed", f"127.0.0.5:{port}")
        assert time.monotonic() - began < 3


def test_a_service_goes_when_catalogue_and_instances_agree(fake):
    with follow(fake) as me:
        me.wait_ends("default/pay", *ENDS)
        # The catalogue does not name it, and its instances are still there.
        fake.script = only("catalog/services", lambda q: q.say({"consul": []}, index=fake.wait(q)))
        fake.set("cart", None)
        time.sleep(1)
        assert kept(me)
        fake.set("pay", None)
        me.wait(lambda me: "default/pay" not in me.services)
        # Twice, so that one answer alone empties nothing.
        me.wait(lambda me: sum(line["say"] == "remove" for line in me.lines) == 2)


def test_what_goes_is_said_again_a_second_later(fake):
    with follow(fake) as me:
        me.wait_ends("default/pay", *ENDS)
        fake.set("pay", [A])
        me.wait_ends("default/pay", "127.0.0.5:80")
        said = words(me)
        me.wait(lambda me: words(me) == said + 1, 3)
        first, second = [line["at"] for line in me.lines if line["say"] == "upsert"][-2:]
        assert 1.0 <= second - first < 2
        time.sleep(1.5)
        assert words(me) == said + 1


def test_a_server_that_is_behind_is_passed_over_for_the_leader(fake):
    def behind(request):
        if "stale" in request.query:
            request.say([], index=fake.wait(request), X_Consul_LastContact="60000")
        else:
            fake.answer(request)
    fake.script = only(HEALTH, behind)
    with follow(fake) as me:
        me.wait_ends("default/pay", *ENDS)
        assert kept(me)


def test_one_byte_a_second_ends(fake):
    def dribble(request):
        request.begin(1000)
        for _ in range(60):
            request.wfile.write(b" ")
            request.wfile.flush()
            time.sleep(1)
    fake.script = only(HEALTH, dribble)
    with follow(fake) as me:
        me.wait_error("timed_out", seconds=45)
        assert words(me) == 0


def test_a_million_instances_and_a_gibibyte_are_refused(fake):
    def endless(request):
        request.begin(1 << 30)
        for _ in range(1 << 10):
            request.wfile.write(b" " * (1 << 20))
    with follow(fake, quiet=1) as me:
        me.wait(lambda me: me.snapshots)
        before = me.memory()
        fake.script = only(HEALTH, endless)
        fake.set("pay", [A])
        assert "pay" in me.wait_error("garbage", seconds=30)["text"]
        many = b"[" + b",".join([b'{"Node":{"Node":"n"},"Service":{"ID":"%d"}}' % n for n in range(1000001)]) + b"]"
        fake.script, count = only(HEALTH, lambda q: q.say(many)), len(me.statuses)
        me.wait(lambda me: [s for s in me.statuses[count:] if s["error"] == "garbage" and "too large" in s["text"]], 60)
        fake.script = None
        me.wait(lambda me: me.statuses[-1]["error"] == "ok", 20)
        assert me.memory() - before < 600  # with a sanitizer's shadow and what it keeps back


def test_a_token_goes_nowhere_else(fake, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret-of-ours")
    with FakeConsul({"pay": []}) as other:
        fake.script = only(HEALTH, lambda q: q.say("", 307, Location=f"{other.address}/v1/{HEALTH}"))
        with follow(fake, tokenFile=str(token)) as me:
            me.wait_error("garbage")
            time.sleep(1)
            assert not other.requests
            assert {headers.get("X-Consul-Token") for _, _, _, headers in fake.requests} == {"secret-of-ours"}
            assert "secret-of-ours" not in str(me.lines) + me.said()


def test_a_thousand_services_have_at_most_256_long_polls(sandbox):
    names = [f"s{n:04}" for n in range(1000)]
    held, most, lock = collections.Counter(), collections.Counter(), threading.Lock()
    with FakeConsul({name: [instance("a", f"127.0.{n // 250}.{n % 250 + 1}")] for n, name in enumerate(names)}) as fake:
        def count(request):
            blocks = "index" in request.query and request.what.startswith("health/")
            with lock:
                held["now"] += blocks
                most["long"] = max(most["long"], held["now"])
            try:
                fake.answer(request)
            finally:
                with lock:
                    held["now"] -= blocks
            return True
        fake.script = count
        with Follow("consul", address=fake.address, sanitized=False) as me:
            me.wait(lambda me: me.snapshots, 30)
            assert len(me.services) == 1000 and len(me.snapshots) == 1
            time.sleep(1)
            assert 200 <= most["long"] <= 256, most
            # Each of those at rest is seen, too: the catalogue's index moves.
            for name in (names[3], names[500], names[999]):
                fake.set(name, [A])
            for name in (names[3], names[500], names[999]):
                me.wait_ends(f"default/{name}", "127.0.0.5:80", seconds=15)
            before = sum(fake.asked.values())
            time.sleep(5)
            assert sum(fake.asked.values()) - before < 5 * 250, "a sweep is no storm"


def test_a_thousand_services_of_a_server_that_is_down_are_no_storm():
    names = [f"s{n:04}" for n in range(1000)]
    with FakeConsul({name: [A] for name in names}) as fake:
        with Follow("consul", address=fake.address, sanitized=False, quiet=1) as me:
            me.wait(lambda me: me.snapshots, 30)
            fake.script = lambda request: request.say("No cluster leader", 500) or True
            for name in names:  # whoever waits for news is sent away
                fake.set(name, [B])
            me.wait_error("failed")
            time.sleep(20)  # time for all of them to have failed
            before = sum(fake.asked.values())
            time.sleep(6)
            asked = sum(fake.asked.values()) - before
            assert 10 < asked < 1000, asked
            said, fake.script = words(me), None
            me.wait(lambda me: words(me) >= said + 1000, 60)
            me.wait(lambda me: me.statuses[-1]["error"] == "ok", 30)


def test_an_agent_of_consul_that_allows_few_connections_is_followed_all_the_same():
    names = [f"s{n:03}" for n in range(120)]
    held, lock, most = collections.Counter(), threading.Lock(), {"now": 60}
    with FakeConsul({name: [A] for name in names}) as fake:
        def limit(request):
            with lock:
                full = held["now"] >= most["now"]
                held["now"] += not full
            if full:
                request.say("Your IP is issuing too many concurrent connections", 429)
                return True
            try:
                fake.answer(request)
            finally:
                with lock:
                    held["now"] -= 1
            return True
        fake.script = limit
        with follow(fake) as me:
            me.wait(lambda me: me.snapshots and len(me.services) == 120, 30)
            for name in (names[0], names[60], names[119]):
                fake.set(name, [B])
            for name in (names[0], names[60], names[119]):
                me.wait_ends(f"default/{name}", "127.0.0.6:80", seconds=20)
            me.wait(lambda me: me.statuses[-1]["error"] == "ok", 30)
            most["now"] = 1000  # it was configured, or others have gone: each is watched for itself again
            assert eventually(lambda: held["now"] >= len(names), 60)
