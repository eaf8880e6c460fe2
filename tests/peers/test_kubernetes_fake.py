# SPDX-License-Identifier: GPL-2.0-or-later
"""The Kubernetes source against an API server that misbehaves as no real one can be made to: what was believed stays, what
is gone goes, nothing is asked in a storm, and no answer can hurt."""
import json
import time

import pytest

from harness import fake_kubernetes as fake
from harness.fake_kubernetes import FakeKubernetes
from harness.follow import Follow, ends_of
from harness.life import eventually

ENDS = ["10.0.0.1:8080", "10.0.0.2:8080"]


@pytest.fixture
def server():
    with FakeKubernetes() as made:
        yield made


def fill(server):
    server.put_node("n1", zone="a")
    server.put_service("pay")
    server.put_slice("pay-1", "pay", ["10.0.0.1", "10.0.0.2"])


def follow(server, **more):
    return Follow("kubernetes", **{"address": server.url, **more})


def pace(server, kind, seconds=1.0):
    """Requests of that kind within so long."""
    before = len([one for one in server.requests if one.kind == kind])
    time.sleep(seconds)
    return len([one for one in server.requests if one.kind == kind]) - before


def test_lists_then_watches_and_says_what_changes(server):
    fill(server)
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS)
        assert len(me.snapshots) == 1 and me.snapshots[0]["n"] == 1
        server.wait_watched()
        server.put_slice("pay-2", "pay", ["10.0.0.3"])
        me.wait_ends("shop/pay", *ENDS, "10.0.0.3:8080")
        server.put_slice("pay-1", "pay", [])
        me.wait_ends("shop/pay", "10.0.0.3:8080")
        server.put_service("mail", address="10.96.0.11")
        me.wait(lambda _: "shop/mail" in me.services)
        server.delete("services", "pay")
        me.wait(lambda _: "shop/pay" not in me.services)
        assert len(me.snapshots) == 1


def test_pages_are_one_list():
    with FakeKubernetes(streaming=False, page=7) as server:
        fill(server)
        for n in range(40):
            server.put_service(f"s{n}", address=f"10.96.1.{n}")
            server.put_slice(f"s{n}-1", f"s{n}", [f"10.1.0.{n}"])
        with follow(server) as me:
            me.wait(lambda _: me.snapshots)
            assert me.snapshots[0]["n"] == 41 and me.snapshots[0]["endpoints"] == 42


def test_streamed_lists_are_used_where_offered_and_only_there(server):
    fill(server)
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS)
        assert not server.asked("services", "list") and all(one.initial for one in server.asked("services", "watch")[:1])
    for minor, streaming, first in (("31", True, "list"), ("34", False, "watch"), ("21+", True, "list")):
        with FakeKubernetes(minor=minor, streaming=streaming) as other:
            fill(other)
            with follow(other) as me:
                me.wait_ends("shop/pay", *ENDS)
                other.wait_watched()
                kinds = [one.verb for one in other.requests if one.kind == "services"]
                assert kinds == (["list", "watch"] if first == "list" else ["watch", "list", "watch"]), (minor, kinds)


def test_a_server_that_does_not_know_streams_but_takes_them(server):
    """A bookmark that does not say that the list is whole is of a server that ignored the question."""
    fill(server)
    told = {"type": "BOOKMARK", "object": {"kind": "Service", "metadata": {"resourceVersion": "101"}}}

    def ignores(_, connection):
        connection.head()
        connection.chunk(fake.json.dumps(told).encode() + b"\n")
        time.sleep(5)
    server.instead("services", "watch", ignores)
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS, seconds=4)
        assert server.asked("services", "list")


def test_the_version_of_slices_is_found_out(server):
    fill(server)
    server.versions = ["discovery.k8s.io/v1beta1"]
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS)
        server.wait_watched()
        # A new release of the server has another one: its watches end, and then it is not found any more.
        server.versions = ["discovery.k8s.io/v1"]
        server.cut()
        server.put_slice("pay-2", "pay", ["10.0.0.3"])
        me.wait_ends("shop/pay", *ENDS, "10.0.0.3:8080")
        assert [one["error"] for one in me.statuses].count("missing") <= 2


def test_p83_410_as_an_event_and_as_a_code(server):
    """What vanished meanwhile is gone, and nothing else."""
    fill(server)
    server.put_service("old", address="10.96.0.12")
    server.put_slice("old-1", "old", ["10.0.0.9"])
    with follow(server) as me:
        me.wait_ends("shop/old", "10.0.0.9:8080")
        server.wait_watched()
        for how in ("event", "code"):
            name = f"new-{how}"
            server.put_service(name, address=None)
            server.put_slice(f"{name}-1", name, ["10.0.0.8"])
            me.wait_ends(f"shop/{name}", "10.0.0.8:8080")
            server.delete("services", name, tell=False)
            server.delete("endpointslices", f"{name}-1", tell=False)
            lines = len(me.lines)
            if how == "event":
                for kind in ("services", "endpointslices"):
                    server.say(kind, {"type": "ERROR", "object": fake.GONE})
            else:
                for kind in ("services", "endpointslices"):
                    server.instead(kind, "watch", fake.status(410, fake.GONE))
                    server.end_watches(kind)
            me.wait(lambda _, name=name: f"shop/{name}" not in me.services)
            assert me.ends("shop/pay") == ENDS and me.ends("shop/old") == ["10.0.0.9:8080"]
            told = [line for line in me.lines[lines:] if line["say"] in ("upsert", "remove", "snapshot")]
            assert {line.get("name") or line["items"][0]["metadata"]["name"] for line in told} == {name}
            server.wait_watched()


