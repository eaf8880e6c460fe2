# SPDX-License-Identifier: GPL-2.0-or-later
"""Backends set aside by hand: who may, what is answered, and what is told of each mistake."""
import pytest

from serving import service

AT = "/v1/services/shop/payments/endpoints/"


@pytest.fixture(scope="module")
def held(request):
    """payments: 10.0.0.5:8080, fd00::5:8080, and 10.0.0.6:8080 that is not in the kernel."""
    from serving import Fake
    one = Fake(services=0)
    one.put("/v1/services/shop/payments", service("payments", (("10.0.0.5", 8080), ("fd00::5", 8080),
                                                                ("10.0.0.6", 8080, 1))))
    yield one
    one.stop()


@pytest.mark.parametrize("verb", ["eject", "drain", "restore"])
@pytest.mark.parametrize("endpoint", ["10.0.0.5", "10.0.0.5:8080", "fd00::5", "%5Bfd00::5%5D:8080"])
def test_each_verb_takes_an_address_with_or_without_a_port(held, verb, endpoint):
    for _ in range(2):  # asked twice, the same is answered
        answer = held.ask("POST", AT + endpoint + "/" + verb)
        assert answer.status == 200, answer.body
        said = answer.json
        assert said["kind"] == "HoldResult" and said["backends"] == 1
        assert (said["namespace"], said["service"]) == ("shop", "payments")
        assert said["address"] in ("10.0.0.5", "fd00::5") and said.get("port", 8080) == 8080


@pytest.mark.parametrize("path, status, words", [
    ("/v1/services/shop/nobody/endpoints/10.0.0.5/eject", 404, "there is no service shop/nobody"),
    (AT + "10.0.0.99/eject", 404, "no endpoint 10.0.0.99"),
    (AT + "10.0.0.5:81/drain", 404, "no endpoint 10.0.0.5:81"),
    (AT + "10.0.0.300/eject", 400, "ADDRESS:PORT"),
    (AT + "x/restore", 400, "ADDRESS:PORT"),
    (AT + "10.0.0.6/eject", 409, "not in the kernel"),
    (AT + "10.0.0.6/restore", 409, "not in the kernel"),
    (AT + "10.0.0.5/eject?for=x", 400, "duration"),
    (AT + "10.0.0.5/eject?for=600", 400, "duration"),
    (AT + "10.0.0.5/eject?for=-1s", 400, "duration"),
    (AT + "10.0.0.5/drain?for=99999d", 400, "366d"),
    (AT + "10.0.0.5/eject?reason=" + "x" * 201, 400, "200 characters"),
    (AT + "10.0.0.5/eject?reason=%0A", 400, ""),
    (AT + "10.0.0.5/eject?reason=%C3%28", 400, "UTF-8"),
    (AT + "10.0.0.5/eject?reason=" + "%80" * 300, 400, "UTF-8"),
    (AT + "10.0.0.5/restore?for=1m", 400, "for"),
    (AT + "10.0.0.5/kill", 404, "nothing at this path"),
])
def test_a_mistake_is_told(held, path, status, words):
    assert words in held.ask("POST", path).problem(status)["detail"]


def test_only_the_control_socket_may(held):
    assert "only reads" in held.ask("POST", AT + "10.0.0.5/eject", status=True).problem(403)["detail"]
    assert held.ask("GET", AT + "10.0.0.5/eject").problem(405)


def test_it_is_told_to_those_who_listen(held):
    assert held.ask("POST", AT + "10.0.0.5/eject?reason=leaks%20memory&for=0").status == 200
    told = held.ask("GET", "/v1/events?recent=50").body
    assert b'"type":"backend.held"' in told and b"leaks memory" in told


def test_a_client_that_leaves_before_the_answer_is_no_trouble(start):
    one = start(services=0, ack_ms=200)
    one.put("/v1/services/shop/payments", service("payments"))
    from serving import request
    for _ in range(5):
        with one.wire() as wire:
            wire.send(request("POST", AT + "10.0.0.5/eject"))
    assert one.ask("POST", AT + "10.0.0.5/restore").status == 200
