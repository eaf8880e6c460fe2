# SPDX-License-Identifier: GPL-2.0-or-later
"""apply and delete: manifests as people write them, and every way in which they are wrong."""
import json
import os

import pytest

import fake as fakes

SHOP = """apiVersion: sinew/v1
kind: Service
metadata: {name: payments, namespace: shop}
spec:
  address: 10.96.0.10
  ports: [{name: http, port: 80}]
  endpoints:
    - {address: 10.0.0.5, port: 8080, weight: 200}
"""
GENTLE = """apiVersion: sinew/v1
kind: TrafficPolicy
metadata: {name: gentle, namespace: shop}
spec: {loadBalancer: {algorithm: random}}
"""
REGISTRATION = """apiVersion: sinew/v1
kind: Registration
metadata: {name: payments, namespace: shop}
spec:
  service: payments
  registry: dc1
  workload: {unit: payments.service}
  port: 8080
"""
BAD = """apiVersion: sinew/v1
kind: Service
metadata: {name: payments, namespace: shop}
spec:
  address: 10.96.0.10
  ports: [{name: http, port: 80}]
  enpoints:
    - {address: 10.0.0.5, port: 8080}
---
apiVersion: sinew/v1
kind: Service
metadata: {name: mail, namespace: shop}
spec:
  ports:
    - {port: 70000}
"""


def result(changes, dry_run=False, unchanged=0, **counts):
    return 200, {"apiVersion": "sinew/v1", "kind": "ChangeResult", "source": "manifest", "generation": 4,
                 "dryRun": dry_run, "created": 0, "changed": 0, "deleted": 0, "unchanged": unchanged, **counts,
                 "changes": changes}


CREATED = {"action": "create", "kind": "Service", "namespace": "shop", "name": "payments"}


@pytest.fixture
def asked(fake):
    """What the daemon was asked to change: (method, path, query, body) of each."""
    fake.on("PATCH", "/v1/sources/manifest", result([CREATED], created=1, unchanged=2))
    fake.on("PUT", "/v1/sources/manifest", result([CREATED], created=1))
    return fake.seen


def test_a_file_becomes_one_change(ctl, asked):
    ctl.write("shop.yaml", SHOP)
    done = ctl("apply", "-f", "shop.yaml")
    assert (done.code, done.out, done.err) == (0, "service shop/payments created\n1 created, 2 unchanged\n", "")
    (method, path, query, body), = asked
    assert (method, path, query) == ("PATCH", "/v1/sources/manifest", {"verbose": "true"})
    assert body["upsert"][0]["spec"]["endpoints"] == [{"address": "10.0.0.5", "port": 8080, "weight": 200}]


def test_a_registration_is_applied_and_deleted_by_its_file(ctl, asked, fake):
    ctl.write("reg.yaml", REGISTRATION)
    assert ctl("apply", "-f", "reg.yaml").code == 0
    assert asked[0][3]["upsert"][0]["spec"]["workload"] == {"unit": "payments.service"}
    assert ctl("delete", "-f", "reg.yaml").code == 0
    assert asked[1][3] == {"delete": [{"kind": "Registration", "namespace": "shop", "name": "payments"}]}
    fake.on("DELETE", "/v1/registrations/shop/payments", result(
        [{"action": "delete", "kind": "Registration", "namespace": "shop", "name": "payments"}], deleted=1))
    done = ctl("delete", "registration", "shop/payments")
    assert (done.code, done.lines[0]) == (0, "registration shop/payments deleted"), done


def test_a_registration_that_is_wrong_is_told_with_its_place(ctl, asked):
    ctl.write("reg.yaml", REGISTRATION.replace("payments.service", "payments").replace("8080", "70000"))
    done = ctl("apply", "-f", "reg.yaml")
    assert done.code == 2 and not asked
    assert 'reg.yaml:7:20: unit "payments" has no type; did you mean "payments.service"?' in done.err, done.err
    assert "reg.yaml:8:9: port 70000 is out of range (1 to 65535)" in done.err, done.err