def test_p83_a_continue_token_that_expired_begins_the_list_anew():
    with FakeKubernetes(streaming=False, page=3) as server:
        fill(server)
        for n in range(10):
            server.put_service(f"s{n}", address=f"10.96.1.{n}")
        server.instead("services", "list", server.answer, fake.status(410, fake.GONE))
        with follow(server) as me:
            me.wait(lambda _: me.snapshots)
            assert me.snapshots[0]["n"] == 11


def test_p84_a_server_without_its_data_says_so_as_a_whole_list(server):
    """A version of its future: the list is made anew. Whether an empty one is believed is for the guard, not here."""
    fill(server)
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS)
        server.wait_watched()
        server.forget()
        server.put_service("pay")
        server.put_slice("pay-1", "pay", ["10.0.0.7"])
        server.cut()
        me.wait_ends("shop/pay", "10.0.0.7:8080")


def test_p84_a_server_with_an_old_state_that_has_caught_up_is_found_out(server):
    """It got old data back and is beyond our version by now: a watch from there would go on as if nothing were amiss."""
    fill(server)
    server.put_slice("pay-2", "pay", ["10.0.0.3"])
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS, "10.0.0.3:8080")
        server.wait_watched()
        with server.changed:
            del server.objects["endpointslices"][("shop", "pay-2")]
            server.version += 500
            server.oldest = 0
        server.cut()
        me.wait_ends("shop/pay", *ENDS)
        assert [one.name for one in server.asked("endpointslices", "get")] == ["pay-2"]
        # One that only was away is not asked for all it has.
        server.wait_watched()
        lists = len([one for one in server.requests if one.verb == "list" or one.initial])
        server.put_slice("pay-3", "pay", ["10.0.0.4"])
        me.wait_ends("shop/pay", *ENDS, "10.0.0.4:8080")
        server.cut()
        server.put_slice("pay-3", "pay", ["10.0.0.5"])
        me.wait_ends("shop/pay", *ENDS, "10.0.0.5:8080")
        server.wait_watched()
        initial = [one.kind for one in server.requests if one.verb == "list" or one.initial][lists:]
        assert set(initial) <= {"configmaps"}  # there are none, which is soon told


@pytest.mark.parametrize("streaming", (True, False))
@pytest.mark.parametrize("action, error", (
    ("half", "unreachable"), (fake.drop, "unreachable"), (fake.status(500), "failed"), (fake.status(503), "overloaded"),
    (fake.status(429, Retry_After=1), "overloaded"), (fake.raw(b"<html>proxy</html>"), "garbage"),
    (fake.raw(b'{"kind":"PodList","metadata":{"resourceVersion":"5"},"items":[]}'), "garbage"),
    (fake.raw(b'{"kind":"ServiceList","items":[]}'), "garbage"), (fake.huge, "garbage"), (fake.bomb, "garbage"),
    (fake.deep, "garbage")), ids=lambda one: getattr(one, "__qualname__", one).split(".")[0])
def test_p84_no_wrong_answer_takes_anything_away(streaming, action, error):
    with FakeKubernetes(streaming=streaming) as server:
        fill(server)
        with follow(server) as me:
            me.wait_ends("shop/pay", *ENDS)
            server.wait_watched()
            verb = "watch" if streaming else "list"
            wrong = fake.half(server) if action == "half" else action
            server.instead("services", verb, wrong)
            server.say("services", {"type": "ERROR", "object": fake.GONE})
            me.wait(lambda _: not server.script[("services", verb)], 20)
            if not (streaming and error == "garbage"):
                assert me.wait_error(error, 20)["text"]
            server.put_slice("pay-2", "pay", ["10.0.0.3"])
            server.put_service("later", address="10.96.0.20")
            me.wait(lambda _: "shop/later" in me.services, 20)
            me.wait_ends("shop/pay", *ENDS, "10.0.0.3:8080")
            assert not any(line["say"] == "remove" for line in me.lines)
            assert eventually(lambda: me.ask()["error"] == "ok")


def test_a_trickle_ends(server):
    """One byte a second is no answer, however long it goes on; what was known stays."""
    fill(server)
    server.streaming = False
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS)
        server.wait_watched()
        server.instead("services", "list", fake.trickle(60))
        server.say("services", {"type": "ERROR", "object": fake.GONE})
        began = time.monotonic()
        me.wait_error("timed_out", 40)
        assert 25 < time.monotonic() - began < 35
        assert me.ends("shop/pay") == ENDS


