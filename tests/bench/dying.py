# SPDX-License-Identifier: GPL-2.0-or-later
"""A backend dies, side by side: what an application sees behind Sinew, HAProxy, Envoy and nftables.

Before it: ground.py. After it: report.py. Each is told to do what it can about a dead backend, by its own means. It
must never count what another way round the same death would have cost: all die at the same moment of the same storm.
"""
import json
import math
import os
import statistics

from harness.sandbox import SandboxError
from harness.service import service
from ground import BACKENDS, PORT, VIP, Ground, everyone, policy
from subjects import program

# Milliseconds until one of three backends is killed, until it is there again, until the end.
STEPS = (3000, 3000, 4000)
ENVOY = ("site-packages", "envoy", "_bin", "envoy")


def haproxy_config():
    servers = "".join(f"  server s{i} {b}:{PORT} check inter 1s observe layer4 error-limit 5 on-error mark-down\n"
                      for i, b in enumerate(BACKENDS))
    return ("global\n  nbthread 1\n  maxconn 8000\ndefaults\n  mode tcp\n  timeout connect 1s\n"
            "  timeout client 60s\n  timeout server 60s\n  retries 3\n  option redispatch 1\nlisten bench\n"
            f"  bind {VIP}:80\n  balance roundrobin\n{servers}")


def envoy_config():
    ends = [{"endpoint": {"address": {"socket_address": {"address": b, "port_value": PORT}}}} for b in BACKENDS]
    proxy = {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
             "stat_prefix": "bench", "cluster": "bench", "max_connect_attempts": 3}
    cluster = {"name": "bench", "type": "STATIC", "connect_timeout": "1s", "lb_policy": "ROUND_ROBIN",
               "load_assignment": {"cluster_name": "bench", "endpoints": [{"lb_endpoints": ends}]},
               "outlier_detection": {"consecutive_5xx": 5, "interval": "1s", "base_ejection_time": "30s",
                                     "max_ejection_percent": 50}}
    listener = {"name": "bench", "address": {"socket_address": {"address": VIP, "port_value": 80}},
                "filter_chains": [{"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]}]}
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})


def nft_rules():
    ends = ", ".join(f"{i} : {b} . {PORT}" for i, b in enumerate(BACKENDS))
    return ("table ip bench {\nchain output {\ntype nat hook output priority -100\n"
            f"ip daddr {VIP} tcp dport 80 dnat ip to numgen random mod {len(BACKENDS)} map {{ {ends} }}\n}}\n}}\n")


def envoy_program():
    """Where scripts/deps bench has put it, or whoever runs the bench has."""
    cache = os.environ.get("SINEW_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "sinew")
    found = [os.path.join(root, *ENVOY) for root in lib_folders(os.path.join(cache, "envoy", "lib"))]
    for path in found:
        if os.access(path, os.X_OK):
            return path
    return program("envoy")


def lib_folders(lib):
    return [os.path.join(lib, name) for name in sorted(os.listdir(lib))] if os.path.isdir(lib) else []


class Dying:
    """Everyone's ground, set up before any is measured; then one storm each, in turn."""

    def __init__(self, field, scale):
        self.field, self.sandbox, self.build = field, field.sandbox, field.build
        self.steps = [int(s * scale) for s in STEPS]
        self.grounds, self.labels, self.runs = {}, {}, {}

    def add(self, name, label, way):
        """way(ground) puts the competitor in between and returns its process, or None."""
        with self.field.trying(f"dies-{name}"):
            ground = Ground(self.sandbox, self.build, f"dies-{name}", route_vips=name == "nftables")
            child = way(ground)
            ground.wait_answering(f"{VIP}:80", child)
            self.grounds[name], self.labels[name] = ground, label

    def add_all(self, wanted):
        for name, label, way in (("sinew", "Sinew", self.sinew),
                                 ("sinew-eject", "Sinew, failover off: ejection alone", self.sinew_eject),
                                 ("haproxy", "HAProxy: redispatch, observe layer4", self.haproxy),
                                 ("envoy", "Envoy: outlier detection, 3 attempts", self.envoy),
                                 ("nftables", "nftables: numgen random", self.nftables)):
            if wanted(f"dies-{name}"):
                self.add(name, label, way)

    def proxy(self, ground, command):
        ground.namespace.run(["ip", "address", "add", f"{VIP}/32", "dev", "lo"])
        return self.sandbox.start(command, namespace=ground.namespace)

    def haproxy(self, ground):
        config = self.sandbox.write("dies-haproxy.cfg", haproxy_config())
        return self.proxy(ground, [program("haproxy"), "-db", "-f", config])

    def envoy(self, ground):
        config = self.sandbox.write("dies-envoy.json", envoy_config())
        return self.proxy(ground, [envoy_program(), "-c", config, "--concurrency", "1", "--use-dynamic-base-id",
                                   "--disable-hot-restart", "--log-level", "warning"])

    @staticmethod
    def sinew(ground):
        """With every default."""
        return ground.daemon(service("pays", VIP, everyone())).child

    @staticmethod
    def sinew_eject(ground):
        return ground.daemon(policy("eject", failover={"attempts": 0}),
                             service("pays", VIP, everyone(), policy="eject")).child

    @staticmethod
    def nftables(ground):
        ground.namespace.run(["nft", "-f", "-"], text=nft_rules())

    def storm(self, name):
        ground = self.grounds[name]
        acts = [lambda: ground.kill(0), lambda: ground.start(0), None]
        try:
            told = ground.storm(f"{VIP}:80", list(zip(self.steps, acts)))
        finally:
            ground.mend()
        self.runs.setdefault(name, []).append(told["phases"])

    def repeat(self):
        order = list(self.grounds)
        shift = len(next(iter(self.runs.values()), [])) % max(1, len(order))
        for name in order[shift:] + order[:shift]:
            try:
                self.storm(name)
            except SandboxError as error:
                self.field.say(f"dies-{name}: {error}")

    def rows(self):
        """(what, target, unit, figure) for report.py."""
        figures = {f["name"]: f for f in self.figures()}
        ours = figures.get("sinew", {})
        others = [f["p99_dead_ns"] for name, f in figures.items() if not name.startswith("sinew") and f["p99_dead_ns"]]
        errors = ratio = None
        if ours:
            errors = (ours["errors"],) * 3
        if others and ours.get("p99_dead_ns"):
            ratio = (ours["p99_dead_ns"] / min(others),) * 3
        return [(f"a backend dies and returns: errors of {ours.get('begun', 0):,} calls", 0, "errors", errors),
                ("the same: p99 while it is dead, against the best of the others", 1, "x", ratio)]

    def figures(self):
        """[{name, label, begun, errors, at_connect, and p99 in ns before, while dead, after}]"""
        return [self.figure(name, runs) for name, runs in self.runs.items()]

    def figure(self, name, runs):
        def total(key):
            return sum(phase[key] for run in runs for phase in run)

        def middle(key, number):
            """None: in half of the runs, so many calls failed that there is no such time."""
            value = statistics.median_high([run[number][key] or math.inf for run in runs])
            return None if value == math.inf else round(value)
        before, dead, after = (middle("p99_ns", i) for i in range(3))
        return {"name": name, "label": self.labels[name], "runs": len(runs), "begun": total("begun"),
                "errors": total("errors"), "at_connect": total("at_connect"), "p50_before_ns": middle("p50_ns", 0),
                "p99_before_ns": before, "p99_dead_ns": dead, "p99_after_ns": after,
                "p99_added_ns": dead - before if dead and before else None}
