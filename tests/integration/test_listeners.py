# SPDX-License-Identifier: GPL-2.0-or-later
"""Who listens: real sockets in the served cgroup, from listen() to the end, however that comes.

What the programs see is told at once; who was there before them is found, and is gone within a second.
"""
import http.client
import json
import os
import resource
import socket
import statistics
import threading
import time

import pytest

from harness.daemon import Daemon, UnixConnection, family
from harness.going import node
from harness.life import FULL, census, eventually
from harness.sandbox import Namespace, bpf_stats, program_time
from harness.service import put, service

from conftest import BUILD

ROUNDS = 300 if FULL else 100
MPTCP = 262
MAP = 16384


class Stream(threading.Thread):
    """Lines of the watch: (monotonic time, line) as they come."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.lines = []
        self.connection = UnixConnection(daemon.status_socket, timeout=120)
        self.connection.request("GET", "/v1/listeners?watch=true")
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200
        self.start()
        assert eventually(lambda: [one for one in self.seen() if one["type"] == "SYNCED"], 5)

    def run(self):
        try:
            while line := self.answer.readline():
                self.lines.append((time.monotonic(), json.loads(line)))
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass

    def seen(self):
        return [line for _, line in list(self.lines)]

    def when(self, kind, seconds=5, **fields):
        """When the first such line came; None: none did."""
        def found():
            return [at for at, line in list(self.lines) if line["type"] == kind and
                    all(line["listener"].get(key) == value for key, value in fields.items())]
        return (eventually(found, seconds, every=0.002) or [None])[0]


def listen(address, port=0, protocol=0, shared=False):
    six = ":" in address
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM, protocol)
    if shared:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind((address, port))
    s.listen()
    return s


def hold(address, port, protocol=0, shared=False):
    s = listen(address, port, protocol, shared)
    yield
    time.sleep(300)
    s.close()


@pytest.fixture(scope="module")
def early(sandbox, namespace):
    """Before there is a sinewd: processes that listen in the cgroup that it will serve, and in another one."""
    inside, outside = sandbox.cgroup("served"), sandbox.cgroup("elsewhere")
    return (sandbox.spawn(hold, "127.0.0.1", 7001, namespace=namespace, cgroup=inside),
            sandbox.spawn(hold, "127.0.0.1", 7002, namespace=namespace, cgroup=outside))


@pytest.fixture(scope="module")
def daemon(sandbox, early):
    """Instead of the ring's: it comes later than they."""
    return Daemon(sandbox, BUILD, "sinewd", os.path.join(sandbox.cgroup_root, "served"))


@pytest.fixture(scope="module")
def unit(daemon):
    """A cgroup below the served one, named as a unit."""
    path = os.path.join(daemon.cgroup, "payments.service")
    os.mkdir(path)
    return path


@pytest.fixture
def stream(daemon):
    return Stream(daemon)


def at(daemon, **fields):
    return [one for one in daemon.get("/v1/listeners")["items"] if all(one.get(k) == v for k, v in fields.items())]


def test_who_was_there_before_is_found_and_its_end_is_seen_within_a_second(sandbox, daemon, early, stream):
    one, = at(daemon, port=7001)
    assert one["seen"] == "sweep" and one["address"] == "127.0.0.1" and one["cgroup"].endswith("/served")
    assert not at(daemon, port=7002), "it is in another cgroup"
    sandbox.end(early[0])
    ended = time.monotonic()
    took = stream.when("DELETED", port=7001) - ended
    print(f"gone after {took:.2f} s")
    assert took < 1.5 and not at(daemon, port=7001)


