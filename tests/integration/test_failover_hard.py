# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes wrong around failover: forged packets, SYNs with data, no room, an interface that vanishes, two daemons.

Each service has a dead backend that is always tried first (going.py). The silent ones are behind a cable whose
far end swallows packets (far.py); a raw socket in the far namespace writes what a stranger, or the backend, would.
"""
import contextlib
import errno
import json
import os
import socket
import struct
import subprocess
import time

import pytest

from harness import raw
from harness.daemon import Daemon
from harness.far import make_far
from harness.going import CLOSED, age, declare, entries, going, node, read_moved, traffic
from harness.life import eventually, tool
from harness.sandbox import Namespace, SandboxError, bpf_stats, program_time
from harness.service import ask_tcp, connect_errno, put, serve_tcp, service

from conftest import ADDRESSES, BUILD

DEAD, GOOD = "10.1.0.3", "10.1.0.1"
PORT = 8080
LIVE = "10.9.0.2"  # the far end itself serves
MUTE, MUTE6 = "10.7.0.1", "fd07::1"
LIVE6 = "fd09::2"
PATIENCE = 0.3  # so long nothing must happen


@pytest.fixture(scope="module")
def daemon(sandbox, namespace):
    """Instead of the ring's: it looks after the interfaces of the clients' namespace."""
    return Daemon(sandbox, BUILD, "sinewd", sandbox.cgroup("served"), namespace=namespace)


@pytest.fixture(scope="module", autouse=True)
def far(sandbox, namespace, daemon):
    made = make_far(sandbox, namespace)
    namespace.run(["sysctl", "-qw", "net.ipv4.tcp_syn_retries=3"])
    for address in (GOOD, "fd00::1"):
        sandbox.spawn(serve_tcp, address, PORT, namespace=namespace)
    for address in (LIVE, LIVE6):
        sandbox.spawn(serve_tcp, address, PORT, namespace=made)
    put(daemon, going("on"), going("off", attempts=0))
    declare(daemon, "dead", "10.96.0.1", (DEAD, PORT), [(GOOD, PORT)], "on")
    declare(daemon, "mute", "10.96.0.2", (MUTE, PORT), [(LIVE, PORT)], "on")
    declare(daemon, "mute6", "fd96::2", (MUTE6, PORT), [(LIVE6, PORT)], "on")
    assert eventually(lambda: carries(daemon, "lo") and carries(daemon, "cable"))
    return made


def carries(daemon, interface):
    return interface in {one["name"] for one in daemon.get("/v1/status")["interfaces"] if not one.get("reason")}


@pytest.fixture(autouse=True)
def books_balance(daemon):
    """After every test: nobody is left active, and every attempt has one outcome."""
    yield
    for one in daemon.get("/v1/services")["items"]:
        name = one["metadata"]["name"]
        assert eventually(lambda: traffic(daemon, name)["active"] == 0), name  # pylint: disable=cell-var-from-loop
        seen = traffic(daemon, name)
        assert seen["attempts"] == sum(seen["outcomes"].values()) - seen["outcomes"]["reset"], (name, seen)


def settled(call):
    """What a call to a kernel under test answered, with the time that it took."""
    begin = time.monotonic()
    answer = call()
    return answer, time.monotonic() - begin


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def pseudo(source, target, protocol, body):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, target)
    tail = struct.pack("!IHBB", len(body), 0, 0, protocol) if ":" in source else struct.pack("!BBH", 0, protocol, len(body))
    return ends + tail + body


def wrapped(source, target, protocol, body):
    """An IP packet around a body."""
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + socket.inet_pton(socket.AF_INET6, source) + \
            socket.inet_pton(socket.AF_INET6, target) + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0) + socket.inet_aton(source) + \
        socket.inet_aton(target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def reset(source, target, ports, ack):
    """A RST that acknowledges `ack`."""
    tcp = struct.pack("!HHIIBBHHH", *ports, 0, ack & 0xffffffff, 5 << 4, 0x14, 0, 0, 0)
    return wrapped(source, target, 6, tcp[:16] + struct.pack("!H", checksum(pseudo(source, target, 6, tcp))) + tcp[18:])


def unreachable(router, target, quoted, ports, seq):
    """An ICMP error of a router to `target` about its SYN to `quoted`: (source port, destination port)."""
    six = ":" in router
    tcp = struct.pack("!HHIIBBHHH", *ports, seq & 0xffffffff, 0, 5 << 4, 2, 0, 0, 0)
    body = wrapped(target, quoted, 6, tcp)
    head = struct.pack("!BBHI", 1 if six else 3, 0 if six else 1, 0, 0)
    total = checksum(pseudo(router, target, 58, head + body) if six else head + body)
    return wrapped(router, target, 58 if six else 1, head[:2] + struct.pack("!H", total) + head[4:] + body)


def send_raw(packet):
    """From the far namespace, to whom it says."""
    if packet[0] >> 4 == 6:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            sock.sendto(packet, (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0))
        return
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))


class Attempt:
    """A connect in flight to a silent backend: what is known of its SYN, and what comes of it."""

    def __init__(self, daemon, vip, mute):
        self.mute = mute
        self.sock = socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET)
        self.sock.setblocking(False)
        self.sock.connect_ex((vip, 80))
        self.address, self.port = self.sock.getsockname()[:2]
        one = eventually(lambda: [e for e in entries(daemon) if e["client_port_be"] == struct.pack("!H", self.port) and
                                  e["state"] == 2])
        self.isn, = struct.unpack("!I", one[0]["isn_be"])

    def outcome(self, seconds):
        """The connect's errno; EINPROGRESS when nothing came of it so far."""
        return raw.finish(self.sock, seconds)

    def answer(self):
        self.sock.setblocking(True)
        return raw.read_all(self.sock).decode()


