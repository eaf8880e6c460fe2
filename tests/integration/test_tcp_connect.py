# SPDX-License-Identifier: GPL-2.0-or-later
"""The ways in which a program can connect a TCP socket, and that each is one selection, one attempt, one peer.

Blocking, not blocking, interrupted, repeated, undone; by TCP Fast Open, MPTCP and io_uring; from a bound port or device;
past Sinew by a mark, by a workload and by the kernel itself.

Pitfalls: P-21, P-22, P-24, P-25, P-26, P-27, P-28, P-30, P-31, P-32, P-33, P-35, P-37, P-40.
"""
import errno
import os
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest

from harness import raw
from harness.far import FAR, make_far
from harness.service import ask_tcp, family, put, serve_tcp, service

BUILD = os.environ.get("SINEW_BUILD") or os.path.join(os.path.dirname(__file__), "..", "..", "build")
V4, V6 = socket.AF_INET, socket.AF_INET6
SOL_MPTCP, MPTCP_INFO = 284, 1
SO_MARK, SO_ORIGINAL_DST = 36, 80
MARK = 0x51e


@pytest.fixture(scope="module", autouse=True)
def far(sandbox, namespace, daemon):
    made = make_far(sandbox, namespace)
    namespace.run(["sysctl", "-qw", "net.ipv4.tcp_fastopen=3", "net.ipv4.tcp_syn_retries=3"])
    for address in ("10.1.0.1", "10.1.0.2", "fd00::1"):
        sandbox.spawn(serve_tcp, address, 8080, namespace=namespace)
    namespace.run(["ip", "address", "add", "10.96.9.9/32", "dev", "lo"])
    sandbox.spawn(serve_tcp, "10.96.9.9", 80, namespace=namespace)  # who answers at this service's own address
    put(daemon, {"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": "unjudged", "namespace": "test"},
                 "spec": {"outlierDetection": {"consecutiveFailures": 0, "failureRatio": "0%"}}})
    put(daemon,
        service("one", "10.96.0.1", [("10.1.0.1", 8080)]), service("two", "10.96.0.2", [("10.1.0.2", 8080)]),
        service("six", "fd96::1", [("fd00::1", 8080)]), service("closed", "10.96.0.3", [("10.1.0.1", 9)], policy="unjudged"),
        service("silent", "10.96.0.4", [("10.7.0.4", 8080)]), service("seen", "10.96.9.9", [("10.1.0.1", 8080)]),
        service("port", "10.96.0.5", [("10.1.0.2", 4444)], port=4444),
        service("self", "10.96.0.11", [("10.1.0.2", 4445)], port=4445))
    return made


@pytest.fixture(name="counts")
def fixture_counts(daemon):
    """counts(service): what was added since the test began: {"attempts", "active" (now), outcome: n...} but zeros."""
    def read(name):
        return daemon.get(f"/v1/services/test/{name}")["status"]["traffic"]
    before = {item["metadata"]["name"]: item["status"]["traffic"] for item in daemon.get("/v1/services")["items"]}

    def counts(name, idle=True):
        end = time.monotonic() + 5
        while idle and read(name)["active"] and time.monotonic() < end:
            time.sleep(0.02)
        now, then = read(name), before.get(name)
        seen = {"attempts": now["attempts"] - (then["attempts"] if then else 0), "active": now["active"]}
        for group in ("outcomes", "refused"):
            for reason, n in now[group].items():
                seen[reason] = n - (then[group][reason] if then else 0)
        return {key: n for key, n in seen.items() if n}
    return counts


ONE = {"attempts": 1, "connected": 1}


# --- states of a socket -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("vip,name,backend", [("10.96.0.1", "one", "10.1.0.1"), ("fd96::1", "six", "fd00::1")])
def test_p24_non_blocking_connect(inside, counts, vip, name, backend):
    def ask():
        with socket.socket(family(vip)) as sock:
            sock.setblocking(False)
            first = raw.connect(sock, raw.sockaddr(vip, 80))
            done = raw.finish(sock)
            return first, done, raw.peer(sock)[0], raw.read_all(sock).decode()
    first, done, peer, said = inside(ask)
    assert first in (0, errno.EINPROGRESS)
    assert (done, peer, said) == (0, vip, backend)
    assert counts(name) == ONE


