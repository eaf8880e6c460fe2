# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Prometheus that scrapes one target, and promtool.

Before it: peer_server.py, the package prometheus. After it: tests of the agent's /metrics.
"""
import os
import subprocess
import urllib.parse

from harness.peer import need
from harness.peer_server import Http, PeerServer, free_ports


class Prometheus(PeerServer):
    """Scrapes http://TARGET/metrics (address:port) every second, under the job "sinew"."""

    PEER = "prometheus"

    def __init__(self, sandbox, target, path="/metrics", **more):
        self.target, self.path = target, path
        self.program = need("prometheus")
        super().__init__(sandbox, **more)

    def prepare(self):
        self.port, = free_ports(1, self.namespace)
        self.http = Http(self.port, namespace=self.namespace)
        self.config = self.write("prometheus.yml", {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [{
                "job_name": "sinew", "metrics_path": self.path, "static_configs": [{"targets": [self.target]}]}]})

    def command(self):
        return [self.program, "--config.file", self.config, "--storage.tsdb.path", self.data,
                "--web.listen-address", f"127.0.0.1:{self.port}", "--log.level", "warn"]

    def is_ready(self):
        return self.http.request("GET", "/-/ready")[0] == 200

    def query(self, expression):
        """[(labels, value)] now."""
        said = self.http.get("/api/v1/query?query=" + urllib.parse.quote(expression))
        return [(one["metric"], float(one["value"][1])) for one in said["data"]["result"]]

    def target_state(self):
        """(health, last error) of the target: "up", "down" or "unknown"."""
        one = self.http.get("/api/v1/targets")["data"]["activeTargets"]
        return (one[0]["health"], one[0]["lastError"]) if one else ("unknown", "")

    @staticmethod
    def check_metrics(text):
        """What promtool has to say about an exposition; nothing when it is clean."""
        done = subprocess.run([need("promtool"), "check", "metrics"], input=text, capture_output=True, text=True,
                              timeout=60, check=False, env={**os.environ})
        return (done.stdout + done.stderr).strip()