FAMILIES = [("10.96.0.2", MUTE, LIVE), ("fd96::2", MUTE6, LIVE6)]
IDS = ["inet", "inet6"]


def forge(sandbox, far, daemon, vip, mute, make, wrong):
    """Sends one packet that `make(attempt, how)` writes for each way to be wrong, then the right one. (what came of the
    connect after the wrong ones, how many were counted as forged, what came of it in the end)"""
    def run():
        before = node(daemon, "forged")
        one = Attempt(daemon, vip, mute)
        with one.sock:
            for how in wrong:
                sandbox_call(sandbox, far, make(one, how))
            kept = one.outcome(PATIENCE)
            counted = node(daemon, "forged") - before
            sandbox_call(sandbox, far, make(one, None))
            number = one.outcome(5)
            return kept, counted, number, one.answer() if number == 0 else None
    return run


def sandbox_call(sandbox, far, packet):
    sandbox.call(send_raw, packet, namespace=far)


@pytest.mark.parametrize("vip,mute,live", FAMILIES, ids=IDS)
def test_a_forged_reset_does_not_steer_a_flow_and_the_true_one_does(sandbox, far, inside, daemon, vip, mute, live):
    def make(one, how):
        shift = {None: 1, "behind": 0, "ahead": 2, "far": 0x12345678}[how]
        return reset(mute, one.address, (PORT, one.port), one.isn + shift)
    moved = traffic(daemon, "mute6" if ":" in vip else "mute")["failedOver"]
    assert inside(forge(sandbox, far, daemon, vip, mute, make, ["behind", "ahead", "far"])) == \
        (errno.EINPROGRESS, 3, 0, live)
    assert traffic(daemon, "mute6" if ":" in vip else "mute")["failedOver"] == moved + 1


@pytest.mark.parametrize("vip,mute,live", FAMILIES, ids=IDS)
def test_a_reset_from_another_port_or_host_is_not_ours(sandbox, far, inside, daemon, vip, mute, live):
    def make(one, how):
        source = {"host": mute[:-1] + "9"}.get(how, mute)
        return reset(source, one.address, (PORT + (how == "port"), one.port), one.isn + 1)
    assert inside(forge(sandbox, far, daemon, vip, mute, make, ["host", "port"])) == (errno.EINPROGRESS, 0, 0, live)


@pytest.mark.parametrize("vip,mute,live", FAMILIES, ids=IDS)
def test_an_icmp_error_with_a_wrong_quote_does_not_steer_a_flow_and_the_true_one_does(
        sandbox, far, inside, daemon, vip, mute, live):
    def make(one, how):
        ports = (one.port, PORT + (how == "port"))
        return unreachable(live, one.address, mute, ports, one.isn + (77 if how == "sequence" else 0))
    assert inside(forge(sandbox, far, daemon, vip, mute, make, ["sequence", "port"])) == (errno.EINPROGRESS, 1, 0, live)


