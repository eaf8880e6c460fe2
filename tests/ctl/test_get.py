# SPDX-License-Identifier: GPL-2.0-or-later
"""get and describe: every noun in every format, and what is shown of it."""
import json
import re

import pytest
import yaml

import fake as fakes

NOUNS = {
    "services": ("service", "svc"), "endpoints": ("endpoint", "ep", "backends"), "policies": ("policy", "pol"),
    "registries": ("registry",), "sources": ("source", "src"), "workloads": ("workload", "wl"), "flows": ("flow", "fl"),
    "registrations": ("registration", "reg"), "listeners": ("listener", "listen"),
}
EVERY = sorted(NOUNS)


@pytest.mark.parametrize("noun", EVERY)
def test_a_table_fits_120_columns_and_ends_without_blanks(ctl, noun):
    shown = ctl("get", noun)
    assert (shown.code, shown.err) == (0, ""), shown
    assert len(shown.lines) >= 2
    assert max(map(len, shown.lines)) <= 120
    assert [line for line in shown.lines if line != line.rstrip()] == []


@pytest.mark.parametrize("noun", EVERY)
def test_wide_shows_at_least_the_columns_of_the_table(ctl, noun):
    narrow, wide = ctl("get", noun), ctl("get", noun, "-o", "wide")
    assert wide.code == 0
    assert set(re.split(r"  +", narrow.lines[0])) <= set(re.split(r"  +", wide.lines[0]))


@pytest.mark.parametrize("noun", EVERY)
def test_json_and_yaml_are_the_same_list(ctl, noun):
    as_json, as_yaml = ctl("get", noun, "-o", "json"), ctl("get", noun, "-o", "yaml")
    value = json.loads(as_json.out)
    assert value["apiVersion"] == "sinew/v1" and value["kind"].endswith("List") and value["items"]
    assert yaml.safe_load(as_yaml.out) == value
    assert as_json.err == as_yaml.err == ""


@pytest.mark.parametrize("noun", EVERY)
def test_names_can_be_given_back(ctl, noun):
    names = ctl("get", noun, "-o", "name").lines
    assert names and len(names) == len(set(names))
    again = ctl("get", *names, "-o", "name")
    assert (again.code, again.lines) == (0, names)


@pytest.mark.parametrize("noun", EVERY)
def test_every_spelling_means_the_same(ctl, noun):
    want = ctl("get", noun, "-o", "json").out
    for spelling in NOUNS[noun]:
        assert ctl("get", spelling, "-o", "json").out == want


def test_services_show_rate_failures_and_what_is_missing(ctl, fake):
    busy = json.loads(json.dumps(fakes.SERVICES))
    busy[0]["status"]["traffic"]["attempts"] += 600
    looks = [fakes.SERVICES, busy]
    fake.on("GET", "/v1/services", lambda query, body: (200, fakes.list_of(
        "ServiceList", looks.pop(0) if len(looks) > 1 else looks[0])))
    shown = ctl("get", "services")
    assert shown.lines[0].split() == ["NAMESPACE", "NAME", "ADDRESS", "PORTS", "BACKENDS", "USABLE", "RATE", "FAILED",
                                      "P50", "P99", "SOURCE"]
    cells = shown.lines[1].split()
    assert cells[2].startswith("10.96.0.10,") and cells[:2] + cells[3:6] == ["shop", "payments", "80/TCP", "3", "2"]
    assert re.fullmatch(r"[\d.]+k?/s", cells[6]) and cells[6] != "0/s"
    assert cells[7:] == ["<0.01%", "22us", "180us", "kubernetes"]
    assert shown.lines[2].split()[:5] == ["shop", "mail", "127.128.44.9", "25/TCP", "1"]
    assert "  consul/dc1  no usable" in shown.lines[2]
    assert " 100% " in shown.lines[2]


def cells(line):
    return re.split(r" {2,}", line.strip())


