# SPDX-License-Identifier: GPL-2.0-or-later
"""DNS servers behind one address, over UDP: real resolvers ask them by sockets that are connected, and by sockets that
are not and that take no answer from a stranger."""
import os

import pytest

from harness.peer import Ledger, check, need
from harness.service import put, service

HERE = os.path.dirname(os.path.abspath(__file__))
TIMES = 40
BACKENDS = ("10.1.0.1", "10.1.0.2", "10.1.0.3")
ADDRESS, NAME = "10.96.0.53", "who.test"


def start_dnsmasq(sandbox, namespace, address, port, *words, cgroup=None):
    program = need("dnsmasq")
    child = sandbox.start([program, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                           "--user=root", "--pid-file=", "--bind-interfaces", f"--listen-address={address}",
                           f"--port={port}", "--cache-size=0", *words], namespace=namespace, cgroup=cgroup)
    # Asked from outside the served cgroup, so nothing of it is counted.
    sandbox.run([need("dig"), "+short", "+tries=20", "+time=1", f"@{address}", "-p", str(port), NAME],
                namespace=namespace)
    return child


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, daemon):
    for address in BACKENDS:
        start_dnsmasq(sandbox, namespace, address, 53, f"--address=/{NAME}/{address}")
    put(daemon, service("dns", ADDRESS, [(address, 53) for address in BACKENDS], port=53, protocol="UDP"))


def test_go_resolver(daemon, client, go_client):
    with Ledger(daemon, "dns") as ledger:
        said = client(go_client, "dns", f"{ADDRESS}:53", NAME, str(TIMES))
    check(said, ledger, TIMES, BACKENDS, (ADDRESS, 53))


def test_node_resolver(daemon, client):
    with Ledger(daemon, "dns") as ledger:
        said = client(need("node"), os.path.join(HERE, "client.mjs"), "dns", f"{ADDRESS}:53", NAME, str(TIMES))
    check(said, ledger, TIMES, BACKENDS)


def test_dig(daemon, client):
    """It says which server an answer came from."""
    dig, said = need("dig"), ""
    with Ledger(daemon, "dns") as ledger:
        for _ in range(TIMES):
            words = client(dig, "+noall", "+answer", "+identify", "+short", f"@{ADDRESS}", NAME).split()
            said += f"{words[0]} {words[words.index('server') + 1]}:53\n"
    check(said, ledger, TIMES, BACKENDS, (ADDRESS, 53))


def test_libc_resolver(sandbox, daemon, client):
    """getaddrinfo() of whatever libc this is, by /etc/resolv.conf."""
    conf = sandbox.write("resolv.conf", f"nameserver {ADDRESS}\noptions timeout:2 attempts:2\n")
    script = "mount --bind $0 /etc/resolv.conf && for i in $(seq $1); do getent ahostsv4 $2 | head -n 1; done"
    with Ledger(daemon, "dns") as ledger:
        said = client("unshare", "--mount", "sh", "-c", script, conf, str(TIMES), NAME)
    answers = "\n".join(line.split()[0] for line in said.splitlines())
    check(answers, ledger, TIMES, BACKENDS)


UNCONNECTED = """
import sys, dns.message, dns.query
for _ in range(int(sys.argv[3])):
    asked = dns.message.make_query(sys.argv[2], "A")
    # Takes an answer only from the address that was asked, and says so otherwise.
    answer = dns.query.udp(asked, sys.argv[1], timeout=5, ignore_unexpected=False)
    print(answer.answer[0][0])
"""


def test_dnspython_which_does_not_connect(daemon, client):
    if client("/usr/bin/python3", "-c", "import importlib.util; print(importlib.util.find_spec('dns'))") == "None\n":
        pytest.skip("python3-dnspython is not installed: scripts/deps peers")
    answers = client("/usr/bin/python3", "-c", UNCONNECTED, ADDRESS, NAME, str(TIMES)).split()
    assert len(answers) == TIMES and sorted(set(answers)) == sorted(BACKENDS)


def test_dnsmasq_forwards_to_a_service(sandbox, namespace, daemon):
    """A forwarder asks by one unconnected socket after another, and drops answers that no server of its list sent."""
    child = start_dnsmasq(sandbox, namespace, "127.0.0.1", 5300, f"--server={ADDRESS}", cgroup=daemon.cgroup)
    answers = [sandbox.run([need("dig"), "+short", "+tries=1", "+time=5", "@127.0.0.1", "-p", "5300", NAME],
                           namespace=namespace).strip() for _ in range(TIMES)]
    child.kill()
    child.wait()
    assert set(answers) <= set(BACKENDS) and len(set(answers)) > 1