def test_a_forged_reset_for_a_flow_that_moved_is_not_believed_either(sandbox, far, inside, daemon):
    """From the first backend, and from the one that it is at, which is silent, too."""
    second = "10.7.0.2"
    declare(daemon, "mutes", "10.96.0.3", (MUTE, PORT), [(second, PORT)], "on")

    def run():
        one = Attempt(daemon, "10.96.0.3", MUTE)
        with one.sock:
            sandbox_call(sandbox, far, reset(MUTE, one.address, (PORT, one.port), one.isn + 1))
            assert eventually(lambda: traffic(daemon, "mutes")["failedOver"] == 1)
            for source, ack in ((MUTE, one.isn + 1), (second, one.isn + 7), (second, one.isn)):
                sandbox_call(sandbox, far, reset(source, one.address, (PORT, one.port), ack))
            kept = one.outcome(PATIENCE)
            sandbox_call(sandbox, far, reset(second, one.address, (PORT, one.port), one.isn + 1))
            return kept, one.outcome(5)
    assert inside(run) == (errno.EINPROGRESS, errno.ECONNREFUSED)
    assert traffic(daemon, "mutes")["refused"]["failover_missed"] == 1


# --- SYNs that are not sent anew --------------------------------------------------------------------------------------

def fast_open(vip, times):
    """The errno of each connect that carries data, and what a server said to it; the first asks for a cookie."""
    seen = []
    for _ in range(times):
        with socket.socket() as sock:
            try:
                sock.sendto(b"hello", raw.MSG_FASTOPEN, (vip, 80))
                seen.append((0, raw.read_all(sock).decode()))
            except OSError as error:
                seen.append((error.errno, None))
    return seen


def test_a_syn_with_data_is_never_sent_to_another_backend(namespace, inside, daemon):
    """Without a cookie the kernel sends none of it; the setting makes it send data at once."""
    namespace.run(["sysctl", "-qw", "net.ipv4.tcp_fastopen=0x5"])  # client, and data without a cookie
    before = node(daemon, "syn_data"), traffic(daemon, "dead")["failedOver"]
    try:
        seen = inside(fast_open, "10.96.0.1", 5)
    finally:
        namespace.run(["sysctl", "-qw", "net.ipv4.tcp_fastopen=1"])
    assert seen == [(errno.ECONNREFUSED, None)] * 5
    assert node(daemon, "syn_data") - before[0] == 5 and traffic(daemon, "dead")["failedOver"] == before[1]
    assert inside(ask_tcp, "10.96.0.1", 80) == (GOOD, ("10.96.0.1", 80))


# --- an interface that vanishes ---------------------------------------------------------------------------------------

def connect_until(path, result, vip):
    """For Sandbox.spawn: connects until `path` is there, then writes {errno: how often} to `result`. None may hang."""
    seen = {}
    yield
    while not os.path.exists(path):
        number, took = settled(lambda: connect_errno(vip, 80, timeout=20))
        seen[str(number)] = seen.get(str(number), 0) + 1
        assert took < 16, took  # what the kernel's own patience with a SYN is here
        time.sleep(0.01)
    with open(result + ".new", "w", encoding="ascii") as f:
        json.dump(seen, f)
    os.rename(result + ".new", result)


@contextlib.contextmanager
def connecting(sandbox, namespace, daemon, vip):
    """Connects one after another while inside; yields a dict that has {errno: how often} afterwards."""
    path, seen = sandbox.path(f"until.{time.monotonic_ns()}"), {}
    pid = sandbox.spawn(connect_until, path, path + ".seen", vip, namespace=namespace, cgroup=daemon.cgroup)
    yield seen
    open(path, "w", encoding="ascii").close()
    assert eventually(lambda: os.path.exists(path + ".seen"), 30, 0.1), "a connect is stuck"
    with open(path + ".seen", encoding="ascii") as f:
        seen.update({int(number): count for number, count in json.load(f).items()})
    sandbox.end(pid)


