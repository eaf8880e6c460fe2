# SPDX-License-Identifier: GPL-2.0-or-later
"""Outlier ejection from end to end, without failover: real connects that fail, and what the next ones get.

Servers and clients are in `namespace`; each test has services of its own. A backend that refuses is an address
without a server; what is silent or unreachable is behind a cable (far.py).

Pitfalls: P-24, P-61, P-63, P-64, P-67, P-85.
"""
import errno
import os
import socket
import threading
import time

import pytest

from harness import raw
from harness.daemon import Daemon, Events
from harness.far import make_far
from harness.life import eventually
from harness.service import ask_tcp, connect_errno, family, put, reset_on_close, serve_kept, serve_tcp, service

from conftest import BUILD

GOOD, GOOD2, DEAD = "10.1.0.1", "10.1.0.2", "10.1.0.3"  # nobody listens on DEAD
PORT, SECOND_PORT = 8080, 8081


def policy(name, **spec):
    """A policy that nothing but what is named makes differ from the defaults; its ejections are short."""
    outlier = {"baseEjectionTime": "30s", **spec.pop("outlierDetection", {})}
    return {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": name, "namespace": "test"},
            "spec": {"outlierDetection": outlier, "negativeAffinity": "0s", **spec}}


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace):
    far = make_far(sandbox, namespace)
    namespace.run(["sysctl", "-qw", "net.ipv4.tcp_syn_retries=1"])  # a silent backend: 3 s
    for address in (GOOD, GOOD2):
        sandbox.spawn(serve_tcp, address, PORT, namespace=namespace)
    return far


