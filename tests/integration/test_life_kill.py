# SPDX-License-Identifier: GPL-2.0-or-later
"""sinewd dies under load, and another takes over; its programs are swapped under load.

SINEW_FULL=1 runs the sizes that the project promises: 100 kills at random points of updates under 50,000
connects, and 20,000 program swaps under connects.

Pitfalls: P-69, P-70, P-71.
"""
import json
import os
import random
import signal
import subprocess
import threading
import time

import pytest

from harness.daemon import Daemon
from harness.life import FULL, attempts, census, names, source, tool, try_put
from harness.sandbox import SandboxError
from harness.service import put, service

from conftest import BUILD

KILLS, CONNECTS = (100, 50000) if FULL else (15, 2000)
SWAPS = 20000 if FULL else 500
SERVICES = 20
ADDRESSES = ("10.1.0.1", "10.1.0.2", "10.1.0.3")
PORTS = range(9000, 9007)
FIXED, HELD = "10.96.0.1", "10.96.0.2"


def backends(generation):
    """A generation shows in the set: by its address and how many there are, different for 21 in a row."""
    return [(ADDRESSES[generation % 3], port) for port in PORTS[:1 + generation % 7]]


def snapshot(generation):
    moving = [service(f"s{i}", f"10.96.1.{i}", backends(generation)) for i in range(1, SERVICES + 1)]
    return source(service("fixed", FIXED, [(a, 9000) for a in ADDRESSES]),
                  service("held", HELD, [("10.1.0.1", 9100), ("10.1.0.2", 9100)]), *moving)


@pytest.fixture(scope="module", autouse=True)
def servers(sandbox, namespace):
    sandbox.start_ready([tool(BUILD, "churn"), "serve", *(f"{a}:{p}" for a in ADDRESSES for p in PORTS)],
                        namespace=namespace)
    sandbox.start_ready([tool(BUILD, "churn"), "echo", "10.1.0.1:9100", "10.1.0.2:9100"], namespace=namespace)


class Load:
    """Connects to all services, and connections that stay."""

    def __init__(self, sandbox, namespace, daemon):
        where = {"namespace": namespace, "cgroup": daemon.cgroup}
        self.connect = sandbox.start_ready(
            [tool(BUILD, "churn"), "connect", "3", f"{FIXED}:80", *(f"10.96.1.{i}:80" for i in range(1, SERVICES + 1))],
            **where)
        self.hold = sandbox.start_ready([tool(BUILD, "churn"), "hold", "40", f"{HELD}:80"], **where)

    def end(self):
        seen = []
        for child in (self.connect, self.hold):
            child.send_signal(signal.SIGTERM)
            seen.append(json.loads(child.communicate(timeout=30)[0]))
        return seen


def links(seen):
    return {hook: link["id"] for hook, link in seen["links"].items()}


def programs(seen):
    return {hook: link["program"] for hook, link in seen["links"].items()}


def generation_of(seen, low, high):
    """Of each moving service as the kernel holds it: the generation whose set it is, whole."""
    found = set()
    for i in range(1, SERVICES + 1):
        held = seen["services"][f"10.96.1.{i}:80"]
        assert "torn" not in held, (i, held)
        whole = [g for g in range(low, high + 1) if sorted(map(tuple, held["backends"])) == sorted(backends(g))]
        assert whole, (i, held, low, high)
        found.add(whole[0])
    return found


def declared_generation(daemon):
    """What sinewd has declared, which must be one generation for all."""
    seen = set()
    for one in daemon.get("/v1/services?limit=1000")["items"]:
        if one["metadata"]["name"].startswith("s"):
            seen.add(tuple(sorted((e["address"], e["port"]) for e in one["spec"]["endpoints"])))
    assert len(seen) == 1, seen
    return seen.pop()


