# SPDX-License-Identifier: GPL-2.0-or-later
"""From measurements to rows, and from rows to a terminal.

Before it: measure.py, control.py, past.py, dying.py, refusing.py and registries.py. After it: JSON, which readme.py turns into the README's tables. A row tells
what, the figure, the target, the spread, and whether it held; it must never fail a run: a timed figure is no test.
"""
import datetime
import os
import platform
import re

from subjects import FEW, MANY

SINEW, LOADED, CLIENT = f"sinew-{FEW}", f"sinew-{MANY}", f"sinew-{FEW}-client"
MIB = 1 << 20


def ratio_rows(m):
    """(what, target, unit, (median, q1, q3) or None)"""
    return [
        ("connect hit, every default on: its program, against a minimal balancer's", 2.5, "x",
         m.program_ratio("hit", SINEW, "minimal")),
        ("connect hit: its program, against the same with an LRU insertion", 0.45, "x",
         m.program_ratio("hit", SINEW, "minimal-lru")),
        ("the first in a tight loop of datagram connects, every cache warm", 2.5, "x",
         m.program_ratio("hit-datagram", SINEW, "minimal")),
        ("the second in the same loop", 0.45, "x", m.program_ratio("hit-datagram", SINEW, "minimal-lru")),
        ("connect to an unknown address: its program, against the minimal balancer's", 1.2, "x",
         m.program_ratio("miss", SINEW, "minimal")),
        ("the same in a tight loop, every cache warm", 1.2, "x",
         m.program_ratio("miss-datagram", SINEW, "minimal")),
        ("short connections, p50, client and server covered", 1.012, "x direct", m.ratio("crr", SINEW)),
        ("short connections, p50, client covered", 1.012, "x direct", m.ratio("crr", CLIENT)),
        ("request/response on an open connection, p50", 1.002, "x direct", m.ratio("rr", SINEW)),
        (f"short connections with {MANY:,} services, against {FEW}", 1.02, "x", m.ratio("crr", LOADED, SINEW)),
        (f"request/response with {MANY:,} services, against {FEW}", 1.02, "x", m.ratio("rr", LOADED, SINEW)),
        ("unconnected UDP sendto", 1.25, "x direct", m.ratio("sendto", SINEW)),
        ("direct against itself: what this machine cannot tell apart", None, "x direct",
         m.ratio("crr", "direct-again")),
        ("the same, request/response", None, "x direct", m.ratio("rr", "direct-again")),
    ]


def control_rows(figures):
    def scaled(name, by=1.0):
        return tuple(v / by for v in figures[name]) if name in figures else None
    flips = "connects, 1,000 a second by 8 clients, while a set flips between 1 and 100 backends"
    if "flips" in figures:
        flips += f": {figures['flip_connects'][0]:,} connects, {figures['flips'][0]:,} flips"
    return [
        (flips, 0, "errors", scaled("flip_errors")),
        ("full sync of 10,000 services, 30,000 backends: API call, JSON included", 60, "ms", scaled("sync_ms")),
        ("the same snapshot again", None, "ms", scaled("sync_same_ms")),
        ("every backend another", None, "ms", scaled("sync_changed_ms")),
        ("one backend changed: API call to visible in the map, p99", 1.0, "ms", scaled("change_visible_p99_ms")),
        ("the same until it is answered, p99", None, "ms", scaled("change_answered_p99_ms")),
        ("sinewd memory (PSS), idle", 8, "MiB", scaled("pss_idle_bytes", MIB)),
        ("sinewd memory (PSS), 10,000 services", 32, "MiB", scaled("pss_many_bytes", MIB)),
        ("/metrics of 10,000 services: longest turn of the loop", 5, "ms", scaled("scrape_turn_ms")),
        ("the same: longest wait of another client meanwhile", None, "ms", scaled("scrape_wait_ms")),
        ("the same: wall time of the scrape", None, "ms", scaled("scrape_wall_ms")),
    ]


def as_row(what, target, unit, figure):
    row = {"what": what, "unit": unit, "target": target, "figure": None, "spread": None, "held": None}
    if figure:
        row["figure"] = round(figure[0], 5)
        row["spread"] = [round(figure[1], 5), round(figure[2], 5)] if figure[1] != figure[2] else None
        row["held"] = None if target is None else figure[0] <= target
    return row


def beside_rows(measure, labels):
    rows = []
    for name, label in labels.items():
        row = {"name": name, "label": label}
        for mode in ("crr", "rr", "udp", "sendto"):
            if name == "direct" and measure.p50(mode, name):
                row[mode] = {"p50_ns": round(measure.p50(mode, name)), "p99_ns": round(measure.p99(mode, name))}
            elif measure.ratio(mode, name):
                middle, first, third = measure.ratio(mode, name)
                row[mode] = {"p50_ns": round(measure.p50(mode, name)), "p99_ns": round(measure.p99(mode, name)),
                             "ratio": round(middle, 4), "spread": [round(first, 4), round(third, 4)]}
        rows.append(row)
    return rows


