# SPDX-License-Identifier: GPL-2.0-or-later
"""Outcomes that applications report: the examples do it, it ejects, and nobody is believed of what is not theirs."""
import contextlib
import importlib.util
import os
import shutil
import socket
import struct
import subprocess
import sys
import time

import pytest

from harness.daemon import Daemon, Events
from harness.life import eventually
from harness.service import put, serve_tcp, service

from conftest import ADDRESSES, BUILD

EXAMPLES = os.path.join(os.path.dirname(__file__), "..", "..", "examples")
SO_COOKIE = 57
GOOD, BAD, VIP, IDLE = ADDRESSES[0], ADDRESSES[1], "10.96.8.1", "10.96.8.2"
# Else the caller that a backend has failed would not come back to it for 10 s, and five in a row would take long.
FORGETFUL = {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": "forgetful", "namespace": "test"},
             "spec": {"negativeAffinity": "0s", "loadBalancer": {"algorithm": "roundRobin"}}}
TIMES = 60
RATE = 1000  # of one workload, as sinew-report(7) says


def serve_status(address, port, status):
    """An HTTP server that has one answer for everybody."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(64)
        yield
        while True:
            client, _ = server.accept()
            with client, contextlib.suppress(OSError):
                client.recv(4096)
                client.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
                client.recv(1)  # until the client has reported and closed


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace):
    sandbox.spawn(serve_status, GOOD, 8080, 200, namespace=namespace)
    sandbox.spawn(serve_status, BAD, 8080, 503, namespace=namespace)
    sandbox.spawn(serve_tcp, ADDRESSES[2], 8081, namespace=namespace)


@pytest.fixture(autouse=True)
def declared(daemon):
    put(daemon, FORGETFUL, service("web", VIP, [(GOOD, 8080), (BAD, 8080)], policy="forgetful"),
        service("idle", IDLE, [(GOOD, 8080)]))
    for one in (GOOD, BAD):
        daemon.request("POST", f"/v1/services/test/web/endpoints/{one}/restore")


def path_of(daemon):
    return os.path.join(daemon.folder, "report.sock")


def counts(daemon):
    """{result: how many} of sinew_reports_total."""
    text = daemon.request("GET", "/metrics").decode()
    return {line.split('"')[1]: int(float(line.split()[-1])) for line in text.splitlines()
            if line.startswith("sinew_reports") and "{" in line}


def grown(daemon, before, result, by, seconds=5):
    """Whether that many more of a result have come."""
    return eventually(lambda: counts(daemon)[result] - before[result] == by, seconds)


def backend(daemon, address, name="web"):
    rows = daemon.get(f"/v1/backends?service={name}")["items"]
    return next(one for one in rows if one["address"] == address)


def cookie_of(sock):
    return struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]


def send(path, *messages):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        for message in messages:
            out.sendto(message if isinstance(message, bytes) else message.encode(), path)


@pytest.fixture(scope="module")
def programs(sandbox):
    """{language: command} of the examples, as their first lines say that they are made."""
    made = {"python": [sys.executable, os.path.join(EXAMPLES, "report.py")]}
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler:
        made["c"] = [sandbox.path("report")]
        subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-o", made["c"][0],
                        os.path.join(EXAMPLES, "report.c")], check=True, timeout=60)
    return made


@pytest.mark.parametrize("language", ["c", "python"])
def test_503_reported_five_times_ejects_the_backend(inside, daemon, programs, language):
    """Each on a connection of its own, which succeeded: the report is what counts."""
    if language not in programs:
        pytest.skip("there is no C compiler: scripts/deps")
    before, earlier = counts(daemon), backend(daemon, BAD)["outcomes"]["reported"]

    def ask_often():
        done = subprocess.run([*programs[language], VIP, "80", str(TIMES), path_of(daemon)], capture_output=True, text=True,
                              timeout=60, check=True)
        return done.stdout.split()
    with Events(daemon, "?service=web") as events:
        seen = inside(ask_often, seconds=120)
        ejected = events.wait(1, type="ejected")
        assert ejected and ejected[0]["reason"] == "reported", events.told
        assert len(events.wait(5, reason="reported", type="outcome")) >= 5
    # Reports are on their way while the next connects go out; some find the queue full.
    assert len(seen) == TIMES and seen.count("503") >= 5, seen
    assert set(inside(ask_often)) == {"200"}
    assert counts(daemon)["counted"] - before["counted"] >= 5
    row = backend(daemon, BAD)
    assert row["state"] == "ejected" and 5 <= row["outcomes"]["reported"] - earlier <= seen.count("503")
    assert backend(daemon, GOOD)["outcomes"]["reported"] == 0


def test_another_workloads_report_is_refused(sandbox, namespace, inside, daemon):
    other = sandbox.cgroup("other")
    before = counts(daemon)

    def connected():
        with socket.create_connection((IDLE, 80)) as sock:
            sandbox_call(cookie_of(sock))
    def sandbox_call(cookie):
        # Out of the served cgroup: a child of ours that goes into the other one.
        child = os.fork()
        if child == 0:
            with open(os.path.join(other, "cgroup.procs"), "w", encoding="ascii") as f:
                f.write("0")
            send(path_of(daemon), *[f"failure {cookie}"] * 3)
            time.sleep(0.5)  # who has gone is nobody's
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert grown(daemon, before, "foreign_flow", 3)
    inside(connected)
    assert backend(daemon, GOOD, "idle")["outcomes"]["reported"] == 0
    assert backend(daemon, GOOD, "idle")["consecutiveFailures"] == 0


def test_who_has_gone_when_it_is_read_is_nobody(inside, daemon):
    """A pid may be another's by then: the daemon stands still while the sender ends."""
    import signal
    before = counts(daemon)

    def client():
        with socket.create_connection((IDLE, 80)) as sock:
            cookie = cookie_of(sock)
            os.kill(daemon.child.pid, signal.SIGSTOP)
            try:
                child = os.fork()
                if child == 0:
                    send(path_of(daemon), f"failure {cookie}")
                    os._exit(0)
                os.waitpid(child, 0)
            finally:
                os.kill(daemon.child.pid, signal.SIGCONT)
            assert grown(daemon, before, "unknown_sender", 1)
    inside(client)


