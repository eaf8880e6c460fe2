# SPDX-License-Identifier: GPL-2.0-or-later
"""The Docker source against an engine that misbehaves: what it had said stays, it is told, and nobody is stormed."""
import json
import re
import time

import pytest

from harness.fake_docker import FakeDocker, container, event
from harness.follow import Follow

ONE, TWO = ["127.0.0.1:8001"], ["127.0.0.1:8001", "127.0.0.1:8002"]


@pytest.fixture(name="fake")
def make_fake(tmp_path):
    fake = FakeDocker(str(tmp_path))
    fake.containers = [container("a", 8001)]
    yield fake
    fake.close()


def follow(fake, **keys):
    return Follow("docker", address=f"unix://{fake.socket}", nodeAddress="127.0.0.1", **keys)


def grow(fake, told):
    """It is followed as before."""
    fake.containers = [container("a", 8001), container("b", 8002)]
    fake.tell(event("start", "b", 5))
    told.wait_ends("default/pay", *TWO)


@pytest.mark.parametrize("status, error", ((500, "failed"), (503, "overloaded"), (403, "forbidden"), (404, "missing"),
                                           (302, "garbage")))
def test_a_list_that_fails_takes_nothing_away(fake, status, error):
    with follow(fake) as told:
        told.wait_ends("default/pay", *ONE)
        fake.answers["containers/json"] = lambda handler: (status, b'{"message": "because of the test"}')
        fake.tell(event("start", "b", 5))
        assert "because of the test" in told.wait_error(error)["text"]
        assert told.ends("default/pay") == ONE
        del fake.answers["containers/json"]
        grow(fake, told)


@pytest.mark.parametrize("body", (b"", b"{}", b"[{", b"null", b"\xff", b"[" * 100000, b'{"message": "x"}'),
                         ids=("nothing", "object", "half", "null", "bytes", "deep", "message"))
def test_a_list_that_is_none_takes_nothing_away(fake, body):
    with follow(fake) as told:
        told.wait_ends("default/pay", *ONE)
        fake.answers["containers/json"] = lambda handler: (200, body)
        fake.tell(event("start", "b", 5))
        told.wait_error("garbage")
        assert told.ends("default/pay") == ONE
        del fake.answers["containers/json"]
        grow(fake, told)


def test_half_a_list_takes_nothing_away(fake):
    def half(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'[]')
        handler.close_connection = True
    with follow(fake) as told:
        told.wait_ends("default/pay", *ONE)
        fake.answers["containers/json"] = half
        fake.tell(event("start", "b", 5))
        told.wait(lambda me: any(s["error"] not in ("ok",) for s in me.statuses))
        assert told.ends("default/pay") == ONE


@pytest.mark.parametrize("version, error", (("1.24", "failed"), ("1.39", "failed"), (None, "garbage"), ("x", "garbage"),
                                            ("2.1", "failed"), ("1.41/../x", "garbage")))
def test_an_engine_of_another_kind_is_told(fake, version, error):
    fake.version = version
    with follow(fake) as told:
        told.wait_error(error)
        assert not told.snapshots and not fake.count("containers")


def test_a_newer_engine_is_asked_as_it_wants(fake):
    fake.version = "1.52"
    with follow(fake) as told:
        told.wait_ends("default/pay", *ONE)
    assert fake.count("/v1.52/containers/json")


def test_events_that_end_at_once_make_no_storm(fake):
    fake.answers["events"] = lambda handler: (200, b"")
    with follow(fake) as told:
        told.wait_ends("default/pay", *ONE)
        time.sleep(3)
        assert fake.count("/events") <= 8, fake.asked
        assert told.ends("default/pay") == ONE


def test_an_engine_that_refuses_makes_no_storm(fake):
    fake.answers["ping"] = lambda handler: (500, b"")
    with follow(fake) as told:
        told.wait_error("failed")
        time.sleep(3)
        assert fake.count("/_ping") <= 12
        del fake.answers["ping"]
        told.wait_ends("default/pay", *ONE)


@pytest.mark.parametrize("line", (b"no json\n", b"[]\n", b"{}\n", b'{"Type": 3}\n', b"x" * (2 << 20)),
                         ids=("text", "list", "empty", "number", "endless"))
def test_an_event_that_cannot_be_understood_begins_anew(fake, line):
    with follow(fake) as told:
        told.wait_ends("default/pay", *ONE)
        fake.containers = [container("a", 8001), container("b", 8002)]
        fake.tell(line)
        told.wait_error("garbage")
        told.wait_ends("default/pay", *TWO)


