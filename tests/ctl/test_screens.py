# SPDX-License-Identifier: GPL-2.0-or-later
"""The other verbs, the help, the colours and the completion: what a person meets first."""
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
import yaml

import fake as fakes

VERBS = ("get", "describe", "apply", "delete", "backend", "confirm", "explain", "events", "status", "doctor", "config", "version",
         "uninstall", "completion", "help")
LINES = ["shop/payments is 10.96.0.10:80, TCP, from source manifest, policy gentle",
         "10.0.0.5:8080 usable, weight 100 (100%), active 0, failed 0", "would pick 10.0.0.5:8080"]
ANSWER = {"apiVersion": "sinew/v1", "kind": "Explanation", "decision": {"outcome": "translated"}, "lines": LINES}


# --- help and mistakes ------------------------------------------------------------------------------

def test_help_names_every_verb_and_fits_the_screen(ctl):
    shown = ctl("help")
    assert (shown.code, shown.err) == (0, "") and ctl("--help").out == shown.out
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", shown.out, re.M), verb
        page = ctl("help", verb)
        assert page.code == 0 and page.out.startswith(f"Usage: sinewctl {verb} ") and page.err == ""
        assert ctl(verb, "--help").out == page.out
        assert max(map(len, page.lines)) <= 120
    assert "Exit codes: 0 ok, 1 failed, 2 usage" in shown.out


def test_no_verb_is_a_mistake_with_the_help(ctl):
    shown = ctl()
    assert (shown.code, shown.out) == (2, "") and "Usage: sinewctl COMMAND" in shown.err


@pytest.mark.parametrize("typed, meant", [("gte", "get"), ("aply", "apply"), ("desribe", "describe"),
                                          ("stauts", "status"), ("uninstal", "uninstall"), ("event", "events")])
def test_an_unknown_verb_gets_a_suggestion(ctl, typed, meant):
    shown = ctl(typed)
    assert (shown.code, shown.out) == (2, "")
    assert shown.err == f'sinewctl: unknown command "{typed}"; did you mean "{meant}"?\nSee "sinewctl help".\n'
    assert f'did you mean "{meant}"?' in ctl("help", typed).err


@pytest.mark.parametrize("words, said", [
    (("frobnicate",), 'unknown command "frobnicate"'), (("get",), "get"), (("get", "servises"), 'mean "services"?'),
    (("get", "xyzzy"), "nouns are services, endpoints, policies, registries, sources, workloads, flows, registrations and listeners"),
    (("get", "services", "--outptu", "json"), "--output"), (("get", "services", "-o"), "-o"),
    (("get", "services", "-t", "5"), "--timeout"), (("get", "services", "-t", "0s"), "--timeout"),
    (("status", "stray"), "status takes no operands"), (("explain",), "explain"), (("explain", "a", "b", "c"), "explain"),
    (("explain", "10.0.0.1:80", "-p", "sctp"), "tcp or udp"), (("completion", "tcsh"), "bash, zsh and fish"),
    (("config", "set"), 'config knows only "show"'), (("get", "services", "a/b", "-n", "c"), "not in namespace c"),
    (("get", "services", "/x"), "is no name of a service"), (("get", "service/a/b", "mail"), "NOUN/NAMESPACE/NAME"),
    (("get", "service/a/b", "policy/a/b"), "one kind of object"),
])
def test_mistakes_are_exit_2_and_say_where_to_read_on(ctl, fake, words, said):
    shown = ctl(*words)
    assert (shown.code, shown.out) == (2, "") and said in shown.err and 'See "sinewctl help' in shown.err, shown
    as_json = ctl(*words[:1], "-o", "json", *words[1:]) if words[0] != "completion" else None
    if as_json and not {"-o", "--outptu"} & set(words):
        value = json.loads(as_json.err)
        assert as_json.out == "" and value["exitCode"] == 2 and value["title"] == "usage"
    assert fake.seen == []


# --- status, doctor, config, version ----------------------------------------------------------------

