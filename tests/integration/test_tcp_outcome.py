# SPDX-License-Identifier: GPL-2.0-or-later
"""How each TCP connect ended, by backend and by reason; and that what was counted as open is counted as closed.

Clients and near servers live in `namespace`; what is silent or unreachable is behind a cable (far.py). Each row has a service of its own, so its counters tell about it alone.

Pitfalls: P-35, P-66.
"""
import errno
import os
import signal
import socket
import subprocess
import time

import pytest

from harness import raw
from harness.daemon import Events
from harness.far import FAR, make_far
from harness.service import ask_tcp, family, put, reset_on_close, serve_tcp, service

OUTCOMES = ("connected", "refused", "timeout", "unreachable", "reset", "aborted", "not_sent", "error", "reported")
CLOSES = 8000
PATIENCE = 3  # s: a caller who gives up sooner blames nobody


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace):
    far = make_far(sandbox, namespace)
    namespace.run(["sysctl", "-qw", "net.ipv4.tcp_syn_retries=1"])  # gives up after 1 s + 2 s
    sandbox.spawn(serve_tcp, "10.1.0.1", 8080, namespace=namespace)
    sandbox.spawn(serve_tcp, "fd00::1", 8080, namespace=namespace)
    sandbox.spawn(serve_idle, "10.1.0.2", 8080, namespace=namespace)
    sandbox.spawn(serve_reset, "10.1.0.3", 8080, b"", namespace=namespace)
    sandbox.spawn(serve_reset, "10.1.0.3", 8081, b"hello", namespace=namespace)
    return far