def kill_in_update(daemon, generation, span):
    """kill -9 somewhere in an update, or right after it. Had it been acknowledged?"""
    said = []
    update = threading.Thread(target=lambda: said.append(try_put(daemon, "/v1/sources/manifest", snapshot(generation))))
    update.start()
    time.sleep(random.uniform(0, span))
    daemon.kill()
    update.join()
    assert said[0] in (0, 200), said
    return said[0] == 200


def test_p71_kill_at_random_points_of_updates_loses_no_connect_and_no_half_service(sandbox, namespace, daemon):
    daemon.put("/v1/sources/manifest", snapshot(0))
    before = census(BUILD, daemon)
    load = Load(sandbox, namespace, daemon)
    low, kills, acknowledged = 1, 0, 0
    began = time.monotonic()
    daemon.put("/v1/sources/manifest", snapshot(low))
    span = 1.3 * (time.monotonic() - began)
    while kills < KILLS or attempts(daemon, "fixed") * (SERVICES + 1) < CONNECTS * 1.1:
        assert kills < KILLS * 10, "too few connects"
        generation = low + 1
        was_acknowledged = kill_in_update(daemon, generation, span)
        kills += 1
        acknowledged += was_acknowledged
        dead = census(BUILD, daemon)
        generation_of(dead, low, generation)
        daemon.start()
        said = declared_generation(daemon)
        low = generation if said == tuple(sorted(backends(generation))) else low
        assert said == tuple(sorted(backends(low)))
        assert not was_acknowledged or low == generation, "an acknowledged change was forgotten"
        alive = census(BUILD, daemon)
        assert generation_of(alive, low, low) == {low}
        assert links(alive) == links(before)
        assert programs(alive) != programs(before), "its own programs are swapped in"
    seconds = time.monotonic() - began
    connects, held = load.end()
    done = sum(connects["done"])
    print(f"{kills} kills ({acknowledged} after the answer), {done} connects in {seconds:.0f} s, "
          f"failed {connects['failed']}; 40 connections held over {held['rounds']} rounds, failed {held['failed']}")
    assert (connects["failed"], connects["first"]) == (0, "")
    assert (held["failed"], held["first"]) == (0, "")
    assert done >= CONNECTS
    assert attempts(daemon, "fixed") == connects["done"][0], "counters survive, every connect is counted once"
    assert daemon.get("/v1/status")["node"]["bad_map"] == 0


def test_p71_kill_while_it_starts_or_swaps_its_programs_loses_no_connect(sandbox, namespace, daemon):
    """The other two times at which it changes what the kernel runs."""
    daemon.put("/v1/sources/manifest", snapshot(3))
    before, counted = census(BUILD, daemon), attempts(daemon, "fixed")
    load = Load(sandbox, namespace, daemon)
    for turn in range(1, (100 if FULL else 12) + 1):
        with open(daemon.config, "w", encoding="utf-8") as f:
            f.write(f"log: {{format: text}}\nbypass: {{mark: {turn}}}\n")
        if turn % 2:
            daemon.child.send_signal(signal.SIGHUP)
            time.sleep(random.uniform(0, 0.08))
        else:
            daemon.child = sandbox.start(daemon.command())
            time.sleep(random.uniform(0, 0.12))
        daemon.kill()
        dead = census(BUILD, daemon)
        assert generation_of(dead, 3, 3) == {3} and links(dead) == links(before)
        if not turn % 2:
            daemon.start()
    connects, held = load.end()
    print(f"{turn} kills, {sum(connects['done'])} connects, failed {connects['failed']}, held {held['failed']}")
    assert (connects["failed"], connects["first"], held["failed"]) == (0, "", 0)
    assert attempts(daemon, "fixed") == counted + connects["done"][0]
    assert len(names(daemon)) == SERVICES + 2