def test_a_process_that_listens_is_shown_and_one_that_is_killed_is_gone(sandbox, namespace, daemon, unit, stream):
    child = sandbox.spawn(hold, "127.0.0.1", 7100, namespace=namespace, cgroup=unit)
    assert stream.when("ADDED", port=7100)
    one, = at(daemon, port=7100)
    assert one["unit"] == "payments.service" and one["cgroup"].endswith("/served/payments.service")
    assert one["cgroupId"] == os.stat(unit).st_ino and one["seen"] == "listen" and one["protocol"] == "tcp"
    sandbox.end(child)  # kill -9
    assert stream.when("DELETED", port=7100, cookie=one["cookie"]) and not at(daemon, port=7100)


def churn(rounds, first):
    """(when it listened, when it began to close) of each port; each is there for longer than anybody may be late."""
    held, began, ended = [], [], []
    for n in range(rounds):
        held.append(listen("127.0.0.1", first + n))
        began.append(time.monotonic())
        time.sleep(0.005)
    time.sleep(0.5)
    for s in held:
        ended.append(time.monotonic())
        s.close()
        time.sleep(0.005)
    return list(zip(began, ended))


def test_it_is_shown_and_gone_within_milliseconds(sandbox, namespace, unit, stream):
    times = sandbox.call(churn, ROUNDS, 8000, namespace=namespace, cgroup=unit)
    assert stream.when("DELETED", port=8000 + ROUNDS - 1)
    came = sorted(stream.when("ADDED", port=8000 + n) - began for n, (began, _) in enumerate(times))
    went = sorted(stream.when("DELETED", port=8000 + n) - ended for n, (_, ended) in enumerate(times))
    for name, all_ in (("shown", came), ("gone", went)):
        print(f"{name} after: p50 {statistics.median(all_) * 1e3:.2f} ms, p99 {all_[int(len(all_) * 0.99) - 1] * 1e3:.2f} ms, "
              f"max {all_[-1] * 1e3:.2f} ms")
    assert came[ROUNDS // 2] < 0.1 and went[ROUNDS // 2] < 0.1  # the machine may be busy elsewhere, or none at all


def test_two_sockets_of_one_port_are_two_listeners(sandbox, namespace, daemon, unit, stream):
    two = [sandbox.spawn(hold, "127.0.0.1", 7200, 0, True, namespace=namespace, cgroup=unit) for _ in range(2)]
    assert eventually(lambda: len({one["cookie"] for one in at(daemon, port=7200)}) == 2)
    sandbox.end(two[0])
    assert eventually(lambda: len(at(daemon, port=7200)) == 1)
    sandbox.end(two[1])
    assert eventually(lambda: not at(daemon, port=7200))
    assert [line["type"] for line in stream.seen() if line.get("listener", {}).get("port") == 7200] == ["ADDED", "ADDED",
                                                                                                    "DELETED", "DELETED"]


@pytest.mark.parametrize("address,shown", [("::1", "::1"), ("fd00::1", "fd00::1"), ("::", "::"), ("0.0.0.0", "0.0.0.0"),
                                           ("::ffff:10.1.0.1", "10.1.0.1"), ("10.1.0.2", "10.1.0.2")])
@pytest.mark.parametrize("protocol", [0, MPTCP], ids=["tcp", "mptcp"])
def test_every_address_and_mptcp(sandbox, namespace, daemon, unit, address, shown, protocol):
    child = sandbox.spawn(hold, address, 7300, protocol, namespace=namespace, cgroup=unit)
    assert eventually(lambda: [one["address"] for one in at(daemon, port=7300)] == [shown]), at(daemon, port=7300)
    sandbox.end(child)
    assert eventually(lambda: not at(daemon, port=7300))


def test_p02_a_namespace_is_not_kept_alive(sandbox):
    """One in which somebody listened before us is held to look at it again, and let go when nobody does."""
    place, cgroup = Namespace(sandbox), sandbox.cgroup("early")
    child = sandbox.spawn(hold, "127.0.0.1", 7450, namespace=place, cgroup=cgroup)
    inode = os.stat(f"/proc/{child}/ns/net").st_ino
    made = Daemon(sandbox, BUILD, "early", cgroup)

    def held():
        return [fd for pid in family(made.child.pid) for fd in os.listdir(f"/proc/{pid}/fd")
                if os.stat(f"/proc/{pid}/fd/{fd}").st_ino == inode]
    assert eventually(lambda: at(made, port=7450)) and held()
    sandbox.end(child)
    assert eventually(lambda: not held(), 5)
    made.stop()


def test_the_same_port_in_another_namespace_is_another_listener(sandbox, namespace, daemon, unit):
    other = Namespace(sandbox)
    two = [sandbox.spawn(hold, "127.0.0.1", 7400, namespace=place, cgroup=unit) for place in (namespace, other)]
    assert eventually(lambda: len({one["netns"] for one in at(daemon, port=7400)}) == 2)
    for child in two:
        sandbox.end(child)
    assert eventually(lambda: not at(daemon, port=7400))


def end_by(how, port):
    s = listen("127.0.0.1", port)
    yield
    if how == "shutdown":
        s.shutdown(socket.SHUT_RDWR)
        time.sleep(0.1)
    if how == "forked":
        if os.fork() == 0:
            time.sleep(0.5)
            os._exit(0)
    s.close()
    time.sleep(300)


def test_a_close_after_a_shutdown_and_the_last_of_several_closes(sandbox, namespace, unit, stream):
    for how, port in (("shutdown", 7500), ("forked", 7501)):
        began = time.monotonic()
        child = sandbox.spawn(end_by, how, port, namespace=namespace, cgroup=unit)
        ended = stream.when("DELETED", port=port)
        assert ended and (how != "forked" or ended - began >= 0.5), how
        sandbox.end(child)


def listen_again(port):
    """Closed and opened a hundred times, the last one stays."""
    for _ in range(100):
        listen("127.0.0.1", port).close()
    s = listen("127.0.0.1", port)
    yield
    time.sleep(300)
    s.close()


def test_who_comes_and_goes_quickly_is_told_right_in_the_end(sandbox, namespace, daemon, unit, stream):
    child = sandbox.spawn(listen_again, 7600, namespace=namespace, cgroup=unit)
    assert eventually(lambda: len(at(daemon, port=7600)) == 1)
    time.sleep(0.3)
    left = set()
    for line in stream.seen():
        if line.get("listener", {}).get("port") == 7600:
            (left.add if line["type"] == "ADDED" else left.discard)(line["listener"]["cookie"])
    assert left == {at(daemon, port=7600)[0]["cookie"]}
    sandbox.end(child)


def test_a_restart_knows_who_listens_and_who_went_meanwhile(sandbox, namespace, daemon, unit):
    stays = sandbox.spawn(hold, "127.0.0.1", 7700, namespace=namespace, cgroup=unit)
    goes = sandbox.spawn(hold, "127.0.0.1", 7701, namespace=namespace, cgroup=unit)
    before, = eventually(lambda: at(daemon, port=7700))
    assert eventually(lambda: at(daemon, port=7701))
    daemon.kill()
    sandbox.end(goes)
    new = sandbox.spawn(hold, "127.0.0.1", 7702, namespace=namespace, cgroup=unit)  # the programs see it alone
    daemon.start()
    assert eventually(lambda: at(daemon, port=7700) and at(daemon, port=7702))
    after, = at(daemon, port=7700)
    assert after["seen"] == "listen" and after["unit"] == "payments.service" and after["cookie"] == before["cookie"]
    assert abs(int(after["since"][17:19]) - int(before["since"][17:19])) in (0, 1, 59)
    assert at(daemon, port=7702)[0]["seen"] == "listen" and not at(daemon, port=7701)
    for child in (stays, new):
        sandbox.end(child)
    assert eventually(lambda: not at(daemon, port=7702))


def accept(count, port):
    s = listen("127.0.0.1", port)
    yield
    for _ in range(count):
        one, _ = s.accept()
        one.recv(1)
        one.close()
    time.sleep(300)


def connect(count, port):
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.send(b"x")
            s.recv(1)


def test_accepted_sockets_do_not_inherit_our_interest(sandbox, namespace, daemon, unit):
    """A flag on the listener would be on every socket that it accepts, and each of its states would run the program:
    four times more for each connection."""
    fd = sandbox.open_program(census(BUILD, daemon)["links"]["sn_sockops"]["program"])
    child = sandbox.spawn(accept, 500, 7800, namespace=namespace, cgroup=unit)
    with bpf_stats():
        before = program_time(fd)[1]
        sandbox.call(connect, 500, 7800, namespace=namespace)
        time.sleep(0.2)
        runs = (program_time(fd)[1] - before) / 500
    print(f"{runs:.2f} runs of sn_sockops for a connection that is accepted")
    assert runs < 5
    sandbox.end(child)


def hold_connection(port, vip):
    s = listen("10.1.0.1", port)
    with socket.create_connection((vip, 80)):
        yield
        time.sleep(300)
    s.close()


def test_flows_tell_the_caller_by_name(sandbox, namespace, daemon, unit):
    put(daemon, service("named", "10.96.3.1", [("10.1.0.1", 7900)]))
    child = sandbox.spawn(hold_connection, 7900, "10.96.3.1", namespace=namespace, cgroup=unit)
    shown = eventually(lambda: [one for one in daemon.get("/v1/flows?namespace=test&service=named")["items"] if "unit" in one])
    assert shown and shown[0]["unit"] == "payments.service" and shown[0]["cgroup"].endswith("/served/payments.service")
    assert shown[0]["workload"] == os.stat(unit).st_ino & 0xffffffff
    sandbox.end(child)


def hold_many(count):
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
    held = [listen(f"127.1.{n // 20000}.1", 20000 + n % 20000) for n in range(count)]
    yield
    time.sleep(300)
    del held


def fill(daemon):
    return next(one for one in daemon.get("/v1/status")["maps"] if one["name"] == "sn_listeners")


def test_p61_a_full_map_is_counted_and_shown_and_harms_nobody(sandbox, namespace, daemon, unit):
    few = sandbox.spawn(hold, "127.0.0.1", 7950, namespace=namespace, cgroup=unit)
    assert eventually(lambda: at(daemon, port=7950))
    many = sandbox.spawn(hold_many, MAP + 50, namespace=namespace, cgroup=unit, seconds=60)
    assert eventually(lambda: node(daemon, "listener_full") >= 50, 10)
    assert eventually(lambda: fill(daemon)["used"] == MAP, 20), fill(daemon)
    assert fill(daemon)["max"] == MAP and len(at(daemon)) >= MAP
    assert eventually(lambda: "listener_full" in daemon.log())
    begin = time.monotonic()
    assert daemon.get("/v1/status") and time.monotonic() - begin < 1
    sandbox.end(many)
    assert eventually(lambda: len(at(daemon)) == 1, 20), len(at(daemon))
    child = sandbox.spawn(hold, "127.0.0.1", 7951, namespace=namespace, cgroup=unit)  # there is room again
    assert eventually(lambda: at(daemon, port=7951))
    for one in (few, child):
        sandbox.end(one)


@pytest.mark.parametrize("ends", ["off"])
def test_listeners_are_found_also_where_no_socket_is_ended(sandbox, namespace, ends):
    """datagrams.end is off: the helper is there for this."""
    cgroup = sandbox.cgroup("alone")
    child = sandbox.spawn(hold, "127.0.0.1", 7960, namespace=namespace, cgroup=cgroup)
    made = Daemon(sandbox, BUILD, "alone", cgroup, [f"datagrams.end={ends}"])
    assert eventually(lambda: at(made, port=7960, seen="sweep"))
    sandbox.end(child)
    made.stop()
