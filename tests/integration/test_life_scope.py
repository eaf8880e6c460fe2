# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is served and who is left alone, and that what comes and goes leaves nothing in the maps.

Pitfalls: P-40, P-49, P-50, P-52, P-73, P-74, P-75.
"""
import json
import os
import shutil
import signal
import socket
import subprocess

import pytest

from harness.daemon import Daemon
from harness.life import BPFTOOL, FULL, ask, census, eventually
from harness.sandbox import SandboxError
from harness.service import ask_tcp, connect_errno, put, serve_tcp, service

from conftest import BUILD

CGROUPS = 10000 if FULL else 2000
MARK = 0x51
RING_RECORDS = 256 * 1024 // (104 + 8)  # of sizeof(struct sn_event) and the ring's own header
VIP = "10.96.0.10"


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, daemon):
    """The service leads to 10.1.0.1. Somebody also listens on the address itself, as a mesh's proxy does that
    takes over what is sent to a service address: whoever is not translated gets there."""
    namespace.run(["ip", "address", "add", VIP + "/32", "dev", "lo"])
    for address, port in (("10.1.0.1", 8080), (VIP, 80)):
        sandbox.spawn(serve_tcp, address, port, namespace=namespace)
    put(daemon, service("shop", VIP, [("10.1.0.1", 8080)]), service("none", "10.96.0.11", []))


def settings(daemon, text):
    before = len(daemon.log())
    with open(daemon.config, "w", encoding="utf-8") as f:
        f.write("log: {format: text}\n" + text)
    daemon.child.send_signal(signal.SIGHUP)
    assert eventually(lambda: "settings reloaded" in daemon.log()[before:], 10), daemon.log()[before:]


def traffic(daemon, name="shop"):
    return daemon.get(f"/v1/services/test/{name}")["status"]["traffic"]


def node(daemon):
    return daemon.get("/v1/status")["node"]


def entries(daemon, name):
    dump = subprocess.run([BPFTOOL, "--json", "map", "dump", "pinned", daemon.map_pin(name)], capture_output=True,
                          text=True, check=True).stdout
    return len(json.loads(dump or "[]"))


def test_p40_a_workload_set_to_bypass_reaches_the_address_itself(daemon, inside):
    """So a mesh's sidecar sees the service's address, and its policy holds; everybody else is translated."""
    meshed, plain = daemon.cgroup + "/meshed", daemon.cgroup + "/plain"
    for path in (meshed, meshed + "/pod", plain):
        os.mkdir(path)
    settings(daemon, f"bypass: {{cgroups: [{meshed}]}}\n")
    counted, passed = traffic(daemon)["attempts"], traffic(daemon)["refused"]["bypass_workload"]
    assert inside(ask_tcp, VIP, 80, cgroup=meshed) == (VIP, (VIP, 80))
    assert inside(ask_tcp, VIP, 80, cgroup=meshed + "/pod")[0] == VIP, "and whatever is below"
    assert traffic(daemon)["attempts"] == counted and traffic(daemon)["refused"]["bypass_workload"] == passed + 2
    assert inside(ask_tcp, VIP, 80, cgroup=plain)[0] == inside(ask_tcp, VIP, 80)[0] == "10.1.0.1"
    shown = daemon.get("/v1/workloads")["items"]
    assert [(one["cgroup"], one["id"], one["bypass"]) for one in shown] == [(meshed, os.stat(meshed).st_ino, True)]
    settings(daemon, "")
    assert inside(ask_tcp, VIP, 80, cgroup=meshed)[0] == "10.1.0.1", "taken back"
    assert entries(daemon, "sn_workloads") == 0


def test_p40_a_workload_that_comes_later_is_bypassed_from_its_start(daemon, inside):
    """The cgroup is named in the settings before its service starts, and made anew at each restart."""
    late = daemon.cgroup + "/late"
    settings(daemon, f"bypass: {{cgroups: [{late}]}}\n")
    ids = set()
    for _ in range(3):
        os.mkdir(late)
        ids.add(os.stat(late).st_ino)
        assert eventually(lambda: daemon.get("/v1/workloads")["items"][0]["id"] == os.stat(late).st_ino)
        assert inside(ask_tcp, VIP, 80, cgroup=late)[0] == VIP
        assert entries(daemon, "sn_workloads") == 1, "its former ids are gone"
        os.rmdir(late)
    assert len(ids) == 3
    assert eventually(lambda: daemon.get("/v1/workloads")["items"][0]["id"] == 0)
    settings(daemon, "")


def test_p40_a_workload_named_by_another_path_is_bypassed_too(sandbox, daemon, inside):
    """Through a link, and with dots: the kernel knows it by its id."""
    odd = daemon.cgroup + "/odd"
    os.mkdir(odd)
    link = sandbox.path("cgroup-link")
    os.symlink(odd, link)
    for path in (link, daemon.cgroup + "/../" + os.path.basename(daemon.cgroup) + "/odd", odd + "/"):
        settings(daemon, f"bypass: {{cgroups: ['{path}']}}\n")
        assert inside(ask_tcp, VIP, 80, cgroup=odd)[0] == VIP, path
        settings(daemon, "")
        assert inside(ask_tcp, VIP, 80, cgroup=odd)[0] == "10.1.0.1"


def test_p40_a_workload_too_deep_to_be_looked_for_is_told(daemon):
    deep = daemon.cgroup + "/d" * 16
    settings(daemon, f"bypass: {{cgroups: [{deep}]}}\n")
    assert f"bypass.cgroups: {deep} lies" in daemon.log() and "it is served" in daemon.log()
    settings(daemon, "")


def test_p40_no_translation_for_the_whole_host_but_one_cgroup(sandbox, namespace, daemon):
    """cgroup.path is the other way round: only those below are served."""
    outside = sandbox.cgroup("outside")
    assert sandbox.call(ask_tcp, VIP, 80, namespace=namespace, cgroup=outside)[0] == VIP


def test_p49_affinity_of_host_processes():
    pytest.skip("P-49: this version has no session affinity, so nothing is shared by processes of the host")


def churn_cgroups(top, count):
    """Connects once from each of `count` cgroups that live as long as that."""
    for i in range(count):
        path = f"{top}/c{i}"
        os.mkdir(path)
        with open(path + "/cgroup.procs", "w", encoding="ascii") as f:
            f.write("0")
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect((VIP, 80))
            client.recv(100)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect((VIP, 80))
        with open(top + "/cgroup.procs", "w", encoding="ascii") as f:
            f.write("0")
        os.rmdir(path)
    return count


def test_p50_cgroups_that_come_and_go_leave_nothing_in_the_maps(daemon, inside):
    """Bound and reused ids: no map is keyed by who connected, but those of workloads that were named."""
    names = ("sn_frontends", "sn_workloads", "sn_reverse")
    before = {name: entries(daemon, name) for name in names}
    fills = daemon.get("/v1/status")["maps"]
    counted = traffic(daemon)["attempts"]
    assert inside(churn_cgroups, daemon.cgroup, CGROUPS, seconds=300) == CGROUPS
    assert traffic(daemon)["attempts"] == counted + CGROUPS
    assert {name: entries(daemon, name) for name in names} == before
    assert daemon.get("/v1/status")["maps"] == fills
    assert eventually(lambda: traffic(daemon)["active"] == 0), "each flow ended with its socket"
    assert eventually(lambda: daemon.get("/v1/flows")["items"] == [])


def probe(address, port, mark):
    """A health probe: who answers, and who it thinks it talks to."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        client.connect((address, port))
        return client.recv(100).decode(), client.getpeername()


