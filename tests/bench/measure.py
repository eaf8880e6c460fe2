# SPDX-License-Identifier: GPL-2.0-or-later
"""The interleaved run: in each round every competitor has one short turn, and ratios are taken within it.

Before it: subjects.py. After it: report.py. A figure is a median of ratios within one round, with its quartiles:
what a machine does to all competitors at once (heat, neighbours, clocks) cancels. Must never compare numbers from
different rounds.
"""
import json
import statistics
from dataclasses import dataclass, field

from harness.sandbox import bpf_stats, program_time

HOOK = ("connect4", "cgroup_inet4_connect")
# mode of load -> milliseconds of one turn
TURN_MS = {"crr": 250, "rr": 150, "sendto": 60, "udp": 100, "udp-connect": 40, "connect": 120}
TARGET = {"crr": "tcp", "rr": "tcp", "udp": "udp", "sendto": "sink"}
HTTP = ("crr", "rr", "connect")
# Figures with a target are differences of a thousandth or two: so many more rounds in each repetition.
CLAIM_ROUNDS = 3
CLAIM_MODES = ("crr", "rr", "sendto")


@dataclass
class Series:
    """What one competitor had in one mode, by round; a turn with errors has no value."""
    p50: dict = field(default_factory=dict)
    p99: dict = field(default_factory=dict)
    operations: int = 0
    errors: int = 0
    first_error: str = ""


def quartiles(values):
    """(median, first, third); of one value, that."""
    if len(values) < 2:
        return (values[0],) * 3
    first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
    return middle, first, third


def ratios(series, base):
    """Within each round that has both; None without any."""
    both = sorted(series.keys() & base.keys())
    return quartiles([series[r] / base[r] for r in both]) if both else None


class Measure:
    """Runs repetitions and keeps what they gave."""

    def __init__(self, field_, scale=1.0):
        self.field, self.scale = field_, scale
        self.series = {}   # (mode, subject) -> Series
        self.program = {}  # (what, subject) -> {round: nanoseconds of connect4}
        self.connection = {}  # subject -> {round: {attach type: (ns, runs) per connection}}
        self.repetitions = 0
        self.round = 0

    def load(self, subject, mode, to):
        command = [self.field.tool("load"), "--mode", mode, "--to", to,
                   "--milliseconds", str(max(10, int(TURN_MS[mode] * self.scale))),
                   "--cpu", str(self.field.sandbox.cpu)]
        if mode in HTTP:
            command.append("--http")
        out = self.field.sandbox.run(command, namespace=subject.namespace, cgroup=subject.cgroup,
                                     cpu=self.field.sandbox.cpu, seconds=30)
        return json.loads(out)

    def turn(self, subject, mode):
        result = self.load(subject, mode, getattr(subject, TARGET[mode]))
        series = self.series.setdefault((mode, subject.name), Series())
        series.operations += result["operations"]
        series.errors += result["errors"]
        if result["errors"]:
            series.first_error = series.first_error or result["first_error"]
        elif result["operations"]:
            series.p50[self.round] = result["p50_ns"]
            series.p99[self.round] = result["p99_ns"]

    def program_turn(self, subject, what, mode, to):
        """Nanoseconds per run of the programs of a subject while the same client loop runs."""
        before = {kind: [program_time(fd) for fd in fds] for kind, fds in subject.programs.items()}
        result = self.load(subject, mode, to)
        if result["errors"] or not result["operations"]:
            return
        per_connection = {}
        for kind, fds in subject.programs.items():
            after = [program_time(fd) for fd in fds]
            ns = sum(a[0] - b[0] for a, b in zip(after, before[kind]))
            runs = sum(a[1] - b[1] for a, b in zip(after, before[kind]))
            per_connection[kind] = (ns / result["operations"], runs / result["operations"])
            if kind in HOOK and runs:
                self.program.setdefault((what, subject.name), {})[self.round] = ns / runs
        if what == "hit":
            self.connection.setdefault(subject.name, {})[self.round] = per_connection

    def program_turns(self, subjects):
        with bpf_stats():
            for subject in subjects:
                if any(kind in HOOK for kind in subject.programs):
                    self.program_turn(subject, "hit", "connect", subject.tcp)
                    self.program_turn(subject, "miss", "connect", subject.unknown)
                    self.program_turn(subject, "hit-datagram", "udp-connect", subject.tcp)
                    self.program_turn(subject, "miss-datagram", "udp-connect", subject.unknown)

    def in_turn(self):
        """Every competitor, beginning with another one each time, forwards and backwards."""
        everyone = list(self.field.subjects.values())
        shift = self.round % len(everyone)
        order = everyone[shift:] + everyone[:shift]
        return order[::-1] if self.round % 2 else order

    def go_round(self, modes, order):
        for mode in modes:
            for subject in order:
                if getattr(subject, TARGET[mode]):
                    self.turn(subject, mode)

    def repeat(self):
        """One repetition: everyone in each mode, then more rounds of those whose figures have a target."""
        order = self.in_turn()
        self.go_round(TARGET, order)
        self.program_turns(order)
        for _ in range(CLAIM_ROUNDS):
            self.round += 1
            self.go_round(CLAIM_MODES, [s for s in self.in_turn() if s.claimed])
        self.round += 1
        self.repetitions += 1

    def ratio(self, mode, subject, base="direct"):
        one, other = self.series.get((mode, subject)), self.series.get((mode, base))
        return ratios(one.p50, other.p50) if one and other else None

    def program_ratio(self, what, subject, base):
        one, other = self.program.get((what, subject)), self.program.get((what, base))
        return ratios(one, other) if one and other else None

    def p50(self, mode, subject):
        series = self.series.get((mode, subject))
        return statistics.median(series.p50.values()) if series and series.p50 else None

    def p99(self, mode, subject):
        series = self.series.get((mode, subject))
        return statistics.median(series.p99.values()) if series and series.p99 else None

    def program_ns(self, what, subject):
        times = self.program.get((what, subject))
        return statistics.median(times.values()) if times else None

    def per_connection(self, subject):
        """{attach type: (ns, runs)} of one connection: medians."""
        turns = list(self.connection.get(subject, {}).values())
        kinds = sorted({kind for turn in turns for kind in turn})
        return {kind: tuple(statistics.median(turn[kind][i] for turn in turns if kind in turn) for i in (0, 1))
                for kind in kinds}

    def errors(self):
        """Lines about what failed."""
        return [f"{subject}: {mode}: {s.errors} errors of {s.operations + s.errors}, first {s.first_error}"
                for (mode, subject), s in sorted(self.series.items()) if s.errors]