def test_a_watch_that_trickles_is_no_contact(server):
    """Bytes that never come to an event: the watch ends in its time, and no word of contact comes of it."""
    fill(server)

    def trickles(request, connection):
        connection.head()
        with fake.contextlib.suppress(OSError):
            for _ in range(60):
                connection.chunk(b" ")
                time.sleep(0.5)
    server.instead("endpointslices", "watch", server.answer, trickles, trickles)
    with follow(server, staleAfter="4s") as me:
        me.wait_ends("shop/pay", *ENDS)
        server.wait_watched("endpointslices")
        server.end_watches("endpointslices")
        assert me.wait_error("timed_out", 30)
        server.put_slice("pay-2", "pay", ["10.0.0.3"])
        me.wait_ends("shop/pay", *ENDS, "10.0.0.3:8080", seconds=40)


def move_event(server, name, ends, version):
    return fake.json.dumps({"type": "MODIFIED", "object": {
        "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [{"addresses": [one]} for one in ends],
        "ports": [{"name": "http", "port": 8080}], "metadata": {
            "name": name, "namespace": "shop", "uid": name, "resourceVersion": str(version),
            "labels": {"kubernetes.io/service-name": "pay"}}}}).encode() + b"\n"


def test_p82_a_slice_move_is_never_a_moment_without_the_backend(server):
    """Gone here and there again there, in either order, together or with a delay between; never told as gone."""
    fill(server)
    server.put_slice("pay-2", "pay", ["10.0.0.3"])
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS, "10.0.0.3:8080")
        server.wait_watched()
        late = 0
        for n in range(60):
            old, new = (move_event(server, f"pay-{2 + n % 2}", [], 1000 + 2 * n),
                        move_event(server, f"pay-{3 - n % 2}", ["10.0.0.3"], 1001 + 2 * n))
            halves = (old, new) if n % 4 < 2 else (new, old)
            began = time.monotonic()
            if n % 3:
                server.say("endpointslices", halves[0])
                time.sleep(0.001 * (n % 4))
                server.say("endpointslices", halves[1])
            else:
                server.say("endpointslices", b"".join(halves))
            late += time.monotonic() - began > 0.011  # this machine was elsewhere: the halves are two changes
        server.put_slice("done", "pay", ["10.0.0.4"])
        me.wait(lambda _: "10.0.0.4:8080" in ends_of(me.services["shop/pay"]))
        away = [line for line in me.lines if line["say"] == "upsert" and "10.0.0.3:8080" not in ends_of(line["items"][0])]
        assert len(away) <= late, away
        for name in ("pay-2", "pay-3"):
            server.say("endpointslices", move_event(server, name, [], 2000))
        me.wait_ends("shop/pay", *ENDS, "10.0.0.4:8080")


def test_p82_duplicates_in_several_slices_are_one(server):
    fill(server)
    server.put_slice("pay-2", "pay", ["10.0.0.2", "10.0.0.3"])
    server.put_slice("pay-3", "pay", ["10.0.0.2"])
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS, "10.0.0.3:8080")
        server.wait_watched()
        server.delete("endpointslices", "pay-2")
        me.wait_ends("shop/pay", *ENDS)
        server.delete("endpointslices", "pay-3")
        server.put_service("mark", address="10.96.0.50")
        me.wait(lambda _: "shop/mark" in me.services)
        assert me.ends("shop/pay") == ENDS


def test_forbidden_names_the_verb_and_the_resource(server):
    """The one that may not be read is named; that the others answer does not hide it."""
    fill(server)
    refused = {"kind": "Status", "code": 403, "message": 'endpointslices.discovery.k8s.io is forbidden: User "agent" '
               'cannot list resource "endpointslices"'}
    server.instead("endpointslices", "watch", *[fake.status(403, refused)] * 6)
    with follow(server) as me:
        said = me.wait_error("forbidden")
        assert "403 on watch endpointslices" in said["text"] and 'User "agent"' in said["text"]
        assert "--verb=get,list,watch --resource=endpointslices" in said["hint"]
        assert not me.snapshots
        server.put_node("n2")  # the others go on
        time.sleep(0.3)
        assert me.ask()["error"] == "forbidden"
        me.wait_ends("shop/pay", *ENDS, seconds=15)
        assert eventually(lambda: me.ask()["error"] == "ok", seconds=15)
    server.instead("nodes", "watch", fake.status(403))
    server.instead("configmaps", "watch", fake.status(403))
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS)
        assert me.ask()["error"] == "ok"
        assert me.statuses[-1]["skipped"] == 2
    server.instead("services", "watch", fake.status(403))
    with follow(server, remoteNamespace="shop") as me:
        assert "create role sinew-services --namespace=shop" in me.wait_error("forbidden")["hint"]
        me.wait_ends("shop/pay", *ENDS)
        assert server.requests[-1].path.startswith("/api/v1/namespaces/shop/") or "/namespaces/shop/" in [
            one.path for one in server.requests if one.kind == "endpointslices"][-1]