def serve_idle(address, port):
    """A server that keeps each connection until its client closes it."""
    with socket.socket(family(address)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(1024)
        yield
        kept = []
        while True:
            kept.append(server.accept()[0])


def serve_reset(address, port, says):
    """A server that says something, waits for the client to read it, and resets."""
    with socket.socket(family(address)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(64)
        yield
        while True:
            client, _ = server.accept()
            reset_on_close(client)
            if says:
                client.sendall(says)
                client.recv(1)
            client.close()


class Services:
    """Gives out services with one backend each, and reads their counters."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.used = 0

    def new(self, address, port):
        """(name, service address) of a new service in front of this backend."""
        self.used += 1
        name = f"row{self.used}"
        vip = f"fd96::{self.used:x}" if ":" in address else f"10.96.1.{self.used}"
        put(self.daemon, service(name, vip, [(address, port)]))
        return name, vip

    def counts(self, name):
        shown, = self.daemon.get(f"/v1/services/test/{name}")["status"]["endpoints"]
        return shown

    def wait_idle(self, name, seconds=5):
        """The counters as soon as no connection is open, or after a while as they are."""
        end = time.monotonic() + seconds
        while self.counts(name)["active"] and time.monotonic() < end:
            time.sleep(0.02)
        return self.counts(name)


@pytest.fixture(scope="module")
def services(daemon):
    return Services(daemon)


def check_sum(counts, in_progress=0):
    """Every attempt is somewhere. One that was reset before its first byte, or reported, had been connected."""
    outcomes = counts["outcomes"]
    assert tuple(outcomes) == OUTCOMES
    assert counts["attempts"] == sum(outcomes.values()) - outcomes["reset"] - outcomes["reported"] + in_progress


# --- one connect, one reason ------------------------------------------------------------------------------------------

def connect_wait(vip):
    """A connect that is waited for; its errno, and whatever comes then."""
    with socket.socket(family(vip)) as sock:
        sock.setblocking(False)
        number = raw.connect(sock, raw.sockaddr(vip, 80))
        if number == errno.EINPROGRESS:
            number = raw.finish(sock, 20)
        if number:
            return number
        try:
            raw.read_all(sock)
        except OSError as error:
            return error.errno
        return 0


def connect_after_hello(vip):
    """Reads what the server says before it resets."""
    with socket.create_connection((vip, 80), timeout=5) as sock:
        assert sock.recv(5) == b"hello"
        sock.sendall(b"x")
        try:
            return len(sock.recv(5))
        except OSError as error:
            return error.errno


def connect_and_leave(seconds):
    def leave(vip):
        with socket.socket(family(vip)) as sock:
            sock.setblocking(False)
            number = raw.connect(sock, raw.sockaddr(vip, 80))
            time.sleep(seconds)
            return number
    return leave


def connect_and_reset(vip):
    """The client itself resets the established connection."""
    with socket.create_connection((vip, 80), timeout=5) as sock:
        reset_on_close(sock)
    return 0


def connect_twice_from_one_port(vip):
    """The second connect finds its four addresses taken."""
    with socket.socket() as first, socket.socket() as second:
        for sock in (first, second):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("10.1.0.1", 7777))
        assert raw.connect(first, raw.sockaddr(vip, 80)) == 0
        return raw.connect(second, raw.sockaddr(vip, 80))


def connect_v6_only(vip):
    """The mapped form of the address, on a socket that may not speak IPv4."""
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        return raw.connect(sock, raw.sockaddr(vip, 80, socket.AF_INET6))


def connect_and_destroy(vip):
    """An administrator ends the connecting socket, as `ss -K` does."""
    with socket.socket() as sock:
        sock.setblocking(False)
        raw.connect(sock, raw.sockaddr(vip, 80))
        subprocess.run(["ss", "-K", "dst", "10.7.0.77"], check=True, capture_output=True)
        return raw.finish(sock)


# name, backend, what the client does, what it gets, what is counted
ROWS = [
    ("connected", ("10.1.0.1", 8080), connect_wait, 0, {"connected": 1}),
    ("connected-v6", ("fd00::1", 8080), connect_wait, 0, {"connected": 1}),
    ("refused", ("10.1.0.1", 9), connect_wait, errno.ECONNREFUSED, {"refused": 1}),
    ("refused-v6", ("fd00::1", 9), connect_wait, errno.ECONNREFUSED, {"refused": 1}),
    ("timeout", ("10.7.0.1", 80), connect_wait, errno.ETIMEDOUT, {"timeout": 1}),
    ("timeout-v6", ("fd07::1", 80), connect_wait, errno.ETIMEDOUT, {"timeout": 1}),
    ("p24-given-up-late", ("10.7.0.2", 80), connect_and_leave(PATIENCE + 0.2), errno.EINPROGRESS, {"timeout": 1}),
    ("p24-given-up-soon", ("10.7.0.3", 80), connect_and_leave(0.05), errno.EINPROGRESS, {"aborted": 1}),
    ("p24-given-up-soon-v6", ("fd07::3", 80), connect_and_leave(0.05), errno.EINPROGRESS, {"aborted": 1}),
    ("unreachable", ("10.8.0.1", 80), connect_wait, errno.EHOSTUNREACH, {"unreachable": 1}),
    ("unreachable-v6", ("fd08::1", 80), connect_wait, errno.ENETUNREACH, {"unreachable": 1}),
    ("prohibited-v6", ("fd18::1", 80), connect_wait, errno.EACCES, {"unreachable": 1}),
    ("reset-before-first-byte", ("10.1.0.3", 8080), connect_wait, errno.ECONNRESET, {"connected": 1, "reset": 1}),
    ("reset-after-first-byte", ("10.1.0.3", 8081), connect_after_hello, errno.ECONNRESET, {"connected": 1}),
    ("reset-by-caller", ("10.1.0.2", 8080), connect_and_reset, 0, {"connected": 1}),
    ("no-route", ("10.200.0.1", 80), connect_wait, errno.ENETUNREACH, {"not_sent": 1}),
    ("no-route-v6", ("fd77::1", 80), connect_wait, errno.ENETUNREACH, {"not_sent": 1}),
    ("p32-port-in-use", ("10.1.0.2", 8080), connect_twice_from_one_port, errno.EADDRNOTAVAIL,
     {"connected": 1, "not_sent": 1}),
    ("v6-only-socket", ("10.1.0.1", 8080), connect_v6_only, errno.ENETUNREACH, {"not_sent": 1}),
    ("destroyed", ("10.7.0.77", 80), connect_and_destroy, errno.ECONNABORTED, {"error": 1}),
]


@pytest.fixture(scope="module")
def rows_done(sandbox, namespace, daemon, services):
    """All rows, at once, for some wait for time-outs: {name: (what the client got, counters, events)}."""
    placed = {row[0]: services.new(*row[1]) for row in ROWS}
    pids, results = [], {}
    with Events(daemon) as events:
        for row in ROWS:
            path = sandbox.path("result." + row[0])
            pids.append(sandbox.spawn(write_result, path, row[2], placed[row[0]][1], namespace=namespace,
                                      cgroup=daemon.cgroup))
            results[row[0]] = path
        for pid in pids:
            os.waitpid(pid, 0)
            sandbox.spawned.remove(pid)
        failed = [row for row in ROWS if set(row[4]) - {"connected"}]
        wanted = sum(len(set(row[4]) - {"connected"}) for row in failed)
        end = time.monotonic() + 5
        while len([e for e in events.told if e.get("type") == "outcome"]) < wanted and time.monotonic() < end:
            time.sleep(0.02)
        told = list(events.told)
    seen = {}
    for name, path in results.items():
        service_name, vip = placed[name]
        with open(path, encoding="ascii") as f:
            got = int(f.read())
        seen[name] = (got, services.wait_idle(service_name),
                      [e for e in told if e.get("service") == service_name], vip)
    return seen


def write_result(path, function, vip):
    """For Sandbox.spawn: starts at once, and leaves its result in a file."""
    yield
    with open(path, "w", encoding="ascii") as f:
        f.write(str(function(vip)))


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_connect_is_counted_as_it_ended(rows_done, row):
    name, _, _, expected, outcome = row
    got, counts, _, _ = rows_done[name]
    assert got == expected
    assert {reason: n for reason, n in counts["outcomes"].items() if n} == outcome
    assert counts["active"] == 0
    check_sum(counts)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_failure_is_told_as_an_event(rows_done, row):
    name, (address, port), _, _, outcome = row
    _, _, events, vip = rows_done[name]
    failures = [e for e in events if e["type"] == "outcome" and e["reason"] != "connected"]
    assert [e["reason"] for e in failures] == [reason for reason in outcome if reason != "connected"]
    for event in failures:
        assert event["protocol"] == "TCP"
        assert event["destination"] == (f"[{vip}]:80" if ":" in vip else f"{vip}:80")
        assert event["backend"] == (f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
        assert ("latencySeconds" in event) == (event["reason"] != "not_sent")  # no SYN, no time


def test_only_the_backends_own_failures_are_shown_as_failed(rows_done):
    """What a person reads as "failed" is what the backend is to blame for."""
    for name, _, _, _, outcome in ROWS:
        failed = rows_done[name][1]["failed"]
        blamed = {reason: n for reason, n in outcome.items() if reason in ("refused", "timeout", "unreachable", "reset")}
        assert {reason: n for reason, n in failed.items() if n} == blamed, name


def test_timeout_reason_needs_the_age_that_was_promised(rows_done):
    """The same caller's close is its own at 50 ms, and the backend's silence after 3 s."""
    late = [e["latencySeconds"] for e in rows_done["p24-given-up-late"][2]]
    soon = [e["latencySeconds"] for e in rows_done["p24-given-up-soon"][2]]
    assert len(late) == len(soon) == 1
    assert late[0] >= PATIENCE > soon[0]


# --- what is open, and that it is closed ------------------------------------------------------------------------------

def hold(vip, count, then):
    """For Sandbox.spawn: opens connections, and does something when it is told by a signal."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    socks = [socket.create_connection((vip, 80), timeout=5) for _ in range(count)]
    yield
    signal.sigwait({signal.SIGUSR1})
    for sock in socks:
        then(sock)
    signal.sigwait({signal.SIGUSR1})


def end_by_close(sock):
    sock.close()


def end_by_reset(sock):
    reset_on_close(sock)
    sock.close()


def end_by_disconnect(sock):
    assert raw.connect(sock, raw.UNSPEC) == 0


def end_half_open(sock):
    """Sends its FIN, then closes while the server still holds its side."""
    sock.shutdown(socket.SHUT_WR)
    sock.close()


@pytest.mark.parametrize("way", [end_by_close, end_by_reset, end_by_disconnect, end_half_open],
                         ids=["close", "reset", "p22-disconnect", "half-open"])
def test_active_goes_up_and_returns_to_zero(sandbox, namespace, daemon, services, way):
    name, vip = services.new("10.1.0.2", 8080)
    pid = sandbox.spawn(hold, vip, 20, way, namespace=namespace, cgroup=daemon.cgroup)
    assert services.counts(name)["active"] == 20
    os.kill(pid, signal.SIGUSR1)
    counts = services.wait_idle(name)
    assert (counts["active"], counts["attempts"], counts["outcomes"]["connected"]) == (0, 20, 20)
    check_sum(counts)
    sandbox.end(pid)


def test_p66_active_returns_to_zero_after_kill_9(sandbox, namespace, daemon, services):
    name, vip = services.new("10.1.0.2", 8080)
    pid = sandbox.spawn(hold, vip, 20, end_by_close, namespace=namespace, cgroup=daemon.cgroup)
    assert services.counts(name)["active"] == 20
    sandbox.end(pid)
    counts = services.wait_idle(name)
    assert (counts["active"], counts["outcomes"]["connected"]) == (0, 20)
    check_sum(counts)


def test_p66_active_returns_to_zero_when_sockets_are_destroyed(sandbox, namespace, daemon, services):
    namespace.run(["ip", "address", "add", "10.1.0.66/32", "dev", "lo"])
    server = sandbox.spawn(serve_idle, "10.1.0.66", 8080, namespace=namespace)
    name, vip = services.new("10.1.0.66", 8080)
    pid = sandbox.spawn(hold, vip, 20, end_by_close, namespace=namespace, cgroup=daemon.cgroup)
    assert services.counts(name)["active"] == 20
    namespace.run(["ss", "-K", "dst", "10.1.0.66", "dport", "=", "8080"])
    assert services.wait_idle(name)["active"] == 0  # while the client still has its descriptors
    sandbox.end(pid)
    assert services.counts(name)["active"] == 0
    check_sum(services.counts(name))
    sandbox.end(server)


def test_p66_active_returns_to_zero_when_the_server_dies(sandbox, namespace, daemon, services):
    """Its kernel closes or resets what it left; the clients' flows end with that, or with their own close."""
    namespace.run(["ip", "address", "add", "10.1.0.67/32", "dev", "lo"])
    server = sandbox.spawn(serve_idle, "10.1.0.67", 8080, namespace=namespace)
    name, vip = services.new("10.1.0.67", 8080)
    pid = sandbox.spawn(hold, vip, 20, end_by_close, namespace=namespace, cgroup=daemon.cgroup)
    sandbox.end(server)
    os.kill(pid, signal.SIGUSR1)
    counts = services.wait_idle(name)
    assert (counts["active"], counts["outcomes"]["connected"]) == (0, 20)
    check_sum(counts)
    sandbox.end(pid)


def test_socket_shared_by_a_fork_is_active_until_the_last_close(inside, services):
    name, vip = services.new("10.1.0.2", 8080)

    def share():
        sock = socket.create_connection((vip, 80), timeout=5)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        sock.close()
        while_child_has_it = services.counts(name)["active"]
        os.write(writing, b"x")
        os.waitpid(pid, 0)
        return while_child_has_it, services.wait_idle(name)["active"]
    assert inside(share) == (1, 0)


def serve_and_close(address, port):
    """For Sandbox.spawn: accepts on the second CPU, and closes at once."""
    with socket.socket() as server:
        server.bind((address, port))
        server.listen(4096)
        yield
        while True:
            server.accept()[0].close()


def test_p66_close_that_meets_the_answer_is_counted_once(sandbox, namespace, world, inside, services):
    """The caller leaves on one CPU while the answer to its SYN comes in on another: the connect was either aborted or
    connected, never both, and nothing stays open."""
    if os.cpu_count() < 2:
        pytest.skip("P-66: this needs two CPUs")
    for place, device in ((namespace, "cable"), (world, "end")):
        namespace.sandbox.run(["unshare", "-m", "sh", "-c", "mount -t sysfs sys /sys && "
                               f"echo 2 >/sys/class/net/{device}/queues/rx-0/rps_cpus"], namespace=place)
    server = sandbox.spawn(serve_and_close, FAR, 8093, namespace=world)
    name, vip = services.new(FAR, 8093)

    def leave(wait_ns):
        """Closes so long after connect(); None: when it is connected. How long that took."""
        with socket.socket() as sock:
            sock.setblocking(wait_ns is None)
            reset_on_close(sock)
            start = time.perf_counter_ns()
            raw.connect(sock, address)
            while wait_ns and time.perf_counter_ns() - start < wait_ns:
                pass
            return time.perf_counter_ns() - start

    def leave_often():
        """How often: a machine that is slow, as an emulated one is, has as many turns as it gets in half a minute."""
        os.sched_setaffinity(0, {0})
        end = time.monotonic() + 30
        usual = sorted(leave(None) for _ in range(101))[50]
        for turn in range(CLOSES - 101):
            leave(usual * 2 * (turn % 100) // 100)
            if turn >= 500 and time.monotonic() > end:
                return turn + 102
        return CLOSES
    address = raw.sockaddr(vip, 80)
    left = inside(leave_often)
    counts = services.wait_idle(name)
    assert (counts["attempts"], counts["active"]) == (left, 0)
    assert counts["outcomes"]["aborted"] > 0 and counts["outcomes"]["connected"] > 0
    check_sum(counts)
    sandbox.end(server)


# --- sums -------------------------------------------------------------------------------------------------------------

def test_connect_in_progress_is_the_difference_of_attempts_and_outcomes(inside, services):
    name, vip = services.new("10.7.0.4", 80)

    def look():
        with socket.socket() as sock:
            sock.setblocking(False)
            raw.connect(sock, raw.sockaddr(vip, 80))
            return services.counts(name)
    during = inside(look)
    assert (during["attempts"], during["active"]) == (1, 1)
    check_sum(during, in_progress=1)
    after = services.wait_idle(name)
    assert after["outcomes"]["aborted"] == 1
    check_sum(after)


def test_histogram_counts_every_connected_one(inside, daemon, services):
    """The series of the metrics agree with each other, and with the outcomes."""
    name, vip = services.new("10.1.0.1", 8080)

    def ask_often():
        for _ in range(150):
            ask_tcp(vip, 80)
    inside(ask_often)
    services.wait_idle(name)
    lines = daemon.request("GET", "/metrics", status=True).decode().splitlines()

    def value(metric, **labels):
        found = [line for line in lines if line.startswith(metric + "{") and f'service="{name}"' in line and
                 all(f'{key}="{text}"' in line for key, text in labels.items())]
        assert len(found) == 1, (metric, found)
        return float(found[0].rsplit(" ", 1)[1])
    assert value("sinew_connects_total", reason="connected") == 150
    assert value("sinew_connect_duration_seconds_count") == 150
    assert value("sinew_connect_duration_seconds_bucket", le="+Inf") == 150
    assert 0 < value("sinew_connect_duration_seconds_sum") < 150
    assert value("sinew_connect_attempts_total") == 150
    assert value("sinew_active_connections") == 0


def test_successes_are_told_as_a_sample(inside, daemon, services):
    """One of 256 sockets, by its cookie; the counters have all of them."""
    name, vip = services.new("10.1.0.1", 8080)

    def ask_often():
        for _ in range(1100):
            ask_tcp(vip, 80)
    with Events(daemon, f"?service={name}") as events:
        inside(ask_often)
        told = events.wait(2, reason="connected")
    assert 2 <= len(told) <= 8
    assert all(event["cookie"] % 256 == 0 and event["latencySeconds"] > 0 for event in told)
    assert services.wait_idle(name)["outcomes"]["connected"] == 1100


def test_refusal_without_backend_is_told_as_an_event(inside, daemon):
    put(daemon, service("nobody", "10.96.2.1", []))
    with Events(daemon, "?service=nobody") as events:
        inside(raw.ask, socket.AF_INET, raw.sockaddr("10.96.2.1", 80))
        told = events.wait(1, type="refused")
    assert [(e["reason"], e["destination"]) for e in told] == [("no_backend", "10.96.2.1:80")]


def test_failed_connect_then_another_address_is_not_booked_on_the_service(inside, services):
    """A socket that could not reach its backend, and connects elsewhere by itself, has left the service."""
    name, vip = services.new("10.200.0.2", 80)

    def ask():
        with socket.socket() as sock:
            first = raw.connect(sock, raw.sockaddr(vip, 80))
            second = raw.connect(sock, raw.sockaddr("10.1.0.1", 8080))
            return first, second, raw.peer(sock), services.counts(name)
    first, second, peer, during = inside(ask)
    assert (first, second, peer) == (errno.ENETUNREACH, 0, ("10.1.0.1", 8080))
    assert during["active"] == 0
    counts = services.wait_idle(name)
    assert {reason: n for reason, n in counts["outcomes"].items() if n} == {"not_sent": 1}
    check_sum(counts)


def test_p35_backend_that_cannot_be_reached_from_a_bound_device_is_not_blamed(inside, services):
    """SO_BINDTODEVICE to a cable that does not lead there: the backend is not at fault."""
    name, vip = services.new("10.1.0.1", 8080)
    bound = [(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")]
    assert inside(raw.ask, socket.AF_INET, raw.sockaddr(vip, 80), socket.SOCK_STREAM, 0, bound)["errno"] == 0

    def ask_over_cable():
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"cable")
            sock.setblocking(False)
            raw.connect(sock, raw.sockaddr(vip, 80))
            time.sleep(0.05)
    inside(ask_over_cable)
    counts = services.wait_idle(name)
    assert {reason for reason, n in counts["outcomes"].items() if n} <= {"connected", "aborted", "not_sent"}
    assert sum(counts["failed"].values()) == 0
    check_sum(counts)
