# SPDX-License-Identifier: GPL-2.0-or-later
"""A sinew-agent in a sandbox, beside a sinewd (daemon.py), and what became of a registry's word there.

Before it: sandbox.py, daemon.py and a built sinew-agent. After it: tests of each registry. Its sockets, state and settings
are in a folder of its own; it must never listen beyond loopback.
"""
import contextlib
import json
import os
import signal
import subprocess
import time

from harness.daemon import ask_well, read_pss
from harness.sandbox import SandboxError


class Agent:
    """One sinew-agent in the foreground, killed with the sandbox, following `registries` (dicts as agent.yaml has them).
    `settings` are agent.yaml's other keys, {"coalesce": "10ms"}; `namespace`: where it and its registries are; `control`:
    another control socket; `environment`: all of it; `files`: how many it may open, (softly, at all)."""

    def __init__(self, sandbox, build, daemon, registries, name="agent", settings=None, namespace=None, start=True,
                 control=None, environment=None, files=None):
        self.sandbox, self.daemon, self.namespace = sandbox, daemon, namespace
        self.program = os.path.join(build, "sinew-agent")
        self.folder = sandbox.path(name)
        os.makedirs(self.folder, exist_ok=True)
        self.socket = os.path.join(self.folder, "agent.sock")
        self.config = os.path.join(self.folder, "agent.yaml")
        self.state = os.path.join(self.folder, "state")
        self.environment, self.files = environment, files
        self.child = None
        self.control = control or daemon.socket
        self.settings = dict(settings or {})
        self.write(registries)
        if start:
            self.start()

    def write(self, registries):
        """Its settings; JSON is YAML."""
        self.registries = registries
        with open(self.config, "w", encoding="utf-8") as f:
            json.dump({"control.socket": self.control, "agent.socket": self.socket, "state.dir": self.state,
                       "metrics.address": "127.0.0.1:0", "log.format": "text", **self.settings,
                       "registries": registries}, f)

    def command(self):
        limit = ["prlimit", f"--nofile={self.files[0]}:{self.files[1]}"] if self.files else []
        return [*limit, self.program, "--config", self.config]

    def start(self):
        """Starts it (again) and waits until it answers; what registries say comes later: wait()."""
        if not os.access(self.program, os.X_OK):
            raise SandboxError("sinew-agent is not built")
        self.child = self.sandbox.start(self.command(), namespace=self.namespace, env=self.environment)
        end = time.monotonic() + 20
        while time.monotonic() < end and self.child.poll() is None:
            try:
                self.request("GET", "/livez")
                return
            except SandboxError:
                time.sleep(0.01)
        raise SandboxError(f"sinew-agent did not start: {self.sandbox.said(self.child)}")

    def kill(self):
        self.child.kill()
        self.child.wait()

    def stop(self):
        """As systemctl stop does; returns the exit status."""
        self.child.terminate()
        try:
            return self.child.wait(timeout=60)
        except subprocess.TimeoutExpired:
            where = ""
            for name in ("wchan", "stack"):  # what it waits for in the kernel
                with contextlib.suppress(OSError), open(f"/proc/{self.child.pid}/{name}", encoding="ascii") as f:
                    where += f.read() + "\n"
            raise SandboxError(f"sinew-agent does not end: {where}{self.log()[-1500:]}") from None

    def reload(self, registries=None, **settings):
        """As systemctl reload does, with these (without: with the file as it is); what it says of its settings then."""
        if registries is not None:
            self.settings.update(settings)
            self.write(registries)
        before = self.get("/v1/registries")["settings"]["reloads"]
        self.child.send_signal(signal.SIGHUP)
        return self.wait(lambda: (lambda now: now if now["reloads"] > before else None)(
            self.get("/v1/registries")["settings"]), what="reload")

    def log(self):
        with open(self.child.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def request(self, method, path, body=None):
        """The answer's bytes; anything but 2xx is an error."""
        return ask_well("sinew-agent", self.socket, method, path, body)

    def get(self, path):
        return json.loads(self.request("GET", path))

    def registry(self, name):
        """What it says of one registry: state, services, endpoints, lastError..."""
        return next(one for one in self.get("/v1/registries")["items"] if one["name"] == name)

    def wait(self, condition, seconds=10, what="what was waited for"):
        """Until condition() is true; its value. Looks each 2 ms."""
        end = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise SandboxError(f"no {what} within {seconds} s; agent: {self.log()[-1500:]}")
            time.sleep(0.002)

    def wait_state(self, name, state="ok", seconds=10):
        return self.wait(lambda: self.registry(name)["state"] == state, seconds, f"state {state} of {name}")

    def wait_error(self, name, reason, seconds=10):
        """The registry's last error once it is that one: {"reason", "text", "hint"}."""
        def error():
            said = self.registry(name).get("lastError")
            return said if said and said["reason"] == reason else None
        return self.wait(error, seconds, f"error {reason} of {name}")

    def wait_ready(self, seconds=10):
        """Every registry has spoken, and sinewd has what they said."""
        def ready():
            try:
                return self.request("GET", "/readyz")
            except SandboxError:
                return None
        return self.wait(ready, seconds, "readiness")

    def service(self, name, namespace="default"):
        """As sinewd has it; None: not at all."""
        try:
            return json.loads(self.daemon.request("GET", f"/v1/services/{namespace}/{name}", status=True))
        except SandboxError as error:
            if ": 404 " in str(error):
                return None
            raise

    def endpoints(self, name, namespace="default"):
        """{"address:port" or "address:port,port": endpoint} of a service in sinewd; {} when there is none."""
        found = self.service(name, namespace)
        if not found:
            return {}
        spec = found["spec"]
        return {f"{one['address']}:{one.get('port', spec['ports'][0]['port'])}": one for one in spec["endpoints"]}

    def wait_endpoints(self, name, expected, namespace="default", seconds=10):
        """Until sinewd has exactly these ("address:port") of the service, whatever their weight; they."""
        try:
            self.wait(lambda: set(self.endpoints(name, namespace)) == set(expected), seconds)
        except SandboxError as error:
            raise SandboxError(f"{namespace}/{name} has {sorted(self.endpoints(name, namespace))}, expected "
                               f"{sorted(expected)}; {error}") from None
        return self.endpoints(name, namespace)

    def pss_bytes(self):
        return read_pss(self.child.pid)

    def cpu_seconds(self):
        """Processor time that it has used, user and system."""
        with open(f"/proc/{self.child.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
