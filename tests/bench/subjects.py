# SPDX-License-Identifier: GPL-2.0-or-later
"""The competitors: each a place (namespace, cgroup) and addresses that lead to the same three backends.

Before it: sandbox.py. After it: measure.py drives load at them in turn. Each is set up as its own users would for
speed: none may carry a rule, a log or a counter that it does not need.

Services are numbered from 1. Three in the middle are the measured ones: a list that is searched from its
beginning is then met at its average. The others lead to addresses that nobody has.
"""
import contextlib
import json
import os
import shutil
import time
from dataclasses import dataclass, field

from harness.sandbox import BACKENDS, SandboxError, Namespace

FEW, MANY = 10, 10000
PLAIN_PORT, SINK_OFFSET, UNKNOWN_PORT = 8080, 500, 9
NGINX_STREAM = ("/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/share/nginx/modules/ngx_stream_module.so")


@dataclass
class Subject:
    """One competitor. tcp, udp, sink: ADDRESS:PORT for load; None: it does not do that."""
    name: str
    label: str
    namespace: Namespace
    cgroup: str
    tcp: str = None
    udp: str = None
    sink: str = None
    unknown: str = None  # an address that is no service
    claimed: bool = False  # figures with a target come from it: it has more turns
    programs: dict = field(default_factory=dict)  # attach type -> descriptors


@dataclass
class Service:
    number: int
    vip: str
    endpoints: list  # (address, port)
    protocols: tuple = ("tcp",)


def dotted(base, number):
    """The address `number` after a.b.0.0."""
    return f"{base}.{number >> 8}.{number & 255}"


def services(count, port, client_port=PLAIN_PORT):
    """`count` services of three backends. The middle one leads to `port`, the next to `client_port`, the one
    after to a port nobody reads."""
    middle = count // 2
    measured = {middle: (port, ("tcp", "udp")), middle + 1: (client_port, ("tcp", "udp")),
                middle + 2: (port + SINK_OFFSET, ("udp",))}
    made = []
    for i in range(1, count + 1):
        if i in measured:
            to, protocols = measured[i]
            made.append(Service(i, dotted("10.96", i), [(b, to) for b in BACKENDS], protocols))
        else:
            made.append(Service(i, dotted("10.96", i), [(dotted(f"10.{2 + j}", i), 8080) for j in range(3)]))
    return made