class Shop:
    """Gives out services, and what is known of their backends."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.used = 0

    def new(self, *backends, **spec):
        self.used += 1
        name, vip = f"shop{self.used}", f"10.96.2.{self.used}"
        put(self.daemon, service(name, vip, [(b, PORT) if isinstance(b, str) else b for b in backends], **spec))
        return name, vip

    def status(self, name):
        return self.daemon.get(f"/v1/services/test/{name}")["status"]

    def backend(self, name, address):
        one, = (e for e in self.status(name)["endpoints"] if e["address"] == address)
        return one


@pytest.fixture(scope="module")
def shop(daemon):
    return Shop(daemon)


def connect_times(vip, times):
    """The errno of each of so many connects."""
    return [connect_errno(vip, 80) for _ in range(times)]


# --- it happens, and is over ------------------------------------------------------------------------------------------

def below(daemon, name):
    """A workload of its own."""
    path = os.path.join(daemon.cgroup, name)
    os.makedirs(path, exist_ok=True)
    return path


def test_defaults_eject_after_five_refusals_and_the_very_next_pick_avoids_it(shop, daemon, inside):
    """The promise without failover: at most five errors, and none from then on. One workload alone sees one: it is not
    given again what just failed it."""
    name, vip = shop.new(GOOD, GOOD2, DEAD)
    assert inside(connect_times, vip, 200).count(errno.ECONNREFUSED) <= 1
    with Events(daemon, f"?service={name}") as events:
        seen = []
        for i in range(12):
            seen += inside(connect_times, vip, 25, cgroup=below(daemon, f"caller{i}"))
        ejected, = events.wait(1, type="ejected")
    assert seen.count(errno.ECONNREFUSED) <= 5
    last = max((i for i, number in enumerate(seen) if number), default=-1)
    assert not any(seen[last + 1:])
    shown = shop.backend(name, DEAD)
    assert shown["state"] == "ejected" and shown["ejection"]["why"] == "5 consecutive refused"
    assert 25 < shown["ejection"]["leftSeconds"] <= 33
    assert ejected["message"].startswith(f"{DEAD}:{PORT} ejected for 3") and "2 of 3 usable" in ejected["message"]
    assert shop.status(name)["ejected"] == 1


@pytest.fixture(scope="module")
def quick(daemon):
    put(daemon, policy("quick", outlierDetection={"baseEjectionTime": "400ms", "maxEjectionTime": "5s",
                                                  "consecutiveFailures": 2}),
        policy("quick-all", outlierDetection={"baseEjectionTime": "400ms", "consecutiveFailures": 1,
                                              "maxEjectionPercent": 100}, panic={"threshold": "0%"}))
    return "quick"


def spoil(inside, shop, name, vip, address):
    """Connects until the backend is ejected."""
    for _ in range(60):
        inside(connect_times, vip, 5)
        if shop.backend(name, address)["state"] == "ejected":
            return
    raise AssertionError(f"{address} is not ejected: {shop.backend(name, address)}")


def test_p67_one_probe_decides_when_the_time_is_over(shop, inside, quick):
    """While it refuses, each interval costs one error; its times grow. When it answers again, it is in use again."""
    name, vip = shop.new(GOOD, (DEAD, SECOND_PORT), policy=quick)
    spoil(inside, shop, name, vip, DEAD)
    before = shop.backend(name, DEAD)["attempts"]
    time.sleep(0.5)
    seen = inside(connect_times, vip, 100)
    assert seen.count(errno.ECONNREFUSED) == 1, "one probe, and it failed"
    assert shop.backend(name, DEAD)["attempts"] == before + 1
    shown = shop.backend(name, DEAD)
    assert shown["ejection"]["times"] == 2 and shown["ejection"]["why"] == "half-open probe refused"
    assert 0.5 < shown["ejection"]["leftSeconds"] <= 0.9


def test_a_backend_that_answers_its_probe_is_restored(shop, sandbox, namespace, daemon, inside, quick):
    name, vip = shop.new(GOOD, (DEAD, 8082), policy=quick)
    spoil(inside, shop, name, vip, DEAD)
    sandbox.spawn(serve_tcp, DEAD, 8082, namespace=namespace)
    with Events(daemon, f"?service={name}") as events:
        time.sleep(0.5)
        assert not any(inside(connect_times, vip, 50))
        restored, = events.wait(1, type="restored")
    assert restored["message"].startswith(f"{DEAD}:8082 restored after")
    shown = shop.backend(name, DEAD)
    assert shown["state"] == "active" and shown["usable"] and "ejection" not in shown
    assert shop.status(name)["ejected"] == 0


def test_a_lone_backend_is_never_ejected(shop, inside, quick):
    name, vip = shop.new((DEAD, SECOND_PORT), policy=quick)
    assert set(inside(connect_times, vip, 40)) == {errno.ECONNREFUSED}
    assert shop.backend(name, DEAD)["state"] == "active"
    assert shop.status(name)["traffic"]["refused"]["spared"] > 0


def test_p63_never_the_last_usable_one(shop, inside, quick):
    """Both are dead and all might be ejected, by percentage: one stays."""
    del quick
    name, vip = shop.new((DEAD, SECOND_PORT), (DEAD, 8083), policy="quick-all")
    assert set(inside(connect_times, vip, 60)) == {errno.ECONNREFUSED}
    assert shop.status(name)["ejected"] == 1


# --- what it is kept by -----------------------------------------------------------------------------------------------

@pytest.fixture(scope="module", autouse=True)
def firm(daemon):
    put(daemon, policy("firm"))


def test_ejection_survives_a_resync_and_a_killed_daemon(shop, daemon, inside):
    """State is the kernel's: a new daemon finds it, and a changed set keeps it for backends that stay."""
    name, vip = shop.new(GOOD, GOOD2, (DEAD, SECOND_PORT), policy="firm")
    spoil(inside, shop, name, vip, DEAD)
    left = shop.backend(name, DEAD)["ejection"]["leftSeconds"]
    daemon.kill()
    assert not any(inside(connect_times, vip, 50)), "nobody tends it, and it holds"
    daemon.start()
    again = shop.backend(name, DEAD)
    assert again["state"] == "ejected" and again["ejection"]["leftSeconds"] < left
    put(daemon, service(name, vip, [(GOOD, PORT), (GOOD2, PORT, 7), (DEAD, SECOND_PORT), ("10.1.0.1", 8099, 0)],
                        policy="firm"))
    assert shop.backend(name, DEAD)["state"] == "ejected" and shop.status(name)["ejected"] == 1
    assert not any(inside(connect_times, vip, 50))


