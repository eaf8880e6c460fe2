# SPDX-License-Identifier: GPL-2.0-or-later
"""Real registries as a place where sinew-agent registers: what they have of a service, seen as their users see it.

Before it: peer_consul.py, peer_eureka.py, peer_etcd.py. After it: tests of registering. It only looks; what it is asked
about must have been registered by an agent.
"""
import json
import signal
import socket
import threading
import time

from harness.peer_consul import Consul
from harness.peer_etcd import Etcd
from harness.peer_eureka import Eureka


class ConsulBoard:
    kind, lost_after = "consul", 1.5  # leases until silence shows

    def __init__(self, sandbox, **more):
        self.server = Consul(sandbox, **more)
        self.config = {"name": "dc1", "type": "consul", "address": f"http://127.0.0.1:{self.server.port}"}

    def ids(self, service):
        """Addresses of its instances that are well."""
        return {f"{one['Service']['Address']}:{one['Service']['Port']}"
                for one in self.server.http.get(f"/v1/health/service/{service}?passing", seconds=5)}

    def add_foreign(self, service, address, port):
        """Somebody else's."""
        self.server.register(service, address, port, Meta={"sinew-node": "another"})


class EurekaBoard:
    kind, lost_after = "eureka", 3  # it waits for two leases, and then looks each two seconds

    def __init__(self, sandbox, **more):
        self.server = Eureka(sandbox, **more)
        self.config = {"name": "dc1", "type": "eureka", "address": f"http://127.0.0.1:{self.server.port}"}

    def ids(self, service):
        return {f"{one['ipAddr']}:{one['port']['$']}" for one in self.server.applications().get(service.upper(), [])
                if one["status"] == "UP"}

    def add_foreign(self, service, address, port):
        self.server.register(service, address, port, metadata={"sinew-node": "another"}, seconds=600)


class EtcdBoard:
    kind, lost_after = "etcd", 2

    def __init__(self, sandbox, **more):
        self.server = Etcd(sandbox, **more)
        self.config = {"name": "dc1", "type": "etcd", "address": f"http://127.0.0.1:{self.server.port}"}

    def ids(self, service):
        prefix = f"services/{service}/"
        found = {key[len(prefix):]: json.loads(value) for key, value in self.server.list(prefix).items()}
        assert all(one["Op"] == 0 and one["Addr"] == key for key, one in found.items())
        return set(found)

    def add_foreign(self, service, address, port):
        self.server.put(f"services/{service}/{address}:{port}", json.dumps(
            {"Op": 0, "Addr": f"{address}:{port}", "Metadata": {"sinew-node": "another"}}), self.server.grant(600))


BOARDS = {board.kind: board for board in (ConsulBoard, EurekaBoard, EtcdBoard)}


def listening(address, port):
    """A process that listens until it is killed, for Sandbox.spawn."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(8)
        yield
        signal.pause()


def wait_for(condition, seconds=10, every=0.002):
    """How long it took until condition() was true; it must be within the time."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(every)
    return time.monotonic() - began


class Watched:
    """While inside, a thread looks all the time whether the service has these; .missing are the times when it had not, or
    could not be asked."""

    def __init__(self, board, service, expected):
        self.board, self.service, self.expected = board, service, set(expected)
        self.missing, self.looks, self.ended = [], 0, threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self):
        while not self.ended.wait(0.02):
            try:
                found = self.board.ids(self.service)
            except Exception as error:  # pylint: disable=broad-except
                found = {repr(error)}
            self.looks += 1
            if not self.expected <= found:
                self.missing.append((time.monotonic(), found))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join(10)


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]