def test_what_is_no_message_and_what_is_no_flow(inside, daemon):
    before = counts(daemon)
    bad = [b"", b"failure", b"failure 0", b"failed 1", b"x" * 64, b"x" * 10000, b"failure 1\0", b"\xff" * 30]

    def client():
        send(path_of(daemon), *bad, "success 99999999999", "failure 18446744073709551615")
        with socket.create_connection((GOOD, 8080)) as direct:
            send(path_of(daemon), f"failure {cookie_of(direct)}")
            assert grown(daemon, before, "unknown_flow", 3)
    inside(client)
    assert grown(daemon, before, "bad_message", len(bad))


def test_descriptors_sent_along_are_not_kept(inside, daemon):
    def client():
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            for _ in range(20):
                out.sendmsg([b"failure 7"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("50i", *fds))], 0,
                            path_of(daemon))
        time.sleep(0.3)
    def count():
        return len(os.listdir(f"/proc/{daemon.child.pid}/fd"))
    held = count()
    before = counts(daemon)
    inside(client)
    assert grown(daemon, before, "unknown_flow", 20)
    assert eventually(lambda: count() <= held)


def wait_drained(daemon):
    """The counts when nothing more comes."""
    last = counts(daemon)
    while True:
        time.sleep(0.3)
        now = counts(daemon)
        if now == last:
            return now
        last = now


def test_a_flood_is_cut_and_nobody_else_waits(sandbox, inside, daemon):
    before = counts(daemon)

    def flood():
        with socket.create_connection((IDLE, 80)) as sock:
            message, end, sent = f"success {cookie_of(sock)}".encode(), time.monotonic() + 2, 0
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.connect(path_of(daemon))
                while time.monotonic() < end:
                    out.send(message)
                    sent += 1
        return sent
    def watched():
        child = os.fork()
        if child == 0:
            flood()
            os._exit(0)
        worst, end = 0.0, time.monotonic() + 1.5
        while time.monotonic() < end:
            begin = time.monotonic()
            daemon.get("/v1/config")
            worst = max(worst, time.monotonic() - begin)
            time.sleep(0.01)
        assert os.waitpid(child, 0)[1] == 0
        return worst
    slowest = inside(watched)
    took = wait_drained(daemon)
    counted = took["counted"] - before["counted"]
    dropped = took["rate"] - before["rate"]
    assert RATE <= counted <= RATE * 4, (counted, dropped)
    assert dropped > 0
    assert slowest < 0.5, slowest


def test_the_socket_goes_with_the_daemon_and_comes_again(sandbox):
    made = Daemon(sandbox, BUILD, "again", sandbox.cgroup("again"))
    path = path_of(made)
    assert os.stat(path).st_mode & 0o777 == 0o666
    made.kill()
    made.start()  # over what the killed one left
    send(path, "failure 1")
    assert eventually(lambda: counts(made)["unknown_flow"] == 1)
    assert made.stop() == 0
    assert not os.path.exists(path)
    off = Daemon(sandbox, BUILD, "off", sandbox.cgroup("off"), ["report.socket=off"])
    assert not os.path.exists(path_of(off))
    assert off.stop() == 0


def test_the_python_example_is_a_library_too(inside, daemon):
    spec = importlib.util.spec_from_file_location("report_example", os.path.join(EXAMPLES, "report.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before = counts(daemon)

    def client():
        module.ReportingConnection.report = path_of(daemon)
        connection = module.ReportingConnection(IDLE, 80, timeout=5)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        assert grown(daemon, before, "counted", 1), (before, counts(daemon))
        connection.close()
    inside(client)


def test_examples_stay_short():
    for name in ("report.c", "report.py"):
        with open(os.path.join(EXAMPLES, name), encoding="utf-8") as f:
            assert len(f.readlines()) <= 60, name
