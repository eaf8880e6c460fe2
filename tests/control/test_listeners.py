# SPDX-License-Identifier: GPL-2.0-or-later
"""Who listens, over the API: the list, and the stream. In the fake somebody listens for each registration."""
import json
import socket
import time

from serving import PATIENCE, as_list

SOURCE = "/v1/sources/manifest"


def registration(name, port):
    return {"apiVersion": "sinew/v1", "kind": "Registration", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"service": name, "registry": "dc1", "workload": {"unit": "a.service"}, "port": port, "address": "10.0.0.5"}}


class Lines:
    """An open stream; next() is the next line as JSON, without chunks' lengths."""

    def __init__(self, fake, status=True, path="/v1/listeners?watch=true"):
        self.wire = fake.wire(status=status)
        self.wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.status, self.headers = self.wire.head()
        self.left = b""

    def next(self, seconds=PATIENCE):
        self.wire.sock.settimeout(seconds)
        while b"\n" not in self.left:
            size = int(self.wire.file.readline().strip(), 16)
            if not size:
                return None
            self.left += self.wire.file.read(size)
            self.wire.file.readline()
        line, _, self.left = self.left.partition(b"\n")
        return json.loads(line)

    def until(self, kind):
        """What came before the first line of that type."""
        seen = []
        while (line := self.next())["type"] != kind:
            seen.append(line)
        return seen


def test_the_list_has_what_there_is_of_each(fake):
    fake.put(SOURCE, as_list(*(registration(f"a{port}", port) for port in (8000, 8001, 8002, 8003))))
    answer = fake.get("/v1/listeners")
    assert answer["kind"] == "ListenerList" and answer["metadata"] == {}
    plain, pod, gone, odd = sorted(answer["items"], key=lambda item: item["port"])
    assert plain == {"cookie": plain["cookie"], "netns": 1, "address": "10.0.0.5", "port": 8000, "protocol": "tcp", "cgroupId": 8123,
                     "cgroup": "/system.slice/payments.service", "unit": "payments.service",
                     "since": "2023-11-14T22:13:20.123Z", "seen": "listen"}
    assert pod["pod"] == "0e6ec1f2-6e4e-4c0e-8a6e-0123456789ab" and pod["container"] == "4bf0c1ab" * 8 and "unit" not in pod
    assert pod["seen"] == "sweep"
    assert not {"cgroup", "unit", "container", "pod"} & set(gone) and gone["cgroupId"] == 9002
    assert odd["cgroup"] == '/odd?"name'
    assert fake.ask("GET", "/v1/listeners", status=True).status == 200


def test_the_stream_begins_with_all_and_goes_on_with_changes(fake):
    fake.put(SOURCE, as_list(registration("a", 8000), registration("b", 8001)))
    lines = Lines(fake)
    assert lines.status == 200 and lines.headers["content-type"] == "application/x-ndjson"
    first = lines.until("SYNCED")
    assert [line["type"] for line in first] == ["ADDED", "ADDED"]
    assert [line["listener"] for line in first] == fake.get("/v1/listeners")["items"]
    fake.ask("PATCH", SOURCE, {"upsert": [registration("c", 8002)]})
    added = lines.next()
    assert (added["type"], added["listener"]["port"]) == ("ADDED", 8002)
    fake.ask("DELETE", "/v1/registrations/shop/a")
    assert lines.next() == {"type": "DELETED", "listener": first[0]["listener"]}
    fake.ask("PATCH", SOURCE, {"upsert": [registration("b", 9000)]})
    assert [(line["type"], line["listener"]["port"]) for line in (lines.next(), lines.next())] == [("DELETED", 8001), ("ADDED", 9000)]


def test_an_empty_stream_is_synced_at_once_and_beats(start):
    fake = start(heartbeat_ms=200)
    lines = Lines(fake)
    assert lines.next() == {"type": "SYNCED"}
    beat = lines.next(seconds=5)
    assert beat["type"] == "HEARTBEAT" and beat["time"].endswith("Z")


def test_events_and_listeners_do_not_mix(fake):
    events, listeners = Lines(fake, path="/v1/events"), Lines(fake)
    assert listeners.next() == {"type": "SYNCED"}
    fake.put(SOURCE, as_list(registration("a", 8000)))
    assert listeners.next()["type"] == "ADDED"
    told = events.next()
    assert told["type"] == "source.changed" and "listener" not in told


def test_a_long_beginning_is_no_reason_to_be_cut(fake):
    """4,000 listeners in containers are more than the 1 MiB that a reader may be behind by."""
    fake.put(SOURCE, as_list(*(registration(f"a{n}", 8001 + 4 * n) for n in range(4000))))
    lines = Lines(fake)
    time.sleep(0.3)
    fake.ask("PATCH", SOURCE, {"upsert": [registration("late", 80)]})
    beginning = lines.until("SYNCED")
    assert len(beginning) == 4000 and len(json.dumps(beginning)) > 1 << 20
    assert lines.next()["listener"]["port"] == 80


def test_a_reader_who_falls_behind_is_cut_and_counted(fake):
    wire = fake.wire(status=True)
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.send(b"GET /v1/listeners?watch=true HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.head()
    every = [registration(f"a{n}", 8000 + 4 * n) for n in range(2000)]
    for _ in range(4):
        fake.put(SOURCE, as_list(*every))
        fake.put(SOURCE, as_list())
    assert wire.is_closed()
    assert fake.ask("GET", "/v1/status").status == 200


def test_streams_of_both_kinds_share_their_number(fake):
    held = [Lines(fake, path=("/v1/events", "/v1/listeners?watch=true")[n % 2]) for n in range(16)]
    assert all(one.status == 200 for one in held)
    fake.ask("GET", "/v1/listeners?watch=true", status=True).problem(503)
    assert fake.ask("GET", "/v1/listeners", status=True).status == 200


def test_what_is_asked_for_must_be_known(fake):
    fake.ask("GET", "/v1/listeners?watch=perhaps").problem(400)
    fake.ask("GET", "/v1/listeners?port=1").problem(400)
    fake.ask("POST", "/v1/listeners", {}).problem(405)
    assert fake.ask("HEAD", "/v1/listeners?watch=true").status == 200
