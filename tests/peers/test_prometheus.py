# SPDX-License-Identifier: GPL-2.0-or-later
"""One port for all metrics of a node: sinewd's and the agent's, read by a real Prometheus and judged by promtool."""
import os
import re
import socket
import time

import pytest

from harness.agent import Agent
from harness.fixtures import BUILD
from harness.life import eventually
from harness.peer import Ledger, serve_http
from harness.peer_prometheus import Prometheus
from harness.peer_server import Http, free_ports
from harness.service import put, service

ADDRESS = "10.96.0.10"
MANIFEST = """{"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": "filed", "namespace": "test"},
 "spec": {"ports": [{"port": 80}], "endpoints": [{"address": "10.1.0.1", "port": 8080}]}}"""


@pytest.fixture(scope="module", name="agent")
def make_agent(sandbox, namespace, daemon):
    sandbox.spawn(serve_http, "10.1.0.1", 8080, namespace=namespace)
    put(daemon, service("web", ADDRESS, [("10.1.0.1", 8080)]))
    folder = sandbox.path("manifests")
    os.mkdir(folder)
    with open(os.path.join(folder, "one.yaml"), "w", encoding="utf-8") as f:
        f.write(MANIFEST)
    port, = free_ports(1, namespace)
    agent = Agent(sandbox, BUILD, daemon, [{"name": "folder", "type": "files", "path": folder}], namespace=namespace,
                  settings={"metrics.address": f"127.0.0.1:{port}", "dns.address": "127.0.0.153:53",
                            "dns.forward": ["127.0.0.99"]})
    agent.port = port
    agent.wait_ready()
    yield agent
    assert agent.stop() == 0


@pytest.fixture(scope="module", name="http")
def make_http(agent, namespace):
    return Http(agent.port, namespace=namespace)


@pytest.fixture(scope="module", name="prometheus")
def make_prometheus(sandbox, namespace, agent):
    server = Prometheus(sandbox, f"127.0.0.1:{agent.port}", namespace=namespace)
    assert eventually(lambda: server.target_state()[0] == "up", 30)
    yield server
    server.stop()


def test_promtool_has_nothing_to_say(http):
    status, headers, text = http.request("GET", "/metrics")
    assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = text.decode()
    assert Prometheus.check_metrics(text) == ""
    for name in ("sinew_build_info", "sinew_connects_total", "sinew_registry_up", "sinew_agent_synced", "sinew_dns_services"):
        assert re.search(rf"^{name}\b", text, re.MULTILINE), name


def test_no_metric_and_no_series_is_there_twice(http):
    lines = http.get("/metrics").decode().splitlines()
    heads = [line for line in lines if line.startswith("# TYPE ")]
    series = [line.rsplit(" ", 1)[0] for line in lines if line and not line.startswith("#")]
    assert len(heads) == len(set(heads)) and len(series) == len(set(series))


def test_the_manual_names_each_of_the_agents(http):
    with open(os.path.join(os.path.dirname(__file__), "../../userspace/man/sinew-agent.8.scd"), encoding="utf-8") as f:
        told = set(re.findall(r"^(sinew_[a-z_]+)\b", f.read(), re.MULTILINE))
    there = set(re.findall(r"^# TYPE (sinew_(?:agent|registry|registration|dns)_[a-z_]+)", http.get("/metrics").decode(),
                           re.MULTILINE))
    assert told == there


def test_it_is_alive_and_ready_and_says_why(http):
    assert http.get("/livez") == b"ok\n" and http.get("/readyz") == b"ok\n"
    said = http.get("/readyz?verbose").decode()
    assert said.splitlines() == ["[+]files/folder ok", "[+]sinewd ok", "[+]dns 2 services", "ok"]
    assert http.request("GET", "/v1/registries")[0] == 404, "that is for the unix socket"
    assert http.request("POST", "/metrics")[0] == 405


def test_prometheus_reads_what_happened(prometheus, http, daemon, client):
    with Ledger(daemon, "web"):
        for _ in range(30):
            client("curl", "-s", f"http://{ADDRESS}/")
    assert eventually(lambda: sum(value for _, value in prometheus.query(
        'sinew_connects_total{namespace="test",service="web",reason="connected"}')) == 30, 20)
    assert prometheus.query("sinew_agent_synced")[0][1] == 1
    (labels, up), = prometheus.query("sinew_registry_up")
    assert (labels["registry"], labels["type"], up) == ("folder", "files", 1)
    assert prometheus.query('sinew_registry_services{registry="folder"}')[0][1] == 1
    assert prometheus.query("sinew_dns_services")[0][1] == 2
    assert prometheus.query("count(count by (__name__) ({job='sinew'}))")[0][1] > 40


def test_prometheus_goes_on_while_sinewd_is_away(prometheus, http, daemon):
    daemon.kill()
    try:
        assert eventually(lambda: [value for _, value in prometheus.query("sinew_agent_daemon_up")] == [0], 20)
        assert prometheus.target_state() == ("up", "")
        assert Prometheus.check_metrics(http.get("/metrics").decode()) == ""
        # That scrape failed, so the agent asks sinewd itself: at once, but not before it has answered.
        assert eventually(lambda: http.request("GET", "/readyz")[0] == 503, 10)
        status, _, said = http.request("GET", "/readyz?verbose")
        assert status == 503 and b"[-]sinewd " in said and b"[+]dns 2 services" in said
        assert http.get("/livez") == b"ok\n"
    finally:
        daemon.start()
    assert eventually(lambda: [value for _, value in prometheus.query("sinew_agent_daemon_up")] == [1], 20)


def test_a_scrape_of_a_sinewd_that_hangs_ends(http, daemon):
    """Within its three seconds, with the agent's own part; others are served meanwhile."""
    daemon.child.send_signal(19)
    try:
        began = time.monotonic()
        text = http.get("/metrics", seconds=10).decode()
        assert 2 < time.monotonic() - began < 5
        assert "sinew_agent_daemon_up 0" in text and "sinew_build_info" not in text
    finally:
        daemon.child.send_signal(18)
    assert eventually(lambda: "sinew_agent_daemon_up 1" in http.get("/metrics").decode(), 10)


def test_readers_that_never_read_do_not_stop_it(http, agent, namespace):
    slow = []
    for _ in range(20):
        one = Http(agent.port, namespace=namespace)
        one.connection(5).putrequest("GET", "/metrics")
        one.connection(5).endheaders()
        one.connection(5).sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        slow.append(one)
    for _ in range(20):
        assert http.get("/livez", seconds=5) == b"ok\n"
    for one in slow:
        one.close()