def test_standard_input_files_and_folders_are_one_change(ctl, asked):
    ctl.write("a/1.yaml", GENTLE)
    ctl.write("a/2.json", json.dumps({"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": "json"},
                                      "spec": {"ports": [{"port": 1}]}}))
    ctl.write("a/README.md", "not a manifest")
    ctl.write("a/.hidden.yaml", "nor: this")
    done = ctl("apply", "-f", "a", "-f", "-", text=SHOP)
    assert done.code == 0, done
    assert [item["metadata"]["name"] for item in asked[0][3]["upsert"]] == ["gentle", "json", "payments"]


def test_a_list_as_get_prints_it_is_read_back(ctl, fake, asked):
    shown = ctl("get", "services", "-o", "yaml").out
    assert ctl("apply", "-f", "-", text=shown).code == 0
    assert [item["metadata"]["name"] for item in asked[-1][3]["upsert"]] == ["payments", "mail"]


def test_prune_sends_the_whole_source(ctl, asked):
    assert ctl("apply", "-f", "-", "--prune", text=SHOP).code == 0
    method, _, _, body = asked[0]
    assert method == "PUT" and body["kind"] == "List" and len(body["items"]) == 1


def test_another_source_is_named_in_the_path(ctl, fake):
    fake.on("PATCH", "/v1/sources/consul/dc1", result([CREATED], created=1))
    assert ctl("apply", "-f", "-", "--source", "consul/dc1", text=SHOP).code == 0
    assert fake.seen[0][1] == "/v1/sources/consul/dc1"


def test_the_transcript_of_a_bad_manifest(ctl, asked):
    ctl.write("shop.yaml", BAD)
    refused = ctl("apply", "-f", "shop.yaml")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        'shop.yaml:7:3: unknown key "enpoints" in Service.spec; did you mean "endpoints"?\n'
        "shop.yaml:15:14: port 70000 is out of range (0 to 65535)\n"
        "nothing was applied (2 errors)\n")
    assert asked == []


def test_one_bad_file_of_several_stops_all(ctl, asked):
    ctl.write("good.yaml", GENTLE)
    ctl.write("bad.yaml", BAD)
    refused = ctl("apply", "-f", "good.yaml", "-f", "bad.yaml", "-f", "-", text="kind: [")
    assert refused.code == 2 and asked == []
    assert "stdin:1:" in refused.err and "bad.yaml:7:3:" in refused.err
    assert refused.err.endswith("nothing was applied (3 errors)\n")


def test_errors_as_json_are_a_problem_on_stderr(ctl, asked):
    ctl.write("shop.yaml", BAD)
    refused = ctl("apply", "-f", "shop.yaml", "-o", "json")
    problem = json.loads(refused.err)
    assert (refused.code, refused.out, problem["exitCode"]) == (2, "", 2)
    assert problem["detail"] == "nothing was applied (2 errors)" and problem["type"] and problem["title"]
    assert [(e["file"], e["line"], e["column"]) for e in problem["errors"]] == [("shop.yaml", 7, 3),
                                                                               ("shop.yaml", 15, 14)]


def test_a_dry_run_as_a_difference(ctl, fake):
    old = {"metadata": {"labels": {"a": "1"}},
           "spec": {"address": "10.96.0.10", "endpoints": [{"address": "10.0.1.5", "port": 8080, "weight": 100},
                                                           {"address": "10.0.1.7", "port": 8080, "weight": 100}]}}
    new = {"metadata": {"labels": {"a": "1"}},
           "spec": {"address": "10.96.0.10", "endpoints": [{"address": "10.0.2.9", "port": 8080, "weight": 100},
                                                           {"address": "10.0.1.5", "port": 8080, "weight": 100}]}}
    fake.on("PATCH", "/v1/sources/manifest", result(
        [{**CREATED, "action": "update", "old": old, "new": new}], True, 211, changed=1))
    shown = ctl("apply", "-f", "-", "--dry-run", "-o", "diff", text=SHOP)
    assert fake.seen[0][2]["dryRun"] == "true"
    assert shown.out == ("~ service shop/payments\n"
                         "    endpoints:\n"
                         "  -   10.0.1.7:8080 weight 100\n"
                         "  +   10.0.2.9:8080 weight 100\n"
                         "1 would change, 211 unchanged\n")