def test_an_interface_deleted_amid_failing_over_traffic_leaves_nothing_stuck(sandbox, namespace, far, inside, daemon):
    """The second cable leads to a closed port and to a live one; it goes and comes five times."""
    def plug():
        namespace.run(["ip", "link", "add", "cable2", "type", "veth", "peer", "name", "end2", "netns", str(far.keeper.pid)])
        for place, device, host in ((namespace, "cable2", 1), (far, "end2", 2)):
            place.run(["ip", "link", "set", device, "up"])
            place.run(["ip", "address", "add", f"10.10.0.{host}/24", "dev", device])
    plug()
    sandbox.spawn(serve_tcp, "0.0.0.0", 8088, namespace=far)
    declare(daemon, "pulled", "10.96.0.6", ("10.10.0.2", 9), [("10.10.0.2", 8088)], "on")
    assert eventually(lambda: carries(daemon, "cable2"))
    with connecting(sandbox, namespace, daemon, "10.96.0.6") as seen:
        for _ in range(5):
            time.sleep(0.3)
            namespace.run(["ip", "link", "del", "cable2"])
            time.sleep(0.1)
            plug()
        assert eventually(lambda: carries(daemon, "cable2"))
        time.sleep(0.3)
    assert seen.get(0) and set(seen) <= {0, errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT}, seen
    assert inside(connect_errno, "10.96.0.6", 80) == 0
    live = [e for e in entries(daemon) if e["moves"]]
    assert read_moved(daemon) == len(live) and {e["state"] for e in live} == {CLOSED}


# --- two daemons, loops, others' programs -----------------------------------------------------------------------------

