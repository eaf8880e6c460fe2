# SPDX-License-Identifier: GPL-2.0-or-later
"""The etcd source against a gateway that misbehaves: no change by half, nothing lost, nothing taken away by an answer that
is none, and never a storm.

Pitfalls: P-83.
"""
import gzip
import json
import time

import pytest

from harness.fake_etcd import FakeEtcd, encode, is_look
from harness.follow import Follow

ENDS = ["10.0.0.1:80", "10.0.0.2:80"]


@pytest.fixture
def server():
    with FakeEtcd() as made:
        for number, end in enumerate(ENDS):
            made.put(f"pay/{number}", end)
        yield made


def follow(server, **more):
    return Follow("etcd", address=server.url, **more)


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def errors(me):
    return [one for one in me.statuses if one.get("error") not in (None, "ok")]


def drop(*_):
    """The connection is closed, as it is."""
    raise OSError


def test_lists_once_then_watches_from_the_next_revision(server):
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.watches)
        asked = server.asked("/v3/watch")[0]["create_request"]
        assert asked["start_revision"] == str(server.revision + 1)
        assert asked["progress_notify"] and asked["fragment"]
        server.put("pay/9", "10.0.0.9:80")
        me.wait_ends("default/pay", *ENDS, "10.0.0.9:80")
        server.delete("pay/9")
        me.wait_ends("default/pay", *ENDS)
        assert (server.lists, server.watches) == (1, 1) and not errors(me)
        assert all("hasleader" in str(headers).lower() for _, _, headers, _ in server.requests)


def test_a_watch_that_is_cut_goes_on_where_it_was(server):
    cut = []

    def watch(request):
        if not request.is_watch or len(cut) > 4:
            return False
        cut.append(request.asked["create_request"]["start_revision"])
        request.begin()
        request.write({"result": server.header(created=True)})
        event = {"result": server.header(events=[{"kv": server.keys["services/pay/0"]}])}
        request.write(json.dumps(event).encode()[:-20])  # no whole line
        drop()
    server.spoil = watch
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        server.put("pay/2", "10.0.0.3:80")
        me.wait_ends("default/pay", *ENDS, "10.0.0.3:80", seconds=20)
        assert set(cut) == {"4"}  # what came by half was not known
        assert server.lists == 1 and len(me.snapshots) == 1


def test_a_quiet_watch_goes_on_behind_what_it_was_told_to_be_quiet_about(server):
    """A hello's revision may be ahead of changes that are still to come, a progress notice's is not."""
    def watch(request):
        if not request.is_watch or server.watches > 2:
            return False
        request.begin()
        ahead = {"result": {"header": {**server.header()["header"], "revision": "50"}}}
        request.write({"result": {**ahead["result"], "created": True}})
        if server.watches == 2:
            request.write(ahead)
        time.sleep(0.2)
        drop()
    server.spoil = watch
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.watches > 2)
        starts = [one["create_request"]["start_revision"] for one in server.asked("/v3/watch")]
        assert starts[:3] == ["4", "4", "51"]


def test_a_change_in_parts_is_said_when_it_is_whole(server):
    def event(n, end):
        return {"kv": {"key": encode(f"services/new/{n}"), "mod_revision": "4",
                       "value": encode(json.dumps({"Addr": end}))}}
    served = []

    def watch(request):
        if not request.is_watch:
            return False
        served.append(request.asked["create_request"]["start_revision"])
        request.begin()
        request.write({"result": server.header(created=True)})
        request.write({"result": server.header(fragment=True, events=[event(1, "10.1.0.1:80")])})
        time.sleep(0.3)
        if len(served) == 1:
            drop()  # in the middle of the change
        request.write({"result": server.header(events=[event(2, "10.1.0.2:80")])})
        time.sleep(30)
        return True
    server.spoil = watch
    with follow(server) as me:
        me.wait(lambda _: "default/new" in me.services, seconds=20)
        assert me.ends("default/new") == ["10.1.0.1:80", "10.1.0.2:80"]
        assert len(served) == 2 and served[0] == served[1]


def test_p83_what_was_compacted_is_listed_and_what_vanished_is_gone(server):
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.watches)
        server.put("gone/0", "10.0.0.9:80")
        me.wait(lambda _: "default/gone" in me.services)
        server.spoil = lambda request: drop() if request.is_watch else False
        server.closing = True  # ends the watch that is open
        with server.changed:
            server.changed.notify_all()
        until(lambda: not server.open)
        server.delete("gone/0", told=False)
        server.delete("pay/0", told=False)
        server.put("pay/7", "10.0.0.7:80", told=False)
        server.compacted = server.revision
        server.closing, server.spoil = False, None
        me.wait_ends("default/pay", "10.0.0.2:80", "10.0.0.7:80", seconds=20)
        me.wait(lambda _: "default/gone" not in me.services)
        assert server.lists >= 2


