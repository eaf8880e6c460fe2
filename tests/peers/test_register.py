# SPDX-License-Identifier: GPL-2.0-or-later
"""sinew-agent registers in real registries what a sinewd says that listens: at once, kept, and gone with the socket;
whoever of the three is killed meanwhile. What listens is the test's own word here; test_register_chain.py has the rest."""
import json
import os
import subprocess
import time

import pytest

from harness.agent import Agent
from harness.fake_sinewd import FakeSinewd, registration
from harness.fixtures import BUILD
from harness.registering import BOARDS, Watched, percentile, wait_for

ROUNDS = 60
WARM_UP = 5  # Eureka compiles itself while it runs


class Place:
    """A registry, a sinewd of the test's own, and an agent between them."""

    def __init__(self, sandbox, board):
        self.sandbox, self.board = sandbox, board
        self.count = 0

    def begin(self, name, registries=None, **settings):
        self.count += 1
        folder = f"{self.board.kind}-{self.count}"
        os.makedirs(self.sandbox.path(folder))
        self.sinewd = FakeSinewd(os.path.join(self.sandbox.path(folder), "control.sock"))
        self.service = name
        self.sinewd.put(registration(name, "dc1", 8080, ttl="3s"))
        self.agent = Agent(self.sandbox, BUILD, self.sinewd, registries or [self.board.config], name=f"{folder}/agent",
                           settings={"node.name": "n1", **settings})

    def ids(self):
        return self.board.ids(self.service)

    def wait(self, *ids, seconds=30):
        try:
            return wait_for(lambda: self.ids() == set(ids), seconds)
        except AssertionError:
            print(f"{sorted(self.ids())}, expected {sorted(ids)}; agent: {self.agent.log()[-3000:]}")
            raise

    def state(self):
        items = self.agent.get("/v1/registrations")["items"]
        return items[0]["state"] if items else None

    def end(self):
        if self.agent.child.poll() is None:
            assert self.agent.stop() == 0, self.agent.log()
        self.sinewd.stop()


