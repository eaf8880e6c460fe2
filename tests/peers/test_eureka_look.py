# SPDX-License-Identifier: GPL-2.0-or-later
"""A second look at a real Eureka server: a service that is scaled to zero is soon without endpoints, though the server's
lists repeat themselves; and one that was started anew, and knows nobody or few, empties nothing.

Pitfalls: P-81, P-84.
"""
import threading
import time

import pytest

from harness.agent import Agent
from harness.fixtures import BUILD
from harness.follow import Follow
from harness.peer_eureka import Eureka
from harness.peer_server import AnswerError

PAY = [("pay", f"10.1.0.{n}", 8080) for n in range(1, 4)]
OTHERS = [("cart", "10.1.1.1", 80), ("cart", "10.1.1.2", 80), ("mail", "10.1.2.1", 25)]
MEMORY_SECONDS = 90  # of a server's that vouches for what it no longer has: GUARD_RETURN_MS
SOON_SECONDS = 20  # a second or two when nobody else is busy; without a second look at least thirty


class Beat:
    """OTHERS say that they live, as clients do."""

    def __init__(self, server):
        self.server, self.ended = server, threading.Event()
        server.put_many(OTHERS, seconds=90)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended.wait(2):
            for one in OTHERS:
                self.server.heartbeat(*one)

    def stop(self):
        self.ended.set()
        self.thread.join()


@pytest.fixture(scope="module", name="old")
def make_old(sandbox, namespace):
    """A server that has known OTHERS for long at last: it begins before the tests that do not need it."""
    server = Eureka(sandbox, name="eureka-old", namespace=namespace, cache_ms=200)
    beat = Beat(server)
    yield server
    beat.stop()
    server.stop()


def keys(server):
    return {"name": "here", "type": "eureka", "interval": "500ms", "address": f"http://127.0.0.1:{server.port}/eureka"}


def suspects(agent, name):
    return [one for one in agent.endpoints(name).values() if one.get("suspect")]


def remembered(server):
    """Seconds that it has known the youngest of OTHERS, as it says; a renewed lease says when it ends."""
    leases = [server.http.get(f"{server.base}/apps/{server.identity(*one)}")["instance"]["leaseInfo"] for one in OTHERS]
    return min(one["lastRenewalTimestamp"] / 1000 - one["durationInSecs"] - one["serviceUpTimestamp"] / 1000 for one in leases)


def test_p84_a_server_that_is_started_anew_empties_nothing(sandbox, namespace, daemon, old):
    assert old
    server = Eureka(sandbox, name="eureka-new", namespace=namespace, cache_ms=200)
    server.put_many(PAY + OTHERS, seconds=3600)
    agent = Agent(sandbox, BUILD, daemon, [keys(server)], name="agent-new", namespace=namespace)
    agent.wait(lambda: len(agent.endpoints("pay")) == 3 and len(agent.endpoints("cart")) == 2)
    with Follow("eureka", namespace=namespace, interval="500ms", address=keys(server)["address"]) as me:
        me.wait(lambda _: len(me.services) == 3)
        server.wipe()
        server.start()
        server.put_many(OTHERS, seconds=3600)
        me.wait(lambda _: "default/pay" not in me.services, 40)
        me.wait(lambda _: {"default/cart", "default/mail"} <= set(me.services), 40)
        gone = len(me.lines)
        assert me.look("default/pay")  # everybody else is there, but not for long
        me.wait(lambda _: me.look("default/pay"), 20)
        assert not [line for line in me.lines[gone:] if line["say"] in ("upsert", "remove") and "pay" in me.brief(line)]
    time.sleep(5)  # several looks, if there were any
    assert len(agent.endpoints("pay")) == 3 and len(agent.endpoints("cart")) == 2, agent.log()
    assert agent.stop() == 0
    server.stop()


def test_p84_what_is_scaled_to_zero_is_gone_soon(sandbox, namespace, daemon, old):
    old.put_many(PAY, seconds=3600)
    agent = Agent(sandbox, BUILD, daemon, [keys(old)], name="agent-old", namespace=namespace)
    agent.wait(lambda: len(agent.endpoints("pay")) == 3 and not suspects(agent, "pay"), 30)
    agent.wait(lambda: remembered(old) > MEMORY_SECONDS, 150)
    for one in PAY:
        old.deregister(*one)
    with pytest.raises(AnswerError):
        old.http.get(f"{old.base}/apps/{old.identity(*PAY[0])}")
    began = time.monotonic()
    agent.wait(lambda: suspects(agent, "pay"), 20)
    agent.wait(lambda: not agent.endpoints("pay"), SOON_SECONDS)
    print(f"none left {time.monotonic() - began:.2f} s after they were taken out (cache 200 ms, poll 500 ms)")
    for one in PAY[:1] + PAY[2:]:
        old.register(*one, seconds=3600)
    agent.wait(lambda: len(agent.endpoints("pay")) == 2 and not suspects(agent, "pay"), 30)
    old.set_status(*PAY[0], "OUT_OF_SERVICE")
    old.set_status(*PAY[2], "OUT_OF_SERVICE")
    agent.wait(lambda: not agent.endpoints("pay"), SOON_SECONDS + 10)
    assert len(agent.endpoints("cart")) == 2 and not suspects(agent, "cart")
    assert agent.stop() == 0
