# SPDX-License-Identifier: GPL-2.0-or-later
"""The real servers themselves: each starts, answers, dies and comes back, so that a test of Sinew against one that fails
is not about the server. After it: tests of each registry."""
import json
import os
import time

import pytest

from harness.life import eventually
from harness.peer import need
from harness.peer_consul import Consul
from harness.peer_docker import Docker, Podman
from harness.peer_etcd import ROOT_PASSWORD, Etcd
from harness.peer_eureka import Eureka
from harness.peer_kubernetes import NEEDED, KubeApiserver
from harness.peer_prometheus import Prometheus
from harness.peer_server import AnswerError, Http, built, is_built, peers_folder, versions

REGISTER_EUREKA = """
const { Eureka } = require(process.argv[2] + "/node_modules/eureka-js-client");
const client = new Eureka({
	instance: { app: "node", hostName: "127.0.0.9", ipAddr: "127.0.0.9", port: { "$": 9000, "@enabled": true },
		vipAddress: "node", instanceId: "node-1", dataCenterInfo: { "@class":
		"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", name: "MyOwn" } },
	eureka: { host: "127.0.0.1", port: Number(process.argv[3]), servicePath: "/eureka/apps/", fetchRegistry: false } });
client.start((error) => { process.exit(error ? 1 : 0); });
"""
REGISTER_CONSUL = """
const Consul = require(process.argv[2] + "/node_modules/consul");
const consul = new Consul({ host: "127.0.0.1", port: Number(process.argv[3]) });
consul.agent.service.register({ name: "node", address: "127.0.0.9", port: 9000 }).then(() => process.exit(0));
"""


def note(server):
    """Seconds to ready and MiB, for whoever runs this with -rP."""
    print(f"{server.PEER}: ready in {server.seconds:.1f} s, {server.memory():.0f} MiB")


@pytest.mark.parametrize("name", versions())
def test_was_built_when_that_was_asked_for(name):
    if is_built(name):
        return
    if not os.environ.get("SINEW_PEERS_BUILD"):
        pytest.skip(f"{name} is not built: scripts/test --peers")
    with open(os.path.join(peers_folder(), f"{name}.log"), encoding="utf-8", errors="replace") as log:
        pytest.fail(f"{name} could not be built: {log.read()[-3000:]}")


def test_consul_registers_watches_and_forgets(sandbox):
    consul = Consul(sandbox)
    note(consul)
    consul.register("pay", "127.0.0.5", 8080, Tags=["blue"])
    assert [one["Service"]["Port"] for one in consul.health("pay")] == [8080]
    index = consul.http.request("GET", "/v1/health/service/pay")[1]["X-Consul-Index"]
    consul.register("pay", "127.0.0.6", 8080)
    waited = consul.http.get(f"/v1/health/service/pay?index={index}&wait=5s")
    assert len(waited) == 2
    snapshot = consul.take_snapshot()
    consul.deregister("pay-127.0.0.5-8080")
    assert len(consul.health("pay")) == 1
    consul.put_many([("many", "127.0.1.1", port) for port in range(1000, 1200)])
    assert len(consul.health("many")) == 200
    consul.give_snapshot(snapshot)
    assert consul.health("many") == []
    consul.kill()
    consul.start()
    assert consul.health("pay") == []


def test_consul_with_tokens_certificates_and_a_socket(sandbox):
    consul = Consul(sandbox, acl=True, unix=True)
    consul.register("pay", "127.0.0.5", 8080)
    one = consul.make_token('service "pay" { policy = "read" }\nnode_prefix "" { policy = "read" }')
    other = consul.make_token('service "other" { policy = "read" }')
    # It says that it left something out only to a token: to the anonymous it says nothing at all.
    for token, seen, said in ((None, 0, None), (other, 0, "true"), (one, 1, None)):
        status, headers, body = Http(consul.port).request("GET", "/v1/health/service/pay", headers={
            "X-Consul-Token": token} if token else None)
        assert (status, len(json.loads(body))) == (200, seen)
        assert headers.get("X-Consul-Results-Filtered-By-ACLs") == said
    assert Http(path=consul.unix_path, headers={"X-Consul-Token": one}).get("/v1/catalog/services") == {"pay": []}
    consul.stop()
    safe = Consul(sandbox, tls=True, name="consul-tls")
    safe.register("pay", "127.0.0.5", 8080)
    assert len(safe.health("pay")) == 1
    with pytest.raises(OSError):
        Http(safe.port, tls=safe.authority.context()).get("/v1/status/leader")
    safe.stop()