def program_rows(measure, labels):
    rows = []
    for name, label in labels.items():
        hit, miss = measure.program_ns("hit", name), measure.program_ns("miss", name)
        if hit is None:
            continue
        all_programs = {kind: {"ns": round(ns, 1), "runs": round(runs, 2)}
                        for kind, (ns, runs) in measure.per_connection(name).items()}
        warm_hit, warm_miss = measure.program_ns("hit-datagram", name), measure.program_ns("miss-datagram", name)
        rows.append({"name": name, "label": label, "hit_ns": round(hit, 1),
                     "miss_ns": round(miss, 1) if miss else None,
                     "warm_hit_ns": round(warm_hit, 1) if warm_hit else None,
                     "warm_miss_ns": round(warm_miss, 1) if warm_miss else None, "per_connection": all_programs})
    return rows


def machine():
    """What a reader needs to judge the figures; no names of hosts, no paths."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = re.search(r"^model name\s*: (.*)$", f.read(), re.MULTILINE)
    with open("/etc/os-release", encoding="utf-8") as f:
        system = re.search(r'^PRETTY_NAME="?([^"\n]*)', f.read(), re.MULTILINE)
    return {"cpu": model.group(1).strip() if model else platform.machine(), "cpus": os.cpu_count(),
            "kernel": re.match(r"[0-9.]*[0-9]", platform.release()).group(0), "arch": platform.machine(),
            "system": system.group(1) if system else "Linux"}


def assemble(measure, control, parts, arguments):
    past, dying, refusing, registries = parts
    labels = {s.name: s.label for s in measure.field.subjects.values()}
    rows = (ratio_rows(measure) + past.rows() + refusing.rows() + dying.rows() +
            control_rows(control.figures if control else {}) + registries.rows())
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "mode": "quick" if arguments.quick else "full",
        "only": arguments.only,
        "repetitions": measure.repetitions,
        "machine": machine(),
        "rows": [as_row(*row) for row in rows],
        "beside": beside_rows(measure, labels),
        "programs": program_rows(measure, labels),
        "dying": dying.figures(),
        "past_us": past.figures(),
        "control": {k: [round(x, 4) for x in v] for k, v in control.figures.items()} if control else {},
        "registries": {k: [round(x, 4) for x in v] for k, v in registries.figures.items()},
        "absent": measure.field.absent,
        "errors": measure.errors() + past.errors + registries.errors + (control.errors if control else []),
    }


def number(value, unit):
    if value is None:
        return "-"
    return f"{value:.4f}" if unit.startswith("x") else f"{value:.2f}"


def word(held):
    return {True: "held", False: "NOT held", None: ""}[held]


def spread_text(row):
    if not row["spread"]:
        return ""
    return " .. ".join(number(v, row["unit"]) for v in row["spread"])


def lines_of(table):
    """Columns under one another; the first to the left, the others to the right."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        yield "  ".join([line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:])]).rstrip()


def ratio_cell(entry):
    if not entry:
        return "-"
    if "ratio" not in entry:
        return "1"
    return f"{entry['ratio']:.3f} ({entry['spread'][0]:.3f} .. {entry['spread'][1]:.3f})"


def micro(entry):
    return f"{entry['p50_ns'] / 1e3:.2f}" if entry else "-"


def dying_lines(figures):
    table = [("a backend dies and returns", "calls", "errors", "p99 before, us", "while dead", "added", "after")]
    for f in figures:
        times = ["-" if f[k] is None else f"{f[k] / 1e3:.0f}"
                 for k in ("p99_before_ns", "p99_dead_ns", "p99_added_ns", "p99_after_ns")]
        table.append((f["label"], str(f["begun"]), str(f["errors"]), *times))
    return lines_of(table)


def show(result):
    """The report for a terminal."""
    table = [("what", "figure", "unit", "target", "quartiles", "")]
    for row in result["rows"]:
        if result["only"] and row["figure"] is None:
            continue
        target = "" if row["target"] is None else f"<= {row['target']:g}"
        figure = "not measured" if row["figure"] is None else number(row["figure"], row["unit"])
        table.append((row["what"], figure, row["unit"], target, spread_text(row), word(row["held"])))
    yield from lines_of(table)
    yield ""
    table = [("p50, us and against direct", "short conn.", "x direct", "request/resp.", "x direct",
              "sendto", "x direct", "UDP echo", "x direct")]
    for b in result["beside"]:
        cells = [c for mode in ("crr", "rr", "sendto", "udp") for c in (micro(b.get(mode)), ratio_cell(b.get(mode)))]
        table.append((b["label"], *cells))
    yield from lines_of(table)
    yield ""
    table = [("bpf_stats, ns of connect4", "hit", "miss", "warm hit", "warm miss",
              "all programs of a connection", "runs")]
    for p in result["programs"]:
        every = p["per_connection"].values()
        times = ["-" if p[k] is None else f"{p[k]:.0f}"
                 for k in ("hit_ns", "miss_ns", "warm_hit_ns", "warm_miss_ns")]
        table.append((p["label"], *times,
                      f"{sum(e['ns'] for e in every):.0f}", f"{sum(e['runs'] for e in every):.1f}"))
    yield from lines_of(table)
    yield ""
    yield from dying_lines(result["dying"])
    yield ""
    for name, why in result["absent"].items():
        yield f"absent: {name}: {why}"
    for line in result["errors"]:
        yield f"errors: {line}"
    m = result["machine"]
    yield (f"{result['mode']} run, {result['repetitions']} repetitions, {m['cpu']}, {m['cpus']} CPUs, "
           f"Linux {m['kernel']}, {m['system']}")
