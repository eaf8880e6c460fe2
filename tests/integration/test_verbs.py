# SPDX-License-Identifier: GPL-2.0-or-later
"""Backends set aside by hand: who gets them, what is told, and that it ends by the kernel's time, whoever lives then."""
import json
import os
import subprocess
import time

import pytest

from harness.daemon import Daemon, Events
from harness.datagram import ask_connected, connect, errno_of, open_socket
from harness.life import ask, eventually
from harness.service import ask_tcp_often, put, serve_tcp, serve_udp, service

from conftest import ADDRESSES, BUILD

VIP = "10.96.7.1"
ENDS = [(ADDRESSES[0], 8080), (ADDRESSES[1], 8080)]
CTL = os.path.join(BUILD, "sinewctl")


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace):
    for address in ADDRESSES[:2]:
        sandbox.spawn(serve_tcp, address, 8080, namespace=namespace)
        sandbox.spawn(serve_udp, address, 8080, namespace=namespace)


@pytest.fixture(autouse=True)
def whole(daemon):
    """Each test starts with two backends that nobody holds."""
    if daemon.child.poll() is not None:
        daemon.start()
    put(daemon, service("shop", VIP, ENDS))
    for address, _ in ENDS:
        assert hold(daemon, "restore", address)[0] == 200


def hold(daemon, verb, endpoint, query=""):
    status, said = ask(daemon.socket, "POST", f"/v1/services/test/shop/endpoints/{endpoint}/{verb}{query}")
    return status, json.loads(said)


def shown(daemon, address):
    for one in daemon.get("/v1/backends?service=shop")["items"]:
        if one["address"] == address:
            return one
    return None


def answers(inside, times=20):
    return set(inside(ask_tcp_often, VIP, 80, times))


def test_an_ejected_backend_gets_nothing_and_a_restored_one_does(inside, daemon):
    assert answers(inside) == set(ADDRESSES[:2])
    with Events(daemon, "?service=shop") as events:
        status, said = hold(daemon, "eject", ADDRESSES[0], "?reason=leaks%20memory")
        assert status == 200 and said["hold"]["kind"] == "eject" and said["hold"]["until"]
        assert (said["hold"]["why"], said["hold"]["by"]) == ("leaks memory", f"uid {os.getuid()} pid {os.getpid()}")
        row = shown(daemon, ADDRESSES[0])
        assert row["state"] == "held" and not row["usable"] and row["hold"].keys() == said["hold"].keys()
        assert answers(inside) == {ADDRESSES[1]}
        status, said = hold(daemon, "restore", ADDRESSES[0])
        assert status == 200 and "hold" not in said
        assert events.wait(1, type="backend.held") and events.wait(1, type="backend.restored")
    assert answers(inside) == set(ADDRESSES[:2])
    assert daemon.log().count("leaks memory") == 1


def test_not_even_panic_picks_what_is_held(inside, daemon):
    for address in ADDRESSES[:2]:
        assert hold(daemon, "eject", address)[0] == 200
    def refused():
        import errno
        from harness.service import connect_errno
        assert [connect_errno(VIP, 80) for _ in range(5)] == [errno.EHOSTUNREACH] * 5
    inside(refused)


def test_it_lasts_as_long_as_was_said(inside, daemon):
    with Events(daemon, "?service=shop") as events:
        assert hold(daemon, "eject", ADDRESSES[0], "?for=700ms")[0] == 200
        begin = time.monotonic()
        assert answers(inside, 5) == {ADDRESSES[1]}
        assert eventually(lambda: events.matching(type="backend.restored"), 5)
        assert 0.7 <= time.monotonic() - begin < 3
        assert "its time is over" in events.matching(type="backend.restored")[0]["message"]
    assert answers(inside) == set(ADDRESSES[:2])
    assert not os.path.exists(os.path.join(daemon.state, "holds.json")) or eventually(
        lambda: not os.path.exists(os.path.join(daemon.state, "holds.json")))


