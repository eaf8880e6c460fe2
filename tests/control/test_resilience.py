# SPDX-License-Identifier: GPL-2.0-or-later
"""What the API shows of resilience: a backend's condition, a service's, and the story as events tell it.

Pitfalls: P-68, P-75.
"""
import json
import re
import time

import pytest

from serving import service
from test_metrics import scrape
from test_openapi import Shape

SIX = tuple((f"10.0.0.{i}", 8080) for i in range(1, 7))


@pytest.fixture(scope="module")
def ailing(shared):
    """One backend of each kind; the fake knows it by its name."""
    shared.put("/v1/services/shop/ailing", service("ailing", SIX))
    return shared


def moment(text):
    whole, ms = text.removesuffix("Z").split(".")
    return time.mktime(time.strptime(whole + " UTC", "%Y-%m-%dT%H:%M:%S %Z")) - time.timezone + int(ms) / 1e3


def test_a_backend_says_how_it_is_and_why(ailing):
    well, ejected, half_open, held, drained, slow = ailing.get("/v1/backends?namespace=shop&service=ailing")["items"]
    assert [b["state"] for b in (well, ejected, half_open, held, drained, slow)] == [
        "active", "ejected", "half_open", "held", "held", "active"]
    assert [b["usable"] for b in (well, ejected, half_open, held, drained, slow)] == [True, False, False, False, False, True]
    assert not {"ejection", "hold", "slowStartPercent", "shadowUntil"} & set(well)
    said = ejected["ejection"]
    assert (said["times"], said["trip"], said["reason"]) == (2, "consecutive", "refused")
    assert said["why"] == "5 consecutive refused" and 19 < said["leftSeconds"] <= 21
    assert (ejected["ejections"], ejected["failedOver"]) == (7, 1) and ejected["connectSeconds"] == 0.00004
    assert half_open["ejection"]["leftSeconds"] == 0 and half_open["ejection"]["why"] == "half-open probe refused"
    assert (held["hold"]["kind"], held["hold"]["why"]) == ("eject", "new disk") and 590 < held["hold"]["leftSeconds"] <= 600
    assert drained["hold"] == {"kind": "drain"}, "for ever: no time"
    assert "shadowUntil" in slow


def test_p68_times_of_the_wall_and_what_is_left_agree(ailing):
    """The kernel's clock has another zero and stands still in suspend: both are made from one reading of it."""
    before = time.time()
    item = ailing.get("/v1/backends?namespace=shop&service=ailing")["items"][1]
    after = time.time()
    said = item["ejection"]
    assert before - 0.01 <= moment(said["until"]) - said["leftSeconds"] <= after + 0.01
    assert 40 <= after - moment(said["since"]) and before - moment(said["since"]) <= 40.1


def test_a_service_sums_up(ailing):
    status = ailing.get("/v1/services/shop/ailing")["status"]
    assert (status["usable"], status["ejected"], status["held"]) == (2, 2, 2)
    assert 89 < status["panic"]["seconds"] < 95 and status["panic"]["since"].endswith("Z")
    assert (status["traffic"]["ejections"], status["traffic"]["failedOver"]) == (7 * 15, 15)
    assert [e["state"] for e in status["endpoints"]] == ["active", "ejected", "half_open", "held", "held", "active"]
    assert status["endpoints"][1]["ejection"]["why"] == "5 consecutive refused"
    other = ailing.get("/v1/services/shop-3/service-00003")["status"]
    assert (other["ejected"], other["held"]) == (0, 0) and "panic" not in other


def test_p75_what_ails_is_in_the_document(ailing):
    document = ailing.get("/v1/openapi.json")
    shape = Shape(document)
    for path, kind in (("/v1/services/shop/ailing", "ServiceShown"), ("/v1/backends?service=ailing", "BackendList")):
        shape.check(ailing.get(path), {"$ref": f"#/components/schemas/{kind}"}, path)
    assert {"ejection", "hold", "trip", "leftSeconds", "panic", "failedOver", "shadowUntil"} <= shape.seen