def measured_vips(count):
    """(both ends covered, client covered, sink)"""
    return tuple(dotted("10.96", count // 2 + i) for i in range(3))


def as_list(made):
    """The body of PUT /v1/sources/NAME."""
    return {"apiVersion": "sinew/v1", "kind": "List", "items": [as_manifest(s) for s in made]}


def as_manifest(service):
    return {
        "apiVersion": "sinew/v1", "kind": "Service",
        "metadata": {"name": f"s{service.number}", "namespace": "bench"},
        "spec": {"address": service.vip,
                 "ports": [{"name": p, "port": 80, "protocol": p.upper()} for p in service.protocols],
                 "endpoints": [{"address": a, "port": p, "weight": 100} for a, p in service.endpoints]}}


def nft_rules(made):
    """A draw, then one lookup in a map of that third of the backends: about the least nftables can do."""
    lines = ["table ip bench {"]
    for third in range(3):
        elements = ", ".join(f"{p} . {s.vip} . 80 : {s.endpoints[third][0]} . {s.endpoints[third][1]}"
                             for s in made for p in s.protocols)
        lines += [f"map third{third} {{",
                  "type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service",
                  f"elements = {{ {elements} }}", "}",
                  f"chain pick{third} {{", f"dnat ip to meta l4proto . ip daddr . th dport map @third{third}", "}"]
    lines += ["chain output {", "type nat hook output priority -100",
              "numgen random mod 3 vmap { 0 : goto pick0, 1 : goto pick1, 2 : goto pick2 }", "}", "}"]
    return "\n".join(lines) + "\n"


def iptables_rules(made):
    """As kube-proxy writes them: a list of services, a chain for each, a draw by probabilities."""
    lines = ["*nat"] + [f":S{s.number} - [0:0]" for s in made]
    for s in made:
        for p in s.protocols:
            lines.append(f"-A OUTPUT -d {s.vip}/32 -p {p} -m {p} --dport 80 -j S{s.number}")
    for s in made:
        for p in s.protocols:
            for share, (address, port) in zip(("0.33333333349", "0.50000000000", None), s.endpoints):
                draw = f"-m statistic --mode random --probability {share} " if share else ""
                lines.append(f"-A S{s.number} -p {p} {draw}-j DNAT --to-destination {address}:{port}")
    return "\n".join(lines + ["COMMIT"]) + "\n"


class Field:
    """Sets up every competitor that this host has; `absent` says why one is not here."""

    def __init__(self, sandbox, build, say):
        self.sandbox, self.build, self.say = sandbox, build, say
        self.subjects, self.absent, self.daemons = {}, {}, {}
        self.plain = Namespace(sandbox)
        self.servers = 0
        self.serve(self.plain, sandbox.cgroup("plain"))
        self.add_direct()

    def tool(self, name):
        return os.path.join(self.build, "tests", "bench", name)

    def serve(self, namespace, cgroup):
        """A server of its own for a cgroup, so that both ends of a connection can be covered; its port."""
        port = PLAIN_PORT + self.servers
        self.servers += 1
        command = [self.tool("serve"), "--http", "--cpu", str(self.sandbox.cpu)]
        for address in BACKENDS:
            command += ["--listen", f"{address}:{port}", "--udp", f"{address}:{port}",
                        "--sink", f"{address}:{port + SINK_OFFSET}"]
        self.sandbox.start_ready(command, namespace=namespace, cgroup=cgroup, cpu=self.sandbox.cpu)
        return port

    def add(self, subject):
        self.subjects[subject.name] = subject
        return subject

    @contextlib.contextmanager
    def trying(self, *names):
        """A competitor that this host cannot set up is told of and left out; the rest goes on."""
        begin = time.monotonic()
        try:
            yield
            self.say(f"ready: {', '.join(names)} ({time.monotonic() - begin:.1f} s)")
        except (SandboxError, OSError) as error:
            for name in names:
                self.subjects.pop(name, None)
                self.absent[name] = str(error)
            self.say(f"absent: {', '.join(names)}: {error}")

    def add_direct(self):
        at = BACKENDS[0]
        for name, label in (("direct", "direct"), ("direct-again", "direct, measured again")):
            self.add(Subject(name, label, self.plain, os.path.join(self.sandbox.cgroup_root, "plain"),
                             f"{at}:{PLAIN_PORT}", f"{at}:{PLAIN_PORT}", f"{at}:{PLAIN_PORT + SINK_OFFSET}",
                             claimed=True))

    def add_minimal(self):
        for variant, name, label in (("balance", "minimal", "minimal balancer"),
                                     ("balance_lru", "minimal-lru", "minimal balancer + LRU insertion"),
                                     ("empty", "empty", "an empty connect4 program"),
                                     ("empty_ops", "empty-ops", "an empty sock_ops program")):
            with self.trying(name):
                self.add_minimal_one(variant, name, label)

    def add_minimal_one(self, variant, name, label):
        cgroup = self.sandbox.cgroup(name)
        port = self.serve(self.plain, cgroup)
        lines = "".join(f"{s.vip}:80 {p} " + " ".join(f"{a}:{q}" for a, q in s.endpoints) + "\n"
                        for s in services(FEW, port) for p in s.protocols)
        self.sandbox.start_ready([self.tool("minimal"), variant, cgroup], text=lines)
        subject = self.add(Subject(name, label, self.plain, cgroup, f"{BACKENDS[0]}:{port}"))
        if variant.startswith("balance"):
            both, _, _ = measured_vips(FEW)
            subject.tcp = f"{both}:80"
        subject.unknown = f"{BACKENDS[0]}:{port}"
        self.find_programs(subject)

    def find_programs(self, subject):
        shown = json.loads(self.sandbox.run([bpftool(), "-j", "cgroup", "show", subject.cgroup]) or "[]")
        for program in shown:
            opened = self.sandbox.open_program(program["id"])
            subject.programs.setdefault(program["attach_type"], []).append(opened)

    def add_nft(self, count):
        name = f"nft-{count}"
        with self.trying(name):
            namespace = self.add_netfilter(name, f"nftables map, {count:,} services", count)
            namespace.run(["nft", "-f", "-"], text=nft_rules(services(count, PLAIN_PORT)))

    def add_iptables(self, count):
        name = f"iptables-{count}"
        with self.trying(name):
            namespace = self.add_netfilter(name, f"iptables, {count:,} services", count)
            namespace.run(["iptables-restore"], text=iptables_rules(services(count, PLAIN_PORT)))

    def add_netfilter(self, name, label, count):
        """Netfilter's hooks act on a whole namespace: each has its own, with its own server."""
        namespace = Namespace(self.sandbox, route_vips=True)
        cgroup = self.sandbox.cgroup(name)
        servers, self.servers = self.servers, 0
        self.serve(namespace, cgroup)
        self.servers = servers
        both, _, sink = measured_vips(count)
        self.add(Subject(name, label, namespace, cgroup, f"{both}:80", f"{both}:80", f"{sink}:80"))
        return namespace

    def proxy(self, name, label, address, command):
        plain = os.path.join(self.sandbox.cgroup_root, "plain")
        self.plain.run(["ip", "address", "add", f"{address}/32", "dev", "lo"])
        child = self.sandbox.start(command, namespace=self.plain, cgroup=plain, cpu=self.sandbox.cpu)
        subject = self.add(Subject(name, label, self.plain, plain, f"{address}:80"))
        self.wait_answering(subject, child)

    def wait_answering(self, subject, child):
        for _ in range(100):
            if child.poll() is not None:
                break
            result = json.loads(self.sandbox.run(
                [self.tool("load"), "--mode", "crr", "--http", "--to", subject.tcp, "--milliseconds", "1"],
                namespace=subject.namespace, cgroup=subject.cgroup))
            if result["operations"] and not result["errors"]:
                return
            time.sleep(0.1)
        raise SandboxError(f"{subject.name} does not answer: {self.sandbox.said(child)}")

    def add_haproxy(self):
        with self.trying("haproxy"):
            servers = "".join(f"  server s{i} {b}:{PLAIN_PORT}\n" for i, b in enumerate(BACKENDS))
            config = self.sandbox.write("haproxy.cfg", (
                "global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n"
                "  timeout client 60s\n  timeout server 60s\nlisten bench\n  bind 10.96.255.1:80\n"
                f"  balance roundrobin\n{servers}"))
            self.proxy("haproxy", "HAProxy, TCP", "10.96.255.1", [program("haproxy"), "-db", "-f", config])

    def add_nginx(self):
        with self.trying("nginx"):
            servers = "".join(f"server {b}:{PLAIN_PORT};" for b in BACKENDS)
            stream = next((m for m in NGINX_STREAM if os.path.exists(m)), None)
            if stream:
                label, head = "nginx, stream", f"load_module {stream};\n"
                body = f"stream {{ upstream u {{ {servers} }} server {{ listen 10.96.255.2:80; proxy_pass u; }} }}"
            else:
                label, head = "nginx, proxy_pass", ""
                body = (f"http {{ access_log off; upstream u {{ {servers} keepalive 16; }}\n"
                        "server { listen 10.96.255.2:80; keepalive_requests 1000000000; location / {\n"
                        "proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\"; } } }")
            config = self.sandbox.write("nginx.conf", (
                f"{head}daemon off;\nmaster_process off;\npid {self.sandbox.tmp}/nginx.pid;\n"
                f"error_log stderr error;\nevents {{ worker_connections 8000; }}\n{body}\n"))
            self.proxy("nginx", label, "10.96.255.2",
                       [program("nginx"), "-p", self.sandbox.tmp, "-e", "stderr", "-c", config])

    def add_sinew(self, count, start):
        """start(name, cgroup) -> a running daemon that answers put(path, object)."""
        name, label = f"sinew-{count}", f"Sinew, {count:,} services"
        names = [name] + ([f"{name}-client"] if count == FEW else [])
        with self.trying(*names):
            cgroup = self.sandbox.cgroup(name)
            port = self.serve(self.plain, cgroup)
            self.daemons[name] = daemon = start(name, cgroup)
            daemon.put("/v1/sources/bench", as_list(services(count, port)))
            both, client, sink = measured_vips(count)
            subject = self.add(Subject(name, label, self.plain, cgroup, f"{both}:80", f"{both}:80", f"{sink}:80"))
            subject.unknown, subject.claimed = f"{BACKENDS[0]}:{port}", True
            self.find_programs(subject)
            self.wait_answering(subject, daemon.child)
            if len(names) > 1:
                self.add(Subject(names[1], f"{label}, server outside", self.plain, cgroup, f"{client}:80",
                                 claimed=True))


def program(name):
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ.get("PATH", ""))
    if not path:
        raise SandboxError(f"{name} is not installed (scripts/deps bench)")
    return path


def bpftool():
    return program("bpftool")
