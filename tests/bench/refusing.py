# SPDX-License-Identifier: GPL-2.0-or-later
"""How many errors reach an application while backends refuse, die and are slow, and what the choice by load gains.

Before it: ground.py. After it: report.py. Every storm is against a service of its own, about which nothing is known
yet. Must never count an error twice, nor excuse one.
"""
from harness.sandbox import SandboxError
from harness.service import service
from ground import BACKENDS, PORT, Ground, everyone, policy

CLOSED = 9001
BRISK, SLUGGISH = 8090, 8091  # ports of servers that accept after PAUSE_US, and ten times slower with a short queue
PAUSE_US, SLOW_RATE = 400, 1000  # a third of the calls is more than the slow one takes, a half is little for others
PATIENCE_NS = 2e9  # of storm.c: more than one call in a hundred took longer
NAMES = ("refuses", "rolling", "off", "p2c", "random")


class Refusing:
    """One ground with a sinewd at its interfaces; errors add up, times are the last run's."""

    def __init__(self, field, scale):
        self.field, self.sandbox, self.scale = field, field.sandbox, scale
        self.ground, self.daemon, self.services = None, None, 0
        self.told = {name: [] for name in NAMES}

    def add(self):
        with self.field.trying("refusing"):
            ground = Ground(self.sandbox, self.field.build, "refusing")
            for address in BACKENDS:
                ground.serve(f"{address}:{BRISK}", "--pause", str(PAUSE_US))
            ground.serve(f"{BACKENDS[0]}:{SLUGGISH}", "--backlog", "16", "--pause", str(10 * PAUSE_US))
            self.daemon = ground.daemon(policy("off", failover={"attempts": 0}),
                                        policy("random", loadBalancer={"algorithm": "random"}))
            self.ground = ground

    def fresh(self, ends, **spec):
        """The address of a new service."""
        self.services += 1
        address = f"10.96.0.{self.services}"
        one = service(f"s{self.services}", address, ends, **spec)
        self.daemon.put(f"/v1/services/test/s{self.services}", one)
        return f"{address}:80"

    def length(self, milliseconds):
        return int(milliseconds * self.scale)

    def storm(self, name, to, steps, **how):
        try:
            self.told[name].append(self.ground.storm(to, steps, **how)["phases"])
        except SandboxError as error:
            self.field.say(f"refusing: {name}: {error}")
        finally:
            self.ground.mend()

    def rolling_steps(self):
        """Each backend is killed once and is back before the next one."""
        steps = []
        for number in range(len(BACKENDS)):
            steps += [(self.length(1400), lambda n=number: self.ground.kill(n)),
                      (self.length(1400), lambda n=number: self.ground.start(n))]
        return steps + [(self.length(1600), None)]

    def repeat(self):
        if not self.ground:
            return
        one_refuses = everyone()[:2] + [(BACKENDS[2], CLOSED)]
        slow = [(BACKENDS[0], SLUGGISH)] + [(b, BRISK) for b in BACKENDS[1:]]
        self.storm("refuses", self.fresh(one_refuses), [(self.length(10000), None)])
        self.storm("rolling", self.fresh(everyone()), self.rolling_steps())
        self.storm("off", self.fresh(one_refuses, policy="off"), [(self.length(5000), None)])
        for name, spec in (("p2c", {}), ("random", {"policy": "random"})):
            self.storm(name, self.fresh(slow, **spec), [(4000, None)], rate=SLOW_RATE)

    def errors(self, name, what="errors", add=sum):
        """(median, first, third quartile) as report.py has them: of a count, that."""
        runs = [sum(phase[what] for phase in run) for run in self.told[name]]
        return (add(runs),) * 3 if runs else None

    def lost(self):
        """Calls that a killed process had accepted: after that nobody but the application can try again."""
        both = self.errors("rolling"), self.errors("rolling", "at_connect")
        return (both[0][0] - both[1][0],) * 3 if both[0] else None

    def calls(self, name):
        return sum(phase["begun"] for run in self.told[name] for phase in run)

    def gain(self):
        def p99(name):
            return [run[0]["connect_p99_ns"] or PATIENCE_NS for run in self.told[name]]
        pairs = [a / b for a, b in zip(p99("p2c"), p99("random"))]
        return (max(pairs),) * 3 if pairs else None

    def rows(self):
        """(what, target, unit, figure) for report.py."""
        return [
            (f"one of three backends refuses: errors of {self.calls('refuses'):,} calls", 0, "errors",
             self.errors("refuses")),
            (f"each backend is killed and comes back: connect() errors of {self.calls('rolling'):,} calls", 0, "errors",
             self.errors("rolling", "at_connect")),
            ("the same: calls that the killed process had accepted, and took with it", None, "errors", self.lost()),
            ("failover off, one of three refuses: errors until it is ejected (5, and a probe)", 6, "errors",
             self.errors("off", add=max)),
            ("one backend accepts ten times slower: p99 of connect(), p2c against random", 0.5, "x", self.gain()),
        ]
