# SPDX-License-Identifier: GPL-2.0-or-later
"""Redis behind one address: a protocol that is not HTTP, and connections that stay."""
import pytest

from harness.peer import Ledger, check, need
from harness.service import put, service

TIMES = 40
BACKENDS = ("10.1.0.1", "10.1.0.2", "10.1.0.3")
ADDRESS, PORT = "10.96.0.60", 6379


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, daemon):
    server, cli = need("redis-server"), need("redis-cli")
    for address in BACKENDS:
        sandbox.start([server, "--bind", address, "--port", str(PORT), "--save", "", "--appendonly", "no",
                       "--protected-mode", "no", "--dir", sandbox.tmp], namespace=namespace)
        sandbox.run(["sh", "-c", f"until {cli} -h {address} SET who {address}; do sleep 0.05; done"],
                    namespace=namespace, seconds=20)
    put(daemon, service("redis", ADDRESS, [(address, PORT) for address in BACKENDS], port=PORT))


def test_redis_cli(daemon, client):
    with Ledger(daemon, "redis") as ledger:
        said = "".join(client(need("redis-cli"), "-h", ADDRESS, "GET", "who") for _ in range(TIMES))
    check(said, ledger, TIMES, BACKENDS)


def test_one_connection_stays_with_its_backend(daemon, client):
    with Ledger(daemon, "redis") as ledger:
        said = client(need("redis-cli"), "-h", ADDRESS, "-r", "200", "GET", "who").split()
    assert len(said) == 200 and len(set(said)) == 1
    assert ledger.counted == {"attempts": 1, "connected": 1, said[0]: 1}


def test_redis_benchmark_keeps_fifty_connections(daemon, client):
    with Ledger(daemon, "redis") as ledger:
        said = client(need("redis-benchmark"), "-h", ADDRESS, "-c", "50", "-n", "5000", "-t", "get", "--csv")
    assert '"GET"' in said
    assert ledger.counted["attempts"] == ledger.counted["connected"] >= 50
    assert all(ledger.counted[address] > 0 for address in BACKENDS)
