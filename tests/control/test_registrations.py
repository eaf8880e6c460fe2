# SPDX-License-Identifier: GPL-2.0-or-later
"""A Registration over the API: declared, shown, polled, taken back."""
import pytest

from serving import as_list, policy, service

PATH = "/v1/registrations/shop/payments"
SPEC = {"service": "payments", "registry": "dc1", "workload": {"unit": "payments.service"}, "port": 8080, "protocol": "tcp",
        "address": "10.0.0.5", "ttl": "20s", "tags": ["v2"], "meta": {"team": "billing"}}


def registration(name="payments", namespace="shop", labels=None, **spec):
    metadata = {"name": name, "namespace": namespace, **({"labels": labels} if labels else {})}
    return {"apiVersion": "sinew/v1", "kind": "Registration", "metadata": metadata, "spec": {**SPEC, **spec}}


def test_what_was_written_comes_back(fake):
    assert fake.put(PATH, registration()).status == 201
    shown = fake.ask("GET", PATH)
    assert shown.json["spec"] == SPEC and list(shown.json["spec"]) == list(SPEC)
    assert shown.json["metadata"]["source"] == "manifest"
    assert shown.etag == f'"{shown.json["metadata"]["resourceVersion"]}"'
    assert fake.put(PATH, shown.json).json["unchanged"] == 1


@pytest.mark.parametrize("workload", [
    {"cgroup": "/shop.slice/*"}, {"container": {"app": "payments", "tier": "web"}}, {"pod": {"namespace": "shop"}},
    {"pod": {"namespace": "shop", "name": "pay-*", "labels": {"app.kubernetes.io/name": "pay"}, "container": "web"}}])
def test_each_way_to_know_a_workload(fake, workload):
    assert fake.put(PATH, registration(workload=workload)).status == 201
    assert fake.get(PATH)["spec"]["workload"] == workload


def test_defaults_are_written_out(fake):
    body = registration()
    body["spec"] = {key: SPEC[key] for key in ("service", "registry", "workload", "port")}
    fake.put(PATH, body)
    assert fake.get(PATH)["spec"] == {**body["spec"], "protocol": "tcp", "ttl": "15s"}


def test_the_list_is_polled_by_its_tag(fake):
    empty = fake.ask("GET", "/v1/registrations")
    assert empty.json["items"] == [] and empty.json["kind"] == "RegistrationList"
    assert fake.ask("GET", "/v1/registrations", if_none_match=empty.etag).status == 304
    fake.put(PATH, registration())
    first = fake.ask("GET", "/v1/registrations", if_none_match=empty.etag)
    assert first.status == 200 and first.etag != empty.etag
    same = fake.ask("GET", "/v1/registrations", if_none_match=f'"x", {first.etag}')
    assert same.status == 304 and same.etag == first.etag and not same.body
    fake.put("/v1/services/shop/a", service("a"))  # another kind
    assert fake.ask("GET", "/v1/registrations", if_none_match=first.etag).status == 304
    fake.put(PATH, registration(port=9090))
    assert fake.ask("GET", "/v1/registrations", if_none_match=first.etag).json["items"][0]["spec"]["port"] == 9090
    fake.ask("DELETE", PATH)
    assert fake.ask("GET", "/v1/registrations", if_none_match=first.etag).etag == empty.etag


def test_lists_are_filtered_and_paged(fake):
    for name, namespace in (("a", "shop"), ("b", "shop"), ("c", "ops")):
        fake.put(f"/v1/registrations/{namespace}/{name}", registration(name, namespace, {"n": name}))

    def names(query):
        return [item["metadata"]["name"] for item in fake.get(f"/v1/registrations{query}")["items"]]

    assert names("") == ["c", "a", "b"] and names("?namespace=shop") == ["a", "b"] and names("?label=n=b") == ["b"]
    assert names("?source=consul") == []
    page = fake.get("/v1/registrations?limit=2")
    assert page["metadata"]["continue"] == "shop/a" and names("?continue=shop/a") == ["b"]


def test_if_match_protects_it(fake):
    first = fake.put(PATH, registration())
    fake.put(PATH, registration(port=1), if_match=first.etag)
    fake.ask("PUT", PATH, registration(port=2), if_match=first.etag).problem(412)
    fake.ask("DELETE", PATH, if_match=first.etag).problem(412)


def test_a_source_holds_all_three_kinds(fake):
    fake.put("/v1/sources/manifest", as_list(service("a"), policy("gentle"), registration()))
    shown = fake.get("/v1/sources/manifest")
    assert [item["kind"] for item in shown["items"]] == ["Service", "TrafficPolicy", "Registration"]
    source, = fake.get("/v1/sources")["items"]
    assert (source["services"], source["policies"], source["registrations"]) == (1, 1, 1)
    again = fake.put("/v1/sources/manifest", {"apiVersion": "sinew/v1", "kind": "List", "items": shown["items"]})
    assert again.json["unchanged"] == 3
    gone = fake.ask("PATCH", "/v1/sources/manifest?verbose=true",
                    {"delete": [{"kind": "Registration", "namespace": "shop", "name": "payments"}]})
    assert [(c["action"], c["kind"], c["name"]) for c in gone.json["changes"]] == [("delete", "Registration", "payments")]
    fake.ask("GET", PATH).problem(404)


def test_what_is_wrong_points_at_it(fake):
    wrong = registration(port=0, workload={"unit": "payments"}, registry="Dc1")
    errors = fake.ask("PUT", PATH, wrong).problem(422)["errors"]
    assert {e["pointer"] for e in errors} == {"/spec/port", "/spec/workload/unit", "/spec/registry"}
    fake.ask("PUT", PATH, service("payments")).problem(422)
    fake.ask("PUT", "/v1/services/shop/payments", registration()).problem(422)
    fake.ask("PUT", "/v1/registrations/shop/other", registration()).problem(422)
    fake.ask("DELETE", PATH).problem(404)
    fake.ask("PUT", PATH, registration(), status=True).problem(403)