def test_p22_connect_of_a_connected_socket_is_one_attempt(inside, counts):
    def ask():
        with socket.socket() as sock:
            return [raw.connect(sock, raw.sockaddr(vip, 80)) for vip in ("10.96.0.1", "10.96.0.1", "10.96.0.2")] + \
                [raw.peer(sock)]
    assert inside(ask) == [0, errno.EISCONN, errno.EISCONN, ("10.96.0.1", 80)]
    assert (counts("one"), counts("two")) == (ONE, {})


def test_p22_connect_of_a_connecting_socket_is_one_attempt(inside, counts):
    def ask():
        with socket.socket() as sock:
            sock.setblocking(False)
            return [raw.connect(sock, raw.sockaddr(vip, 80)) for vip in ("10.96.0.4", "10.96.0.4", "10.96.0.1")]
    assert inside(ask) == [errno.EINPROGRESS, errno.EALREADY, errno.EALREADY]
    assert (counts("silent"), counts("one")) == ({"attempts": 1, "aborted": 1}, {})


def test_p22_disconnect_and_connect_to_another_service(inside, counts):
    """AF_UNSPEC passes no door; the flow ends with the connection, and the next one is new."""
    def ask():
        with socket.socket() as sock:
            steps = [raw.connect(sock, raw.sockaddr("10.96.0.1", 80)), raw.peer(sock),
                     raw.connect(sock, raw.UNSPEC), raw.peer(sock), counts("one"),
                     raw.connect(sock, raw.sockaddr("10.96.0.2", 80)), raw.peer(sock), raw.read_all(sock)]
            return steps
    assert inside(ask) == [0, ("10.96.0.1", 80), 0, errno.ENOTCONN, ONE, 0, ("10.96.0.2", 80), b"10.1.0.2"]
    assert (counts("one"), counts("two")) == (ONE, ONE)


def test_p22_disconnect_while_connecting(inside, counts):
    def ask():
        with socket.socket() as sock:
            sock.setblocking(False)
            first = raw.connect(sock, raw.sockaddr("10.96.0.4", 80))
            undone = raw.connect(sock, raw.UNSPEC)
            sock.setblocking(True)
            return first, undone, counts("silent"), raw.connect(sock, raw.sockaddr("10.96.0.1", 80)), raw.read_all(sock)
    assert inside(ask) == (errno.EINPROGRESS, 0, {"attempts": 1, "aborted": 1}, 0, b"10.1.0.1")
    assert counts("one") == ONE


@pytest.mark.parametrize("number", ["p22", "p23"])
def test_failed_socket_connects_again(inside, counts, number):
    """P-22: its old attempt is closed in the books. P-23: a known cookie is no reason to deny."""
    def ask():
        with socket.socket() as sock:
            again = "10.96.0.3" if number == "p23" else "10.96.0.1"
            return raw.connect(sock, raw.sockaddr("10.96.0.3", 80)), raw.connect(sock, raw.sockaddr(again, 80)), \
                raw.connect(sock, raw.sockaddr("10.96.0.1", 80)), raw.peer(sock)
    first, second, third, peer = inside(ask)
    assert peer == ("10.96.0.1", 80)
    if number == "p23":
        assert (first, second, third) == (errno.ECONNREFUSED, errno.ECONNREFUSED, 0)
        assert counts("closed") == {"attempts": 2, "refused": 2}
    else:
        assert (first, second, third) == (errno.ECONNREFUSED, 0, errno.EISCONN)
        assert counts("closed") == {"attempts": 1, "refused": 1}
    assert counts("one") == ONE


def test_p22_service_then_plain_address_on_one_socket(inside, counts):
    """What the socket does after it left the service is not the service's."""
    def ask():
        with socket.socket() as sock:
            steps = [raw.connect(sock, raw.sockaddr("10.96.0.1", 80)), raw.connect(sock, raw.UNSPEC),
                     raw.connect(sock, raw.sockaddr("10.1.0.1", 8080)), raw.peer(sock), counts("one", idle=False)]
            return steps
    assert inside(ask) == [0, 0, 0, ("10.1.0.1", 8080), ONE]