def test_an_idle_server_is_contact_enough_and_asked_seldom(server):
    """The watch of slices ends and begins again twice within the time after which a registry is stale; the others stay."""
    fill(server)
    with follow(server, staleAfter="10s") as me:
        me.wait_ends("shop/pay", *ENDS)
        server.wait_watched()
        time.sleep(6)
        assert 1 <= len(server.asked("endpointslices", "watch")) - 1 <= 2
        assert len(server.asked("services", "watch")) == 1
        assert not [one for one in me.statuses if one["error"] != "ok"]


def test_an_idle_server_is_contact_enough_however_soon_it_would_be_stale(server):
    fill(server)
    with follow(server, staleAfter="2s") as me:
        me.wait_ends("shop/pay", *ENDS)
        server.wait_watched()
        before = len(server.asked("endpointslices", "watch"))
        assert eventually(lambda: len(server.asked("endpointslices", "watch")) > before + 1, seconds=4)


def test_no_storm_against_a_server_that_ends_or_refuses_everything(server):
    fill(server)

    def ends(_, connection):
        connection.head()
        connection.send(b"0\r\n\r\n")
    for kind in ("services", "endpointslices", "nodes", "configmaps"):
        server.instead(kind, "watch", server.answer, *[ends] * 400)
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS)
        server.wait_watched()
        for kind in ("services", "endpointslices"):
            server.end_watches(kind)
        time.sleep(1.2)  # a probe takes a second
        assert pace(server, "services", 2) <= 8
    with FakeKubernetes() as other:
        other.instead("discovery", "get", *[fake.status(500)] * 400)
        with follow(other) as me:
            me.wait_error("failed")
            assert pace(other, "discovery", 2) <= 8


@pytest.mark.parametrize("how", ["code", "event"])
def test_p83_no_storm_of_lists_against_a_server_whose_watches_are_always_gone(how):
    with FakeKubernetes(streaming=False) as server:
        fill(server)
        line = (json.dumps({"type": "ERROR", "object": fake.GONE}) + "\n").encode()

        def gone(_, connection):
            connection.answer(fake.GONE, 410) if how == "code" else connection.answer(line)
        server.instead("services", "watch", *[gone] * 400)
        with follow(server) as me:
            me.wait_ends("shop/pay", *ENDS)
            time.sleep(2)  # the first tries are close to each other
            assert pace(server, "services", 2) <= 8


def test_p83_a_version_that_the_server_has_not_reached_as_a_code(server):
    """Everything that is known is there, and the version of a bookmark is not: only a new list leads out of that."""
    fill(server)
    ahead = {"kind": "Status", "code": 504, "reason": "Timeout", "message": "Too large resource version: 9, current: 8",
             "details": {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}}
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS)
        server.wait_watched()
        before = len(server.asked("services", "list")) + len([one for one in server.requests if one.initial])
        server.instead("services", "watch", *[fake.status(504, ahead)] * 3)
        server.end_watches("services")
        me.wait(lambda _: len(server.asked("services", "list")) + len(
            [one for one in server.requests if one.initial]) > before)


def test_what_is_dead_without_a_word_is_noticed(server):
    """A server that stops reading and writing, with its connections open: told as an error, and resumed elsewhere."""
    fill(server)
    with follow(server, staleAfter="4s") as me:
        me.wait_ends("shop/pay", *ENDS)
        server.wait_watched()

        def silent(_, connection):
            time.sleep(60)
        for kind in ("endpointslices", "services"):
            server.instead(kind, "watch", silent)
        server.end_watches("endpointslices")
        server.put_slice("pay-2", "pay", ["10.0.0.3"])
        assert me.wait_error("timed_out", 30)
        me.wait_ends("shop/pay", *ENDS, "10.0.0.3:8080", seconds=30)


def test_zones_come_from_slices_nodes_and_hints(server):
    server.put_node("n1", zone="a")
    server.put_service("pay")
    ends = [{"addresses": ["10.0.0.1"], "nodeName": "n1"}, {"addresses": ["10.0.0.2"], "zone": "b"}]
    server.put_slice("pay-1", "pay", ends)

    def zones(me):
        return [end.get("zone") for end in me.services.get("shop/pay", {"spec": {}})["spec"].get("endpoints", [])]
    with follow(server) as me:
        me.wait(lambda _: zones(me) == ["a", "b"])
        server.wait_watched()
        server.put_node("n1", zone="c")
        me.wait(lambda _: zones(me) == ["c", "b"])
        hinted = [{**end, "hints": {"forZones": [{"name": zone}]}} for end, zone in zip(ends, "xy")]
        server.put_slice("pay-1", "pay", hinted)
        me.wait(lambda _: zones(me) == ["x", "y"])
        server.put_slice("pay-1", "pay", [hinted[0], ends[1]])  # hints hold together or not at all
        me.wait(lambda _: zones(me) == ["c", "b"])