def test_a_server_that_always_says_compacted_is_not_asked_in_a_storm(server):
    server.compacted = 1 << 40
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        time.sleep(5)
        assert server.watches < 25


def test_p83_what_a_watch_did_not_tell_is_found_by_counting(server):
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.watches)
        server.delete("pay/0", told=False)
        me.wait_ends("default/pay", "10.0.0.2:80", seconds=40)
        assert server.lists == 2 and not errors(me)


def test_a_watch_that_says_hello_and_ends_is_begun_at_nobody_elses_pace(server):
    """All agents of a server meet that at the same moment."""
    def watch(request):
        if not request.is_watch:
            return False
        request.begin()
        request.write({"result": server.header(created=True)})
        drop()
    server.spoil = watch
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.watches >= 11, 60)
        times = [at for path, _, _, at in server.requests if path == "/v3/watch"][-5:]
        waits = [after - before for before, after in zip(times, times[1:])]
        assert min(waits) > 1.9 and max(waits) > 2.1, waits  # 2 to 4 s


@pytest.mark.parametrize("attribute,value", [("cluster", 8), ("term", 1), ("revision", 1)])
def test_a_server_that_is_another_one_is_listed_anew(server, attribute, value):
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.watches)
        del server.keys["services/pay/0"]
        setattr(server, attribute, value)
        me.wait_ends("default/pay", "10.0.0.2:80", seconds=30)  # the next beat sees it


def test_a_watch_that_is_never_created_is_given_up(server):
    def watch(request):
        if request.is_watch and server.watches < 2:
            request.begin()
            time.sleep(60)
        return False
    server.spoil = watch
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.watches >= 2, 40)
        server.put("pay/3", "10.0.0.3:80")
        me.wait_ends("default/pay", *ENDS, "10.0.0.3:80")


def test_a_watch_that_never_says_anything_is_told_and_done_without(server):
    """A proxy between keeps back what has no end: requests are answered, changes never come."""
    def watch(request):
        if not request.is_watch:
            return False
        request.begin()
        time.sleep(30)
        return True
    server.spoil = watch
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.watches)
        server.delete("pay/0", told=False)  # as many as before
        server.put("pay/9", "10.0.0.9:80", told=False)
        me.wait_ends("default/pay", "10.0.0.2:80", "10.0.0.9:80", seconds=60)
        assert any("watch" in one["text"] for one in errors(me)), me.statuses


def test_a_count_from_before_a_change_is_no_other_server(server):
    """Counts and changes come by connections of their own: a count may be answered before a change and read after it."""
    late = []

    def count(request):
        if not request.asked.get("count_only"):
            return False
        answer = server.page(request.asked)
        server.put("pay/9", f"10.0.0.{len(late) + 9}:80")
        me.wait_ends("default/pay", *ENDS, f"10.0.0.{len(late) + 9}:80")
        time.sleep(0.2)
        late.append(1)
        request.send(200, answer)
        return True
    server.put("pay/9", "10.0.0.8:80")
    server.spoil = count
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS, "10.0.0.8:80")
        until(lambda: len(late) == 2, 40)
        time.sleep(0.5)
        assert server.lists == 1 and not errors(me)


@pytest.mark.parametrize("status,body,reason,hint", [
    (401, {"code": 16, "message": "etcdserver: invalid auth token"}, "unauthorized", "passwordFile"),
    (400, {"code": 3, "message": "etcdserver: user name is empty"}, "unauthorized", "passwordFile"),
    (403, {"code": 7, "message": "etcdserver: permission denied"}, "forbidden", "grant-permission"),
    (404, b"404 page not found", "missing", "gateway"), (429, {"code": 8, "message": "too many"}, "overloaded", ""),
    (503, {"code": 14, "message": "etcdserver: no leader"}, "failed", ""), (503, b"", "overloaded", ""),
    (500, b"", "failed", ""), (302, b"", "garbage", "")])
def test_each_refusal_is_another_answer_and_takes_nothing_away(server, status, body, reason, hint):
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS)
        until(lambda: server.watches)
        server.spoil = lambda request: request.send(status, body, {"Location": "http://127.0.0.2/"}) or True
        server.closing = True
        said = me.wait_error(reason, seconds=20)
        assert str(status) in said["text"] and hint in said["hint"]
        count, _ = len(server.requests), time.sleep(1)
        assert len(server.requests) - count < 12
        assert me.ends("default/pay") == ENDS
        server.closing, server.spoil = False, None
        server.put("pay/3", "10.0.0.3:80")
        me.wait_ends("default/pay", *ENDS, "10.0.0.3:80", seconds=20)
        assert me.ask()["error"] == "ok" and len(me.snapshots) == 1


# --- answers that are none -----------------------------------------------------------------------