def test_p52_marked_probes_are_neither_balanced_nor_counted(daemon, inside):
    settings(daemon, f"bypass: {{mark: {MARK}}}\n")
    counted, passed = traffic(daemon), traffic(daemon)["refused"]["bypass_mark"]
    for _ in range(5):
        assert inside(probe, VIP, 80, MARK) == (VIP, (VIP, 80))
        assert inside(probe, "10.1.0.1", 8080, MARK) == ("10.1.0.1", ("10.1.0.1", 8080))
    assert traffic(daemon)["attempts"] == counted["attempts"]
    assert traffic(daemon)["outcomes"] == counted["outcomes"]
    assert traffic(daemon)["refused"]["bypass_mark"] == passed + 5
    assert inside(probe, VIP, 80, MARK + 1)[0] == "10.1.0.1", "another mark is nobody's"
    assert traffic(daemon)["attempts"] == counted["attempts"] + 1
    settings(daemon, "")
    assert inside(probe, VIP, 80, MARK)[0] == "10.1.0.1"


def test_p52_a_marked_probe_of_a_service_without_backends_is_not_refused(daemon, inside):
    settings(daemon, f"bypass: {{mark: {MARK}}}\n")
    refused = traffic(daemon, "none")["refused"]["no_backend"]
    with pytest.raises(OSError) as said:
        inside(probe, "10.96.0.11", 80, MARK)
    assert said.value.errno != 113, "no EHOSTUNREACH of ours"
    assert traffic(daemon, "none")["refused"]["no_backend"] == refused
    settings(daemon, "")


