# SPDX-License-Identifier: GPL-2.0-or-later
"""A real etcd, followed: endpoints as gRPC naming lays them out, by etcdctl and by leases; killed, restarted, compacted,
brought back from an old copy, with users and with certificates.

Pitfalls: P-83.
"""
import json
import os
import signal
import statistics
import time

import pytest

from harness.agent import Agent
from harness.fixtures import BUILD
from harness.follow import Follow, ends_of
from harness.peer_etcd import Etcd
from harness.service import ask_tcp_often, serve_tcp


def value(address, **metadata):
    return json.dumps({"Op": 0, "Addr": address, "Metadata": metadata or None}, separators=(",", ":"))


@pytest.fixture(scope="module")
def shared(sandbox):
    server = Etcd(sandbox)
    yield server
    server.stop()


@pytest.fixture
def etcd(shared):
    shared.delete_prefix("services/")
    return shared


def follow(server, **more):
    return Follow("etcd", address=server.url, **more)


def put(server, name, *ends):
    for end in ends:
        server.put(f"services/{name}/{end}", value(end))


def errors(me):
    return [one for one in me.statuses if one.get("error") not in (None, "ok")]


def test_what_etcdctl_puts_is_a_service(etcd):
    etcd.run("put", "services/pay/a", value("10.0.0.1:8080", weight=3, zone="a"))
    with follow(etcd) as me:
        me.wait_ends("default/pay", "10.0.0.1:8080")
        one = me.services["default/pay"]
        assert one["spec"]["ports"][0]["port"] == 0  # any: each leads to the endpoint's own
        assert one["spec"]["endpoints"][0]["weight"] == 3 and one["spec"]["endpoints"][0]["zone"] == "a"
        etcd.run("put", "services/pay/b", value("[fd00::1]:8080"))
        me.wait_ends("default/pay", "10.0.0.1:8080", "fd00::1:8080")
        etcd.run("del", "services/pay/a")
        me.wait_ends("default/pay", "fd00::1:8080")
        etcd.run("del", "--prefix", "services/pay/")
        me.wait(lambda _: "default/pay" not in me.services)
        etcd.run("put", "other/pay/a", value("10.0.0.9:80"))
        etcd.run("put", "services2/pay/a", value("10.0.0.9:80"))
        etcd.run("put", "services/My_Shop.v2/a", value("10.0.0.2:80", weight=0))
        me.wait(lambda _: "default/my-shop-v2" in me.services)
        assert list(me.services) == ["default/my-shop-v2"] and me.ends("default/my-shop-v2") == []
        assert len(me.snapshots) == 1 and not errors(me)


def measure(etcd, me, turn):
    """Milliseconds from each of 300 puts to its being seen, sorted."""
    took = []
    for n in range(300):
        end, began = f"10.{turn}.0.{n % 200 + 1}:{8000 + n}", time.monotonic()
        put(etcd, "pay", end)
        me.wait(lambda _, end=end: "default/pay" in me.services and end in ends_of(me.services["default/pay"]))
        took.append((time.monotonic() - began) * 1000)
    took.sort()
    print(f"put to seen: median {statistics.median(took):.1f} ms, p99 {took[-4]:.1f} ms, most {took[-1]:.1f} ms")
    return took


def test_a_change_is_seen_within_50_ms(etcd):
    """In one of three turns: other programs may be on this machine."""
    with follow(etcd, sanitized=False) as me:
        me.wait(lambda _: me.snapshots)
        assert any(measure(etcd, me, turn)[-4] <= 50 for turn in range(1, 4))


def test_a_key_goes_with_its_lease(etcd):
    lease = etcd.grant(1)
    etcd.put("services/pay/a", value("10.0.0.1:80"), lease)
    etcd.put("services/pay/b", value("10.0.0.2:80"))
    with follow(etcd) as me:
        me.wait_ends("default/pay", "10.0.0.1:80", "10.0.0.2:80")
        me.wait_ends("default/pay", "10.0.0.2:80", seconds=10)
        lease = etcd.grant(60)
        etcd.put("services/pay/a", value("10.0.0.1:80"), lease)
        me.wait_ends("default/pay", "10.0.0.1:80", "10.0.0.2:80")
        etcd.revoke(lease)
        me.wait_ends("default/pay", "10.0.0.2:80")


