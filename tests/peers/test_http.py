# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that people use, unchanged, reach a service by its address: each request is answered by a backend, every
backend answers some, the client sees the service as its peer, and the kernel has counted each request once.

Pitfalls: P-26, P-27.
"""
import os
import socket

import pytest

from harness import nginx
from harness.fixtures import BUILD
from harness.peer import IPPROTO_MPTCP, Ledger, check, need, serve_http
from harness.service import put, service

HERE = os.path.dirname(os.path.abspath(__file__))
TIMES = 60  # a backend of three that gets none of them: once in ten thousand million runs
BACKENDS = {4: ("10.1.0.1", "10.1.0.2", "10.1.0.3"), 6: ("fd00::1", "fd00::2", "fd00::3")}
ADDRESS = {4: "10.96.0.10", 6: "fd00:96::10"}
URL = {4: "http://10.96.0.10/", 6: "http://[fd00:96::10]/"}
MPTCP_ADDRESS, MPTCP_PORT = "10.96.0.20", 8082


@pytest.fixture(scope="module", autouse=True)
def world(sandbox, namespace, daemon):
    namespace.run(["sysctl", "-qw", "net.ipv4.tcp_fastopen=3"])
    for version, backends in BACKENDS.items():
        for address in backends:
            sandbox.spawn(serve_http, address, 8080, namespace=namespace)
        put(daemon, service(f"web{version}", ADDRESS[version], [(address, 8080) for address in backends]))


@pytest.fixture(params=(4, 6), ids=("ipv4", "ipv6"))
def version(request):
    return request.param


def check_client(daemon, client, version, words, peer=True, seconds=60):
    with Ledger(daemon, f"web{version}") as ledger:
        said = client(*words, seconds=seconds)
    check(said, ledger, TIMES, BACKENDS[version], (ADDRESS[version], 80) if peer else None)


def test_curl(daemon, client, version):
    words = [need("curl"), "-s", "-g", "-H", "Connection: close", "-w", r" [%{remote_ip}]:%{remote_port}\n"]
    check_client(daemon, client, version, words + [URL[version]] * TIMES)


REQUESTS = """
import sys, requests
for _ in range(int(sys.argv[2])):
    with requests.get(sys.argv[1], stream=True, timeout=10) as answer:
        peer = answer.raw._fp.fp.raw._sock.getpeername()
        print(answer.text, "[%s]:%d" % peer[:2])
"""


def test_python_requests(daemon, client, version):
    pytest.importorskip("requests", reason="python3-requests is not installed: scripts/deps test")
    check_client(daemon, client, version, ["/usr/bin/python3", "-c", REQUESTS, URL[version], str(TIMES)])


def test_go_net_http(daemon, client, version, go_client):
    check_client(daemon, client, version, [go_client, "http", URL[version], str(TIMES)])


def test_node_fetch(daemon, client, version):
    node = need("node")
    if "function" not in client(node, "-p", "typeof fetch"):
        pytest.skip("this Node has no fetch: it came with version 18")
    # Whether undici tells of its connections to others depends on the version.
    told = client(node, os.path.join(HERE, "client.mjs"), "http", URL[version], "1").split()[1] != "-"
    check_client(daemon, client, version,
                 [node, os.path.join(HERE, "client.mjs"), "http", URL[version], str(TIMES)], peer=told)


def test_java_http_client(daemon, client, version):
    need("javac")
    words = [need("java"), "-Djava.net.preferIPv6Addresses=" + ("true" if version == 6 else "false"),
             os.path.join(HERE, "Client.java"), URL[version], str(TIMES)]
    check_client(daemon, client, version, words, peer=False, seconds=120)


def test_io_uring(daemon, client, version):
    program = os.path.join(os.path.realpath(BUILD), "tests", "peers", "uring_http")
    if client(program, ADDRESS[version], "80", "0") == "none\n":
        pytest.skip("this kernel has no io_uring for us")
    check_client(daemon, client, version, [program, ADDRESS[version], "80", str(TIMES)])


# --- proxies are clients, too ------------------------------------------------------------------------
NGINX = "listen 127.0.0.1:8090; location / {{ proxy_pass {url}; add_header X-Peer $upstream_addr; }}"
HAPROXY = """
global
    maxconn 256
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend here
    bind 127.0.0.1:8091
    default_backend service
backend service
    http-reuse never
    server only {address}:80
