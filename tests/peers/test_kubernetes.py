# SPDX-License-Identifier: GPL-2.0-or-later
"""The Kubernetes source against a real kube-apiserver and etcd: who it may be, what it is told, what survives."""
import json
import os
import shutil
import time

import pytest

from harness.follow import Follow
from harness.life import eventually
from harness.peer_kubernetes import NEEDED, KubeApiserver
from harness.sandbox import check_call, libc

PAY = """
apiVersion: v1
kind: Service
metadata: {name: pay, labels: {team: billing}}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: pay-1, labels: {kubernetes.io/service-name: pay}}
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
  - {addresses: [10.1.0.1], conditions: {ready: true}, zone: a}
  - {addresses: [10.1.0.2], zone: b}
  - {addresses: [10.1.0.3], conditions: {ready: false}}
"""


@pytest.fixture(scope="module")
def kubernetes(sandbox):
    server = KubeApiserver(sandbox)
    server.grant("reader")
    yield server
    server.stop()
    server.etcd.stop()


@pytest.fixture(autouse=True)
def tidy(kubernetes):
    """Each test finds a server without services."""
    yield
    for kind in ("services", "endpointslices", "configmaps"):
        for one in kubernetes.http.get(kubernetes.path(kind, "default"))["items"]:
            if one["metadata"]["name"] not in ("kubernetes", "kube-root-ca.crt"):
                kubernetes.delete(kind, one["metadata"]["name"])


def follow(kubernetes, user="reader", how="token", **more):
    return Follow("kubernetes", path=kubernetes.kubeconfig(user, how), **more)


def test_what_kubectl_makes_is_told_and_what_it_deletes_is_gone(kubernetes):
    with follow(kubernetes) as me:
        me.wait(lambda _: me.snapshots)
        kubernetes.run("apply", "-f", "-", text=PAY)
        me.wait_ends("default/pay", "10.1.0.1:8080", "10.1.0.2:8080")
        told = me.services["default/pay"]
        assert told["spec"]["address"] == kubernetes.get("services", "pay")["spec"]["clusterIP"]
        assert told["metadata"]["labels"] == {"team": "billing"}
        assert [end["zone"] for end in told["spec"]["endpoints"]] == ["a", "b"]
        kubernetes.run("delete", "endpointslice", "pay-1")
        me.wait_ends("default/pay")
        kubernetes.run("delete", "service", "pay")
        me.wait(lambda _: "default/pay" not in me.services)
        assert me.ask()["error"] == "ok"


@pytest.mark.parametrize("how", ("token", "tokenFile", "certificate", "exec"))
def test_each_kind_of_credential_is_enough(kubernetes, how):
    kubernetes.put_service("pay")
    kubernetes.put_slice("pay", ["10.1.0.1"])
    with follow(kubernetes, how=how) as me:
        me.wait_ends("default/pay", "10.1.0.1:80")


def test_credentials_within_the_kubeconfig_are_enough(kubernetes):
    """Flattened, as kubectl config view writes it: the client's certificate and key and the authority's in the file."""
    kubernetes.put_service("pay")
    kubernetes.put_slice("pay", ["10.1.0.1"])
    whole = kubernetes.run("config", "view", "--raw", "--flatten", config=kubernetes.kubeconfig("reader", "certificate"))
    assert "client-key-data" in whole and "certificate-authority-data" in whole
    path = kubernetes.write("kubeconfig-flat", whole)
    with Follow("kubernetes", path=path) as me:
        me.wait_ends("default/pay", "10.1.0.1:80")
        # Twice through a restart: the memory files are read again for each connection.
        for _ in range(2):
            kubernetes.kill()
            kubernetes.start()
            kubernetes.put_slice("pay", ["10.1.0.2"], suffix="2")
            me.wait_ends("default/pay", "10.1.0.1:80", "10.1.0.2:80", seconds=30)
            kubernetes.delete("endpointslices", "pay-2")
            me.wait_ends("default/pay", "10.1.0.1:80")


