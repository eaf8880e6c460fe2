# SPDX-License-Identifier: GPL-2.0-or-later
"""What a client gets wrong is told precisely: RFC 9457, a pointer per error, nothing applied."""
import json

import pytest

from serving import as_list, request, service

PAYMENTS = "/v1/services/shop/payments"
SOURCE = "/v1/sources/x"


def broken(**changes):
    made = service("payments")
    made["spec"].update(changes)
    return made


@pytest.fixture(scope="module")
def empty():
    """One fake for all: no test here may change anything."""
    from serving import Fake
    one = Fake(services=0)
    before = one.get("/v1/sources"), one.get("/v1/services"), one.get("/v1/policies")
    yield one
    assert (one.get("/v1/sources"), one.get("/v1/services"), one.get("/v1/policies")) == before
    one.stop()


@pytest.mark.parametrize("body, pointer, words", [
    (broken(ports=[{"port": 70000}]), "/spec/ports/0/port", "65535"),
    (broken(ports=[]), "/spec/ports", "1 to 32"),
    (broken(ports=[{"port": i + 1, "name": f"p{i}"} for i in range(33)]), "/spec/ports", "1 to 32"),
    (broken(ports=[{"port": 80, "protocol": "SCTP"}]), "/spec/ports/0/protocol", "TCP or UDP"),
    (broken(ports=[{"port": 80}, {"port": 80}]), "/spec/ports/1", "twice"),
    (broken(ports="80"), "/spec/ports", "list"),
    (broken(endpoints=[{"address": "10.0.0.256"}]), "/spec/endpoints/0/address", "10.0.0.256"),
    (broken(endpoints=[{"port": 1}]), "/spec/endpoints/0", "address is missing"),
    (broken(endpoints=[{"address": "10.0.0.1"}] * 2), "/spec/endpoints/1", "already"),
    (broken(endpoints=[{"address": "10.0.0.1", "weight": 65536}]), "/spec/endpoints/0/weight", "65535"),
    (broken(endpoints=[{"address": "10.0.0.1", "weight": 1.5}]), "/spec/endpoints/0/weight", "number"),
    (broken(endpoints=[{"address": f"10.0.{i // 250}.{i % 250 + 1}"} for i in range(4097)]), "/spec/endpoints", "4096"),
    (broken(enpoints=[]), "/spec/enpoints", 'did you mean "endpoints"?'),
    (broken(address="10.96.0.1", addresses=["10.96.0.1"]), "/spec/address", "both"),
    (broken(address="127.0.0.1"), "", "127.0.0.1"),
    (broken(policy="Nope!"), "/spec/policy", "Nope!"),
    ({**service("payments"), "kind": "Servise"}, "/kind", 'did you mean "Service"?'),
    ({**service("payments"), "apiVersion": "v1"}, "/apiVersion", "sinew/v1"),
    ({**service("payments"), "x/y~z": 1}, "/x~1y~0z", "unknown key"),
    ({k: v for k, v in service("payments").items() if k != "metadata"}, "", "metadata is missing"),
    (service("payments", labels={"a": 1}), "/metadata/labels/a", "text"),
    (service("payments", labels={f"l{i}": "" for i in range(65)}), "/metadata/labels", "64"),
    (service("payments", labels={"a": "x" * 254}), "/metadata/labels/a", "253"),
    (service("p" * 64), "/metadata/name", "63"),
    ([], "", "mapping"), ("x", "", "mapping"), (None, "", "mapping"), (17, "", "mapping"),
])
def test_each_error_has_its_place(empty, body, pointer, words):
    said = empty.ask("PUT", PAYMENTS, json.dumps(body).encode()).problem(422)
    found = [e for e in said["errors"] if e["pointer"] == pointer]
    assert found and any(words in e["detail"] for e in found), said


def test_all_errors_are_told_in_one_answer_up_to_twenty(empty):
    bad = [{"address": f"10.0.0.{256 + i}"} for i in range(50)]
    said = empty.ask("PUT", PAYMENTS, broken(endpoints=bad)).problem(422)
    assert len(said["errors"]) == 20 and said["moreErrors"] == 30
    assert [e["pointer"] for e in said["errors"]] == [f"/spec/endpoints/{i}/address" for i in range(20)]
    assert "50 errors" in said["detail"]


def test_errors_in_a_list_point_into_it(empty):
    said = empty.ask("PUT", SOURCE, as_list(service("ok"), broken(ports=[]), service("Not"))).problem(422)
    assert [e["pointer"] for e in said["errors"]] == ["/items/1/spec/ports", "/items/2/metadata/name"]
    said = empty.ask("PATCH", SOURCE, {"upsert": [{}], "delete": [{"kind": "Service"}]}).problem(422)
    assert {e["pointer"].rsplit("/", 1)[0] for e in said["errors"]} >= {"/upsert", "/delete"}


