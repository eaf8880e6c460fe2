# SPDX-License-Identifier: GPL-2.0-or-later
"""A real etcd of one member, asked by its JSON gateway and by etcdctl.

Before it: peer_server.py. After it: tests of the etcd source, and peer_kubernetes.py, which keeps its objects here.
"""
import base64
import os
import subprocess

from harness.certificate import Authority
from harness.peer_server import Http, PeerServer, built, free_ports

TXN_OPERATIONS = 500  # that one transaction holds here; --max-txn-ops allows them
ROOT_PASSWORD = "root's own"


def encode(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def prefix_end(key):
    """The first key that does not begin with it."""
    raw = key.encode()
    return raw[:-1] + bytes([raw[-1] + 1])


class Etcd(PeerServer):
    """`auth`: users are needed; root's password is ROOT_PASSWORD, make_user() makes others. `tls`: HTTPS with client
    certificates, .authority and .pair as in peer_consul.py. `signed`: tokens are JWTs. .port is the clients' port."""

    PEER = "etcd"

    def __init__(self, sandbox, auth=False, tls=False, signed=False, **more):
        self.auth, self.tls, self.signed = auth, tls, signed
        self.program, self.ctl = built("etcd", "etcd"), built("etcd", "etcdctl")
        super().__init__(sandbox, **more)

    def prepare(self):
        self.port, self.peer_port = free_ports(2, self.namespace)
        if self.tls:
            self.authority = Authority(os.path.join(self.folder, "tls"), "etcd")
            # With users its gateway refuses whoever has a CommonName: it would be a user's name elsewhere.
            self.server_pair = self.authority.issue("server")
            self.pair = self.authority.issue("client", subject="/O=client" if self.auth else None)
        if self.signed:
            self.signer = os.path.join(self.folder, "signer")
            Authority.openssl("genrsa", "-out", self.signer, "2048")
            Authority.openssl("rsa", "-in", self.signer, "-pubout", "-out", f"{self.signer}.pub")
        self.http = Http(self.port, tls=self.authority.context(self.pair) if self.tls else None,
                         namespace=self.namespace)

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def command(self):
        peer = f"http://127.0.0.1:{self.peer_port}"
        words = [self.program, "--name", "peer", "--data-dir", os.path.join(self.data, "member"),
                 "--listen-client-urls", self.url, "--advertise-client-urls", self.url, "--listen-peer-urls", peer,
                 "--initial-advertise-peer-urls", peer, "--initial-cluster", f"peer={peer}",
                 "--max-txn-ops", "2000", "--max-request-bytes", "16000000", "--unsafe-no-fsync",
                 "--heartbeat-interval", "50", "--election-timeout", "250", "--log-level", "warn",
                 "--bcrypt-cost", "4"]  # the least there is: a login is quick
        if self.tls:
            words += ["--cert-file", self.server_pair[0], "--key-file", self.server_pair[1], "--client-cert-auth",
                      "--trusted-ca-file", self.authority.certificate]
        if self.signed:
            words += ["--auth-token", f"jwt,pub-key={self.signer}.pub,priv-key={self.signer},sign-method=RS256,ttl=5m"]
        return words

    def is_ready(self):
        return b'"true"' in self.http.get("/health")  # it does not say that this is JSON

    def start(self, wait=True):
        super().start(wait)
        if self.auth and wait:
            self.enable_auth()

    def enable_auth(self):
        """Once; after a restart it is on already."""
        status, _, _ = self.http.request("POST", "/v3/kv/range", {"key": encode("x")})
        if status == 200 and "Authorization" not in self.http.headers:
            self.http.post("/v3/auth/user/add", {"name": "root", "password": ROOT_PASSWORD})
            self.http.post("/v3/auth/user/grant", {"user": "root", "role": "root"})
            self.http.post("/v3/auth/enable", {})
        self.http.headers["Authorization"] = self.authenticate("root", ROOT_PASSWORD)

    def authenticate(self, user, password):
        """A token, as clients get one."""
        return self.http.post("/v3/auth/authenticate", {"name": user, "password": password})["token"]

    def make_user(self, name, password, prefix=None, permission="READ"):
        """A user that may READ, WRITE or READWRITE the keys below the prefix; without one, none."""
        self.http.post("/v3/auth/user/add", {"name": name, "password": password})
        if prefix is None:
            return
        self.http.post("/v3/auth/role/add", {"name": name})
        self.http.post("/v3/auth/role/grant", {"name": name, "perm": {
            "permType": permission, "key": encode(prefix), "range_end": encode(prefix_end(prefix))}})
        self.http.post("/v3/auth/user/grant", {"user": name, "role": name})

    # --- keys ---

    def put(self, key, value, lease=0):
        """The revision."""
        said = self.http.post("/v3/kv/put", {"key": encode(key), "value": encode(value), "lease": str(lease)})
        return int(said["header"]["revision"])

    def get(self, key):
        """The value as bytes, or None."""
        found = self.http.post("/v3/kv/range", {"key": encode(key)}).get("kvs")
        return base64.b64decode(found[0].get("value", "")) if found else None

    def list(self, prefix):
        """{key: value} below a prefix, values as bytes."""
        said = self.http.post("/v3/kv/range", {"key": encode(prefix), "range_end": encode(prefix_end(prefix))})
        return {base64.b64decode(one["key"]).decode(): base64.b64decode(one.get("value", ""))
                for one in said.get("kvs", [])}

    def delete(self, key):
        self.http.post("/v3/kv/deleterange", {"key": encode(key)})

    def delete_prefix(self, prefix):
        self.http.post("/v3/kv/deleterange", {"key": encode(prefix), "range_end": encode(prefix_end(prefix))})

    def put_many(self, pairs):
        """(key, value) each, hundreds in a transaction. The last revision."""
        pairs, revision = list(pairs), 0
        for at in range(0, len(pairs), TXN_OPERATIONS):
            said = self.http.post("/v3/kv/txn", {"success": [
                {"requestPut": {"key": encode(key), "value": encode(value)}} for key, value in
                pairs[at:at + TXN_OPERATIONS]]})
            revision = int(said["header"]["revision"])
        return revision

    def delete_many(self, keys):
        keys = list(keys)
        for at in range(0, len(keys), TXN_OPERATIONS):
            self.http.post("/v3/kv/txn", {"success": [
                {"requestDeleteRange": {"key": encode(key)}} for key in keys[at:at + TXN_OPERATIONS]]})

    def revision(self):
        return int(self.http.post("/v3/kv/range", {"key": encode("x"), "count_only": True})["header"]["revision"])

    def compact(self, revision=None):
        """Forgets what was before a revision (the present one): a watch from there is refused."""
        self.http.post("/v3/kv/compaction", {"revision": str(revision or self.revision()), "physical": True})

    # --- leases ---

    def grant(self, seconds):
        return int(self.http.post("/v3/lease/grant", {"TTL": str(seconds)})["ID"])

    def keep_alive(self, lease):
        self.http.post("/v3/lease/keepalive", {"ID": str(lease)})

    def revoke(self, lease):
        self.http.post("/v3/lease/revoke", {"ID": str(lease)})

    def run(self, *words, user=None, seconds=30):
        """etcdctl against this server; what it said. `user`: name:password."""
        tls = ["--cacert", self.authority.certificate, "--cert", self.pair[0], "--key", self.pair[1]] if self.tls else []
        user = user or (f"root:{ROOT_PASSWORD}" if self.auth else None)
        command = [self.ctl, "--endpoints", self.url, *tls, *(["--user", user] if user else []), *words]
        return self.sandbox.run(command, namespace=self.namespace, seconds=seconds)
