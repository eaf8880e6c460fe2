# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person sees while a backend refuses, is ejected, and comes back: the kernel's own numbers, by sinewctl, events,
the API and metrics."""
import os
import subprocess
import time

import pytest

from harness.daemon import Events
from harness.life import ask, eventually
from harness.service import connect_errno, put, serve_tcp, service

from conftest import ADDRESSES, BUILD

VIP = "10.96.9.1"
GOOD, BAD = ADDRESSES[:2]
RULES = {"loadBalancer": {"algorithm": "random"}, "failover": {"attempts": 0}, "negativeAffinity": "0s",
         "outlierDetection": {"consecutiveFailures": 3, "baseEjectionTime": "4s"}, "panic": {"threshold": "0%"},
         "connectionLimits": {"service": 1000}}


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, daemon):
    sandbox.spawn(serve_tcp, GOOD, 8080, namespace=namespace)
    status, said = ask(daemon.socket, "PUT", "/v1/policies/test/quick", {
        "apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": "quick", "namespace": "test"}, "spec": RULES})
    assert status in (200, 201), said
    put(daemon, service("shop", VIP, [(GOOD, 8080), (BAD, 8080)], policy="quick"))


def ctl(daemon, *words):
    done = subprocess.run([os.path.join(BUILD, "sinewctl"), "-s", daemon.socket, *words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done
    assert max(map(len, done.stdout.splitlines())) <= 120, done.stdout
    return done.stdout


def connect_often(times):
    return [connect_errno(VIP, 80) for _ in range(times)]


def shown(daemon):
    return {b["address"]: b for b in daemon.get("/v1/backends?service=shop")["items"]}


def metric(daemon, name):
    for line in ask(daemon.socket, "GET", "/metrics")[1].decode().splitlines():
        if line.startswith(name + "{") and 'service="shop"' in line:
            return float(line.split()[-1])
    return None


def test_a_backend_that_refuses_is_seen_ejected_half_open_and_restored(sandbox, namespace, inside, daemon):
    with Events(daemon, "?service=shop") as events:
        failed = [e for e in inside(connect_often, 60) if e]
        told = events.wait(1, type="ejected")[0]
        assert told["message"].startswith(f"{BAD}:8080 ejected for 4s: 3 consecutive refused, 1 of 2 usable"), told
        assert (told["trip"], told["reason"], told["times"], told["backend"]) == ("consecutive", "refused", 1, f"{BAD}:8080")
        assert len(failed) == 3, "ejected for the very next pick"
        row = shown(daemon)[BAD]
        assert (row["state"], row["usable"], row["ejections"]) == ("ejected", False, 1)
        assert 0 < row["ejection"]["leftSeconds"] <= 4.4 and row["ejection"]["why"] == "3 consecutive refused"
        assert shown(daemon)[GOOD]["state"] == "active"
        text = ctl(daemon, "describe", "service", "test/shop")
        assert " ejected " in text and "s left " in text and "Backends    2, 1 usable, 1 ejected" in text, text
        assert "Limits      connections 0 of 1,000" in text and "ejected for 4s: 3 consecutive refused" in text, text
        assert f"{BAD}:8080 ejected, " in ctl(daemon, "why", "shop.test:80")
        assert "1 ejected" in ctl(daemon, "status") and "1 degraded" in ctl(daemon, "status")
        assert (metric(daemon, "sinew_ejected_backends"), metric(daemon, "sinew_backend_ejections_total")) == (1, 1)
        assert eventually(lambda: shown(daemon)[BAD]["state"] == "half_open", 8)
        assert " half-open" in ctl(daemon, "get", "endpoints")
        sandbox.spawn(serve_tcp, BAD, 8080, namespace=namespace)
        end = time.monotonic() + 10
        while shown(daemon)[BAD]["state"] != "active" and time.monotonic() < end:
            assert not any(inside(connect_often, 10))
        restored = events.wait(1, type="restored")[0]
        assert restored["message"].startswith(f"{BAD}:8080 restored after ") and restored["usable"] == 2
    assert "Backends    2, 2 usable\n" in ctl(daemon, "describe", "service", "test/shop")
    assert (metric(daemon, "sinew_ejected_backends"), metric(daemon, "sinew_backend_ejections_total")) == (0, 1)
