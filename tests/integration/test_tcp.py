# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP connect() through a service address, on real sockets."""
import pytest

from harness.service import ask_tcp, ask_tcp_often, put, serve_tcp, service


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, daemon):
    ends = [("10.1.0.1", 8080, 200), ("10.1.0.2", 8080, 100), ("10.1.0.3", 8080, 100)]
    for address, port, _ in ends:
        sandbox.spawn(serve_tcp, address, port, namespace=namespace)
    put(daemon, service("weighted", "10.96.0.10", ends))


def test_connect_reaches_every_backend_by_weight(inside):
    seen = inside(ask_tcp_often, "10.96.0.10", 80, 400)
    assert sorted(seen) == ["10.1.0.1", "10.1.0.2", "10.1.0.3"]
    assert 150 < seen["10.1.0.1"] < 250


def test_getpeername_is_the_service_address(inside):
    _, peer = inside(ask_tcp, "10.96.0.10", 80)
    assert peer == ("10.96.0.10", 80)
