# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Consul, followed: what is registered there is what Sinew says, and what goes wrong there takes nothing away.

Before it: peer_consul.py, and follow.py or agent.py. A Consul that lies is test_consul_fake.py's.
"""
import json
import os
import subprocess
import time
import urllib.parse

import pytest

from harness.agent import Agent
from harness.fixtures import BUILD
from harness.follow import Follow
from harness.peer import need
from harness.peer_consul import Consul
from harness.peer_server import built, is_built

pytestmark = pytest.mark.skipif(not is_built("consul"), reason="consul is not built: scripts/test --peers")

READ_ALL = 'service_prefix "" { policy = "read" }\nnode_prefix "" { policy = "read" }\nkey_prefix "" { policy = "read" }'
GENTLE = '{"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": "gentle"}, "spec": {}}'
DECLARED = """
apiVersion: sinew/v1
kind: Service
metadata: {name: declared}
spec: {ports: [{port: 80}], endpoints: [{address: 127.0.0.7, port: 7}]}
"""


@pytest.fixture(name="consul", scope="module")
def make_consul(sandbox):
    consul = Consul(sandbox)
    yield consul
    consul.stop()


def follow(consul, **keys):
    return Follow("consul", address=f"http://127.0.0.1:{consul.port}", **keys)


def weights(me, name):
    """{address: weight} of all its endpoints."""
    return {one["address"]: one.get("weight", 100) for one in me.services[name]["spec"].get("endpoints", [])}


def test_what_is_registered_is_said(consul):
    consul.register("pay", "127.0.0.5", 8080, Tags=["blue", "team=pay"], Meta={"zone": "a", "sinew-policy": "gentle"})
    with follow(consul) as me:
        me.wait_ends("default/pay", "127.0.0.5:8080")
        assert len(me.snapshots) == 1 and me.lines[0]["say"] != "upsert"
        assert set(me.services) == {"default/pay"}  # Consul's own servers are no service of anybody's
        one = me.services["default/pay"]
        assert one["metadata"]["labels"] == {"blue": "", "team": "pay", "zone": "a"}
        assert one["spec"]["policy"] == "gentle" and one["spec"]["endpoints"][0]["zone"] == "a"
        assert one["spec"]["endpoints"][0]["node"] == "peer"
        consul.register("pay", "127.0.0.6", 9090)
        me.wait_ends("default/pay", "127.0.0.5:8080", "127.0.0.6:9090")
        consul.register("cart", "127.0.0.7", 80)
        me.wait_ends("default/cart", "127.0.0.7:80")
        consul.deregister("pay-127.0.0.5-8080")
        me.wait_ends("default/pay", "127.0.0.6:9090")
        consul.deregister("cart-127.0.0.7-80")
        me.wait(lambda me: "default/cart" not in me.services)
        consul.deregister("pay-127.0.0.6-9090")
        me.wait(lambda me: "default/pay" not in me.services)
        assert me.ask()["state"] == "ok" and len(me.snapshots) == 1


def test_checks_maintenance_and_weights(consul):
    ttl = {"TTL": "1h", "Status": "passing"}
    consul.register("web", "127.0.0.5", 80, Check=ttl, Weights={"Passing": 3, "Warning": 2})
    consul.register("web", "127.0.0.6", 80)
    with follow(consul) as me:
        me.wait(lambda me: "default/web" in me.services and
                weights(me, "default/web") == {"127.0.0.5": 300, "127.0.0.6": 100})
        consul.set_check("service:web-127.0.0.5-80", "warn")
        me.wait(lambda me: weights(me, "default/web") == {"127.0.0.5": 200, "127.0.0.6": 100})
        consul.set_check("service:web-127.0.0.5-80", "fail")
        me.wait(lambda me: weights(me, "default/web") == {"127.0.0.6": 100})
        consul.set_check("service:web-127.0.0.5-80", "pass")
        me.wait(lambda me: weights(me, "default/web") == {"127.0.0.5": 300, "127.0.0.6": 100})
        consul.maintenance("web-127.0.0.6-80")
        me.wait(lambda me: weights(me, "default/web") == {"127.0.0.5": 300, "127.0.0.6": 0})
        consul.maintenance("web-127.0.0.6-80", on=False)
        me.wait(lambda me: weights(me, "default/web") == {"127.0.0.5": 300, "127.0.0.6": 100})
        consul.http.put("/v1/agent/maintenance?enable=true")
        me.wait(lambda me: set(weights(me, "default/web").values()) == {0})
        consul.http.put("/v1/agent/maintenance?enable=false")
        me.wait(lambda me: weights(me, "default/web") == {"127.0.0.5": 300, "127.0.0.6": 100})
    consul.deregister("web-127.0.0.5-80")
    consul.deregister("web-127.0.0.6-80")


def test_p80_a_passing_check_on_a_dead_node_counts_for_nothing(consul):
    def node(status):
        consul.http.put("/v1/catalog/register", {
            "Node": "other", "Address": "127.0.0.8", "Service": {"ID": "x", "Service": "remote", "Port": 80},
            "Checks": [{"CheckID": "serfHealth", "Status": status},
                       {"CheckID": "service:x", "ServiceID": "x", "Status": "passing"}]})
    node("passing")
    with follow(consul) as me:
        me.wait_ends("default/remote", "127.0.0.8:80")
        node("critical")
        me.wait_ends("default/remote")
        node("passing")
        me.wait_ends("default/remote", "127.0.0.8:80")
    consul.http.put("/v1/catalog/deregister", {"Node": "other"})


def test_keys_below_a_prefix_are_manifests(consul):
    consul.put_key("sinew/gentle", GENTLE)
    consul.put_key("sinew/apps/declared", DECLARED)
    consul.register("declared", "127.0.0.9", 9)
    with follow(consul, prefix="sinew/") as me:
        me.wait_ends("default/declared", "127.0.0.7:7")  # a manifest goes before the catalogue
        assert set(me.policies) == {"default/gentle"} and len(me.snapshots) == 1
        consul.put_key("sinew/apps/declared", DECLARED.replace("7:", "7").replace("port: 7}", "portz: 8}"))
        consul.put_key("sinew/other", GENTLE.replace("gentle", "other"))
        me.wait(lambda me: "default/other" in me.policies)
        said = me.ask()
        assert said["skipped"] >= 1 and "sinew/apps/declared" in said["skippedText"], said
        assert me.ends("default/declared") == ["127.0.0.7:7"]
        consul.put_key("sinew/apps/declared", DECLARED.replace("port: 7}", "port: 8}"))
        me.wait_ends("default/declared", "127.0.0.7:8")
        consul.delete_key("sinew/apps/declared")
        me.wait_ends("default/declared", "127.0.0.9:9")
        consul.delete_key("sinew/?recurse")
        me.wait(lambda me: not me.policies)
        assert me.ask()["error"] == "ok"
    consul.deregister("declared-127.0.0.9-9")


def test_another_datacentre_is_asked_for(consul):
    consul.register("far", "127.0.0.5", 8080)
    with follow(consul, datacenter="dc1") as me:
        me.wait_ends("default/far", "127.0.0.5:8080")
        consul.deregister("far-127.0.0.5-8080")
        me.wait(lambda me: not me.services)
    with follow(consul, datacenter="nowhere") as me:
        assert "No path to datacenter" in me.wait_error("failed")["text"]
        assert not me.snapshots


def test_names_that_are_no_labels_are_told(consul):
    consul.register("Pay_V1", "127.0.0.5", 80)
    consul.register("pay.v1", "127.0.0.6", 80)
    consul.register("naïve", "127.0.0.7", 80)
    with follow(consul) as me:
        me.wait_ends("default/pay-v1", "127.0.0.5:80")  # of two that come to the same, the first
        said = me.ask()
        assert said["skipped"] == 1 and said["skippedText"].startswith("2 services left out"), said
        consul.deregister("Pay_V1-127.0.0.5-80")
        me.wait_ends("default/pay-v1", "127.0.0.6:80")
    consul.deregister("pay.v1-127.0.0.6-80")
    consul.deregister(urllib.parse.quote("naïve-127.0.0.7-80"))


def test_tokens_are_read_anew_and_what_they_hide_is_told(sandbox, tmp_path):
    consul = Consul(sandbox, acl=True, name="consul-acl")
    consul.register("pay", "127.0.0.5", 8080)
    consul.register("cart", "127.0.0.6", 8080)
    token = tmp_path / "token"
    token.write_text(consul.make_token(READ_ALL) + "\n")
    narrow = consul.make_token('service "pay" { policy = "read" }\nnode_prefix "" { policy = "read" }')
    with follow(consul) as me:  # the anonymous sees nothing, and that is not believed
        said = me.wait_error("forbidden")
        assert "tokenFile" in said["hint"] and "service_prefix" in said["hint"], said
        assert not me.snapshots
    with follow(consul, tokenFile=str(token)) as me:
        me.wait_ends("default/pay", "127.0.0.5:8080")
        me.wait_ends("default/cart", "127.0.0.6:8080")
        token.write_text(narrow)
        for name in ("one", "two"):  # what is under way has the old token
            consul.register(name, "127.0.0.8", 80)
        said = me.wait_error("forbidden")
        assert "leaves out" in said["text"] and "service_prefix" in said["hint"], said
        token.write_text("77777777-2222-3333-4444-555555555555")
        said = me.wait(lambda me: next((s for s in me.statuses if "ACL not found" in s["text"]), None))
        assert said["error"] == "forbidden" and "do not know the token" in said["hint"], said
        os.unlink(token)
        said = me.wait_error("unauthorized")
        assert str(token) in said["text"] and "tokenFile" in said["hint"], said
        assert me.ends("default/pay") == ["127.0.0.5:8080"]  # nothing of this took anything away
        assert me.ends("default/cart") == ["127.0.0.6:8080"]
        token.write_text(consul.make_token(READ_ALL))
        me.wait_ends("default/two", "127.0.0.8:80")
        me.wait(lambda me: me.statuses[-1]["error"] == "ok")
        assert not any(consul.management in json.dumps(line) for line in me.lines)
    # With full names the catalogue is not needed, and a narrow token is enough.
    token.write_text(narrow)
    with follow(consul, tokenFile=str(token), select="pay") as me:
        me.wait_ends("default/pay", "127.0.0.5:8080")
        consul.register("pay", "127.0.0.7", 8080)
        me.wait_ends("default/pay", "127.0.0.5:8080", "127.0.0.7:8080")
        assert me.ask()["error"] == "ok"
    token.write_text(consul.make_token('service_prefix "" { policy = "read" }'))
    with follow(consul, tokenFile=str(token), select="pay") as me:  # nodes hide their instances
        assert "node_prefix" in me.wait_error("forbidden")["hint"]
        assert not me.snapshots
    consul.stop()


def test_p84_what_a_streamed_answer_leaves_out_is_not_gone(sandbox, tmp_path):
    """An agent that streams says nothing of what the token may not see; it must not look like instances that went."""
    consul = Consul(sandbox, acl=True, name="consul-streams")
    consul.register("pay", "127.0.0.5", 8080)
    consul.register("pay", "127.0.0.6", 8080)
    token = tmp_path / "token"
    token.write_text(consul.make_token(READ_ALL))
    narrow = consul.make_token('service "pay" { policy = "read" }')
    with follow(consul, tokenFile=str(token), select="pay", staleAfter="6s") as me:
        me.wait_ends("default/pay", "127.0.0.5:8080", "127.0.0.6:8080")
        token.write_text(narrow)
        consul.register("pay", "127.0.0.7", 8080)  # what is under way has the old token
        assert "node_prefix" in me.wait_error("forbidden")["hint"]
        assert {"127.0.0.5:8080", "127.0.0.6:8080"} <= set(me.ends("default/pay"))
        assert not [line for line in me.lines if line["say"] == "remove"]
    consul.stop()


def test_certificates_and_sockets(sandbox):
    consul = Consul(sandbox, tls=True, unix=True, name="consul-tls")
    consul.register("pay", "127.0.0.5", 8080)
    certificate, key = consul.pair
    keys = {"caFile": consul.authority.certificate, "certFile": certificate, "keyFile": key}
    with Follow("consul", address=f"https://localhost:{consul.port}", **keys) as me:
        me.wait_ends("default/pay", "127.0.0.5:8080")
        consul.register("pay", "127.0.0.6", 8080)
        me.wait_ends("default/pay", "127.0.0.5:8080", "127.0.0.6:8080")
    with Follow("consul", address=f"https://localhost:{consul.port}", caFile=consul.authority.certificate) as me:
        assert "certFile" in me.wait(lambda me: next((s for s in me.statuses if s["error"] != "ok"), None))["hint"]
        assert not me.snapshots
    with Follow("consul", address=f"unix://{consul.unix_path}") as me:
        me.wait_ends("default/pay", "127.0.0.5:8080", "127.0.0.6:8080")
    consul.stop()
    with Follow("consul", address="ftp://127.0.0.1") as me:
        assert "http://" in me.wait(lambda me: me.statuses)[0]["text"]
    with Follow("consul", select="no name") as me:
        assert "no name" in me.wait(lambda me: me.statuses)[0]["text"]
