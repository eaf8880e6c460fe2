# SPDX-License-Identifier: GPL-2.0-or-later
"""The way from real registries into the kernel: how long one change takes, what a hundred a second cost, how long the first
ten thousand services take.

Before it: daemon.py, agent.py and the servers of tests/peers/build. After it: report.py. A registry that is not built is
absent, with the reason. Must never count the time in which the registry is still answering its writer: the clock starts
when the write begins, so what the registry itself takes is part of each figure.
"""
import contextlib
import json
import os
import select
import time
import urllib.parse

from measure import quartiles
from harness.agent import Agent
from harness.daemon import Daemon, family
from harness.peer_server import is_built
from harness.publisher import KINDS
from harness.sandbox import Namespace, SandboxError

KNOWN = {"a": ("10.1.0.1", 8080), "b": ("10.1.0.2", 8080), "c": ("10.1.0.3", 8080)}
TARGET_MS = {"consul": 50, "etcd": 50, "kubernetes": 30, "eureka": 200 + 500}  # Eureka: its cache and one poll
LABEL = {"consul": "Consul", "etcd": "etcd", "kubernetes": "Kubernetes", "eureka": "Eureka (cache 200 ms, poll 500 ms)"}
SERVICES, ENDPOINTS = 10000, 30000
RATE = 100  # changes a second
PAGE = 500  # objects, as the agent asks for them


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def processor_seconds(pid):
    """Of a process and its descendants, so far."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{one}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


class Look:
    """When the kernel's set of a service changed, by the bench's `watch --look`."""

    def __init__(self, sandbox, tool, daemon, frontend):
        self.child = sandbox.start_ready([tool("watch"), "--look", "--pin", daemon.map_pin("sn_services"), "--frontend",
                                          frontend])
        os.set_blocking(self.child.stdout.fileno(), False)

    def times(self, seconds):
        """Seconds (CLOCK_MONOTONIC) of changes since the last call; waits for the first that long."""
        found, end = b"", time.monotonic() + seconds
        while not found.endswith(b"\n") and time.monotonic() < end:
            select.select([self.child.stdout], [], [], max(0, end - time.monotonic()))
            found += self.child.stdout.read() or b""
        return [int(line) / 1e9 for line in found.split()]

    def close(self):
        self.child.kill()
        self.child.wait()


class Registries:
    """`figures`: name -> (median, first quartile, third quartile); `absent`: {name: why}."""

    def __init__(self, sandbox, build, tool, plan, say):
        self.sandbox, self.build, self.tool, self.plan, self.say = sandbox, build, tool, plan, say
        self.figures, self.absent, self.errors = {}, {}, []

    def measure(self, wanted):
        for kind in KINDS:
            if not wanted(f"registry-{kind}"):
                continue
            if not is_built(kind):
                self.absent[LABEL[kind]] = "not built (scripts/test --peers)"
                continue
            self.say(f"registry: {kind}")
            try:
                self.measure_kind(kind)
            except (SandboxError, OSError, KeyError, ValueError) as error:
                self.absent[LABEL[kind]] = str(error)[:300]
                self.say(f"{kind}: {error}")

    def measure_kind(self, kind):
        namespace = Namespace(self.sandbox, addresses=[address for address, _ in KNOWN.values()])
        daemon = Daemon(self.sandbox, self.build, f"sinewd-{kind}", self.sandbox.cgroup(f"registry-{kind}"))
        publisher = KINDS[kind](self.sandbox, KNOWN, namespace=namespace)
        publisher.publish(*"abc")
        agent = Agent(self.sandbox, self.build, daemon, [{"name": "here", **publisher.follow()}], name=f"agent-{kind}",
                      namespace=namespace)
        try:
            agent.wait(lambda: len(agent.endpoints(publisher.name, "shop")) == 3, 30)
            address = agent.service(publisher.name, "shop")["status"]["addresses"][0]
            look = Look(self.sandbox, self.tool, daemon, f"{address}:{self.port(agent, publisher)}")
            self.measure_change(kind, publisher, look)
            if kind != "eureka":
                self.measure_load(kind, publisher, agent)
            look.close()
            if kind == "kubernetes":
                self.measure_first(publisher, agent)
        finally:
            agent.stop()
            daemon.stop()
            publisher.server.stop()

    @staticmethod
    def port(agent, publisher):
        return agent.service(publisher.name, "shop")["spec"]["ports"][0]["port"]

    def measure_change(self, kind, publisher, look):
        """One endpoint more, one less, in turn; from before the write until the map has it."""
        took = []
        for number in range(self.plan["changes"] if kind != "eureka" else self.plan["polled"]):
            time.sleep(0.12 + number % 7 * 0.01)  # each finds a registry at rest, and polls at another moment
            look.times(0)
            began = time.monotonic()
            publisher.publish(*("ab" if number % 2 == 0 else "abc"))
            seen = look.times(5)
            if not seen:
                raise SandboxError(f"change {number} was not in the map within 5 s")
            took.append((seen[0] - began) * 1e3)
        self.figures[f"registry_{kind}_p50_ms"] = quartiles(took)
        self.figures[f"registry_{kind}_p99_ms"] = (quantile(took, 0.99),) * 3

    def measure_load(self, kind, publisher, agent):
        """Changes without a rest; what agent and daemon use of one processor, and whether the end is right."""
        before = processor_seconds(agent.child.pid) + processor_seconds(agent.daemon.child.pid)
        began, made = time.monotonic(), 0
        while time.monotonic() - began < self.plan["load_seconds"]:
            made += 1
            publisher.publish(*("ab" if made % 2 else "abc"))
            time.sleep(max(0, began + made / RATE - time.monotonic()))
        lasted = time.monotonic() - began
        if made < 0.9 * RATE * lasted:
            self.errors.append(f"{kind}: only {made / lasted:.0f} changes a second could be made")
        publisher.publish(*"bc")
        used = processor_seconds(agent.child.pid) + processor_seconds(agent.daemon.child.pid) - before
        self.figures[f"registry_{kind}_load_percent"] = (100 * used / lasted,) * 3
        self.figures[f"registry_{kind}_load_rate"] = (made / lasted,) * 3
        wanted = {f"{address}:{port}" for address, port in (KNOWN["b"], KNOWN["c"])}

        def right():
            found = agent.endpoints(publisher.name, "shop")
            return {name for name, one in found.items() if not one.get("suspect")} == wanted
        try:
            agent.wait(right, 5)
        except SandboxError:
            self.errors.append(f"{kind}: not the last state after {made} changes: "
                               f"{agent.endpoints(publisher.name, 'shop')}"[:400])

    def measure_first(self, publisher, agent):
        """An agent without a file meets a server with ten thousand services."""
        publisher.server.make_many(SERVICES, ENDPOINTS)
        agent.stop()
        publisher.server.http.get("/api/v1/services?limit=1")
        self.measure_reading(publisher.server.http)
        took = []
        for _ in range(self.plan["firsts"]):
            agent.daemon.request("DELETE", "/v1/sources/agent")
            for name in os.listdir(agent.state):
                os.unlink(os.path.join(agent.state, name))
            began = time.monotonic()
            agent.start()
            agent.wait_ready(60)
            took.append((time.monotonic() - began) * 1e3)
            counts = agent.registry("here")
            if counts["services"] < SERVICES or counts["endpoints"] < ENDPOINTS:
                self.errors.append(f"first sync: {counts['services']} services, {counts['endpoints']} endpoints")
            self.figures["registry_first_pss_bytes"] = (agent.pss_bytes(),) * 3
            agent.stop()
        agent.start()
        self.figures["registry_first_ms"] = quartiles(took)

    def measure_reading(self, http):
        """The pages of the lists that an agent asks for then, ns a byte."""
        files = []
        for kind, path in (("service", "/api/v1/services"), ("slice", "/apis/discovery.k8s.io/v1/endpointslices")):
            following = ""
            while following is not None:
                page = http.request("GET", f"{path}?limit={PAGE}{following}")[2].decode()
                files.append(self.sandbox.write(f"{kind}-{len(files)}.json", page))
                token = json.loads(page)["metadata"].get("continue")
                following = f"&continue={urllib.parse.quote(token)}" if token else None
        said = json.loads(self.sandbox.run([self.tool("decode"), *files]))
        self.say(f"registry: {said['bytes']} bytes in {len(files)} pages")
        for name in ("parsed_ns", "decoded_ns"):
            self.figures[f"registry_json_{name}"] = (said[name],) * 3

    def rows(self):
        def figure(name, by=1.0):
            return tuple(v / by for v in self.figures[name]) if name in self.figures else None
        rows = []
        for kind in KINDS:
            rows.append((f"{LABEL[kind]}: a change in the registry to visible in the map, p99", TARGET_MS[kind], "ms",
                         figure(f"registry_{kind}_p99_ms")))
            rows.append((f"{LABEL[kind]}: the same, p50", None, "ms", figure(f"registry_{kind}_p50_ms")))
        for kind in KINDS:
            if f"registry_{kind}_load_percent" in self.figures:
                rows.append((f"{LABEL[kind]}: {RATE} changes a second, agent and daemon", 10, "% of a core",
                             figure(f"registry_{kind}_load_percent")))
        return rows + [
            ("first sync of 10,000 services, 30,000 endpoints from kube-apiserver, from the agent's start", 1500, "ms",
             figure("registry_first_ms")),
            ("the JSON of its lists: parsed (1: a gigabyte a second)", 1, "ns a byte", figure("registry_json_parsed_ns")),
            ("the same until there are objects", None, "ns a byte", figure("registry_json_decoded_ns")),
            ("sinew-agent memory (PSS) after that", 96, "MiB", figure("registry_first_pss_bytes", 1 << 20))]
