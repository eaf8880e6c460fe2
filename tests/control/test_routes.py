# SPDX-License-Identifier: GPL-2.0-or-later
"""Every route with every verb on both sockets, as the served document has them; and what each read shows."""
import os
import stat

import pytest

from serving import policy, request, service
from test_openapi import Shape

METHODS = ("GET", "PUT", "PATCH", "DELETE", "POST")
FILLED = {"{namespace}": "shop", "{name}": "payments"}


@pytest.fixture(scope="module")
def document(shared):
    return shared.get("/v1/openapi.json")


def fill(path):
    for name, value in FILLED.items():
        path = path.replace(name, value)
    return path


def documented(document):
    """(path, {methods})"""
    return [(path, {m.upper() for m in item if m in ("get", "put", "patch", "delete", "post")})
            for path, item in document["paths"].items()]


def test_every_path_answers_its_verbs_and_405_with_allow_to_others(shared, document):
    for path, methods in documented(document):
        allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        for method in set(METHODS) - methods:
            answer = shared.ask(method, fill(path), {})
            answer.problem(405)
            assert set(answer.headers["allow"].split(", ")) == allowed, path
        answer = shared.ask("OPTIONS", fill(path))
        assert answer.status == 204 and set(answer.headers["allow"].split(", ")) == allowed


def test_status_socket_refuses_every_write_with_403_and_serves_every_read(shared, document):
    before = shared.get("/v1/sources")
    for path, methods in documented(document):
        for method in methods - {"GET"}:
            said = shared.ask(method, fill(path), {}, status=True).problem(403)
            assert "control socket" in said["detail"]
        if "GET" in methods and path != "/v1/events":
            answers = [shared.ask("GET", fill(path), status=status).status for status in (False, True)]
            assert answers[0] == answers[1] and answers[0] in (200, 400, 404), path
    assert shared.get("/v1/sources") == before


def test_a_refused_write_does_not_read_its_body(shared):
    """403, 405, 404 and 415 come before a byte of the body is there."""
    cases = [("PUT", "/v1/sources/x", True, 403, {}), ("POST", "/v1/services", False, 405, {}),
             ("PUT", "/v1/nothing", False, 404, {}),
             ("PUT", "/v1/sources/x", False, 415, {"content_type": "text/yaml"})]
    for method, path, status, expected, headers in cases:
        with shared.wire(status) as wire:
            wire.send(request(method, path, content_length=1000, **headers))
            wire.receive().problem(expected)


def test_sockets_are_for_owner_and_group_only(shared):
    for path in (shared.control, shared.status):
        mode = os.stat(path).st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660


def test_sockets_are_removed_at_the_end(start):
    fake = start(services=0)
    fake.child.terminate()
    assert fake.child.wait(20) == 0
    assert not os.path.exists(fake.control) and not os.path.exists(fake.status)


def test_head_is_get_without_the_body(shared):
    for path in ("/healthz", "/v1/status", "/v1/services", "/v1/openapi.json", "/metrics"):
        with shared.wire() as wire:
            head = wire.ask("HEAD", path)
            assert head.status == 200 and not head.body
            full = wire.ask("GET", path)
            assert full.status == 200 and full.body
            assert head.headers["content-type"] == full.headers["content-type"]
    with shared.wire() as wire:
        head = wire.ask("HEAD", "/v1/services/shop/nobody")
        assert head.status == 404 and wire.ask("GET", "/healthz").status == 200
        assert wire.ask("HEAD", "/v1/events").status == 200 and wire.ask("GET", "/healthz").status == 200


def test_unknown_paths_are_404_and_name_the_document(shared):
    for path in ("/", "/v1", "/v1/", "/v1/service", "/v1/services/", "/v1/services/a", "/v1/services/a/b/c",
                 "/v2/services", "//v1/services", "/v1/services/a/", "*"):
        assert "/v1/openapi.json" in shared.ask("GET", path).problem(404)["detail"], path


def test_no_answer_may_be_kept(shared):
    for path in ("/healthz", "/v1/services", "/v1/nothing"):
        assert shared.ask("GET", path).headers["cache-control"] == "no-store"


def test_accept_is_honoured(shared):
    for accept in ("application/json", "*/*", "application/*", "text/html, application/json;q=0.1", "", None):
        assert shared.ask("GET", "/v1/status", accept=accept).status == 200, accept
    for accept in ("text/html", "application/json;q=0", "application/yaml"):
        shared.ask("GET", "/v1/status", accept=accept).problem(406)
        shared.ask("GET", "/v1/events", accept=accept).problem(406)


