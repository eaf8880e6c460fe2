# SPDX-License-Identifier: GPL-2.0-or-later
"""The control side: how long a whole snapshot takes, one change, a scrape, and how much memory sinewd has.

Before it: daemon.py. After it: report.py. Runs on a sinewd of its own, which carries no traffic. Must never time
the making of a request's body: that is the caller's work.
"""
import json
import socket
import threading
import time

from measure import quartiles
from harness.sandbox import SandboxError
from subjects import FEW, MANY, PLAIN_PORT, Service, as_list, as_manifest, services

SOURCE = "/v1/sources/bench"
CHANGES = 1000
FLIP_VIP, FLIP_PORT, FLIP_CLIENTS, FLIP_SECONDS = "10.111.0.1", 7999, 8, 10


def snapshot(port):
    return json.dumps(as_list(services(MANY, port))).encode()


def timed_request(path, request):
    """Milliseconds from connect() to the end of the answer, and the answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as s:
        s.settimeout(60)
        begin = time.monotonic()
        s.connect(path)
        s.sendall(request)
        answer = b""
        while True:
            part = s.recv(1 << 20)
            if not part:
                break
            answer += part
        ms = (time.monotonic() - begin) * 1e3
    if not answer.startswith(b"HTTP/1.1 2"):
        raise SandboxError(f"sinewd answered: {answer[:600].decode(errors='replace')}")
    return ms, answer


def http(method, path, body=b""):
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Control:
    """What it measures is in `figures`: name -> (median, first quartile, third quartile)."""

    def __init__(self, field, daemon, repetitions, say):
        self.field, self.daemon = field, daemon
        self.sandbox, self.tool = field.sandbox, field.tool
        self.repetitions, self.say = repetitions, say
        self.figures, self.errors = {}, []

    def measure(self):
        self.say("control: memory, full sync")
        self.measure_idle()
        self.measure_sync()
        self.say("control: scrape, one change")
        self.measure_scrape()
        self.measure_change()
        self.say("control: connects while a set flips")
        self.measure_flips()

    def put(self, body):
        return timed_request(self.daemon.socket, http("PUT", SOURCE, body))[0]

    def measure_idle(self):
        time.sleep(0.5)
        self.figures["pss_idle_bytes"] = (self.daemon.pss_bytes(),) * 3

    def measure_sync(self):
        """From nothing; the same again; every backend of every service another."""
        one, other = snapshot(PLAIN_PORT), json.dumps(as_list(moved())).encode()
        times = {"sync_ms": [], "sync_same_ms": [], "sync_changed_ms": []}
        self.figures["sync_body_bytes"] = (len(one),) * 3
        for _ in range(self.repetitions):
            times["sync_ms"].append(self.put(one))
            times["sync_same_ms"].append(self.put(one))
            times["sync_changed_ms"].append(self.put(other))
            timed_request(self.daemon.socket, http("DELETE", SOURCE))
            # Room in the maps that was given back is given out again after a grace period of a second.
            time.sleep(1.2)
        self.put(one)
        time.sleep(1)
        self.figures["pss_many_bytes"] = (self.daemon.pss_bytes(),) * 3
        self.figures.update({name: quartiles(values) for name, values in times.items()})

    def measure_scrape(self):
        """The longest turn of the loop by sinewd's own clock, and what another client had to wait meanwhile."""
        turns, walls, waits, size = [], [], [], 0
        for _ in range(self.repetitions):
            self.daemon.get("/v1/status")  # the longest turn is counted from here
            with Pinger(self.daemon.status_socket) as pinger:
                wall, answer = timed_request(self.daemon.status_socket, http("GET", "/metrics"))
            turns.append(self.daemon.get("/v1/status")["loopMaxSeconds"] * 1e3)
            walls.append(wall)
            waits.append(pinger.longest_ms)
            size = len(answer)
        self.figures["scrape_turn_ms"] = quartiles(turns)
        self.figures["scrape_wall_ms"] = quartiles(walls)
        self.figures["scrape_wait_ms"] = quartiles(waits)
        self.figures["scrape_body_bytes"] = (size,) * 3

    def measure_change(self):
        """One endpoint of one service among 10,000: until the map has it, in one process."""
        service = services(MANY, PLAIN_PORT)[FEW - 1]
        bodies = []
        for last in ((service.endpoints[2][0], 8080), (service.endpoints[2][0], 8081)):
            service.endpoints[2] = last
            bodies.append(self.sandbox.write(f"body{last[1]}.json", json.dumps(as_manifest(service))))
        bodies.reverse()  # the first change differs from what is there
        command = [self.tool("watch"), "--pin", self.daemon.map_pin("sn_services"), "--socket", self.daemon.socket,
                   "--path", f"/v1/services/bench/s{service.number}?source=bench",
                   "--frontend", f"{service.vip}:80", "--changes", str(CHANGES), "--cpu", str(self.sandbox.cpu)]
        if self.sandbox.cpu == self.sandbox.housekeeping:
            command.append("--yield")
        seen = json.loads(self.sandbox.run(command + bodies, cpu=self.sandbox.cpu))
        for name in ("visible_p50", "visible_p99", "answered_p50", "answered_p99"):
            self.figures[f"change_{name}_ms"] = (seen[f"{name}_ns"] / 1e6,) * 3

    def measure_flips(self):
        """A thousand connects a second while a service has 1 and 100 backends in turn, a hundred times a second.
        The address of the service leads nowhere: a connect that was not translated is an error."""
        self.sandbox.start_ready([self.tool("serve"), "--http", "--listen", f"0.0.0.0:{FLIP_PORT}"],
                                 namespace=self.field.plain, cgroup=self.daemon.cgroup)
        bodies = [json.dumps(as_manifest(Service(MANY + 1, FLIP_VIP, backends))).encode()
                  for backends in ([("127.1.0.1", FLIP_PORT)],
                                   [(f"127.1.0.{i}", FLIP_PORT) for i in range(1, 101)])]
        path = f"/v1/services/bench/s{MANY + 1}?source=bench"
        self.daemon.request("PUT", path, bodies[0])
        clients = [self.sandbox.start(
            [self.tool("load"), "--mode", "crr", "--http", "--to", f"{FLIP_VIP}:80", "--rate", "125",
             "--milliseconds", str(FLIP_SECONDS * 1000)], namespace=self.field.plain, cgroup=self.daemon.cgroup,
            cpu=self.sandbox.cpu) for _ in range(FLIP_CLIENTS)]
        flips = 0
        while any(client.poll() is None for client in clients):
            flips += 1
            self.daemon.request("PUT", path, bodies[flips % 2])
            time.sleep(0.01)  # each flip takes 99 numbers in the maps, which rest for a second when given back
        results = [json.loads(client.stdout.read() or "{}") for client in clients]
        if any("errors" not in result for result in results):
            raise SandboxError("a client of the flipping set ended without a result")
        self.figures["flips"] = (flips,) * 3
        self.figures["flip_connects"] = (sum(r["operations"] for r in results),) * 3
        self.figures["flip_errors"] = (sum(r["errors"] for r in results),) * 3
        self.errors += [f"flipping set: {r['errors']} errors, first {r['first_error']}" for r in results if r["errors"]]


def moved():
    """The same services with every backend at another port."""
    made = services(MANY, PLAIN_PORT)
    for service in made:
        service.endpoints = [(address, port + 1) for address, port in service.endpoints]
    return made


class Pinger:
    """Another client that asks for /healthz all the time; the longest that it had to wait."""

    def __init__(self, path):
        self.path, self.longest_ms, self.ending = path, 0.0, False

    def __enter__(self):
        self.thread = threading.Thread(target=self.ping)
        self.thread.start()
        time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self.ending = True
        self.thread.join()

    def ping(self):
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as s:
            s.settimeout(10)
            s.connect(self.path)
            while not self.ending:
                begin = time.monotonic()
                s.sendall(request)
                if not s.recv(65536):
                    return
                self.longest_ms = max(self.longest_ms, (time.monotonic() - begin) * 1e3)
                time.sleep(0.0005)