def test_the_story_is_told_in_sentences_and_stable_fields(start):
    fake = start(services=20, story=7)
    answer = fake.ask("GET", "/v1/events?recent=10")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [line["type"] for line in lines] == ["shadow", "ejected", "failed_over", "panic", "panic", "restored"]
    shape = Shape(fake.get("/v1/openapi.json"))
    for line in lines:
        shape.check(line, {"$ref": "#/components/schemas/Event"}, line["type"])
        assert (line["namespace"], line["service"]) == ("shop-3", "service-00003")
    shadow, ejected, moved, begin, end, restored = lines
    assert shadow["message"] == "10.0.0.1:8080 would have been ejected for 31s (shadow): 50% or more failed within 10s, last refused"
    assert ejected["message"] == "10.0.0.1:8080 ejected for 60s: 5 consecutive refused (2nd time), 2 of 3 usable"
    assert {k: ejected[k] for k in ("backend", "reason", "trip", "times", "durationSeconds", "usable", "total")} == {
        "backend": "10.0.0.1:8080", "reason": "refused", "trip": "consecutive", "times": 2, "durationSeconds": 60.0,
        "usable": 2, "total": 3}
    assert (moved["backend"], moved["next"], moved["cookie"], moved["workload"]) == ("10.0.0.1:8080", "10.0.3.2:8080", 77, 7)
    assert moved["message"] == "failed over from 10.0.0.1:8080 to 10.0.3.2:8080 inside connect(): refused"
    assert (begin["phase"], begin["message"]) == ("begin", "panic: 1 of 3 usable, ejection is ignored")
    assert (end["phase"], end["durationSeconds"]) == ("end", 42.0) and "backend" not in end
    assert restored["message"] == "10.0.0.1:8080 restored after 60s, 3 of 3 usable"


def test_status_counts_what_ails_and_names_who_panics(ailing):
    said = ailing.get("/v1/status")
    assert (said["services"]["panic"], said["services"]["inPanic"]) == (1, ["shop/ailing"])
    assert (said["endpoints"]["ejected"], said["endpoints"]["held"]) == (2, 2)
    assert (said["traffic"]["ejections"], said["traffic"]["failedOver"]) == (7 * 15, 15)
    Shape(ailing.get("/v1/openapi.json")).check(said, {"$ref": "#/components/schemas/Status"}, "status")


def test_metrics_of_what_ails(ailing):
    one = scrape(ailing)
    labels = {"namespace": "shop", "service": "ailing"}
    for name, value in {"sinew_backend_ejections_total": 7 * 15, "sinew_ejected_backends": 2, "sinew_held_backends": 2,
                        "sinew_panic": 1, "sinew_failovers_total": 15, "sinew_missed_failovers_total": 4,
                        "sinew_retry_budget_exceeded_total": 3}.items():
        assert one.of(name, **labels) == [value], name
    for name, want in {"sinew_service_endpoints": {"active": 2, "ejected": 2, "held": 2, "draining": 0, "pending": 0},
                       "sinew_connection_limit": {"service": 0, "backend": 0, "pending": 0},
                       "sinew_limited_connections": {"service": 12, "backend": 5, "pending": 3}}.items():
        label = "state" if "endpoints" in name else "limit"
        assert {k: one.of(name, **labels, **{label: k})[0] for k in want} == want, name
    assert one.of("sinew_panic", service="service-00003") == [0]
    assert one.of("sinew_service_events_total", reason="failed_over", **labels) == [15]


