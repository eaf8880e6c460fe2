# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Eureka server, followed: what clients register is a service, each change is seen within the server's cache and
one poll, and an instance that is dead but still named is ejected where connects fail.

Pitfalls: P-81.
"""
import statistics
import time

import pytest

from harness.agent import Agent
from harness.daemon import Daemon
from harness.fixtures import BUILD
from harness.follow import Follow
from harness.peer import need
from harness.peer_eureka import REPEATS_SECONDS, Eureka
from harness.peer_server import built
from harness.service import ask_tcp, serve_tcp
from test_servers import REGISTER_EUREKA, run_node

CACHE, POLL, SLACK = 1.0, 1.0, 1.0


@pytest.fixture(scope="module")
def eureka(sandbox):
    server = Eureka(sandbox, cache_ms=int(CACHE * 1000))
    yield server
    server.stop()


@pytest.fixture
def follow(eureka):
    with Follow("eureka", address=f"http://127.0.0.1:{eureka.port}/eureka", interval=f"{int(POLL * 1000)}ms") as me:
        me.wait(lambda _: me.snapshots)
        yield me
        assert not [one for one in me.statuses if one["error"] != "ok"]


def test_a_change_is_seen_within_the_servers_cache_and_one_poll(eureka, follow):
    took = []
    for n in range(1, 9):
        began = time.monotonic()
        eureka.register("pay", f"10.0.0.{n}", 8080, metadata={"zone": "a"})
        follow.wait(lambda me: len(me.ends("default/pay") or ()) == n)
        took.append(time.monotonic() - began)
    for n in range(1, 9):
        began = time.monotonic()
        eureka.deregister("pay", f"10.0.0.{n}", 8080)
        follow.wait(lambda me: len(me.ends("default/pay") or ()) == 8 - n)
        took.append(time.monotonic() - began)
    print(f"change to seen: median {statistics.median(took):.2f} s, most {max(took):.2f} s; cache {CACHE} s, poll {POLL} s")
    assert statistics.median(took) < CACHE + POLL
    assert max(took) < CACHE + POLL + REPEATS_SECONDS + SLACK
    follow.wait(lambda me: "default/pay" not in me.services)


def test_states_overrides_zones_and_secure_ports(eureka, follow):
    eureka.register("cart", "10.0.1.1", 8080, metadata={"zone": "a", "team": "shop"},
                    securePort={"$": 8443, "@enabled": "true"})
    follow.wait_ends("default/cart", "10.0.1.1:8080")
    one = follow.services["default/cart"]
    assert [(port["name"], port["port"]) for port in one["spec"]["ports"]] == [("http", 0), ("https", 443)]
    assert one["spec"]["endpoints"][0]["ports"] == {"http": 8080, "https": 8443}
    assert one["spec"]["endpoints"][0]["zone"] == "a" and one["metadata"]["labels"] == {"team": "shop"}
    eureka.register("cart", "10.0.1.2", 8080, status="STARTING", securePort={"$": 8443, "@enabled": "true"})
    eureka.set_status("cart", "10.0.1.1", 8080, "OUT_OF_SERVICE")
    follow.wait_ends("default/cart")
    eureka.clear_status("cart", "10.0.1.1", 8080)
    eureka.register("cart", "10.0.1.1", 8080)
    follow.wait_ends("default/cart", "10.0.1.1:8080")
    for n in (1, 2):
        eureka.deregister("cart", f"10.0.1.{n}", 8080)
    follow.wait(lambda me: "default/cart" not in me.services)


def test_a_program_of_node_is_found(sandbox, eureka, follow):
    folder = built("eureka-js-client", "")
    need("node")
    run_node(sandbox, REGISTER_EUREKA, folder, str(eureka.port))
    follow.wait_ends("default/node", "127.0.0.9:9000")
    eureka.http.delete("/eureka/apps/NODE/node-1")
    follow.wait(lambda me: "default/node" not in me.services)


def test_a_server_that_is_killed_and_comes_back_empty(sandbox):
    server = Eureka(sandbox)
    server.register("pay", "10.0.0.1", 8080)
    with Follow("eureka", address=f"http://127.0.0.1:{server.port}", interval="500ms") as me:  # the path is found
        me.wait_ends("default/pay", "10.0.0.1:8080")
        server.kill()
        me.wait_error("unreachable")
        assert me.ends("default/pay") == ["10.0.0.1:8080"] and len(me.snapshots) == 1
        server.start()
        me.wait(lambda _: me.snapshots[-1]["n"] == 0, seconds=40)  # the guard's affair
        server.register("pay", "10.0.0.2", 8080)
        me.wait_ends("default/pay", "10.0.0.2:8080")
        assert me.ask()["error"] == "ok"
    server.stop()


def ask_often(address, port, times):
    """What answered, and errnos of what failed."""
    seen = {}
    for _ in range(times):
        try:
            answer, _ = ask_tcp(address, port)
        except OSError as error:
            answer = error.errno
        seen[answer] = seen.get(answer, 0) + 1
    return seen


def test_p81_a_dead_instance_that_a_server_goes_on_naming_is_ejected_by_the_kernel(sandbox, namespace):
    daemon = Daemon(sandbox, BUILD, "sinewd-inside", sandbox.cgroup("inside"), namespace=namespace)
    server = Eureka(sandbox, namespace=namespace, preservation=True, name="eureka-inside")
    # Each failure counts at once, though one workload alone asks.
    daemon.put("/v1/policies/default/default", {
        "apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": "default", "namespace": "default"},
        "spec": {"negativeAffinity": "0s"}})
    for address in ("10.1.0.1", "10.1.0.2"):
        sandbox.spawn(serve_tcp, address, 8080, namespace=namespace)
    for address in ("10.1.0.1", "10.1.0.2", "10.1.0.3"):  # nobody listens at the last one, and its lease is long
        server.register("pay", address, 8080, seconds=3600)
    agent = Agent(sandbox, BUILD, daemon, [{"name": "one", "type": "eureka", "interval": "500ms",
                                            "address": f"http://127.0.0.1:{server.port}/eureka"}], namespace=namespace)
    agent.wait_ready()
    agent.wait(lambda: len((agent.service("pay") or {"spec": {"endpoints": ()}})["spec"]["endpoints"]) == 3)
    spec = agent.service("pay")["spec"]
    address = spec.get("address") or spec["addresses"][0]
    seen = sandbox.call(ask_often, address, 80, 600, namespace=namespace, cgroup=daemon.cgroup)  # any port of the address
    assert set(seen) == {"10.1.0.1", "10.1.0.2"}, seen
    states = {one["address"]: one["state"] for one in agent.service("pay")["status"]["endpoints"]}
    assert states == {"10.1.0.1": "active", "10.1.0.2": "active", "10.1.0.3": "ejected"}
    time.sleep(2)  # further polls, which name it as before
    assert len(agent.service("pay")["spec"]["endpoints"]) == 3
    assert agent.registry("one")["state"] == "ok"
    assert agent.stop() == 0
    server.stop()
