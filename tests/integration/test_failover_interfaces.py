# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs at network interfaces: where they sit, beside whom, and that they never stay where they should not."""
import glob
import json
import os
import signal
import struct
import subprocess

import pytest

from harness.daemon import Daemon
from harness.life import BPFTOOL, checks, eventually, tool
from harness.sandbox import Namespace, SandboxError
from harness.service import put, service

from conftest import BUILD

PAIR = ["sn_tc_ingress", "sn_tc_egress"]


class Place:
    """A namespace with a sinewd in it that looks after its interfaces."""

    def __init__(self, sandbox, name, *settings):
        self.sandbox = sandbox
        self.usual = "tcx"  # the way that an unnamed one means
        self.namespace = Namespace(sandbox)
        self.link("add", "v0", "type", "veth", "peer", "name", "v1")
        self.daemon = Daemon(sandbox, BUILD, name, sandbox.cgroup(name), settings, namespace=self.namespace)

    def link(self, *words):
        self.namespace.run(["ip", "link", *words])

    def allow(self, attempts):
        """A policy of its one service: so many further backends may be tried."""
        put(self.daemon, {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": "p", "namespace": "test"},
                          "spec": {"failover": {"attempts": attempts}}},
            service("one", "10.96.0.1", [("10.1.0.1", 80)], policy="p"))

    def at(self, interface):
        """{"tcx": [[name, id]], "clsact": ...}; None: there is no such interface."""
        try:
            return json.loads(self.sandbox.run([tool(BUILD, "pairs"), interface, "list"], namespace=self.namespace))
        except Exception:  # pylint: disable=broad-except
            return None

    def names(self, interface, how=None):
        how = how or self.usual
        return [name for name, _ in (self.at(interface) or {how: []})[how]]

    def carries(self, interface, how=None, seconds=3.0):
        return eventually(lambda: [name for name in self.names(interface, how) if name in PAIR] == PAIR, seconds)

    def is_bare(self, interface, seconds=3.0):
        def bare():
            found = self.at(interface)
            return not [name for how in found.values() for name, _ in how if name in PAIR]
        return eventually(bare, seconds)

    def pins(self):
        return sorted(os.path.basename(path) for path in glob.glob(
            os.path.join(self.daemon.pins, "v*", "links", "tc_*")))

    def qdiscs(self):
        said = self.sandbox.run(["tc", "qdisc", "show"], namespace=self.namespace)
        return sorted(line.split()[line.split().index("dev") + 1] for line in said.splitlines() if "clsact" in line)

    def foreign(self, interface, how):
        return self.sandbox.start_ready([tool(BUILD, "pairs"), interface, how], namespace=self.namespace)

    def report(self):
        return {one["name"]: one for one in self.daemon.get("/v1/status")["interfaces"]}


def other(how):
    return "clsact" if how == "tcx" else "tcx"


@pytest.fixture(scope="module")
def ways(sandbox):
    """Those that this kernel has, the best one first."""
    namespace = Namespace(sandbox)
    try:
        sandbox.start_ready([tool(BUILD, "pairs"), "lo", "tcx"], namespace=namespace)
        return ["tcx", "clsact"]
    except SandboxError:
        return ["clsact"]


def need(ways, *hows):
    for how in hows:
        if how not in ways:
            pytest.skip(f"this kernel has no {how}")


@pytest.fixture(scope="module", params=["tcx", "clsact"])
def place(request, sandbox, ways):
    need(ways, request.param)
    made = Place(sandbox, f"by_{request.param}", f"failover.attach={request.param}")
    made.how = request.param
    made.allow(2)
    return made


def test_every_interface_carries_the_pair_and_only_if_a_policy_wants_it(place):
    for interface in ("lo", "v0", "v1"):
        assert place.carries(interface, place.how), place.daemon.log()
        assert not place.names(interface, other(place.how))
    place.allow(0)
    for interface in ("lo", "v0", "v1"):
        assert place.is_bare(interface)
    assert not place.pins() and not place.qdiscs()
    assert {one["reason"] for one in place.report().values()} == {"no policy allows failover"}
    place.allow(2)
    assert place.carries("lo", place.how)


