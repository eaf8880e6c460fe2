# SPDX-License-Identifier: GPL-2.0-or-later
"""Registries, as sinew-agent tells of them: listed, described, believed, and judged by the doctor.

The fake answers on one socket as sinewd and as the agent.
"""
import json
import os
import re

import pytest

import fake as fakes
from conftest import Ctl

NO_AGENT = {"SINEW_AGENT_SOCKET": ""}
ABSENT = "/run/sinew-agent/agent.sock"


def ageless(line):
    """How long ago is another one each day."""
    return re.sub(r"\b(\d+[dhms])+ ago", "AGO", line)


def cells(line):
    return re.split(r" {2,}", line.strip())


# --- get, describe --------------------------------------------------------------------------------------

def test_registries_are_a_row_each(ctl):
    shown = ctl("get", "registries")
    assert (shown.code, shown.err) == (0, "") and max(map(len, shown.lines)) <= 120
    assert shown.lines[0].split() == ["NAME", "TYPE", "STATE", "SERVICES", "ENDPOINTS", "SUSPECT", "CHANGED", "CONTACT",
                                      "LATENCY", "ERROR"]
    rows = [cells(ageless(line)) for line in shown.lines[1:]]
    assert rows[0] == ["dc1", "consul", "ok", "12", "40", "0", "AGO", "AGO", "2.1ms", "-"]
    assert rows[1][:9] == ["production", "kubernetes", "stale", "1", "2", "3", "AGO", "AGO", "12ms"]
    assert rows[1][9].startswith("403 on list") and rows[1][9].endswith("...")
    assert rows[2] == ["old", "eureka", "connecting", "0", "0", "0", "-", "-", "-", "-"]


def test_wide_cuts_nothing_and_counts_what_was_left_out(ctl):
    shown = ctl("get", "registries", "-o", "wide")
    assert all(title in shown.lines[0] for title in ("POLICIES", "LEFT OUT", "OVER LIMIT"))
    assert cells(ageless(shown.lines[2]))[-4:] == ["12ms", "1", "4", fakes.REGISTRIES[1]["lastError"]["text"]]


def test_one_registry_at_length(ctl):
    shown = ctl("describe", "registry", "production")
    assert shown.code == 0 and [ageless(line) for line in shown.lines] == [
        "Name        production", "Type        kubernetes", "State       stale", "Services    1", "Policies    0",
        "Endpoints   2",
        "Suspect     3 endpoints that it no longer names; if it is right: sinewctl confirm registry production",
        "Left out    1 object that cannot be used; the last: service shop/Odd: no RFC 1123 label",
        "Over limit  4 objects that did not fit", "Changed     AGO", "Contact     AGO", "Latency     12ms",
        "Error       forbidden: 403 on list endpointslices (discovery.k8s.io) as system:serviceaccount:sinew:agent",
        "            kubectl create clusterrole sinew-agent --verb=get,list,watch --resource=services,endpointslices",
        "Errors      forbidden 7"]
    assert not {"Suspect", "Left", "Over", "Error"} & {line.split()[0] for line in ctl("describe", "registry", "dc1").lines}


def test_a_registry_as_data_is_what_the_agent_said(ctl, fake):
    assert json.loads(ctl("get", "registries", "-o", "json").out) == fakes.registries(fakes.REGISTRIES)
    assert json.loads(ctl("get", "registry", "dc1", "-o", "json").out) == fakes.REGISTRIES[0]
    assert ctl("get", "registries", "-o", "name").lines == ["registry/dc1", "registry/production", "registry/old"]
    assert {path for _, path, _, _ in fake.seen} == {"/v1/registries"}


def test_a_registry_that_is_not_followed_is_exit_4(ctl):
    shown = ctl("get", "registry", "dc2")
    assert shown.code == 4 and "there is no registry dc2" in shown.err


def test_what_a_registry_says_cannot_move_the_cursor(ctl, fake):
    evil = {**fakes.REGISTRIES[1], "lastError": {"reason": "x\x1b[2J", "text": "a\x1b[2Jb\u202e", "hint": "\r\n0"},
            "lastSkipped": "\x07"}
    fake.on("GET", "/v1/registries", (200, fakes.registries([evil], lastError="\x1b]0;")))
    for words in (("get", "registries"), ("describe", "registries"), ("doctor",)):
        shown = ctl(*words)
        assert not set("\x1b\x07\r\u202e") & set(shown.out + shown.err) and "\\x1b[2J" in shown.out


# --- which socket ---------------------------------------------------------------------------------------

