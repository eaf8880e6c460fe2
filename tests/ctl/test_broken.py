# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon that is away, slow, of another kind or broken: a precise error and its exit code, never a crash."""
import json
import os
import socket
import subprocess
import threading

import pytest

import fake as fakes

SERVICE = "apiVersion: sinew/v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 1}]}\n"
# Every verb that asks the daemon; what its first question is.
VERBS = {
    "get": (("get", "services"), "GET", "/v1/services"),
    "describe": (("describe", "services"), "GET", "/v1/services"),
    "apply": (("apply", "-f", "-"), "PATCH", "/v1/sources/manifest"),
    "delete": (("delete", "service", "a/b"), "DELETE", "/v1/services/a/b"),
    "explain": (("explain", "10.0.0.1:80"), "GET", "/v1/explain"),
    "status": (("status",), "GET", "/v1/status"),
    "doctor": (("doctor",), "GET", "/v1/doctor"),
    "registries": (("get", "registries"), "GET", "/v1/registries"),
    "confirm": (("confirm", "registry", "dc1"), "POST", "/v1/registries/dc1/confirm"),
    "config": (("config", "show"), "GET", "/v1/config"),
    "version": (("version",), "GET", "/v1/status"),
    "events": (("events", "--for", "5s"), "GET", "/v1/events"),
}
OF_THE_AGENT = ("registries", "confirm")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"


def told(result, code, *parts):
    """One line on standard error that says it; nothing but JSON or the client's own version on standard output."""
    assert result.code == code, result
    assert result.err.startswith("sinewctl: ") and result.err.count("\n") <= 2, result
    for part in parts:
        assert part in result.err, result


def problem_of(result):
    """With -o json: a problem on standard error, and standard output is empty or JSON."""
    if result.out:
        json.loads(result.out)
    value = json.loads(result.err)
    assert {"type", "title", "detail"} <= set(value) and value["detail"]
    return value


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_nobody_listens(alone, verb):
    words = VERBS[verb][0]
    program, who = ("sinew-agent", "agent") if verb in OF_THE_AGENT else ("sinewd", "daemon")
    told(alone(*words, text=SERVICE), 3, alone.socket, "No such file or directory", f"is {program} running?")
    fakes.unbound_socket(alone.socket)
    told(alone(*words, text=SERVICE), 3, "Connection refused")
    value = problem_of(alone(*words, "-o", "json", text=SERVICE))
    assert value["exitCode"] == 3 and value["title"] == f"{who} unreachable"


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_truncated_json(ctl, fake, verb):
    words, method, path = VERBS[verb]
    if verb == "events":
        pytest.skip("a stream has no end that could be missing; its lines are tested one by one")
    fake.on(method, path, (200, b'{"items": [{"metadata": {"na'))
    shown = ctl(*words, text=SERVICE)
    if verb == "delete":
        assert (shown.code, shown.err) == (0, ""), shown  # the status alone says that it happened
        return
    told(shown, 1, "the answer is not JSON")


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_the_connection_is_closed_in_the_middle(ctl, fake, verb):
    words, method, path = VERBS[verb]
    fake.on(method, path, fakes.Raw([HEAD, b'{"items"']))
    told(ctl(*words, text=SERVICE), 3, "went away in the middle of the answer")
    fake.on(method, path, fakes.Raw([]))
    told(ctl(*words, text=SERVICE), 3)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_status_500_with_and_without_words(ctl, fake, verb):
    words, method, path = VERBS[verb]
    fake.on(method, path, fakes.problem(500, "the reason"))
    assert "the reason" in ctl(*words, text=SERVICE).err
    assert problem_of(ctl(*words, "-o", "json", text=SERVICE))["status"] == 500
    for body in (b"", b"<html>Internal Server Error</html>", b"[]", b'"text"', b"null", b'{"detail": 7}'):
        fake.on(method, path, (500, body))
        shown = ctl(*words, text=SERVICE)
        who = "agent" if verb in OF_THE_AGENT else "daemon"
        assert shown.code == 1 and f"the {who} answered with status 500" in shown.err, (body, shown)
        problem_of(ctl(*words, "-o", "json", text=SERVICE))


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"events"}))
def test_a_slow_answer_is_given_up(ctl, fake, verb):
    words, method, path = VERBS[verb]
    stop = threading.Event()
    try:
        fake.on(method, path, fakes.Raw([HEAD, b"{"], hang=stop))
        told(ctl(*words, "-t", "200ms", text=SERVICE), 6, "no answer within 200 ms", "--timeout")
        assert problem_of(ctl(*words, "-t", "200ms", "-o", "json", text=SERVICE))["exitCode"] == 6
    finally:
        stop.set()


@pytest.mark.parametrize("verb", ["get", "apply", "status"])
def test_a_huge_answer_is_cut(ctl, fake, verb):
    words, method, path = VERBS[verb]
    fake.on(method, path, fakes.Raw([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"] + [b" " * (1 << 20)] * 65))
    told(ctl(*words, text=SERVICE), 1, "larger than this program reads")


@pytest.mark.parametrize("bytes_", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\0\1\2\3" * 100, b"HTTP/9.9 abc\r\n\r\n"])
def test_whoever_listens_speaks_something_else(ctl, fake, bytes_):
    fake.on("GET", "/v1/status", fakes.Raw([bytes_]))
    told(ctl("status"), 1, "does not speak HTTP")


SHAPES = {
    "list": b"[]", "number": b"7", "text": b'"x"', "null": b"null", "empty": b"{}", "items-number": b'{"items": 7}',
    "items-mapping": b'{"items": {"a": 1}}', "items-mixed": b'{"items": [7, null, []]}',
    "deep": b'{"items": [' + b"[" * 5000 + b"]" * 5000 + b"]}", "deep-cut": b"[" * 100000,
    "surrogate": b'{"items": [{"metadata": {"name": "\\ud800"}}]}', "no-utf8": b"\xff\xfe{}",
}


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"events"}))
def test_json_of_another_shape(ctl, fake, verb, shape):
    words, method, path = VERBS[verb]
    fake.on("GET", "/v1/registries", (200, fakes.registries([])))
    fake.on(method, path, (200, SHAPES[shape]))
    for form in ((), ("-o", "json"), ("-o", "yaml")):
        shown = ctl(*words, *form, text=SERVICE)
        assert shown.code in (0, 1), shown
        assert shown.code == 0 or shown.err, shown
        if form == ("-o", "json") and shown.out and shape != "deep":  # deeper than Python reads
            json.loads(shown.out)


def test_pages_without_an_end_come_to_one(ctl, fake):
    """A continue token that never changes must not be followed for ever."""
    page = fakes.list_of("ServiceList", [])
    page["metadata"] = {"continue": "a/b"}
    fake.on("GET", "/v1/services", (200, page))
    told(ctl("get", "services", seconds=60), 1, "pages")
    assert len(fake.seen) < 10


def test_denied_is_exit_5(ctl, fake):
    fake.on("GET", "/v1/status", fakes.problem(403, "this socket only reads"))
    told(ctl("status"), 5, "this socket only reads")


def test_a_socket_without_permission_is_exit_5(alone):
    other = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    os.chmod(alone.folder, 0o755)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(alone.socket)
        s.listen()
        os.chmod(alone.socket, 0)
        try:
            done = subprocess.run([alone.program, "status"], env=alone.environment(None), capture_output=True,
                                  text=True, timeout=20, check=False, **other)
        except PermissionError:
            pytest.skip("nobody may not run programs of this folder")
    assert (done.returncode, done.stdout) == (5, "")
    assert "permission denied; be root or in group sinew" in done.stderr


def test_a_socket_name_has_a_largest_length(alone):
    told(alone("status", "-s", "/" + "x" * 200), 2, "longer than a unix socket's name may be")
    assert alone("get", "services", "-n", "x" * 4000).code == 2


def test_the_environment_of_proxies_is_not_asked(ctl):
    assert ctl("status", env={"http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}).code == 0


# --- events ---------------------------------------------------------------------------------------

GOOD = (b'{"time":"2026-01-02T03:04:05.678Z","type":"outcome","reason":"refused","protocol":"TCP",'
        b'"destination":"10.96.0.10:80","backend":"10.0.1.6:8080","latencySeconds":0.0011,"workload":8123,'
        b'"namespace":"shop","service":"payments"}\n')
SAID = "03:04:05.678  shop/payments 10.96.0.10:80/TCP -> 10.0.1.6:8080 refused after 1.1ms (cgroup 8123)"


def test_events_become_sentences(ctl, fake):
    note = b'{"time":"2026-01-02T03:04:06.000Z","type":"service.added","object":"shop/a","message":"by uid 0"}\n'
    beat = b'{"time":"2026-01-02T03:04:06.000Z","type":"heartbeat"}\n'
    fake.on("GET", "/v1/events", fakes.stream([GOOD[:50], GOOD[50:] + beat, note]))
    shown = ctl("events", "shop/payments", "-l", "2")
    assert (shown.code, shown.err) == (0, "")
    assert shown.lines == [SAID, "03:04:06.000  service.added shop/a: by uid 0"]
    assert fake.seen[0][2] == {"namespace": "shop", "service": "payments"}
    as_json = ctl("events", "-l", "2", "-o", "json")
    assert [json.loads(line)["type"] for line in as_json.lines] == ["outcome", "service.added"]


def test_lines_that_are_no_events_are_passed_over(ctl, fake):
    long = b'{"type":"' + b"x" * 70000 + b'"}\n'
    fake.on("GET", "/v1/events", fakes.stream([b"\n", b"garbage\n", b"[]\n", b"{}\n", long, b"\xff\n", GOOD]))
    shown = ctl("events")
    assert SAID in shown.lines and shown.err.count("a line that is no event was skipped") == 3
    assert shown.code == 3 and "the daemon ended the stream" in shown.err


def test_events_end_after_their_time(ctl, fake):
    stop = threading.Event()
    try:
        fake.on("GET", "/v1/events", fakes.stream([GOOD], hang=stop))
        shown = ctl("events", "-f", "--for", "700ms")
        assert (shown.code, shown.lines, shown.err) == (0, [SAID], "")
    finally:
        stop.set()


def test_recent_events_end_by_themselves(ctl, fake):
    fake.on("GET", "/v1/events", fakes.stream([GOOD, b"garbage\n"]))
    shown = ctl("events", "shop/payments", "--recent", "20")
    assert (shown.code, shown.lines) == (0, [SAID])
    assert fake.seen[0][2] == {"recent": "20", "namespace": "shop", "service": "payments"}
    assert ctl("events", "-r", "257").code == 2


def test_describe_shows_the_last_events_of_a_service(ctl, fake):
    fake.on("GET", "/v1/events", fakes.stream([GOOD, b"[]\n", b"garbage\n", GOOD[:40]]))
    shown = ctl("describe", "service", "shop/payments")
    assert (shown.code, shown.err) == (0, "") and shown.lines[-2:] == ["Last events", "  " + SAID.replace("shop/payments ", "")]
    assert fake.seen[-1][2] == {"recent": "5", "connects": "false", "namespace": "shop", "service": "payments"}
    fake.on("GET", "/v1/events", fakes.problem(400, "unknown query parameter"))
    assert "Last events" not in ctl("describe", "service", "shop/payments").out
