# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Consul server: one agent that is the whole datacentre.

Before it: peer_server.py. After it: tests of the Consul source and of registration. Without `persistent` it keeps nothing:
killed and started, it is empty, as a registry is that lost its data.
"""
import os
import subprocess

from harness.certificate import Authority
from harness.peer_server import Http, PeerServer, built, free_ports

TXN_OPERATIONS = 64  # that one transaction may hold
MANAGEMENT = "11111111-2222-3333-4444-555555555555"


class Consul(PeerServer):
    """`acl`: tokens are needed, .management is the one that may do all. `tls`: HTTPS with client certificates on .port,
    .authority made them, .pair is the client's. `unix`: also answers at the socket .unix_path."""

    PEER = "consul"

    def __init__(self, sandbox, acl=False, tls=False, unix=False, persistent=False, datacenter="dc1", **more):
        self.acl, self.tls, self.unix, self.persistent, self.datacenter = acl, tls, unix, persistent, datacenter
        self.management = MANAGEMENT if acl else None
        self.program = built("consul", "consul")
        super().__init__(sandbox, **more)

    def prepare(self):
        self.port, self.dns_port, server, lan = free_ports(4, self.namespace)
        self.unix_path = os.path.join(self.folder, "http.sock") if self.unix else None
        http, https = (-1, self.port) if self.tls else (self.port, -1)
        listen = "127.0.0.1" + (f" unix://{self.unix_path}" if self.unix else "")
        config = {
            "datacenter": self.datacenter, "node_name": "peer", "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
            "addresses": {"http": listen}, "log_level": "INFO", "disable_update_check": True,
            "ports": {"http": http, "https": https, "dns": self.dns_port, "server": server, "serf_lan": lan,
                      "serf_wan": -1, "grpc": -1, "grpc_tls": -1},
            "performance": {"raft_multiplier": 1}, "limits": {"http_max_conns_per_client": 1000},
        }
        if self.unix and self.tls:
            config["ports"]["http"] = 1  # ignored for a socket, yet it must be on
            config["addresses"]["http"] = f"unix://{self.unix_path}"
        if self.acl:
            config["acl"] = {"enabled": True, "default_policy": "deny", "tokens": {
                "initial_management": MANAGEMENT, "agent": MANAGEMENT}}
        if self.tls:
            self.authority = Authority(os.path.join(self.folder, "tls"), "consul")
            certificate, key = self.authority.issue("server", names=("localhost", f"server.{self.datacenter}.consul"))
            self.pair = self.authority.issue("client")
            config["tls"] = {"https": {"ca_file": self.authority.certificate, "cert_file": certificate, "key_file": key,
                                       "verify_incoming": True}}
        self.config = self.write("consul.json", config)
        self.http = Http(self.port, tls=self.authority.context(self.pair) if self.tls else None,
                         headers={"X-Consul-Token": MANAGEMENT} if self.acl else None, namespace=self.namespace)

    def command(self):
        mode = ["-server", "-bootstrap", "-data-dir", self.data] if self.persistent else ["-dev"]
        return [self.program, "agent", *mode, "-config-file", self.config]

    def is_ready(self):
        if not self.http.get("/v1/status/leader") or self.http.get("/v1/status/leader") == '""':
            return False
        return any(one["Node"] == "peer" for one in self.http.get("/v1/catalog/nodes"))

    # --- services of this agent ---

    def register(self, name, address, port, identity=None, **more):
        """With the agent, as a program registers itself; `more` are keys as the API has them (Tags, Meta, Check...)."""
        self.http.put("/v1/agent/service/register", {"ID": identity or f"{name}-{address}-{port}", "Name": name,
                                                     "Address": address, "Port": port, **more})

    def deregister(self, identity):
        self.http.put(f"/v1/agent/service/deregister/{identity}")

    def maintenance(self, identity, on=True):
        self.http.put(f"/v1/agent/service/maintenance/{identity}?enable={'true' if on else 'false'}&reason=test")

    def set_check(self, identity, status):
        """`status` of a check with a TTL: pass, warn or fail."""
        self.http.put(f"/v1/agent/check/{status}/{identity}")

    # --- services of other nodes, many at once ---

    def transact(self, operations):
        for at in range(0, len(operations), TXN_OPERATIONS):
            self.http.put("/v1/txn", operations[at:at + TXN_OPERATIONS])

    def make_node(self, node, address="127.0.0.1"):
        self.transact([{"Node": {"Verb": "set", "Node": {"Node": node, "Address": address}}}])

    def put_many(self, instances, node="outside"):
        """(name, address, port) each, in the catalogue of a node without an agent."""
        self.make_node(node)
        self.transact([{"Service": {"Verb": "set", "Node": node, "Service": {
            "ID": f"{name}-{address}-{port}", "Service": name, "Address": address, "Port": port}}}
            for name, address, port in instances])

    def delete_many(self, instances, node="outside"):
        self.transact([{"Service": {"Verb": "delete", "Node": node, "Service": {"ID": f"{name}-{address}-{port}"}}}
                       for name, address, port in instances])

    def health(self, name, **more):
        return self.http.get(f"/v1/health/service/{name}", **more)

    # --- keys, tokens, snapshots ---

    def put_key(self, key, value):
        self.http.put(f"/v1/kv/{key}", value)

    def delete_key(self, key):
        self.http.delete(f"/v1/kv/{key}")

    def make_token(self, rules):
        """A token with a policy of these rules (HCL)."""
        name = f"policy-{len(self.http.get('/v1/acl/policies'))}"
        self.http.put("/v1/acl/policy", {"Name": name, "Rules": rules})
        return self.http.put("/v1/acl/token", {"Policies": [{"Name": name}]})["SecretID"]

    def take_snapshot(self):
        """What it holds, as bytes; give_snapshot() puts an old state in place of the present one."""
        return self.http.get("/v1/snapshot")

    def give_snapshot(self, snapshot):
        self.http.put("/v1/snapshot", snapshot, headers={"Content-Type": "application/octet-stream"})

    def run(self, *words, seconds=30):
        """The command line tool of Consul against this server; what it said."""
        env = {**os.environ, "CONSUL_HTTP_ADDR": f"127.0.0.1:{self.port}"}
        if self.acl:
            env["CONSUL_HTTP_TOKEN"] = MANAGEMENT
        done = subprocess.run([self.program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env,
                              timeout=seconds, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout
