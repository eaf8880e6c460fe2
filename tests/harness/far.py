# SPDX-License-Identifier: GPL-2.0-or-later
"""A second network namespace behind a cable, where packets vanish or are answered with ICMP errors.

Before it: sandbox.py. After it: tests whose backends must be silent, unreachable or slow to appear. Both
namespaces die with the sandbox.
"""
from harness.sandbox import Namespace

NEAR, FAR = "10.9.0.1", "10.9.0.2"
SILENT = ("10.7.0.0/24", "fd07::/64")  # swallowed, without an answer
UNREACHABLE = ("10.8.0.0/24", "fd08::/64")  # answered with an ICMP error
PROHIBITED = "fd18::/64"  # as a firewall answers


def make_far(sandbox, namespace):
    """The far namespace: addresses FAR and fd09::2, and the prefixes above routed to it."""
    far = Namespace(sandbox, addresses=())
    namespace.run(["ip", "link", "add", "cable", "type", "veth", "peer", "name", "end", "netns", str(far.keeper.pid)])
    for place, device, host in ((namespace, "cable", 1), (far, "end", 2)):
        place.run(["ip", "link", "set", device, "up"])
        place.run(["ip", "address", "add", f"10.9.0.{host}/24", "dev", device])
        place.run(["ip", "address", "add", f"fd09::{host}/64", "dev", device, "nodad"])
    for prefix in (*SILENT, *UNREACHABLE, PROHIBITED):
        namespace.run(["ip", "route", "add", prefix, "via", "fd09::2" if ":" in prefix else FAR])
    far.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
             "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"])
    for kind, prefixes in (("blackhole", SILENT), ("unreachable", UNREACHABLE), ("prohibit", (PROHIBITED,))):
        for prefix in prefixes:
            far.run(["ip", "route", "add", kind, prefix])
    return far