def test_the_agent_has_a_socket_of_its_own(fake, folder, ctl):
    agent = fakes.Server(os.path.join(folder, "a"))
    agent.on("GET", "/v1/registries", (200, fakes.registries(fakes.REGISTRIES[:1])))
    try:
        for shown in (ctl("get", "registries", "-o", "name", "--agent-socket", agent.server_address),
                      ctl("get", "registries", "-o", "name", env={"SINEW_AGENT_SOCKET": agent.server_address})):
            assert shown.lines == ["registry/dc1"]
        assert fake.seen == []
        ctl("doctor", "--agent-socket", agent.server_address)
        assert [path for _, path, _, _ in fake.seen] == ["/v1/doctor"]
    finally:
        agent.close()


@pytest.mark.parametrize("words", [("get", "registries"), ("describe", "registry", "dc1"), ("confirm", "registry", "dc1")],
                         ids=" ".join)
def test_no_agent_is_exit_3_and_says_what_to_start(alone, words):
    shown = alone(*words)
    assert shown.code == 3 and "is sinew-agent running?" in shown.err and "--agent-socket" in shown.err
    assert json.loads(alone(*words, "-o", "json").err)["exitCode"] == 3


# --- confirm --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("released, said", [(3, "dc1: 3 suspect endpoints let go"), (1, "dc1: 1 suspect endpoint let go"),
                                            (0, "dc1: nothing was held")])
def test_confirm_tells_how_many_were_let_go(ctl, fake, released, said):
    fake.on("POST", "/v1/registries/dc1/confirm", (200, {"released": released}))
    for words in (("registry", "dc1"), ("registry/dc1",)):
        shown = ctl("confirm", *words)
        assert (shown.code, shown.lines, shown.err) == (0, [said], "")
    assert json.loads(ctl("confirm", "registry", "dc1", "-o", "json").out) == {"released": released}


def test_confirm_of_nothing_is_exit_4_and_of_something_else_a_mistake(ctl, fake):
    shown = ctl("confirm", "registry", "dc2")
    assert shown.code == 4 and shown.err.startswith("sinewctl: registry dc2: ")
    before = len(fake.seen)
    for words in (("registry",), ("service", "shop/payments"), ("registries",), ("registry", "a", "b")):
        assert ctl("confirm", *words).code == 2
    assert len(fake.seen) == before


# --- status ---------------------------------------------------------------------------------------------

def test_status_has_a_line_for_each_registry(ctl, fake):
    shown = ctl("status")
    at = next(i for i, line in enumerate(shown.lines) if line.startswith("Registries"))
    assert (shown.code, shown.err) == (0, "") and [ageless(line) for line in shown.lines[at:at + 3]] == [
        "Registries  consul/dc1 ok, 12 services, 40 endpoints, heard AGO",
        "            kubernetes/production stale, 1 service, 5 endpoints, heard AGO, 3 suspect: forbidden",
        "            eureka/old connecting, 0 services, 0 endpoints, never heard"]
    assert shown.lines[at + 3].startswith("Maps ")


@pytest.mark.parametrize("answer", [None, (200, b"no JSON"), (200, {"items": 7}), (500, b"")], ids=str)
def test_status_does_without_an_agent(ctl, fake, answer):
    fake.on("GET", "/v1/registries", answer)
    for env in ({}, {"SINEW_AGENT_SOCKET": "nobody"}):
        shown = ctl("status", env=env)
        assert (shown.code, shown.err) == (0, "") and "Registries" not in shown.out and shown.lines[-1].startswith("Maps")


# --- doctor ---------------------------------------------------------------------------------------------

def test_doctor_names_what_each_registry_lacks(ctl):
    shown = ctl("doctor")
    assert shown.code == 1 and [ageless(line) for line in shown.lines[3:]] == [
        "ok    agent         follows 3 registries, and sinewd has what they say",
        "ok    registry      consul/dc1: 12 services, 40 endpoints, heard AGO",
        "fail  registry      kubernetes/production: stale, forbidden: 403 on list endpointslices (discovery.k8s.io) as "
        "system:serviceaccount:sinew:agent; 1 service, 5 endpoints, heard AGO",
        "                    kubectl create clusterrole sinew-agent --verb=get,list,watch --resource=services,endpointslices",
        "warn  registry      eureka/old: 0 services, 0 endpoints, never heard", "3 of 6 need attention"]
    value = json.loads(ctl("doctor", "-o", "json").out)
    assert [item["name"] for item in value["items"]] == ["kernel", "order", "agent"] + ["registry"] * 3
    assert value["items"][4]["level"] == "fail" and "endpointslices" in value["items"][4]["hint"]


