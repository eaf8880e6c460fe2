# SPDX-License-Identifier: GPL-2.0-or-later
"""One service in a real registry, whichever it is: who serves it is said in the same words for all of them.

Before it: peer_consul.py and the other servers. After it: tests that hold for every registry, and scripts/demo-registry.py.
"""
ADDRESS = "10.96.0.10"  # where Kubernetes' services are


class Publisher:
    """`known`: {"a": ("10.1.0.1", 8080)}; the ports are equal. Has nobody at first. .server is the peer_*.py server,
    `more` goes to it. A subclass says make(), follow() and change()."""

    def __init__(self, place, known, name="payments", space="shop", **more):
        self.known, self.name, self.space, self.published = known, name, space, set()
        self.server = self.make(place, **more)

    def publish(self, *names):
        """Exactly these serve."""
        self.change(set(names) - self.published, self.published - set(names))
        self.published = set(names)

    def has_only(self, *names):
        """The server has lost its data, but for these: publish() says the others anew."""
        self.published = set(names)


class OfConsul(Publisher):
    KIND = "consul"

    @staticmethod
    def make(place, **more):
        from harness.peer_consul import Consul
        return Consul(place, **more)

    def follow(self, port=None):
        """agent.yaml's keys, but its name; `port`: of whoever stands between."""
        return {"type": "consul", "address": f"http://127.0.0.1:{port or self.server.port}", "namespace": self.space,
                "select": [self.name]}

    def change(self, new, gone):
        for one in new:
            self.server.register(self.name, *self.known[one], identity=one)
        for one in gone:
            self.server.deregister(one)


class OfEtcd(Publisher):
    KIND = "etcd"

    @staticmethod
    def make(place, **more):
        from harness.peer_etcd import Etcd
        return Etcd(place, **more)

    def follow(self, port=None):
        return {"type": "etcd", "address": f"http://127.0.0.1:{port or self.server.port}", "namespace": self.space,
                "prefix": "services"}

    def change(self, new, gone):
        for one in new:
            address, port = self.known[one]
            self.server.put(f"services/{self.name}/{one}", f'{{"Op":0,"Addr":"{address}:{port}"}}')
        for one in gone:
            self.server.delete(f"services/{self.name}/{one}")


class OfEureka(Publisher):
    KIND = "eureka"

    @staticmethod
    def make(place, **more):
        from harness.peer_eureka import Eureka
        return Eureka(place, cache_ms=200, **more)

    def follow(self, port=None):
        return {"type": "eureka", "address": f"http://127.0.0.1:{port or self.server.port}{self.server.base}",
                "namespace": self.space, "interval": "500ms"}

    def change(self, new, gone):
        for one in new:
            self.server.register(self.name, *self.known[one], seconds=3600)
        for one in gone:
            self.server.deregister(self.name, *self.known[one])


class OfKubernetes(Publisher):
    """The endpoints of one slice; the service's ClusterIP is the address."""

    KIND = "kubernetes"

    @staticmethod
    def make(place, **more):
        from harness.peer_kubernetes import KubeApiserver
        return KubeApiserver(place, service_range="10.96.0.0/16", **more)

    def __init__(self, place, known, **more):
        super().__init__(place, known, **more)
        self.declare()

    def follow(self, port=None):
        where = {"server": f"https://127.0.0.1:{port}"} if port else {}
        return {"type": "kubernetes", "path": self.server.kubeconfig("reader", **where)}

    def declare(self):
        self.server.grant("reader")
        self.server.make_namespace(self.space)
        self.server.put_service(self.name, namespace=self.space, clusterIP=ADDRESS)

    def has_only(self, *names):
        super().has_only(*names)
        if not names:
            self.declare()

    def change(self, new, gone):
        names = sorted((self.published | new) - gone)
        port = next(iter(self.known.values()))[1]
        one = self.server.slice(self.name, [self.known[name][0] for name in names], namespace=self.space,
                                ports=[{"name": "p80", "port": port, "protocol": "TCP"}])
        if self.published:
            self.server.patch("endpointslices", one["metadata"]["name"], {"endpoints": one["endpoints"]}, self.space)
        else:
            self.server.put("endpointslices", one)


KINDS = {one.KIND: one for one in (OfConsul, OfEtcd, OfEureka, OfKubernetes)}
