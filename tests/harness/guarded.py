# SPDX-License-Identifier: GPL-2.0-or-later
"""Real registries that ask who writes: over TLS, by an authority of their own, with credentials that change.

Before it: registering.py; nginx in front of Eureka, which knows no users itself. After it: tests of registering as it is done in
production. A board's .keys are what agent.yaml says, with `folder` where the agent finds its secret; what is in there is put
there by the test.
"""
import os
import secrets

from harness import nginx
from harness.certificate import Authority
from harness.peer import need
from harness.peer_etcd import encode, prefix_end
from harness.peer_server import AnswerError, Http, PeerServer, free_ports
from harness.registering import ConsulBoard, EtcdBoard, EurekaBoard
from harness.sandbox import SandboxError

READ = 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'


def client_keys(folder):
    return {"certFile": f"{folder}/client.crt", "keyFile": f"{folder}/client.key"}


def read(pair):
    found = {}
    for name, path in zip(("client.crt", "client.key"), pair):
        with open(path, encoding="ascii") as f:
            found[name] = f.read()
    return found


class GuardedConsul(ConsulBoard):
    """Denies by default; a client needs a certificate, too. The secret is a token."""

    missing = "service:write"  # what is told of a service that may not be written
    wrong = "ACL not found"  # and of a secret that is of no use

    def __init__(self, sandbox):
        super().__init__(sandbox, acl=True, tls=True)
        self.rules = ""

    def keys(self, folder):
        return {**self.config, "address": f"https://localhost:{self.server.port}", "tokenFile": f"{folder}/secret",
                "caFile": self.server.authority.certificate, **client_keys(folder)}

    def begin(self, *services):
        """The files that the agent needs, {name: text}; whoever has this secret may write these services."""
        self.policy = self.server.http.put("/v1/acl/policy", {"Name": "agent", "Rules": READ})["ID"]
        self.allow(*services)
        self.token = self.make_token()
        return {"secret": self.token["SecretID"] + "\n", **read(self.server.pair)}

    def make_token(self):
        return self.server.http.put("/v1/acl/token", {"Policies": [{"Name": "agent"}]})

    def allow(self, *services):
        """These, too."""
        self.rules += "".join(f'service "{one}" {{ policy = "write" }}\n' for one in services)
        self.server.http.put(f"/v1/acl/policy/{self.policy}", {"ID": self.policy, "Name": "agent",
                                                               "Rules": f"{READ}\n{self.rules}"})

    def change(self, give):
        """give(secret): the agent's is another one from now on, and what it had is of no use any more."""
        old, self.token = self.token, self.make_token()
        give(self.token["SecretID"])
        self.server.http.delete(f"/v1/acl/token/{old['AccessorID']}")


class GuardedEtcd(EtcdBoard):
    """The secret is a password. Its tokens are signed, so each change of users and roles ends all that there are."""

    missing = "READWRITE"
    wrong = "check username and passwordFile"

    def __init__(self, sandbox):
        super().__init__(sandbox, auth=True, tls=True, signed=True)

    def keys(self, folder):
        return {**self.config, "address": f"https://localhost:{self.server.port}", "username": "agent",
                "passwordFile": f"{folder}/secret", "caFile": self.server.authority.certificate, **client_keys(folder)}

    def begin(self, *services):
        secret = secrets.token_hex()
        self.server.make_user("agent", secret, "services/", "READ")
        self.server.enable_auth()
        self.allow(*services)
        return {"secret": secret, **read(self.server.pair)}

    def allow(self, *services):
        for one in services:
            prefix = f"services/{one}/"
            self.server.http.post("/v3/auth/role/grant", {"name": "agent", "perm": {
                "permType": "READWRITE", "key": encode(prefix), "range_end": encode(prefix_end(prefix))}})
            self.server.enable_auth()

    def ids(self, service):
        for _ in range(5):
            try:
                return super().ids(service)
            except AnswerError as error:  # the test's own token ends as well
                if error.status != 400:
                    raise
                self.server.enable_auth()
        raise SandboxError("no token lives long enough to look")

    def change(self, give):
        secret = secrets.token_hex()
        self.server.http.post("/v3/auth/user/changepw", {"name": "agent", "password": secret})
        give(secret)
        self.server.enable_auth()


FRONT = """
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]};
        auth_basic registry; auth_basic_user_file {users};
        location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1; }}
"""


class Front(PeerServer):
    """nginx: HTTPS for users that the file .users names, before a server on loopback."""

    PEER = "front"

    def __init__(self, sandbox, behind, **more):
        self.program, self.behind = need("nginx"), behind
        super().__init__(sandbox, **more)

    def prepare(self):
        self.port, = free_ports(1)
        self.authority = Authority(os.path.join(self.folder, "tls"), "front")
        self.users = self.write("users", "")
        self.config = self.write("nginx.conf", nginx.configure(self.folder, FRONT.format(
            port=self.port, pair=self.authority.issue("server"), users=self.users, behind=self.behind)))
        self.http = Http(self.port, tls=self.authority.context())

    def command(self):
        return [self.program, "-c", self.config, "-p", self.folder]

    def is_ready(self):
        return self.http.request("GET", "/")[0] == 401

    def admit(self, user, secret):
        """Nobody but this one."""
        self.write("users", f"{user}:{{PLAIN}}{secret}\n")


class GuardedEureka(EurekaBoard):
    """The secret is a password. Who has it may write everything."""

    wrong = "check username and passwordFile"

    def __init__(self, sandbox):
        super().__init__(sandbox)
        self.front = Front(sandbox, self.server.port)

    def keys(self, folder):
        return {**self.config, "address": f"https://localhost:{self.front.port}/eureka", "username": "agent",
                "passwordFile": f"{folder}/secret", "caFile": self.front.authority.certificate, "interval": "500ms"}

    def begin(self, *_):
        secret = secrets.token_hex()
        self.front.admit("agent", secret)
        return {"secret": secret}

    def change(self, give):
        secret = secrets.token_hex()
        self.front.admit("agent", secret)
        give(secret)


GUARDED = {board.kind: board for board in (GuardedConsul, GuardedEtcd, GuardedEureka)}