def test_p69_programs_swapped_under_connects_lose_none(sandbox, namespace, daemon):
    """Two copies of the programs that share the maps, swapped link by link: what an upgrade does once."""
    daemon.put("/v1/sources/manifest", snapshot(0))
    before, counted = census(BUILD, daemon), attempts(daemon, "fixed")
    load = Load(sandbox, namespace, daemon)
    said = sandbox.run([tool(BUILD, "swap"), daemon.pinned, str(SWAPS), "500"], seconds=300)
    connects, held = load.end()
    print(f"{said.strip()}, {sum(connects['done'])} connects, failed {connects['failed']}, held {held['failed']}")
    assert said == f"swapped {SWAPS}\n"
    assert (connects["failed"], connects["first"], held["failed"]) == (0, "", 0)
    assert sum(connects["done"]) > 500
    after = census(BUILD, daemon)
    assert links(after) == links(before) and programs(after) != programs(before)
    assert attempts(daemon, "fixed") == counted + connects["done"][0]


def test_p69_reload_with_another_knob_swaps_programs_under_connects(sandbox, namespace, daemon):
    daemon.put("/v1/sources/manifest", snapshot(0))
    before, counted = census(BUILD, daemon), attempts(daemon, "fixed")
    load = Load(sandbox, namespace, daemon)
    loaded = {tuple(programs(before).values())}
    for mark in range(1, 6):
        with open(daemon.config, "w", encoding="utf-8") as f:
            f.write(f"log: {{format: text}}\nbypass: {{mark: {mark}}}\n")
        daemon.child.send_signal(signal.SIGHUP)
        for _ in range(200):
            now = tuple(programs(census(BUILD, daemon)).values())
            if not set(now) & set().union(*loaded):
                break
            time.sleep(0.05)
        assert not set(now) & set().union(*loaded)
        loaded.add(now)
    connects, held = load.end()
    assert (connects["failed"], connects["first"], held["failed"]) == (0, "", 0)
    assert links(census(BUILD, daemon)) == links(before)
    assert attempts(daemon, "fixed") == counted + connects["done"][0]


def test_p70_a_second_instance_refuses_and_names_the_first(sandbox, daemon):
    done = subprocess.run(daemon.command(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
                          check=False)
    assert done.returncode == 1
    assert f"another sinewd (pid {daemon.child.pid}) tends {daemon.pins}" in done.stderr
    assert len(names(daemon)) == SERVICES + 2, "the first one still answers"


def test_p70_instances_with_folders_of_their_own_live_side_by_side(sandbox, daemon):
    other = Daemon(sandbox, BUILD, "other", sandbox.cgroup("other"))
    try:
        put(other, service("alone", "10.96.9.9", [("10.1.0.1", 9000)]))
        assert names(other) == ["test/alone"]
        assert "test/alone" not in names(daemon)
    finally:
        assert other.stop() == 0


def test_p70_two_started_at_once_leave_exactly_one(sandbox, daemon):
    """A rolling upgrade that starts the new one before the old one has gone."""
    daemon.kill()
    children = [subprocess.Popen(daemon.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        for _ in range(400):
            ended = [child for child in children if child.poll() is not None]
            if len(ended) == 2:
                break
            time.sleep(0.02)
        assert [child.returncode for child in ended] == [1, 1]
        for child in ended:
            said = child.stderr.read()
            assert "another sinewd (pid" in said or "holds the lock" in said
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.wait()
            child.stderr.close()
    daemon.start()
    assert len(names(daemon)) == SERVICES + 2


def test_stop_leaves_the_datapath_running(sandbox, namespace, daemon):
    """SIGTERM: status 0, programs and maps stay, connects are served with nobody at home, and counted."""
    counted = attempts(daemon, "fixed")
    load = Load(sandbox, namespace, daemon)
    assert daemon.stop() == 0
    with pytest.raises(SandboxError):
        daemon.get("/v1/status")
    time.sleep(0.5)
    seen = census(BUILD, daemon)
    assert seen["pid"] == 0 and len(seen["links"]) == 10
    connects, held = load.end()
    assert (connects["failed"], connects["first"], held["failed"]) == (0, "", 0)
    assert connects["done"][0] > 0
    daemon.start()
    assert attempts(daemon, "fixed") == counted + connects["done"][0]
    assert links(census(BUILD, daemon)) == links(seen)
