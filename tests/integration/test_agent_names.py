# SPDX-License-Identifier: GPL-2.0-or-later
"""Names: what an application asks for by name leads to the service's address, and by it to a backend. The C library, curl
and dig ask as they always do; sinewd knows the services."""
import glob
import os
import re
import shutil
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from harness.agent import Agent
from harness.fixtures import BUILD
from harness.peer import serve_http
from harness.peer_server import in_namespace
from harness.sandbox import SandboxError
from harness.service import put, service

HERE = "127.0.0.153"
PAYMENTS = service("payments", "10.96.0.10", [("10.1.0.1", 8080), ("10.1.0.2", 8080)], namespace="shop")
BOTH = service("both", ["10.96.0.11", "fd96::11"], [("10.1.0.1", 8080)], namespace="default")


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, daemon):
    for address in ("10.1.0.1", "10.1.0.2"):
        sandbox.spawn(serve_http, address, 8080, namespace=namespace)
    daemon.request("PUT", "/v1/sources/manifest", b'{"apiVersion": "sinew/v1", "kind": "List", "items": []}')
    put(daemon, PAYMENTS, BOTH)


@pytest.fixture(name="make")
def make_agents(sandbox, namespace, daemon, request):
    """make(settings) -> an Agent with DNS at the usual place, in the namespace."""
    made = []

    def make(settings=None, name=None, start=True, **more):
        agent = Agent(sandbox, BUILD, daemon, [], name=f"{request.node.name[5:40]}.{name or len(made)}",
                      settings={"dns.address": f"{HERE}:53", **(settings or {})}, namespace=namespace, start=start, **more)
        made.append(agent)
        return agent
    yield make
    for agent in made:
        if agent.child and agent.child.poll() is None:
            assert agent.stop() == 0, agent.log()


@pytest.fixture(name="agent")
def make_agent(make):
    agent = make({"dns.aliases": ["*.service.consul"]})
    agent.wait_ready()
    return agent


@pytest.fixture(name="ask")
def make_ask(namespace):
    def ask(name, kind="A", seconds=8):
        with in_namespace(namespace):
            return dns.query.udp(dns.message.make_query(name, kind), HERE, seconds)
    return ask


def words(answer):
    return sorted(str(record) for rrset in answer.answer for record in rrset)