def test_p85_another_instance_on_the_address_inherits_nothing(shop, daemon, inside):
    name, vip = shop.new(GOOD, GOOD2, (DEAD, SECOND_PORT), policy="firm")
    spoil(inside, shop, name, vip, DEAD)
    put(daemon, service(name, vip, [(GOOD, PORT), (GOOD2, PORT)], policy="firm"))
    assert shop.status(name)["ejected"] == 0
    put(daemon, service(name, vip, [(GOOD, PORT), (GOOD2, PORT), (DEAD, SECOND_PORT)], policy="firm"))
    shown = shop.backend(name, DEAD)
    assert shown["state"] == "active" and shown["attempts"] == 0


def instance(address, number, port=PORT):
    return {"address": address, "port": port, "source": "consul/dc1", "instance": f"{number:016x}"}


def test_p85_another_instance_in_one_change_inherits_no_ejection(shop, daemon, inside):
    """Its registry names the address all the time, and says that somebody else is there."""
    ends = [instance(GOOD, 1), instance(GOOD2, 2), instance(DEAD, 3, SECOND_PORT)]
    name, vip = shop.new(*ends, policy="firm")
    spoil(inside, shop, name, vip, DEAD)
    put(daemon, service(name, vip, [{**end, "weight": 7} for end in ends], policy="firm"))
    assert shop.backend(name, DEAD)["state"] == "ejected", "who it is has not changed"
    daemon.kill()
    daemon.start()
    put(daemon, service(name, vip, ends, policy="firm"))
    assert shop.backend(name, DEAD)["state"] == "ejected", "nor has it for a new daemon"
    put(daemon, service(name, vip, [*ends[:2], instance(DEAD, 4, SECOND_PORT)], policy="firm"))
    shown = shop.backend(name, DEAD)
    assert shown["state"] == "active" and shown["attempts"] == 0 and shop.status(name)["ejected"] == 0
    spoil(inside, shop, name, vip, DEAD)


def hold_one_open(vip, change, active):
    """What is active before and after the change, and when a connection from before it has ended."""
    with socket.create_connection((vip, 80), 5):
        seen = [active()]
        change()
        seen.append(active())
    time.sleep(0.2)
    return [*seen, active()]


def test_p85_another_instance_inherits_no_connections(shop, sandbox, namespace, daemon, inside):
    """Those of the old one stay open, and their end is not booked on the new one."""
    sandbox.spawn(serve_kept, GOOD, 8086, namespace=namespace)
    name, vip = shop.new(instance(GOOD, 1, 8086))

    def change():
        put(daemon, service(name, vip, [instance(GOOD, 2, 8086)]))

    assert inside(hold_one_open, vip, change, lambda: shop.backend(name, GOOD)["active"]) == [1, 0, 0]


def test_p85_another_instance_inherits_no_callers(shop, daemon, inside):
    """Who had affinity to the old one is drawn anew: twelve times the same by chance is once in 4096 runs."""
    put(daemon, policy("true", loadBalancer={"algorithm": "random", "affinity": {"by": "workload", "timeout": "1h"}}))
    numbers, seen = {GOOD: 1, GOOD2: 2}, set()
    name, vip = shop.new(*(instance(*one) for one in numbers.items()), policy="true")
    for _ in range(12):
        first, = set(inside(ask_names, vip, 4))
        seen.add(first)
        numbers[first] += 2
        put(daemon, service(name, vip, [instance(*one) for one in numbers.items()], policy="true"))
    assert seen == {GOOD, GOOD2}


