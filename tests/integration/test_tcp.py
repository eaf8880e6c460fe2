# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP connect() through a service address: every form of address and every kind of service, in one table.

A row is asked for in the served cgroup. What is no service must end exactly as it does outside, so those rows
are asked for in both.

Pitfalls: P-20, P-29, P-34, P-36.
"""
import errno
import json
import os
import socket
import subprocess

import pytest

from harness import raw
from harness.sandbox import SandboxError
from harness.service import ask_tcp, ask_tcp_often, put, serve_tcp, service

V4, V6 = socket.AF_INET, socket.AF_INET6
ENDS4 = [("10.1.0.1", 8080), ("10.1.0.2", 8080), ("10.1.0.3", 8080)]
ENDS6 = [("fd00::1", 8080), ("fd00::2", 8080), ("fd00::3", 8080)]


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, daemon):
    for address, port in ENDS4 + ENDS6:
        sandbox.spawn(serve_tcp, address, port, namespace=namespace)
    # p2c weighs how long connects take, too, which on a slow machine says more than weights do
    put(daemon, {"apiVersion": "sinew/v1", "kind": "TrafficPolicy",
                 "metadata": {"name": "weights", "namespace": "test"}, "spec": {"loadBalancer": {"algorithm": "random"}}},
        service("weighted", "10.96.0.10", [("10.1.0.1", 8080, 200), ("10.1.0.2", 8080), ("10.1.0.3", 8080)],
                policy="weights"),
        service("four", "10.96.0.11", ENDS4[:1]), service("six", "fd96::11", ENDS6[:1]),
        service("both", ["10.96.0.12", "fd96::12"], [ENDS4[1], ENDS6[1]]),
        service("empty", ["10.96.0.13", "fd96::13"], []),
        service("drained", ["10.96.0.14", "fd96::14"], [(*ENDS4[0], 0), (*ENDS6[0], 0)]),
        service("any", ["127.200.0.1", "fd73:696e:6577::1"], [("10.1.0.3", None), ("fd00::3", None)], port=0),
        service("any-to-one", ["127.200.0.2", "fd73:696e:6577::2"], [ENDS4[0], ENDS6[0]], port=0),
        service("any-empty", ["127.200.0.3", "fd73:696e:6577::3"], [], port=0),
        service("mixed", "127.200.0.4", [{"address": "10.1.0.2", "ports": {"web": 8080}}],
                ports=[{"name": "any", "port": 0}, {"name": "web", "port": 80}]),
        service("datagrams", "10.96.0.15", ENDS4[:1], protocol="UDP"))


# What is asked for: address, port, form of it; then the backend, or the errno.
# Form: the family of the socket, then the family of the sockaddr. getpeername() must say what was asked for.
SERVED = [
    ("v4", "10.96.0.11", 80, V4, V4, "10.1.0.1"),
    ("v6", "fd96::11", 80, V6, V6, "fd00::1"),
    ("mapped", "10.96.0.11", 80, V6, V6, "10.1.0.1"),
    ("both-v4", "10.96.0.12", 80, V4, V4, "10.1.0.2"),
    ("both-v6", "fd96::12", 80, V6, V6, "fd00::2"),
    ("both-mapped", "10.96.0.12", 80, V6, V6, "10.1.0.2"),
    ("any-port-v4", "127.200.0.1", 8080, V4, V4, "10.1.0.3"),
    ("any-port-v6", "fd73:696e:6577::1", 8080, V6, V6, "fd00::3"),
    ("any-port-mapped", "127.200.0.1", 8080, V6, V6, "10.1.0.3"),
    ("any-port-to-one-v4", "127.200.0.2", 1, V4, V4, "10.1.0.1"),
    ("any-port-to-one-v6", "fd73:696e:6577::2", 65535, V6, V6, "fd00::1"),
    ("any-port-to-one-mapped", "127.200.0.2", 4242, V6, V6, "10.1.0.1"),
    ("own-port-beside-any-port", "127.200.0.4", 80, V4, V4, "10.1.0.2"),
    ("any-port-beside-own-port", "127.200.0.4", 8080, V4, V4, "10.1.0.2"),
    ("any-port-keeps-the-port", "127.200.0.4", 81, V4, V4, errno.ECONNREFUSED),
    ("any-port-refused", "127.200.0.1", 8081, V4, V4, errno.ECONNREFUSED),
    ("p20-empty-v4", "10.96.0.13", 80, V4, V4, errno.EHOSTUNREACH),
    ("p20-empty-v6", "fd96::13", 80, V6, V6, errno.EHOSTUNREACH),
    ("p20-empty-mapped", "10.96.0.13", 80, V6, V6, errno.EHOSTUNREACH),
    ("p20-drained-v4", "10.96.0.14", 80, V4, V4, errno.EHOSTUNREACH),
    ("p20-drained-v6", "fd96::14", 80, V6, V6, errno.EHOSTUNREACH),
    ("p20-drained-mapped", "10.96.0.14", 80, V6, V6, errno.EHOSTUNREACH),
    ("p20-any-port-v4", "127.200.0.3", 7, V4, V4, errno.EHOSTUNREACH),
    ("p20-any-port-v6", "fd73:696e:6577::3", 7, V6, V6, errno.EHOSTUNREACH),
    ("p20-any-port-mapped", "127.200.0.3", 7, V6, V6, errno.EHOSTUNREACH),
]

# What is not ours: the errno that it has without us.
LEFT_ALONE = [
    ("backend-itself", "10.1.0.2", 8080, V4, V4, 0),
    ("backend-itself-v6", "fd00::2", 8080, V6, V6, 0),
    ("backend-itself-mapped", "10.1.0.2", 8080, V6, V6, 0),
    ("closed-port", "10.1.0.1", 9, V4, V4, errno.ECONNREFUSED),
    ("closed-port-v6", "fd00::1", 9, V6, V6, errno.ECONNREFUSED),
    ("closed-port-mapped", "10.1.0.1", 9, V6, V6, errno.ECONNREFUSED),
    ("no-route", "198.51.100.1", 80, V4, V4, errno.ENETUNREACH),
    ("no-route-v6", "2001:db8::1", 80, V6, V6, errno.ENETUNREACH),
    ("no-route-mapped", "198.51.100.1", 80, V6, V6, errno.ENETUNREACH),
    ("service-other-port", "10.96.0.11", 81, V4, V4, errno.ENETUNREACH),
    ("service-other-port-v6", "fd96::11", 81, V6, V6, errno.ENETUNREACH),
    ("service-other-protocol", "10.96.0.15", 80, V4, V4, errno.ENETUNREACH),
    ("pool-address-unused", "127.200.0.9", 80, V4, V4, errno.ECONNREFUSED),
    ("pool-address-unused-v6", "fd73:696e:6577::9", 80, V6, V6, errno.ENETUNREACH),
    ("broadcast", "255.255.255.255", 80, V4, V4, errno.ENETUNREACH),
    ("multicast-v6", "ff02::1", 80, V6, V6, errno.ENETUNREACH),
    ("p29-localhost", "127.0.0.1", 80, V4, V4, errno.ECONNREFUSED),
    ("p29-localhost-v6", "::1", 80, V6, V6, errno.ECONNREFUSED),
    ("p29-zero", "0.0.0.0", 80, V4, V4, errno.ECONNREFUSED),
    ("p29-zero-v6", "::", 80, V6, V6, errno.ECONNREFUSED),
    ("p29-zero-mapped", "0.0.0.0", 80, V6, V6, errno.ECONNREFUSED),
    ("p29-zero-to-server", "0.0.0.0", 8080, V4, V4, errno.ECONNREFUSED),
    ("v4-sockaddr-on-v6-socket", "10.96.0.11", 80, V6, V4, errno.EINVAL),
    ("long-v4-sockaddr-on-v6-socket", "10.96.0.11", 80, V6, None, errno.EAFNOSUPPORT),
    ("v6-sockaddr-on-v4-socket", "fd96::11", 80, V4, V6, errno.EAFNOSUPPORT),
]


def names(rows):
    return [row[0] for row in rows]


def asked_bytes(row):
    _, address, port, _, form, _ = row
    if form:
        return raw.sockaddr(address, port, form)
    return raw.sockaddr(address, port, V4) + bytes(12)  # an IPv4 address, as long as an IPv6 one


def as_told(family, address):
    return "::ffff:" + address if family == V6 and ":" not in address else address


@pytest.mark.parametrize("row", SERVED, ids=names(SERVED))
def test_connect_reaches_the_backend_or_fails_with_the_errno(inside, row):
    _, address, port, family, _, expected = row
    seen = inside(raw.ask, family, asked_bytes(row))
    if isinstance(expected, str):
        assert seen == {"errno": 0, "peer": (as_told(family, address), port), "backend": expected}
    else:
        assert errno.errorcode[seen["errno"]] == errno.errorcode[expected]


@pytest.mark.parametrize("row", LEFT_ALONE, ids=names(LEFT_ALONE))
def test_unknown_address_is_left_exactly_as_it_was(inside, sandbox, row):
    _, address, port, family, _, expected = row
    seen = inside(raw.ask, family, asked_bytes(row))
    assert seen["errno"] == expected
    assert seen == inside(raw.ask, family, asked_bytes(row), cgroup=sandbox.cgroup_root)
    if not expected:
        assert seen["peer"] == (as_told(family, address), port)


@pytest.mark.parametrize("kind", ["four", "empty"])
def test_p20_refusal_is_counted_with_its_reason(inside, daemon, kind):
    """A service with a backend counts no refusal; one without counts each."""
    before = daemon.get(f"/v1/services/test/{kind}")["status"]["traffic"]
    vip = "10.96.0.11" if kind == "four" else "10.96.0.13"
    for _ in range(5):
        inside(raw.ask, V4, raw.sockaddr(vip, 80))
    after = daemon.get(f"/v1/services/test/{kind}")["status"]["traffic"]
    refused = after["refused"]["no_backend"] - before["refused"]["no_backend"]
    assert (refused, after["attempts"] - before["attempts"]) == ((0, 5) if kind == "four" else (5, 0))


@pytest.mark.parametrize("door", ["sn_connect4", "sn_connect6", "sn_sendmsg4", "sn_sendmsg6"])
def test_p20_program_in_the_kernel_sets_the_errno(daemon, door):
    """Not compiled out, not replaced: the loaded program calls the helper without which a refusal is EPERM."""
    def bpftool(*words):
        # 7.5 shows a pinned link and ends with 255: what it said is judged, not its status.
        return subprocess.run(["bpftool", *words], capture_output=True, text=True, check=False).stdout
    link = json.loads(bpftool("-j", "link", "show", "pinned", os.path.join(daemon.pinned, "links", door)))
    assert "bpf_set_retval" in bpftool("prog", "dump", "xlated", "id", str(link["prog_id"]))


@pytest.mark.parametrize("family,address", [(V4, "10.96.0.13"), (V6, "fd96::13"), (V6, "10.96.0.13")])
def test_p20_non_blocking_connect_fails_at_once(inside, family, address):
    def ask():
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            first = raw.connect(sock, raw.sockaddr(address, 80, family))
            return first, raw.connect(sock, raw.sockaddr(address, 80, family))
    assert inside(ask) == (errno.EHOSTUNREACH, errno.EHOSTUNREACH)


def test_connect_reaches_every_backend_by_weight(inside):
    seen = inside(ask_tcp_often, "10.96.0.10", 80, 400)
    assert sorted(seen) == ["10.1.0.1", "10.1.0.2", "10.1.0.3"]
    assert 150 < seen["10.1.0.1"] < 250


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "127.0.0.1", "::1"])
def test_p29_zero_and_loopback_addresses_cannot_become_services(daemon, address):
    with pytest.raises(SandboxError, match="422"):
        put(daemon, service("captures", address, ENDS4[:1]))


def test_p29_node_address_is_a_service_only_when_declared(inside, daemon):
    """An address of this host, port 9000: refused before, translated when a manifest says so, refused after."""
    ask = (raw.ask, V4, raw.sockaddr("10.1.0.1", 9000))
    assert inside(*ask)["errno"] == errno.ECONNREFUSED
    put(daemon, service("node", "10.1.0.1", [("10.1.0.2", 8080)], port=9000))
    assert inside(*ask) == {"errno": 0, "peer": ("10.1.0.1", 9000), "backend": "10.1.0.2"}
    daemon.request("DELETE", "/v1/services/test/node")
    assert inside(*ask)["errno"] == errno.ECONNREFUSED


def test_p34_other_protocols_pass_untouched(inside):
    """UDP-Lite, ICMP and raw sockets that connect to a service's address keep it."""
    def connect(kind, protocol):
        with socket.socket(V4, kind, protocol) as sock:
            number = raw.connect(sock, raw.sockaddr("10.96.0.11", 80))
            return number, raw.peer(sock)
    inside(give_route)
    sent = {
        "udplite": inside(connect, socket.SOCK_DGRAM, raw.IPPROTO_UDPLITE),
        "icmp": inside(connect, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
        "raw": inside(connect, socket.SOCK_RAW, socket.IPPROTO_TCP),
    }
    assert {name: seen[0] for name, seen in sent.items()} == {"udplite": 0, "icmp": 0, "raw": 0}
    assert {name: seen[1][0] for name, seen in sent.items()} == dict.fromkeys(sent, "10.96.0.11")


@pytest.mark.parametrize("name,protocol", [("sctp", 132), ("dccp", 33)])
def test_p34_sctp_and_dccp_pass_untouched(inside, name, protocol):
    """Where the kernel has them: no service is of that protocol, so the address stays."""
    def connect():
        try:
            with socket.socket(V4, socket.SOCK_STREAM if name == "sctp" else 6, protocol) as sock:
                sock.setblocking(False)
                return raw.connect(sock, raw.sockaddr("10.96.0.13", 80))
        except OSError as error:
            return -error.errno
    inside(give_route)
    number = inside(connect)
    if number in (-errno.EPROTONOSUPPORT, -errno.ESOCKTNOSUPPORT):
        pytest.skip(f"P-34: this kernel has no {name}")
    assert number in (0, errno.EINPROGRESS)


def give_route():
    """A route for service addresses, so that an untranslated connect of a datagram socket succeeds."""
    with open("/proc/sys/net/ipv4/ping_group_range", "w", encoding="ascii") as f:
        f.write("0 0")
    with socket.socket(V4, socket.SOCK_DGRAM) as sock:
        if raw.connect(sock, raw.sockaddr("10.97.0.1", 9)) == errno.ENETUNREACH:
            subprocess.run(["ip", "route", "add", "10.96.0.0/12", "dev", "lo"], check=True)


def test_p36_getsockname_and_getpeername_tell_the_same_family_and_who_was_asked(inside):
    """Programs that compare the peer with what they configured (libceph, TLS by address) see what they asked for."""
    def look():
        with socket.create_connection(("10.96.0.11", 80)) as v4, socket.create_connection(("fd96::11", 80)) as v6:
            return v4.getpeername(), v4.getsockname()[0], v6.getpeername()[:2], v6.getsockname()[0]
    peer4, name4, peer6, name6 = inside(look)
    assert peer4 == ("10.96.0.11", 80)
    assert peer6 == ("fd96::11", 80)
    assert name4 == "10.1.0.1"  # the kernel routes to the backend, and takes the source that this route has
    assert name6.startswith("fd00::")


def test_getpeername_stays_when_the_service_is_gone(inside, daemon):
    def look():
        with socket.create_connection(("10.96.0.20", 80)) as sock:
            before = sock.getpeername()
            daemon.request("DELETE", "/v1/services/test/short")
            return before, sock.getpeername()
    put(daemon, service("short", "10.96.0.20", ENDS4[:1]))
    assert inside(look) == (("10.96.0.20", 80), ("10.96.0.20", 80))
