# SPDX-License-Identifier: GPL-2.0-or-later
"""`active` and the counts of limits after 100,000 connects that end in every way: nothing drifts, every attempt is told.

The connects are storm.c's, which kills its own workers with sockets open; meanwhile `ss -K` ends sockets from outside.
Failover is on and one backend of three refuses, so that a share of the connections are moved ones. "spread" is the same
with packets that other CPUs take in than those that send them.
"""
import json
import os
import time

import pytest

from harness.daemon import Daemon
from harness.going import CLOSED, QUIET, dump, entries, node, read_moved, traffic
from harness.life import eventually, tool
from harness.sandbox import SandboxError
from harness.service import put, service

from conftest import BUILD

COUNT = 100000
GOOD, GOOD2, DEAD = "10.1.0.1", "10.1.0.2", "10.1.0.3"
PORT = 8080
LIMITS = {"service": 50000, "backend": 30000, "pending": 20000}  # never reached: they only count


@pytest.fixture(scope="module")
def daemon(sandbox, namespace):
    """Instead of the ring's: it looks after the interfaces of the clients' namespace."""
    return Daemon(sandbox, BUILD, "sinewd", sandbox.cgroup("served"), namespace=namespace)


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, daemon):
    sandbox.start_ready([tool(BUILD, "storm"), "serve", f"{GOOD}:{PORT}", f"{GOOD2}:{PORT}"], namespace=namespace)
    spec = {"connectionLimits": LIMITS, **QUIET}
    for name, attempts in (("plain", 0), ("moves", 2)):
        put(daemon, {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": name, "namespace": "test"},
                     "spec": {**spec, "failover": {"attempts": attempts}}})
    for name, number in (("plain", 1), ("moves", 2), ("spread", 3)):
        rules = "plain" if name == "plain" else "moves"
        put(daemon, service(name, f"10.96.0.{number}", [(a, PORT) for a in (GOOD, GOOD2, DEAD)], policy=rules),
            service(f"{name}-dead", f"10.96.1.{number}", [(DEAD, 9)], policy=rules))
    assert eventually(lambda: [one for one in daemon.get("/v1/status")["interfaces"]
                               if one["name"] == "lo" and not one.get("reason")])


def limits(daemon):
    """[(active, pending)] of services where either is not 0."""
    values = [one["formatted"]["value"] for one in dump(daemon, "sn_svc_state")]
    return [(one["active"], one["pending"]) for one in values if one["active"] or one["pending"]]


def left(daemon):
    """What a failure is told by: flows that are somebody's still, and counts that are not 0."""
    flows = [one["formatted"]["value"] for one in dump(daemon, "sn_flows")]
    keys = ("cookie", "backend", "start_ns", "incarnation", "state", "flags")
    return {"limits": limits(daemon), "entries": [e for e in entries(daemon) if e["state"] != CLOSED],
            "node": {name: count for name, count in daemon.get("/v1/status")["node"].items() if count},
            "flows": [{key: one[key] for key in keys} for one in flows if one["cookie"] or one["state"]],
            "backends": [(one["address"], one["active"]) for name in ("plain", "moves", "spread")
                         for one in daemon.get(f"/v1/services/test/{name}")["status"]["endpoints"]]}


def destroy(namespace, child):
    """SOCK_DESTROY for some of what there is, again and again until the child is done. How many sockets it hit."""
    hit, turn = 0, 0
    while child.poll() is None:
        turn += 1
        state = ("syn-sent", "established", "close-wait", "fin-wait-2", "time-wait")[turn % 5]
        said = namespace.sandbox.run(["ss", "-KHnt", "state", state, "dport", "=", f":{PORT}"], namespace=namespace)
        hit += len(said.splitlines())
        time.sleep(0.1)
    return hit


def spread(namespace):
    """Else all that comes for a socket is done on loopback before its connect() or its send() has returned."""
    if os.cpu_count() < 2:
        pytest.skip("one CPU: nothing happens at once")
    queue, cpus = "/sys/class/net/lo/queues/rx-0/rps_cpus", (1 << min(os.cpu_count(), 32)) - 1
    try:
        namespace.run(["unshare", "-m", "sh", "-c", f"mount -t sysfs none /sys && echo {cpus:x} > {queue}"])
    except SandboxError as error:
        pytest.skip(f"packets cannot be spread over CPUs: {error}")


@pytest.mark.parametrize("name,number", [("plain", 1), ("moves", 2), ("spread", 3)])
def test_p66_active_does_not_drift_in_100000_connects(sandbox, namespace, daemon, name, number):
    if name == "spread":
        spread(namespace)
    begin, full = time.monotonic(), node(daemon, "syn_full")
    child = sandbox.start([tool(BUILD, "storm"), "connect", str(COUNT), f"10.96.0.{number}:80", f"10.96.1.{number}:80"],
                          namespace=namespace, cgroup=daemon.cgroup)
    hit = destroy(namespace, child)
    done = json.loads(child.stdout.read())
    took = time.monotonic() - begin
    told = traffic(daemon, name)
    print(f"{name}: {done} in {took:.1f} s, {hit} sockets destroyed, {told}")
    assert done["calls"] >= COUNT and done["killed"] > 100 and hit > 10

    def idle():
        return not traffic(daemon, name)["active"] and not limits(daemon)
    assert eventually(idle, 5), (traffic(daemon, name), left(daemon))
    told, dead = traffic(daemon, name), traffic(daemon, f"{name}-dead")
    for backend in daemon.get(f"/v1/services/test/{name}")["status"]["endpoints"]:
        assert backend["active"] == 0, backend
    assert told["attempts"] == done["calls"] + told["failedOver"]
    assert told["attempts"] == sum(told["outcomes"].values()) - told["outcomes"]["reset"]
    assert dead["attempts"] == done["refusals"] == dead["outcomes"]["refused"] and not dead["active"]
    stayed = told["outcomes"]["refused"] - told["failedOver"]
    assert stayed <= node(daemon, "syn_full") - full if name != "plain" else not told["failedOver"]
    assert bool(told["failedOver"]) == (name != "plain") and (told["outcomes"]["aborted"] or name != "spread")
    assert not any(told["refused"][reason] for reason in ("untracked", "limited", "torn", "no_backend"))
    # What stays is for late packets of connections that were moved and have closed.
    assert eventually(lambda: {e["state"] for e in entries(daemon)} <= {CLOSED})
    assert read_moved(daemon) == len(entries(daemon)) and node(daemon, "flow_stale") == 0
