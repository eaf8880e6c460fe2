# SPDX-License-Identifier: GPL-2.0-or-later
"""A node, a container on it, and a farm of servers behind it, and everything that can be done to them.

Before it: tests/harness. After it: test_chaos.py draws what happens next. All of it is in namespaces of the
sandbox and ends with it.

    pod (10.4.0.2) ==veth==  node (10.5.0.1; sinewd; 127/8)  ==veth==  farm (10.6.0.1 .. 10.6.0.4)
"""
import os
import select
import subprocess

from harness.daemon import Daemon
from harness.life import eventually
from harness.sandbox import Namespace, SandboxError

BACKENDS = [f"10.6.0.{i}" for i in range(1, 5)]
LOCAL = ["10.5.0.11", "10.5.0.12", "10.5.0.13"]  # on the node itself
FAR_VIP, NEAR_VIP, POD_VIP = "10.96.7.1", "10.96.7.2", "10.96.7.3"
PORT = 8080


def link(near, far, name, end, addresses):
    """A veth pair between two namespaces, with an address at each end."""
    near.run(["ip", "link", "add", name, "type", "veth", "peer", "name", end, "netns", str(far.keeper.pid)])
    for place, device, address in ((near, name, addresses[0]), (far, end, addresses[1])):
        place.run(["ip", "address", "add", address, "dev", device])
        place.run(["ip", "link", "set", device, "up"])


class World:
    """The node and its neighbours; each verb below is something that may happen to them."""

    def __init__(self, sandbox, build):
        self.sandbox, self.build = sandbox, build
        self.traffic = os.path.join(build, "tests", "chaos", "traffic")
        self.node = Namespace(sandbox, addresses=LOCAL)
        self.pod = Namespace(sandbox, addresses=())
        self.farm = Namespace(sandbox, addresses=BACKENDS)
        link(self.node, self.pod, "pod0", "eth0", ("10.4.0.1/24", "10.4.0.2/24"))
        link(self.node, self.farm, "up0", "eth0", ("10.5.0.1/24", "10.5.0.2/24"))
        self.node.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0"])
        for place in (self.node, self.pod):
            place.run(["sysctl", "-qw", "net.ipv4.tcp_syn_retries=2"])
        self.pod.run(["ip", "route", "add", "default", "via", "10.4.0.1"])
        self.farm.run(["ip", "route", "add", "default", "via", "10.5.0.1"])
        self.route()
        # What the farm does to packets for an address comes before the address is its own.
        self.farm.run(["ip", "rule", "add", "pref", "100", "lookup", "local"])
        self.farm.run(["ip", "rule", "del", "pref", "0"])
        self.fault = None
        self.cgroups = self.make_cgroups(sandbox)
        self.daemon = Daemon(sandbox, build, "sinewd", self.cgroups["served"], namespace=self.node)
        self.servers = {}
        self.extra = False

    @staticmethod
    def make_cgroups(sandbox):
        served = sandbox.cgroup("served")
        made = {"served": served}
        for name in ("host", "container"):
            made[name] = os.path.join(served, name)
            os.mkdir(made[name])
        return made

    def route(self):
        self.node.run(["ip", "route", "replace", "10.6.0.0/24", "via", "10.5.0.2"])

    # --- what may happen ---------------------------------------------------------------------------------------------

    def start_server(self, address):
        place = self.farm if address in BACKENDS else self.node
        child = self.sandbox.start([self.traffic, "serve", address, str(PORT)], namespace=place)
        if not select.select([child.stdout], [], [], 10)[0] or child.stdout.readline() != b"ready\n":
            raise SandboxError(f"no server on {address}: {self.sandbox.said(child)}")
        self.servers[address] = child

    def stop_server(self, address):
        child = self.servers.pop(address, None)
        if child:
            child.kill()
            child.wait()

    def spoil(self, address, kind):
        """The farm drops what is for this address ("blackhole"), or answers with an ICMP error ("unreachable")."""
        if not self.fault:
            self.fault = ["iif", "eth0", "to", address, kind, "pref", "10"]
            self.farm.run(["ip", "rule", "add", *self.fault])

    def heal(self):
        if self.fault:
            self.farm.run(["ip", "rule", "del", *self.fault])
            self.fault = None

    def cut_uplink(self):
        self.node.run(["ip", "link", "set", "up0", "down"])

    def mend_uplink(self):
        self.node.run(["ip", "link", "set", "up0", "up"])
        self.route()

    def toggle_extra(self):
        """An interface that comes and goes, as containers do."""
        if self.extra:
            self.node.run(["ip", "link", "delete", "extra0"])
        else:
            self.node.run(["ip", "link", "add", "extra0", "type", "veth", "peer", "name", "extra1"])
            self.node.run(["ip", "link", "set", "extra0", "up"])
        self.extra = not self.extra

    def kill_daemon(self):
        self.daemon.kill()

    def start_daemon(self):
        self.daemon.start()

    # --- what is looked at -------------------------------------------------------------------------------------------

    def start_load(self, address, where, seconds, seed, threads):
        place = {"host": self.node, "container": self.pod}[where]
        return self.sandbox.start([self.traffic, "load", address, "80", str(seconds), str(seed), str(threads)],
                                  namespace=place, cgroup=self.cgroups[where])

    def service(self, name):
        return self.daemon.get(f"/v1/services/test/{name}")["status"]

    def idle(self, name, seconds=10):
        """The service's figures when no connection is open any more, or as they are after a while."""
        def look():
            shown = self.service(name)
            return shown if not sum(end["active"] for end in shown["endpoints"]) else None
        return eventually(look, seconds) or self.service(name)

    def programs(self):
        """Names of tc programs that interfaces of the node carry."""
        done = subprocess.run(["nsenter", f"--net=/proc/{self.node.keeper.pid}/ns/net", "bpftool", "net", "list"],
                              capture_output=True, text=True, check=False, timeout=30)
        return [word for word in done.stdout.split() if word.startswith("sn_tc")]
