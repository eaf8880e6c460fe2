# SPDX-License-Identifier: GPL-2.0-or-later
"""Pods by their names: what a real kube-apiserver says of a pod, and what the kernel says of a cgroup that is named as a
kubelet and containerd name it, together register the pod's process in a real Consul.

No kubelet runs here: the test makes the cgroups, and writes into the pod's status what a kubelet would."""
import os
import signal
import socket
import subprocess
import time

import pytest

from harness.agent import Agent
from harness.fixtures import BUILD
from harness.peer_kubernetes import NEEDED, KubeApiserver
from harness.registering import ConsulBoard, listening, wait_for

NODE, PORT = "node-1", 18090
WITH_PODS = NEEDED + (("", "pods"),)


class Pods:
    """Pods in the API server, and their processes in cgroups of this host."""

    def __init__(self, sandbox, daemon, kubernetes):
        self.sandbox, self.daemon, self.kubernetes = sandbox, daemon, kubernetes
        self.running = {}

    def make(self, name, namespace="shop", node=NODE, **labels):
        """Bound to the node, nothing runs yet; its uid."""
        body = {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": {
            "nodeName": node, "containers": [{"name": "web", "image": "example/web"}]}}
        return self.kubernetes.put("pods", body)["metadata"]["uid"]

    @staticmethod
    def identity(name):
        """Of its container: 64 hex digits."""
        return name.encode().hex().ljust(64, "0")

    def run(self, name, uid, address, port=PORT):
        """Its process listens, in a cgroup such as a kubelet with systemd's driver and containerd make it; that cgroup."""
        below = ["kubepods.slice", "kubepods-besteffort.slice",
                 f"kubepods-besteffort-pod{uid.replace('-', '_')}.slice", f"cri-containerd-{self.identity(name)}.scope"]
        folder = os.path.join(self.daemon.cgroup, *below)
        os.makedirs(folder, exist_ok=True)
        self.running[name] = self.sandbox.spawn(listening, address, port, cgroup=folder)
        return folder

    def report(self, name, namespace="shop", address="10.9.0.7"):
        """As a kubelet does once the container runs."""
        self.kubernetes.patch("pods", f"{name}/status", {"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "containerStatuses": [{
                "name": "web", "containerID": f"containerd://{self.identity(name)}", "ready": True, "restartCount": 0,
                "image": "example/web", "imageID": "example/web@sha256:0", "state": {"running": {}}}]}}, namespace)

    def kill(self, name):
        pid = self.running.pop(name)
        os.kill(pid, signal.SIGKILL)
        self.sandbox.end(pid)

    def remove(self, name, namespace="shop"):
        self.kubernetes.http.request("DELETE", self.kubernetes.path("pods", namespace, name), {"gracePeriodSeconds": 0})


@pytest.fixture(scope="module")
def kubernetes(sandbox):
    server = KubeApiserver(sandbox)
    for name in ("shop", "other"):
        server.make_namespace(name)
    server.put_service("svc")
    server.put_slice("svc", ["10.1.0.1"])
    server.grant("reader", WITH_PODS)
    server.grant("partial", NEEDED)
    yield server
    server.stop()
    server.etcd.stop()


@pytest.fixture(scope="module")
def board(sandbox):
    made = ConsulBoard(sandbox)
    yield made
    made.server.stop()


@pytest.fixture
def pods(sandbox, daemon, kubernetes):
    if not kubernetes.is_running():
        kubernetes.start()
    made = Pods(sandbox, daemon, kubernetes)
    yield made
    for name in list(made.running):
        made.kill(name)


class Place:
    """An agent that follows both, and what a test asks of it."""

    def __init__(self, sandbox, daemon, kubernetes, board, name, user="reader"):
        self.daemon, self.board = daemon, board
        self.agent = Agent(sandbox, BUILD, daemon, [
            board.config, {"name": "cluster", "type": "kubernetes", "path": kubernetes.kubeconfig(user)}], name=name,
            settings={"node.name": "n1"}, environment={**os.environ, "NODE_NAME": NODE})

    def register(self, name, pod, port=PORT):
        """A Registration; declared anew, so that its state is its own."""
        self.daemon.put(f"/v1/registrations/shop/{name}", {
            "apiVersion": "sinew/v1", "kind": "Registration", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"service": name, "registry": "dc1", "workload": {"pod": pod}, "port": port, "ttl": "3s"}})

    def shown(self, name):
        return next((one for one in self.agent.get("/v1/registrations")["items"] if one["name"] == name), {})

    def wait(self, name, *ids, seconds=30):
        try:
            return wait_for(lambda: self.board.ids(name) == set(ids), seconds)
        except AssertionError:
            print(self.board.ids(name), self.shown(name), self.agent.get("/v1/pods"), self.agent.log()[-2000:])
            raise

    def wait_state(self, name, state, seconds=30):
        wait_for(lambda: self.shown(name).get("state") == state, seconds)

    def ctl(self, *words):
        return subprocess.run([os.path.join(BUILD, "sinewctl"), "--socket", self.daemon.socket, "--agent-socket",
                               self.agent.socket, *words], capture_output=True, text=True, timeout=30, check=False).stdout

    def pods(self):
        return self.agent.registry("cluster").get("pods")

    def end(self, *names):
        for name in names:
            self.daemon.request("DELETE", f"/v1/registrations/shop/{name}")
        if self.agent.child.poll() is None:
            assert self.agent.stop() == 0, self.agent.log()