def test_status_is_a_few_lines(ctl, fake):
    fake.on("GET", "/v1/registries", None)
    shown = ctl("status")
    assert (shown.code, shown.err) == (0, "")
    assert [line.split()[0] for line in shown.lines] == ["Sinew", "Kernel", "Services", "Backends", "Traffic", "Sources",
                                                          "Maps"]
    for part in ("0.1.0 (abi 1)", "pid 4711", "6.12.38, programs 9/9", "212 (3 degraded, 1 without backend)",
                 "Backends    1,904 (2 draining), usable 1,896", "policies 4", "failed over 0/s", "manifest 2 services, 1 policy, changed",
                 "fullest sn_frontends 3.0%", "events lost 0"):
        assert part in shown.out, part
    assert max(map(len, shown.lines)) <= 120


def test_status_says_what_is_wrong(ctl, fake):
    bad = {**fakes.STATUS, "cgroupOk": False, "cgroupRepairs": 2, "heartbeatAgeSeconds": 9.0, "stateWriteFailures": 3,
           "programs": {"attached": 7, "wanted": 9}, "sources": []}
    fake.on("GET", "/v1/status", (200, bad))
    text = ctl("status").out
    for part in ("GONE: new sockets are not translated", "repaired 2 times", "9.0s late", "3 writes failed",
                 "programs 7/9", "none yet: sinewctl apply -f FILE"):
        assert part in text, part


def test_status_as_data_is_what_the_daemon_said(ctl):
    assert json.loads(ctl("status", "-o", "json").out) == fakes.STATUS
    assert yaml.safe_load(ctl("status", "-o", "yaml").out) == fakes.STATUS


def test_doctor_lines_up_and_fails_only_when_a_check_failed(ctl, fake):
    fake.on("GET", "/v1/registries", (200, fakes.registries([])))
    shown = ctl("doctor")
    assert shown.code == 0
    assert shown.lines == ["ok    kernel        6.12.38: everything is there",
                           "warn  order         cilium also translates at connect4",
                           "                    see sinewd(8)",
                           "ok    agent         follows 0 registries, and sinewd has what they say",
                           "1 of 3 needs attention"]
    fake.on("GET", "/v1/doctor", (200, fakes.list_of("CheckList", [
        {"name": "state", "level": "fail", "text": "disk full", "hint": "make room"}])))
    assert ctl("doctor").code == 1 and ctl("doctor", "-o", "json").code == 1
    fake.on("GET", "/v1/doctor", (200, fakes.list_of("CheckList", [{"name": "a", "level": "ok", "text": "b"}])))
    assert ctl("doctor").lines[-1] == "all 2 are well"


def test_config_shows_where_a_value_came_from(ctl):
    assert ctl("config").lines == ctl("config", "show").lines
    assert "FROM" not in ctl("config", "show").lines[0]
    assert ctl("config", "show", "--origin").lines[2].split() == ["pool4", "127.128.0.0/9", "/etc/sinew/sinewd.yaml"]


def test_version_tells_both_and_their_revisions(ctl, fake, alone):
    fake.on("GET", "/v1/status", (200, {**fakes.STATUS, "revision": "abcdef012345"}))
    shown = ctl("version")
    assert re.fullmatch(r"client  [\d.]+ \([0-9a-z]+, abi \d+\)", shown.lines[0])
    assert shown.lines[1] == "server  0.1.0 (abcdef012345, abi 1)"
    value = json.loads(ctl("version", "-o", "json").out)
    assert value["server"] == {"version": "0.1.0", "revision": "abcdef012345", "abi": 1}
    assert set(value["client"]) == {"version", "revision", "abi"}


def test_version_without_a_daemon_still_tells_the_client(alone):
    shown = alone("version")
    assert shown.code == 3 and shown.out.startswith("client  ") and "is sinewd running?" in shown.err
    as_json = alone("version", "-o", "json")
    assert as_json.code == 3 and set(json.loads(as_json.out)) == {"client"}


# --- explain ----------------------------------------------------------------------------------------

