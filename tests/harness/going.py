# SPDX-License-Identifier: GPL-2.0-or-later
"""Services whose connects go on: a dead backend that is always picked first, and what is counted of it.

Before it: sandbox.py, daemon.py and service.py. After it: tests of what goes wrong around failover. Nothing but failover
is on: no ejection, no memory of failures, no budget.
"""
import ctypes
import json
import os
import socket
import struct
import subprocess

from harness.life import BPFTOOL
from harness.sandbox import bpf
from harness.service import put, service

BPF_OBJ_GET, BPF_MAP_LOOKUP_BATCH = 7, 24
SYNS = 16384  # elements of sn_syns
SYN = struct.Struct("=Q48x2s4xBBI4sII8xQ16xBB102x")  # see struct sn_syn in headers/sinew/syn.h
SYN_FIELDS = ("cookie", "client_port_be", "state", "side", "ifindex", "isn_be", "service", "workload", "closed_ns",
              "n_tried", "moves")
CLOSED = 4  # the state of one that is kept for late packets only
HERE = socket.gethostname()  # the daemon's node.name, unless a test gives it another
QUIET = {"negativeAffinity": "0s", "outlierDetection": {"consecutiveFailures": 0, "failureRatio": "0%"},
         "retryBudget": {"ratio": "0%", "minPerSecond": 0}, "loadBalancer": {"algorithm": "random", "locality": {"prefer": "node"}}}


def going(name, attempts=2, on=("refused", "unreachable"), **spec):
    """A policy with failover alone."""
    return {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": name, "namespace": "test"},
            "spec": {**QUIET, "failover": {"attempts": attempts, "on": list(on)}, **spec}}


def declare(daemon, name, vip, first, others, policy, port=80):
    """A service that is tried at `first` before all `others`: (address, port) each. A weight would leave one in 65,536 of
    the connects to chance; who is on this node comes first without exception."""
    near = {"address": first[0], "port": first[1], "node": HERE}
    put(daemon, service(name, vip, [near, *others], policy=policy, port=port))


def traffic(daemon, name):
    return daemon.get(f"/v1/services/test/{name}")["status"]["traffic"]


def node(daemon, reason):
    """How often the machinery met one condition."""
    return daemon.get("/v1/status")["node"][reason]


def dump(daemon, name):
    """What a map holds, as bpftool says it."""
    said = subprocess.run([BPFTOOL, "-j", "map", "dump", "pinned", daemon.map_pin(name)], capture_output=True, check=True)
    return json.loads(said.stdout)


def read_moved(daemon):
    """sn_moved: entries that translate."""
    one, = dump(daemon, "sn_moved")
    return struct.unpack("<Q", bytes(int(byte, 16) for byte in one["value"]))[0]


def entries(daemon):
    """Those of sn_syns that are somebody's. Read in one call: a dump of all as text takes seconds."""
    path = ctypes.create_string_buffer(daemon.map_pin("sn_syns").encode())
    fd = bpf(BPF_OBJ_GET, struct.pack("=QII", ctypes.addressof(path), 0, 0))
    try:
        values, keys, batch = (ctypes.create_string_buffer(size) for size in (SYN.size * SYNS, 4 * SYNS, 8))
        bpf(BPF_MAP_LOOKUP_BATCH, struct.pack("=QQQQIIQQ", 0, ctypes.addressof(batch), ctypes.addressof(keys),
                                              ctypes.addressof(values), SYNS, fd, 0, 0))
    finally:
        os.close(fd)
    return [dict(zip(SYN_FIELDS, fields)) for fields in SYN.iter_unpack(values.raw) if fields[0]]


def age(daemon):
    """Makes all closed entries as old as if their last packets were long past. How many."""
    closed = [one for one in dump(daemon, "sn_syns") if one["formatted"]["value"]["state"] == CLOSED]
    for one in closed:
        value = bytearray(int(byte, 16) for byte in one["value"])
        value[88:96] = struct.pack("=Q", 1)  # closed_ns
        subprocess.run([BPFTOOL, "map", "update", "pinned", daemon.map_pin("sn_syns"), "key", *one["key"], "value",
                        *map(str, value)], check=True)
    return len(closed)