def until(condition, seconds=5):
    """How long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.002)
    return time.monotonic() - began


@pytest.fixture(name="client")
def make_client(sandbox, namespace, daemon):
    """client(resolv.conf, WORDS...): what a program of a served application says, with this file as /etc/resolv.conf."""
    def run(resolv, *command, seconds=30):
        path = sandbox.write("resolv.conf", resolv)
        nsswitch = sandbox.write("nsswitch.conf", "hosts: files dns\n")
        script = f'mount --bind {path} /etc/resolv.conf && mount --bind {nsswitch} /etc/nsswitch.conf && exec "$@"'
        return sandbox.run(["unshare", "--mount", "sh", "-c", script, "sh", *command], namespace=namespace,
                           cgroup=daemon.cgroup, seconds=seconds)
    return run


RESOLV = f"nameserver {HERE}\n"


def test_a_service_that_was_applied_by_hand_has_its_names(agent, ask):
    for name in ("payments.sinew", "payments.shop.sinew", "payments.service.consul", "PAYMENTS.Shop.Sinew"):
        assert words(ask(name)) == ["10.96.0.10"], name
    assert words(ask("both.sinew")) == ["10.96.0.11"] and words(ask("both.sinew", "AAAA")) == ["fd96::11"]
    assert words(ask("_main._tcp.payments.shop.sinew", "SRV")) == ["0 100 80 payments.shop.sinew."]
    assert words(ask("10.0.96.10.in-addr.arpa", "PTR")) == ["payments.shop.sinew."]
    assert ask("nobody.sinew").rcode() == dns.rcode.NXDOMAIN
    assert ask("example.org").rcode() == dns.rcode.REFUSED
    assert b"[+]dns 2 services\n" in agent.request("GET", "/readyz?verbose")


def test_a_name_comes_and_goes_with_its_service(agent, daemon, ask):
    put(daemon, service("passing", "10.96.0.20", [("10.1.0.1", 8080)], namespace="shop"))
    came = until(lambda: words(ask("passing.sinew")) == ["10.96.0.20"])
    put(daemon, service("passing", "10.96.0.21", [("10.1.0.1", 8080)], namespace="shop"))
    moved = until(lambda: words(ask("passing.sinew")) == ["10.96.0.21"])
    daemon.request("DELETE", "/v1/services/shop/passing")
    gone = until(lambda: ask("passing.sinew").rcode() == dns.rcode.NXDOMAIN)
    print(f"there after {came * 1000:.0f} ms, moved after {moved * 1000:.0f} ms, gone after {gone * 1000:.0f} ms")
    assert max(came, moved, gone) < 1


def test_backends_that_change_do_not_change_the_answer(agent, daemon, ask):
    updates = agent.request("GET", "/metrics").decode()
    for number in range(1, 20):
        put(daemon, service("payments", "10.96.0.10", [("10.1.0.1", 8080), ("10.1.0.2", 8080, number)], namespace="shop"))
        assert words(ask("payments.sinew")) == ["10.96.0.10"]
    time.sleep(0.3)
    counted = re.compile(r"^sinew_dns_updates_total \d+$", re.MULTILINE)
    assert counted.findall(agent.request("GET", "/metrics").decode()) == counted.findall(updates)
    put(daemon, PAYMENTS)


def test_the_c_library_finds_a_service(agent, client):
    assert client(RESOLV, "getent", "hosts", "payments.sinew").split() == ["10.96.0.10", "payments.sinew"]
    assert client(RESOLV, "getent", "ahostsv4", "both.default.sinew").splitlines()[0].split()[:2] == ["10.96.0.11", "STREAM"]
    assert client(RESOLV, "getent", "ahostsv6", "both.default.sinew").split()[0] == "fd96::11"
    assert client(RESOLV + "search sinew\n", "getent", "hosts", "payments").split()[0] == "10.96.0.10"
    assert client(RESOLV, "getent", "hosts", "10.96.0.10").split() == ["10.96.0.10", "payments.shop.sinew"]
    with pytest.raises(SandboxError):
        client(RESOLV, "getent", "hosts", "nobody.sinew")


def test_curl_by_name_reaches_a_backend(agent, client):
    answers = [client(RESOLV, "curl", "-s", "--max-time", "5", "http://payments.sinew/") for _ in range(20)]
    assert set(answers) == {"10.1.0.1", "10.1.0.2"}


def test_a_program_of_python_reaches_a_backend(agent, client):
    code = "import urllib.request as u; print(u.urlopen('http://payments.shop.sinew/', timeout=5).read().decode())"
    assert client(RESOLV, "/usr/bin/python3", "-c", code).strip() in ("10.1.0.1", "10.1.0.2")


def test_names_lead_where_they_led_while_sinewd_is_away(make, daemon, ask):
    agent = make()
    agent.wait_ready()
    time.sleep(3.5)  # it keeps what it knows in a file every three seconds
    daemon.kill()
    try:
        time.sleep(1)
        assert words(ask("payments.sinew")) == ["10.96.0.10"]
        agent.kill()
        agent.start()
        assert words(ask("payments.sinew")) == ["10.96.0.10"], "after its own restart, too"
        assert b"[+]dns 2 services" in b"".join(not_ready(agent))
    finally:
        daemon.start()
    put(daemon, service("late", "10.96.0.30", [("10.1.0.1", 8080)], namespace="shop"))
    until(lambda: words(ask("late.sinew")) == ["10.96.0.30"])
    daemon.request("DELETE", "/v1/services/shop/late")


def not_ready(agent):
    try:
        yield agent.request("GET", "/readyz?verbose")
    except SandboxError as error:
        yield str(error).replace("\\n", "\n").encode()


def test_what_is_not_known_yet_is_not_denied(make, daemon, ask):
    """A denial would be remembered by whoever asked."""
    daemon.kill()
    try:
        agent = make()
        for name in ("payments.sinew", "nobody.sinew"):
            assert ask(name).rcode() == dns.rcode.SERVFAIL
        assert b"[-]dns 0 services" in b"".join(not_ready(agent))
    finally:
        daemon.start()
    until(lambda: words(ask("payments.sinew")) == ["10.96.0.10"])
    assert ask("nobody.sinew").rcode() == dns.rcode.NXDOMAIN


def test_other_names_go_to_resolvers(make, sandbox, namespace, ask, client):
    dnsmasq = shutil.which("dnsmasq", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not dnsmasq:
        pytest.skip("dnsmasq is not installed: scripts/deps peers")
    server = sandbox.start([dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                            "--user=root", "--pid-file=", "--bind-interfaces", "--listen-address=127.0.0.99", "--port=53",
                            "--address=/example.org/10.1.0.3"], namespace=namespace)
    make({"dns.forward": ["127.0.0.98", "127.0.0.99:53"]}).wait_ready()
    until(lambda: words(ask("www.example.org")) == ["10.1.0.3"])
    assert words(ask("payments.sinew")) == ["10.96.0.10"]
    assert client(RESOLV, "getent", "hosts", "www.example.org").split()[0] == "10.1.0.3"
    server.kill()
    server.wait()
    assert ask("www.example.org").rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize("settings,said", [
    ({"dns.address": "0.0.0.0:53"}, 'dns.address is "0.0.0.0:53", expected a loopback address'),
    ({"dns.address": "10.1.0.1:53"}, "expected a loopback address"),
    ({"dns.address": "localhost"}, "expected a loopback address"),
    ({"dns.domain": "Sinew."}, 'dns.domain is "Sinew.", expected a domain in lower case'),
    ({"dns.aliases": ["service.consul"]}, 'dns.aliases is "service.consul", expected *.DOMAIN'),
    ({"dns.aliases": [f"*.a{n}" for n in range(17)]}, "expected at most 16 of them"),
    ({"dns.forward": ["dns.example"]}, 'dns.forward is "dns.example", expected refuse, or addresses'),
    ({"dns.forward": ["10.0.0.2", "refuse"]}, 'dns.forward is "refuse", expected refuse, or addresses'),
    ({"dns.forward": [f"10.0.0.{n}" for n in range(1, 10)]}, "expected at most 8 resolvers"),
    ({"dns.forward": [HERE]}, "expected somebody else than this agent itself"),
    ({"dns.ttl": "2d"}, "dns.ttl is "),
])
def test_a_setting_that_makes_no_sense_is_told(make, settings, said):
    agent = make(settings, start=False)
    child = agent.sandbox.start(agent.command() + ["--check"])
    assert child.wait(10) == 2
    with open(child.log, encoding="utf-8") as f:
        assert said in f.read()


def test_a_port_that_is_taken_is_told(make, agent):
    other = make(name="other", start=False)
    child = agent.sandbox.start(other.command(), namespace=other.namespace)
    assert child.wait(10) == 1
    with open(child.log, encoding="utf-8") as f:
        assert f"cannot answer DNS at {HERE}:53: Address already in use" in f.read()


def test_it_answers_at_the_other_loopback_address_as_well(make, namespace):
    make({"dns.address": "[::1]:53"}).wait_ready()
    with in_namespace(namespace):
        for name, kind, want in (("payments.sinew", "A", "10.96.0.10"), ("sinew", "AAAA", "::1")):
            assert words(dns.query.udp(dns.message.make_query(name, kind), "::1", 5)) == [want]
            assert words(dns.query.tcp(dns.message.make_query(name, kind), "::1", 5)) == [want]


def test_it_closes_all_that_it_opened(make):
    agent = make({"dns.forward": ["10.1.0.3"]})
    agent.wait_ready()
    kept = glob.glob(os.path.join(agent.state, "*"))
    assert agent.stop() == 0
    assert sorted(glob.glob(os.path.join(agent.state, ".*"))) != [] and kept == []