def test_p73_other_kernels_have_their_own_ring():
    pytest.skip("P-73: one kernel runs here; each feature is found by trying it, and tests/kernels boots others")


def refuse_often(address, count):
    seen = set()
    for _ in range(count):
        seen.add(connect_errno(address, 80))
    return seen


def test_p74_a_full_event_ring_costs_events_never_counts(daemon, inside):
    """Nobody reads the ring while sinewd is down; whatever it could not hold is counted, to the record."""
    lost = node(daemon)["event_lost"]
    refused = traffic(daemon, "none")["refused"]["no_backend"]
    assert daemon.stop() == 0
    count = 2 * RING_RECORDS
    assert inside(refuse_often, "10.96.0.11", count) == {113}
    daemon.start()
    assert traffic(daemon, "none")["refused"]["no_backend"] == refused + count
    assert abs(node(daemon)["event_lost"] - lost - (count - RING_RECORDS)) <= 1
    assert ("warn", True) == next((one["level"], "found the ring full" in one["text"])
                                  for one in daemon.get("/v1/doctor")["items"] if one["name"] == "events")
    after = node(daemon)["event_lost"]
    inside(refuse_often, "10.96.0.11", 100)
    assert node(daemon)["event_lost"] == after, "it is read again"


def test_p75_nobody_needs_the_maps(daemon, inside):
    """What other tools read from pinned maps is told as JSON, with a name instead of a layout."""
    inside(ask_tcp, VIP, 80)
    backend = next(one for one in daemon.get("/v1/backends")["items"] if one["address"] == "10.1.0.1")
    assert 0 < backend["attempts"] <= traffic(daemon)["attempts"]
    described = json.loads(ask(daemon.status_socket, "GET", "/v1/openapi.json")[1])
    assert {"/v1/backends", "/v1/flows", "/v1/services"} <= set(described["paths"])


def test_a_stopped_sinewd_can_be_left_out_for_good(sandbox, namespace):
    """Pins removed by hand after it stopped: the programs go with them, and sockets work as if they had never been."""
    made = Daemon(sandbox, BUILD, "left", sandbox.cgroup("left"))
    put(made, service("shop", VIP, [("10.1.0.1", 8080)]))
    assert sandbox.call(ask_tcp, VIP, 80, namespace=namespace, cgroup=made.cgroup)[0] == "10.1.0.1"
    assert len(census(BUILD, made)["links"]) == 10
    made.stop()
    shutil.rmtree(made.pinned)
    assert eventually(lambda: sandbox.call(ask_tcp, VIP, 80, namespace=namespace, cgroup=made.cgroup)[0] == VIP)
    with pytest.raises(SandboxError):
        made.get("/v1/status")