def runs(config):
    try:
        with open(f"{config}.runs", encoding="ascii") as f:
            return len(f.readlines())
    except FileNotFoundError:
        return 0


def test_a_plugin_is_run_seldom_and_again_when_the_server_knows_its_token_no_more(kubernetes):
    config = kubernetes.kubeconfig("reader", "exec", name="kubeconfig-seldom")
    kubernetes.put_service("pay")
    with Follow("kubernetes", path=config) as me:
        me.wait(lambda _: "default/pay" in me.services)
        assert runs(config) == 1
        old = kubernetes.tokens["reader"]
        try:
            with open(kubernetes.token_file, encoding="ascii") as f:
                users = f.read()
            kubernetes.write("tokens.csv", users.replace(old, "another-token-of-reader"))
            kubernetes.write("kubeconfig-seldom.token", "another-token-of-reader")
            kubernetes.kill()
            kubernetes.start()
            kubernetes.put_service("mail")
            me.wait(lambda _: "default/mail" in me.services, 30)
            assert runs(config) == 2
            assert eventually(lambda: me.ask()["error"] == "ok", 10)
        finally:
            kubernetes.write("tokens.csv", users)
            kubernetes.kill()
            kubernetes.start()


def plugin_kubeconfig(kubernetes, script, name):
    """A kubeconfig whose plugin is that shell script."""
    config = kubernetes.kubeconfig("reader", "exec", name=name)
    plugin = kubernetes.write(f"{name}.plugin", f"#!/bin/sh\n{script}\n")
    os.chmod(plugin, 0o755)
    return config


@pytest.mark.parametrize("script, said", (
    ("echo secret-word >&2; exit 3", "ended with status 3"),
    ("kill -9 $$", "ended by signal 9"),
    ("echo '{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"secret-word\"}}'", "is not of"),
    ("echo secret-word", "no ExecCredential"),
    ("yes secret-word", "more than 262144 bytes"),
), ids=("status", "signal", "version", "garbage", "endless"))
def test_a_plugin_that_fails_is_told_without_its_words(kubernetes, script, said):
    config = plugin_kubeconfig(kubernetes, script, "kubeconfig-fails")
    with Follow("kubernetes", path=config) as me:
        line = me.wait_error("unauthorized", 20)
        assert said in line["text"] and "kubeconfig-fails.plugin" in line["text"]
        assert "to see why" in line["hint"]
        time.sleep(2)
        assert len(me.statuses) <= 4  # no storm
        assert "secret-word" not in json.dumps(me.lines) + me.said()


def test_a_plugin_inherits_neither_our_environment_nor_what_we_have_open(kubernetes):
    out = os.path.join(kubernetes.folder, "inherited")
    token = kubernetes.tokens["reader"]
    script = (f"env >{out}.env; ls -l /proc/self/fd >{out}.fds; sleep 1000 & echo $! >{out}.pid; "
              "printf '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":"
              f"{{\"token\":\"{token}\"}}}}'")
    config = plugin_kubeconfig(kubernetes, script, "kubeconfig-inherits")
    with Follow("kubernetes", path=config, env={"NOTIFY_SOCKET": "secret-word", "AWS_SECRET": "secret-word"}) as me:
        me.wait(lambda _: me.snapshots)
        with open(f"{out}.env", encoding="ascii") as f:
            env = f.read()
        assert "secret-word" not in env and "KUBERNETES_EXEC_INFO=" in env and "PATH=" in env
        with open(f"{out}.fds", encoding="ascii") as f:
            fds = [line.split(" -> ")[1].strip() for line in f if " -> " in line]
        assert not [one for one in fds if "memfd" in one or "event" in one or "socket" in one], fds
        with open(f"{out}.pid", encoding="ascii") as f:
            pid = int(f.read())
        # What it left in the background has gone with it.
        assert eventually(lambda: not os.path.exists(f"/proc/{pid}") or "State:\tZ" in open(f"/proc/{pid}/status").read())