def test_a_node_takes_its_zone_along_when_it_goes(server):
    fill(server)
    server.put_slice("pay-1", "pay", [{"addresses": ["10.0.0.1"], "nodeName": "n1"},
                                      {"addresses": ["10.0.0.2"], "nodeName": "n1", "zone": "own"}])

    def zones(me):
        return [end.get("zone") for end in me.services.get("shop/pay", {"spec": {}})["spec"].get("endpoints", [])]
    with follow(server) as me:
        me.wait(lambda _: zones(me) == ["a", "own"])
        server.wait_watched()
        server.delete("nodes", "n1")
        me.wait(lambda _: zones(me) == [None, "own"])
        server.put_node("n1", zone="c")
        me.wait(lambda _: zones(me) == ["c", "own"])
        server.put_node("n1")  # without the label
        me.wait(lambda _: zones(me) == [None, "own"])
        server.put_node("n1", zone="d")
        me.wait(lambda _: zones(me) == ["d", "own"])
        server.delete("nodes", "n1", tell=False)
        server.compact()
        server.end_watches("nodes")
        me.wait(lambda _: zones(me) == [None, "own"])


GENTLE = "apiVersion: sinew/v1\nkind: TrafficPolicy\nmetadata: {{name: {}}}\nspec: {{failover: {{attempts: {}}}}}\n"


def test_policies_come_from_labelled_config_maps(server):
    fill(server)
    server.put("configmaps", {"metadata": {"name": "unlabelled", "namespace": "shop"}, "data": {"a": "x: ["}})

    def put(name, data, namespace="shop"):
        server.put("configmaps", {"data": data, "metadata": {
            "name": name, "namespace": namespace, "labels": {"sinew.dev/policy": ""}}})

    def attempts(me, name="gentle"):
        return me.policies[f"shop/{name}"]["spec"]["failover"]["attempts"] if f"shop/{name}" in me.policies else None
    put("policies", {"gentle.yaml": GENTLE.format("gentle", 1)})
    with follow(server) as me:
        me.wait(lambda _: attempts(me) == 1)
        assert len(me.snapshots) == 1 and me.snapshots[0]["n"] == 2
        server.wait_watched("configmaps", "services", "endpointslices")
        put("policies", {"gentle.yaml": GENTLE.format("gentle", 2), "other.yaml": GENTLE.format("other", 0)})
        me.wait(lambda _: attempts(me) == 2 and attempts(me, "other") == 0)
        # What cannot be read changes nothing, and is told where.
        put("policies", {"gentle.yaml": "apiVersion: sinew/v1\nkind: TrafficPolicy\nmetadata: {name: gentle}\nspec: {x: 1}",
                         "other.yaml": GENTLE.format("other", 1)})
        me.wait(lambda _: attempts(me, "other") == 1)
        assert attempts(me) == 2
        assert "gentle.yaml:4" in me.ask()["skippedText"]
        # A namespace speaks for itself alone; a service in there is none.
        put("policies", {"other.yaml": GENTLE.format("other", 2)}, namespace="mail")
        put("second", {"s.yaml": GENTLE.format("gentle", 0).replace("{name:", "{namespace: shop, name:")}, "mail")
        me.wait(lambda _: "mail/other" in me.policies)
        assert attempts(me) == 2 and attempts(me, "other") == 1
        server.put_service("pay", labels={"sinew.dev/policy": "gentle"})
        me.wait(lambda _: me.services["shop/pay"]["spec"].get("policy") == "gentle")
        server.delete("configmaps", "policies")
        me.wait(lambda _: not attempts(me) and "shop/other" not in me.policies)
        assert "mail/other" in me.policies


def test_a_config_map_that_had_no_room_is_read_once_others_have_gone(server):
    fill(server)
    padding = "# " + "x" * 900000 + "\n"

    def put(name, data):
        server.put("configmaps", {"data": data, "metadata": {
            "name": name, "namespace": "shop", "labels": {"sinew.dev/policy": ""}}})

    def listed():
        return sum(one.initial for one in server.asked("configmaps", "watch")) + len(server.asked("configmaps", "list"))
    for name in ("one", "two", "three"):  # 2 MiB have room for two of them
        put(name, {name + ".yaml": padding + GENTLE.format(name, 1)})
    with follow(server) as me:
        me.wait(lambda _: len(me.policies) == 2)
        server.wait_watched("configmaps", "services", "endpointslices")
        before = listed()
        there = sorted(name.removeprefix("shop/") for name in me.policies)
        late, = {"one", "two", "three"} - set(there)
        put(there[1], {there[1] + ".yaml": padding + GENTLE.format(there[1], 2)})  # frees nothing
        me.wait(lambda _: me.policies["shop/" + there[1]]["spec"]["failover"]["attempts"] == 2)
        assert listed() == before and "shop/" + late not in me.policies
        server.delete("configmaps", there[0])
        me.wait(lambda _: sorted(me.policies) == sorted(["shop/" + there[1], "shop/" + late]))
        assert listed() == before + 1


