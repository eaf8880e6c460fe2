# SPDX-License-Identifier: GPL-2.0-or-later
"""A TrafficPolicy over the API: what was written, what is in force, and what is wrong with it."""
import json

import pytest

from serving import as_list, policy, service

GENTLE = "/v1/policies/shop/gentle"
# Every key, none at its default, spelled as the API spells it.
EVERY = {
    "loadBalancer": {"algorithm": "consistentHash", "affinity": {"by": "address", "timeout": "1h"},
                     "locality": {"prefer": "zone", "spill": False}, "slowStart": "30s"},
    "outlierDetection": {"consecutiveFailures": 7, "window": "20s", "minVolume": 40, "failureRatio": "60%",
                         "slowConnect": {"threshold": "200ms", "ratio": "80%"}, "baseEjectionTime": "1m",
                         "maxEjectionTime": "10m", "maxEjectionPercent": 30, "enforcing": "90%", "shadow": True},
    "panic": {"threshold": "40%", "mode": "none"}, "halfOpen": {"probes": 3},
    "connectionLimits": {"service": 1000, "backend": 100, "pending": 10},
    "retryBudget": {"ratio": "10%", "minPerSecond": 5, "ttl": "20s", "mode": "enforce"},
    "connect": {"timeout": "3s", "attemptTimeout": "50ms"}, "failover": {"attempts": 3, "on": ["refused", "timeout"]},
    "fallback": ["spare", "ops/maintenance"], "negativeAffinity": "5s", "onRemove": "terminate",
}


def test_what_was_written_comes_back_and_nothing_else(fake):
    assert fake.put(GENTLE, policy("gentle", **EVERY)).status == 201
    shown = fake.get(GENTLE)
    assert shown["spec"] == EVERY == shown["status"]["effective"]
    assert list(shown["spec"]) == list(EVERY)
    fake.put(GENTLE, policy("gentle", panic={"mode": "all"}))
    assert fake.get(GENTLE)["spec"] == {"panic": {"mode": "all"}}


def test_what_is_in_force_has_every_key(fake):
    fake.put(GENTLE, policy("gentle", outlierDetection={"window": "30s"}))
    effective = fake.get(GENTLE)["status"]["effective"]
    assert {k: set(v) if isinstance(v, dict) else None for k, v in effective.items()} == \
        {k: set(v) if isinstance(v, dict) else None for k, v in EVERY.items()}
    assert effective["outlierDetection"]["window"] == "30s"
    assert effective["outlierDetection"]["consecutiveFailures"] == 5 and effective["loadBalancer"]["algorithm"] == "p2c"
    assert effective["failover"] == {"attempts": 2, "on": ["refused", "unreachable"]} and effective["fallback"] == []
    assert fake.get("/v1/policies")["items"][0]["status"]["effective"] == effective


def test_what_is_shown_can_be_sent_back_and_changes_nothing(fake):
    fake.put(GENTLE, policy("gentle", **EVERY))
    first = fake.ask("GET", GENTLE)
    again = fake.put(GENTLE, first.json)
    assert again.json["unchanged"] == 1 and fake.ask("GET", GENTLE).etag == first.etag


def test_the_schema_has_the_defaults_that_are_in_force(fake):
    fake.put(GENTLE, {**policy("gentle"), "spec": {}})
    effective = fake.get(GENTLE)["status"]["effective"]
    schemas = fake.get("/v1/openapi.json")["components"]["schemas"]

    def compare(schema, value, where):
        if "properties" not in schema:
            assert schema["default"] == value, where
            return 1
        assert set(schema["properties"]) == set(value), where
        return sum(compare(schema["properties"][key], value[key], f"{where}.{key}") for key in value)
    assert compare(schemas["TrafficPolicySpec"], effective, "spec") == 34


def test_fallback_services_are_shown_as_they_are_declared(fake):
    fake.put(GENTLE, policy("gentle", fallback=["spare", "ops/maintenance"]))
    assert [f["exists"] for f in fake.get(GENTLE)["status"]["fallback"]] == [False, False]
    fake.put("/v1/services/ops/maintenance", service("maintenance", namespace="ops"))
    shown = fake.get(GENTLE)["status"]["fallback"]
    assert shown == [{"namespace": "shop", "name": "spare", "exists": False},
                     {"namespace": "ops", "name": "maintenance", "exists": True}]


def test_the_services_that_use_it_are_counted(fake):
    fake.put(GENTLE, policy("gentle"))
    assert fake.get(GENTLE)["status"]["services"] == 0
    for name in ("a", "b"):
        fake.put(f"/v1/services/shop/{name}", service(name, policy="gentle"))
    fake.put("/v1/services/shop/c", service("c"))
    assert fake.get(GENTLE)["status"]["services"] == 2
    assert "services" not in fake.get("/v1/policies")["items"][0]["status"]


@pytest.mark.parametrize("spec, pointer, words", [
    ({"panic": {"threshold": "150%"}}, "/spec/panic/threshold", "threshold 150% is out of range (0% to 100%)"),
    ({"connectionLimits": {"backend": -1}}, "/spec/connectionLimits/backend", "backend -1 is out of range"),
    ({"failover": {"attempts": 4}}, "/spec/failover/attempts", "(0 to 3)"),
    ({"outlierDetection": {"window": "5ms"}}, "/spec/outlierDetection/window", "(10ms to 1h)"),
    ({"outlierDetection": {"maxEjectionTime": "1s"}}, "/spec/outlierDetection/maxEjectionTime", "less than baseEjectionTime"),
    ({"connect": {"timeout": "1s", "attemptTimeout": "5s"}}, "/spec/connect/timeout", "less than attemptTimeout 5s"),
    ({"retryBudget": {"ratio": 101}}, "/spec/retryBudget/ratio", "101%"),
    ({"loadBalancer": {"algorithm": "LEAST_REQUEST"}}, "/spec/loadBalancer/algorithm", "is called p2c here"),
    ({"loadBalancer": {"affinity": {"timeout": "1h"}}}, "/spec/loadBalancer/affinity/timeout", "says nothing without"),
    ({"outlierDetection": {"consecutive5xxErrors": 5}}, "/spec/outlierDetection/consecutive5xxErrors",
     "outlierDetection.consecutiveFailures"),
    ({"fallback": ["a", "shop/a"]}, "/spec/fallback/1", "already"),
])
def test_each_error_has_its_place(fake, spec, pointer, words):
    said = fake.ask("PUT", GENTLE, json.dumps(policy("gentle", **spec)).encode()).problem(422)
    assert [e["pointer"] for e in said["errors"]] == [pointer] and words in said["errors"][0]["detail"]
    assert fake.get("/v1/policies")["items"] == []


def test_default_of_a_namespace_is_a_policy_like_any_other(fake):
    fake.ask("GET", "/v1/policies/shop/default").problem(404)
    fake.put("/v1/policies/shop/default", policy("default", halfOpen={"probes": 2}))
    answer = fake.put("/v1/sources/x", as_list(service("a"), service("b", namespace="ops")))
    assert answer.status == 200
    assert fake.get("/v1/policies/shop/default")["status"]["services"] == 1
    assert fake.ask("DELETE", "/v1/policies/shop/default").json["deleted"] == 1