def test_events_in_pieces_are_put_together(fake):
    with follow(fake) as told:
        told.wait_ends("default/pay", *ONE)
        fake.containers = [container("a", 8001), container("b", 8002)]
        for byte in b"\n" + event("start", "b", 5):
            fake.tell(bytes([byte]))
        told.wait_ends("default/pay", *TWO)


def test_it_goes_on_from_the_last_event(fake):
    with follow(fake) as told:
        told.wait_ends("default/pay", *ONE)
        fake.tell(event("start", "a", 1_700_000_000_000_000_007))
        told.wait(lambda me: len(me.snapshots) > 1)
        fake.end_streams()
        told.wait(lambda me: fake.count("/events") > 1)
        time.sleep(0.1)
    since = re.search(r"since=([0-9.]+)", [path for _, path in fake.asked if "/events" in path][1]).group(1)
    assert since == "1700000000.000000007"


def test_one_that_died_is_gone_though_a_list_still_has_it(fake):
    fake.containers = [container("a", 8001), container("b", 8002)]
    with follow(fake) as told:
        told.wait_ends("default/pay", *TWO)
        fake.tell(event("die", "b", 5))
        told.wait_ends("default/pay", *ONE)
        fake.tell(event("start", "b", 6))
        told.wait_ends("default/pay", *TWO)
        # A list counts again after a while: the event of a start may be lost.
        fake.tell(event("die", "b", 7))
        told.wait_ends("default/pay", *ONE)
        time.sleep(5.1)
        fake.tell(event("update", "a", 8))
        told.wait_ends("default/pay", *TWO)


def test_without_networks_in_the_list_each_is_inspected_once(fake):
    def inspected(handler):
        identity = handler.path.split("/")[-2]
        if identity == "gone":
            return 404, b'{"message": "no such container"}'
        return 200, (b'{"Id": "%s", "Name": "%s", "State": {"Status": "running"}, "HostConfig": {"NetworkMode": "host"}, '
                     b'"Config": {"Labels": {"sinew.service": "pay", "sinew.port": "8001"}}}' %
                     (identity.encode(), identity.encode()))
    fake.containers = [{"Id": name, "State": "running", "Labels": {"sinew.service": "pay", "sinew.port": "8001"}}
                       for name in ("a", "gone")] + [{"Id": "stranger", "State": "running", "Labels": {}}]
    fake.answers["containers/*"] = lambda handler: inspected(handler) if handler.path.count("/") == 4 else (
        200, json.dumps(fake.containers).encode())
    with follow(fake) as told:
        told.wait_ends("default/pay", *ONE)
        assert fake.count("/containers/a/json") == 1 and fake.count("/containers/stranger/json") == 0
        count = len(told.snapshots)
        fake.tell(event("start", "other", 5))
        told.wait(lambda me: len(me.snapshots) > count)
        assert fake.count("/containers/a/json") == 1
        fake.tell(event("update", "a", 6))
        told.wait(lambda me: fake.count("/containers/a/json") == 2)


def test_a_silent_engine_is_told_and_its_word_kept(fake):
    def silent(handler):
        time.sleep(14)
        return 200, b"[]"
    with follow(fake) as told:
        told.wait_ends("default/pay", *ONE)
        fake.answers["containers/json"] = silent
        fake.tell(event("start", "b", 5))
        told.wait_error("timed_out", 14)
        assert told.ends("default/pay") == ONE


def test_a_lost_event_costs_time_alone(fake):
    with follow(fake, interval="1s") as told:
        told.wait_ends("default/pay", *ONE)
        fake.containers = [container("a", 8001), container("b", 8002)]
        told.wait_ends("default/pay", *TWO, seconds=4)


def test_many_events_are_few_lists(fake):
    with follow(fake) as told:
        told.wait_ends("default/pay", *ONE)
        for n in range(2000):
            fake.tell(event("start", "a", 10 + n))
        time.sleep(2)
        assert told.ends("default/pay") == ONE
        assert fake.count("/containers/json") < 120


@pytest.mark.parametrize("address", ("unix://relative", "ftp://host", "/var/run/docker.sock"))
def test_an_address_that_is_none_is_refused(address):
    told = Follow("docker", address=address)
    told.wait(lambda me: any(line["say"] == "refused" for line in me.lines))
    told.stop(check=False)


def test_a_second_look_is_a_list_that_is_said_though_nothing_is_new(fake):
    with follow(fake) as told:
        told.wait_ends("default/pay", *ONE)
        fake.containers = []  # and no event
        until_look(told)
        told.wait(lambda _: told.since_look()[:1] == ["snapshot"])
        until_look(told)
        told.wait(lambda _: told.since_look()[:1] == ["snapshot"])


def until_look(told):
    told.wait(lambda me: me.lines)
    end = time.monotonic() + 10
    while not told.look():
        assert time.monotonic() < end
