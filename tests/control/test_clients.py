# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that send or read slowly, in crowds, or too much: each is bounded, and none stalls another."""
import json
import socket
import threading
import time

import pytest

from serving import Wire, as_list, request, service

LIMIT_CLIENTS, LIMIT_BODY = 64, 32 << 20
LARGE = {"plain": True, "services": 5000}


def is_well(fake, status=True):
    return fake.ask("GET", "/healthz", status=status).status == 200


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_the_65th_connection_is_told_503_and_the_other_socket_is_not_touched(start):
    fake = start(services=0)
    held = [fake.wire() for _ in range(LIMIT_CLIENTS)]
    assert held[-1].ask("GET", "/healthz").status == 200
    with fake.wire() as wire:
        answer = wire.receive()
        assert answer.problem(503)["detail"] == "too many clients" and answer.headers["retry-after"] == "1"
        assert wire.is_closed()
    assert is_well(fake) and held[0].ask("GET", "/healthz").status == 200
    assert fake.counters()["refusedClients"] == 1
    assert until(lambda: fake.counters()["clients"] == LIMIT_CLIENTS + 1)
    held.pop().close()
    assert until(lambda: fake.counters()["clients"] == LIMIT_CLIENTS)
    assert is_well(fake, status=False)
    for wire in held:
        wire.close()


def test_idle_clients_are_cut_and_counted(start):
    fake = start(services=0, receive_ms=500)
    with fake.wire() as mute, fake.wire() as used:
        assert used.ask("GET", "/healthz").status == 200
        assert mute.is_closed(5) and used.is_closed(5)
    assert fake.counters()["slowSenders"] == 2


@pytest.mark.parametrize("raw", [
    b"GET /v1/services HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 1000,
    request("PUT", "/v1/sources/x", as_list(service("a", labels={"l": "x" * 200}))),
    request("PUT", "/v1/sources/x", content_type="application/json", transfer_encoding="chunked") + b"1\r\n \r\n" * 1000])
def test_a_request_that_trickles_in_is_cut_however_busy_it_looks(start, raw):
    fake = start(services=0, receive_ms=1000)
    with fake.wire() as wire:
        begin = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for byte in raw:
                wire.send(bytes([byte]))
                time.sleep(0.02)
        assert time.monotonic() - begin < 8
    assert fake.counters()["slowSenders"] == 1 and fake.get("/v1/sources")["items"] == []


def test_a_client_that_asks_again_and_again_is_not_idle(start):
    """Its connection is older than the limit, its last answer is not: also when that was this very millisecond."""
    fake = start(services=0, receive_ms=1000)
    with fake.wire() as wire:
        end, asked = time.monotonic() + 4, 0
        while time.monotonic() < end:
            assert wire.ask("GET", "/healthz").status == 200, f"cut after {asked} requests"
            asked += 1
    assert asked > 100 and fake.counters()["slowSenders"] == 0


def test_a_client_that_does_not_read_is_cut_and_counted(start):
    fake = start(answer_s=1, **LARGE)
    with fake.wire() as wire:
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.send(request("GET", "/v1/services"))
        assert is_well(fake)
        assert until(lambda: fake.counters()["slowReaders"] == 1)
        with pytest.raises(AssertionError):
            wire.receive()
    assert is_well(fake, status=False)


def test_a_slow_reader_that_goes_on_reading_gets_all_of_one_state(start):
    """Changes made meanwhile are not in it, and nothing is missing."""
    fake = start(answer_s=2, **LARGE)
    with fake.wire() as wire:
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        wire.send(request("GET", "/v1/services"))
        status, _ = wire.head()
        parts = [wire.chunk()]
        time.sleep(0.5)
        fake.ask("DELETE", "/v1/sources/synthetic")
        assert fake.get("/v1/services")["items"] == []
        time.sleep(0.5)
        parts += list(iter(wire.chunk, b""))
    assert status == 200 and len(json.loads(b"".join(parts))["items"]) == 5000


def test_a_reader_that_goes_away_in_the_middle_harms_nobody(start):
    fake = start(**LARGE)
    for path in ("/v1/services", "/metrics", "/v1/backends", "/v1/sources/synthetic", "/v1/status"):
        for wait in (0, 0.01):
            with fake.wire() as wire:
                wire.send(request("GET", path))
                time.sleep(wait)
                wire.sock.recv(10)
    assert until(lambda: fake.counters()["clients"] == 1)
    assert is_well(fake)


# --- bodies -----------------------------------------------------------------------------------------

def test_a_body_over_32_mib_is_refused_before_it_is_sent(fake):
    with fake.wire() as wire:
        wire.send(request("PUT", "/v1/sources/x", content_type="application/json", content_length=LIMIT_BODY + 1))
        assert "32 MiB" in wire.receive().problem(413)["detail"]


def send_chunks(wire, total):
    part = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    for _ in range(total >> 20):
        wire.send(part)


def test_a_chunked_body_over_32_mib_is_told_413(start):
    fake = start(services=0, plain=True)
    with fake.wire() as wire:
        wire.send(request("PUT", "/v1/sources/x", content_type="application/json", transfer_encoding="chunked"))
        send_chunks(wire, LIMIT_BODY + (2 << 20))
        wire.send(b"0\r\n\r\n")
        wire.receive().problem(413)
    with fake.wire() as wire:
        wire.send(request("PUT", "/v1/sources/x", content_type="application/json", transfer_encoding="chunked"))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(8):
                send_chunks(wire, LIMIT_BODY)
    assert is_well(fake)