def test_p25_interrupted_connect_goes_on(inside, far, daemon, counts):
    """A signal ends the wait, not the connect; asked again it is still the same one, and succeeds as such."""
    put(daemon, service("late", "10.96.0.6", [("10.7.0.6", 8080)]))

    def ask():
        signal.signal(signal.SIGALRM, lambda *_: None)
        with socket.socket() as sock:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            steps = [raw.connect(sock, raw.sockaddr("10.96.0.6", 80))]
            sock.setblocking(False)
            steps.append(raw.connect(sock, raw.sockaddr("10.96.0.6", 80)))
            far.run(["ip", "address", "add", "10.7.0.6/32", "dev", "lo"])
            steps.append(raw.finish(sock, 10))
            steps.append(raw.connect(sock, raw.sockaddr("10.96.0.6", 80)))
            return steps + [raw.peer(sock), raw.read_all(sock)]
    far.sandbox.spawn(serve_anywhere, "late", namespace=far)
    # The first connect() after the end is told "done", as the kernel does for a socket that was connecting.
    assert inside(ask) == [errno.EINTR, errno.EALREADY, 0, 0, ("10.96.0.6", 80), b"late"]
    assert counts("late") == ONE


def serve_anywhere(says):
    """For Sandbox.spawn: answers at port 8080 of whatever address its namespace has or gets."""
    with socket.socket() as server:
        server.bind(("0.0.0.0", 8080))
        server.listen(16)
        yield
        while True:
            client, _ = server.accept()
            client.sendall(says.encode())
            client.close()


# --- TCP Fast Open ----------------------------------------------------------------------------------------------------

def serve_fast_open(address, port):
    """For Sandbox.spawn: answers what it was asked, after its own address."""
    with socket.socket(family(address)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.IPPROTO_TCP, raw.TCP_FASTOPEN, 16)
        server.bind((address, port))
        server.listen(16)
        yield
        while True:
            client, _ = server.accept()
            said = client.recv(100)
            client.sendall(address.encode() + b" " + said)
            client.close()


def count_fast_open():
    """Connects of this namespace whose SYN carried data that was taken."""
    with open("/proc/self/net/netstat", encoding="ascii") as f:
        names, values = [line.split() for line in f if line.startswith("TcpExt:")]
    return int(values[names.index("TCPFastOpenActive")])


def ask_by_sendto(vip):
    with socket.socket(family(vip)) as sock:
        sock.sendto(b"hello", raw.MSG_FASTOPEN, (vip, 80))
        return raw.peer(sock)[0], raw.read_all(sock).decode()


def ask_by_option(vip):
    with socket.socket(family(vip)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, raw.TCP_FASTOPEN_CONNECT, 1)
        assert raw.connect(sock, raw.sockaddr(vip, 80)) == 0
        sock.sendall(b"hello")
        said = raw.read_all(sock)
        return raw.peer(sock)[0] if raw.peer(sock) != errno.ENOTCONN else vip, said.decode()


@pytest.fixture(scope="module")
def fast_open(sandbox, namespace, daemon):
    for address in ("10.1.0.3", "fd00::3"):
        sandbox.spawn(serve_fast_open, address, 8080, namespace=namespace)
    put(daemon, service("fast", ["10.96.0.7", "fd96::7"], [("10.1.0.3", 8080), ("fd00::3", 8080)]))


@pytest.mark.parametrize("vip,backend", [("10.96.0.7", "10.1.0.3"), ("fd96::7", "fd00::3")])
@pytest.mark.parametrize("ask", [ask_by_sendto, ask_by_option], ids=["sendto", "option"])
def test_p26_fast_open(fast_open, inside, counts, ask, vip, backend):
    """The first connect gets the server's cookie, the others send their data with the SYN."""
    def ask_often():
        before = count_fast_open()
        return [ask(vip) for _ in range(4)], count_fast_open() - before
    said, by_syn = inside(ask_often)
    assert said == [(vip, backend + " hello")] * 4
    assert by_syn >= 3
    assert counts("fast") == {"attempts": 4, "connected": 4}