def test_doctor_names_the_permission_that_pods_need(ctl, fake):
    error = {"reason": "forbidden", "text": "403 on list pods: no", "hint": "kubectl create clusterrole sinew-pods"}
    rows = (({"known": 0, "synced": False, "node": "n1", "lastError": error},
             ["fail  pods          kubernetes/production: forbidden: 403 on list pods: no; Registrations by pod wait, 0 pods of "
              "node n1 known", "                    kubectl create clusterrole sinew-pods"]),
            ({"known": 1, "synced": True, "node": "n1"},
             ["ok    pods          kubernetes/production: 1 pod of node n1 known"]),
            ({"known": 0, "synced": False, "node": "n1"},
             ["warn  pods          kubernetes/production: not told yet, 0 pods of node n1 known"]),
            ({"known": 0, "synced": True, "node": "n1"},
             ["warn  pods          kubernetes/production: 0 pods of node n1 known",
              "                    the agent's environment says by NODE_NAME what this node is called in the cluster, if not "
              "as the host"]))
    for pods, lines in rows:
        items = [fakes.REGISTRIES[0], {**fakes.REGISTRIES[1], "pods": pods}]
        fake.on("GET", "/v1/registries", (200, {**fakes.list_of("RegistryList", items), "daemon": {
            "synced": True, "refused": []}}))
        described = [cells(line) for line in ctl("describe", "registry", "production").lines]
        told = f"{pods['known']} of node n1" + ("; forbidden: 403 on list pods: no" if "lastError" in pods else "")
        assert ["Pods", told] in described and ([error["hint"]] in described) == ("lastError" in pods)
        shown = ctl("doctor").lines
        at = next(i for i, line in enumerate(shown) if " pods " in line)
        assert shown[at:at + len(lines)] == lines


OK = fakes.REGISTRIES[0]
LEVELS = {
    "suspect": ({"suspect": 2}, "warn", "2 endpoints are suspect, "), "limit": ({"refused": 1}, "warn", "1 object did not fit"),
    "unreachable": ({"lastError": {"reason": "unreachable", "text": "connection refused"}}, "warn", "connection refused; 12"),
    "overloaded": ({"lastError": {"reason": "overloaded", "text": "429"}}, "warn", "overloaded: 429"),
    "unauthorized": ({"lastError": {"reason": "unauthorized", "text": "401, no token", "hint": "tokenFile"}}, "fail", "401"),
    "tls": ({"lastError": {"reason": "tls", "text": "unknown issuer"}}, "fail", "tls: unknown issuer"),
    "config": ({"state": "failed", "lastError": {"reason": "config", "text": "no address"}}, "fail", "config: no address"),
    "stale": ({"state": "stale"}, "fail", "consul/dc1: stale, 12 services"),
}


@pytest.mark.parametrize("kind", LEVELS)
def test_doctor_knows_what_passes_and_what_a_person_must_mend(ctl, fake, kind):
    change, level, text = LEVELS[kind]
    fake.on("GET", "/v1/registries", (200, fakes.registries([{**OK, **change}])))
    item = json.loads(ctl("doctor", "-o", "json").out)["items"][-1]
    assert item["level"] == level and text in item["text"], item
    assert ctl("doctor").code == (1 if level == "fail" else 0)
    if kind == "suspect":
        assert item["hint"].endswith("sinewctl confirm registry dc1")


@pytest.mark.parametrize("daemon, level, text", [
    ({"synced": False}, "warn", "it has not told sinewd anything yet"),
    ({"lastError": "403 Forbidden"}, "fail", "sinewd does not take what registries say: 403 Forbidden"),
    ({"refused": [{"kind": "Service", "name": "shop/a", "reason": "address 10.0.0.1 is not allowed"}] * 2}, "warn",
     "sinewd refused 2 objects: Service shop/a: address 10.0.0.1 is not allowed")])
def test_doctor_tells_whether_sinewd_has_what_registries_say(ctl, fake, daemon, level, text):
    fake.on("GET", "/v1/registries", (200, fakes.registries([], **daemon)))
    item = json.loads(ctl("doctor", "-o", "json").out)["items"][-1]
    assert (item["name"], item["level"], item["text"]) == ("agent", level, text)


def statuses(*items, **errors):
    """`errors`: more about a registry."""
    return {"apiVersion": "sinew/v1", "kind": "RegistrationStatusList", "others": [], "daemon": {"synced": True},
            "items": [{"namespace": "shop", "registry": "dc1", "instances": [], **one} for one in items],
            "registries": [{"name": name, "writable": True, **errors.get(name, {})} for name in ("dc1", "dc2")]}


def failing(name, text, **more):
    return {"name": name, "state": "failing", "instances": [{"state": "registered"}, {"state": "failing", "lastError": text}],
            **more}