@pytest.mark.parametrize("body", [
    {"apiVersion": "sinew/v1", "kind": "List"}, {"apiVersion": "sinew/v1", "items": []}, {"kind": "List", "items": []},
    {"apiVersion": "sinew/v1", "kind": "List", "items": {}}, {**as_list(), "itmes": []}, {**as_list(), "items ": []},
    {**as_list(), "": 1}, {**as_list(), "metadata": []}, {"apiVersion": 1, "kind": 2, "items": 3}])
def test_a_list_must_be_a_list(empty, body):
    empty.ask("PUT", SOURCE, body).problem(422)


def test_a_key_given_twice_is_an_error(empty):
    empty.ask("PUT", SOURCE, b'{"apiVersion":"sinew/v1","kind":"List","items":[],"items":[]}').problem(422)
    empty.ask("PATCH", SOURCE, b'{"upsert":[],"upsert":[]}').problem(422)
    said = empty.ask("PUT", PAYMENTS, json.dumps(service("payments")).encode()[:-1] + b',"kind":"Service"}')
    assert "twice" in said.problem(422)["errors"][0]["detail"]


@pytest.mark.parametrize("body, words", [
    (b"", "empty"), (b"{", "byte"), (b"{}x", "byte 2"), (b"\xff", "byte 0"), (b'{"a":"\xff"}', "UTF-8"),
    (b"nul", "byte"), (b"{'a':1}", "byte 1"), (b"\x00" * 10, "byte"), (b'"\\ud800"', "byte"), (b"[1,]", "byte"),
    (b"\xef\xbb\xbf{}", "byte"), (b"NaN", "byte"), (b"1e999", "byte"),
    (b"[" * 33 + b"]" * 33, "32"), (b'{"a":' * 33 + b"1" + b"}" * 33, "32"), (b"[" * 1000000, "32"),
])
def test_what_is_no_json_is_400_and_says_where(empty, body, words):
    for method, path in (("PUT", PAYMENTS), ("PUT", SOURCE), ("PATCH", SOURCE), ("PUT", "/v1/policies/a/b")):
        assert words.lower() in empty.ask(method, path, body).problem(400)["detail"].lower()


def test_brackets_in_strings_are_no_depth(empty):
    body = service("payments", labels={"a": "[" * 200})
    assert empty.ask("PUT", PAYMENTS + "?dryRun=true", body).status == 200
    assert empty.ask("PUT", PAYMENTS + "?dryRun=true", service("payments", labels={"a": '\\"[{' * 50})).status == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/yaml", "application/jsonx", "application/json-patch+json",
                                          "", "application", "application/x-www-form-urlencoded"])
def test_other_content_types_are_415(empty, content_type):
    empty.ask("PUT", PAYMENTS, service("payments"), content_type=content_type).problem(415)


def test_json_with_parameters_is_json(empty):
    for content_type in ("application/json; charset=utf-8", "Application/JSON", "application/json;charset=utf-8"):
        assert empty.ask("PUT", PAYMENTS + "?dryRun=true", service("payments"), content_type=content_type).status == 200