def test_a_second_daemon_is_refused_while_connects_go_on(sandbox, namespace, daemon):
    with connecting(sandbox, namespace, daemon, "10.96.0.1") as seen:
        time.sleep(0.2)
        done = subprocess.run(daemon.command(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
                              check=False, preexec_fn=sandbox.entering(namespace, None, None, False))
    assert done.returncode == 1 and "another sinewd" in done.stderr
    assert set(seen) == {0} and seen[0] > 1, seen


def test_connects_go_on_while_the_daemon_is_dead_and_as_it_comes_back(sandbox, namespace, daemon):
    full = node(daemon, "syn_full")
    with connecting(sandbox, namespace, daemon, "10.96.0.1") as seen:
        daemon.kill()
        time.sleep(0.3)
        daemon.start()
        time.sleep(0.3)
    # those whose bucket was full of connections of the last two minutes are as without us
    assert seen.pop(errno.ECONNREFUSED, 0) == node(daemon, "syn_full") - full
    assert set(seen) == {0} and seen[0] > 1, seen


def test_a_fallback_to_itself_or_in_a_loop_is_refused(daemon):
    put(daemon, going("spare-a", fallback=["loop-b"]), going("spare-b", fallback=["loop-a"]),
        service("loop-a", "10.96.0.7", [(GOOD, PORT)]))
    with pytest.raises(Exception, match="fallback"):
        put(daemon, going("self", fallback=["loop-a"]), service("loop-a", "10.96.0.7", [(GOOD, PORT)], policy="self"))
    put(daemon, service("loop-b", "10.96.0.8", [(GOOD, PORT)], policy="spare-b"))
    with pytest.raises(Exception, match="fallback"):
        put(daemon, service("loop-a", "10.96.0.7", [(GOOD, PORT)], policy="spare-a"))


@pytest.mark.parametrize("how", ["tcx", "clsact"])
@pytest.mark.parametrize("theirs", ["tcx", "clsact"])
def test_filters_of_others_still_see_the_packets(sandbox, how, theirs):
    """Someone's program on the same hook, counted by the kernel: it runs for SYNs, answers, data and ends alike."""
    own, name = Namespace(sandbox, addresses=ADDRESSES), f"{how}-{theirs}"
    try:
        child = sandbox.start_ready([tool(BUILD, "pairs"), "lo", theirs], namespace=own)
    except SandboxError:
        pytest.skip(f"this kernel has no {theirs}")
    made = Daemon(sandbox, BUILD, name, sandbox.cgroup(name), [f"failover.attach={how}"], namespace=own)
    sandbox.spawn(serve_tcp, GOOD, PORT, namespace=own)
    put(made, going("on"))
    declare(made, "dead", "10.96.0.1", (DEAD, PORT), [(GOOD, PORT)], "on")
    assert eventually(lambda: carries(made, "lo"))
    listed = json.loads(sandbox.run([tool(BUILD, "pairs"), "lo", "list"], namespace=own))[theirs]
    program = sandbox.open_program(next(number for said, number in listed if said == "someone_elses"))
    with bpf_stats():
        before = program_time(program)[1]
        answer = sandbox.call(ask_tcp, "10.96.0.1", 80, namespace=own, cgroup=made.cgroup)
        seen = program_time(program)[1] - before
    assert answer == (GOOD, ("10.96.0.1", 80)) and traffic(made, "dead")["failedOver"] == 1
    assert seen >= 6
    child.terminate()
    child.wait()
    made.stop()


def hold_open(vip, count):
    """For Sandbox.spawn: so many connections, until its end."""
    kept = [socket.create_connection((vip, 80)) for _ in range(count)]
    yield
    while kept:
        time.sleep(60)


def test_what_closed_long_ago_is_forgotten_and_then_interfaces_are_let_go(sandbox):
    """Those that are open stay, and keep the programs where they are although no policy wants them any more."""
    own = Namespace(sandbox, addresses=ADDRESSES)
    made = Daemon(sandbox, BUILD, "tidy", sandbox.cgroup("tidy"), namespace=own)
    sandbox.spawn(serve_tcp, GOOD, PORT, namespace=own)
    put(made, going("on"))
    declare(made, "dead", "10.96.0.1", (DEAD, PORT), [(GOOD, PORT)], "on")
    assert eventually(lambda: carries(made, "lo"))
    pid = sandbox.spawn(hold_open, "10.96.0.1", 3, namespace=own, cgroup=made.cgroup)
    for _ in range(20):
        assert sandbox.call(connect_errno, "10.96.0.1", 80, namespace=own, cgroup=made.cgroup) == 0
    assert read_moved(made) == len(entries(made)) == 23 and age(made) == 20
    assert eventually(lambda: read_moved(made) == 3, 12, 0.2) and len(entries(made)) == 3
    put(made, going("on", attempts=0))
    sandbox.end(pid)
    assert not eventually(lambda: not carries(made, "lo"), 2) and read_moved(made) == 3
    assert age(made) == 3
    assert eventually(lambda: not carries(made, "lo"), 12, 0.2) and read_moved(made) == 0
    made.stop()


# --- no room ----------------------------------------------------------------------------------------------------------

def connect_from(port, vip):
    """(socket, errno) of a connect from a port of one's own choice, which may still wait in TIME_WAIT elsewhere."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((DEAD, port))
    return sock, raw.connect(sock, raw.sockaddr(vip, 80))


def fill_bucket(daemon, vip):
    """Opens moved connections until one finds no room; (its errno, counted, errors before, ports whose buckets are full)"""
    held, errors, port = [], [], 20000
    full = node(daemon, "syn_full")
    with contextlib.ExitStack() as stack:
        while port < 32000:
            sock, number = connect_from(port, vip)
            stack.enter_context(sock)
            held.append(port)
            if number:
                errors.append((port, number))
            if len(errors) == 3:
                break
            port += 1
        counted = node(daemon, "syn_full") - full
        shown = len([e for e in entries(daemon) if e["state"] != CLOSED and e["moves"]])
        port, _ = errors[0]
        # where there is no room a connect is as without us: its first backend decides
        with connect_from(port + 20000, "10.96.0.5")[0] as plain:
            alive = raw.read_all(plain).decode()
        return [number for _, number in errors], counted, len(held), shown, alive


def test_a_full_bucket_leaves_connects_as_without_us_and_is_counted(inside, daemon):
    """Buckets have four places; with thousands of moved connections some client finds its own full."""
    put(daemon, service("alive", "10.96.0.5", [(GOOD, PORT)], policy="on"))

    def allow():
        import resource  # pylint: disable=import-outside-toplevel
        resource.setrlimit(resource.RLIMIT_NOFILE, (20000, max(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
        return fill_bucket(daemon, "10.96.0.1")
    before = traffic(daemon, "dead")["failedOver"]
    errors, counted, tried, shown, alive = inside(allow, seconds=120)
    assert errors == [errno.ECONNREFUSED] * 3, errors
    moved = traffic(daemon, "dead")["failedOver"] - before
    assert (counted, moved, shown, alive) == (3, tried - 3, tried - 3, GOOD)
    assert eventually(lambda: not [e for e in entries(daemon) if e["state"] not in (0, CLOSED)])