def test_an_interface_that_appears_carries_it_within_a_second_and_leaves_nothing_when_it_goes(place):
    assert place.carries("lo", place.how) and place.carries("v0", place.how) and place.carries("v1", place.how)
    before = place.pins()
    for _ in range(5):
        place.link("add", "late", "type", "veth", "peer", "name", "later")
        assert place.carries("late", place.how, 1) and place.carries("later", place.how, 1)
        place.link("del", "late")
        assert eventually(lambda: place.pins() == before), place.pins()
    assert "error" not in place.daemon.log()


def test_more_news_than_the_kernel_keeps_for_us_leave_nobody_deaf(place):
    """sinewd stands still while an interface changes: its netlink socket overflows, and tells so by an error."""
    place.link("set", "v0", "up")  # of what is down nobody is told
    overflow = "".join(f"link set v0 alias a{n}\n" for n in range(3000))
    os.kill(place.daemon.child.pid, signal.SIGSTOP)
    try:
        place.namespace.run(["ip", "-batch", "-"], text=overflow)
        place.link("add", "d1", "type", "bridge")
    finally:
        os.kill(place.daemon.child.pid, signal.SIGCONT)
    assert place.carries("d1", place.how), place.daemon.log()
    place.link("add", "d2", "type", "bridge")
    assert place.carries("d2", place.how), place.daemon.log()
    for interface in ("d1", "d2"):
        place.link("del", interface)
    assert eventually(lambda: not {"d1", "d2"} & set(place.report()))


def test_a_port_of_a_bridge_keeps_it_and_so_does_the_bridge(place):
    place.link("add", "bridge", "type", "bridge")
    place.link("add", "port", "type", "veth", "peer", "name", "inside")
    place.link("set", "port", "master", "bridge")
    assert place.carries("bridge", place.how) and place.carries("port", place.how)
    place.link("set", "port", "nomaster")
    place.link("set", "port", "name", "renamed")
    assert place.carries("renamed", place.how)
    assert eventually(lambda: "renamed" in place.report() and "port" not in place.report())
    place.link("del", "bridge")
    place.link("del", "renamed")


def test_a_device_without_a_link_layer_header_is_passed_over_and_named(place):
    place.namespace.run(["ip", "tuntap", "add", "bare", "mode", "tun"])
    assert eventually(lambda: "bare" in place.report())
    assert place.report()["bare"]["reason"] == "no link-layer header"
    assert not place.names("bare", place.how)
    level, text, _ = checks(place.daemon)["failover"]
    assert level == "warn" and "bare (no link-layer header)" in text, text
    place.namespace.run(["ip", "tuntap", "del", "bare", "mode", "tun"])
    assert eventually(lambda: checks(place.daemon)["failover"][0] == "ok")


@pytest.mark.parametrize("theirs", ["tcx", "clsact"])
def test_programs_of_others_survive_and_are_named(place, ways, theirs):
    need(ways, theirs)
    place.link("add", "shared", "type", "veth", "peer", "name", "far")
    child = place.foreign("shared", theirs)
    assert place.carries("shared", place.how)
    assert "someone_elses" in place.names("shared", theirs)
    text = checks(place.daemon)["failover"][1]
    assert "someone_elses" in text and "shared" in text, text
    place.allow(0)
    assert place.is_bare("shared")
    assert place.names("shared", theirs) == ["someone_elses"]
    assert place.qdiscs() == (["shared"] if theirs == "clsact" else [])
    place.allow(2)
    assert place.carries("shared", place.how) and "someone_elses" in place.names("shared", theirs)
    child.terminate()
    child.wait()
    place.link("del", "shared")