def test_what_is_created_and_deleted_is_in_the_difference(ctl, fake):
    spec = {"spec": {"ports": [{"port": 80, "name": "http"}], "endpoints": [{"address": "fd00::1", "port": 1}]}}
    fake.on("PUT", "/v1/sources/manifest", result(
        [{**CREATED, "new": spec}, {**CREATED, "action": "delete", "name": "old", "old": spec}], True,
        created=1, deleted=1))
    shown = ctl("apply", "-f", "-", "--prune", "--dry-run", "-o", "diff", text=SHOP)
    assert "+ service shop/payments" in shown.lines and "- service shop/old" in shown.lines
    assert "  +   80/TCP http" in shown.lines and "  -   [fd00::1]:1 weight 100" in shown.lines
    assert shown.lines[-1] == "1 would be created, 1 would be deleted, 0 unchanged"


def test_results_in_every_format(ctl, asked):
    assert json.loads(ctl("apply", "-f", "-", "-o", "json", text=SHOP).out)["created"] == 1
    assert "created: 1" in ctl("apply", "-f", "-", "-o", "yaml", text=SHOP).lines
    assert ctl("apply", "-f", "-", "-o", "name", text=SHOP).out == "service/shop/payments\n"


def test_what_the_daemon_refuses_is_told_with_its_file_and_line(ctl, fake):
    fake.on("PATCH", "/v1/sources/manifest", fakes.problem(422, "nothing was applied (2 errors)", [
        {"pointer": "", "detail": "service shop/payments: address 8.8.8.8 is not allowed"},
        {"pointer": "/upsert/1/spec/x", "detail": "is wrong"}]))
    ctl.write("shop.yaml", GENTLE + "---\n" + SHOP)
    refused = ctl("apply", "-f", "shop.yaml")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == ("shop.yaml:8: service shop/payments: address 8.8.8.8 is not allowed\n"
                           "shop.yaml:8: service shop/payments: spec/x: is wrong\n"
                           "nothing was applied (2 errors, found by the daemon)\n")


@pytest.mark.parametrize("status, code", [(403, 5), (404, 4), (409, 2), (412, 2), (422, 2), (503, 1), (507, 1)])
def test_a_refusal_has_its_exit_code(ctl, fake, status, code):
    for errors in (None, [{"pointer": "", "detail": "the reason"}]):
        fake.on("PATCH", "/v1/sources/manifest", fakes.problem(status, "the reason", errors))
        refused = ctl("apply", "-f", "-", text=SHOP)
        assert refused.out == "" and "the reason\n" in refused.err and "nothing was applied" in refused.err
        if errors or code != 2 or status == 422:
            assert refused.code == code
        as_json = ctl("apply", "-f", "-", "-o", "json", text=SHOP)
        assert as_json.out == "" and json.loads(as_json.err)["status"] == status


@pytest.mark.parametrize("words, said", [
    ((), "apply needs -f FILE"), (("-f", "nowhere.yaml"), "nowhere.yaml: No such file or directory; nothing was applied"),
    (("-f", "empty"), "empty: holds no *.yaml, *.yml or *.json"), (("-f", "none.yaml"), "there is no object in it"),
    (("-f", "-", "-o", "xml"), 'unknown value "xml"; it is one of table, wide, json'), (("stray", "-f", "-"), "apply"),
])
def test_nothing_to_apply_is_told(ctl, asked, words, said):
    os.mkdir(os.path.join(ctl.folder, "empty"))
    ctl.write("none.yaml", "# only a comment\n")
    refused = ctl("apply", *words, text="")
    assert refused.code in (1, 2) and refused.out == "" and said in refused.err, refused
    assert asked == []


