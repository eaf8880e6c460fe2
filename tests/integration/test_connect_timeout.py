# SPDX-License-Identifier: GPL-2.0-or-later
"""connect.timeout and connect.attemptTimeout: how long a connect to a silent backend lasts, and whose word counts."""
import contextlib
import errno
import socket
import threading
import time

import pytest

from harness.far import make_far
from harness.service import family, put, serve_tcp, service

USER_TIMEOUT = 18
SILENT_AT = ("10.7.0.1", "fd07::1")


def policy(name, **spec):
    return {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": name, "namespace": "test"},
            "spec": {"failover": {"attempts": 0}, "outlierDetection": {"consecutiveFailures": 0, "failureRatio": "0%"},
                     "retryBudget": {"ratio": "0%", "minPerSecond": 0}, **spec}}


def connect_for(address, port, own=0, patience=8.0):
    """(errno or 0, seconds, TCP_USER_TIMEOUT afterwards) of a connect that blocks, but not for ever."""
    with socket.socket(family(address), socket.SOCK_STREAM) as client:
        if own:
            client.setsockopt(socket.IPPROTO_TCP, USER_TIMEOUT, own)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, int(patience).to_bytes(8, "little") + bytes(8))
        begin, error = time.monotonic(), 0
        try:
            client.connect((address, port))
        except OSError as e:
            error = e.errno
        took = time.monotonic() - begin
        return error, took, client.getsockopt(socket.IPPROTO_TCP, USER_TIMEOUT)


def connect_twice(first, second):
    """TCP_USER_TIMEOUT while one socket connects in vain, after that, and when it has connected elsewhere."""
    seen = []
    with socket.socket(family(first[0]), socket.SOCK_STREAM) as client:
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.connect(first)
        seen.append(client.getsockopt(socket.IPPROTO_TCP, USER_TIMEOUT))
        client.setblocking(True)
        try:
            client.connect(first)
        except OSError as e:
            seen.append(e.errno)
        seen.append(client.getsockopt(socket.IPPROTO_TCP, USER_TIMEOUT))
        client.connect(second)
        seen.append(client.getsockopt(socket.IPPROTO_TCP, USER_TIMEOUT))
    return seen


def syns(address, port, seconds):
    """Seconds after the first SYN at which the kernel has sent SYNs, as TCP_INFO counts them."""
    with socket.socket(family(address), socket.SOCK_STREAM) as client:
        client.setblocking(False)
        begin, seen, times = time.monotonic(), 0, []
        with contextlib.suppress(BlockingIOError):
            client.connect((address, port))
        while time.monotonic() < begin + seconds:
            sent = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[2]  # tcpi_retransmits
            times += [time.monotonic() - begin] * (sent - seen)
            seen = max(seen, sent)
            time.sleep(0.001)
    return times


@pytest.fixture(scope="module")
def places(sandbox, namespace, daemon):
    make_far(sandbox, namespace)
    sandbox.spawn(serve_tcp, "10.1.0.1", 8080, namespace=namespace)
    put(daemon, service("plain", "10.96.1.1", [(SILENT_AT[0], 80)]), service("alive", "10.96.1.2", [("10.1.0.1", 8080)]))
    return daemon


def with_policy(daemon, vip, backend, name, **connect):
    put(daemon, policy(name, connect=connect), service(name, vip, [backend], policy=name))


@pytest.mark.parametrize("number,timeout", [(1, 0.2), (2, 0.5), (3, 1.5), (4, 3.0)])
@pytest.mark.parametrize("six", [False, True])
def test_a_silent_backend_ends_the_connect_at_the_timeout(places, inside, number, timeout, six):
    vip = f"fd00:96::{number}" if six else f"10.96.2.{number}"
    with_policy(places, vip, (SILENT_AT[six], 80), f"bound{number}{int(six)}", timeout=f"{int(timeout * 1000)}ms")
    error, took, after = inside(connect_for, vip, 80)
    assert error == errno.ETIMEDOUT and timeout <= took <= timeout * 1.1 + 0.02, (error, took)
    assert after == 0


def test_the_first_syn_is_repeated_after_the_attempt_timeout(places, inside):
    with_policy(places, "10.96.3.1", (SILENT_AT[0], 80), "quick", attemptTimeout="100ms")
    times = inside(syns, "10.96.3.1", 80, 0.7)
    assert len(times) >= 2 and 0.095 <= times[0] <= 0.13, times
    assert not inside(syns, "10.96.1.1", 80, 0.7), "without a policy's word the kernel waits a second"