# --- what the reads show --------------------------------------------------------------------------

def test_services_are_sorted_and_carry_status(shared):
    items = shared.get("/v1/services")["items"]
    names = [(i["metadata"]["namespace"], i["metadata"]["name"]) for i in items]
    assert len(items) == 20 and names == sorted(names)
    one = shared.get("/v1/services/shop-3/service-00003")
    assert one == next(i for i in items if i["metadata"]["name"] == "service-00003")
    assert one["status"]["usable"] == 2 and len(one["status"]["endpoints"]) == 3
    assert one["status"]["endpoints"][2]["state"] == "draining"


def test_a_brief_list_is_what_names_lead_to(fake):
    fake.put("/v1/services/shop/a", service("a", labels={"team": "x"}, policy="default"))
    fake.put("/v1/services/shop/b", service("b", address="127.200.0.9"))
    a, b = fake.get("/v1/services?brief=true")["items"]
    assert set(a) == set(b) == {"apiVersion", "kind", "metadata", "spec"}
    assert a["metadata"] == {"name": "a", "namespace": "shop"} and a["spec"]["allocated"] is True
    assert b["spec"]["address"] == "127.200.0.9"
    assert b["spec"]["ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]


def test_a_brief_list_has_a_tag_that_endpoints_and_traffic_do_not_change(fake):
    fake.put("/v1/services/shop/a", service("a"))
    first = fake.ask("GET", "/v1/services?brief=true")
    fake.put("/v1/services/shop/a", service("a", endpoints=(("10.0.0.7", 1),), labels={"x": "y"}))
    same = fake.ask("GET", "/v1/services?brief=true", if_none_match=first.etag)
    assert (same.status, same.body, same.etag) == (304, b"", first.etag)
    for change in ({"ports": [{"port": 81}]}, {"ports": [{"port": 80, "name": "h", "protocol": "UDP"}]},
                   {"address": "127.200.0.1"}):
        fake.put("/v1/services/shop/a", service("a", **change))
        other = fake.ask("GET", "/v1/services?brief=true", if_none_match=first.etag)
        assert other.status == 200 and other.etag != first.etag
        first = other
    fake.put("/v1/services/shop/b", service("b"))
    assert fake.ask("GET", "/v1/services?brief=true", if_none_match=first.etag).status == 200
    assert fake.ask("GET", "/v1/services", if_none_match=first.etag).status == 200  # the long one has none
    fake.ask("GET", "/v1/services?brief=x").problem(400)


def test_pages_cover_everything_once(shared):
    whole = shared.get("/v1/services")
    assert "continue" not in whole["metadata"]
    for limit in (1, 7, 19, 20, 21):
        seen, token = [], None
        while True:
            page = shared.get(f"/v1/services?limit={limit}" + (f"&continue={token}" if token else ""))
            assert 0 < len(page["items"]) <= limit
            seen += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                break
        assert seen == whole["items"], limit


def test_pages_pass_over_what_came_and_went_meanwhile(fake):
    for name in "abcdef":
        fake.put(f"/v1/services/shop/{name}", service(name))
    page = fake.get("/v1/services?limit=2")
    fake.ask("DELETE", "/v1/services/shop/b")
    fake.put("/v1/services/shop/bb", service("bb"))
    rest = fake.get(f"/v1/services?limit=10&continue={page['metadata']['continue']}")
    assert [i["metadata"]["name"] for i in rest["items"]] == ["bb", "c", "d", "e", "f"]


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=-1", "limit=", "limit=x", "limit=1.5",
                                   "continue=x", "limit=99999999999999999999999"])
def test_bad_pages_are_400(shared, query):
    shared.ask("GET", f"/v1/services?{query}").problem(400)
    shared.ask("GET", f"/v1/policies?{query}").problem(400)


def test_filters(shared):
    def names(query):
        return {i["metadata"]["name"] for i in shared.get("/v1/services?" + query)["items"]}
    assert len(names("namespace=shop-3")) == 2
    assert len(names("label=team=t1")) == 7 and len(names("label=team")) == 20
    assert names("label=team=t1&label=team=t2") == set()
    assert names("label=team=t1&namespace=shop-1") == {"service-00001"}
    assert names("label=team%3Dt1") == names("label=team=t1")
    assert names("label=nothing") == names("source=other") == names("namespace=none") == set()
    assert len(names("source=synthetic")) == 20


@pytest.mark.parametrize("query", ["namespace=", "namespace=Shop", "namespace=a/b", "source=", "source=Bad", "label=",
                                   "namespace=" + "a" * 64, "source=" + "a" * 128, "source=a/b/c", "namespace=-a"])
