# SPDX-License-Identifier: GPL-2.0-or-later
"""Backends, daemons, links and interfaces die at random under traffic from two namespaces, and every connect is
booked exactly all the same.

CHAOS_SECONDS says how long (`make chaos`: 600; scripts/test: 60), CHAOS_SEED what happens in which order; the seed is
printed, and the same one makes the same events at the same times. CHAOS_ONLY=server,daemon has nothing else happen. One process draws; nothing is random elsewhere but
the kernel's own choice of backends.
"""
import json
import os
import random
import time

import pytest

from harness.service import put, service
from world import BACKENDS, FAR_VIP, LOCAL, NEAR_VIP, POD_VIP, PORT, World

from conftest import BUILD

SECONDS = int(os.environ.get("CHAOS_SECONDS") or 60)
SEED = int(os.environ.get("CHAOS_SEED") or 0) or random.SystemRandom().randrange(1, 10**9)
THREADS = 4
SERVICES = {"far": (FAR_VIP, BACKENDS, "host"), "near": (NEAR_VIP, LOCAL, "host"), "pod": (POD_VIP, BACKENDS, "container")}
EVENTS = {"server": 40, "blackhole": 10, "unreachable": 10, "daemon": 12, "uplink": 6, "interface": 12}  # how often
ONLY = (os.environ.get("CHAOS_ONLY") or ",".join(EVENTS)).split(",")
FAILED = ("refused", "timeout", "unreachable")  # what the caller may see, and how it is booked
POLICY = {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": "rough", "namespace": "test"},
          "spec": {"outlierDetection": {"consecutiveFailures": 3, "baseEjectionTime": "500ms", "maxEjectionTime": "4s",
                                        "maxEjectionPercent": 50},
                   "connect": {"timeout": "2s", "attemptTimeout": "100ms"},
                   "failover": {"attempts": 2, "on": ["refused", "unreachable", "timeout"]}}}