def test_explain_prints_the_lines_of_the_daemon(ctl, fake):
    fake.on("GET", "/v1/explain", (200, ANSWER))
    for words, want in {("10.96.0.10:80",): "10.96.0.10:80", ("payments.shop:80",): "shop/payments:80",
                        ("shop/payments:http",): "shop/payments:http", ("[fd00::1]:80",): "[fd00::1]:80",
                        ("payments",): "default/payments"}.items():
        shown = ctl("why", *words)
        assert (shown.code, shown.lines) == (0, LINES), shown
        assert fake.seen[-1][2] == {"destination": want}
    ctl("why", "10.96.0.53:53", "-p", "udp", "-m", "7")
    assert fake.seen[-1][2] == {"destination": "10.96.0.53:53", "protocol": "udp", "mark": "7"}


def cgroup_of_this_process():
    with open("/proc/mounts", encoding="utf-8") as mounts:
        mount = next((line.split()[1] for line in mounts if line.split()[2] == "cgroup2"), None)
    with open("/proc/self/cgroup", encoding="utf-8") as f:
        below = next((line.strip()[3:] for line in f if line.startswith("0::")), None)
    if not mount or below is None or not os.path.isdir(mount + below):
        pytest.skip("no cgroup v2 in sight here")
    return os.path.normpath(mount + below)


def test_explain_of_a_process_names_its_cgroup_and_whether_it_is_served(ctl, fake):
    path = cgroup_of_this_process()
    pid, number = str(os.getpid()), os.stat(path).st_ino
    fake.on("GET", "/v1/explain", (200, ANSWER))
    fake.on("GET", "/v1/status", (200, {**fakes.STATUS, "cgroup": path}))
    shown = ctl("why", pid, "payments.shop:80")
    assert shown.lines == [f"{pid} is cgroup {number} ({path})", *LINES]
    assert fake.seen[-1][2]["cgroup"] == str(number)
    assert json.loads(ctl("why", pid, "payments.shop:80", "-o", "json").out)["workload"] == {
        "name": pid, "cgroup": number, "path": path, "served": True}
    for other in (path + "/below", path + "x"):
        fake.on("GET", "/v1/status", (200, {**fakes.STATUS, "cgroup": other}))
        shown = ctl("why", pid, "payments.shop:80")
        assert f"which is not served: sinewd is attached to {other}" in shown.lines[0]
        assert json.loads(ctl("why", pid, "a:1", "-o", "json").out)["workload"]["served"] is False


def test_explain_of_a_workload_that_is_not_there_is_exit_4(ctl, fake):
    assert "there is no process 999999999" in ctl("why", "999999999", "a:1").err
    for name in ("no-such-unit", "no-such.service", "/no/such/cgroup", "no/such"):
        shown = ctl("why", name, "a:1")
        assert shown.code == 4 and name in shown.err, shown
    assert fake.seen == []


# --- uninstall ----------------------------------------------------------------------------------------

def test_uninstall_asks_first(ctl, fake):
    fake.on("POST", "/v1/uninstall", (200, {"status": "uninstalling"}))
    shown = ctl("uninstall")
    assert shown.code == 2 and "give --yes" in shown.err and fake.seen == []
    for word, code in ((b"n\n", 1), (b"\n", 1), (b"yes\n", 0), (b"y\n", 0)):
        before = len(fake.seen)
        shown = ctl.terminal("uninstall", answer=(b"[y/N] ", word))
        assert shown.code == code and len(fake.seen) - before == (code == 0), shown
        assert ("uninstalled: programs detached" if code == 0 else "nothing was done") in shown.out
    assert ctl("uninstall", "--yes").code == 0


# --- colours ----------------------------------------------------------------------------------------

COLOURED = (("get", "services"), ("get", "endpoints"), ("describe", "service", "shop/mail"), ("doctor",), ("status",))


@pytest.mark.parametrize("words", COLOURED, ids=" ".join)
def test_colour_only_on_a_terminal_and_without_no_color(ctl, words):
    assert "\x1b" not in ctl(*words).out
    assert "\x1b[3" in ctl.terminal(*words).out
    assert "\x1b" not in ctl.terminal(*words, env={"NO_COLOR": "1"}).out
    assert "\x1b[3" in ctl.terminal(*words, env={"NO_COLOR": ""}).out