def test_filters_that_nothing_can_match_are_400(shared, query):
    shared.ask("GET", "/v1/services?" + query).problem(400)
    if query.startswith("namespace"):
        for path in ("/v1/backends?", "/v1/flows?", "/v1/events?"):
            shared.ask("GET", path + query).problem(400)
            shared.ask("GET", path + query.replace("namespace", "service")).problem(400)


def test_backends_are_every_endpoint_at_every_port(shared):
    services = shared.get("/v1/services")["items"]
    backends = shared.get("/v1/backends")["items"]
    assert len(backends) == sum(len(s["spec"].get("endpoints", [])) * len(s["spec"]["ports"]) for s in services) == 30
    one = shared.get("/v1/backends?namespace=shop-3&service=service-00003")["items"]
    assert [b["address"] for b in one] == ["10.0.3.1", "10.0.3.2", "10.0.3.3"]
    assert {b["state"] for b in one} == {"active", "draining"}
    assert shared.get("/v1/backends?service=none")["items"] == []


def test_flows_are_filtered_and_bounded(shared):
    assert len(shared.get("/v1/flows")["items"]) == 15
    assert len(shared.get("/v1/flows?limit=4")["items"]) == 4
    items = shared.get("/v1/flows?namespace=shop-3")["items"]
    assert {i["service"] for i in items} == {"service-00003", "service-00013"}
    assert items[0]["state"] == "established"
    assert [(i["backend"], i.get("wire")) for i in items] == [("10.0.3.1:8080", "10.0.3.2:8080"), ("10.0.13.1:8080", None)]
    gone = shared.get("/v1/flows?namespace=shop-5")["items"][0]
    assert (gone["service"], gone["protocol"], gone["backend"]) == ("service-00005", "TCP", "10.0.5.1:8080"), "removed, but asked for"
    for query in ("limit=0", "limit=10001", "limit=x"):
        shared.ask("GET", "/v1/flows?" + query).problem(400)


def test_explain_words_what_the_kernel_said(shared):
    one = shared.get("/v1/services/shop-3/service-00003")
    address = one["status"]["addresses"][0]
    for destination in (f"{address}:80", "shop-3/service-00003:80", "shop-3/service-00003:http", "shop-3/service-00003"):
        said = shared.get(f"/v1/explain?destination={destination}")
        assert said["service"]["name"] == "service-00003" and said["decision"] == {
            "outcome": "translated", "reason": "connected", "level": 0, "panic": False}
        assert said["picked"] == {"address": "10.0.3.1", "port": 8080}
        assert [c["picked"] for c in said["candidates"]] == [True, False, False]
        assert said["lines"][-1] == "would pick 10.0.3.1:8080"
    said = shared.get("/v1/explain?destination=192.0.2.1:80")
    assert said["decision"] == {"outcome": "untouched", "reason": "not_a_service"} and "service" not in said
    said = shared.get("/v1/explain?destination=shop-4/service-00004:80")
    assert said["decision"] == {"outcome": "refused", "reason": "no_backend"}
    said = shared.get("/v1/explain?destination=shop-3/service-00003:80&mark=5")
    assert said["decision"]["reason"] == "bypass_mark"
    said = shared.get("/v1/explain?destination=%5B2001:db8::1%5D:80&protocol=udp")
    assert said["destination"] == {"address": "2001:db8::1", "port": 80, "protocol": "UDP"}


@pytest.mark.parametrize("query, status", [
    ("", 400), ("destination=", 400), ("destination=x", 400), ("destination=1.2.3.4", 400),
    ("destination=1.2.3.4:99999", 400), ("destination=1.2.3.4:80&protocol=sctp", 400),
    ("destination=1.2.3.4:80&mark=4294967296", 400), ("destination=1.2.3.4:80&cgroup=-1", 400),
    ("destination=a/b:80", 404), ("destination=/:80", 404), ("destination=shop-3/service-00003:81", 404),
    ("destination=shop-3/service-00003:80&protocol=udp", 404), ("destination=" + "a" * 100 + "/b", 404)])
def test_explain_refuses_what_it_cannot_read(shared, query, status):
    shared.ask("GET", "/v1/explain?" + query).problem(status)


