# SPDX-License-Identifier: GPL-2.0-or-later
"""sinewctl and sinewd together: what a person types, and what the kernel then does.

tests/ctl has every verb against a daemon that is made up; here the two must fit each other.
"""
import datetime
import json
import os
import re
import subprocess

import pytest

from conftest import BUILD
from harness.service import ask_tcp_often, connect_errno, serve_tcp

MANIFEST = """apiVersion: sinew/v1
kind: Service
metadata: {name: payments, namespace: shop, labels: {team: billing}}
spec:
  address: 10.96.7.10
  ports: [{name: http, port: 80}]
  endpoints:
    - {address: 10.1.0.1, port: 8080, weight: 200, zone: a}
    - {address: 10.1.0.2, port: 8080}
    - {address: 10.1.0.3, port: 8080}
  policy: gentle
---
apiVersion: sinew/v1
kind: TrafficPolicy
metadata: {name: gentle, namespace: shop}
spec:
  loadBalancer: {algorithm: random}
  failover: {attempts: 0}
  negativeAffinity: 0s
  outlierDetection: {consecutiveFailures: 0, failureRatio: 0%}
---
apiVersion: sinew/v1
kind: Service
metadata: {name: mail, namespace: shop}
spec:
  ports: [{port: 25}]
  endpoints: [{address: 10.1.0.1, port: 25, weight: 0}]
"""


class Result:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def ctl(daemon):
    def call(*words, text=None):
        return Result(subprocess.run([os.path.join(BUILD, "sinewctl"), *words], input=text or "", capture_output=True,
                                     text=True, timeout=60, check=False,
                                     env={**os.environ, "SINEW_SOCKET": daemon.socket, "NO_COLOR": "1"}))
    return call


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, ctl):
    """Two servers; the third backend refuses."""
    for address in ("10.1.0.1", "10.1.0.2"):
        sandbox.spawn(serve_tcp, address, 8080, namespace=namespace)
    done = ctl("apply", "-f", "-", text=MANIFEST)
    assert (done.code, done.out.splitlines()[-1]) == (0, "3 created, 0 unchanged"), done.err


def connect_often(address, port, times):
    return [connect_errno(address, port) for _ in range(times)]


def test_apply_is_seen_by_the_next_connect_and_counted(inside, ctl):
    before = json.loads(ctl("get", "service", "shop/payments", "-o", "json").out)["status"]["traffic"]["attempts"]
    inside(connect_often, "10.96.7.10", 80, 60)
    traffic = json.loads(ctl("get", "service", "shop/payments", "-o", "json").out)["status"]["traffic"]
    assert traffic["attempts"] == before + 60
    assert traffic["outcomes"]["connected"] and traffic["outcomes"]["refused"]


def test_apply_again_changes_nothing(ctl):
    assert ctl("apply", "-f", "-", text=MANIFEST).out == "nothing changed, 3 unchanged\n"
    shown = ctl("get", "services", "-n", "shop", "-o", "yaml").out
    assert ctl("apply", "-f", "-", text=shown).out == "nothing changed, 2 unchanged\n"


def test_a_dry_run_changes_nothing_and_shows_what_would_be(ctl, inside):
    text = MANIFEST.replace("10.1.0.3, port: 8080", "10.1.0.1, port: 8081")
    shown = ctl("apply", "-f", "-", "--dry-run", "-o", "diff", text=text)
    assert shown.out == ("~ service shop/payments\n    endpoints:\n  -   10.1.0.3:8080 weight 100\n"
                         "  +   10.1.0.1:8081 weight 100\n1 would change, 2 unchanged\n")
    assert "10.1.0.3" in ctl("get", "service", "shop/payments", "-o", "yaml").out


def test_what_the_daemon_alone_can_refuse_is_told_with_file_and_line_and_changes_nothing(ctl):
    generation = ctl("get", "sources", "-o", "json").out
    for change, said in ((("10.96.7.10", "8.8.8.8"), "stdin:3: service shop/payments: address 8.8.8.8 is neither"),
                         (("policy: gentle", "policy: gentel"), 'did you mean "gentle"?')):
        refused = ctl("apply", "-f", "-", text=MANIFEST.replace(*change))
        assert (refused.code, refused.out) == (2, "") and said in refused.err, refused.err
        assert refused.err.endswith("nothing was applied (1 error, found by the daemon)\n")
    refused = ctl("apply", "-f", "-", "--source", "other", text=MANIFEST)
    assert refused.code == 2 and "it belongs to source manifest" in refused.err
    assert ctl("get", "sources", "-o", "json").out == generation