def test_a_manifest_has_a_largest_size(ctl, asked):
    with open(os.path.join(ctl.folder, "large.yaml"), "wb") as f:
        f.truncate((16 << 20) + 1)
    refused = ctl("apply", "-f", "large.yaml")
    assert refused.code == 2 and "large.yaml: a manifest may have 16 MiB; nothing was applied" in refused.err


def test_many_objects_are_not_all_listed(ctl, fake):
    changes = [{**CREATED, "name": f"s{i}"} for i in range(300)]
    fake.on("PATCH", "/v1/sources/manifest", result(changes, created=300))
    shown = ctl("apply", "-f", "-", text=SHOP)
    assert len(shown.lines) < 60 and "... and 250 more (-o wide shows all)" in shown.lines
    assert len(ctl("apply", "-f", "-", "-o", "wide", text=SHOP).lines) == 301


# --- delete ---------------------------------------------------------------------------------------

DELETED = result([{**CREATED, "action": "delete"}], deleted=1)


def test_delete_by_name(ctl, fake):
    fake.on("DELETE", "/v1/services/shop/payments", DELETED)
    for words in (("service", "shop/payments"), ("service/shop/payments",), ("svc", "payments", "-n", "shop")):
        done = ctl("delete", *words)
        assert (done.code, done.out) == (0, "service shop/payments deleted\n1 deleted, 0 unchanged\n"), words
    fake.on("DELETE", "/v1/services/default/mail", DELETED)
    assert ctl("delete", "service", "mail").code == 0


def test_delete_of_what_is_not_there(ctl, fake):
    fake.on("DELETE", "/v1/services/shop/no", fakes.problem(404, "there is no service shop/no"))
    gone = ctl("delete", "service", "shop/no")
    assert (gone.code, gone.out, gone.err) == (4, "", "sinewctl: there is no service shop/no\n")
    ignored = ctl("delete", "service", "shop/no", "--ignore-not-found")
    assert (ignored.code, ignored.err) == (0, "there is no service shop/no\n")


def test_delete_needs_names_and_something_that_can_be_deleted(ctl, fake):
    for words in (("services",), (), ("flows", "x/y"), ("workload", "/a"), ("services", "a", "-f", "x")):
        refused = ctl("delete", *words)
        assert refused.code == 2 and refused.out == "" and refused.err, words
    assert fake.seen == []


def test_delete_by_manifest(ctl, fake):
    fake.on("PATCH", "/v1/sources/manifest", DELETED)
    assert ctl("delete", "-f", "-", text=SHOP + "---\n" + GENTLE).code == 0
    assert fake.seen[-1][3] == {"delete": [{"kind": "Service", "namespace": "shop", "name": "payments"},
                                           {"kind": "TrafficPolicy", "namespace": "shop", "name": "gentle"}]}


def test_delete_by_manifest_can_pass_over_what_is_not_there(ctl, fake):
    fake.on("PATCH", "/v1/sources/manifest", DELETED)
    text = SHOP + "---\n" + GENTLE.replace("gentle", "gone")
    done = ctl("delete", "-f", "-", "--ignore-not-found", text=text)
    assert (done.code, done.err) == (0, "there is no policy shop/gone\n")
    assert [one["name"] for one in fake.seen[-1][3]["delete"]] == ["payments"]
    fake.on("PATCH", "/v1/sources/manifest", fakes.problem(404, "x", [
        {"pointer": "", "detail": "policy shop/gone: there is no such policy"}]))
    refused = ctl("delete", "-f", "-", text=text)
    assert refused.code == 4
    assert refused.err == ("stdin:12: policy shop/gone: there is no such policy\n"
                           "nothing was deleted (1 error, found by the daemon)\n")


def test_a_bad_manifest_deletes_nothing(ctl, fake):
    refused = ctl("delete", "-f", "-", text=BAD)
    assert refused.code == 2 and refused.err.endswith("nothing was deleted (2 errors)\n") and fake.seen == []