def test_registrations_show_who_is_called_what_and_where(ctl, fake):
    rows = [cells(line) for line in ctl("get", "registrations").lines]
    assert rows == [["NAMESPACE", "NAME", "SERVICE", "REGISTRY", "WORKLOAD", "PORT", "SOURCE"],
                    ["shop", "payments", "payments", "dc1", "unit payments.service", "8080", "manifest"],
                    ["shop", "web", "WEB", "eureka", "container app=web,tier=front", "80", "manifest"],
                    ["shop", "db", "db", "dc1", "pod data/db-* app=db,tier=back container main", "5432", "manifest"]]
    shown = [cells(line) for line in ctl("describe", "registration", "shop/payments").lines]
    for fact in (["Labels", "team=billing"], ["Workload", "unit payments.service"], ["Port", "8080/TCP"],
                 ["Address", "as listened on"], ["TTL", "15s"], ["Tags", "v2, blue"], ["Meta", "team=billing"], ["zone=a"]):
        assert fact in shown, (fact, shown)
    assert ["Address", "10.0.0.5"] in [cells(line) for line in ctl("describe", "registration", "shop/web").lines]


def test_a_registration_is_described_with_what_the_agent_made_of_it(ctl, fake):
    def agent(**status):  # the fake is both: each finds what it looks for
        both = {**fakes.REGISTRATIONS[2], "namespace": "shop", "name": "db", **status}
        other = {**fakes.REGISTRATIONS[0], "namespace": "other", "name": "db", "state": "no_listener"}
        fake.on("GET", "/v1/registrations", (200, fakes.list_of("RegistrationList", [other, both])))

    def lines(*words, **more):
        return [cells(line) for line in ctl(*words, **more).lines]
    agent(state="registered", pods=[{"namespace": "data", "name": "db-0", "container": "main"},
                                    {"namespace": "data", "name": "db-1"}],
          instances=[{"address": "10.0.0.5:5432", "state": "registered"},
                     {"address": "10.0.0.6:5432", "state": "failing", "lastError": "403"}])
    assert lines("describe", "registration", "shop/db")[-5:] == [
        ["State", "registered"], ["Pods", "data/db-0 container main"], ["data/db-1"],
        ["Instances", "10.0.0.5:5432 registered"], ["10.0.0.6:5432 failing: 403"]]
    agent(state="no_pod", reason="a pod is not known")
    assert lines("describe", "registration", "shop/db")[-1] == ["State", "no_pod: a pod is not known"]
    assert lines("get", "registrations", "-o", "wide")[2][-1] == "no_pod"
    assert not [line for line in lines("describe", "registration", "shop/db", env={"SINEW_AGENT_SOCKET": "nobody"})
                if line[0] == "State"]


def test_listeners_in_pods_have_their_names(ctl, fake):
    uid, pod = "0e6ec1f2-6e4e-4c0e-8a6e-0123456789ab", {"podNamespace": "shop", "podName": "web-1"}
    assert cells(ctl("get", "listeners", "-o", "wide").lines[2])[3:5] == ["4bf0c1ab4bf0", uid]
    fake.on("GET", "/v1/listeners", (200, fakes.list_of("ListenerList", [{**fakes.LISTENERS[1], **pod}])))
    assert cells(ctl("get", "listeners", "-o", "wide").lines[1])[3:5] == ["4bf0c1ab4bf0", "shop/web-1"]
    fake.on("GET", "/v1/listeners", (200, fakes.list_of("ListenerList", [{**fakes.LISTENERS[1], **pod, "containerName": "web"}])))
    assert cells(ctl("get", "listeners", "-o", "wide").lines[1])[3:5] == ["web", "shop/web-1"]
    assert cells(ctl("get", "listeners").lines[1])[3] == "web"


def test_listeners_show_where_and_whose(ctl):
    head, unit, pod = [cells(line) for line in ctl("get", "listeners").lines]
    assert head == ["ADDRESS", "PORT", "UNIT", "CONTAINER", "CGROUP", "SINCE"]
    assert unit[:5] == ["127.0.0.1", "8080", "payments.service", "-", "/system.slice/payments.service"]
    assert pod[:4] == ["::", "80", "-", "4bf0c1ab4bf0"] and pod[4].startswith("/kubepods/burstable/pod0e6ec1f2")
    wide = [cells(line) for line in ctl("get", "listeners", "-o", "wide").lines]
    assert wide[2][4] == "0e6ec1f2-6e4e-4c0e-8a6e-0123456789ab" and wide[2][-3:] == ["sweep", "4026", "4712"]
    assert "pod: \"0e6ec1f2-6e4e-4c0e-8a6e-0123456789ab\"" in ctl("describe", "listeners").out


