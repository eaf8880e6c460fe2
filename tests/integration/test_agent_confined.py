# SPDX-License-Identifier: GPL-2.0-or-later
"""sinew-agent as its unit runs it: a user of its own, no capability, its filter on, nobody looks into it; and every way to
a registry works from in there. What it holds for its registries is nowhere but in its memory."""
import base64
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import threading
import time

import pytest

from harness.certificate import Authority
from harness.confined import USER, make_confined  # noqa: F401 pylint: disable=unused-import
from harness.fake_eureka import FakeEureka
from harness.fake_kubernetes import FakeKubernetes
from harness.peer_server import free_ports
from harness.sandbox import Namespace, SandboxError

SECRET = "hunter2-not-to-be-seen"
ENDS = ["10.0.0.1:8080", "10.0.0.2:8080"]


@pytest.fixture(name="secret")
def make_secret(sandbox, request):
    """A file that only the agent's user can read."""
    name = "secret." + re.sub(r"\W", ".", request.node.name)
    path = sandbox.write(name, SECRET + "\n")
    os.chown(path, USER, USER)
    os.chmod(path, 0o400)
    return path


@pytest.fixture(name="eureka")
def make_eureka():
    with FakeEureka() as server:
        server.put("PAY", "10.0.0.1", 8080)
        server.put("PAY", "10.0.0.2", 8080)
        yield server


def eureka_with(address, secret):
    return {"name": "dc1", "type": "eureka", "address": address, "interval": "200ms", "username": "sinew",
            "passwordFile": secret}


def test_it_holds_nothing_that_it_does_not_need(confine, eureka, secret):
    agent = confine([eureka_with(eureka.url, secret)])
    agent.wait_endpoints("pay", ENDS)
    for one in agent.threads():
        assert one["Uid"].split() == [str(USER)] * 4 and one["Gid"].split() == [str(USER)] * 4, one["Name"]
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(one[name], 16) == 0, (one["Name"], name)
        assert one["NoNewPrivs"] == "1" and one["Seccomp"] == "2", one["Name"]
    fds = f"/proc/{agent.child.pid}/fd"
    held = [os.readlink(os.path.join(fds, one)) for one in os.listdir(fds)]
    assert not [one for one in held if "bpf" in one or "io_uring" in one], held
    with open(f"/proc/{agent.child.pid}/limits", encoding="ascii") as f:
        assert re.search(r"^Max core file size +0 +0 ", f.read(), re.MULTILINE)


def read_as(user, path):
    """For Sandbox.call: what that user gets of a file; an errno by its name."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    try:
        with open(path, "rb") as f:
            return f.read()
    except PermissionError:
        return "PermissionError"


def test_its_own_user_cannot_look_into_it(confine, sandbox):
    agent = confine([])
    for name in ("mem", "environ", "maps", "fd"):
        path = f"/proc/{agent.child.pid}/{name}"
        assert os.stat(path).st_uid == 0, "whoever is not dumpable is root's in /proc"
        if name != "fd":
            assert sandbox.call(read_as, USER, path) == "PermissionError", name


def files_of(agent):
    """Its files and its log: {where: bytes}."""
    seen = {"log": agent.log().encode()}
    for folder, _, names in os.walk(agent.folder):
        for path in (os.path.join(folder, name) for name in names):
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    seen[path] = f.read()
    return seen


def shown(agent):
    """Everything about it that others may see: {where: bytes}."""
    seen = files_of(agent)
    for name in ("cmdline", "environ", "comm", "status"):
        with open(f"/proc/{agent.child.pid}/{name}", "rb") as f:
            seen[name] = f.read()
    for path in ("/v1/registries", "/metrics", "/readyz?verbose"):
        with contextlib.suppress(SandboxError):
            seen[path] = agent.request("GET", path)
    return seen


def test_a_credential_is_seen_nowhere(confine, eureka, secret):
    agent = confine([eureka_with(eureka.url, secret)], settings={"log.level": "debug"})
    agent.wait_endpoints("pay", ENDS)
    encoded = base64.b64encode(f"sinew:{SECRET}".encode()).decode()
    assert {headers["Authorization"] for _, headers, _ in eureka.requests} == {f"Basic {encoded}"}
    eureka.spoil = lambda request: request.send(401, b"no") or True
    agent.wait_error("dc1", "unauthorized")
    eureka.spoil = None
    agent.wait_state("dc1")
    os.unlink(secret)
    agent.wait_error("dc1", "unauthorized")
    time.sleep(3.2)  # last good states are written every three seconds
    for where, text in shown(agent).items():
        assert SECRET.encode() not in text and encoded.encode() not in text, where
    agent.stop()
    for where, text in files_of(agent).items():
        assert SECRET.encode() not in text and encoded.encode() not in text, where


def test_a_crash_leaves_no_core(confine, eureka, secret):
    agent = confine([eureka_with(eureka.url, secret)])
    agent.wait_endpoints("pay", ENDS)
    agent.child.send_signal(signal.SIGSEGV)
    ended = os.waitid(os.P_PID, agent.child.pid, os.WEXITED | os.WNOWAIT)
    assert (ended.si_code, ended.si_status) == (os.CLD_KILLED, signal.SIGSEGV), "not CLD_DUMPED"
    agent.child.wait(10)
    assert not [name for name in os.listdir(agent.folder) + os.listdir(".") if name.startswith("core")]


def test_port_53_takes_one_capability_and_it_is_given_back(confine, sandbox):
    agent = confine([], bind=True, settings={"dns.address": "127.0.0.153:53"}, namespace=Namespace(sandbox, addresses=()))
    agent.wait_ready()
    for one in agent.threads():
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(one[name], 16) == 0, (one["Name"], name)
        assert one["NoNewPrivs"] == "1" and one["Seccomp"] == "2"


# --- every way to a registry ----------------------------------------------------------------------

class TlsDoor:
    """TLS in front of a plain server; asks for a client's certificate if `authority` signs them."""

    def __init__(self, port, authority, demand=False):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
        self.context.load_cert_chain(*authority.issue("server"))
        self.context.verify_mode = ssl.CERT_REQUIRED if demand else ssl.CERT_NONE
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.to, self.port = port, self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with contextlib.suppress(OSError):
            inner = self.context.wrap_socket(client, server_side=True)
            plain = socket.create_connection(("127.0.0.1", self.to))
            threading.Thread(target=self.pump, args=(plain, inner), daemon=True).start()
            self.pump(inner, plain)

    @staticmethod
    def pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_tls_with_a_client_certificate_that_is_rotated(confine, sandbox, eureka, secret):
    authority = Authority(sandbox.path("tls"), "eureka")
    pair = authority.issue("client")
    for path in pair:
        os.chown(path, USER, USER)
    door = TlsDoor(eureka.port, authority, demand=True)
    agent = confine([{**eureka_with(f"https://localhost:{door.port}/eureka", secret), "caFile": authority.certificate,
                      "certFile": pair[0], "keyFile": pair[1]}])
    agent.wait_endpoints("pay", ENDS)
    door.close()