@pytest.fixture
def place(sandbox, daemon, kubernetes, board, pods, request):
    made = Place(sandbox, daemon, kubernetes, board, request.node.name[5:35])
    yield made
    names = [one["name"] for one in made.agent.get("/v1/registrations")["items"]] if made.agent.child.poll() is None else []
    made.end(*names)


def test_a_pod_that_is_selected_by_a_label_is_registered_while_it_listens(place, pods):
    place.agent.wait_ready(30)
    assert place.pods() is None  # nobody wants them: pods are not even asked for
    place.register("payments", {"namespace": "shop", "labels": {"app": "payments"}})
    uid, other = pods.make("payments-x7k2p", app="payments"), pods.make("mail-0", app="mail")
    pods.run("payments-x7k2p", uid, "127.0.0.2")
    pods.run("mail-0", other, "127.0.0.3")
    place.wait("payments", f"127.0.0.2:{PORT}")
    assert place.shown("payments")["pods"] == [{"namespace": "shop", "name": "payments-x7k2p"}]
    pods.report("payments-x7k2p")
    wait_for(lambda: place.shown("payments")["pods"][0].get("container") == "web")
    known = {one["name"]: one for one in place.agent.get("/v1/pods")["items"]}
    assert known["payments-x7k2p"]["uid"] == uid and known["payments-x7k2p"]["labels"] == {"app": "payments"}
    assert known["payments-x7k2p"]["addresses"] == ["10.9.0.7"]
    wait_for(lambda: " web  " in place.ctl("get", "listeners", "-o", "wide"))
    assert " shop/payments-x7k2p " in place.ctl("get", "listeners", "-o", "wide")
    assert "shop/payments-x7k2p container web" in place.ctl("describe", "registration", "shop/payments")
    pods.kill("payments-x7k2p")
    place.wait("payments")
    # A label that is changed counts at once, while the process goes on.
    pods.kubernetes.patch("pods", "mail-0", {"metadata": {"labels": {"app": "payments"}}}, "shop")
    place.wait("payments", f"127.0.0.3:{PORT}")
    pods.kubernetes.patch("pods", "mail-0", {"metadata": {"labels": {"app": "mail"}}}, "shop")
    place.wait("payments")


def calling(address, port):
    """A process that keeps a connection, for Sandbox.spawn."""
    with socket.create_connection((address, port)):
        yield
        signal.pause()


def test_sinewd_names_pods_that_listen_and_call_while_the_agent_follows_pods(sandbox, daemon, place, pods):
    """A name is there beside the uid, also in a sinewd that was started anew, until nobody wants pods any more."""
    uid = pods.make("named-0")
    folder = pods.run("named-0", uid, "127.0.0.2", PORT + 5)
    pods.report("named-0")
    daemon.put("/v1/services/shop/named", {
        "apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": "named", "namespace": "shop"},
        "spec": {"ports": [{"port": PORT + 5}], "endpoints": [{"address": "127.0.0.2"}]}})
    address = daemon.get("/v1/services/shop/named")["spec"]["address"]
    caller = sandbox.spawn(calling, address, PORT + 5, cgroup=folder)

    def listener():
        return next((one for one in daemon.get("/v1/listeners")["items"] if one.get("pod") == uid), {})

    def flow():
        return next((one for one in daemon.get("/v1/flows?namespace=shop&service=named")["items"] if one.get("pod") == uid), {})

    names = {"podNamespace": "shop", "podName": "named-0", "containerName": "web"}
    wait_for(lambda: listener() and flow())
    assert not names.keys() & (listener().keys() | flow().keys())
    assert "shop/named-0" not in place.ctl("get", "flows")
    place.register("named", {"namespace": "shop", "name": "named-0"}, port=PORT + 5)
    wait_for(lambda: names.items() <= listener().items() and names.items() <= flow().items(), 30)
    assert " shop/named-0" in place.ctl("get", "flows") and uid not in place.ctl("get", "listeners", "-o", "wide")
    daemon.stop()
    daemon.start()
    wait_for(lambda: names.items() <= listener().items(), 60)
    daemon.request("DELETE", "/v1/registrations/shop/named")
    wait_for(lambda: "podName" not in listener(), 60)
    sandbox.end(caller)
    daemon.request("DELETE", "/v1/services/shop/named")


def test_by_name_and_container_and_at_the_address_of_the_pod(place, pods):
    """A socket that listens at all addresses is announced at those of its pod, once a kubelet has told them."""
    place.register("db", {"namespace": "shop", "name": "db-*", "container": "web"}, port=PORT + 1)
    place.register("side", {"namespace": "shop", "name": "db-?", "container": "sidecar"}, port=PORT + 1)
    place.register("alien", {"namespace": "other", "name": "db-?"}, port=PORT + 1)
    uid = pods.make("db-0")
    pods.run("db-0", uid, "0.0.0.0", PORT + 1)
    place.wait_state("db", "no_pod")  # which container that is, is not known yet
    pods.report("db-0", address="10.9.0.7")
    place.wait("db", f"10.9.0.7:{PORT + 1}")
    assert place.shown("side")["state"] == "no_listener" and place.shown("alien")["state"] == "no_listener"
    # Kubernetes says that it is gone, whatever still listens.
    pods.remove("db-0")
    place.wait("db")
    wait_for(lambda: place.shown("db")["state"] == "no_pod")


def test_what_is_known_stays_while_the_server_is_away_and_when_it_comes_back_empty(place, pods, kubernetes):
    uid = pods.make("stays-0", app="stays")
    pods.run("stays-0", uid, "127.0.0.2", PORT + 2)
    place.register("stays", {"namespace": "shop", "labels": {"app": "stays"}}, port=PORT + 2)
    place.wait("stays", f"127.0.0.2:{PORT + 2}")
    kubernetes.wipe()
    place.agent.wait_error("cluster", "unreachable", 30)
    assert place.board.ids("stays") == {f"127.0.0.2:{PORT + 2}"}
    kubernetes.start()
    kubernetes.make_namespace("shop")
    kubernetes.make_namespace("other")
    kubernetes.grant("reader", WITH_PODS)
    kubernetes.grant("partial", NEEDED)
    wait_for(lambda: place.pods()["synced"], 60)
    assert place.board.ids("stays") == {f"127.0.0.2:{PORT + 2}"}
    after = pods.make("later-0", app="stays")
    pods.run("later-0", after, "127.0.0.3", PORT + 2)
    place.wait("stays", f"127.0.0.2:{PORT + 2}", f"127.0.0.3:{PORT + 2}")
    pods.kill("stays-0")
    place.wait("stays", f"127.0.0.3:{PORT + 2}")


def test_a_missing_permission_is_named_and_used_once_it_is_granted(sandbox, daemon, kubernetes, board, pods):
    kubernetes.grant("partial", NEEDED)
    place = Place(sandbox, daemon, kubernetes, board, "denied", user="partial")
    try:
        uid = pods.make("late-0", app="late")
        pods.run("late-0", uid, "127.0.0.2", PORT + 3)
        place.register("late", {"namespace": "shop", "labels": {"app": "late"}}, port=PORT + 3)
        place.wait_state("late", "no_pod")
        place.agent.wait_state("cluster", seconds=30)  # services do not suffer
        wait_for(lambda: "lastError" in place.pods())
        error = place.pods()["lastError"]
        assert error["reason"] == "forbidden" and "--resource=pods" in error["hint"] and "list,watch" in error["hint"]
        said = place.ctl("doctor")
        assert "pods" in said and "--resource=pods" in said, said
        kubernetes.grant("partial", WITH_PODS)
        place.wait("late", f"127.0.0.2:{PORT + 3}", seconds=60)
        assert place.pods()["synced"]
    finally:
        place.end("late")


def test_an_agent_that_is_started_anew_takes_nothing_out(place, pods):
    """It finds what it had registered, and whose sockets those are is not known before Kubernetes has told."""
    uid = pods.make("again-0", app="again")
    pods.run("again-0", uid, "127.0.0.2", PORT + 4)
    place.register("again", {"namespace": "shop", "labels": {"app": "again"}}, port=PORT + 4)
    place.wait("again", f"127.0.0.2:{PORT + 4}")
    missing = []
    for _ in range(3):
        place.agent.kill()
        place.agent.start()
        end = time.monotonic() + 20
        while place.shown("again").get("state") != "registered":
            assert time.monotonic() < end, place.agent.log()
            missing += [time.monotonic()] * (not place.board.ids("again"))
    assert not missing and place.board.ids("again") == {f"127.0.0.2:{PORT + 4}"}
