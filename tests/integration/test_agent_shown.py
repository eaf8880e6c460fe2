# SPDX-License-Identifier: GPL-2.0-or-later
"""Registries as a person sees them: sinewctl beside a real sinew-agent and a real sinewd. What is shown of each kind of
trouble is in tests/ctl; here the agent's own words go through it.

Pitfalls: P-84.
"""
import json
import os
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from harness.agent import Agent
from harness.fixtures import BUILD

ENDS = [f"10.1.0.{i}" for i in range(1, 5)]
NAMES = ("shop", "mail", "stock", "pay", "cart", "auth")
NOBODY = "http://127.0.0.1:1"


def lay(folder, services):
    """These services of the namespace "shown" are all that the folder has, at once; JSON is YAML."""
    made = tempfile.mkdtemp(prefix="manifests.", dir=os.path.dirname(folder))
    os.chmod(made, 0o755)
    for name, addresses in services.items():
        with open(os.path.join(made, f"{name}.yaml"), "w", encoding="utf-8") as f:
            json.dump({"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": name, "namespace": "shown"},
                       "spec": {"ports": [{"port": 80}],
                                "endpoints": [{"address": one, "port": 8080} for one in addresses]}}, f)
    os.symlink(made, folder + ".new")
    os.rename(folder + ".new", folder)


@pytest.fixture(name="folder", scope="module")
def make_folder(sandbox):
    path = sandbox.path("manifests")
    lay(path, {name: ENDS for name in NAMES})
    return path


@pytest.fixture(name="agent", scope="module")
def make_agent(sandbox, daemon, folder):
    agent = Agent(sandbox, BUILD, daemon, [{"name": "folder", "type": "files", "path": folder},
                                           {"name": "nobody", "type": "eureka", "address": NOBODY}])
    agent.wait_state("folder")
    agent.wait_error("nobody", "unreachable")
    yield agent
    assert agent.stop() == 0, agent.log()


@pytest.fixture(name="ctl", scope="module")
def make_ctl(daemon, agent):
    def run(*words):
        done = subprocess.run([os.path.join(BUILD, "sinewctl"), "-s", daemon.socket, "--agent-socket", agent.socket, *words],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, done.stdout, done.stderr
    return run


def test_registries_are_listed_with_what_ails_them(ctl):
    code, out, err = ctl("get", "registries")
    lines = out.splitlines()
    assert (code, err) == (0, "") and max(map(len, lines)) <= 120
    assert lines[1].split()[:6] == ["folder", "files", "ok", "6", "24", "0"]
    assert lines[2].split()[:3] == ["nobody", "eureka", "connecting"] and "127.0.0.1" in lines[2]
    assert ctl("get", "registry", "none")[0] == 4
    code, out, _ = ctl("describe", "registry", "nobody")
    assert code == 0 and "\nError       unreachable: " in out and "\nErrors      unreachable " in out


def test_doctor_tells_of_each_registry(ctl):
    _, out, _ = ctl("doctor", "-o", "json")
    agent, *registries = [item for item in json.loads(out)["items"] if item["name"] in ("agent", "registry")]
    assert agent["name"] == "agent" and agent["level"] in ("ok", "warn")
    assert [(item["level"], item["text"].split(":")[0]) for item in registries] == [
        ("ok", "files/folder"), ("warn", "eureka/nobody")]
    assert "unreachable" in registries[1]["text"] and "never heard" in registries[1]["text"]


def test_p84_what_is_suspect_is_shown_until_an_operator_believes_it(ctl, agent, folder):
    """So much at once that its saying so again, when it is asked, is not enough."""
    lay(folder, {**{name: [] for name in NAMES}, "shop": ENDS[:1], "auth": ENDS})
    agent.wait(lambda: agent.registry("folder")["suspect"] == 19, what="suspects")
    agent.wait(lambda: sum("suspect" in end for end in agent.endpoints("shop", "shown").values()) == 3, what="them in sinewd")
    assert ctl("get", "registries")[1].splitlines()[1].split()[3:6] == ["6", "5", "19"]
    _, out, _ = ctl("describe", "service", "shown/shop")
    assert "4 usable, 3 suspect" in out and out.count("ok, suspect") == 3 and out.count("files/folder") >= 4
    assert "confirm registry folder" in ctl("describe", "registry", "folder")[1]
    code, out, _ = ctl("doctor", "-o", "json")
    said = next(item for item in json.loads(out)["items"] if item["text"].startswith("files/folder"))
    assert said["level"] == "warn" and said["hint"].endswith("sinewctl confirm registry folder")
    assert ctl("confirm", "registry", "folder") == (0, "folder: 19 suspect endpoints let go\n", "")
    agent.wait_endpoints("shop", {f"{ENDS[0]}:8080"}, "shown")
    assert ctl("confirm", "registry", "folder") == (0, "folder: nothing was held\n", "")
    assert ctl("confirm", "registry", "none")[0] == 4


def test_an_agent_that_ended_is_told_so(sandbox, daemon):
    agent = Agent(sandbox, BUILD, daemon, [], name="ended")
    assert agent.stop() == 0
    done = subprocess.run([os.path.join(BUILD, "sinewctl"), "--agent-socket", agent.socket, "get", "registries"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3 and "is sinew-agent running?" in done.stderr


class Proxy(BaseHTTPRequestHandler):
    """Whoever stands before a registry and says why not in a tongue and an encoding of its own."""

    def do_GET(self):
        body = "Zugriff verweigert \u2013 für Sie gesperrt".encode("cp1252")
        self.send_response(500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_an_error_that_is_no_utf8_is_shown(sandbox, daemon):
    with HTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        agent = Agent(sandbox, BUILD, daemon, [{"name": "strange", "type": "consul",
                                                "address": f"http://127.0.0.1:{proxy.server_port}"}], name="strange")
        try:
            agent.wait_error("strange", "failed")
            assert "500" in agent.registry("strange")["lastError"]["text"]
        finally:
            assert agent.stop() == 0, agent.log()
            proxy.shutdown()