GIB = gzip.compress(b" " * (1 << 30), 1)


def half(request):
    body = json.dumps(request.server.fake.page(request.asked)).encode()
    request.send(200, body[:len(body) // 2], {"Content-Length": len(body)})
    drop()


def cut(request):
    request.send(200, json.dumps(request.server.fake.page(request.asked)).encode()[:-15])


def gib(request):
    request.send(200, GIB, {"Content-Encoding": "gzip"})


def deep(request):
    request.send(200, b'{"kvs":' + b"[" * 100000 + b"]" * 100000 + b"}")


def other_json(request):
    request.send(200, {"kvs": []})


def more_of_nothing(request):
    request.send(200, request.server.fake.header(more=True, count="9"))


def bad_key(request):
    request.send(200, request.server.fake.header(kvs=[{"key": "%%%"}], count="1"))


@pytest.mark.parametrize("bad,reason", [(half, "unreachable"), (cut, "garbage"), (gib, "garbage"), (deep, "garbage"),
                                        (other_json, "garbage"), (more_of_nothing, "garbage"), (bad_key, "garbage")])
def test_a_list_that_is_no_whole_one_is_none(server, bad, reason):
    server.spoil = lambda request: request.is_list and (bad(request) or True)
    with follow(server) as me:
        me.wait_error(reason, seconds=60)
        assert not me.snapshots
        server.spoil = None
        me.wait_ends("default/pay", *ENDS, seconds=30)


@pytest.mark.parametrize("line", [b"garbage\n", b"{}\n", b'{"result":{"header":{}}}\n', b"[" * 100000 + b"\n"])
def test_a_line_that_is_none_leads_to_a_list(server, line):
    def watch(request):
        if not request.is_watch or server.watches > 1:
            return False
        request.begin()
        request.write({"result": server.header(created=True)})
        request.write(line)
        time.sleep(20)
        return True
    server.spoil = watch
    with follow(server) as me:
        me.wait_error("garbage") if b"header" not in line else until(lambda: server.lists == 2)
        server.put("pay/3", "10.0.0.3:80")
        me.wait_ends("default/pay", *ENDS, "10.0.0.3:80")
        assert server.lists == 2


def test_a_line_without_end_is_given_up(server):
    def watch(request):
        if not request.is_watch or server.watches > 1:
            return False
        request.begin()
        request.write({"result": server.header(created=True)})
        for _ in range(64):
            request.write(b" " * (1 << 20))
        return True
    server.spoil = watch
    with follow(server, sanitized=False) as me:
        me.wait_error("garbage", seconds=30)
        assert me.memory() < 60
        server.put("pay/3", "10.0.0.3:80")
        me.wait_ends("default/pay", *ENDS, "10.0.0.3:80")


def test_one_byte_a_second_ends_in_time(server):
    def drip(request):
        if not request.is_list:
            return False
        request.begin()
        for _ in range(90):
            request.write(b" ")
            time.sleep(1)
        return True
    server.spoil = drip
    with follow(server) as me:
        began = time.monotonic()
        me.wait_error("timed_out", seconds=60)
        assert 25 < time.monotonic() - began < 40


def test_a_watch_of_one_byte_at_a_time_is_understood(server):
    def watch(request):
        if not request.is_watch:
            return False
        request.begin()
        text = b"".join(json.dumps(one).encode() + b"\n" for one in (
            {"result": server.header(created=True)},
            {"result": {"header": {**server.header()["header"], "revision": "4"}, "events": [
                {"kv": {"key": encode("services/pay/3"), "mod_revision": "4", "value": encode('{"Addr":"10.0.0.3:80"}')}}]}}))
        for byte in text:
            request.write(bytes([byte]))
        time.sleep(20)
        return True
    server.spoil = watch
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS, "10.0.0.3:80")
        assert server.lists == 1


def test_pages_go_on_behind_the_last_key_at_one_revision(server):
    for n in range(2500):
        server.put(f"many/{n}", f"10.1.{n >> 8}.{n & 255}:80")
    with follow(server, quiet=1) as me:
        me.wait(lambda _: me.snapshots, seconds=20)
        assert me.snapshots[0]["endpoints"] == 2502
        asked = server.asked("/v3/kv/range", False)
        assert len(asked) == 3 and "revision" not in asked[0]
        assert {one["revision"] for one in asked[1:]} == {str(server.revision)}


def test_pages_that_are_too_large_become_smaller(server):
    large = 9 << 20

    def pages(request):
        if not request.is_list or int(request.asked["limit"]) <= 2:
            return False
        request.send(200, b'{"kvs":[' + b" " * (large * 8) + b"]}")
        return True
    server.spoil = pages
    with follow(server) as me:
        me.wait_ends("default/pay", *ENDS, seconds=40)
        assert not errors(me)


def test_a_list_whose_revision_is_forgotten_between_pages_begins_anew(server):
    for n in range(1500):
        server.put(f"many/{n}", f"10.1.{n >> 8}.{n & 255}:80")
    server.spoil = lambda request: request.is_list and server.lists == 2 and (request.send(
        400, {"code": 11, "message": "etcdserver: mvcc: required revision has been compacted"}) or True)
    with follow(server, quiet=1) as me:
        me.wait(lambda _: me.snapshots, seconds=20)
        assert me.snapshots[0]["endpoints"] == 1502 and not errors(me)
        assert server.lists == 4


@pytest.mark.parametrize("address", ["unix:///x", "http://a:b@127.0.0.1:1", "127.0.0.1:2379", "http://"])
def test_an_address_that_is_none_is_refused(server, address):
    with follow(server) as me, Follow("etcd", address=address) as other:
        assert "address" in other.wait(lambda _: other.statuses)[0]["text"]
        me.wait_ends("default/pay", *ENDS)


# --- a second look ---

def looked(server):
    return [one for one in server.asked("/v3/kv/range", False) if is_look(one)]


def emptied(server, me):
    """The only service's keys are gone, and that was said."""
    me.wait_ends("default/pay", *ENDS)
    until(lambda: server.open)
    for number in range(len(ENDS)):
        server.delete(f"pay/{number}")
    me.wait(lambda _: "default/pay" not in me.services)


def test_a_second_look_reads_the_keys_of_one_service_and_says_again_what_is_so(server):
    server.put("Mail_Box/0", "10.0.0.3:80")  # as no label is written
    with follow(server) as me:
        emptied(server, me)
        assert me.look("default/pay")
        me.wait(lambda _: me.since_look() == ["remove default/pay"])
        assert [(one["key"], one["range_end"]) for one in looked(server)] == [(encode("services/pay/"), encode("services/pay0"))]
        assert not any(one.get("serializable") for one in looked(server))  # as the cluster agrees on it
        name = next(name for name in me.services)
        assert me.look(name)
        me.wait(lambda _: me.since_look() == [f"upsert {name}"])
        server.delete("Mail_Box/0")
        me.wait(lambda _: not me.services)
        assert me.look(name)
        me.wait(lambda _: me.since_look() == [f"remove {name}"])
        assert looked(server)[-1]["key"] == encode("services/Mail_Box/")
        assert (server.lists, server.watches) == (1, 1) and not errors(me)


@pytest.mark.parametrize("answer", [lambda it: it.send(500, b"{}"), lambda it: it.send(403, {"code": 7, "message": "denied"}),
                                    lambda it: it.send(404, b"?"), lambda it: it.send(200, b"no"), half, cut, gib, deep,
                                    other_json, more_of_nothing, bad_key])
def test_p84_a_second_look_that_fails_says_nothing(server, answer):
    spoiled = []

    def spoil(request):
        if not request.is_look or spoiled:
            return False
        spoiled.append(request)
        answer(request)
        return True
    with follow(server) as me:
        emptied(server, me)
        server.spoil = spoil
        assert me.look("default/pay")
        until(lambda: spoiled)
        until(lambda: me.look("default/pay"), 20)  # the first one is over, and said nothing
        me.wait(lambda _: me.since_look() == ["remove default/pay"])
        said = [line for line in me.lines if line["say"] in ("look", "remove")]
        assert [line["say"] for line in said[-2:]] == ["look", "remove"] and said[-3]["say"] == "look"
        assert not errors(me)


def test_p84_keys_that_are_there_at_a_second_look_are_listed_though_no_watch_tells(server):
    with follow(server) as me:
        emptied(server, me)
        server.put("pay/9", ENDS[0], told=False)
        assert me.look("default/pay")
        until(lambda: len(looked(server)) == 1)
        until(lambda: me.look("default/pay"))
        me.wait_ends("default/pay", ENDS[0])
        assert server.lists == 2


def test_p84_a_second_look_at_another_server_says_nothing(server):
    with follow(server) as me:
        emptied(server, me)
        server.cluster += 1
        assert me.look("default/pay")
        until(lambda: len(looked(server)) == 1)
        until(lambda: me.look())
        me.wait(lambda _: me.snapshots[1:])
        assert not any(line.startswith("remove") for line in me.since_look())


def test_a_look_at_everything_is_one_list(server):
    server.put("mail/0", "10.0.0.3:80")
    with follow(server) as me:
        emptied(server, me)
        assert me.look()
        me.wait(lambda _: me.since_look() == ["snapshot default/mail"])
        until(lambda: server.watches == 2)
        assert server.lists == 2
        until(lambda: me.look("default/pay"))  # whose name a list forgets: again everything
        me.wait(lambda _: me.since_look() == ["snapshot default/mail"])