def test_ejection_ends_by_the_kernels_clock_with_the_daemon_dead(sandbox, namespace, inside, quick):
    del quick
    cgroup = sandbox.cgroup("orphan")
    made = Daemon(sandbox, BUILD, "orphan", cgroup)
    put(made, policy("quick", outlierDetection={"baseEjectionTime": "400ms", "consecutiveFailures": 2}))
    put(made, service("lonely", "10.96.3.1", [(GOOD, PORT), (DEAD, 8084)], policy="quick"))
    place = Shop(made)
    for _ in range(60):
        inside(connect_times, "10.96.3.1", 5, cgroup=cgroup)
        if place.backend("lonely", DEAD)["state"] == "ejected":
            break
    made.kill()
    assert not any(inside(connect_times, "10.96.3.1", 20, cgroup=cgroup))
    sandbox.spawn(serve_tcp, DEAD, 8084, namespace=namespace)
    time.sleep(0.6)
    asked = {inside(ask_tcp, "10.96.3.1", 80, cgroup=cgroup)[0] for _ in range(40)}
    assert asked == {GOOD, DEAD}, "its probe succeeded, and it is in use"
    made.start()
    assert place.backend("lonely", DEAD)["state"] == "active"
    made.stop()


# --- who is to blame --------------------------------------------------------------------------------------------------

def give_up(vip, after):
    """A caller that closes its socket early."""
    with socket.socket(family(vip)) as sock:
        sock.setblocking(False)
        number = raw.connect(sock, raw.sockaddr(vip, 80))
        time.sleep(after)
        return number


