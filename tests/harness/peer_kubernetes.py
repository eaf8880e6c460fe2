# SPDX-License-Identifier: GPL-2.0-or-later
"""A real kube-apiserver with an etcd of its own. No controller runs: tests write EndpointSlices and Nodes themselves.

Before it: peer_server.py, peer_etcd.py. After it: tests of the Kubernetes source. A slice is named for its service plus
a suffix, and labelled as the endpoint controller labels it. The server refuses endpoints in 127.0.0.0/8 and ::1: real
backends need a network namespace with addresses of its own.
"""
import json
import os

from harness.certificate import Authority
from harness.peer_etcd import Etcd
from harness.peer_server import AnswerError, Http, PeerServer, built, free_ports

# Users with a token from the start; only admin may do anything before grant().
USERS = ("admin", "reader", "partial", "blind")
READ = ("get", "list", "watch")
# What the agent needs: (API group, resource).
NEEDED = (("", "services"), ("", "nodes"), ("", "configmaps"), ("discovery.k8s.io", "endpointslices"))
EXEC_PLUGIN = """#!/bin/sh
echo run >>'{count}'
printf '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"%s"}}}}' \\
	"$(cat '{token}')"
"""


class KubeApiserver(PeerServer):
    """.tokens[USER] and certificate(USER) are credentials of USERS; .authority signed its certificate and signs those of
    clients; .etcd is where its objects are. .http acts as admin; client(USER) as somebody else."""

    PEER = "kubernetes"

    def __init__(self, sandbox, arguments=(), service_range="10.0.0.0/16", **more):
        self.arguments, self.service_range = list(arguments), service_range
        self.program, self.ctl = built("kubernetes", "kube-apiserver"), built("kubernetes", "kubectl")
        self.etcd = Etcd(sandbox, namespace=more.get("namespace"))
        super().__init__(sandbox, **more)

    def prepare(self):
        self.port, = free_ports(1, self.namespace)
        self.authority = Authority(os.path.join(self.folder, "tls"), "kubernetes")
        self.server_pair = self.authority.issue("server", names=("localhost", "kubernetes", "kubernetes.default.svc"))
        self.tokens = {user: f"token-of-{user}-0123456789" for user in USERS}
        self.token_file = self.write("tokens.csv", "".join(
            f'{token},{user},{user},{"system:masters" if user == "admin" else user + "s"}\n'
            for user, token in self.tokens.items()))
        self.account_key = os.path.join(self.folder, "sa.key")
        self.authority.openssl("genrsa", "-out", self.account_key, "2048")
        self.http = self.client("admin")

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def client(self, user):
        """Asks as that user."""
        return Http(self.port, tls=self.authority.context(), namespace=self.namespace,
                    headers={"Authorization": f"Bearer {self.tokens[user]}"})

    def command(self):
        return [self.program, f"--etcd-servers={self.etcd.url}", "--etcd-compaction-interval=0",
                "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={self.port}",
                f"--cert-dir={self.folder}", f"--tls-cert-file={self.server_pair[0]}",
                f"--tls-private-key-file={self.server_pair[1]}", f"--client-ca-file={self.authority.certificate}",
                f"--service-cluster-ip-range={self.service_range}", f"--token-auth-file={self.token_file}",
                "--authorization-mode=RBAC", f"--service-account-key-file={self.account_key}",
                f"--service-account-signing-key-file={self.account_key}",
                "--service-account-issuer=https://kubernetes.default.svc", "--endpoint-reconciler-type=none",
                "--disable-admission-plugins=ServiceAccount", "--max-requests-inflight=3000",
                "--max-mutating-requests-inflight=1000", *self.arguments]

    def is_ready(self):
        return self.http.get("/readyz") == b"ok" and self.http.get("/api/v1/namespaces/default")

    # Its data are etcd's.
    def wipe(self):
        self.kill()
        self.etcd.wipe()
        self.etcd.start()

    def save(self, label="old"):
        self.stop()
        self.etcd.save(label)
        self.etcd.start()

    def restore(self, label="old"):
        self.kill()
        self.etcd.restore(label)
        self.etcd.start()

    # --- objects ---

    @staticmethod
    def path(kind, namespace, name=None):
        """`kind`: services, endpointslices, nodes, configmaps, pods, namespaces."""
        base = "/apis/discovery.k8s.io/v1" if kind == "endpointslices" else "/api/v1"
        where = "" if kind in ("nodes", "namespaces") else f"/namespaces/{namespace}"
        return f"{base}{where}/{kind}" + (f"/{name}" if name else "")

    def put(self, kind, body):
        """Creates an object or replaces it; what the server made of it."""
        meta = body["metadata"]
        where = meta.get("namespace", "default")
        try:
            return self.http.post(self.path(kind, where), body)
        except AnswerError as error:
            if error.status != 409:
                raise
        body = {**body, "metadata": {**meta, "resourceVersion": self.get(kind, meta["name"], where)["metadata"][
            "resourceVersion"]}}
        return self.http.put(self.path(kind, where, meta["name"]), body)

    def get(self, kind, name, namespace="default"):
        return self.http.get(self.path(kind, namespace, name))

    def patch(self, kind, name, body, namespace="default"):
        return self.http.ask("PATCH", self.path(kind, namespace, name), body,
                             {"Content-Type": "application/merge-patch+json"})

    def delete(self, kind, name, namespace="default"):
        return self.http.delete(self.path(kind, namespace, name))

    def make_namespace(self, name):
        return self.put("namespaces", {"metadata": {"name": name}})

    @staticmethod
    def service(name, ports=(80,), namespace="default", labels=None, **spec):
        """`ports`: numbers, or as the API has them. `spec`: clusterIP="None", ..."""
        ports = [{"name": f"p{one}", "port": one, "protocol": "TCP"} if isinstance(one, int) else one for one in ports]
        return {"apiVersion": "v1", "kind": "Service", "spec": {"ports": ports, **spec},
                "metadata": {"name": name, "namespace": namespace, "labels": labels or {}}}

    @staticmethod
    def slice(service, endpoints, ports=(80,), suffix="1", namespace="default", **more):
        """`endpoints`: addresses (then ready), or as the API has them."""
        ends = [{"addresses": [one], "conditions": {"ready": True, "serving": True, "terminating": False}}
                if isinstance(one, str) else one for one in endpoints]
        ports = [{"name": f"p{one}", "port": one, "protocol": "TCP"} if isinstance(one, int) else one for one in ports]
        family = "IPv6" if ends and ":" in ends[0]["addresses"][0] else "IPv4"
        return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family, "endpoints": ends,
                "ports": ports, "metadata": {"name": f"{service}-{suffix}", "namespace": namespace, "labels": {
                    "kubernetes.io/service-name": service}}, **more}

    def put_service(self, name, **more):
        return self.put("services", self.service(name, **more))

    def put_slice(self, service, endpoints, **more):
        return self.put("endpointslices", self.slice(service, endpoints, **more))

    def put_node(self, name, zone=None, **labels):
        labels = {**labels, **({"topology.kubernetes.io/zone": zone} if zone else {})}
        return self.put("nodes", {"metadata": {"name": name, "labels": labels}})

    def make_many(self, services, endpoints, namespace="many", restart=True):
        """That many headless services with the endpoints spread over them, one slice each, written past the server into
        its etcd, in seconds instead of minutes. It takes them up from there as it does what another apiserver writes."""
        self.make_namespace(namespace)

        def rows():
            for n in range(services):
                name, mine = f"service-{n}", range(n, endpoints, services)
                meta = {"creationTimestamp": "2026-01-01T00:00:00Z"}
                one = self.service(name, namespace=namespace, clusterIP="None", clusterIPs=["None"], type="ClusterIP",
                                   sessionAffinity="None", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack",
                                   internalTrafficPolicy="Cluster")
                one["spec"]["ports"][0]["targetPort"] = 80
                one["metadata"].update(meta, uid=f"00000000-0000-4000-8000-{n:012x}")
                ends = self.slice(name, [f"10.{1 + (e >> 16)}.{e >> 8 & 255}.{e & 255}" for e in mine],
                                  namespace=namespace)
                ends["metadata"].update(meta, uid=f"00000000-0000-4000-9000-{n:012x}")
                yield f"/registry/services/specs/{namespace}/{name}", json.dumps(one)
                yield f"/registry/endpointslices/{namespace}/{name}-1", json.dumps(ends)
        self.etcd.put_many(rows())

    def compact(self):
        """etcd forgets all old revisions; with a restart, so does the server: a watch from one is then answered 410."""
        self.etcd.compact()

    # --- credentials ---

    def grant(self, user, needed=NEEDED, verbs=READ, kind="User"):
        """Rights of a user (or Group, or ServiceAccount of the namespace default), in place of what grant() gave before."""
        rules = [{"apiGroups": [group], "resources": [resource], "verbs": list(verbs)} for group, resource in needed]
        base, name = "/apis/rbac.authorization.k8s.io/v1", f"test-{kind.lower()}-{user}"
        subject = {"kind": kind, "name": user, "apiGroup": "rbac.authorization.k8s.io"}
        if kind == "ServiceAccount":
            subject = {"kind": kind, "name": user, "namespace": "default"}
        role = {"metadata": {"name": name}, "rules": rules}
        binding = {"metadata": {"name": name}, "subjects": [subject],
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}}
        for kinds, body in (("clusterroles", role), ("clusterrolebindings", binding)):
            if self.http.request("POST", f"{base}/{kinds}", body)[0] == 409:
                self.http.put(f"{base}/{kinds}/{name}", body)

    def certificate(self, user, groups=(), days=3):
        """(certificate, key) of a client."""
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        return self.authority.issue(f"client-{user}", subject, days=days)

    def account_token(self, name="agent", seconds=600):
        """A token of a service account of the namespace default, as a pod is given one."""
        self.http.request("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": name}})
        said = self.http.post(f"/api/v1/namespaces/default/serviceaccounts/{name}/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}})
        return said["status"]["token"]

    def in_cluster(self, name="agent"):
        """A folder as a pod finds it: token, ca.crt, namespace. Its environment is KUBERNETES_SERVICE_HOST and _PORT."""
        folder = os.path.join(self.folder, f"account-{name}")
        os.makedirs(folder, exist_ok=True)
        with open(self.authority.certificate, encoding="ascii") as f:
            authority = f.read()
        for file, text in (("token", self.account_token(name)), ("ca.crt", authority), ("namespace", "default")):
            self.write(os.path.join(folder, file), text)
        return folder

    def kubeconfig(self, user="reader", how="token", name=None, **more):
        """A kubeconfig file. `how`: token, tokenFile, certificate, exec (a plugin that prints the token and notes each
        run in the file PATH.runs), none. `more` goes into the cluster. The path."""
        name = name or f"kubeconfig-{user}-{how}"
        path = os.path.join(self.folder, name)
        who = {}
        if how == "token":
            who = {"token": self.tokens[user]}
        elif how == "tokenFile":
            who = {"tokenFile": self.write(f"{name}.token", self.tokens[user])}
        elif how == "certificate":
            pair = self.certificate(user, [f"{user}s"])
            who = {"client-certificate": pair[0], "client-key": pair[1]}
        elif how == "exec":
            token = self.write(f"{name}.token", self.tokens[user])
            plugin = self.write(f"{name}.plugin", EXEC_PLUGIN.format(count=f"{path}.runs", token=token))
            os.chmod(plugin, 0o755)
            who = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": plugin,
                            "interactiveMode": "Never"}}
        cluster = {"server": self.url, "certificate-authority": self.authority.certificate, **more}
        return self.write(name, {
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}], "users": [{"name": user, "user": who}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user, "namespace": "default"}}]})

    def run(self, *words, config=None, text=None, seconds=60):
        """kubectl against this server as admin, or by a kubeconfig file; what it said."""
        config = config or self.kubeconfig("admin")
        return self.sandbox.run([self.ctl, "--kubeconfig", config, "--cache-dir", os.path.join(self.folder, "cache"),
                                 *words], namespace=self.namespace, text=text, seconds=seconds)