def test_the_token_of_a_pod_is_read_anew(kubernetes, sandbox):
    """A bound token that ended is replaced in its file; requests of then use it."""
    kubernetes.grant("agent", kind="ServiceAccount")
    folder = kubernetes.in_cluster()
    kubernetes.put_service("pay")
    with Follow("kubernetes", address=kubernetes.url, tokenFile=f"{folder}/token", caFile=f"{folder}/ca.crt",
                staleAfter="10s") as me:
        me.wait(lambda _: "default/pay" in me.services)
        with open(f"{folder}/token", encoding="ascii") as f:
            good = f.read()
        kubernetes.write(f"{folder}/token", "of-no-use")
        said = me.wait_error("unauthorized", 20)  # the watch of slices begins anew within five seconds
        assert "401 on" in said["text"] and "renew" in said["hint"] and "of-no-use" not in json.dumps(me.lines)
        kubernetes.write(f"{folder}/token", good)
        kubernetes.put_service("mail")
        me.wait(lambda _: "default/mail" in me.services, 20)
        assert eventually(lambda: me.ask()["error"] == "ok", 10)
        os.unlink(f"{folder}/token")
        said = me.wait(lambda _: next((one for one in me.statuses[-4:] if f"{folder}/token" in one["text"]), None), 20)
        assert said["error"] == "unauthorized"


@pytest.fixture
def account(kubernetes):
    """The folder of a pod's account where a pod has it; in the sandbox's own mounts."""
    kubernetes.grant("agent", kind="ServiceAccount")
    folder = kubernetes.in_cluster()
    run = os.path.realpath("/var/run")
    check_call(libc.mount(b"none", run.encode(), b"tmpfs", 0, None), "mount a tmpfs")
    try:
        shutil.copytree(folder, f"{run}/secrets/kubernetes.io/serviceaccount")
        yield f"{run}/secrets/kubernetes.io/serviceaccount"
    finally:
        check_call(libc.umount2(run.encode(), 2), "umount")


def test_in_a_pod_nothing_has_to_be_said(kubernetes, account):
    kubernetes.put_service("pay")
    kubernetes.put_slice("pay", ["10.1.0.1"])
    env = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(kubernetes.port)}
    with Follow("kubernetes", env=env, path="", staleAfter="10s") as me:
        me.wait_ends("default/pay", "10.1.0.1:80")
        token = os.path.join(account, "token")
        good = kubernetes.account_token()
        kubernetes.write(token, "of-no-use")
        me.wait_error("unauthorized", 20)
        kubernetes.write(token, good)
        kubernetes.put_slice("pay", ["10.1.0.1", "10.1.0.2"])
        me.wait_ends("default/pay", "10.1.0.1:80", "10.1.0.2:80", seconds=20)


def test_forbidden_says_what_is_missing_and_ends_when_it_is_given(kubernetes):
    kubernetes.put_service("pay")
    kubernetes.put_slice("pay", ["10.1.0.1"])
    kubernetes.grant("partial", [one for one in NEEDED if one[1] != "endpointslices"])
    with follow(kubernetes, "partial") as me:
        said = me.wait_error("forbidden")
        assert "endpointslices" in said["text"] and 'User "partial"' in said["text"]
        assert "kubectl create clusterrole" in said["hint"]
        assert "--verb=get,list,watch --resource=endpointslices" in said["hint"]
        assert not me.snapshots
        # What the hint says is enough.
        words = said["hint"].split(",  and")[0].split(" and bind")[0].strip(", ").split()[1:]
        kubernetes.run(*words)
        kubernetes.run("create", "clusterrolebinding", "hinted", f"--clusterrole={words[2]}", "--user=partial")
        me.wait_ends("default/pay", "10.1.0.1:80", seconds=20)
    kubernetes.grant("partial", [one for one in NEEDED if one[1] in ("services", "endpointslices")])
    with follow(kubernetes, "partial") as me:
        me.wait_ends("default/pay", "10.1.0.1:80")
        assert me.ask()["error"] == "ok" and me.statuses[-1]["skipped"] == 2


