# SPDX-License-Identifier: GPL-2.0-or-later
"""/metrics: both formats, on both sockets, by the book; bounded series; and a scrape that nobody has to wait for."""
import os
import re
import shutil
import subprocess
import threading
import time

import pytest

from serving import as_list, request, service

CLASSIC = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
ASK_OPEN = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
SAMPLE = re.compile(r'^([a-z_]+)(?:\{(.*)\})? (-?[0-9][0-9.e+-]*|\+Inf|NaN)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
LABELS = {"namespace", "service", "reason", "result", "state", "le", "source", "map", "program", "code", "version", "revision", "abi",
          "kernel", "limit"}
PER_SERVICE = ("sinew_connect_attempts", "sinew_connects", "sinew_service_events", "sinew_connect_duration_seconds",
               "sinew_active_connections", "sinew_service_endpoints", "sinew_suspect_endpoints", "sinew_backend_ejections", "sinew_ejected_backends",
               "sinew_held_backends", "sinew_panic", "sinew_failovers", "sinew_missed_failovers",
               "sinew_retry_budget_exceeded", "sinew_connection_limit", "sinew_limited_connections")
MANUAL = os.path.join(os.path.dirname(__file__), "../../userspace/man/sinew-control.7.scd")
REASONS = os.path.join(os.path.dirname(__file__), "../../headers/sinew/reason.h")


class Scrape:
    """The text taken apart, strictly: families in one piece, HELP before TYPE, no series twice."""

    def __init__(self, text, is_open):
        self.families = {}  # name -> (type, help, unit)
        self.samples = {}   # (name, ((label, value), ...)) -> number
        self.text, family, ended = text, None, False
        assert text.endswith("\n") and "\n\n" not in text
        for line in text[:-1].split("\n"):
            assert not ended, "there is something behind # EOF"
            if line == "# EOF":
                assert is_open
                ended = True
            elif line.startswith("# HELP "):
                family, words = line[7:].split(" ", 1)
                assert family not in self.families and not words[0].islower() and words.endswith("."), line
                self.families[family] = (None, words, None)
            elif line.startswith("# TYPE "):
                name, kind = line[7:].split(" ")
                assert name == family and self.families[name][0] is None, f"{line}: HELP comes before TYPE"
                self.families[name] = (kind, self.families[name][1], None)
            elif line.startswith("# UNIT "):
                name, unit = line[7:].split(" ")
                assert is_open and name == family and name.endswith("_" + unit), line
            else:
                self.sample(line, family, is_open)
        assert ended == is_open

    def sample(self, line, family, is_open):
        match = SAMPLE.match(line)
        assert match, line
        name, labels, value = match.groups()
        pairs = tuple(LABEL.findall(labels or ""))
        assert "".join(f'{n}="{v}",' for n, v in pairs)[:-1] == (labels or ""), line
        kind = self.families[family][0]
        suffixes = {"counter": ("_total",) if is_open else ("",), "histogram": ("_bucket", "_sum", "_count"),
                    "info": ("_info",), "gauge": ("",)}[kind]
        assert name in [family + s for s in suffixes], (line, family)
        assert (name, pairs) not in self.samples, f"twice: {line}"
        self.samples[name, pairs] = float(value)

    def of(self, name, **labels):
        """The values of the samples that have these labels, among others."""
        return [v for (n, pairs), v in self.samples.items() if n == name and labels.items() <= dict(pairs).items()]


def scrape(fake, is_open=False, status=True):
    answer = fake.ask("GET", "/metrics", status=status, accept=ASK_OPEN if is_open else None)
    assert answer.status == 200 and answer.headers["content-type"] == (OPEN if is_open else CLASSIC)
    return Scrape(answer.body.decode(), is_open)


@pytest.mark.parametrize("accept, content_type", [
    (None, CLASSIC), ("", CLASSIC), ("*/*", CLASSIC), ("text/plain", CLASSIC), ("text/html", CLASSIC),
    (ASK_OPEN, OPEN), ("application/openmetrics-text", OPEN), ("application/openmetrics-text;q=0.4,text/plain;q=0.5", CLASSIC),
    ("text/plain;q=0.4, application/openmetrics-text;q=0.5", OPEN), ("application/*", OPEN),
    ("application/openmetrics-text;q=0,*/*", CLASSIC)])
def test_the_format_is_what_accept_likes_best(shared, accept, content_type):
    for status in (True, False):
        assert shared.ask("GET", "/metrics", status=status, accept=accept).headers["content-type"] == content_type


@pytest.mark.parametrize("is_open", [False, True])
def test_both_sockets_serve_both_formats_by_the_book(shared, is_open):
    names = [set(scrape(shared, is_open, status).families) for status in (True, False)]
    assert names[0] == names[1] and len(names[0]) > 25


def test_promtool_finds_nothing_to_say(start):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    for options in ({}, {"backend_label": True}, {"budget": 50}):
        fake = start(services=50, **options)
        done = subprocess.run(["promtool", "check", "metrics"], input=fake.ask("GET", "/metrics").body,
                              capture_output=True, timeout=30, check=False)
        assert done.returncode == 0 and not done.stdout and not done.stderr, done.stdout + done.stderr


def test_the_two_formats_say_the_same(shared):
    classic, other = scrape(shared), scrape(shared, True)
    for (name, labels), value in classic.samples.items():
        family = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        if family.startswith(PER_SERVICE):
            assert other.samples[name, labels] == value
    assert {n for n, _ in classic.samples} == {n for n, _ in other.samples}


def test_every_reason_is_a_label_where_its_level_is_counted(shared):
    with open(REASONS, encoding="utf-8") as f:
        levels = re.split(r"#define SN_[A-Z]+_REASONS\(X\)", f.read())[1:4]
    one = scrape(shared)
    for level, metric in zip(levels, ("sinew_connects_total", "sinew_service_events_total", "sinew_node_events_total")):
        labels = re.findall(r'X\([A-Z_]+, "([a-z_]+)"', level)
        assert labels
        for label in labels:
            assert one.of(metric, reason=label), (metric, label)
        assert {dict(p)["reason"] for n, p in one.samples if n == metric} == set(labels)


def test_the_manual_names_every_metric(start):
    with open(MANUAL, encoding="utf-8") as f:
        manual = f.read()
    names = [n for n in scrape(start(services=1, backend_label=True)).families if not n.startswith("process_")]
    assert len(names) > 30 and [n for n in names if not re.search(rf"\b{n}\b", manual)] == []
    assert set(re.findall(r"\bsinew_[a-z_]+", manual)) <= set(names), "the manual names one that is not there"


def test_names_and_labels_are_bounded(shared):
    one = scrape(shared)
    for name, pairs in one.samples:
        assert name.startswith(("sinew_", "process_")), name
        assert {label for label, _ in pairs} <= LABELS, (name, pairs)
    assert not any("backend" in dict(pairs) for _, pairs in one.samples), "the backend label is opt-in"
    for name, (kind, _, _) in one.families.items():
        assert name.endswith("_total") == (kind == "counter"), name


def test_values_are_those_of_the_objects(shared):
    one = scrape(shared)
    for item in shared.get("/v1/services")["items"]:
        labels = {"namespace": item["metadata"]["namespace"], "service": item["metadata"]["name"]}
        traffic = item["status"]["traffic"]
        assert one.of("sinew_connect_attempts_total", **labels) == [traffic["attempts"]]
        assert one.of("sinew_connects_total", reason="refused", **labels) == [traffic["outcomes"]["refused"]]
        assert one.of("sinew_service_events_total", reason="no_backend", **labels) == [traffic["refused"]["no_backend"]]
        assert one.of("sinew_service_endpoints", state="active", **labels) == [item["status"]["usable"]]
        assert one.of("sinew_active_connections", **labels) == [traffic["active"]]
    assert one.of("sinew_source_services", source="synthetic") == [20]
    assert one.of("sinew_node_events_total", reason="event_lost") == [3]
    assert one.of("sinew_bpf_map_entries", map="sn_frontends") == [120]
    assert one.of("sinew_bpf_program_runs_total", program="sn_connect4") == [4321]
    assert one.of("sinew_build_info", version="0.0.0-fake", revision="fake") == [1]


def test_histograms_grow_and_end_at_their_count(shared):
    one = scrape(shared)
    seen = {}
    for (name, pairs), value in one.samples.items():
        if name == "sinew_connect_duration_seconds_bucket":
            labels = dict(pairs)
            seen.setdefault((labels["namespace"], labels["service"]), []).append((float(labels["le"].replace("+Inf", "inf")),
                                                                                  value))
    assert len(seen) == 20
    for (namespace, name), buckets in seen.items():
        assert buckets == sorted(buckets) and [v for _, v in buckets] == sorted(v for _, v in buckets)
        assert buckets[-1][0] == float("inf")
        assert one.of("sinew_connect_duration_seconds_count", namespace=namespace, service=name) == [buckets[-1][1]]


def totals(one, name):
    """Sums over services, by the other labels."""
    sums = {}
    for (sample, pairs), value in one.samples.items():
        if sample.startswith(name):
            key = sample, tuple(p for p in pairs if p[0] not in ("namespace", "service", "port", "backend"))
            sums[key] = round(sums.get(key, 0) + value, 9)
    return sums


@pytest.mark.parametrize("budget", [8, 17, 50, 160, 1000])
def test_past_the_budget_services_fold_into_other_and_are_counted(start, budget):
    whole = scrape(start(services=20, budget=0, backend_label=True))
    one = scrape(start(services=20, budget=budget, backend_label=True))
    folded = 0
    for name in PER_SERVICE + ("sinew_backend_connects",):
        mine = [k for k in one.samples if k[0].startswith(name)]
        all_of_them = [k for k in whole.samples if k[0].startswith(name)]
        per_other = len([k for k in mine if ("service", "other") in k[1]])
        assert len(mine) <= max(budget, per_other), name
        assert totals(one, name) == totals(whole, name), f"{name}: what is folded is not lost"
        folded += len(all_of_them) - (len(mine) - per_other)
    assert one.of("sinew_series_folded") == [folded]
    assert whole.of("sinew_series_folded") == [0]


def test_backends_are_shown_when_asked_for(start):
    fake = start(services=0, backend_label=True)
    fake.put("/v1/sources/x", as_list(service("a", (("10.0.0.1", 80), ("fd00::1", 81)))))
    one = scrape(fake)
    backends = {(dict(p)["backend"], dict(p)["port"]) for n, p in one.samples if n == "sinew_backend_connects_total"}
    assert backends == {("10.0.0.1:80", "80/TCP"), ("[fd00::1]:81", "80/TCP")}


def test_requests_and_cut_clients_are_counted(start):
    fake = start(services=0, receive_ms=500)
    before = scrape(fake)
    fake.ask("GET", "/v1/nothing").problem(404)
    with fake.wire() as wire:
        wire.send(b"GET /healthz\r\n\r\n")
        wire.is_closed()
    with fake.wire() as wire:
        assert wire.is_closed()
    after = scrape(fake)
    assert after.of("sinew_control_requests_total", code="4xx")[0] == before.of("sinew_control_requests_total", code="4xx")[0] + 1
    assert after.of("sinew_control_requests_total", code="2xx")[0] > before.of("sinew_control_requests_total", code="2xx")[0]
    assert after.of("sinew_control_slow_senders_total")[0] == 1
    assert after.of("sinew_control_malformed_requests_total")[0] == 1


def test_others_are_answered_while_10000_services_are_scraped(start):
    """A turn of the loop renders for a few milliseconds; whoever asks meanwhile is served between the turns. The figures
    are for the bench; here it counts that there were many turns, and that a wait is far from the scrape's whole time."""
    fake = start(plain=True, services=10000, budget=0)
    waits, done = [], threading.Event()

    def ping():
        with fake.wire() as wire:
            while not done.is_set():
                begin = time.monotonic()
                assert wire.ask("GET", "/healthz").status == 200
                waits.append(time.monotonic() - begin)
    fake.get("/v1/status")
    pinger = threading.Thread(target=ping)
    pinger.start()
    begin = time.monotonic()
    with fake.wire(status=True) as wire:
        wire.send(request("GET", "/metrics"))
        status, headers = wire.head()
        size = sum(len(part) for part in iter(wire.chunk, b""))
    wall = time.monotonic() - begin
    done.set()
    pinger.join()
    turn = fake.get("/v1/status")["loopMaxSeconds"]
    print(f"{size >> 10} KiB in {wall * 1e3:.0f} ms, {len(waits)} others answered, longest wait {max(waits) * 1e3:.1f} ms, "
          f"longest turn {turn * 1e3:.1f} ms")
    assert status == 200 and headers["content-type"] == CLASSIC and size > 20 << 20
    assert len(waits) >= 5 and max(waits) < wall / 2