def test_policies_are_there_whichever_services_are_selected(server):
    fill(server)
    server.put("configmaps", {"data": {"gentle.yaml": GENTLE.format("gentle", 1)}, "metadata": {
        "name": "policies", "namespace": "shop", "labels": {"sinew.dev/policy": ""}}})
    with follow(server, select="pay") as me:
        me.wait_ends("shop/pay", *ENDS)
        me.wait(lambda _: "shop/gentle" in me.policies)


@pytest.mark.parametrize("kubelet", (False, True))
def test_pods_beside_services_hold_up_nobody_and_are_given_back(server, kubelet):
    """What is kept of them at the end is freed: a sanitizer looks. More of them: test_register_pods_fake.py."""
    fill(server)
    for n in range(5):
        server.put_pod(f"p{n}", app="pay")
    server.instead("pods", "list", lambda request, connection: connection.answer({}, 403))
    server.instead("pods", "watch", lambda request, connection: connection.answer({}, 500))
    more = {"kubelet": server.url, "interval": "100ms"} if kubelet else {}
    with follow(server, pods=1, env={"NODE_NAME": "n1"}, **more) as me:
        me.wait_ends("shop/pay", *ENDS)
        if kubelet:
            server.wait_asked("pods", "list", 3)
        else:
            server.wait_watched("pods")
            server.put_pod("p0", app="mail")
            server.delete("pods", "p1")
        server.cut()
        server.put_slice("pay-2", "pay", ["10.0.0.3"])
        me.wait_ends("shop/pay", *ENDS, "10.0.0.3:8080")
        assert len(me.snapshots) == 1


def test_client_ip_affinity_and_local_traffic_become_policies(server):
    """One for all services of a namespace that say the same; gone with the last of them. A label that names one counts more."""
    fill(server)
    server.put_service("cart", address="10.96.0.11", sessionAffinity="ClientIP",
                       sessionAffinityConfig={"clientIP": {"timeoutSeconds": 600}})
    server.put_service("mail", address="10.96.0.12", sessionAffinity="ClientIP", internalTrafficPolicy="Local")
    server.put_service("logs", address="10.96.0.13", internalTrafficPolicy="Local")
    server.put_service("mine", address="10.96.0.14", sessionAffinity="ClientIP", labels={"sinew.dev/policy": "own"})

    def policy(me, name):
        return me.services[f"shop/{name}"]["spec"].get("policy") if f"shop/{name}" in me.services else None
    with follow(server) as me:
        me.wait(lambda _: policy(me, "mine") == "own")
        assert policy(me, "cart") == "kubernetes-client-ip-600s"
        assert policy(me, "mail") == "kubernetes-client-ip-10800s-local"
        assert policy(me, "logs") == "kubernetes-local"
        assert policy(me, "pay") in (None, "default")
        told = {name: one["spec"]["loadBalancer"] for name, one in me.policies.items()}
        assert told["shop/kubernetes-client-ip-600s"]["affinity"] == {"by": "address", "timeout": "10m"}
        assert told["shop/kubernetes-client-ip-10800s-local"]["affinity"]["by"] == "address"
        assert told["shop/kubernetes-client-ip-10800s-local"]["locality"]["prefer"] == "node"
        assert told["shop/kubernetes-local"]["locality"]["prefer"] == "node" and len(told) == 3
        server.wait_watched("configmaps", "services", "endpointslices")
        server.put_service("cart", address="10.96.0.11", sessionAffinity="None")
        me.wait(lambda _: policy(me, "cart") in (None, "default") and "shop/kubernetes-client-ip-600s" not in me.policies)
        server.put_service("pay", internalTrafficPolicy="Local")
        me.wait(lambda _: policy(me, "pay") == "kubernetes-local")
        server.delete("services", "logs")
        me.wait(lambda _: policy(me, "logs") is None)
        assert "shop/kubernetes-local" in me.policies
        server.delete("services", "pay")
        me.wait(lambda _: "shop/kubernetes-local" not in me.policies)