def test_what_is_no_endpoint_is_left_out_and_told(etcd):
    for key, text in (("pay/a", "garbage"), ("pay/b", "{}"), ("pay/c", value("host.example:80")), ("pay/d", value("0.0.0.0:1")),
                      ("pay", value("10.0.0.9:1")), ("pay/", value("10.0.0.9:1")), ("\u00e4/a", value("10.0.0.9:1")),
                      ("pay/e", '{"Op":1,"Addr":"10.0.0.9:80"}'), ("pay/\0f", value("10.0.0.9:1")), ("only/a", "garbage")):
        etcd.put(f"services/{key}", text)
    put(etcd, "pay", "10.0.0.1:80")
    with follow(etcd) as me:
        me.wait_ends("default/pay", "10.0.0.1:80")
        assert list(me.services) == ["default/pay"]
        me.ask()
        assert "names no endpoint" in me.ask()["skippedText"]
        etcd.put("services/pay/a", value("10.0.0.2:80"))
        me.wait_ends("default/pay", "10.0.0.1:80", "10.0.0.2:80")
        time.sleep(25)  # two beats: what is left out is counted, too
        assert len(me.snapshots) == 1 and not errors(me)


def test_many_keys_come_in_pages_and_a_large_change_at_once(etcd):
    etcd.put_many((f"services/s{n % 300}/{n}", value(f"10.1.{n >> 8}.{n & 255}:80")) for n in range(12000))
    with follow(etcd, quiet=1) as me:
        me.wait(lambda _: me.snapshots, seconds=30)
        assert (me.snapshots[0]["n"], me.snapshots[0]["endpoints"]) == (300, 12000)
        etcd.delete_prefix("services/s1/")
        me.wait(lambda _: any(line["say"] == "remove" and line["name"] == "s1" for line in me.lines))
        etcd.put_many((f"services/new/{n}", value(f"10.2.{n >> 8}.{n & 255}:80")) for n in range(500))
        me.wait(lambda _: me.lines[-1]["say"] == "upsert")
        assert me.lines[-1]["endpoints"] == 500  # one transaction, one word
        etcd.delete_prefix("services/")
        me.wait(lambda _: sum(line["say"] == "remove" for line in me.lines) == 301)


