# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes: one object, a source's whole snapshot, a delta; what is refused, and that a refused change is nothing."""
import pytest

from serving import as_list, policy, request, service

PAYMENTS = "/v1/services/shop/payments"


def names(fake, query=""):
    return [i["metadata"]["name"] for i in fake.get("/v1/services" + query)["items"]]


def state(fake):
    """All that a change could touch."""
    sources = fake.get("/v1/sources")["items"]
    return sources, fake.get("/v1/services"), fake.get("/v1/policies")


# --- one object -----------------------------------------------------------------------------------

def test_put_creates_then_changes_then_leaves_alone(fake):
    answer = fake.put(PAYMENTS, service("payments"))
    assert answer.status == 201
    assert {k: answer.json[k] for k in ("created", "changed", "deleted", "unchanged", "dryRun", "source")} == {
        "created": 1, "changed": 0, "deleted": 0, "unchanged": 0, "dryRun": False, "source": "manifest"}
    same = fake.put(PAYMENTS, service("payments"))
    assert same.status == 200 and same.json["unchanged"] == 1 and same.etag == answer.etag
    other = fake.put(PAYMENTS, service("payments", (("10.0.0.6", 1),)))
    assert other.status == 200 and other.json["changed"] == 1 and other.etag != answer.etag
    assert fake.get(PAYMENTS)["spec"]["endpoints"][0]["address"] == "10.0.0.6"


def test_policy_put_get_delete(fake):
    assert fake.put("/v1/policies/shop/gentle", policy("gentle")).status == 201
    assert fake.get("/v1/policies")["items"][0]["metadata"]["name"] == "gentle"
    assert fake.ask("DELETE", "/v1/policies/shop/gentle").json["deleted"] == 1
    fake.ask("DELETE", "/v1/policies/shop/gentle").problem(404)
    fake.ask("GET", "/v1/policies/shop/gentle").problem(404)


def test_delete_removes_and_then_there_is_nothing(fake):
    fake.put(PAYMENTS, service("payments"))
    assert fake.ask("DELETE", PAYMENTS).json["deleted"] == 1
    fake.ask("DELETE", PAYMENTS).problem(404)
    fake.ask("GET", PAYMENTS).problem(404)


def test_what_a_get_shows_may_be_sent_back(fake):
    fake.put(PAYMENTS, service("payments", labels={"a": "b"}))
    shown = fake.get(PAYMENTS)
    assert "status" in shown and shown["metadata"]["resourceVersion"]
    assert fake.put(PAYMENTS, shown).json["unchanged"] == 1
    whole = fake.get("/v1/sources/manifest")
    assert fake.put("/v1/sources/manifest", whole).json["unchanged"] == 1


def test_an_address_from_the_pool_stays(fake):
    fake.put(PAYMENTS, service("payments"))
    address = fake.get(PAYMENTS)["status"]["addresses"]
    assert address and address[0].startswith("127.")
    fake.put(PAYMENTS, service("payments", (("10.0.0.9", 1), ("10.0.0.8", 1))))
    assert fake.get(PAYMENTS)["status"]["addresses"] == address


def test_the_body_must_name_what_the_path_names(fake):
    before = state(fake)
    for path, body in ((PAYMENTS, service("other")), (PAYMENTS, service("payments", namespace="b")),
                       (PAYMENTS, policy("payments")), ("/v1/policies/shop/payments", service("payments"))):
        fake.ask("PUT", path, body).problem(422)
    assert state(fake) == before


def test_dry_run_says_what_would_change_and_changes_nothing(fake):
    fake.put(PAYMENTS, service("payments"))
    before = state(fake)
    answer = fake.put(PAYMENTS + "?dryRun=true", service("payments", (("10.0.0.6", 1),)))
    assert answer.status == 200 and answer.json["dryRun"] and "etag" not in answer.headers
    change, = answer.json["changes"]
    assert (change["action"], change["kind"], change["namespace"], change["name"]) == (
        "update", "Service", "shop", "payments")
    assert change["old"]["spec"]["endpoints"][0]["address"] == "10.0.0.5"
    assert change["new"]["spec"]["endpoints"][0]["address"] == "10.0.0.6"
    assert fake.put("/v1/services/shop/new?dryRun", service("new")).json["changes"][0]["action"] == "create"
    assert fake.ask("DELETE", PAYMENTS + "?dryRun=true").json["changes"][0]["action"] == "delete"
    assert fake.put("/v1/sources/manifest?dryRun=true", as_list()).json["deleted"] == 1
    assert state(fake) == before