def test_a_hold_survives_kill_9_and_ends_while_no_daemon_lives(inside, daemon):
    assert hold(daemon, "eject", ADDRESSES[0], "?for=3s&reason=first")[0] == 200
    assert hold(daemon, "drain", ADDRESSES[1], "?reason=second")[0] == 200
    begin = time.monotonic()
    daemon.kill()
    assert hold_restarted(daemon) == ("first", "second")
    daemon.kill()
    time.sleep(max(0.0, begin + 3.05 - time.monotonic()))
    assert answers(inside) == {ADDRESSES[0]}  # nobody told the kernel
    daemon.start()
    assert eventually(lambda: "its time is over" in daemon.log())
    assert hold(daemon, "restore", ADDRESSES[1])[0] == 200
    assert answers(inside) == set(ADDRESSES[:2])


def hold_restarted(daemon):
    """The reasons in the file, once a daemon has taken over."""
    daemon.start()
    with open(os.path.join(daemon.state, "holds.json"), encoding="utf-8") as f:
        return tuple(sorted(one["reason"] for one in json.load(f)["holds"]))


def test_what_is_gone_is_forgotten(inside, daemon):
    assert hold(daemon, "eject", ADDRESSES[0], "?for=0")[0] == 200
    put(daemon, service("shop", VIP, ENDS[1:]))
    assert eventually(lambda: "the backend is gone" in daemon.log())
    put(daemon, service("shop", VIP, ENDS))
    assert answers(inside) == set(ADDRESSES[:2])


def test_p85_a_hold_is_not_inherited_by_another_instance(inside, daemon):
    first = [{"address": address, "port": 8080, "instance": f"{number:016x}"}
             for number, address in enumerate(ADDRESSES[:2], 1)]
    put(daemon, service("shop", VIP, first))
    assert hold(daemon, "eject", ADDRESSES[0], "?for=0")[0] == 200
    put(daemon, service("shop", VIP, [{**first[0], "weight": 7}, first[1]]))
    assert answers(inside) == {ADDRESSES[1]}
    put(daemon, service("shop", VIP, [{**first[0], "instance": "f" * 16}, first[1]]))
    assert eventually(lambda: "another instance is at its address" in daemon.log())
    assert answers(inside) == set(ADDRESSES[:2])
    put(daemon, service("shop", VIP, ENDS))


def test_another_address_of_the_service_is_held_too(inside, daemon):
    assert hold(daemon, "eject", ADDRESSES[0], "?for=0")[0] == 200
    put(daemon, service("shop", [VIP, "fd00:96::71"], ENDS))
    def both():
        return set(ask_tcp_often(VIP, 80, 10))
    assert inside(both) == {ADDRESSES[1]}
    rows = [one for one in daemon.get("/v1/backends?service=shop")["items"] if one["address"] == ADDRESSES[0]]
    assert rows
    put(daemon, service("shop", VIP, ENDS))


@pytest.mark.parametrize("way", ["auto", "diag"])
def test_datagram_sockets_leave_what_is_drained_not_what_is_ejected(sandbox, namespace, way):
    made = Daemon(sandbox, BUILD, f"ends_{way}", sandbox.cgroup(f"ends_{way}"), [f"datagrams.end={way}"])
    if "stale datagram sockets cannot be ended" in made.log():
        pytest.skip("this kernel cannot end datagram sockets in this way")
    put(made, service("asked", "10.96.7.2", ENDS[:1], port=53, protocol="UDP"))

    def post(verb):
        return ask(made.socket, "POST", f"/v1/services/test/asked/endpoints/{ADDRESSES[0]}/{verb}")[0]

    def client():
        with open_socket("inet") as sock:
            connect(sock, "inet", "10.96.7.2", 53)
            assert ask_connected(sock)[0]
            assert post("eject") == 200
            time.sleep(1)
            assert ask_connected(sock)[0]
            assert post("drain") == 200
            return eventually(lambda: errno_of(sock.send, b"x"), 3)
    assert sandbox.call(client, namespace=namespace, cgroup=made.cgroup)
    assert made.stop() == 0


def test_the_command_line_does_it(daemon):
    def run(*words):
        return subprocess.run([CTL, "--socket", daemon.socket, "backend", *words], capture_output=True, text=True,
                              timeout=20, check=False)
    done = run("drain", "test/shop", f"{ADDRESSES[0]}:8080", "--reason", "by hand")
    assert (done.returncode, done.stdout) == (0, f"{ADDRESSES[0]}:8080 of test/shop drained until restored\n")
    assert run("restore", "test/shop", ADDRESSES[0]).returncode == 0
    assert run("eject", "test/shop", "10.9.9.9").returncode == 4