def test_flows_show_who_connects_as_far_as_it_is_known(ctl, fake):
    flow = {"namespace": "shop", "service": "payments", "protocol": "TCP", "cookie": 77, "destination": "10.96.0.10:80",
            "backend": "10.0.1.5:8080", "state": "established", "ageSeconds": 3.2, "workload": 8123}
    fake.on("GET", "/v1/flows", (200, fakes.list_of("FlowList", [
        flow, {**flow, "cgroup": "/a"}, {**flow, "cgroup": "/system.slice/a.service", "unit": "a.service"},
        {**flow, "unit": "crio-1.scope", "pod": "1", "podNamespace": "shop", "podName": "web-1", "containerName": "web"},
        {**flow, "unit": "crio-1.scope", "podNamespace": "n" * 63, "podName": "p" * 253}])))
    head, *rows = [cells(line) for line in ctl("get", "flows", "-o", "wide").lines]
    assert [row[head.index("CALLER")] for row in rows] == [
        "8123", "/a", "a.service", "shop/web-1", f"{'n' * 63}/{'p' * 253}"]


def test_policies_show_what_they_do(ctl, fake):
    shown = ctl("get", "policies")
    assert cells(shown.lines[0]) == ["NAMESPACE", "NAME", "LOAD BALANCING", "EJECTS AFTER", "FAILOVER", "SOURCE"]
    assert cells(shown.lines[1]) == ["shop", "gentle", "random", "5 in a row, 50% of 20 in 20s",
                                     "2 on refused,unreachable", "manifest"]
    wide = ctl("get", "policies", "-o", "wide")
    assert cells(wide.lines[1])[5:9] == ["30s to 5m, 10%", "service 1000", "mail,ops/spare", "manifest"]
    quiet = json.loads(json.dumps(fakes.POLICIES[0]))
    effective = quiet["status"]["effective"]
    effective["outlierDetection"].update(consecutiveFailures=0, failureRatio="0%", shadow=True)
    effective["failover"]["attempts"] = 0
    slow = json.loads(json.dumps(quiet))
    slow["status"]["effective"]["outlierDetection"]["slowConnect"] = {"threshold": "200ms", "ratio": "80%"}
    fake.on("GET", "/v1/policies", (200, fakes.list_of("TrafficPolicyList", [quiet, slow])))
    lines = ctl("get", "policies").lines
    assert cells(lines[1])[3:5] == ["-", "off"] and cells(lines[2])[3] == "80% over 200ms, only told"


def test_a_policy_is_described_with_the_origin_of_every_value(ctl, fake):
    shown = ctl("describe", "policy", "shop/gentle")
    assert shown.code == 0 and "Used by     1 service" in shown.lines
    assert "Missing     fallback ops/spare is not declared; it counts as soon as it is" in shown.lines
    assert not any("shop/mail" in line for line in shown.lines)
    rows = [cells(line) for line in shown.lines[shown.lines.index("In force") + 1:]]
    assert rows[0] == ["KEY", "VALUE", "FROM"] and len(rows) == 35
    for row in (["loadBalancer.algorithm", "random", "policy"], ["loadBalancer.affinity.by", "off", "default"],
                ["outlierDetection.window", "20s", "policy"], ["outlierDetection.minVolume", "20", "default"],
                ["outlierDetection.slowConnect.ratio", "50%", "default"], ["outlierDetection.shadow", "false", "default"],
                ["failover.on", "refused,unreachable", "default"], ["fallback", "mail,ops/spare", "policy"],
                ["onRemove", "drain", "default"]):
        assert row in rows, row


def test_a_policy_of_another_daemon_is_shown_as_far_as_it_goes(ctl, fake):
    odd = {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"namespace": "shop", "name": "odd"},
           "spec": {"loadBalancer": {"algorithm": "new\x1b[2J"}, "later": {"a": {"b": [1, "x"], "c": None}}, "n": 1.5}}
    fake.on("GET", "/v1/policies", (200, fakes.list_of("TrafficPolicyList", [odd])))
    assert ctl("get", "policies").code == 0
    rows = [cells(line) for line in ctl("describe", "policies").lines]
    assert ["loadBalancer.algorithm", "new\\x1b[2J", "policy"] in rows
    assert ["later.a.b", "?,x", "policy"] in rows and ["later.a.c", "?", "policy"] in rows and ["n", "1.5", "policy"] in rows


def test_sources_show_how_long_ago_they_changed(ctl):
    assert re.search(r"manifest +2 +1 +3 +\d+d ago$", ctl("get", "sources").lines[1])