"""


def check_proxy(daemon, client, version, port):
    """The proxy is asked from outside the service; what it does there is a connection of its own for each request."""
    ask = [need("curl"), "-s", "-H", "Connection: close", "-w", r" -\n"]
    client(*ask, "--retry", "40", "--retry-connrefused", "--retry-delay", "0", "--retry-max-time", "20",
           f"http://127.0.0.1:{port}/")
    with Ledger(daemon, f"web{version}") as ledger:
        said = client(*ask, *[f"http://127.0.0.1:{port}/"] * TIMES)
    check(said, ledger, TIMES, BACKENDS[version])


def test_nginx_proxy_pass(sandbox, namespace, daemon, client, version):
    program = need("nginx")
    folder = sandbox.path(f"nginx{version}")
    os.mkdir(folder)
    config = sandbox.write(f"nginx{version}.conf", nginx.configure(folder, NGINX.format(url=URL[version])))
    child = sandbox.start([program, "-c", config, "-p", folder], namespace=namespace, cgroup=daemon.cgroup)
    check_proxy(daemon, client, version, 8090)
    headers = client(need("curl"), "-s", "-D", "-", "-o", "/dev/null", "http://127.0.0.1:8090/")
    assert f"X-Peer: {URL[version][7:-1]}:80" in headers
    child.kill()
    child.wait()


def test_haproxy(sandbox, namespace, daemon, client, version):
    haproxy = need("haproxy")
    config = sandbox.write(f"haproxy{version}.cfg", HAPROXY.format(address=ADDRESS[version]))
    child = sandbox.start([haproxy, "-db", "-f", config], namespace=namespace, cgroup=daemon.cgroup)
    check_proxy(daemon, client, version, 8091)
    child.kill()
    child.wait()


# --- more than plain TCP -----------------------------------------------------------------------------
def fast_opens():
    """SYNs with data that were acknowledged, in this network namespace."""
    with open("/proc/net/netstat", encoding="ascii") as f:
        lines = [line.split() for line in f if line.startswith("TcpExt:")]
    return int(dict(zip(lines[0], lines[1]))["TCPFastOpenActive"])


def test_p26_tcp_fast_open(daemon, client, inside, version):
    """The backend's cookie is asked for once; then data rides on the SYN, and a backend is still chosen once."""
    curl = need("curl")
    if "tcp-fastopen" not in client(curl, "--help", "all"):
        pytest.skip("this curl has no --tcp-fastopen")
    before = inside(fast_opens)
    words = [curl, "-s", "-g", "--tcp-fastopen", "-H", "Connection: close", "-w", r" [%{remote_ip}]:%{remote_port}\n"]
    with Ledger(daemon, f"web{version}") as ledger:
        said = client(*words, *[URL[version]] * TIMES)
    check(said, ledger, TIMES, BACKENDS[version])
    # While data waits for the SYN there is no peer yet, and curl shows none; a backend it must never show.
    assert {line.split()[1] for line in said.splitlines()} <= {f"[{ADDRESS[version]}]:80", "[]:80"}
    assert inside(fast_opens) - before >= TIMES - 2 * len(BACKENDS[version])


@pytest.fixture(scope="module")
def mptcp(sandbox, namespace, daemon):
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
    except OSError as error:
        pytest.skip(f"this kernel has no MPTCP: {error.strerror}")
    for address in BACKENDS[4]:
        sandbox.spawn(serve_http, address, MPTCP_PORT, IPPROTO_MPTCP, namespace=namespace)
    put(daemon, service("mptcp", MPTCP_ADDRESS, [(address, MPTCP_PORT) for address in BACKENDS[4]]))


def ask_mptcp(address, port):
    """What a server says, the peer, and whether both ends have kept to MPTCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as client:
        client.settimeout(10)
        client.connect((address, port))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        said = b""
        while part := client.recv(4096):
            said += part
            peer = client.getpeername()
            try:
                client.getsockopt(284, 1, 64)  # SOL_MPTCP, MPTCP_INFO: not after a fall back to TCP
                kept = True
            except OSError:
                kept = False
        return said.rsplit(b"\r\n", 1)[1].decode(), "%s:%d" % peer, kept


def ask_mptcp_often(address, port, times):
    return [ask_mptcp(address, port) for _ in range(times)]


def test_p27_mptcp(daemon, inside, mptcp):
    with Ledger(daemon, "mptcp") as ledger:
        said = inside(ask_mptcp_often, MPTCP_ADDRESS, 80, TIMES)
    assert all(kept for _, _, kept in said), "fell back to TCP"
    check("\n".join(f"{answer} {peer}" for answer, peer, _ in said), ledger, TIMES, BACKENDS[4], (MPTCP_ADDRESS, 80))


def test_p27_curl_under_mptcpize(daemon, client, mptcp):
    words = [need("mptcpize"), "run", need("curl"), "-s", "-H", "Connection: close", "-w",
             r" %{remote_ip}:%{remote_port}\n"]
    with Ledger(daemon, "mptcp") as ledger:
        said = client(*words, *[f"http://{MPTCP_ADDRESS}/"] * TIMES)
    check(said, ledger, TIMES, BACKENDS[4], (MPTCP_ADDRESS, 80))
