# SPDX-License-Identifier: GPL-2.0-or-later
"""10,000 fuzzed requests: each a precise error or a good answer, nothing applied by half, no crash, no leak."""
import collections
import json
import os
import random
import socket

from spoiled import Maker
from serving import Wire

REQUESTS = 10000
SEED = int(os.environ.get("FUZZ_SEED", "20260101"))


class Session:
    """Sends requests over one connection, a new one when it was closed."""

    def __init__(self, fake):
        self.fake, self.wire = fake, None
        self.seen = collections.Counter()

    def connect(self, timeout=20):
        if not self.wire:
            self.wire = Wire(self.fake.control, timeout)
        self.wire.sock.settimeout(timeout)

    def drop(self):
        if self.wire:
            self.wire.close()
        self.wire = None

    def send(self, data, method, path, timeout):
        """The answer, or None: the connection was closed, or there is none within the time."""
        self.connect(timeout)
        try:
            self.wire.send(data)
            got = self.wire.head()
            while got and got[0] == 100:
                got = self.wire.head()
            if not got:
                self.drop()
                return None
            status, headers = got
            endless = status == 200 and headers.get("content-type") == "application/x-ndjson"
            body = b"" if endless or method == "HEAD" or status == 204 else self.wire.body(headers)
            if endless or headers.get("connection", "").lower() == "close":
                self.drop()
            return status, headers, body
        except (socket.timeout, ConnectionError, ValueError, AssertionError):
            self.drop()
            return None

    def state(self):
        """What no error may change."""
        self.drop()
        self.connect()
        answer = self.wire.ask("GET", "/v1/sources")
        assert answer.status == 200
        return answer.body


def check_answer(status, headers, body, method):
    """Good, or a whole problem document of the same status."""
    if status // 100 == 2:
        if body and headers["content-type"] == "application/json":
            json.loads(body)
        return
    assert 400 <= status < 500, (status, body[:300])
    assert headers["content-type"] == "application/problem+json", (status, headers, body[:300])
    if method == "HEAD":
        return
    said = json.loads(body)
    assert said["status"] == status and said["type"].startswith("urn:sinew:problem:") and said["detail"]
    if status == 422:
        assert said.get("errors") or "is expected at this path" in said["detail"] or "the path" in said["detail"], said
    for error in said.get("errors", []):
        assert error["detail"] and (error["pointer"] == "" or error["pointer"][0] == "/")


def check_whole(session):
    """What the sources count is what there is, and every object can be read and sent back."""
    session.drop()
    session.connect()
    sources = session.wire.ask("GET", "/v1/sources").json["items"]
    services = session.wire.ask("GET", "/v1/services").json["items"]
    policies = session.wire.ask("GET", "/v1/policies").json["items"]
    assert sum(s["services"] for s in sources) == len(services)
    assert sum(s["policies"] for s in sources) == len(policies)
    for source in sources:
        name = source["name"].replace("/", "%2F")
        whole = session.wire.ask("GET", f"/v1/sources/{name}").json
        again = session.wire.ask("PUT", f"/v1/sources/{name}?dryRun=true", whole)
        assert again.status == 200 and again.json["unchanged"] == len(whole["items"]), again.body[:400]


def test_10000_fuzzed_requests_are_answered_precisely_and_applied_whole_or_not_at_all(start):
    fake = start(services=20)
    maker, session = Maker(random.Random(SEED)), Session(fake)
    before, broken = session.state(), 0
    for i in range(REQUESTS):
        method, path, data, is_http = maker.make()
        answer = session.send(data, method, path, 20 if is_http else 0.03)
        where = f"request {i} of seed {SEED}: {data[:300]!r}"
        if is_http:
            assert answer, f"no answer to {where}"
            try:
                check_answer(*answer, method)
            except (AssertionError, KeyError, ValueError) as error:
                raise AssertionError(f"{where}: {error}") from error
            session.seen[answer[0]] += 1
        else:
            # The HTTP library answers or cuts what it cannot read; what it can is ours.
            assert answer is None or answer[0] < 500 or answer[0] in (501, 505), where
            broken += 1
            session.drop()
        if is_http and answer[0] >= 400:
            assert session.state() == before, f"{where} was refused with {answer[0]} and changed something"
        else:
            before = session.state()
        if i % 1000 == 999:
            assert fake.child.poll() is None, where
            check_whole(session)
    session.drop()
    print(f"{dict(sorted(session.seen.items()))}, not HTTP {broken}")
    # The fuzzer got everywhere.
    assert set(session.seen) >= {200, 201, 204, 400, 404, 405, 406, 409, 412, 413, 415, 422}
    assert min(session.seen[s] for s in (200, 400, 404, 422)) > 300