def test_p26_fast_open_that_never_sends_is_no_failure(fast_open, inside, counts):
    """connect() said 0 before any SYN; the caller then leaves."""
    def ask():
        ask_by_option("10.96.0.7")  # the cookie is there: from now on connect() is deferred
        with socket.socket() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, raw.TCP_FASTOPEN_CONNECT, 1)
            return raw.connect(sock, raw.sockaddr("10.96.0.7", 80))
    assert inside(ask) == 0
    assert counts("fast") == {"attempts": 2, "connected": 1, "not_sent": 1}


def test_p26_fast_open_refused(inside, counts):
    def ask():
        try:
            return ask_by_sendto("10.96.0.3")
        except OSError as error:
            return error.errno
    assert inside(ask) == errno.ECONNREFUSED
    assert counts("closed") == {"attempts": 1, "refused": 1}


def test_p26_fast_open_without_backend(inside, daemon, counts):
    put(daemon, service("empty", "10.96.0.8", []))

    def ask():
        try:
            return ask_by_sendto("10.96.0.8")
        except OSError as error:
            return error.errno
    assert inside(ask) == errno.EHOSTUNREACH
    assert counts("empty") == {"no_backend": 1}


# --- MPTCP ------------------------------------------------------------------------------------------------------------

def serve_mptcp(address, port):
    """For Sandbox.spawn: says its address, and keeps the connection until the client closes it."""
    with socket.socket(family(address), socket.SOCK_STREAM, raw.IPPROTO_MPTCP) as server:
        server.bind((address, port))
        server.listen(16)
        yield
        while True:
            client, _ = server.accept()
            client.sendall(address.encode())
            client.recv(1)
            client.close()


def subflows(sock):
    """How many subflows besides the first one; None when the connection fell back to TCP."""
    try:
        return sock.getsockopt(SOL_MPTCP, MPTCP_INFO, 4)[0]
    except OSError:
        return None


@pytest.fixture(scope="module")
def mptcp(sandbox, namespace, far, daemon):
    """Servers in the far namespace, which announces 10.9.0.3 and the service address 10.96.0.77 as its own, too."""
    try:
        socket.socket(V4, socket.SOCK_STREAM, raw.IPPROTO_MPTCP).close()
    except OSError as error:
        pytest.skip(f"P-27: this kernel has no MPTCP ({error.strerror})")
    for address in ("10.9.0.3/32", "10.96.0.77/32"):
        far.run(["ip", "address", "add", address, "dev", "lo"])
    for address in ("10.9.0.3", "10.96.0.77"):
        namespace.run(["ip", "route", "add", address, "via", FAR])
    for place in (namespace, far):
        place.run(["ip", "mptcp", "limits", "set", "subflow", "4", "add_addr_accepted", "4"])
    sandbox.spawn(serve_mptcp, "::", 8090, namespace=far)
    put(daemon,
        service("many", ["10.96.0.9", "fd96::9"], [(FAR, 8090), ("fd09::2", 8090)]),
        service("announced", "10.96.0.77", [("10.9.0.2", 8090)], port=8090))
    return far


def ask_mptcp(vip, wanted_subflows=0, mapped=False):
    """(errno, peer, what was said, further subflows) of an MPTCP connection."""
    with socket.socket(V6 if mapped else family(vip), socket.SOCK_STREAM, raw.IPPROTO_MPTCP) as sock:
        number = raw.connect(sock, raw.sockaddr(vip, 80, sock.family))
        if number:
            return number, None, None, None
        said = sock.recv(100)
        end = time.monotonic() + 5
        while (subflows(sock) or 0) < wanted_subflows and time.monotonic() < end:
            time.sleep(0.02)
        return number, raw.peer(sock), said, subflows(sock)


@pytest.mark.parametrize("vip,mapped", [("10.96.0.9", False), ("fd96::9", False), ("10.96.0.9", True)],
                         ids=["v4", "v6", "mapped"])
def test_p27_mptcp_has_the_service_as_its_peer(mptcp, inside, counts, vip, mapped):
    number, peer, said, further = inside(ask_mptcp, vip, 0, mapped)
    assert (number, said, further) == (0, b"::", 0)
    assert peer == ("::ffff:" + vip if mapped else vip, 80)
    assert counts("many") == ONE