def test_p83_what_was_deleted_while_versions_were_forgotten_is_gone(kubernetes):
    for name in ("pay", "old"):
        kubernetes.put_service(name)
        kubernetes.put_slice(name, ["10.1.0.1"])
    with follow(kubernetes) as me:
        me.wait_ends("default/old", "10.1.0.1:80")
        me.child.send_signal(19)  # it does not hear what happens
        kubernetes.delete("services", "old")
        kubernetes.delete("endpointslices", "old-1")
        for n in range(20):
            kubernetes.put_service("pay", labels={"n": str(n)})
        kubernetes.compact()
        kubernetes.kill()
        kubernetes.start()
        me.child.send_signal(18)
        me.wait(lambda _: "default/old" not in me.services, 40)
        assert me.ends("default/pay") == ["10.1.0.1:80"]


def test_p84_an_old_state_and_an_empty_one_are_told_as_they_are(kubernetes):
    """The versions of a server that got an old state back begin anew, and so does the list. Whether it is believed is for
    the guard of the agent."""
    kubernetes.put_service("pay")
    kubernetes.put_slice("pay", ["10.1.0.1"])
    with follow(kubernetes) as me:
        me.wait_ends("default/pay", "10.1.0.1:80")
        kubernetes.save()
        kubernetes.start()
        for n in range(30):
            kubernetes.put_service("pay", labels={"n": str(n)})
        kubernetes.put_slice("pay", ["10.1.0.2"], suffix="2")
        me.wait_ends("default/pay", "10.1.0.1:80", "10.1.0.2:80", seconds=30)
        kubernetes.restore()
        kubernetes.start()
        me.wait_ends("default/pay", "10.1.0.1:80", seconds=40)
        kubernetes.wipe()
        kubernetes.start()
        kubernetes.grant("reader")
        me.wait(lambda _: "default/pay" not in me.services, 40)
        kubernetes.put_service("later")
        me.wait(lambda _: "default/later" in me.services, 20)


def test_a_server_that_is_down_takes_nothing_away(kubernetes):
    kubernetes.put_service("pay")
    kubernetes.put_slice("pay", ["10.1.0.1"])
    with follow(kubernetes) as me:
        me.wait_ends("default/pay", "10.1.0.1:80")
        kubernetes.kill()
        assert me.wait_error("unreachable", 20)
        time.sleep(2)
        assert me.ends("default/pay") == ["10.1.0.1:80"]
        kubernetes.start()
        kubernetes.put_slice("pay", ["10.1.0.2"], suffix="2")
        me.wait_ends("default/pay", "10.1.0.1:80", "10.1.0.2:80", seconds=30)
        kubernetes.pause()
        time.sleep(3)
        kubernetes.resume()
        assert me.ends("default/pay") == ["10.1.0.1:80", "10.1.0.2:80"]
        assert eventually(lambda: me.ask()["error"] == "ok", 40)


def test_policies_of_config_maps(kubernetes):
    policy = "apiVersion: sinew/v1\nkind: TrafficPolicy\nmetadata: {name: gentle}\nspec: {failover: {attempts: 1}}\n"
    with follow(kubernetes) as me:
        me.wait(lambda _: me.snapshots)
        kubernetes.put("configmaps", {"metadata": {"name": "policies", "labels": {"sinew.dev/policy": "true"}},
                                      "data": {"gentle.yaml": policy}})
        kubernetes.put_service("pay", labels={"sinew.dev/policy": "gentle"})
        me.wait(lambda _: "default/gentle" in me.policies and "default/pay" in me.services)
        assert me.services["default/pay"]["spec"]["policy"] == "gentle"
        kubernetes.delete("configmaps", "policies")
        me.wait(lambda _: "default/gentle" not in me.policies)