def test_a_server_that_is_killed_and_comes_back_is_watched_on(sandbox):
    etcd = Etcd(sandbox)
    put(etcd, "pay", "10.0.0.1:80", "10.0.0.2:80")
    with follow(etcd) as me:
        me.wait_ends("default/pay", "10.0.0.1:80", "10.0.0.2:80")
        etcd.kill()
        me.wait_error("unreachable")
        assert me.ends("default/pay") == ["10.0.0.1:80", "10.0.0.2:80"]
        etcd.start()
        etcd.delete("services/pay/10.0.0.1:80")
        put(etcd, "pay", "10.0.0.3:80")
        me.wait_ends("default/pay", "10.0.0.2:80", "10.0.0.3:80")
        assert len(me.snapshots) == 1 and me.ask()["error"] == "ok"
        for _ in range(3):
            etcd.restart()
            put(etcd, "pay", "10.0.0.4:80")
            me.wait_ends("default/pay", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80")
            etcd.delete("services/pay/10.0.0.4:80")
            me.wait_ends("default/pay", "10.0.0.2:80", "10.0.0.3:80")
    etcd.stop()


def test_p83_what_vanished_before_a_compaction_is_gone(sandbox):
    etcd = Etcd(sandbox)
    put(etcd, "pay", "10.0.0.1:80", "10.0.0.2:80")
    put(etcd, "gone", "10.0.0.9:80")
    with follow(etcd) as me:
        me.wait_ends("default/pay", "10.0.0.1:80", "10.0.0.2:80")
        etcd.kill()
        me.wait_error("unreachable")
        os.kill(me.child.pid, signal.SIGSTOP)
        etcd.start()
        etcd.delete("services/pay/10.0.0.1:80")
        etcd.delete_prefix("services/gone/")
        put(etcd, "pay", "10.0.0.3:80")
        put(etcd, "new", "10.0.0.4:80")
        etcd.compact()
        os.kill(me.child.pid, signal.SIGCONT)
        me.wait_ends("default/pay", "10.0.0.2:80", "10.0.0.3:80")
        me.wait(lambda _: "default/gone" not in me.services and "default/new" in me.services)
        put(etcd, "pay", "10.0.0.5:80")
        me.wait_ends("default/pay", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.5:80")
        assert me.ask()["error"] == "ok" and {one["error"] for one in errors(me)} == {"unreachable"}
    etcd.stop()


def test_a_store_that_was_brought_back_from_an_old_copy_is_listed_anew(sandbox):
    etcd = Etcd(sandbox)
    put(etcd, "pay", "10.0.0.1:80")
    etcd.save()
    etcd.start()
    put(etcd, "pay", "10.0.0.2:80")
    put(etcd, "late", "10.0.0.3:80")
    with follow(etcd) as me:
        me.wait_ends("default/pay", "10.0.0.1:80", "10.0.0.2:80")
        etcd.restore()
        etcd.start()
        me.wait_ends("default/pay", "10.0.0.1:80")
        me.wait(lambda _: "default/late" not in me.services)
        put(etcd, "pay", "10.0.0.4:80")
        me.wait_ends("default/pay", "10.0.0.1:80", "10.0.0.4:80")
        etcd.wipe()  # another cluster
        etcd.start()
        put(etcd, "other", "10.0.0.5:80")
        me.wait(lambda _: list(me.services) == ["default/other"])
    etcd.stop()


def test_a_server_that_hangs_is_told_and_takes_nothing_away(etcd):
    put(etcd, "pay", "10.0.0.1:80")
    with follow(etcd) as me:
        me.wait_ends("default/pay", "10.0.0.1:80")
        etcd.pause()
        try:
            me.wait_error("timed_out", seconds=30)
        finally:
            etcd.resume()
        assert me.ends("default/pay") == ["10.0.0.1:80"]
        put(etcd, "pay", "10.0.0.2:80")
        me.wait_ends("default/pay", "10.0.0.1:80", "10.0.0.2:80")
        assert len(me.snapshots) == 1


def test_users_tokens_and_what_they_may_read(sandbox, tmp_path):
    etcd = Etcd(sandbox, auth=True)
    etcd.make_user("agent", "geheim", "services/")
    etcd.make_user("blind", "geheim", "nothing/")
    put(etcd, "pay", "10.0.0.1:80")
    password = tmp_path / "password"
    password.write_text("falsch\n")
    with follow(etcd) as me:
        assert "passwordFile" in me.wait_error("unauthorized")["hint"]
    with follow(etcd, username="blind", passwordFile=password) as me:
        me.wait_error("unauthorized")
        password.write_text("geheim\n")
        assert "grant-permission" in me.wait_error("forbidden")["hint"]
        assert not me.snapshots
    with follow(etcd, username="agent", passwordFile=password) as me:
        me.wait_ends("default/pay", "10.0.0.1:80")
        etcd.kill()  # with all tokens
        etcd.start()
        etcd.enable_auth()
        put(etcd, "pay", "10.0.0.2:80")
        me.wait_ends("default/pay", "10.0.0.1:80", "10.0.0.2:80")
        assert {one["error"] for one in errors(me)} <= {"unreachable"} and me.ask()["error"] == "ok"
        assert "geheim" not in json.dumps(me.lines)
    etcd.stop()


def test_a_certificate_with_a_name_where_there_are_users(sandbox, tmp_path):
    etcd = Etcd(sandbox, auth=True, tls=True)
    etcd.make_user("agent", "correct horse", "services/")
    named = etcd.authority.issue("named")
    (tmp_path / "password").write_text("correct horse")
    keys = {"username": "agent", "passwordFile": str(tmp_path / "password"), "caFile": etcd.authority.certificate}
    with follow(etcd, certFile=named[0], keyFile=named[1], **keys) as me:
        told = me.wait_error("unauthorized")
        assert "CommonName of client" in told["text"] and "certFile must have no CommonName" in told["hint"]
    with follow(etcd, certFile=etcd.pair[0], keyFile=etcd.pair[1], **keys) as me:
        me.wait(lambda me: me.snapshots)
    etcd.stop()


def test_a_password_for_a_server_without_users_is_not_needed(etcd, tmp_path):
    (tmp_path / "password").write_text("x")
    put(etcd, "pay", "10.0.0.1:80")
    with follow(etcd, username="agent", passwordFile=tmp_path / "password") as me:
        me.wait_ends("default/pay", "10.0.0.1:80")
        assert not errors(me)


def test_users_that_come_later_are_noticed(sandbox, tmp_path):
    etcd = Etcd(sandbox)
    put(etcd, "pay", "10.0.0.1:80")
    (tmp_path / "password").write_text("geheim")
    with follow(etcd, username="agent", passwordFile=tmp_path / "password") as me:
        me.wait_ends("default/pay", "10.0.0.1:80")
        etcd.make_user("agent", "geheim", "services/")
        etcd.enable_auth()
        etcd.restart()
        etcd.enable_auth()  # a token for this test
        put(etcd, "pay", "10.0.0.2:80")
        me.wait_ends("default/pay", "10.0.0.1:80", "10.0.0.2:80", seconds=20)
        assert me.ask()["error"] == "ok"
    etcd.stop()


def test_certificates_of_both_sides(sandbox):
    etcd = Etcd(sandbox, tls=True)
    put(etcd, "pay", "10.0.0.1:80")
    keys = {"caFile": etcd.authority.certificate, "certFile": etcd.pair[0], "keyFile": etcd.pair[1]}
    with follow(etcd, **keys) as me:
        me.wait_ends("default/pay", "10.0.0.1:80")
        put(etcd, "pay", "10.0.0.2:80")
        me.wait_ends("default/pay", "10.0.0.1:80", "10.0.0.2:80")
    with follow(etcd) as me:
        me.wait_error("tls")
    etcd.stop()


@pytest.mark.parametrize("prefix,key", [("", "pay/a"), ("/", "pay/a"), ("/a/b", "/a/b/pay/a"), ("a/b//", "a/b/pay/a")])
def test_prefixes(etcd, prefix, key):
    etcd.delete_prefix("other/")
    etcd.delete_prefix("services2/")
    etcd.put(key, value("10.0.0.1:80"))
    with follow(etcd, prefix=prefix) as me:
        me.wait_ends("default/pay", "10.0.0.1:80")
        etcd.delete(key)
        me.wait(lambda _: "default/pay" not in me.services)


def test_from_etcd_to_the_kernel(sandbox, namespace, daemon, inside):
    etcd = Etcd(sandbox, namespace=namespace, name="etcd-inside")
    for address in ("10.1.0.1", "10.1.0.2"):
        sandbox.spawn(serve_tcp, address, 8080, namespace=namespace)
    put(etcd, "pay", "10.1.0.1:8080")
    agent = Agent(sandbox, BUILD, daemon, [{"name": "one", "type": "etcd", "address": etcd.url}], namespace=namespace,
                  settings={"coalesce": "10ms"})
    agent.wait_ready()
    spec = agent.wait(lambda: agent.service("pay"))["spec"]
    address = spec.get("address") or spec["addresses"][0]
    assert set(inside(ask_tcp_often, address, 80, 50)) == {"10.1.0.1"}
    took = []
    for weight in range(1, 61):
        began = time.monotonic()
        etcd.put("services/pay/10.1.0.1:8080", value("10.1.0.1:8080", weight=weight))
        agent.wait(lambda weight=weight: agent.service("pay")["spec"]["endpoints"][0].get("weight", 100) == weight)
        took.append((time.monotonic() - began) * 1000)
    took.sort()
    print(f"change in etcd to seen in sinewd: median {statistics.median(took):.1f} ms, most {took[-1]:.1f} ms")
    put(etcd, "pay", "10.1.0.1:8080", "10.1.0.2:8080")
    agent.wait(lambda: len(agent.service("pay")["spec"]["endpoints"]) == 2)
    assert set(inside(ask_tcp_often, address, 80, 100)) == {"10.1.0.1", "10.1.0.2"}
    assert agent.stop() == 0
    etcd.stop()