def test_kill_and_restart_keep_the_pair_attached(place):
    assert place.carries("lo", place.how)
    old = place.at("lo")[place.how]
    place.daemon.kill()
    assert place.at("lo")[place.how] == old
    place.link("add", "meanwhile", "type", "veth", "peer", "name", "missed")
    place.link("del", "v0")
    place.daemon.start()
    assert eventually(lambda: place.at("lo")[place.how] != old and place.carries("lo", place.how))
    assert len(place.at("lo")[place.how]) == 2
    assert place.carries("meanwhile", place.how)
    assert eventually(lambda: len({pin.split("_")[1] for pin in place.pins()}) == 3), place.pins()
    place.link("del", "meanwhile")
    place.link("add", "v0", "type", "veth", "peer", "name", "v1")


def test_a_reload_with_another_knob_swaps_the_pair(place):
    assert place.carries("v0", place.how)
    old = place.at("v0")[place.how]
    place.daemon.reload({"bypass.mark": "77"})
    new = place.at("v0")[place.how]
    assert [name for name, _ in new] == PAIR and not {n for _, n in old} & {n for _, n in new}
    place.daemon.reload({})


def test_what_others_take_away_is_attached_again(place):
    assert place.carries("v1", place.how)
    if place.how == "tcx":
        pins = glob.glob(os.path.join(place.daemon.pins, "v*", "links", "tc_*"))
        for pin in pins:
            os.unlink(pin)
    else:
        place.namespace.run(["tc", "qdisc", "del", "dev", "v1", "clsact"])
    assert eventually(lambda: "had lost our programs" in place.daemon.log())
    assert place.carries("v1", place.how)


def test_a_second_daemon_is_refused_and_changes_nothing(place):
    assert place.carries("lo", place.how)
    before = place.at("lo")
    done = subprocess.run(place.daemon.command(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
                          check=False, preexec_fn=place.sandbox.entering(place.namespace, None, None, False))
    assert done.returncode == 1 and "another sinewd" in done.stderr
    assert place.at("lo") == before


def test_a_list_of_names_and_off_by_reload(sandbox, ways):
    made = Place(sandbox, "listed")
    made.usual = ways[0]
    made.allow(1)
    assert made.carries("lo")
    made.daemon.reload({"failover.interfaces": "v*"})
    assert made.is_bare("lo") and made.carries("v0") and made.carries("v1")
    assert made.report()["lo"]["reason"] == "not one of failover.interfaces"
    made.daemon.reload({"failover.interfaces": "off"})
    assert made.is_bare("v0") and not made.pins()
    assert "off" in checks(made.daemon)["failover"][1]
    made.daemon.reload({"failover.interfaces": "auto"})
    assert made.carries("lo") and made.carries("v1")


def test_connections_that_were_moved_keep_the_pair(sandbox, ways):
    made = Place(sandbox, "moved")
    made.usual = ways[0]
    made.allow(1)
    assert made.carries("lo")
    pin, = glob.glob(os.path.join(made.daemon.pins, "v*", "maps", "sn_moved"))

    def moved(number):
        sandbox.run([BPFTOOL, "map", "update", "pinned", pin, "key", "0", "0", "0", "0", "value",
                     *map(str, struct.pack("<Q", number))])

    moved(1)
    made.allow(0)
    assert not made.is_bare("lo", 1.2)
    moved(0)
    assert made.is_bare("lo")


@pytest.mark.parametrize("how", ["tcx", "clsact"])
@pytest.mark.parametrize("by", ["sinewctl", "sinewd"])
def test_uninstall_leaves_nothing_of_ours_and_all_of_others(sandbox, ways, how, by):
    need(ways, how)
    made = Place(sandbox, f"gone_{how}_{by}", f"failover.attach={how}")
    child = made.foreign("v0", "clsact")
    made.allow(2)
    for interface in ("lo", "v0", "v1"):
        assert made.carries(interface, how)
    if by == "sinewd":
        made.daemon.stop()
        sandbox.run([*made.daemon.command(), "--uninstall"], namespace=made.namespace)
    else:
        made.daemon.request("POST", "/v1/uninstall")
        made.daemon.child.wait(timeout=20)
    for interface in ("lo", "v0", "v1"):
        assert made.is_bare(interface)
    assert made.names("v0", "clsact") == ["someone_elses"]
    assert made.qdiscs() == ["v0"]
    child.terminate()
    child.wait()