def test_p27_further_subflows_are_not_balanced_and_not_counted(mptcp, inside, counts):
    mptcp.run(["ip", "mptcp", "endpoint", "add", "10.9.0.3", "dev", "lo", "signal"])
    try:
        number, peer, _, further = inside(ask_mptcp, "10.96.0.9", 1)
    finally:
        mptcp.run(["ip", "mptcp", "endpoint", "flush"])
    assert (number, peer, further) == (0, ("10.96.0.9", 80), 1)
    assert counts("many") == ONE


@pytest.mark.parametrize("leave_alone", ["true", "false"])
def test_p21_connects_of_the_kernel_itself(mptcp, inside, daemon, counts, leave_alone):
    """The far side announces an address that is a service's here: a kernel thread connects to it. It is left alone, or
    translated when that was asked for; in both cases the announced address leads to the same server."""
    daemon.reload({"bypass.kernelSockets": leave_alone})
    mptcp.run(["ip", "mptcp", "endpoint", "add", "10.96.0.77", "dev", "lo", "signal"])
    try:
        number, peer, _, further = inside(ask_mptcp, "10.96.0.9", 1)
    finally:
        mptcp.run(["ip", "mptcp", "endpoint", "flush"])
        daemon.reload({"bypass.kernelSockets": "true"})
    assert (number, peer, further) == (0, ("10.96.0.9", 80), 1)
    assert counts("many") == ONE
    assert counts("announced") == ({"bypass_kernel": 1} if leave_alone == "true" else ONE)


# --- io_uring ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["plain", "async", "sqpoll"])
@pytest.mark.parametrize("vip,name,backend", [("10.96.0.1", "one", "10.1.0.1"), ("fd96::1", "six", "fd00::1"),
                                              ("10.96.0.3", "closed", None)], ids=["v4", "v6", "refused"])
def test_p28_io_uring_selects_once(sandbox, namespace, daemon, counts, mode, vip, name, backend):
    said = sandbox.run([os.path.join(BUILD, "tests/integration/uring_connect"), mode, vip, "80"], namespace=namespace,
                       cgroup=daemon.cgroup, seconds=20).split()
    if said == ["none"]:
        pytest.skip("P-28: io_uring is switched off on this kernel")
    if backend:
        assert said == ["0", vip, "80", backend]
        assert counts(name) == ONE
    else:
        assert said[0] == str(-errno.ECONNREFUSED)
        assert counts(name) == {"attempts": 1, "refused": 1}


@pytest.mark.parametrize("mode", ["plain", "async", "sqpoll"])
def test_p28_io_uring_to_a_slow_listener_selects_once(sandbox, namespace, far, daemon, counts, mode):
    """The first SYN is lost, so the ring comes back to the connect later, with the address that was rewritten."""
    host = {"plain": 81, "async": 82, "sqpoll": 83}[mode]
    put(daemon, service(f"slow-{mode}", f"10.96.0.{host}", [(f"10.7.0.{host}", 8091), (f"10.7.0.{host}", 8092)]))
    child = sandbox.start([os.path.join(BUILD, "tests/integration/uring_connect"), mode, f"10.96.0.{host}", "80"],
                          namespace=namespace, cgroup=daemon.cgroup)
    end = time.monotonic() + 5
    while not counts(f"slow-{mode}", idle=False).get("active") and child.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    for port in (8091, 8092):
        sandbox.spawn(serve_port, f"10.7.0.{host}", port, namespace=far)
    far.run(["ip", "address", "add", f"10.7.0.{host}/32", "dev", "lo"])
    said = child.stdout.read().decode().split()
    child.wait(20)
    if said == ["none"]:
        pytest.skip("P-28: io_uring is switched off on this kernel")
    assert said[:3] == ["0", f"10.96.0.{host}", "80"]
    assert counts(f"slow-{mode}") == ONE


def serve_port(address, port):
    """For Sandbox.spawn: says its port. The address may come later."""
    with socket.socket() as server:
        server.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
        server.bind((address, port))
        server.listen(16)
        yield
        while True:
            client, _ = server.accept()
            client.sendall(str(port).encode())
            client.close()


# --- bound sockets, and oneself ---------------------------------------------------------------------------------------

