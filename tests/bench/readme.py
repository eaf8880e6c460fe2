#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the README's measured tables from tests/bench/latest.json, between its two marks.

Before it: tests/bench/run --record. It must never write outside the marks.

    readme.py [--check]      --check: write nothing, fail when the README is not what latest.json gives
"""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
LATEST = os.path.join(HERE, "latest.json")
README = os.path.join(HERE, "..", "..", "README.md")
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def number(value, unit):
    if unit.startswith("x"):
        return f"{value:.3f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def figure_rows(rows):
    yield "| what | figure | target | quartiles | |"
    yield "|---|---|---|---|---|"
    for row in rows:
        if row["figure"] is None:
            continue
        unit = row["unit"]
        spread = " – ".join(number(v, unit) for v in row["spread"]) if row["spread"] else ""
        target = "" if row["target"] is None else f"≤ {row['target']:g}"
        held = {True: "held", False: "**not held**", None: ""}[row["held"]]
        yield f"| {row['what']} | {number(row['figure'], unit)} {unit} | {target} | {spread} | {held} |"


def cell(entry):
    if not entry:
        return "–"
    time = f"{entry['p50_ns'] / 1e3:.2f} µs"
    if "ratio" not in entry:
        return time
    return f"{time}, **{entry['ratio']:.3f}** ({entry['spread'][0]:.3f} – {entry['spread'][1]:.3f})"


def beside_rows(rows):
    yield "| p50, **ratio to direct** (quartiles) | short connection | request/response | UDP sendto |"
    yield "|---|---|---|---|"
    for row in rows:
        yield f"| {row['label']} | {cell(row.get('crr'))} | {cell(row.get('rr'))} | {cell(row.get('sendto'))} |"


def program_rows(rows):
    yield "| `bpf_stats`, ns | connect, a service | connect, unknown address | all programs of one connection |"
    yield "|---|---|---|---|"
    for row in rows:
        every = row["per_connection"].values()
        miss = "–" if row["miss_ns"] is None else f"{row['miss_ns']:.0f}"
        yield (f"| {row['label']} | {row['hit_ns']:.0f} | {miss} | "
               f"{sum(e['ns'] for e in every):.0f} in {sum(e['runs'] for e in every):.0f} runs |")


def dying_rows(figures):
    def time(value):
        return "–" if value is None else f"{value / 1e3:.0f} µs"
    yield ("| one of three backends is killed and comes back; 2,000 calls a second, each connect, request, first byte | "
           "errors | p99 before | **p99 while dead** | added |")
    yield "|---|---|---|---|---|"
    for f in figures:
        share = f"{f['errors']:,} of {f['begun']:,}"
        yield (f"| {f['label']} | {share} | {time(f['p99_before_ns'])} | **{time(f['p99_dead_ns'])}** | "
               f"{time(f['p99_added_ns'])} |")
    yield ""
    yield ("A call that failed never had its first byte: where more than one in a hundred did, there is no p99. The "
           "client has a CPU, backends and proxies share the other.")


def render(result):
    m = result["machine"]
    kind = "A quick run" if result["mode"] == "quick" else "A full run"
    lines = [f"{kind} of {result['date']}: {result['repetitions']} interleaved repetitions on {m['cpus']} CPUs "
             f"({m['cpu']}), Linux {m['kernel']}, {m['system']}. Client, server and proxies share one CPU, over "
             "loopback, the shortest path there is, where any cost shows most. Figures are medians of the ratios "
             "within each round.", ""]
    lines += [*figure_rows(result["rows"]), "", *beside_rows(result["beside"]), "",
              *program_rows(result["programs"])]
    if result.get("dying"):
        lines += ["", *dying_rows(result["dying"])]
    if result["absent"]:
        lines += ["", "Not in this run: " + ", ".join(sorted(result["absent"])) + "."]
    return "\n".join(lines)


def main():
    with open(LATEST, encoding="utf-8") as f:
        result = json.load(f)
    with open(README, encoding="utf-8") as f:
        text = f.read()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        sys.exit(f"README.md: expected one {BEGIN} and after it one {END}")
    before, rest = text.split(BEGIN)
    made = f"{before}{BEGIN}\n{render(result)}\n{END}{rest.split(END)[1]}"
    if "--check" in sys.argv[1:]:
        sys.exit("README.md: its tables are not those of tests/bench/latest.json: make bench-readme"
                 if made != text else 0)
    if made != text:
        with open(README, "w", encoding="utf-8") as f:
            f.write(made)


if __name__ == "__main__":
    main()