def test_external_addresses_and_node_ports_only_where_asked_for(server):
    """By names of their own, at the addresses of outside and of this node; gone with what they came of."""
    server.put("nodes", {"metadata": {"name": "me"}, "status": {"addresses": [
        {"type": "InternalIP", "address": "192.168.0.1"}, {"type": "Hostname", "address": "me"},
        {"type": "InternalIP", "address": "fd00::1"}]}})
    port = {"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}
    server.put_service("pay", ports=[port], externalIPs=["203.0.113.1", "203.0.113.2", "2001:db8::1", "203.0.113.1"])
    server.put_slice("pay-1", "pay", ["10.0.0.1", "10.0.0.2"])

    def where(me):
        return {name: (one["spec"].get("address") or one["spec"].get("addresses"), one["spec"]["ports"][0]["port"],
                       len(ends_of(one))) for name, one in me.services.items()}
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS)
        assert list(me.services) == ["shop/pay"]
    all_of = {"shop/pay": ("10.96.0.10", 80, 2), "shop/pay-nodeport": (["192.168.0.1", "fd00::1"], 30080, 2),
              "shop/pay-external": (["203.0.113.1", "2001:db8::1"], 80, 2),
              "shop/pay-external-2": ("203.0.113.2", 80, 2)}
    with follow(server, external=1, env={"NODE_NAME": "me"}) as me:
        me.wait(lambda _: where(me) == all_of)
        server.wait_watched()
        server.put_slice("pay-1", "pay", ["10.0.0.1"])
        me.wait(lambda _: where(me) == {name: (*one[:2], 1) for name, one in all_of.items()})
        # A Service that has such a name itself is the one that has it.
        server.put_service("pay-external-2", address="10.96.0.77")
        me.wait(lambda _: where(me)["shop/pay-external-2"][0] == "10.96.0.77")
        server.put_service("pay", ports=[{**port, "nodePort": None}], externalIPs=["203.0.113.9"])
        me.wait(lambda _: where(me) == {"shop/pay": ("10.96.0.10", 80, 1), "shop/pay-external": ("203.0.113.9", 80, 1),
                                        "shop/pay-external-2": ("10.96.0.77", 80, 0)})
        server.delete("services", "pay")
        me.wait(lambda _: list(me.services) == ["shop/pay-external-2"])
        # A balancer's addresses are in the status; one that ends connections itself is left alone.
        server.put("services", {"metadata": {"name": "lb", "namespace": "shop"}, "spec": {
            "clusterIP": "10.96.0.12", "ports": [port]}, "status": {"loadBalancer": {"ingress": [
                {"ip": "198.51.100.1", "ipMode": "VIP"}, {"ip": "198.51.100.2", "ipMode": "Proxy"}, {"hostname": "x"}]}}})
        me.wait(lambda _: "shop/lb-external" in me.services and where(me)["shop/lb-external"][0] == "198.51.100.1")
        assert "shop/lb-external-2" not in me.services
        server.delete("nodes", "me")
        me.wait(lambda _: "shop/lb-nodeport" not in me.services)


def test_a_redirect_gets_neither_a_request_nor_the_token(server, tmp_path):
    fill(server)
    token = tmp_path / "token"
    token.write_text("a-token")
    with FakeKubernetes() as other:
        fill(other)

        def away(request, connection):
            connection.answer({}, 302, Location=f"{other.url}{request.path}")
        server.instead("services", "watch", *[away] * 3)
        with follow(server, tokenFile=token) as me:
            assert "302" in me.wait_error("garbage")["text"]
            me.wait_ends("shop/pay", *ENDS)
            assert not other.requests
            assert {one.headers.get("authorization") for one in server.requests} == {"Bearer a-token"}
            assert "a-token" not in fake.json.dumps(me.lines) + me.said()


def test_no_token_is_shown_to_another_host_without_tls(server, tmp_path):
    """0.0.0.0 leads here, but is no name of this host."""
    fill(server)
    token = tmp_path / "token"
    token.write_text("a-token")
    with follow(server, tokenFile=token, address=server.url.replace("127.0.0.1", "0.0.0.0")) as me:
        me.wait_ends("shop/pay", *ENDS)
        assert server.requests and not [one for one in server.requests if "authorization" in one.headers]
        server.instead("services", "watch", *[lambda request, connection: connection.answer({}, 401)] * 3)
        server.end_watches("services")
        assert "https://" in me.wait_error("unauthorized")["hint"]
    with follow(server, tokenFile=token, address=server.url.replace("127.0.0.1", "localhost")) as me:
        me.wait_ends("shop/pay", *ENDS)
        assert server.requests[-1].headers["authorization"] == "Bearer a-token"


def test_the_state_is_right_within_five_seconds_of_a_server_that_is_well_again(server):
    """It was away long enough for waits between tries to be as long as they become."""
    fill(server)
    with follow(server) as me:
        me.wait_ends("shop/pay", *ENDS)
        server.wait_watched()

        def refuse(_, connection):
            connection.close()
        server.answer, answer = refuse, server.answer
        server.cut()
        me.wait_error("unreachable")
        time.sleep(12)
        server.put_slice("pay-2", "pay", ["10.0.0.3"])
        server.put_service("new", address="10.96.0.30")
        server.answer = answer
        began = time.monotonic()
        me.wait_ends("shop/pay", *ENDS, "10.0.0.3:8080")
        me.wait(lambda _: "shop/new" in me.services)
        assert eventually(lambda: me.ask()["error"] == "ok", 5)
        print(f"right after {time.monotonic() - began:.1f} s")
        assert time.monotonic() - began <= 5


# --- a second look ---