def test_p30_service_whose_only_backend_is_the_caller(inside, daemon, counts):
    """The process that connects is the one that accepts, from and to the same address."""
    put(daemon, service("hairpin", "10.96.0.10", [("10.1.0.2", 5555)]))

    def ask():
        with socket.socket() as server, socket.socket() as client:
            server.bind(("10.1.0.2", 5555))
            server.listen(1)
            client.bind(("10.1.0.2", 0))
            number = raw.connect(client, raw.sockaddr("10.96.0.10", 80))
            accepted, source = server.accept()
            with accepted:
                client.sendall(b"me")
                return number, raw.peer(client), source == client.getsockname(), accepted.recv(2)
    assert inside(ask) == (0, ("10.96.0.10", 80), True, b"me")
    assert counts("hairpin") == ONE


def test_p31_client_that_listens_on_the_port_it_connects_to(inside, counts):
    """No loop is suspected: :8080 here and :8080 there are two."""
    def ask():
        with socket.socket() as server, socket.socket() as client:
            for sock in (server, client):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("10.1.0.3", 4444))
            server.bind(("10.1.0.2", 4444))
            server.listen(1)
            number = raw.connect(client, raw.sockaddr("10.96.0.5", 4444))
            accepted, source = server.accept()
            accepted.close()
            return number, raw.peer(client), source
    assert inside(ask) == (0, ("10.96.0.5", 4444), ("10.1.0.3", 4444))
    assert counts("port") == ONE


def test_p31_connection_of_a_socket_with_itself(inside, counts):
    """A socket bound to the very address that its service stands for: TCP connects it with itself."""
    def ask():
        with socket.socket() as sock:
            sock.bind(("10.1.0.2", 4445))
            number = raw.connect(sock, raw.sockaddr("10.96.0.11", 4445))
            sock.sendall(b"echo")
            return number, raw.peer(sock), sock.recv(4)
    assert inside(ask) == (0, ("10.96.0.11", 4445), b"echo")
    assert counts("self") == ONE


@pytest.mark.parametrize("vips,second", [(("10.96.0.1", "10.96.0.2"), 0),
                                         (("10.96.0.1", "10.96.9.9"), errno.EADDRNOTAVAIL)],
                         ids=["two-backends", "one-backend"])
def test_p32_two_services_from_one_source_port(inside, counts, vips, second):
    """Two services that share a backend are one destination on the wire: the second connect finds its port in use, is
    told so by the errno, and nobody but the caller is blamed."""
    def ask():
        with socket.socket() as a, socket.socket() as b:
            for sock in (a, b):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("10.1.0.1", 6666))
                reset_later(sock)
            return raw.connect(a, raw.sockaddr(vips[0], 80)), raw.connect(b, raw.sockaddr(vips[1], 80)), raw.peer(a)
    assert inside(ask) == (0, second, (vips[0], 80))
    assert counts("one") == ONE
    assert counts("seen" if second else "two") == ({"attempts": 1, "not_sent": 1} if second else ONE)