def test_verbose_lists_what_changed(fake):
    answer = fake.put(PAYMENTS + "?verbose=true", service("payments"))
    assert [c["action"] for c in answer.json["changes"]] == ["create"]
    assert "changes" not in fake.put(PAYMENTS + "?verbose=false", service("payments", ())).json
    assert fake.put(PAYMENTS + "?verbose=true", service("payments", ())).json["changes"] == []


def test_a_change_that_is_not_durable_says_so(start):
    fake = start(services=0, fail_disk=True)
    said = fake.ask("PUT", PAYMENTS, service("payments")).problem(503)
    assert "in effect" in said["detail"] and fake.get(PAYMENTS)


def test_the_answer_waits_until_the_change_is_durable(start):
    """While one waits, others are served; the one that waited gets its answer."""
    fake = start(services=0, ack_ms=1500)
    with fake.wire() as slow, fake.wire() as quick:
        slow.send(request("PUT", PAYMENTS, service("payments")))
        while "payments" not in names(fake):
            pass
        assert quick.ask("GET", "/healthz").status == 200
        slow.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            slow.sock.recv(1)
        slow.sock.settimeout(20)
        slow.file = slow.sock.makefile("rb")
        assert slow.receive().status == 201


def test_a_client_that_goes_before_its_answer_harms_nobody(start):
    fake = start(services=0, ack_ms=200)
    for i in range(20):
        with fake.wire() as wire:
            wire.send(request("PUT", f"/v1/services/shop/s{i}", service(f"s{i}")))
            while f"s{i}" not in names(fake):
                pass
    assert len(names(fake)) == 20


# --- sources --------------------------------------------------------------------------------------

def test_a_snapshot_replaces_all_that_its_source_declared_and_nothing_else(fake):
    fake.put(PAYMENTS, service("payments"))
    answer = fake.put("/v1/sources/consul%2Fdc1", as_list(service("a"), service("b"), policy("p")))
    assert answer.json["created"] == 3 and answer.json["source"] == "consul/dc1"
    answer = fake.put("/v1/sources/consul%2Fdc1", as_list(service("b", ()), service("c")))
    assert {k: answer.json[k] for k in ("created", "changed", "deleted")} == {
        "created": 1, "changed": 1, "deleted": 2}
    assert names(fake) == ["b", "c", "payments"] and names(fake, "?source=consul/dc1") == ["b", "c"]
    assert [i["metadata"]["name"] for i in fake.get("/v1/sources/consul%2Fdc1")["items"]] == ["b", "c"]
    assert fake.ask("DELETE", "/v1/sources/consul%2Fdc1").json["deleted"] == 2
    assert names(fake) == ["payments"]


def test_a_delta_is_applied_whole(fake):
    path = "/v1/sources/x"
    fake.put(path, as_list(service("a"), service("b")))
    answer = fake.ask("PATCH", path, {"upsert": [service("c"), policy("p")],
                                      "delete": [{"kind": "Service", "namespace": "shop", "name": "a"}]})
    assert (answer.status, answer.json["created"], answer.json["deleted"]) == (200, 2, 1)
    assert names(fake) == ["b", "c"]
    answer = fake.ask("PATCH", path, {"delete": [{"kind": "TrafficPolicy", "namespace": "shop", "name": "p"}]})
    assert answer.json["deleted"] == 1 and fake.get("/v1/policies")["items"] == []
    assert fake.ask("PATCH", path, {}).json["changed"] == 0


@pytest.mark.parametrize("bad", [
    {"upsert": [service("c"), service("Bad_Name")]},
    {"upsert": [service("c")], "delete": [{"kind": "Service", "namespace": "shop", "name": "nobody"}]},
    {"upsert": [service("c")], "delete": [{"kind": "Servise", "namespace": "shop", "name": "a"}]},
    {"upsert": [service("c")], "delete": [{"kind": "Service", "namespace": "shop"}]},
    {"upsert": [service("c")], "delete": [{"kind": "Service", "namespace": "shop", "name": "a", "x": 1}]},
    {"upsert": [service("c"), service("c", ())]},
    {"upsert": [service("c"), service("a")], "delete": [{"kind": "Service", "namespace": "shop", "name": "a"}]},
    {"upsert": [service("c")], "delete": {}},
    {"upsert": {}},
    {"upsert": [service("c")], "remove": []},
])
def test_a_delta_with_one_error_is_nothing(fake, bad):
    fake.put("/v1/sources/x", as_list(service("a"), service("b")))
    before = state(fake)
    answer = fake.ask("PATCH", "/v1/sources/x", bad)
    assert answer.status in (404, 422)
    answer.problem(answer.status)
    assert state(fake) == before