def test_servers_in_a_namespace_are_asked_there(sandbox, namespace):
    consul = Consul(sandbox, namespace=namespace, persistent=True)
    etcd = Etcd(sandbox, namespace=namespace, name="etcd-inside")
    consul.register("pay", "10.1.0.1", 8080)
    etcd.put("a", "1")
    for server in (consul, etcd):
        with pytest.raises(OSError):
            Http(server.port).get("/")  # nobody listens on this host's own loopback
    assert etcd.run("get", "--print-value-only", "a") == "1\n"
    consul.kill()
    consul.start()
    assert [one["Service"]["Address"] for one in consul.health("pay")] == ["10.1.0.1"]
    etcd.pause()
    with pytest.raises(TimeoutError):
        etcd.http.get("/health", seconds=0.5)
    etcd.resume()
    assert etcd.get("a") == b"1"
    consul.stop()
    etcd.stop()


def test_etcd_keeps_its_keys_over_a_kill_and_gets_old_ones_back(sandbox):
    etcd = Etcd(sandbox)
    note(etcd)
    etcd.put("services/a", "1")
    etcd.save()
    etcd.start()
    lease = etcd.grant(1)
    etcd.put("services/b", "2", lease)
    assert etcd.list("services/") == {"services/a": b"1", "services/b": b"2"}
    assert eventually(lambda: etcd.get("services/b") is None, seconds=8)
    etcd.put_many((f"many/{n}", "x") for n in range(3000))
    etcd.kill()
    etcd.start()
    assert len(etcd.list("many/")) == 3000
    assert etcd.run("get", "--print-value-only", "services/a") == "1\n"
    etcd.compact()
    etcd.restore()
    etcd.start()
    assert etcd.list("many/") == {}
    etcd.wipe()
    etcd.start()
    assert etcd.get("services/a") is None


def test_etcd_with_users_and_certificates(sandbox):
    etcd = Etcd(sandbox, auth=True)
    etcd.make_user("agent", "secret", "services/")
    etcd.put("services/a", "1")
    token = etcd.authenticate("agent", "secret")
    reader = Http(etcd.port, headers={"Authorization": token})
    assert reader.post("/v3/kv/range", {"key": "c2VydmljZXMvYQ=="})["count"] == "1"
    with pytest.raises(AnswerError):
        reader.post("/v3/kv/range", {"key": "b3RoZXI="})
    etcd.restart()
    assert etcd.run("get", "services/a", user=f"root:{ROOT_PASSWORD}").split() == ["services/a", "1"]
    etcd.stop()
    safe = Etcd(sandbox, tls=True, name="etcd-tls")
    safe.put("a", "1")
    assert safe.run("get", "a").split() == ["a", "1"]
    with pytest.raises(OSError):
        Http(safe.port, tls=safe.authority.context()).get("/health")
    safe.stop()


@pytest.fixture(scope="module")
def kubernetes(sandbox):
    server = KubeApiserver(sandbox)
    yield server
    server.stop()
    server.etcd.stop()


def test_kubernetes_serves_services_slices_and_nodes(kubernetes):
    note(kubernetes)
    made = kubernetes.put_service("pay", ports=(80, 443))
    assert made["spec"]["clusterIP"].startswith("10.0.")
    kubernetes.put_slice("pay", ["10.1.0.5", "10.1.0.6"])
    kubernetes.put_slice("pay", ["10.1.0.7"])
    kubernetes.put_node("n1", zone="a")
    assert [one["addresses"] for one in kubernetes.get("endpointslices", "pay-1")["endpoints"]] == [["10.1.0.7"]]
    assert kubernetes.run("get", "service", "pay", "-o", "name") == "service/pay\n"
    kubernetes.delete("services", "pay")


def test_kubernetes_gives_each_user_its_rights(kubernetes):
    kubernetes.grant("reader")
    kubernetes.grant("partial", NEEDED[:1])
    target = "/apis/discovery.k8s.io/v1/endpointslices"

    def allowed(user):
        return kubernetes.client(user).request("GET", target)[0]
    assert eventually(lambda: allowed("reader") == 200)
    assert (allowed("partial"), allowed("blind")) == (403, 403)
    for how in ("token", "tokenFile", "certificate", "exec"):
        config = kubernetes.kubeconfig("reader", how)
        assert "pay-1" in kubernetes.run("get", "endpointslices", config=config)
    folder = kubernetes.in_cluster()
    kubernetes.grant("agent", kind="ServiceAccount")
    with open(f"{folder}/token", encoding="ascii") as f:
        kubernetes.tokens["agent"] = f.read()
    assert eventually(lambda: allowed("agent") == 200)


def test_kubernetes_gets_an_old_state_back_and_an_empty_one(kubernetes):
    kubernetes.put_service("kept")
    kubernetes.save()
    kubernetes.start()
    kubernetes.put_service("lost")
    kubernetes.restore()
    kubernetes.start()

    def names():
        return {one["metadata"]["name"] for one in kubernetes.http.get("/api/v1/namespaces/default/services")["items"]}
    assert names() >= {"kept"} and "lost" not in names()
    kubernetes.wipe()
    kubernetes.start()
    assert names() <= {"kubernetes"}