class Storm:
    """Draws what happens next and undoes it a while later; at the end all is undone."""

    def __init__(self, world, seed):
        self.world = world
        self.random = random.Random(seed)
        self.happened = {}
        self.due = []  # (when, what undoes it)

    def note(self, what):
        self.happened[what] = self.happened.get(what, 0) + 1

    def happen(self):
        what = self.random.choices(list(EVENTS), [EVENTS[one] if one in ONLY else 0 for one in EVENTS])[0]
        self.note(what)
        world, last = self.world, self.random.uniform(0.05, 1.5)
        address = self.random.choice(BACKENDS + LOCAL)
        if what == "server" and address in world.servers:
            world.stop_server(address)
            self.later(last, lambda: world.start_server(address))
        elif what in ("blackhole", "unreachable"):
            world.spoil(self.random.choice(BACKENDS), what)
            self.later(last, world.heal)
        elif what == "daemon" and world.daemon.child.poll() is None:
            world.kill_daemon()
            self.later(last, world.start_daemon)
        elif what == "uplink":
            world.cut_uplink()
            self.later(min(last, 0.4), world.mend_uplink)
        elif what == "interface":
            world.toggle_extra()

    def later(self, seconds, undo):
        self.due.append((time.monotonic() + seconds, undo))

    def undo(self, everything=False):
        for entry in [e for e in self.due if everything or e[0] <= time.monotonic()]:
            self.due.remove(entry)
            entry[1]()

    def rage(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.happen()
            pause = time.monotonic() + self.random.uniform(0.05, 0.5)
            while time.monotonic() < pause:
                self.undo()
                time.sleep(0.01)
        self.undo(everything=True)


@pytest.fixture(scope="module")
def world(sandbox):
    made = World(sandbox, BUILD)
    for address in BACKENDS + LOCAL:
        made.start_server(address)
    put(made.daemon, POLICY)
    for name, (vip, backends, _) in SERVICES.items():
        put(made.daemon, service(name, vip, [(address, PORT) for address in backends], policy="rough"))
    return made


@pytest.fixture(scope="module")
def run(world):
    """The storm is over: {service: (what its callers saw, what the kernel booked)}, and what happened."""
    print(f"chaos: CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS}")
    storm = Storm(world, SEED)
    loads = {name: world.start_load(vip, where, SECONDS + 3, SEED + i, THREADS)
             for i, (name, (vip, _, where)) in enumerate(SERVICES.items())}
    storm.rage(SECONDS)
    seen = {}
    for name, child in loads.items():
        said, _ = child.communicate(timeout=60)
        seen[name] = json.loads(said)
    booked = {name: world.idle(name) for name in SERVICES}
    print(f"chaos: happened {storm.happened}")
    for name in SERVICES:
        here = {key: count for key, count in booked[name]["traffic"]["refused"].items() if count}
        print(f"chaos: {name}: seen {seen[name]}; moves {sums(booked[name])[1]}, the service's own {here}")
    return {name: (seen[name], booked[name]) for name in SERVICES}, storm.happened


def connects(seen):
    return sum(seen[key] for key in ("connected", "reset", "refused", "timeout", "unreachable", "limited", "other"))


def sums(booked):
    """Over the endpoints: attempts, moves to another backend, and each outcome."""
    outcomes = {}
    for end in booked["endpoints"]:
        for reason, count in end["outcomes"].items():
            outcomes[reason] = outcomes.get(reason, 0) + count
    attempts = sum(end["attempts"] for end in booked["endpoints"])
    return attempts, sum(end["failedOver"] for end in booked["endpoints"]), outcomes


def refused_here(booked):
    """Connects that got no backend at all."""
    return sum(booked["traffic"]["refused"][key] for key in ("no_backend", "limited"))


@pytest.mark.parametrize("name", SERVICES)
def test_every_connect_is_booked_once(run, name):
    """What callers did is what the kernel counted: one attempt each, and one more for each move."""
    seen, booked = run[0][name]
    attempts, moves, _ = sums(booked)
    assert seen["other"] == 0, f"errno {seen['other_errno']} is none that a connect may end with"
    assert connects(seen) == attempts - moves + refused_here(booked)


@pytest.mark.parametrize("name", SERVICES)
def test_attempts_are_successes_and_failures_by_class(run, name):
    seen, booked = run[0][name]
    attempts, moves, outcomes = sums(booked)
    assert attempts == sum(outcomes.values()) - outcomes["reset"] - outcomes["reported"]
    assert outcomes["connected"] == seen["connected"] + seen["reset"]
    booked_failures = sum(outcomes[key] for key in ("refused", "timeout", "unreachable", "not_sent", "error", "aborted"))
    assert booked_failures - moves + refused_here(booked) == \
        sum(seen[key] for key in FAILED)


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_active_when_all_is_over(run, name):
    booked = run[0][name][1]
    assert [end["active"] for end in booked["endpoints"]] == [0] * len(booked["endpoints"])


@pytest.mark.parametrize("name", SERVICES)
def test_callers_waited_no_longer_than_the_policy_lets_them(run, name):
    """connect.timeout is 2 s; the kernel's timer and a machine with other work add a little."""
    seen = run[0][name][0]
    assert seen["longest_ms"] < 4000
    assert seen["answered"] > 0


def test_the_storm_was_one(run):
    _, happened = run
    assert all(happened.get(one) for one in ONLY) if SECONDS >= 60 else happened


def test_connects_went_on_to_other_backends(run):
    """Else this run has shown nothing of failover."""
    assert sum(sums(booked)[1] for _, booked in run[0].values()) > 0


def test_all_of_it_works_again(world, run):
    """Ejections expire, links are up, the daemon answers: each service connects every time."""
    del run
    time.sleep(5)
    for i, (name, (vip, _, where)) in enumerate(SERVICES.items()):
        said, _ = world.start_load(vip, where, 1, 77 + i, 1).communicate(timeout=30)
        seen = json.loads(said)
        assert seen["connected"] == connects(seen) > 0, name
