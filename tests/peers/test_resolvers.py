# SPDX-License-Identifier: GPL-2.0-or-later
"""The resolvers that hosts have, told of the agent as sinew-agent(8) says: an application that asks the C library gets the
service's address, and the names of the rest of the world as before."""
import os
import re

import pytest

from harness.agent import Agent
from harness.fixtures import BUILD
from harness.life import eventually
from harness.peer import need, serve_http
from harness.peer_resolved import Resolved
from harness.sandbox import SandboxError
from harness.service import put, service

AGENT = "127.0.0.153"
OUTSIDE = "10.77.0.1"  # another name server, at a link
MANUAL = os.path.join(os.path.dirname(__file__), "..", "..", "userspace", "man", "sinew-agent.8.scd")


def manual(pattern):
    """Configuration as it is written in the manual."""
    with open(MANUAL, encoding="utf-8") as f:
        return re.search(pattern, f.read(), re.DOTALL).group(1).replace("\\", "")


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, daemon):
    """The service, the agent, and a name server for the rest of the world, reached by a link."""
    sandbox.spawn(serve_http, "10.1.0.1", 8080, namespace=namespace)
    put(daemon, service("payments", "10.96.0.10", [("10.1.0.1", 8080)], namespace="shop"))
    namespace.run(["ip", "link", "add", "outer", "type", "veth", "peer", "name", "inner"])
    namespace.run(["ip", "address", "add", "10.77.0.2/24", "dev", "outer"])
    namespace.run(["ip", "address", "add", f"{OUTSIDE}/32", "dev", "lo"])
    for name in ("outer", "inner"):
        namespace.run(["ip", "link", "set", name, "up"])
    sandbox.start([need("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                   "--user=root", "--pid-file=", "--bind-interfaces", f"--listen-address={OUTSIDE}",
                   "--address=/example.org/10.1.0.3", "--ptr-record=3.0.1.10.in-addr.arpa,www.example.org"],
                  namespace=namespace)
    agent = Agent(sandbox, BUILD, daemon, [], namespace=namespace,
                  settings={"dns.address": f"{AGENT}:53", "dns.aliases": ["*.service.consul"]})
    agent.wait_ready()


@pytest.fixture(name="client")
def make_client(sandbox, namespace, daemon):
    def run(nameserver, *command):
        path = sandbox.write("resolv.conf", f"nameserver {nameserver}\noptions timeout:2 attempts:2\n")
        nsswitch = sandbox.write("nsswitch.conf", "hosts: files dns\n")
        script = f'mount --bind {path} /etc/resolv.conf && mount --bind {nsswitch} /etc/nsswitch.conf && exec "$@"'
        return sandbox.run(["unshare", "--mount", "sh", "-c", script, "sh", *command], namespace=namespace,
                           cgroup=daemon.cgroup, seconds=30)
    return run


def found(client, nameserver, name):
    try:
        return client(nameserver, "getent", "ahostsv4", name).split()[0]
    except SandboxError:
        return None


def check(client, nameserver):
    assert eventually(lambda: found(client, nameserver, "payments.sinew") == "10.96.0.10", 10)
    assert found(client, nameserver, "payments.shop.sinew") == "10.96.0.10"
    assert found(client, nameserver, "payments.service.consul") == "10.96.0.10"
    assert found(client, nameserver, "nobody.sinew") is None
    assert found(client, nameserver, "www.example.org") == "10.1.0.3"
    assert client(nameserver, "curl", "-s", "--max-time", "5", "http://payments.sinew/") == "10.1.0.1"


def test_systemd_resolved(sandbox, namespace, client):
    index = sandbox.run(["ip", "-o", "link", "show", "outer"], namespace=namespace).split(":")[0]
    conf = manual(r"```\n(\[Resolve\]\n.*?)```")
    assert f"DNS={AGENT}" in conf
    server = Resolved(sandbox, conf, {index: OUTSIDE}, namespace=namespace)
    check(client, server.ADDRESS)
    server.stop()


def test_dnsmasq(sandbox, namespace, client):
    line = manual(r"\*dnsmasq\*\(8\): \*(server=[^*]*)\*")
    assert line == f"server=/sinew/{AGENT}"
    child = sandbox.start([need("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                           "--user=root", "--pid-file=", "--bind-interfaces", "--listen-address=127.0.0.88", f"--{line}",
                           f"--{line.replace('sinew', 'service.consul')}", f"--server={OUTSIDE}"], namespace=namespace)
    check(client, "127.0.0.88")
    child.kill()
    child.wait()


ANCHOR = ". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"  # the root's


def test_unbound(sandbox, namespace, client):
    """As distributions set it up: it validates, and here it also filters private addresses. What the manual says is needed
    for all of that; names of the rest of this world are as it would have them, too."""
    program = need("unbound")
    said = manual(r"\*unbound\*\(8\): (.*?)\n\n")
    stub, address = re.search(r"\*name: (\S+)\* and \*stub-addr: (\S+)\*", said).groups()
    switches = re.findall(r"\*((?:do-not|domain-insecure|private-domain)[^*]*)\*", said)
    assert (stub, address) == ("sinew", AGENT) and len(switches) == 3
    others = [f"{line.split()[0]} {name}" for line in switches[1:] for name in ("service.consul", "example.org")]
    lines = "\n".join(f"  {line}" for line in switches + others)
    conf = sandbox.write("unbound.conf", f"""server:
  interface: 127.0.0.87
  username: ""
  chroot: ""
  directory: "{sandbox.tmp}"
  use-syslog: no
  pidfile: ""
  module-config: "validator iterator"
  trust-anchor: "{ANCHOR}"
  private-address: 10.0.0.0/8
  access-control: 127.0.0.0/8 allow
{lines}
stub-zone:
  name: {stub}
  stub-addr: {address}
stub-zone:
  name: service.consul
  stub-addr: {address}
forward-zone:
  name: "."
  forward-addr: {OUTSIDE}
""")
    child = sandbox.start([program, "-d", "-c", conf], namespace=namespace)
    check(client, "127.0.0.87")
    child.kill()
    child.wait()


def test_the_agent_itself_as_the_only_one(sandbox, namespace, daemon, client):
    agent = Agent(sandbox, BUILD, daemon, [], name="only", namespace=namespace, settings={
        "dns.address": "127.0.0.154:53", "dns.aliases": ["*.service.consul"], "dns.forward": [OUTSIDE]})
    agent.wait_ready()
    check(client, "127.0.0.154")
    assert client("127.0.0.154", "getent", "hosts", "10.1.0.3").split() == ["10.1.0.3", "www.example.org"]
    assert agent.stop() == 0