def test_a_delta_can_pass_over_what_is_not_there_and_is_then_sent_again_without_harm(fake):
    fake.put("/v1/sources/x", as_list(service("a"), service("b"), policy("p")))
    fake.put("/v1/sources/y", as_list(service("theirs")))
    names_of = [("Service", "a"), ("TrafficPolicy", "p"), ("Service", "nobody"), ("TrafficPolicy", "none"), ("Service", "theirs")]
    body = {"upsert": [service("c")],
            "delete": [{"kind": kind, "namespace": "shop", "name": name} for kind, name in names_of]}
    before = state(fake)
    assert fake.ask("PATCH", "/v1/sources/x", body).status in (404, 409)
    assert fake.ask("PATCH", "/v1/sources/x?ignoreNotFound=false", body).status in (404, 409)
    assert state(fake) == before
    said = fake.ask("PATCH", "/v1/sources/x?ignoreNotFound=true", body)
    assert (said.status, said.json["created"], said.json["deleted"], said.json["unchanged"]) == (200, 1, 2, 3)
    after = state(fake)
    said = fake.ask("PATCH", "/v1/sources/x?ignoreNotFound=true", body)
    assert (said.status, said.json["deleted"], said.json["unchanged"]) == (200, 0, 6)
    assert state(fake) == after and names(fake) == ["b", "c", "theirs"]
    twice = {"delete": [{"kind": "Service", "namespace": "shop", "name": "nobody"}] * 2}
    fake.ask("PATCH", "/v1/sources/x?ignoreNotFound=true", twice).problem(422)
    fake.ask("PUT", "/v1/sources/x?ignoreNotFound=true", as_list()).problem(400)


def test_another_source_cannot_take_or_remove_what_is_not_its_own(fake):
    fake.put(PAYMENTS, service("payments"))
    before = state(fake)
    for method, path, body in (("PUT", PAYMENTS + "?source=x", service("payments", ())),
                               ("DELETE", PAYMENTS + "?source=x", None),
                               ("PUT", "/v1/sources/x", as_list(service("payments"))),
                               ("PATCH", "/v1/sources/x", {"upsert": [service("payments")]}),
                               ("PATCH", "/v1/sources/x",
                                {"delete": [{"kind": "Service", "namespace": "shop", "name": "payments"}]})):
        assert "manifest" in fake.ask(method, path, body).problem(409)["detail"], (method, path)
    assert state(fake) == before


def test_two_services_cannot_have_one_address(fake):
    fake.put(PAYMENTS, service("payments", address="127.200.0.1"))
    said = fake.ask("PUT", "/v1/services/shop/other", service("other", address="127.200.0.1")).problem(422)
    assert "payments" in said["detail"]


@pytest.mark.parametrize("name", ["Upper", "-x", ".x", "a%2F", "%2Fa", "a%2Fb%2Fc", "a%20b", "a%22b", "%C3%A9",
                                  "a" * 128, "_a", "a%3Bb"])
def test_names_of_sources_are_checked(fake, name):
    fake.ask("PUT", f"/v1/sources/{name}", as_list()).problem(400)
    fake.ask("PATCH", f"/v1/sources/{name}", {}).problem(400)
    fake.ask("DELETE", f"/v1/sources/{name}").problem(400)
    fake.ask("PUT", f"{PAYMENTS}?source={name}", service("payments")).problem(400)
    fake.ask("GET", f"/v1/sources/{name}").problem(404)


def test_source_names_may_be_encoded_in_any_way(fake):
    for i, name in enumerate(("consul%2Fdc1", "consul%2fdc1", "%63onsul%2Fdc%31")):
        fake.put(f"/v1/sources/{name}", as_list(service(f"s{i}")))
    assert [s["name"] for s in fake.get("/v1/sources")["items"]] == ["consul/dc1"]
    assert names(fake, "?source=consul%2Fdc1") == names(fake, "?source=consul/dc1") == ["s2"]
    fake.ask("GET", "/v1/sources/consul/dc1").problem(404)


def test_generation_grows_with_each_change_only(fake):
    path = "/v1/sources/x"
    first = fake.put(path, as_list(service("a"))).json["generation"]
    assert fake.put(path, as_list(service("a"))).json["generation"] in (first, first + 1)
    changed = fake.put(path, as_list(service("a", ()))).json["generation"]
    assert changed > first
    assert fake.get("/v1/sources")["items"][0]["generation"] == changed
    assert fake.get(path)["metadata"]["generation"] == changed
