# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine whose first process is systemd, as the tests of the packaged units see it: scripts/vm -m boots it for them.

Before it: fake_consul.py, peer.py; make install. After it: tests/machine. It changes the machine that it runs on, which must be
nobody's.
"""
import contextlib
import http.client
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.parse

from harness import fake_consul, peer

UNITS = ("sinewd", "sinew-agent")
PAYMENTS = [("127.0.0.2", 8080), ("127.0.0.3", 8080)]  # endpoints in the folder
CART = ("127.0.0.4", 8080)  # the one that Consul has
KEPT = "/var/lib/sinew-test"  # what the second boot must know of the first
TOKEN = "hunter2-not-to-be-seen"
FOLDER, TOKEN_FILE = "/etc/sinew/services", "/etc/sinew/consul.token"

MANIFEST = {"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": "payments", "namespace": "shop"},
            "spec": {"ports": [{"name": "http", "port": 80}],
                     "endpoints": [{"address": address, "port": port} for address, port in PAYMENTS]}}


def run(*words, seconds=120, check=True, **more):
    """What it printed on both; it must end well."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=seconds, check=False, **more)
    assert not check or done.returncode == 0, f"{words} ended with {done.returncode}: {done.stdout}"
    return done.stdout


def show(unit, name):
    """A property of a unit."""
    return run("systemctl", "show", "--value", "--property", name, unit).strip()


def wait_for(condition, seconds=60):
    """What condition() said when that was true."""
    end = time.monotonic() + seconds
    while not (said := condition()):
        assert time.monotonic() < end, f"not within {seconds} s\n{journal()}"
        time.sleep(0.05)
    return said


def journal(*words):
    return run("journalctl", "--no-pager", "--output=short-monotonic", *(f"--unit={unit}" for unit in UNITS), *words)


def main_pid(unit):
    return int(show(unit, "MainPID"))


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        os.fchmod(f.fileno(), mode)
        f.write(text)


def fetch(url):
    """What curl, which knows nothing of Sinew, gets there; None if nothing."""
    done = subprocess.run(["curl", "-sS", "--max-time", "20", url], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=False)
    return done.stdout if done.returncode == 0 else None


def ask(path, socket="/run/sinew-agent/agent.sock"):
    """What the agent, or another, says at its socket."""
    return json.loads(run("curl", "-sS", "--max-time", "20", "--unix-socket", socket, f"http://localhost{path}"))


def is_ready():
    """Whether the agent says that everything of it works; it may be away."""
    try:
        asked = http.client.HTTPConnection("127.0.0.1", 9464, timeout=20)
        asked.request("GET", "/readyz")
        return asked.getresponse().status == 200
    except OSError:
        return False


def address_of(name):
    """The virtual address of a service; None if it has none yet."""
    said = json.loads(run("sinewctl", "get", "services", "--all-namespaces", "-o", "json"))
    return next((one["spec"]["address"] for one in said["items"] if one["metadata"]["name"] == name), None)


@contextlib.contextmanager
def backends():
    """Everything that a service leads to."""
    servers = [http.server.ThreadingHTTPServer(end, peer.Handler) for end in (*PAYMENTS, CART)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield
    for server in servers:
        server.shutdown()
        server.server_close()


class Handler(fake_consul.Handler):
    """What an agent that registers asks of Consul besides."""

    def do_PUT(self):
        fake = self.server.fake
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.what = urllib.parse.unquote(self.path.split("?")[0]).removeprefix("/v1/agent/")
        with fake.lock:
            fake.requests.append((time.monotonic(), self.what, {}, self.headers))
            if self.what == "service/register":
                said = json.loads(body)
                fake.registered[said["ID"]] = {**said, "Service": said["Name"]}
            elif self.what.startswith("service/deregister/"):
                fake.registered.pop(self.what.rsplit("/", 1)[1], None)
        self.say(b"")


class Consul(fake_consul.FakeConsul):
    handler = Handler

    def __init__(self, services):
        self.registered = {}
        super().__init__(services)

    def answer(self, request):
        if request.what == "agent/services":
            with self.lock:
                request.say(self.registered)
            return
        super().answer(request)

    def names(self):
        """Of what is registered now, "name address:port"."""
        with self.lock:
            return {f"{one['Name']} {one['Address']}:{one['Port']}" for one in self.registered.values()}