def test_explain_tells_levels_and_what_is_against_each(ailing):
    said = ailing.get("/v1/explain?destination=shop/ailing:80&cgroup=7")
    lines = said["lines"]
    assert lines[0].startswith("shop/ailing is 127.") and lines[0].endswith(":80, TCP, from source manifest, policy default (p2c)")
    assert lines[1:3] == ["panic: 2 of 6 usable, less than 50%: ejection is ignored", "level 0: 1 of 5 usable"]
    first, ejected, half_open, held, drained = lines[3:8]
    assert first.startswith("  10.0.0.1:8080 usable, weight 100 (100%), score ") and " x 40us, failed " in first
    assert first.endswith("; failed this workload 2s ago, so only if there is no other")
    assert ejected in [f"  10.0.0.2:8080 ejected, {n}s left: 5 consecutive refused (2nd time)" for n in (20, 21)]
    assert half_open == "  10.0.0.3:8080 half-open, the next connect tells: half-open probe refused (2nd time)"
    assert re.fullmatch(r"  10.0.0.4:8080 ejected by hand, (10m|9m59s) left: new disk, active \d+", held)
    assert re.fullmatch(r"  10.0.0.5:8080 drained by hand, until it is restored, active \d+", drained)
    assert lines[8:] == ["level 1: not needed, 1 backend", "would pick 10.0.0.1:8080"]
    assert [c["level"] for c in said["candidates"]] == [0] * 5 + [1]
    assert [c["avoided"] for c in said["candidates"]] == [True] + [False] * 5
    assert [c.get("why", "")[:9] for c in said["candidates"]] == ["", "ejected, ", "half-open", "ejected b", "drained b", ""]
    assert said["decision"] == {"outcome": "translated", "reason": "connected", "level": 0, "panic": True}
    nobody = ailing.get("/v1/explain?destination=shop/ailing:80")
    assert not any(c["avoided"] for c in nobody["candidates"]) and "failed this workload" not in "".join(nobody["lines"])
    shape = Shape(ailing.get("/v1/openapi.json"))
    shape.check(said, {"$ref": "#/components/schemas/Explanation"}, "explain")


def test_explain_of_one_level_does_not_speak_of_levels(ailing):
    lines = ailing.get("/v1/explain?destination=shop-3/service-00003:80")["lines"]
    assert len(lines) == 5 and not any("level" in line for line in lines)
    assert lines[1].startswith("10.0.3.1:8080 usable, weight 100 (50%), active ") and "10.0.3.3:8080 draining: weight 0, active " in lines[3]


def test_limits_are_shown_where_a_policy_sets_them(ailing):
    ailing.put("/v1/policies/shop/tight", {
        "apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": "tight", "namespace": "shop"},
        "spec": {"connectionLimits": {"service": 100, "backend": 5, "pending": 10},
                 "loadBalancer": {"slowStart": "10s"}, "outlierDetection": {"consecutiveFailures": 3},
                 "panic": {"mode": "none", "threshold": "60%"}}})
    ailing.put("/v1/services/shop/ailing-tight", service("ailing-tight", SIX, policy="tight"))
    status = ailing.get("/v1/services/shop/ailing-tight")["status"]
    assert status["limits"] == {"service": {"used": 12, "limit": 100}, "pending": {"used": 3, "limit": 10},
                                "backend": {"used": 5, "limit": 5}}
    ends = status["endpoints"]
    assert 45 <= ends[5]["slowStartPercent"] < 100 and "slowStartPercent" not in ends[0]
    assert ends[1]["ejection"]["why"] == "3 consecutive refused"
    lines = ailing.get("/v1/explain?destination=shop/ailing-tight:80")["lines"]
    assert lines[1:4] == ["connections 12 of 100", "connections not answered yet 3 of 10",
                          "panic: 2 of 6 usable, less than 60%: only probes are let through"]
    one = scrape(ailing)
    labels = {"namespace": "shop", "service": "ailing-tight"}
    assert [one.of("sinew_connection_limit", **labels, limit=k) for k in ("service", "backend", "pending")] == [[100], [5], [10]]
    for kind in ("services/shop/ailing-tight", "policies/shop/tight"):
        assert ailing.ask("DELETE", "/v1/" + kind).status == 200