def test_status_sums_over_services(shared):
    said = shared.get("/v1/status")
    services = shared.get("/v1/services")["items"]
    assert said["services"]["total"] == 20
    assert said["services"]["withoutBackend"] == sum(s["status"]["usable"] == 0 for s in services)
    assert said["endpoints"]["total"] == 30
    assert said["traffic"]["attempts"] == sum(s["status"]["traffic"]["attempts"] for s in services)
    assert said["sources"] == shared.get("/v1/sources")["items"]
    assert said["control"]["clients"] >= 1


def test_small_reads(shared):
    assert shared.get("/healthz") == {"status": "ok"}
    assert {c["level"] for c in shared.get("/v1/doctor")["items"]} == {"ok", "warn", "fail"}
    assert shared.get("/v1/config")["items"][1] == {"key": "log-level", "value": "debug", "origin": "flag"}
    assert shared.get("/v1/workloads")["items"] == [
        {"cgroup": "/sys/fs/cgroup/legacy.slice", "id": 8123, "bypass": True}]


def test_uninstall_is_a_post_on_the_control_socket(shared):
    assert shared.ask("POST", "/v1/uninstall").json == {"status": "uninstalling"}
    shared.ask("POST", "/v1/uninstall", status=True).problem(403)


def test_objects_are_shown_as_they_were_declared(fake):
    made = service("payments", (("10.0.0.5", 8080, 200), ("10.0.0.6", 8080, 100)), labels={"team": "billing"},
                   policy="gentle")
    fake.put("/v1/policies/shop/gentle", policy("gentle"))
    fake.put("/v1/services/shop/payments", made)
    answer = fake.ask("GET", "/v1/services/shop/payments")
    shown = answer.json
    assert shown["metadata"]["source"] == "manifest"
    assert answer.etag == f'"{shown["metadata"]["resourceVersion"]}"'
    assert shown["metadata"]["labels"] == {"team": "billing"} and shown["spec"]["policy"] == "gentle"
    assert shown["spec"]["ports"] == made["spec"]["ports"]
    assert shown["spec"]["endpoints"] == made["spec"]["endpoints"]
    assert fake.get("/v1/policies/shop/gentle")["spec"] == policy("gentle")["spec"]


def test_doctors_that_look_together_are_all_answered_and_one_may_go(start):
    fake = start(services=0)
    wires = [fake.wire(status=True) for _ in range(8)]
    for wire in wires:
        wire.send(request("GET", "/v1/doctor"))
    wires.pop().close()
    for wire in wires:
        assert len(wire.receive().json["items"]) == 3
        assert wire.ask("GET", "/v1/doctor").status == 200
        wire.close()


def test_what_registries_say_of_endpoints_is_shown_everywhere(fake):
    """Who named it, who it is, whether it is suspect: by service, by backend, explained, and counted."""
    named = service("named", labels={})
    named["spec"]["endpoints"] = [
        {"address": "10.0.0.5", "port": 8080, "source": "consul/dc1", "instance": "00000000000000a7"},
        {"address": "10.0.0.6", "port": 8080, "source": "eureka/old", "suspect": True},
        {"address": "10.0.0.7", "port": 8080, "suspect": True}]
    assert fake.ask("PUT", "/v1/services/shop/named", named).status in (200, 201)
    shape = Shape(fake.get("/v1/openapi.json"))
    said = fake.get("/v1/services/shop/named")
    shape.check(said, {"$ref": "#/components/schemas/ServiceShown"}, "service")
    keys = ("source", "instance", "suspect")
    assert [tuple(end.get(key) for key in keys) for end in said["status"]["endpoints"]] == [
        ("consul/dc1", "00000000000000a7", None), ("eureka/old", None, True), (None, None, True)]
    assert said["status"]["suspect"] == 2
    said = fake.get("/v1/backends?service=named")
    shape.check(said, {"$ref": "#/components/schemas/BackendList"}, "backends")
    assert [tuple(end.get(key) for key in keys) for end in said["items"]] == [
        ("consul/dc1", "00000000000000a7", None), ("eureka/old", None, True), ("manifest", None, True)]
    said = fake.get("/v1/explain?destination=shop/named:80")
    shape.check(said, {"$ref": "#/components/schemas/Explanation"}, "explanation")
    assert [tuple(end.get(key) for key in keys) for end in said["candidates"]] == [
        ("consul/dc1", "00000000000000a7", None), ("eureka/old", None, True), (None, None, True)]
    doubts = [line.split("; suspect, so the last to be picked: ")[1] for line in said["lines"] if "suspect" in line]
    assert doubts == ["no longer named by eureka/old", "no longer named by its registry"]
    metrics = fake.ask("GET", "/metrics").body.decode()
    assert 'sinew_suspect_endpoints{namespace="shop",service="named"} 2' in metrics
