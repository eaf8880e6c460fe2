# SPDX-License-Identifier: GPL-2.0-or-later
"""What it costs to be able to go on, and to go on: connects past dead and silent backends, beside plain ones.

Before it: ground.py. After it: report.py. A service's own backends are dead and those of its fallback are
alive, so that every connect goes the same way: past one, past two. Must never let one of them be ejected.
"""
import socket
import statistics
import time

from harness.far import FAR, make_far
from harness.service import service
from ground import BACKENDS, PORT, VIP, Ground, everyone, policy
from measure import quartiles, ratios

CLOSED = 9001  # nobody listens
SILENT = ("10.7.0.1", "10.7.0.2", "10.7.0.3")
KEEP = {"outlierDetection": {"enforcing": "0%"}, "negativeAffinity": "0s"}
ON_ALL = ["refused", "unreachable", "timeout"]
TURN_MS = 200
# A connect that moved keeps its entry for a minute, and there is room for some thousands: no more than needed.
CONNECT_MS = 6
# name -> (mode of load.c, which of its figures, place, address)
TURNS = {
    "short direct": ("crr", "p50_ns", "plain", f"{BACKENDS[0]}:{PORT}"),
    "short": ("crr", "p50_ns", "attached", "10.96.0.1:80"),
    "rr direct": ("rr", "p50_ns", "plain", f"{BACKENDS[0]}:{PORT}"),
    "rr": ("rr", "p50_ns", "attached", "10.96.0.1:80"),
    "rr beside": ("rr", "p50_ns", "past", "10.96.0.1:80"),
    "rr moved": ("rr", "p50_ns", "past", "10.96.0.2:80"),
    "lo": ("connect", "first_p50_ns", "past", f"{BACKENDS[0]}:{PORT}"),
    "lo past one": ("connect", "first_p50_ns", "past", "10.96.0.2:80"),
    "lo past two": ("connect", "first_p50_ns", "past", "10.96.0.3:80"),
    "veth": ("connect", "first_p50_ns", "past", f"{FAR}:{PORT}"),
    "veth past one": ("connect", "first_p50_ns", "past", "10.96.0.4:80"),
    "veth past two": ("connect", "first_p50_ns", "past", "10.96.0.5:80"),
    "refused": ("refused", "p50_ns", "past", f"{BACKENDS[0]}:{CLOSED}"),
    "all refused": ("refused", "p50_ns", "past", "10.96.0.6:80"),
}
# Differences of a thousandth or two need more turns than those of a half.
FINE = ("crr", "rr")


def objects():
    closed = everyone(CLOSED)
    return [
        policy("keep", **KEEP), policy("near", fallback=["spare"], **KEEP),
        policy("far", fallback=["spare-far"], **KEEP),
        policy("silent", fallback=["spare-far"], connect={"attemptTimeout": "50ms"}, failover={"on": ON_ALL}, **KEEP),
        policy("mute", failover={"on": ON_ALL}, **KEEP),
        service("spare", "10.96.1.1", [(BACKENDS[0], PORT)]), service("spare-far", "10.96.1.2", [(FAR, PORT)]),
        service("live", "10.96.0.1", everyone()),
        service("one", "10.96.0.2", closed[:1], policy="near"), service("two", "10.96.0.3", closed[:2], policy="near"),
        service("one-far", "10.96.0.4", [(FAR, CLOSED)], policy="far"),
        service("two-far", "10.96.0.5", [(FAR, CLOSED), (FAR, CLOSED + 1)], policy="far"),
        service("dead", "10.96.0.6", closed, policy="keep"),
        service("silent", "10.96.0.7", [(SILENT[0], PORT)], policy="silent"),
        service("mute", "10.96.0.8", [(s, PORT) for s in SILENT], policy="mute")]


def time_connect(address, port):
    """(errno, seconds) of one connect()."""
    with socket.socket() as client:
        begin = time.monotonic()
        return client.connect_ex((address, port)), time.monotonic() - begin