def test_colours_change_no_letter(ctl):
    for words in (("get", "services", "-o", "wide"), ("doctor",)):
        assert re.sub(r"\x1b\[[0-9;]*m", "", ctl.terminal(*words).out) == ctl(*words).out


def test_a_table_keeps_to_a_narrow_terminal(ctl):
    shown = ctl.terminal("get", "services", env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert max(map(len, shown.lines)) <= 80 and "..." in shown.out
    assert max(map(len, ctl.terminal("get", "endpoints", env={"COLUMNS": "80", "NO_COLOR": "1"}).lines)) <= 80


def test_json_on_a_terminal_is_the_same_json(ctl):
    assert json.loads(ctl.terminal("get", "services", "-o", "json").out) == json.loads(
        ctl("get", "services", "-o", "json").out)


def test_a_closed_pipe_ends_quietly(ctl):
    shown = subprocess.run(["bash", "-c", f"{ctl.program} get services -o json | head -c 1; exit ${{PIPESTATUS[0]}}"],
                           env=ctl.environment(None), capture_output=True, timeout=20, check=False)
    assert shown.stdout == b"{" and b"sinewctl: writing" not in shown.stderr[200:]


def test_an_interrupt_ends_the_stream_at_once(ctl, fake):
    import threading
    stop = threading.Event()
    fake.on("GET", "/v1/events", fakes.stream([b'{"type":"a","object":"b","message":"c"}\n'], hang=stop))
    child = subprocess.Popen([ctl.program, "events"], env=ctl.environment(None), stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline()
        begin = time.monotonic()
        child.send_signal(signal.SIGINT)
        child.wait(timeout=10)
        assert time.monotonic() - begin < 5
    finally:
        child.kill()
        child.wait()
        stop.set()


# --- completion -------------------------------------------------------------------------------------

def complete(ctl, *words):
    """What bash offers when TAB is pressed behind these words."""
    script = f"""
source <({ctl.program} completion bash) || exit 9
COMP_WORDS=({' '.join("'" + w + "'" for w in ('sinewctl', *words))}) COMP_CWORD={len(words)}
_sinewctl
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    env = ctl.environment(None)
    env["PATH"] = os.path.dirname(ctl.program) + ":" + env["PATH"]
    done = subprocess.run(["bash", "--norc", "-c", script], cwd=ctl.folder, env=env, capture_output=True, text=True,
                          timeout=20, check=False)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout.split()


def test_bash_completes(ctl):
    ctl.write("shop.yaml", "")
    assert set(complete(ctl, "")) == set(VERBS)
    assert complete(ctl, "unin") == ["uninstall"]
    assert complete(ctl, "get", "s") == ["services", "sources"]
    assert complete(ctl, "get", "services", "-o", "") == ["table", "wide", "json", "yaml", "name"]
    assert complete(ctl, "apply", "-o", "d") == ["diff"]
    assert complete(ctl, "-s", "get", "get", "-o", "json", "so") == ["sources"]
    assert complete(ctl, "get", "-o", "json", "services", "shop/m") == ["shop/mail"]
    assert complete(ctl, "get", "services", "shop/p") == ["shop/payments"]
    assert complete(ctl, "delete", "policy", "") == ["shop/gentle"]
    assert "--all-namespaces" in complete(ctl, "get", "--a")
    assert "shop.yaml" in complete(ctl, "apply", "-f", "sh")
    assert complete(ctl, "completion", "") == ["bash", "zsh", "fish"]
    assert complete(ctl, "config", "") == ["show"]
    assert complete(ctl, "why", "10.0.0.1:80", "-p", "") == ["tcp", "udp"]


def test_bash_completion_without_a_daemon_offers_what_needs_none(alone):
    assert complete(alone, "get", "services", "") == []
    assert complete(alone, "get", "so") == ["sources"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_the_shell_s_language(ctl, shell):
    script = ctl("completion", shell).out
    assert all(verb in script for verb in VERBS)
    program = shutil.which(shell)
    if not program:
        pytest.skip(f"{shell} is not installed: its script is not checked")
    done = subprocess.run([program, "-n"], input=script, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")