def test_a_short_attempt_does_not_end_a_long_connect_early(places, inside):
    """tcp_syn_retries alone would give up after 127 times 10 ms, or a little more."""
    with_policy(places, "10.96.3.2", (SILENT_AT[0], 80), "both", attemptTimeout="10ms", timeout="3s")
    error, took, _ = inside(connect_for, "10.96.3.2", 80)
    assert error == errno.ETIMEDOUT and 3.0 <= took <= 3.3, (error, took)


def test_the_applications_own_user_timeout_is_kept(places, inside):
    with_policy(places, "10.96.3.3", (SILENT_AT[0], 80), "longer", timeout="3s")
    error, took, after = inside(connect_for, "10.96.3.3", 80, 700)
    assert error == errno.ETIMEDOUT and took < 2.2 and after == 700, (error, took, after)
    with_policy(places, "10.96.3.4", ("10.1.0.1", 8080), "fine", timeout="3s")
    assert inside(connect_for, "10.96.3.4", 80, 700)[::2] == (0, 700)


def test_an_established_connection_has_none_of_ours(places, inside):
    with_policy(places, "10.96.3.5", ("10.1.0.1", 8080), "soon", timeout="500ms", attemptTimeout="100ms")
    assert inside(connect_for, "10.96.3.5", 80)[::2] == (0, 0)


def test_a_socket_whose_connect_failed_may_go_elsewhere_without_ours(places, inside):
    with_policy(places, "10.96.3.6", (SILENT_AT[0], 80), "fails", timeout="300ms")
    assert inside(connect_twice, ("10.96.3.6", 80), ("10.1.0.1", 8080)) == [300, errno.ETIMEDOUT, 0, 0]


def test_without_a_policy_nothing_is_different(places, inside):
    with_policy(places, "10.96.3.7", (SILENT_AT[0], 80), "others", timeout="300ms")
    error, took, after = inside(connect_for, "10.96.1.1", 80, 0, 2)
    assert error in (errno.EINPROGRESS, errno.EAGAIN) and took >= 1.9 and after == 0, (error, took)


def test_a_policy_that_changes_during_the_connect_leaves_nothing_behind(places, inside):
    with_policy(places, "10.96.3.9", (SILENT_AT[0], 80), "swapped", timeout="1500ms")
    seen = []
    waiting = threading.Thread(target=lambda: seen.append(inside(connect_for, "10.96.3.9", 80)))
    waiting.start()
    time.sleep(0.5)
    with_policy(places, "10.96.3.9", (SILENT_AT[0], 80), "swapped")
    waiting.join()
    error, took, after = seen[0]
    assert error == errno.ETIMEDOUT and took < 1.7 and after == 0, seen


def test_the_timeouts_outlast_the_daemon_and_its_successor_has_them_at_once(places, inside):
    with_policy(places, "10.96.3.10", (SILENT_AT[0], 80), "lasts", timeout="300ms")
    places.kill()
    assert inside(connect_for, "10.96.3.10", 80)[0] == errno.ETIMEDOUT
    seen, done = [], threading.Event()

    def go_on():
        while not done.is_set():
            seen.append(inside(connect_for, "10.96.3.10", 80))

    asking = threading.Thread(target=go_on)
    asking.start()
    places.start()
    done.set()
    asking.join()
    assert seen and all(error == errno.ETIMEDOUT and took <= 0.4 for error, took, _ in seen), seen


def test_the_knob_goes_with_the_last_policy_that_needs_it(places, inside):
    with_policy(places, "10.96.3.8", (SILENT_AT[0], 80), "last", timeout="400ms")
    for one in places.get("/v1/services")["items"]:
        name = one["metadata"]["name"]
        if name not in ("plain", "alive", "last"):
            places.request("DELETE", f"/v1/services/test/{name}")
    assert inside(connect_for, "10.96.3.8", 80)[0] == errno.ETIMEDOUT
    places.request("DELETE", "/v1/services/test/last")
    put(places, service("last", "10.96.3.8", [(SILENT_AT[0], 80)]))
    assert inside(connect_for, "10.96.3.8", 80, 0, 1)[0] != errno.ETIMEDOUT
