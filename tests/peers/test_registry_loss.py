# SPDX-License-Identifier: GPL-2.0-or-later
"""What a registry may not do, whichever it is: a workload connects to a service all the time, while the real server behind it
is cut off, lies, loses its data or comes back with old ones. No connect to a live backend fails, and what it says when it is
well again holds within five seconds."""
import threading
import time

import pytest

from harness.agent import Agent
from harness.fixtures import BUILD
from harness.life import FULL
from harness.proxy import Proxy
from harness.publisher import KINDS
from harness.sandbox import SandboxError
from harness.service import connect_errno, serve_tcp

KNOWN = {"a": ("10.1.0.1", 8080), "b": ("10.1.0.2", 8080), "c": ("10.1.0.3", 8080), "d": ("10.1.0.4", 8080)}
GONE_SECONDS = 60 if FULL else 3
STALE_SECONDS = 2
HEALED_SECONDS = 5


def connect_all_the_time(address, seconds):
    """(connects, [errno of each that failed])"""
    end, times, failed = time.monotonic() + seconds, 0, []
    while time.monotonic() < end:
        error = connect_errno(address, 80)
        times += 1
        if error:
            failed.append(error)
        time.sleep(0.002)
    return times, failed


class Case:
    """A registry with a to d, a proxy before it, an agent that follows it, and servers at all four."""

    def __init__(self, kind, sandbox, namespace, daemon):
        self.sandbox, self.namespace, self.daemon = sandbox, namespace, daemon
        more = {"persistent": True} if kind == "consul" else {}
        self.publisher = KINDS[kind](sandbox, KNOWN, name=f"pay-{kind}", namespace=namespace, **more)
        self.proxy = Proxy(self.publisher.server.port, namespace)
        self.publisher.publish("a")
        self.old = hasattr(self.publisher.server, "save") and kind != "eureka"
        follow = {"name": "here", "staleAfter": f"{STALE_SECONDS}s", **self.publisher.follow(self.proxy.port)}
        if self.old:  # only a was there then
            self.publisher.server.save()
            self.publisher.server.start()
        self.publisher.publish("a", "b", "c", "d")
        self.agent = Agent(sandbox, BUILD, daemon, [follow], name=f"agent-{kind}", namespace=namespace)
        self.expect("abcd", 20)
        self.address = self.agent.service(self.publisher.name, "shop")["status"]["addresses"][0]

    def expect(self, names, seconds=HEALED_SECONDS):
        """Exactly these, none of them suspect."""
        wanted = {f"{KNOWN[one][0]}:{KNOWN[one][1]}" for one in names}

        def right():
            found = self.agent.endpoints(self.publisher.name, "shop")
            return set(found) == wanted and not any(one.get("suspect") for one in found.values())
        began = time.monotonic()
        try:
            self.agent.wait(right, seconds)
        except SandboxError as error:
            raise SandboxError(f"{self.agent.endpoints(self.publisher.name, 'shop')}, expected {names}; "
                               f"{self.agent.registry('here')}; {error}") from None
        return time.monotonic() - began

    def connecting(self, seconds, meanwhile):
        """Connects all the time while meanwhile() runs, and then up to `seconds` in all: none may fail."""
        said = []
        thread = threading.Thread(target=lambda: said.append(self.sandbox.call(
            connect_all_the_time, self.address, seconds, namespace=self.namespace, cgroup=self.daemon.cgroup,
            seconds=seconds + 30)))
        thread.start()
        try:
            meanwhile()
        finally:
            thread.join()
        (times, failed), = said
        assert times > 100 and not failed, (times, failed[:10])

    def heal(self, names="abcd"):
        """Well again; what it says then is believed soon. Leaves all four."""
        self.proxy.mode = "pass"
        took = self.expect(names)
        self.publisher.publish(*"abcd")
        self.expect("abcd", 15)
        print(f"{self.publisher.KIND}: right {took:.2f} s after it was well")


@pytest.fixture(scope="module", name="case", params=sorted(KINDS))
def make_case(request, sandbox, namespace, daemon, servers):
    case = Case(request.param, sandbox, namespace, daemon)
    yield case
    case.agent.stop()
    case.proxy.close()
    case.publisher.server.stop()


@pytest.fixture(scope="module", name="servers")
def make_servers(sandbox, namespace):
    for address, port in KNOWN.values():
        if address == "10.1.0.4":
            namespace.run(["ip", "address", "add", "10.1.0.4/32", "dev", "lo"])
        sandbox.spawn(serve_tcp, address, port, namespace=namespace)


@pytest.mark.parametrize("mode", ["refuse", "hang", "garbage", "half", "slow", "no-tls"])
def test_p84_a_broken_registry_changes_nothing_and_is_believed_when_it_is_well(case, mode):
    """Meanwhile d was taken out of it; that is known soon after."""
    def broken():
        case.proxy.mode = mode
        case.publisher.publish(*"abc")
        time.sleep(GONE_SECONDS)
        assert set(case.agent.endpoints(case.publisher.name, "shop")) == {f"{a}:{p}" for a, p in KNOWN.values()}
        case.agent.wait_state("here", "stale", 20)
        case.heal("abc")
    case.connecting(GONE_SECONDS + 4, broken)


def test_p84_a_server_that_is_killed_and_started(case):
    def killed():
        case.publisher.server.kill()
        time.sleep(GONE_SECONDS)
        case.publisher.server.start()
        if case.publisher.KIND == "eureka":
            case.publisher.has_only()
            case.publisher.publish(*"abcd")
        case.heal()
    case.connecting(GONE_SECONDS + 8, killed)


def test_p84_a_server_that_comes_back_empty(case):
    """All four are suspect, and served; then it says them again."""
    def emptied():
        case.publisher.server.wipe()
        case.publisher.server.start()
        time.sleep(GONE_SECONDS)
        assert len(case.agent.endpoints(case.publisher.name, "shop")) == 4
        case.publisher.has_only()
        case.publisher.publish(*"abcd")
        case.heal()
    case.connecting(GONE_SECONDS + 10, emptied)


def test_p84_a_server_with_old_data(case):
    """Only a was in it then: that three of four are gone is not believed at its first word."""
    if not case.old:
        pytest.skip(f"{case.publisher.KIND} keeps nothing on disk")

    def aged():
        case.publisher.server.restore()
        case.publisher.server.start()
        time.sleep(1)
        case.publisher.has_only("a")
        case.publisher.publish(*"abcd")
        case.heal()
    case.connecting(GONE_SECONDS + 8, aged)


def test_the_agent_is_killed_and_started_without_the_registry(case):
    """What it knew is read from its own file."""
    def killed():
        case.proxy.mode = "refuse"
        time.sleep(3.5)  # it writes what it knows each three seconds
        case.agent.kill()
        case.agent.start()
        time.sleep(2)
        assert len(case.agent.endpoints(case.publisher.name, "shop")) == 4
        case.heal()
    case.connecting(12, killed)