@pytest.mark.parametrize("answer, lines", [
    (statuses(), []),
    (statuses({"name": "a", "state": "registered"}, {"name": "b", "state": "no_listener", "reason": "nobody"},
              {"name": "c", "state": "pending"}), ["ok    registration  1 of 3 is registered"]),
    (statuses(failing("a", "status 403; service:write"), {"name": "b", "state": "no_address", "reason": "spec.address"}),
     ["fail  registration  shop/a in dc1: status 403; service:write", "warn  registration  shop/b in dc1: spec.address",
      "ok    registration  0 of 2 are registered"]),
    (statuses({"name": "a", "state": "registered"}, dc2={"listError": "listing: status 403"}),
     ["warn  registration  dc2: listing: status 403",
      "                    what a killed agent leaves there is only gone when its lease ends",
      "ok    registration  1 of 1 is registered"]),
    (statuses(failing("a", "refused"), failing("b", "status 422", registry="dc2"), dc1={"lastError": "connection refused"}),
     ["fail  registration  dc1: connection refused",
      "                    it is tried again; what is registered there stays until its lease ends",
      "fail  registration  shop/b in dc2: status 422", "ok    registration  0 of 2 are registered"]),
    ((500, b""), []), ((200, b"no JSON"), []), (statuses({"name": 7, "instances": 7, "state": []}),
                                                ["ok    registration  0 of 1 are registered"])],
    ids=("none", "well", "each", "list", "registry", "500", "text", "odd"))
def test_doctor_names_what_is_not_registered_and_why(ctl, fake, answer, lines):
    fake.on("GET", "/v1/registries", (200, fakes.registries(fakes.REGISTRIES[:1])))
    fake.on("GET", "/v1/registrations", answer if isinstance(answer, tuple) else (200, answer))
    shown = ctl("doctor")
    assert shown.lines[5:-1] == lines
    assert shown.code == (1 if any(line.startswith("fail") for line in lines) else 0)


def test_doctor_does_not_tell_of_a_thousand_registrations(ctl, fake):
    fake.on("GET", "/v1/registries", (200, fakes.registries(fakes.REGISTRIES[:1])))
    fake.on("GET", "/v1/registrations", (200, statuses(*(failing(f"a{n}", "status 403") for n in range(1000)))))
    lines = ctl("doctor").lines[5:-1]
    assert len(lines) == 21 and lines[-1].endswith("0 of 1000 are registered")


@pytest.mark.parametrize("settings, level, text, hint", [
    ({"lastError": "/etc/sinew/agent.yaml:3:5: unknown key \"adress\"", "needRestart": "dns.ttl"}, "fail",
     "agent.yaml was not taken over: /etc/sinew/agent.yaml:3:5: unknown key \"adress\"", "systemctl reload sinew-agent"),
    ({"needRestart": "dns.address, dns.ttl"}, "warn", "agent.yaml is not in force yet: dns.address, dns.ttl",
     "systemctl restart sinew-agent")])
def test_doctor_tells_what_of_the_settings_is_not_in_force(ctl, fake, settings, level, text, hint):
    fake.on("GET", "/v1/registries", (200, {**fakes.registries([]), "settings": settings}))
    item = json.loads(ctl("doctor", "-o", "json").out)["items"][-1]
    assert (item["name"], item["level"], item["text"]) == ("settings", level, text) and hint in item["hint"]


def test_doctor_without_an_agent_is_a_note_unless_it_should_be_there(fake, folder):
    """It should be where it is configured, or where somebody looked for it."""
    if os.path.exists(ABSENT):
        pytest.skip(f"a sinew-agent of this host answers at {ABSENT}")
    ctl = Ctl(fake.server_address, folder)
    shown = ctl("doctor", env=NO_AGENT)
    assert shown.code == 0 and shown.lines[3:] == [
        "note  agent         sinew-agent does not run: no registry is followed",
        f"                    services come from manifests; to follow registries, name them in {folder}/agent.yaml",
        "1 of 2 needs attention"]
    assert ctl("doctor", "--agent-socket", "nobody", env=NO_AGENT).code == 1
    ctl.write("agent.yaml", "")
    shown = ctl("doctor", env=NO_AGENT)
    assert shown.code == 1 and shown.lines[3].startswith(f"fail  agent         sinew-agent does not answer at {ABSENT}: No such")
    assert "agent.yaml is there, so it should run" in shown.lines[4]


@pytest.mark.parametrize("answer", [(200, b"{}"), (200, b"no JSON"), (500, b""), (404, b"{}"), (200, {"items": 7})],
                         ids=["empty", "text", "500", "404", "number"])
def test_doctor_is_not_led_astray_by_whoever_answers(ctl, fake, answer):
    fake.on("GET", "/v1/registries", answer)
    shown = ctl("doctor")
    assert shown.code == 1 and "whoever answers there is no sinew-agent" in shown.out
