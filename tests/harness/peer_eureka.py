# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Eureka server, Spring Cloud's, without peers of its own. It keeps all in memory: restarted, it is empty.

Before it: peer_server.py. After it: tests of the Eureka source and of registration.
"""
import itertools

from harness.peer import need
from harness.peer_server import Http, PeerServer, built, free_ports

# Its cache keeps an answer that was being made while an instance came or went: it is wrong until the next change, or for so
# long (180 by default). That is rare for those who poll, and frequent for those who ask all the time, as tests do.
REPEATS_SECONDS = 2


class Eureka(PeerServer):
    """.base is the path before /apps. `cache_ms`: how old its answers may be. `evict_ms`: how often it looks for ended
    leases. `preservation`: it then keeps instances whose heartbeats are missing when many are."""

    PEER = "eureka"
    READY_SECONDS = 120

    def __init__(self, sandbox, cache_ms=1000, evict_ms=2000, preservation=False, **more):
        self.cache_ms, self.evict_ms, self.preservation = cache_ms, evict_ms, preservation
        self.java, self.jar = need("java"), built("eureka", "eureka.jar")
        self.base, self.asked = "/eureka", itertools.count()
        super().__init__(sandbox, **more)

    def prepare(self):
        self.port, = free_ports(1, self.namespace)
        self.http = Http(self.port, headers={"Accept": "application/json"}, namespace=self.namespace)

    def command(self):
        settings = {
            "server.address": "127.0.0.1", "server.port": self.port,
            "eureka.client.register-with-eureka": "false", "eureka.client.fetch-registry": "false",
            "eureka.server.response-cache-update-interval-ms": self.cache_ms,
            "eureka.server.use-read-only-response-cache": "false",
            "eureka.server.response-cache-auto-expiration-in-seconds": REPEATS_SECONDS,
            "eureka.server.eviction-interval-timer-in-ms": self.evict_ms,
            "eureka.server.enable-self-preservation": "true" if self.preservation else "false",
            "eureka.server.wait-time-in-ms-when-sync-empty": 0,
            "eureka.server.retention-time-in-m-s-in-delta-queue": 180000,
            "spring.main.banner-mode": "off",
        }
        return [self.java, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", self.jar,
                *(f"--{key}={value}" for key, value in settings.items())]

    def is_ready(self):
        return "applications" in self.http.get(f"{self.base}/apps")

    @staticmethod
    def instance(app, address, port, status="UP", seconds=30, **more):
        """What a client sends; `more` are keys as the API has them (metadata, securePort, ...). `seconds`: its lease."""
        return {"instance": {
            "instanceId": f"{app}:{address}:{port}", "app": app.upper(), "hostName": address, "ipAddr": address,
            "vipAddress": app, "secureVipAddress": app, "status": status, "overriddenStatus": "UNKNOWN", "countryId": 1,
            "port": {"$": port, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
            "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
            "leaseInfo": {"renewalIntervalInSecs": max(1, seconds // 3), "durationInSecs": seconds}, **more}}

    @staticmethod
    def identity(app, address, port):
        return f"{app.upper()}/{app}:{address}:{port}"

    def register(self, app, address, port, **more):
        self.http.post(f"{self.base}/apps/{app.upper()}", self.instance(app, address, port, **more))

    def heartbeat(self, app, address, port):
        self.http.put(f"{self.base}/apps/{self.identity(app, address, port)}")

    def set_status(self, app, address, port, status):
        """Overrides it: OUT_OF_SERVICE and so on."""
        self.http.put(f"{self.base}/apps/{self.identity(app, address, port)}/status?value={status}")

    def clear_status(self, app, address, port):
        self.http.delete(f"{self.base}/apps/{self.identity(app, address, port)}/status")

    def deregister(self, app, address, port):
        self.http.delete(f"{self.base}/apps/{self.identity(app, address, port)}")

    def put_many(self, instances, **more):
        """(app, address, port) each."""
        for app, address, port in instances:
            self.register(app, address, port, **more)

    def applications(self, delta=False):
        """{APP: [instance, ...]} as it has them, or what it answers to whoever asks for changes.

        What is asked with a region that nobody named before has not been cached.
        """
        path = "/apps/delta" if delta else f"/apps?regions=uncached-{next(self.asked)}"
        found = self.http.get(self.base + path)["applications"]["application"]
        return {one["name"]: one["instance"] for one in (found if isinstance(found, list) else [found])}