def reset_later(sock):
    """So that the port is free for the next test."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_p33_node_port_bind_conflict():
    pytest.skip("P-33: Sinew has no NodePorts and no bind hook: a bind() is never refused")


# --- past Sinew -------------------------------------------------------------------------------------------------------

def ask_marked(mark):
    with socket.socket() as sock:
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        number = raw.connect(sock, raw.sockaddr("10.96.9.9", 80))
        return number, raw.peer(sock), raw.read_all(sock)


TRANSLATED = (0, ("10.96.9.9", 80), b"10.1.0.1")
LEFT = (0, ("10.96.9.9", 80), b"10.96.9.9")


def test_p35_bypass_by_mark_follows_a_reload(inside, daemon, counts):
    assert inside(ask_marked, MARK) == TRANSLATED
    daemon.reload({"bypass.mark": str(MARK)})
    try:
        assert inside(ask_marked, MARK) == LEFT
        assert inside(ask_marked, 0) == TRANSLATED
        assert inside(ask_marked, MARK + 1) == TRANSLATED
    finally:
        daemon.reload({"bypass.mark": "0"})
    assert inside(ask_marked, MARK) == TRANSLATED
    assert counts("seen") == {"attempts": 4, "connected": 4, "bypass_mark": 1}


def test_p35_bypass_by_mark_opens_a_service_without_backend(inside, daemon):
    """The mark is the way out also where translation would refuse."""
    put(daemon, service("seen", "10.96.9.9", []))
    daemon.reload({"bypass.mark": str(MARK)})
    try:
        assert inside(raw.ask, V4, raw.sockaddr("10.96.9.9", 80))["errno"] == errno.EHOSTUNREACH
        assert inside(ask_marked, MARK) == LEFT
    finally:
        daemon.reload({"bypass.mark": "0"})
        put(daemon, service("seen", "10.96.9.9", [("10.1.0.1", 8080)]))


def test_p40_bypass_by_workload_follows_a_reload(inside, daemon, counts):
    """A cgroup and all below it; its siblings and its parent are served."""
    workload, sibling = os.path.join(daemon.cgroup, "work"), os.path.join(daemon.cgroup, "sibling")
    below = os.path.join(workload, "below")
    for path in (workload, sibling, below):
        os.mkdir(path)
    assert [inside(ask_marked, 0, cgroup=path) for path in (workload, below)] == [TRANSLATED] * 2
    daemon.reload({"bypass.cgroups": workload})
    try:
        assert [inside(ask_marked, 0, cgroup=path) for path in (workload, below)] == [LEFT] * 2
        assert [inside(ask_marked, 0, cgroup=path) for path in (sibling, daemon.cgroup)] == [TRANSLATED] * 2
        shown = daemon.get("/v1/workloads")["items"]
        assert len(shown) == 1 and os.stat(workload).st_ino in shown[0].values()
    finally:
        daemon.reload({"bypass.cgroups": ""})
    assert inside(ask_marked, 0, cgroup=workload) == TRANSLATED
    assert counts("seen") == {"attempts": 5, "connected": 5, "bypass_workload": 2}


def test_reload_with_an_error_keeps_what_was_in_force(inside, daemon):
    daemon.reload({"bypass.mark": str(MARK)})
    with open(daemon.config, "w", encoding="utf-8") as f:
        f.write("bypass.mark: seven\n")
    daemon.child.send_signal(signal.SIGHUP)
    end = time.monotonic() + 5
    while "the old ones stay" not in daemon.log() and time.monotonic() < end:
        time.sleep(0.02)
    assert inside(ask_marked, MARK) == LEFT
    daemon.reload({"bypass.mark": "0"})
    assert inside(ask_marked, MARK) == TRANSLATED


# --- other eyes -------------------------------------------------------------------------------------------------------

def serve_original(address, port):
    """For Sandbox.spawn: a transparent proxy that says where its client had wanted to go, by SO_ORIGINAL_DST."""
    with socket.socket() as server:
        server.bind((address, port))
        server.listen(4)
        yield
        while True:
            client, _ = server.accept()
            _, wanted, host = struct.unpack("!HH4s8x", client.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16))
            client.sendall(f"{socket.inet_ntoa(host)}:{wanted}".encode())
            client.close()


def test_p37_original_dst_of_a_transparent_proxy_is_the_backend(sandbox, namespace, inside):
    """Documented in the README: netfilter sees the connection after the address was replaced."""
    if not shutil.which("nft"):
        pytest.skip("P-37: nft is not installed")
    namespace.run(["nft", "-f", "-"], text="table ip p37 { chain out { type nat hook output priority -100; "
                   "ip daddr 10.1.0.2 tcp dport 8080 redirect to :15001; }; }")
    try:
        proxy = sandbox.spawn(serve_original, "0.0.0.0", 15001, namespace=namespace)
        assert inside(ask_tcp, "10.96.0.2", 80) == ("10.1.0.2:8080", ("10.96.0.2", 80))
        sandbox.end(proxy)
    finally:
        namespace.run(["nft", "delete", "table", "ip", "p37"])


def test_p37_proc_net_and_ss_show_the_backend(inside):
    """Documented in the README: what the kernel tells of its sockets is what is on the wire."""
    def look():
        with socket.create_connection(("10.96.0.1", 80)) as sock:
            port = sock.getsockname()[1]
            shown = subprocess.run(["ss", "-tnH", "sport", "=", f":{port}"], capture_output=True, text=True, check=True)
            return shown.stdout.split()[4]
    assert inside(look) == "10.1.0.1:8080"
