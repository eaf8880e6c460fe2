# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person reads of ejection, holds, panic, limits and failover."""
import copy
import json
import re

import pytest

import fake as fakes

EJECTED = {"state": "ejected", "usable": False, "ejection": {
    "since": "2026-01-02T12:01:07.341Z", "until": "2026-01-02T12:02:07.341Z", "leftSeconds": 21.4, "times": 2,
    "trip": "consecutive", "reason": "refused", "why": "5 consecutive refused"}}
CONDITIONS = [
    ({"state": "active", "usable": True}, "ok"),
    ({"state": "active", "usable": True, "slowStartPercent": 62}, "ok, slow start 62%"),
    ({"state": "active", "usable": True, "shadowUntil": "2026-01-02T12:01:07.341Z"}, "ok, shadow ejected"),
    ({"state": "active", "usable": False}, "ok, too far away"),
    (EJECTED, "ejected 21s left (2nd time)"),
    ({"state": "ejected", "ejection": {"leftSeconds": 0.2, "times": 1}}, "ejected <1s left"),
    ({"state": "ejected", "ejection": {"leftSeconds": 150, "times": 3}}, "ejected 2m30s left (3rd time)"),
    ({"state": "half_open", "ejection": {"leftSeconds": 0, "times": 11}}, "half-open (11th time)"),
    ({"state": "held", "hold": {"kind": "eject", "leftSeconds": 600}}, "ejected by hand, 10m left"),
    ({"state": "held", "hold": {"kind": "drain"}}, "drained by hand"),
    ({"state": "draining"}, "draining"),
    ({"state": "pending"}, "pending"),
    ({"state": "from the future"}, "from the future"),
]


def backend(condition, **more):
    return {**copy.deepcopy(fakes.BACKENDS[0]), **condition, **more}


@pytest.mark.parametrize("condition, words", CONDITIONS, ids=[words for _, words in CONDITIONS])
def test_a_backends_condition_fits_a_cell(ctl, fake, condition, words):
    fake.on("GET", "/v1/backends", (200, fakes.list_of("BackendList", [backend(condition)])))
    shown = ctl("get", "endpoints")
    assert f" {words}  " in shown.lines[1] and max(map(len, shown.lines)) <= 120
    assert f"State       {words}" in ctl("describe", "endpoints").lines


def test_a_held_or_ejected_backend_says_why_and_until_when(ctl, fake):
    held = {"state": "held", "hold": {"kind": "eject", "leftSeconds": 600, "until": "2026-01-02T12:10:00.000Z",
                                      "why": "new disk", "by": "uid 0 pid 7"}}
    for condition, want in ((EJECTED, ["Why         5 consecutive refused", "Until       2026-01-02T12:02:07.341Z"]),
                            (held, ["Why         new disk", "By          uid 0 pid 7",
                                    "Until       2026-01-02T12:10:00.000Z"])):
        fake.on("GET", "/v1/backends", (200, fakes.list_of("BackendList", [
            backend(condition, ejections=7, failedOver=31, connectSeconds=0.00004)])))
        lines = ctl("describe", "endpoints").lines
        for line in want + ["Ejected     7 times", "Failed over 31 connects went on to another backend",
                            "Connect     40us, smoothed"]:
            assert line in lines, (line, lines)


def test_wide_counts_ejections_and_failovers(ctl, fake):
    fake.on("GET", "/v1/backends", (200, fakes.list_of("BackendList", [
        backend(EJECTED, ejections=7, failedOver=3100, level=1)])))
    title, row = ctl("get", "endpoints", "-o", "wide").lines
    assert re.search(r"EJECTIONS +FAILED OVER +LEVEL", title) and re.search(r" 7 +3.1k +1  ", row)


def ailing(**status):
    service = copy.deepcopy(fakes.SERVICES[0])
    ends = service["status"]["endpoints"]
    ends[1].update(EJECTED, weight=100)
    ends[2].update(state="active", usable=True, slowStartPercent=62, attempts=4102, active=12)
    service["status"].update({"usable": 2, "ejected": 1, "held": 0, **status})
    return service


def serve(fake, service):
    fake.on("GET", "/v1/services", (200, fakes.list_of("ServiceList", [service])))
    fake.on("GET", "/v1/services/shop/payments", (200, service))


def test_describe_tells_the_whole_story(ctl, fake):
    service = ailing(panic={"since": "2026-01-02T12:01:07.341Z", "seconds": 90.2}, held=2, limits={
        "service": {"used": 12, "limit": 100}, "pending": {"used": 3, "limit": 10}, "backend": {"used": 50, "limit": 50}})
    service["status"]["traffic"].update(failedOver=31, refused={"failed_over": 31, "no_backend": 0})
    serve(fake, service)
    fake.on("GET", "/v1/events", fakes.stream([json.dumps(e).encode() + b"\n" for e in EVENTS[:1]]))
    shown = ctl("describe", "service", "shop/payments")
    assert shown.code == 0 and max(map(len, shown.lines)) <= 120, shown
    for line in ("Panic       for 1m30s: too few backends are usable, so ejection is ignored",
                 "Limits      connections 12 of 100, not answered yet 3 of 10, fullest backend 50 of 50",
                 "Backends    3, 2 usable, 1 ejected, 2 held by hand", "Besides     failed_over 31",
                 "Failed over 31 connects went on to another backend",
                 "  12:01:07.341  10.0.1.6:8080 ejected for 60s: 5 consecutive refused (2nd time), 2 of 3 usable"):
        assert line in shown.lines, (line, shown)
    assert re.search(r"^  10.0.1.6:8080 +100 +ejected 21s left \(2nd time\) +0 ", shown.out, re.M)
    assert re.search(r"^  \[fd00::9\]:8080 +100 +ok, slow start 62% +12 ", shown.out, re.M)