def test_one_name_is_one_object(ctl):
    assert json.loads(ctl("get", "service", "shop/payments", "-o", "json").out)["kind"] == "Service"
    assert len(ctl("get", "services", "shop/payments", "shop/mail", "-o", "name").lines) == 2
    assert ctl("get", "service", "payments", "-n", "shop", "-o", "name").lines == ["service/shop/payments"]
    assert ctl("get", "service/shop/mail", "-o", "name").lines == ["service/shop/mail"]


def test_a_namespace_is_asked_for_and_kept_to(ctl, fake):
    assert ctl("get", "services", "-n", "shop", "-o", "name").code == 0
    assert fake.seen[-1][2] == {"namespace": "shop"}
    nothing = ctl("get", "services", "-n", "other")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "no services in namespace other\n")


def test_pages_become_one_list(ctl, fake):
    def page(query, body):
        first = fakes.list_of("ServiceList", [fakes.SERVICES[0]])
        first["metadata"] = {"continue": "shop/mail"}
        return 200, fakes.list_of("ServiceList", [fakes.SERVICES[1]]) if "continue" in query else first
    fake.on("GET", "/v1/services", page)
    whole = json.loads(ctl("get", "services", "-o", "json").out)
    assert [item["metadata"]["name"] for item in whole["items"]] == ["payments", "mail"]
    assert "continue" not in whole.get("metadata", {})


def test_flows_are_bounded(ctl, fake):
    ctl("get", "flows", "-l", "7")
    assert fake.seen[-1][2] == {"limit": "7"}
    assert ctl("get", "flows", "-l", "0").code == 2


def test_a_flow_that_went_on_shows_both_backends(ctl):
    first, second = [line.split()[3:6] for line in ctl("get", "flows").out.splitlines()[1:]]
    assert first == ["10.96.0.10:80", "10.0.1.5:8080", "-"]
    assert second == ["10.96.0.10:80", "10.0.1.5:8080", "10.0.1.6:8080"]
    told = ctl("describe", "flows").out
    assert told.count('wire: "10.0.1.6:8080"') == 1 and told.count('backend: "10.0.1.5:8080"') == 2


def test_a_name_that_is_not_there_is_told_once_and_is_exit_4(ctl):
    missing = ctl("get", "service", "shop/paymets")
    assert (missing.code, missing.out) == (4, "")
    assert missing.err == "sinewctl: there is no service shop/paymets\n"


def test_watch_draws_again_and_refuses_data(ctl, fake):
    asked = []

    def look(query, body):
        asked.append(1)
        return (200, fakes.list_of("ServiceList", fakes.SERVICES)) if len(asked) < 4 else fakes.problem(503, "enough")
    fake.on("GET", "/v1/services", look)
    shown = ctl("get", "services", "--watch", "-i", "100ms")
    assert shown.code == 1 and shown.err == "sinewctl: enough\n"
    assert shown.out.count("NAMESPACE") == 2
    assert ctl("get", "services", "--watch", "-o", "json").code == 2


def test_describe_a_service_says_everything(ctl):
    text = ctl("describe", "service", "shop/payments").out
    for part in ("payments", "team=billing", "10.96.0.10", "80/TCP  http", "gentle", "188,310 connects", "refused 9",
                 "10.0.1.5:8080", "[fd00::9]:8080", "draining", "9/0/0/0", "REFUSED/TIMEOUT/UNREACH/RESET"):
        assert part in text, part
    assert max(map(len, text.splitlines())) <= 120


def test_describe_says_that_connects_will_be_refused(ctl):
    text = ctl("describe", "service", "shop/mail").out
    assert "0 usable: connects get EHOSTUNREACH" in text
    assert "7 connects found none usable" in text
    assert "allocated from the pool" in text


@pytest.mark.parametrize("noun", EVERY)
def test_describe_knows_every_noun(ctl, noun):
    text = ctl("describe", noun)
    assert text.code == 0 and text.out and text.err == ""
    assert json.loads(ctl("describe", noun, "-o", "json").out)["items"]


def test_describe_of_the_small_nouns_is_for_people(ctl):
    text = ctl("describe", "endpoints").out
    for part in ("Endpoint    10.0.1.5:8080/TCP", "Service     shop/payments", "State       ok", "Zone        a",
                 "Traffic     188,000 connects, 41 active, p50 21us, p99 90us", "Outcomes    connected 188,000",
                 "In a row    no failure", "Endpoint    [fd00::9]:8080/TCP"):
        assert part in text.splitlines(), part
    assert "Balancing   random" in ctl("describe", "policy", "shop/gentle").lines
    lines = ctl("describe", "source", "manifest").lines
    assert lines[:4] == ["Name        manifest", "Services    2", "Policies    1", "Generation  3"]
    assert re.fullmatch(r"Changed     \d+d ago", lines[4])
    assert ctl("describe", "workloads").lines[0] == "Cgroup      /sys/fs/cgroup/a.slice"