def is_followed(sandbox, kind):
    """Whether this agent takes such a registry in its settings."""
    config = sandbox.write(f"{kind}.yaml", json.dumps({"registries": [{"name": "x", "type": kind}]}))
    return subprocess.run([os.path.join(BUILD, "sinew-agent"), "--check", "--config", config], timeout=20,
                          capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module", params=list(BOARDS))
def board(request, sandbox):
    if not is_followed(sandbox, request.param):
        pytest.skip(f"sinew-agent does not follow {request.param} yet")
    made = BOARDS[request.param](sandbox)
    yield made
    made.server.stop()


@pytest.fixture(name="place")
def make_place(sandbox, board, request):
    if not board.server.is_running():
        board.server.start()
    place = Place(sandbox, board)
    place.count = len(sandbox.children)
    place.begin(request.node.name.split("[")[0][5:35].replace("_", "-").strip("-"))
    yield place
    place.end()


def test_what_listens_is_there_and_what_does_not_is_gone_within_a_second(place, board):
    there, gone = [], []
    wait_for(lambda: place.agent.get("/v1/registrations")["items"])
    for _ in range(WARM_UP + ROUNDS):
        cookie = place.sinewd.listen(8080)
        there.append(place.wait("127.0.0.1:8080"))
        place.sinewd.close(cookie)
        gone.append(place.wait())
    there, gone = there[WARM_UP:], gone[WARM_UP:]
    print(f"{board.kind}: {ROUNDS} rounds, ms p50/p99: there {percentile(there, .5) * 1e3:.1f}/"
          f"{percentile(there, .99) * 1e3:.1f}, gone {percentile(gone, .5) * 1e3:.1f}/{percentile(gone, .99) * 1e3:.1f}")
    assert percentile(gone, .99) <= 1


def test_it_is_kept_for_longer_than_its_lease(place):
    place.sinewd.listen(8080)
    place.wait("127.0.0.1:8080")
    with Watched(place.board, place.service, ["127.0.0.1:8080"]) as watched:
        time.sleep(7.5)
    assert watched.looks > 50 and not watched.missing
    assert place.state() == "registered"


def test_another_port_address_or_cgroup_is_none_of_it(place):
    place.sinewd.listen(8081)
    place.sinewd.listen(8080, cgroup="/elsewhere/pay")
    place.sinewd.listen(8080, address="0.0.0.0")
    wait_for(lambda: place.state() == "no_address")
    assert place.ids() == set()
    place.sinewd.listen(8080, address="127.0.0.7")
    place.wait("127.0.0.7:8080")
    wait_for(lambda: place.state() == "registered")  # its answer comes after the deed


def test_of_two_sockets_the_last_one_counts(place):
    first, second = place.sinewd.listen(8080), place.sinewd.listen(8080)
    place.wait("127.0.0.1:8080")
    place.sinewd.close(first)
    time.sleep(0.3)
    assert place.ids() == {"127.0.0.1:8080"}
    place.sinewd.close(second)
    place.wait(seconds=3)


def test_a_registration_that_is_changed_or_removed(place):
    place.sinewd.listen(8080)
    place.sinewd.listen(9090)
    place.wait("127.0.0.1:8080")
    place.sinewd.put(registration(place.service, "dc1", 9090, ttl="3s", tags=["v2"]))
    place.wait("127.0.0.1:9090", seconds=3)
    place.sinewd.remove(place.service)
    place.wait(seconds=3)


def test_sigterm_takes_everything_out_first(place):
    for last in range(1, 13):
        place.sinewd.listen(8080, address=f"127.0.0.{last}")
    place.wait(*(f"127.0.0.{last}:8080" for last in range(1, 13)))
    assert place.agent.stop() == 0
    assert place.ids() == set()
    assert "not all could be taken out" not in place.agent.log()


def test_sigterm_does_not_wait_for_a_registry_that_is_down(place, board):
    place.sinewd.listen(8080)
    place.wait("127.0.0.1:8080")
    board.server.pause()
    try:
        began = time.monotonic()
        assert place.agent.stop() == 0
        assert 2.5 < time.monotonic() - began < 8
    finally:
        board.server.resume()
    wait_for(lambda: not place.ids(), 20)


def test_a_killed_agent_leaves_its_leases_to_end(place, board):
    place.sinewd.listen(8080)
    place.wait("127.0.0.1:8080")
    place.agent.kill()
    assert place.ids() == {"127.0.0.1:8080"}
    took = place.wait(seconds=3 * board.lost_after + 6)
    print(f"{board.kind}: silent for {took:.1f} s with a lease of 3 s")


def test_an_agent_that_was_killed_takes_up_what_it_left(place, board):
    board.add_foreign(place.service, "127.0.0.9", 8080)
    kept, closed = place.sinewd.listen(8080), place.sinewd.listen(8080, address="127.0.0.2")
    both = ("127.0.0.1:8080", "127.0.0.2:8080")
    place.wait(*both, "127.0.0.9:8080")
    with Watched(board, place.service, ["127.0.0.1:8080", "127.0.0.9:8080"]) as watched:
        place.agent.kill()
        place.sinewd.close(closed)
        place.sinewd.stop()  # sinewd is away, too: nothing is known, nothing goes
        place.agent.start()
        time.sleep(4)
        if board.kind != "eureka":  # its leases are too long to show it
            assert place.ids() == {*both, "127.0.0.9:8080"}
        place.sinewd.start()
        place.wait("127.0.0.1:8080", "127.0.0.9:8080")
    assert watched.looks > 50 and not watched.missing
    place.sinewd.close(kept)
    place.wait("127.0.0.9:8080", seconds=3)


def test_a_sinewd_that_starts_anew_costs_nothing(place):
    kept, closed = place.sinewd.listen(8080), place.sinewd.listen(8080, address="127.0.0.2")
    place.wait("127.0.0.1:8080", "127.0.0.2:8080")
    with Watched(place.board, place.service, ["127.0.0.1:8080"]) as watched:
        place.sinewd.stop()
        time.sleep(1)
        place.sinewd.says_synced = False
        place.sinewd.close(closed)
        place.sinewd.start()
        wait_for(lambda: place.sinewd.streams)
        time.sleep(0.5)
        assert "127.0.0.2:8080" in place.ids()
        place.sinewd.says_synced = True
        place.sinewd.tell({"type": "SYNCED"})
        place.wait("127.0.0.1:8080")
    assert not watched.missing
    place.sinewd.close(kept)
    place.wait(seconds=3)


def test_a_registry_that_is_down_when_the_socket_closes_hears_of_it_later(place, board):
    closed, kept = place.sinewd.listen(8080), place.sinewd.listen(8080, address="127.0.0.2")
    place.wait("127.0.0.1:8080", "127.0.0.2:8080")
    board.server.pause()
    place.sinewd.close(closed)
    time.sleep(1)
    board.server.resume()
    place.wait("127.0.0.2:8080", seconds=12)
    board.server.kill()
    place.sinewd.close(kept)
    time.sleep(1)
    board.server.start()
    place.wait(seconds=12)


def test_a_registry_that_lost_everything_gets_it_again(place, board):
    place.sinewd.listen(8080)
    place.wait("127.0.0.1:8080")
    board.server.wipe()
    board.server.start()
    place.wait("127.0.0.1:8080", seconds=12)


def test_a_registry_that_is_taken_out_of_the_settings_is_left(place):
    place.sinewd.listen(8080)
    place.wait("127.0.0.1:8080")
    place.agent.reload([])
    place.wait()
    wait_for(lambda: place.state() == "no_registry", 10)
    place.agent.reload([place.board.config])
    place.wait("127.0.0.1:8080")


def test_a_reload_with_another_way_in_leaves_no_gap(place, board):
    place.sinewd.listen(8080)
    place.wait("127.0.0.1:8080")
    with Watched(board, place.service, ["127.0.0.1:8080"]) as seen:
        place.agent.reload([{**board.config, "zone": "a"}])
        wait_for(lambda: place.state() == "registered", 20)
        looks = seen.looks
        wait_for(lambda: seen.looks >= looks + 20, 60)
    assert not seen.missing
    cookie, = place.sinewd.listeners
    place.sinewd.close(cookie)
    place.wait()


def test_the_same_registry_by_another_address_has_it_in_the_end(place, board):
    """It is taken out by the former address before it is registered by the new one."""
    place.sinewd.listen(8080)
    place.wait("127.0.0.1:8080")
    place.agent.reload([{**board.config, "address": board.config["address"].replace("127.0.0.1", "localhost")}])
    wait_for(lambda: place.state() == "registered" and place.ids() == {"127.0.0.1:8080"}, 40)
    time.sleep(4)  # more than a lease: what is there now is kept
    wait_for(lambda: place.state() == "registered" and place.ids() == {"127.0.0.1:8080"}, 40)


def test_a_stream_that_is_no_stream(place):
    cookie = place.sinewd.listen(8080)
    place.wait("127.0.0.1:8080")
    for rubbish in (b"{", b"[1]", b"x" * 70000, b'{"type":"ADDED","listener":{"cookie":1}}', b"\x00\xff"):
        streams = place.sinewd.opened
        place.sinewd.tell(rubbish)
        wait_for(lambda before=streams: place.sinewd.opened > before)
    assert place.ids() == {"127.0.0.1:8080"}
    place.sinewd.tell({"type": "HEARTBEAT"})
    wait_for(lambda: place.agent.get("/v1/registrations")["daemon"]["synced"])
    place.sinewd.close(cookie)
    place.wait(seconds=2)