def many_threads(function, times, *args):
    threads = [threading.Thread(target=function, args=args) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture(scope="module")
def touchy(daemon):
    """One failure ejects; it lasts."""
    put(daemon, policy("touchy", outlierDetection={"consecutiveFailures": 1, "maxEjectionPercent": 50}))
    return "touchy"


BLAMED = {  # backend behind the cable, what a caller sees
    "refused": ((DEAD, SECOND_PORT), errno.ECONNREFUSED),
    "timeout": ("10.7.0.7", errno.ETIMEDOUT),
    "unreachable": ("10.8.0.7", errno.EHOSTUNREACH),
}


@pytest.mark.parametrize("name_of", BLAMED)
def test_what_the_backend_did_counts_against_it(shop, inside, touchy, name_of):
    backend, number = BLAMED[name_of]
    name, vip = shop.new(backend, GOOD, policy=touchy)
    address = backend[0] if isinstance(backend, tuple) else backend
    seen = []
    for _ in range(40):
        seen += inside(connect_times, vip, 1)
        if seen[-1]:
            break
    assert seen[-1] == number
    shown = shop.backend(name, address)
    assert shown["state"] == "ejected" and shown["ejection"]["reason"] == name_of


def serve_reset(address, port):
    with socket.socket(family(address)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(64)
        yield
        while True:
            client, _ = server.accept()
            reset_on_close(client)
            client.close()


def read_reset(vip):
    try:
        with socket.create_connection((vip, 80), 5) as sock:
            return sock.recv(1)
    except ConnectionError as error:
        return error.errno


def test_a_reset_before_the_first_byte_counts_against_it(shop, sandbox, namespace, inside, touchy):
    sandbox.spawn(serve_reset, "10.1.0.3", 8085, namespace=namespace)
    name, vip = shop.new(("10.1.0.3", 8085), GOOD, policy=touchy)
    for _ in range(30):
        inside(read_reset, vip)
        if shop.backend(name, "10.1.0.3")["state"] == "ejected":
            break
    assert shop.backend(name, "10.1.0.3")["ejection"]["reason"] == "reset"


def test_p24_a_caller_that_gives_up_early_blames_nobody(shop, inside, touchy):
    name, vip = shop.new("10.7.0.8", "10.7.0.9", policy=touchy)
    inside(many_threads, give_up, 20, vip, 0.05)
    assert eventually(lambda: sum(e["outcomes"]["aborted"] for e in shop.status(name)["endpoints"]) == 20)
    assert [e["state"] for e in shop.status(name)["endpoints"]] == ["active", "active"]


def use_up_ports(vip, times):
    """All ports of this caller are taken: connect() cannot even send a SYN."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as f:
        f.write("20000 20001")
    kept, seen = [], []
    for _ in range(times):
        sock = socket.socket()
        kept.append(sock)
        sock.setblocking(False)
        seen.append(raw.connect(sock, raw.sockaddr(vip, 80)))
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as f:
        f.write("10000 65000")
    return seen


def test_a_broken_client_never_ejects_a_backend(shop, inside, touchy):
    """No free port; no route."""
    name, vip = shop.new("10.7.0.10", "10.7.0.11", policy=touchy)
    seen = inside(use_up_ports, vip, 30)
    assert seen.count(errno.EADDRNOTAVAIL) >= 20
    routeless, vip2 = shop.new("203.0.113.1", "203.0.113.2", policy=touchy)
    assert set(inside(connect_times, vip2, 30)) == {errno.ENETUNREACH}
    for one in (name, routeless):
        assert eventually(lambda s=one: sum(e["outcomes"]["not_sent"] for e in shop.status(s)["endpoints"]) >= 20)
        assert [e["state"] for e in shop.status(one)["endpoints"]] == ["active", "active"]


# --- shadow, panic, limits, budget, affinity --------------------------------------------------------------------------

def test_shadow_tells_and_ejects_nobody(shop, daemon, inside):
    put(daemon, policy("shadow", outlierDetection={"consecutiveFailures": 2, "shadow": True}))
    name, vip = shop.new(GOOD, (DEAD, SECOND_PORT), policy="shadow")
    with Events(daemon, f"?service={name}") as events:
        seen = inside(connect_times, vip, 60)
        told, = events.wait(1, type="shadow")
    assert "would have been ejected" in told["message"]
    assert seen.count(errno.ECONNREFUSED) > 10 and shop.status(name)["ejected"] == 0


def test_p64_panic_ignores_ejection_and_says_so(shop, daemon, inside):
    put(daemon, policy("afraid", outlierDetection={"consecutiveFailures": 1, "maxEjectionPercent": 100},
                       panic={"threshold": "50%", "mode": "all"}))
    name, vip = shop.new(GOOD, (DEAD, 8091), (DEAD, 8092), (DEAD, 8093), policy="afraid")
    with Events(daemon, f"?service={name}") as events:
        inside(connect_times, vip, 100)
        told = events.wait(1, type="panic")
    assert told[0]["phase"] == "begin" and "ejection is ignored" in told[0]["message"]
    shown = shop.status(name)
    assert shown["panic"]["seconds"] >= 0 and shown["traffic"]["refused"]["panic"] > 0
    assert inside(connect_times, vip, 60).count(errno.ECONNREFUSED) > 5, "ejected ones are asked again"


def test_p64_panic_may_refuse_instead(shop, daemon, inside):
    put(daemon, policy("strict", outlierDetection={"consecutiveFailures": 1, "maxEjectionPercent": 100},
                       panic={"threshold": "60%", "mode": "none"}))
    name, vip = shop.new(GOOD, (DEAD, 8094), policy="strict")
    inside(connect_times, vip, 60)
    assert set(inside(connect_times, vip, 20)) == {errno.EHOSTUNREACH}
    assert shop.status(name)["ejected"] == 1


def hold_connections(vip, times):
    """Connects that stay open: the errno of each, while all are."""
    kept, seen = [], []
    for _ in range(times):
        sock = socket.socket()
        kept.append(sock)
        seen.append(sock.connect_ex((vip, 80)))
    return seen


def serve_keep(address, port):
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(512)
        yield
        kept = []
        while True:
            kept.append(server.accept()[0])


def test_connection_limits_answer_eagain_and_are_exact(shop, sandbox, namespace, daemon, inside):
    sandbox.spawn(serve_keep, GOOD, 8095, namespace=namespace)
    sandbox.spawn(serve_keep, GOOD2, 8095, namespace=namespace)
    put(daemon, policy("by-service", connectionLimits={"service": 7}),
        policy("by-backend", connectionLimits={"backend": 3}), policy("by-pending", connectionLimits={"pending": 4}))
    ends = ((GOOD, 8095), (GOOD2, 8095))
    name, vip = shop.new(*ends, policy="by-service")
    assert inside(hold_connections, vip, 20) == [0] * 7 + [errno.EAGAIN] * 13
    assert shop.status(name)["traffic"]["refused"]["limited"] == 13
    assert eventually(lambda: not any(inside(hold_connections, vip, 7))), "what has ended counts no more"
    name, vip = shop.new(*ends, policy="by-backend")
    assert inside(hold_connections, vip, 12) == [0] * 6 + [errno.EAGAIN] * 6
    name, vip = shop.new("10.7.0.20", "10.7.0.21", policy="by-pending")
    seen = inside(begin_many, vip, 9)
    assert seen == [errno.EINPROGRESS] * 4 + [errno.EAGAIN] * 5


def begin_many(vip, times):
    kept, seen = [], []
    for _ in range(times):
        sock = socket.socket()
        kept.append(sock)
        sock.setblocking(False)
        seen.append(raw.connect(sock, raw.sockaddr(vip, 80)))
    return seen


def test_the_retry_budget_is_observed_or_enforced(shop, daemon, inside):
    """Ejection is off: only the budget stands between a caller and its tries."""
    for mode in ("observe", "enforce"):
        put(daemon, policy(mode, outlierDetection={"consecutiveFailures": 0, "failureRatio": "0%"},
                           retryBudget={"ratio": "10%", "minPerSecond": 1, "ttl": "2s", "mode": mode}))
    seen = {}
    for mode in ("observe", "enforce"):
        name, vip = shop.new((DEAD, SECOND_PORT), policy=mode)
        assert set(inside(connect_times, vip, 60)) == {errno.ECONNREFUSED}
        seen[mode] = shop.status(name)
    assert seen["observe"]["endpoints"][0]["attempts"] == 60
    assert seen["enforce"]["endpoints"][0]["attempts"] <= 8, "what is over the budget never leaves"
    assert seen["observe"]["traffic"]["refused"]["retry_budget"] > 40
    assert seen["enforce"]["traffic"]["refused"]["retry_budget"] == 60 - seen["enforce"]["endpoints"][0]["attempts"]


def test_a_workload_is_not_given_what_just_failed_it(shop, daemon, inside):
    one = policy("wary", outlierDetection={"consecutiveFailures": 0, "failureRatio": "0%"})
    one["spec"]["negativeAffinity"] = "10s"
    put(daemon, one)
    _, vip = shop.new(GOOD, (DEAD, SECOND_PORT), policy="wary")
    assert inside(connect_times, vip, 200).count(errno.ECONNREFUSED) <= 1


def ask_names(vip, times):
    return [ask_tcp(vip, 80)[0] for _ in range(times)]


def test_p61_affinity_keeps_a_workload_and_leaves_what_is_unusable(shop, daemon, inside):
    put(daemon, policy("loyal", loadBalancer={"affinity": {"by": "workload", "timeout": "1h"}}))
    name, vip = shop.new(GOOD, GOOD2, policy="loyal")
    first, = set(inside(ask_names, vip, 30))
    put(daemon, service(name, vip, [(GOOD, PORT, 0 if first == GOOD else 1), (GOOD2, PORT, 0 if first == GOOD2 else 1)],
                        policy="loyal"))
    assert set(inside(ask_names, vip, 10)) == {GOOD, GOOD2} - {first}


@pytest.mark.parametrize("algorithm", ("random", "roundRobin", "p2c"))
def test_each_algorithm_reaches_every_backend(shop, daemon, inside, algorithm):
    put(daemon, policy(algorithm.lower(), loadBalancer={"algorithm": algorithm}))
    _, vip = shop.new(GOOD, GOOD2, policy=algorithm.lower())
    seen = inside(ask_names, vip, 200)
    share = seen.count(GOOD) / len(seen)
    assert share == 0.5 if algorithm == "roundRobin" else 0.3 < share < 0.7


def test_consistent_hash_gives_a_workload_one_backend(shop, daemon, sandbox, inside):
    put(daemon, policy("hashed", loadBalancer={"algorithm": "consistentHash"}))
    _, vip = shop.new(GOOD, GOOD2, policy="hashed")
    seen = set()
    for i in range(12):
        named = set(inside(ask_names, vip, 8, cgroup=below(daemon, f"hashed{i}")))
        assert len(named) == 1
        seen |= named
    assert seen == {GOOD, GOOD2}, "twelve workloads that all hash to one of two: once in 2048 runs"