def test_an_unknown_authority_is_an_error_of_tls(confine, sandbox, eureka, secret):
    authority, other = Authority(sandbox.path("tls-one"), "one"), Authority(sandbox.path("tls-other"), "other")
    door = TlsDoor(eureka.port, authority)
    agent = confine([{**eureka_with(f"https://localhost:{door.port}/eureka", secret), "caFile": other.certificate}])
    agent.wait_error("dc1", "tls")
    door.close()


def manifest(name, *addresses):
    return json.dumps({"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": name, "namespace": "files"},
                       "spec": {"ports": [{"port": 80}], "endpoints": [{"address": one, "port": 8080}
                                                                       for one in addresses]}})


def test_a_folder_is_watched(confine, sandbox):
    folder = sandbox.path("confined-manifests")
    os.mkdir(folder)
    agent = confine([{"name": "folder", "type": "files", "path": folder, "interval": "1h"}])
    for number in (1, 2):
        with open(os.path.join(folder, "one.yaml"), "w", encoding="utf-8") as f:
            f.write(manifest("watched", *(f"10.0.0.{n + 1}" for n in range(number))))
        agent.wait_endpoints("watched", ENDS[:number], "files")


@pytest.fixture(name="kubernetes")
def make_kubernetes():
    with FakeKubernetes() as server:
        server.put_node("n1", zone="a")
        server.put_service("web", address="10.96.3.3")
        server.put_slice("web-1", "web", ["10.0.0.1", "10.0.0.2"])
        yield server


def bearers(server):
    return {one.headers.get("authorization") for one in server.requests}


def test_kubernetes_with_a_token_of_a_file(confine, kubernetes, secret):
    agent = confine([{"name": "k", "type": "kubernetes", "address": kubernetes.url, "tokenFile": secret}])
    agent.wait_endpoints("web", ENDS, "shop")
    assert bearers(kubernetes) == {f"Bearer {SECRET}"}
    for where, text in shown(agent).items():
        assert SECRET.encode() not in text, where


PLUGIN = """#!/bin/sh
# What a plugin of a cloud does: some work, then a credential. It must not be able to do more than the agent.
if unshare --user true 2>/dev/null; then exit 9; fi
grep -q '^NoNewPrivs:.1' /proc/self/status || exit 8
printf '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "'
tr -d '\\n' < %s
printf '"}}'
"""


def test_kubernetes_with_a_token_of_a_plugin(confine, sandbox, kubernetes, secret):
    plugin = sandbox.write("plugin", PLUGIN % secret)
    os.chmod(plugin, 0o755)
    kubeconfig = sandbox.write("kubeconfig", json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [
            {"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": kubernetes.url}}],
        "users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": plugin,
                                                 "interactiveMode": "Never"}}}]}))
    agent = confine([{"name": "k", "type": "kubernetes", "path": kubeconfig}])
    agent.wait_endpoints("web", ENDS, "shop")
    assert bearers(kubernetes) == {f"Bearer {SECRET}"}
    for where, text in shown(agent).items():
        assert SECRET.encode() not in text, where


def test_a_resolver_that_is_away_is_an_error_and_no_hang(confine, secret):
    agent = confine([eureka_with("http://no-such-host.invalid:8761/eureka", secret)])
    agent.wait_error("dc1", "unreachable", seconds=30)
    assert agent.request("GET", "/livez") == b"ok\n"


def test_a_loopback_port_for_metrics_is_all_that_it_listens_at(confine, sandbox):
    port, = free_ports(1)
    agent = confine([], settings={"metrics.address": f"127.0.0.1:{port}"})
    said = sandbox.run(["ss", "-lntuHp"])
    mine = [line.split()[4] for line in said.splitlines() if f"pid={agent.child.pid}," in line]
    assert mine == [f"127.0.0.1:{port}"]