def test_kubernetes_answers_410_to_a_watch_from_before_a_compaction(kubernetes):
    old = kubernetes.http.get("/api/v1/services")["metadata"]["resourceVersion"]
    for n in range(3):
        kubernetes.put_service(f"later-{n}")
    kubernetes.compact()
    kubernetes.kill()
    kubernetes.start()
    said = kubernetes.http.request("GET", f"/api/v1/services?watch=1&resourceVersion={old}&timeoutSeconds=2")
    assert said[0] == 410 or b'"code":410' in said[2]


def test_kubernetes_shows_thousands_of_endpoints(kubernetes):
    began = time.monotonic()
    kubernetes.make_many(10000, 30000)
    target = "/apis/discovery.k8s.io/v1/namespaces/many/endpointslices"
    assert eventually(lambda: len(kubernetes.http.get(target)["items"]) == 10000, seconds=60, every=1)
    print(f"10,000 services and 30,000 endpoints in {time.monotonic() - began:.1f} s")
    assert sum(len(one["endpoints"]) for one in kubernetes.http.get(target)["items"]) == 30000
    assert len(kubernetes.http.get("/api/v1/namespaces/many/services")["items"]) == 10000


def run_node(sandbox, text, *words):
    return sandbox.run([need("node"), sandbox.write("client.cjs", text), *words], seconds=60)


def test_programs_of_node_register_with_consul_and_eureka(sandbox):
    consul, folder = Consul(sandbox), built("consul-client", "")
    run_node(sandbox, REGISTER_CONSUL, folder, str(consul.port))
    assert [one["Service"]["Port"] for one in consul.health("node")] == [9000]
    consul.stop()
    eureka, folder = Eureka(sandbox), built("eureka-js-client", "")
    run_node(sandbox, REGISTER_EUREKA, folder, str(eureka.port))
    assert eventually(lambda: "NODE" in eureka.applications(), seconds=5)
    eureka.stop()


@pytest.mark.parametrize("engine", (Docker, Podman))
def test_containers_run_with_labels_in_cgroups_of_their_own(sandbox, engine):
    docker = engine(sandbox)
    note(docker)
    since = time.time()
    identity = docker.run_container("pay", labels={"sinew.service": "pay"})
    assert docker.list() == {"pay": "running"}
    with open(f"/proc/{docker.pid_of('pay')}/cgroup", encoding="ascii") as f:
        mine = next(line.strip()[3:] for line in f if line.startswith("0::"))
    assert identity in mine and mine.startswith(docker.parent + "/")
    docker.kill_container("pay")
    assert eventually(lambda: docker.list(True) == {"pay": "exited"})
    assert not os.path.isdir(docker.sandbox.cgroup_top + mine)
    seen = [one["Action"] for one in docker.events(since) if one["Type"] == "container"]
    assert [one for one in seen if one in ("create", "start", "die")] == ["create", "start", "die"]
    assert docker.run("ps", "--all", "--format", "{{.Names}}") == "pay\n"  # by the engine's own command
    docker.run_container("other")
    docker.kill()
    docker.start()
    assert set(docker.list(True)) == {"pay", "other"}
    docker.remove("other")
    docker.stop()


def test_prometheus_scrapes(sandbox):
    etcd = Etcd(sandbox)
    prometheus = Prometheus(sandbox, f"127.0.0.1:{etcd.port}")
    note(prometheus)
    assert eventually(lambda: prometheus.target_state()[0] == "up", seconds=10)
    assert eventually(lambda: prometheus.query("etcd_server_has_leader"), seconds=10)[0][1] == 1
    etcd.stop()
    assert eventually(lambda: prometheus.target_state()[0] == "down", seconds=10)
    assert Prometheus.check_metrics("# HELP a_total A.\n# TYPE a_total counter\na_total 1\n") == ""
    assert "counter metrics should have" in Prometheus.check_metrics("# HELP a A.\n# TYPE a counter\na 1\n")
    prometheus.stop()


def test_eureka_registers_overrides_and_evicts(sandbox):
    eureka = Eureka(sandbox)
    note(eureka)
    eureka.register("pay", "127.0.0.5", 8080, metadata={"zone": "a"})
    eureka.register("pay", "127.0.0.6", 8080, seconds=1)
    assert eventually(lambda: len(eureka.applications().get("PAY", [])) == 2, seconds=5)
    eureka.heartbeat("pay", "127.0.0.5", 8080)
    eureka.set_status("pay", "127.0.0.5", 8080, "OUT_OF_SERVICE")
    assert eventually(lambda: [one["status"] for one in eureka.applications()["PAY"]] == ["OUT_OF_SERVICE"], seconds=15)
    eureka.deregister("pay", "127.0.0.5", 8080)
    assert eventually(lambda: "PAY" not in eureka.applications(), seconds=5)
    assert "PAY" in eureka.applications(delta=True)
    eureka.register("pay", "127.0.0.5", 8080)
    eureka.kill()
    eureka.start()
    assert eureka.applications() == {}
    eureka.stop()