def emptied(server, me):
    """The only service has no endpoints any more, and that was said."""
    fill(server)
    me.wait_ends("shop/pay", *ENDS)
    server.wait_watched()
    server.put_slice("pay-1", "pay", [])
    me.wait_ends("shop/pay")


def look_until(me, name, line):
    """What just changed may not be settled at the first look."""
    assert eventually(lambda: me.look(name) and eventually(lambda: me.since_look()[:1] == [line], 1), 15), me.since_look()


def test_a_second_look_asks_the_store_and_says_again_what_is_so(server):
    with follow(server) as me:
        emptied(server, me)
        assert me.look("shop/pay")
        me.wait(lambda _: me.since_look() == ["upsert shop/pay"])
        slices, services = server.asked("endpointslices", "look"), server.asked("services", "look")
        assert [one.query for one in slices] == [{"labelSelector": "kubernetes.io/service-name=pay"}]
        assert [one.query for one in services] == [{"fieldSelector": "metadata.name=pay"}]  # no version: out of the store
        server.delete("endpointslices", "pay-1")
        server.delete("services", "pay")
        me.wait(lambda _: "shop/pay" not in me.services)
        look_until(me, "shop/pay", "remove shop/pay")
        assert len(server.asked("services", "list")) + len(server.asked("services", "watch")) <= 2


@pytest.mark.parametrize("action", [fake.status(500), fake.status(403), fake.status(404), fake.raw(b"{}"), fake.raw(b"no"),
                                    fake.raw(b'{"kind":"EndpointSliceList","metadata":{},"items":[{"kind":1}]}'), fake.drop,
                                    fake.deep])
def test_p84_a_second_look_that_fails_says_nothing(server, action):
    with follow(server) as me:
        emptied(server, me)
        for kind in ("endpointslices", "services"):
            server.instead(kind, "look", action)
            assert me.look("shop/pay")
            server.wait_asked(kind, "look")
            assert eventually(me.look, 10)  # when that is over another one begins
            me.wait(lambda _: me.since_look())
            assert not any(line.startswith("upsert") for line in me.since_look())
        assert me.ask()["error"] == "ok"


@pytest.mark.parametrize("kind, items", [("endpointslices", []), ("services", [])])
def test_p84_an_empty_second_look_contradicts(server, kind, items):
    """The slice is there, empty: a server that does not have it does not say the same. Seen twice, all is listed anew."""
    answer = {"kind": f"{fake.KINDS[kind]}List", "metadata": {"resourceVersion": "1"}, "items": items}
    with follow(server) as me:
        emptied(server, me)
        lists = len(me.snapshots)
        server.instead(kind, "look", fake.status(200, answer), fake.status(200, answer))
        assert me.look("shop/pay")
        server.wait_asked(kind, "look")
        assert eventually(lambda: me.look("shop/pay"), 10)
        me.wait(lambda _: len(me.snapshots) > lists)  # of what the list has, which is what was said
        assert me.since_look() == ["snapshot shop/pay"]


def test_p84_endpoints_that_are_back_at_a_second_look_are_listed_though_no_watch_tells(server):
    with follow(server) as me:
        emptied(server, me)
        body = server.objects["endpointslices"]["shop", "pay-1"]
        server.version += 1
        server.objects["endpointslices"]["shop", "pay-1"] = {
            **body, "metadata": {**body["metadata"], "resourceVersion": str(server.version)},
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]}
        assert me.look("shop/pay")
        assert eventually(lambda: me.look("shop/pay"), 10)
        me.wait_ends("shop/pay", ENDS[0])


def test_a_look_at_everything_is_one_list_and_one_at_a_time(server):
    with follow(server) as me:
        emptied(server, me)
        server.put_service("mail", address="10.96.0.11")
        me.wait(lambda _: "shop/mail" in me.services)
        before = len(server.requests)
        assert me.look()
        assert not me.look() or me.snapshots[1:]
        me.wait(lambda _: me.snapshots[1:])
        assert sorted(me.services) == ["shop/mail", "shop/pay"]
        assert len(server.requests) - before <= 2 * 4  # each kind: a list, a watch


def test_an_external_part_is_looked_at_by_its_service(server):
    with follow(server, external=1) as me:
        server.put_service("pay", externalIPs=["198.51.100.7"])
        server.put_slice("pay-1", "pay", ["10.0.0.1"])
        me.wait(lambda _: "shop/pay-external" in me.services)
        server.wait_watched()
        server.put_slice("pay-1", "pay", [])
        me.wait_ends("shop/pay-external")
        assert me.look("shop/pay-external")
        me.wait(lambda _: "upsert shop/pay-external" in me.since_look())
        server.delete("services", "pay")
        me.wait(lambda _: "shop/pay-external" not in me.services)
        look_until(me, "shop/pay-external", "remove shop/pay-external")
        server.delete("endpointslices", "pay-1")
        look_until(me, "shop/pay-external", "snapshot")  # of whose it was nothing is known: everything