class Past:
    """Three grounds: without Sinew; with a sinewd at its interfaces; and with one, too, where connects go on."""

    def __init__(self, field, scale):
        self.field, self.sandbox, self.scale = field, field.sandbox, scale
        self.grounds, self.times, self.errors, self.round = {}, {name: {} for name in TURNS}, [], 0
        self.silent, self.mute = [], None

    def add(self):
        with self.field.trying("past"):
            grounds = {name: Ground(self.sandbox, self.field.build, f"past-{name}", together=True)
                       for name in ("plain", "attached", "past")}
            past = grounds["past"]
            far = make_far(self.sandbox, past.namespace)
            past.serve(f"{FAR}:{PORT}", namespace=far)
            past.namespace.run(["sysctl", "-qw", "net.ipv4.tcp_syn_retries=1"])
            for ground, declared in ((past, objects()), (grounds["attached"], [service("live", VIP, everyone())])):
                ground.wait_answering(f"{VIP}:80", ground.daemon(*declared).child)
            past.wait_answering("10.96.0.2:80")
            self.grounds = grounds

    def load(self, mode, place, to, length):
        told = self.grounds[place].load("--mode", mode, "--to", to, "--milliseconds", str(length))
        if told["errors"]:
            self.errors.append(f"past: {mode} {to}: {told['errors']} errors, first {told['first_error']}")
        return told if told["operations"] and not told["errors"] else {}

    def turn(self, name):
        mode, figure, place, to = TURNS[name]
        told = self.load(mode, place, to, int(TURN_MS * self.scale) if mode in FINE else CONNECT_MS)
        if told:
            self.times[name][self.round] = told[figure]

    def repeat(self):
        names = list(TURNS)
        shift = self.round % len(names)
        for name in names[shift:] + names[:shift]:
            if self.round % 2 == 0 or TURNS[name][0] in FINE:
                self.turn(name)
        self.round += 1

    def wait(self):
        """What takes its time: silent backends."""
        for _ in range(3):
            told = self.load("connect", "past", "10.96.0.7:80", int(2500 * self.scale))
            if told:
                self.silent.append(told["first_p99_ns"] / 1e6)
        past = self.grounds["past"]
        self.mute = [self.sandbox.call(time_connect, *to, namespace=past.namespace, cgroup=past.cgroup)
                     for to in ((SILENT[0], PORT), ("10.96.0.8", 80))]

    def ratio(self, one, other):
        return ratios(self.times[one], self.times[other])

    def mute_row(self):
        if not self.mute:
            return None
        (plain, plain_s), (ours, ours_s) = self.mute
        return (ours_s / plain_s,) * 3 if plain == ours else None

    def rows(self):
        """(what, target, unit, figure) for report.py."""
        return [
            ("short connections, p50, programs at the interface", 1.022, "x direct", self.ratio("short", "short direct")),
            ("request/response, p50, programs at the interface", 1.015, "x direct", self.ratio("rr", "rr direct")),
            ("the same while others' flows have moved", None, "x direct", self.ratio("rr beside", "rr direct")),
            ("request/response, p50, on a flow that moved itself", 1.03, "x direct", self.ratio("rr moved", "rr direct")),
            ("connect() past one dead backend, p50, loopback", 2.5, "x plain", self.ratio("lo past one", "lo")),
            ("connect() past two, p50, loopback", 4, "x plain", self.ratio("lo past two", "lo")),
            ("connect() past one dead backend, p50, veth", 2.5, "x plain", self.ratio("veth past one", "veth")),
            ("connect() past two, p50, veth", 4, "x plain", self.ratio("veth past two", "veth")),
            ("connect() past a silent backend, attemptTimeout 50 ms, p99", 70, "ms",
             quartiles(self.silent) if self.silent else None),
            ("every backend silent: the same errno, until when", 1.01, "x plain", self.mute_row()),
            ("every backend refuses (ECONNREFUSED, after three): p50", None, "x one refusal",
             self.ratio("all refused", "refused")),
        ]

    def figures(self):
        """Medians in microseconds, for latest.json."""
        return {name: round(statistics.median(times.values()) / 1e3, 2) for name, times in self.times.items() if times}