def test_control_characters_of_a_name_never_reach_a_terminal(ctl, fake):
    evil = json.loads(json.dumps(fakes.SERVICES[0]))
    evil["metadata"]["source"] = "a\x1b[2Jb\u202ec\nd"
    evil["metadata"]["labels"] = {"x": "\x07\x9b31m"}
    fake.on("GET", "/v1/services", (200, fakes.list_of("ServiceList", [evil])))
    for words in (("get", "services"), ("describe", "services"), ("get", "services", "-o", "yaml")):
        shown = ctl(*words)
        assert shown.code == 0
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown.out)
    assert "a\\x1b[2Jb\\u202ec\\nd" in ctl("get", "services").out


def test_a_daemon_of_another_version_may_leave_things_out(ctl, fake):
    for path, kind in (("services", "ServiceList"), ("backends", "BackendList"), ("policies", "TrafficPolicyList"),
                       ("sources", "SourceList"), ("workloads", "WorkloadList"), ("flows", "FlowList"),
                       ("registrations", "RegistrationList"), ("listeners", "ListenerList")):
        fake.on("GET", "/v1/" + path, (200, fakes.list_of(kind, [{}, {"metadata": 7, "spec": [], "status": None}])))
    for noun in EVERY:
        for form in ("table", "wide", "json", "yaml", "name"):
            assert ctl("get", noun, "-o", form).code == 0
        assert ctl("describe", noun).code == 0


# --- what registries say ----------------------------------------------------------------------------

def doubted():
    """payments, of which one endpoint is suspect; and its backends."""
    service, backends = json.loads(json.dumps(fakes.SERVICES[0])), json.loads(json.dumps(fakes.BACKENDS))
    service["status"]["suspect"] = 1
    for end in (*service["status"]["endpoints"], *backends):
        end.update(source="consul/dc1", instance="00000000000000a7")
    for end in (service["status"]["endpoints"][0], backends[0]):
        end.update(suspect=True, level=1)
    service["status"]["endpoints"][1].update(source="kubernetes/production-east")
    return service, backends


def test_describe_shows_who_named_an_endpoint_and_which_is_suspect(ctl, fake):
    service, _ = doubted()
    fake.on("GET", "/v1/services", (200, fakes.list_of("ServiceList", [service])))
    fake.on("GET", "/v1/events", (200, b""))
    shown = ctl("describe", "service", "shop/payments")
    assert shown.code == 0 and "Backends    3, 2 usable, 1 suspect" in shown.lines
    rows = [cells(line) for line in shown.lines[shown.lines.index("Backends    3, 2 usable, 1 suspect") + 1:]]
    assert rows[0][:3] + rows[0][-2:] == ["ADDRESS", "WEIGHT", "STATE", "ZONE", "SOURCE"]
    assert rows[1][2] == "ok, suspect" and rows[1][-2:] == ["a", "consul/dc1"]
    assert rows[2][2] == "draining" and rows[2][-1].startswith("kubernetes/") and rows[3][2] == "ok"
    assert max(map(len, shown.lines)) <= 120
    assert "  1 suspect" in ctl("get", "services").lines[1]


def test_without_registries_there_is_no_column_for_them(ctl, fake):
    fake.on("GET", "/v1/events", (200, b""))
    assert "SOURCE" not in ctl("describe", "service", "shop/payments").out


def test_endpoints_show_who_named_them_and_who_they_are(ctl, fake):
    _, backends = doubted()
    fake.on("GET", "/v1/backends", (200, fakes.list_of("BackendList", backends)))
    shown = ctl("get", "backends")
    assert "ok, suspect" in shown.lines[1] and max(map(len, shown.lines)) <= 120
    wide = ctl("get", "backends", "-o", "wide")
    at = cells(wide.lines[0]).index("INSTANCE")
    assert cells(wide.lines[1])[at - 1:at + 1] == ["consul/dc1", "00000000000000a7"]
    lines = ctl("describe", "backend", "shop/payments").lines
    assert "Source      consul/dc1" in lines and "Instance    00000000000000a7" in lines
    assert "State       ok, suspect" in lines and any(line.startswith("Suspect     its registry no") for line in lines)