@pytest.mark.parametrize("words", [
    ("status",), ("doctor",), ("get", "services"), ("get", "endpoints"), ("get", "policies"), ("get", "sources"),
    ("describe", "services"), ("describe", "endpoints"), ("describe", "policies"), ("describe", "sources"),
    ("config", "show", "--origin"), ("version",), ("why", "payments.shop:80"), ("why", "10.9.9.9:1")], ids=" ".join)
def test_screens_are_whole_and_fit(ctl, words):
    shown = ctl(*words)
    assert (shown.code, shown.err) == (0, "") and shown.out
    for line in shown.out.splitlines():
        assert line == line.rstrip() and "(null)" not in line and "?" not in line, line
        assert len(line) <= 120 or words[0] in ("status", "doctor"), line  # those name paths of this sandbox
    for form in ("json", "yaml"):
        assert ctl(*words, "-o", form).code == 0


def changed_at(ctl):
    text = json.loads(ctl("get", "sources", "-o", "json").out)["items"][0]["changedAt"]
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_sources_say_when_they_changed_also_after_a_restart(ctl, daemon):
    row = r"^manifest +2 +1 +\d+ +(\d+)s ago$"
    assert re.search(row, ctl("get", "sources").out, re.M)
    told = changed_at(ctl)
    daemon.stop()
    daemon.start()
    assert abs((changed_at(ctl) - told).total_seconds()) < 5  # the file was written a moment later
    assert re.search(row, ctl("get", "sources").out, re.M)


def test_the_revision_is_told_everywhere(ctl, daemon):
    said = subprocess.run([daemon.program, "--version"], capture_output=True, text=True, check=True).stdout
    revision = re.search(r"\(([0-9a-z]+)\)", said).group(1)
    assert ctl("version").out.count(f"({revision}, abi ") == 2
    assert json.loads(ctl("status", "-o", "json").out)["revision"] == revision
    assert f'revision="{revision}"'.encode() in daemon.request("GET", "/metrics", status=True)


def test_describe_shows_the_last_events_and_events_those_of_connects_too(ctl, inside):
    ctl("backend", "restore", "shop/payments", "10.1.0.3")
    inside(connect_often, "10.96.7.10", 80, 60)
    shown = ctl("describe", "service", "shop/payments").out
    last = shown.split("Last events\n")[1].splitlines()
    assert 1 <= len(last) <= 5 and not any(" -> " in line for line in last), "a connect is one of many"
    assert re.search(r"backend.restored shop/payments: 10.1.0.3 restored by uid \d+ pid \d+$", last[-1]), shown
    wanted = r"\d\d:\d\d:\d\d\.\d\d\d  shop/payments 10.96.7.10:80/TCP -> 10.1.0.3:8080 refused after "
    told = ctl("events", "shop/payments", "-r", "100").out.splitlines()
    assert [line for line in told if re.match(wanted, line)] and len(told) > len(last)


def test_why_says_that_a_workload_is_not_served(ctl, daemon, sandbox, namespace):
    inside = sandbox.start(["sleep", "60"], namespace=namespace, cgroup=daemon.cgroup)
    outside = sandbox.start(["sleep", "60"], namespace=namespace)
    shown = ctl("why", str(inside.pid), "payments.shop:80")
    assert re.match(rf"{inside.pid} is cgroup \d+ \({daemon.cgroup}\)\n", shown.out)
    assert "would pick 10.1.0." in shown.out.splitlines()[-1]
    shown = ctl("why", str(outside.pid), "payments.shop:80")
    assert f"which is not served: sinewd is attached to {daemon.cgroup}" in shown.out
    assert "draining: weight 0, active" in ctl("why", "mail.shop:25").out
    assert ctl("why", "nosuch.shop:80").code == 4


def test_names_that_get_prints_can_be_given_back(ctl):
    for noun in ("services", "endpoints", "policies", "sources"):
        names = ctl("get", noun, "-o", "name").out.split()
        assert names and ctl("get", *names, "-o", "name").out.split() == names


def test_zz_delete_by_manifest_ends_the_services(ctl, inside, sandbox):
    missing = ctl("delete", "service", "shop/no")
    assert (missing.code, missing.err) == (4, "sinewctl: there is no service shop/no\n")
    assert ctl("delete", "service", "shop/mail").out == "service shop/mail deleted\n1 deleted, 0 unchanged\n"
    refused = ctl("delete", "-f", "-", text=MANIFEST)
    assert refused.code == 4 and "nothing was deleted (1 error, found by the daemon)" in refused.err
    assert inside(ask_tcp_often, "10.1.0.1", 8080, 1) == {"10.1.0.1": 1}
    done = ctl("delete", "-f", "-", "--ignore-not-found", text=MANIFEST)
    assert (done.code, done.err) == (0, "there is no service shop/mail\n")
    assert ctl("get", "services").err == "no services\n"
