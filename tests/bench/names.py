#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""DNS: how many questions a second sinew-agent answers on one CPU, and how long each takes at a given rate; a real sinewd
with 10,000 services beside it, dnsperf on another CPU. Needs root; leaves nothing behind.

    tests/bench/names.py [--rate N] [--seconds N] [--repetitions N] [--first]

Before it: make all. After it: a table and one line of JSON; medians of the repetitions. With --first both ends run before
everybody else (SCHED_FIFO): on a machine that others use, the rest measures them. The exit status says whether the bench
worked, never whether a target was met.
"""
import argparse
import json
import os
import random
import re
import statistics
import sys
import threading

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

from harness.agent import Agent  # noqa: E402
from harness.daemon import Daemon  # noqa: E402
from harness.sandbox import Namespace, Sandbox, SandboxError  # noqa: E402

SERVICES = 10000
ADDRESS = "127.0.0.153"
TARGETS = {"queries_per_second": 30000, "p99_ms": 1.0}


def snapshot():
    return json.dumps({"apiVersion": "sinew/v1", "kind": "List", "items": [
        {"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"namespace": f"team-{n % 50}", "name": f"service-{n}"},
         "spec": {"ports": [{"port": 80}], "endpoints": [{"address": "10.1.0.1", "port": 8080}]}}
        for n in range(SERVICES)]}).encode()


def questions(sandbox):
    chance = random.Random(1)
    numbers = [chance.randrange(SERVICES) for _ in range(20000)]
    return sandbox.write("questions", "".join(f"service-{n}.team-{n % 50}.sinew A\n" for n in numbers))


class Bench:
    def __init__(self, sandbox, arguments, cpus):
        self.sandbox, self.arguments, self.cpus = sandbox, arguments, cpus
        build = os.environ.get("SINEW_BUILD") or os.path.join(HERE, "..", "..", "build")
        self.namespace = Namespace(sandbox)
        self.daemon = Daemon(sandbox, build, "sinewd", sandbox.cgroup("served"))
        self.daemon.request("PUT", "/v1/sources/bench", snapshot())
        self.agent = Agent(sandbox, build, self.daemon, [], settings={"dns.address": f"{ADDRESS}:53"},
                           namespace=self.namespace)
        self.agent.wait_ready()
        self.first = ["chrt", "--fifo", "5"] if arguments.first else []
        if self.first:
            sandbox.run(["chrt", "--fifo", "--all-tasks", "--pid", "5", str(self.agent.child.pid)])
        self.file = questions(sandbox)

    def ask(self, *words):
        """What dnsperf says of --seconds of asking."""
        said = self.sandbox.run([*self.first, "dnsperf", "-s", ADDRESS, "-p", "53", "-d", self.file, "-c", "4", "-T", "1", "-l",
                                 str(self.arguments.seconds), *words], namespace=self.namespace, cpu=self.cpus[-1])
        if not re.search(r"Response codes: +NOERROR \d+ \(100\.00%\)", said):
            raise SandboxError(f"not every question was answered: {said[-600:]}")
        return said

    def rate(self):
        before = self.agent.cpu_seconds()
        said = self.ask("-q", "50")
        done = int(re.search(r"Queries completed: +(\d+)", said).group(1))
        spent = self.agent.cpu_seconds() - before
        return {"queries_per_second": float(re.search(r"Queries per second: +([\d.]+)", said).group(1)),
                "queries_per_cpu_second": done / spent, "lost": int(re.search(r"Queries lost: +(\d+)", said).group(1))}

    def latency(self):
        said = self.ask("-q", "50", "-Q", str(self.arguments.rate), "-v")
        took = sorted(float(line.rsplit(" ", 1)[1]) * 1e3 for line in said.splitlines() if line.startswith("> "))
        if len(took) < 1000:
            raise SandboxError(f"dnsperf told of {len(took)} answers only")
        return {"asked_per_second": len(took) / self.arguments.seconds,
                **{f"p{share}_ms": took[int(len(took) * share / 100)] for share in (50, 99, 99.9)}}

    def change(self, stop):
        """A name more, twice a second: the agent reads the whole list again."""
        number = 0
        while not stop.wait(0.5):
            number += 1
            self.daemon.put(f"/v1/services/more/name-{number}", {
                "apiVersion": "sinew/v1", "kind": "Service", "metadata": {"namespace": "more", "name": f"name-{number}"},
                "spec": {"ports": [{"port": 80}]}})

    def churn(self):
        stop = threading.Event()
        changer = threading.Thread(target=self.change, args=(stop,))
        changer.start()
        try:
            took = self.latency()
        finally:
            stop.set()
            changer.join()
        return {"p99_ms_while_names_change": took["p99_ms"]}

    def run(self):
        rounds = [{**self.rate(), **self.latency(), **self.churn()} for _ in range(self.arguments.repetitions)]
        figures = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        return {**figures, "services": SERVICES, "agent_pss_mib": self.agent.pss_bytes() / 2**20}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rate", type=int, default=30000, help="questions a second while the time of each is taken")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--first", action="store_true", help="before everybody else on this machine")
    arguments = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    try:
        with Sandbox("bench-names", housekeeping=cpus[0], cpu=cpus[-1]) as sandbox:
            figures = Bench(sandbox, arguments, cpus).run()
    except (SandboxError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for key, value in figures.items():
        target = TARGETS.get(key)
        held = "" if target is None else f"target {target:g}: " + \
            ("held" if (value <= target if key.endswith("ms") else value >= target) else "not held")
        print(f"{key:28}{value:14,.3f}  {held}")
    print(json.dumps({key: round(value, 4) for key, value in figures.items()}))
    return 0


sys.exit(main())