def test_a_body_of_32_mib_less_a_little_is_taken(start):
    fake = start(services=0, plain=True)
    body = b'{"apiVersion":"sinew/v1","kind":"List","items":[]' + b" " * (LIMIT_BODY - 60) + b"}"
    assert fake.put("/v1/sources/x", body).json["created"] == 0


def test_all_bodies_together_are_bounded_and_small_ones_have_room(start):
    """Three clients hold 32 MiB each: a fourth large one is told to try again, a small one is served. When they have
    gone, there is room."""
    fake = start(services=0, plain=True)
    head = request("PUT", "/v1/sources/x", content_type="application/json", content_length=LIMIT_BODY)
    piece = b" " * (1 << 20)
    held = [fake.wire() for _ in range(3)]
    for wire in held:
        wire.send(head)
        for _ in range(31):
            wire.send(piece)
    with fake.wire() as fourth:
        fourth.send(head)
        for _ in range(32):
            fourth.send(piece)
        answer = fourth.receive()
        assert answer.problem(503)["detail"] == "too many large requests at once"
    assert fake.put("/v1/services/shop/a", service("a")).status == 201
    for wire in held:
        wire.close()
    assert until(lambda: fake.counters()["clients"] == 1)
    body = b" " * (LIMIT_BODY - 100) + json.dumps(as_list()).encode()
    assert fake.put("/v1/sources/x", body).status == 200


def test_counts_are_bounded(start):
    fake = start(services=0, plain=True)
    many = json.dumps({"kind": "Service", "namespace": "a", "name": "b"}).encode()
    body = b'{"delete":[' + b",".join([many] * 20001) + b"]}"
    assert "20000" in fake.ask("PATCH", "/v1/sources/x", body).problem(422)["detail"]
    items = b",".join([b"{}"] * 20001)
    assert "20000" in fake.ask("PATCH", "/v1/sources/x", b'{"upsert":[' + items + b"]}").problem(422)["detail"]
    body = b'{"apiVersion":"sinew/v1","kind":"List","items":[' + items + b"]}"
    assert "20000" in fake.ask("PUT", "/v1/sources/x", body).problem(422)["detail"]
    for i in range(64):
        fake.put(f"/v1/sources/s{i}", as_list(service(f"a{i}")))
    assert "64" in fake.ask("PUT", "/v1/sources/s64", as_list(service("a64"))).problem(422)["detail"]
    policies = [{"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": f"p{i}"}, "spec": {}}
                for i in range(1024)]
    assert "1023" in fake.ask("PUT", "/v1/sources/s0", as_list(*policies)).problem(422)["detail"]


def test_services_and_backends_are_bounded(start):
    fake = start(services=0, plain=True)
    items = [service(f"s{i}", ()) for i in range(16384)]
    assert "16383" in fake.ask("PUT", "/v1/sources/x", as_list(*items)).problem(422)["detail"]
    assert fake.put("/v1/sources/x", as_list(*items[1:])).json["created"] == 16383
    fake.ask("DELETE", "/v1/sources/x")
    items = [service(f"s{i}", [(f"10.{i}.{k >> 8}.{k & 255}", 1) for k in range(4096)]) for i in range(16)]
    assert "65535" in fake.ask("PUT", "/v1/sources/x", as_list(*items)).problem(422)["detail"]
    assert fake.put("/v1/sources/x", as_list(*items[1:])).json["created"] == 15


# --- nobody stalls another -------------------------------------------------------------------------

class Nuisance(threading.Thread):
    """Does something on a connection again and again until told to stop."""

    def __init__(self, fake, work):
        super().__init__(daemon=True)
        self.fake, self.work, self.ending = fake, work, False

    def run(self):
        while not self.ending:
            try:
                with Wire(self.fake.control, timeout=0.3) as wire:
                    self.work(wire)
            except (OSError, AssertionError):
                pass


NUISANCES = {
    "floods_without_reading": lambda wire: wire.send(request("GET", "/v1/services") * 1000),
    "pipelines": lambda wire: (wire.send(request("GET", "/healthz") * 500), wire.sock.recv(1 << 20)),
    "connects_and_goes": lambda wire: None,
    "sends_garbage": lambda wire: wire.send(b"\x00\xff" * 5000),
    "sends_half_a_body": lambda wire: wire.send(
        request("PUT", "/v1/sources/x", content_type="application/json", content_length=LIMIT_BODY) + b" " * 1000000),
    "scrapes": lambda wire: wire.ask("GET", "/metrics"),
    "subscribes": lambda wire: (wire.send(request("GET", "/v1/events")), wire.head()),
}


@pytest.mark.parametrize("name", NUISANCES)
def test_others_are_served_while_one(start, name):
    """Sixty requests of a polite client beside four threads of a nuisance; each within the second that is promised
    for a change of the daemon's mind, with slack for a loaded machine."""
    fake = start(plain=True, services=2000, events=1000)
    nuisances = [Nuisance(fake, NUISANCES[name]) for _ in range(4)]
    for one in nuisances:
        one.start()
    longest = 0
    with fake.wire() as wire:
        for i in range(60):
            begin = time.monotonic()
            if i % 3:
                assert wire.ask("GET", "/v1/services/shop-3/service-00003").status == 200
            else:
                body = service("polite", (("10.0.0.1", i + 1),))
                assert wire.ask("PUT", "/v1/services/shop/polite", body).status in (200, 201)
            longest = max(longest, time.monotonic() - begin)
    for one in nuisances:
        one.ending = True
    for one in nuisances:
        one.join(20)
    print(f"longest wait {longest * 1e3:.1f} ms")
    assert longest < 3