def test_a_body_without_a_type_is_415(empty):
    with empty.wire() as wire:
        wire.send(b"PUT /v1/sources/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
        wire.receive().problem(415)


@pytest.mark.parametrize("path", ["/v1/services?nmespace=a", "/v1/status?x", "/v1/services?limit=1&limit=2",
                                  "/v1/services?namespace=%zz", "/v1/services?namespace=%0", "/v1/services?namespace=%",
                                  "/v1/services?%00=a", "/v1/services?namespace=a%00b", "/healthz?a=b",
                                  "/metrics?name=x", "/v1/services?" + "&".join(f"label=l{i}" for i in range(30))])
def test_bad_queries_are_400(empty, path):
    empty.ask("GET", path).problem(400)


def test_an_unknown_key_names_the_known_ones(empty):
    assert "namespace label* source limit continue" in empty.ask("GET", "/v1/services?nmespace=a").problem(400)["detail"]


@pytest.mark.parametrize("query", ["dryRun=yes", "dryRun=1", "verbose=x", "dryRun=TRUE"])
def test_switches_are_true_or_false(empty, query):
    empty.ask("PUT", f"{PAYMENTS}?{query}", service("payments")).problem(400)
    empty.ask("PUT", f"{SOURCE}?{query}", as_list()).problem(400)


@pytest.mark.parametrize("path", ["/v1/services/a%zz/b", "/v1/services/a/%", "/v1/services/%00/b", "/v1/services/a/b%0a"])
def test_bad_encodings_in_paths_are_400(empty, path):
    empty.ask("GET", path).problem(400)


def test_odd_names_in_paths_are_only_not_found(empty):
    for name in ("..", ".", "%2e%2e", "a%2Fb", "%F0%9F%98%80", "a" * 3000, "%ff", "%C3%28"):
        said = empty.ask("GET", f"/v1/services/{name}/x").problem(404)
        assert said["detail"]


def test_what_is_not_utf8_is_repaired_in_the_answer(empty):
    """A message may quote half a character; the document must be JSON all the same."""
    empty.ask("GET", "/v1/services?%ff%fe=1").problem(400)
    empty.ask("GET", "/v1/sources/" + "%C3%A9" * 40).problem(404)
    empty.ask("PUT", "/v1/sources/" + "%C3%A9" * 40, as_list()).problem(400)
    empty.ask("GET", "/v1/services?" + "%C3%A9" * 60 + "=1").problem(400)


# --- HTTP itself ------------------------------------------------------------------------------------

def test_methods_that_nobody_knows_are_405_or_404(empty):
    for method in ("TRACE", "CONNECT", "BREW", "get", "PROPFIND", "G" * 500):
        assert empty.ask(method, "/v1/services").status in (400, 405), method
    answer = empty.ask("BREW", "/v1/services")
    answer.problem(405)


@pytest.mark.parametrize("raw", [
    b"GARBAGE\r\n\r\n", b"GET /healthz\r\n\r\n", b"GET /healthz HTTP/3.0\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
    b"PUT /v1/sources/x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1x\r\n\r\n1",
    b"PUT /v1/sources/x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"PUT /v1/sources/x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"y" * 200000 + b"\r\n\r\n",
    b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n", b"\r\n" * 50000 + b"x\r\n\r\n",
])
def test_what_is_not_http_is_answered_4xx_or_cut(empty, raw):
    with empty.wire(timeout=5) as wire:
        try:
            wire.send(raw)
        except BrokenPipeError:
            pass
        try:
            answer = wire.receive()
        except ConnectionResetError:
            answer = None
        assert answer is None or 400 <= answer.status < 600, answer.status
        assert answer is None or answer.status not in (500, 502)
    assert empty.ask("GET", "/healthz").status == 200


def test_chunked_bodies_are_read(empty):
    body = json.dumps(service("payments")).encode()
    with empty.wire() as wire:
        wire.send(request("PUT", PAYMENTS + "?dryRun=true", transfer_encoding="chunked", content_type="application/json"))
        for i in range(0, len(body), 7):
            part = body[i:i + 7]
            wire.send(b"%x\r\n%s\r\n" % (len(part), part))
        wire.send(b"0\r\n\r\n")
        assert wire.receive().status == 200


def test_expect_continue_is_answered_before_the_body(empty):
    body = json.dumps(service("payments")).encode()
    with empty.wire() as wire:
        head = request("PUT", PAYMENTS + "?dryRun=true", content_type="application/json", content_length=len(body),
                       expect="100-continue")
        wire.send(head)
        assert wire.head()[0] == 100
        wire.send(body)
        assert wire.receive().status == 200
        wire.send(request("PUT", "/v1/nothing", content_type="application/json", content_length=5,
                          expect="100-continue"))
        assert wire.receive().status == 404


def test_pipelined_requests_are_answered_in_order(empty):
    with empty.wire() as wire:
        paths = ["/healthz", "/v1/services", "/v1/nothing", "/v1/status", "/v1/services?x=1"] * 20
        wire.send(b"".join(request("GET", path) for path in paths))
        assert [wire.receive().status for _ in paths] == [200, 200, 404, 200, 400] * 20


def test_pipelined_writes_take_effect_in_order(start):
    fake = start(services=0, ack_ms=5)
    with fake.wire() as wire:
        wire.send(b"".join(request("PUT", PAYMENTS, service("payments", (("10.0.0.1", i + 1),))) for i in range(30)))
        assert [wire.receive().status for _ in range(30)] == [201] + [200] * 29
    assert fake.get(PAYMENTS)["spec"]["endpoints"][0]["port"] == 30


def test_http_1_0_and_close_end_the_connection(empty):
    with empty.wire() as wire:
        wire.send(b"GET /v1/services HTTP/1.0\r\nHost: a\r\n\r\n")
        assert wire.receive().status == 200 and wire.is_closed()
    with empty.wire() as wire:
        assert wire.ask("GET", "/healthz", connection="close").status == 200 and wire.is_closed()