def test_describe_cuts_no_heading_beside_the_longest_state(ctl, fake):
    service = ailing()
    service["status"]["endpoints"][1].update(usable=False, state="held", hold={
        "kind": "eject", "until": "2026-01-02T13:01:07.341Z", "leftSeconds": 3599, "why": "leaks memory"})
    for endpoint in service["status"]["endpoints"]:
        endpoint.pop("zone", None)
    serve(fake, service)
    shown = ctl("describe", "service", "shop/payments")
    assert "ZONE" not in shown.out and "ejected by hand, 59m59s left" in shown.out, shown
    assert " REFUSED/TIMEOUT/UNREACH/RESET " in shown.out, shown.out
    assert "..." not in shown.out and max(map(len, shown.lines)) <= 120, shown


@pytest.mark.parametrize("status, remark", [
    ({}, "1 ejected"), ({"held": 2}, "1 ejected, 2 held"), ({"ejected": 0, "held": 1}, "1 held"),
    ({"panic": {"seconds": 42}}, "panic for 42s"), ({"usable": 0}, "no usable backend"), ({"ejected": 0}, "")])
def test_get_services_remarks_on_what_ails(ctl, fake, status, remark):
    serve(fake, ailing(**status))
    shown = ctl.terminal("get", "services", env={"COLUMNS": "150", "NO_COLOR": "1"})
    assert shown.lines[1].endswith("kubernetes  " + remark if remark else "kubernetes"), shown.lines[1]


def test_status_counts_and_names_what_ails(ctl, fake):
    ails = {**fakes.STATUS, "services": {"total": 212, "degraded": 3, "withoutBackend": 1, "panic": 2,
                                         "inPanic": ["shop/payments", "shop/mail"]},
            "endpoints": {"total": 1904, "usable": 1896, "draining": 2, "ejected": 6, "held": 1}}
    moved = copy.deepcopy(ails)
    moved["traffic"]["failedOver"] = 600
    looks = [ails, moved]
    fake.on("GET", "/v1/status", lambda query, body: (200, looks.pop(0) if len(looks) > 1 else looks[0]))
    shown = ctl("status")
    for line in ("Services    212 (3 degraded, 1 without backend, 2 in panic)   policies 4",
                 "Backends    1,904 (6 ejected, 1 held by hand, 2 draining), usable 1,896",
                 "Panic       shop/payments, shop/mail"):
        assert line in shown.lines, (line, shown)
    assert re.search(r"failed over (1\.\d+k|[1-9]\d\d)/s", shown.out) and max(map(len, shown.lines)) <= 120


EVENTS = [
    {"time": "2026-01-31T12:01:07.341Z", "type": "ejected", "reason": "refused", "protocol": "TCP", "trip": "consecutive",
     "times": 2, "durationSeconds": 60.0, "usable": 2, "total": 3, "backend": "10.0.1.6:8080",
     "message": "10.0.1.6:8080 ejected for 60s: 5 consecutive refused (2nd time), 2 of 3 usable",
     "namespace": "shop", "service": "payments"},
    {"time": "2026-01-31T12:01:08.000Z", "type": "failed_over", "reason": "refused", "protocol": "TCP", "destination":
     "10.96.0.10:80", "backend": "10.0.1.6:8080", "next": "10.0.1.7:8080", "workload": 7, "cookie": 77,
     "message": "failed over from 10.0.1.6:8080 to 10.0.1.7:8080 inside connect(): refused",
     "namespace": "shop", "service": "payments"},
    {"time": "2026-01-31T12:01:09.000Z", "type": "panic", "reason": "panic", "phase": "begin", "usable": 1, "total": 4,
     "message": "panic: 1 of 4 usable, ejection is ignored", "namespace": "shop", "service": "payments"},
    {"time": "2026-01-31T12:01:10.000Z", "type": "restored", "reason": "connected", "message":
     "10.0.1.6:8080 restored after 60s, 3 of 3 usable", "namespace": "shop", "service": "payments"},
]


def test_events_are_the_daemons_sentences(ctl, fake):
    fake.on("GET", "/v1/events", fakes.stream([json.dumps(e).encode() + b"\n" for e in EVENTS]))
    shown = ctl("events", "-f", "-l", "4")
    assert (shown.code, shown.lines) == (0, [
        "12:01:07.341  shop/payments 10.0.1.6:8080 ejected for 60s: 5 consecutive refused (2nd time), 2 of 3 usable",
        "12:01:08.000  shop/payments failed over from 10.0.1.6:8080 to 10.0.1.7:8080 inside connect(): refused (cgroup 7)",
        "12:01:09.000  shop/payments panic: 1 of 4 usable, ejection is ignored",
        "12:01:10.000  shop/payments 10.0.1.6:8080 restored after 60s, 3 of 3 usable"])
    assert max(map(len, shown.lines)) <= 120
    colours = ctl.terminal("events", "-f", "-l", "4").lines
    assert "\x1b[31m" in colours[0] and "\x1b[32m" in colours[3]
