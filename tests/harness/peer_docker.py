# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Docker Engine, or a Podman that speaks its API, with images, containers, cgroups and sockets of its own, and no
network to set up: containers share the network that the engine runs in.

Before it: peer_server.py, busybox-static. After it: tests of the Docker source and of a workload's name. It sees cgroup v2
alone, whatever the host mounts beside it, so a container is found in .cgroup as on a host of today.
"""
import contextlib
import io
import json
import os
import shutil
import signal
import tarfile
import time

from harness.peer import need
from harness.peer_server import Http, PeerServer, built

# What the engine and its containers see: /run, /var/lib and the cgroups are private, so nothing of theirs stays on the host, and
# libraries are also found in the folder $1, by whatever starts whatever with which environment ever.
ENTER = """mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
umount -R -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
[ ! -d /var/cache/ldconfig ] || mount -t tmpfs tmpfs /var/cache/ldconfig
ldconfig -C /run/ld.so.cache "$1"
mount --bind /run/ld.so.cache /etc/ld.so.cache
shift
exec "$@"
"""


class Docker(PeerServer):
    """.socket is the API's; .cgroup the folder whose folders are the containers'."""

    PEER = "docker"
    IMAGE = "busybox:test"

    def __init__(self, sandbox, **more):
        self.busybox = need("busybox")
        self.programs, self.libraries = built(self.PEER, "bin"), built(self.PEER, "lib")
        self.cgroup = sandbox.cgroup(more.get("name") or f"{self.PEER}.{len(sandbox.children)}")
        super().__init__(sandbox, **more)

    def prepare(self):
        self.own_cgroup = f"{self.cgroup}.engine"
        os.mkdir(self.own_cgroup)
        self.socket = os.path.join(self.folder, "docker.sock")
        self.http = Http(path=self.socket)
        self.config = self.write("daemon.json", {})

    def environment(self):
        return {**super().environment(), "PATH": f"{self.programs}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}

    @property
    def parent(self):
        """The folder of containers as cgroup v2 names it."""
        return "/" + os.path.relpath(self.cgroup, self.sandbox.cgroup_top)

    def command(self):
        return ["unshare", "--mount", "sh", "-euc", ENTER, "sh", self.libraries, os.path.join(self.programs, "dockerd"),
                "--config-file", self.config, "--host", f"unix://{self.socket}", "--data-root", self.data, "--exec-root",
                os.path.join(self.folder, "exec"), "--pidfile", os.path.join(self.folder, "pid"), "--bridge=none",
                "--iptables=false", "--ip6tables=false", "--storage-driver=vfs", f"--cgroup-parent={self.parent}",
                "--exec-opt", "native.cgroupdriver=cgroupfs", "--group", "root"]

    def is_ready(self):
        return self.http.get("/_ping") == b"OK"

    def start(self, wait=True):
        super().start(wait)
        if wait and self.http.request("GET", f"/images/{self.IMAGE}/json")[0] == 404:
            self.import_image()

    def end(self, number, seconds=20):
        """With all that it started: containerd and the containers would go on without it."""
        super().end(number, seconds)
        for top in (self.own_cgroup, self.cgroup):
            for folder, _, _ in os.walk(top):
                with open(os.path.join(folder, "cgroup.procs"), encoding="ascii") as f:
                    for pid in f.read().split():
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(int(pid), signal.SIGKILL)
        for name in ("exec", "tmp"):  # as after a reboot
            shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)

    def import_image(self):
        """A static busybox is the whole image."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(os.path.realpath(self.busybox), "bin/busybox")
            for name in ("sh", "sleep", "nc", "httpd"):
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        _, _, said = self.http.request("POST", "/images/create?fromSrc=-", packed.getvalue(),
                                       headers={"Content-Type": "application/x-tar"})
        identity = json.loads(said.strip().splitlines()[-1])["status"]
        repository, tag = self.IMAGE.rsplit(":", 1)
        self.http.post(f"/images/{identity}/tag?repo={repository}&tag={tag}")

    def create(self, name, labels=None, command=("sleep", "1000"), **more):
        """A container that is not started yet; its identity. `more` are keys as the API has them."""
        # An engine that ends asks containers to end, too, and a first process that is sleep would let it wait for ten seconds.
        body = {"Image": self.IMAGE, "Cmd": list(command), "Labels": labels or {}, "Env": ["PATH=/bin"], "StopSignal": "SIGKILL",
                "HostConfig": {"NetworkMode": "host", "CgroupParent": self.parent, **more.pop("HostConfig", {})}, **more}
        return self.http.post(f"/containers/create?name={name}", body)["Id"]

    def run_container(self, name, **more):
        """One that runs; its identity."""
        identity = self.create(name, **more)
        self.http.post(f"/containers/{identity}/start")
        return identity

    def pid_of(self, name):
        return self.http.get(f"/containers/{name}/json")["State"]["Pid"]

    def kill_container(self, name, number="KILL"):
        self.http.post(f"/containers/{name}/kill?signal={number}")

    def remove(self, name):
        self.http.delete(f"/containers/{name}?force=true")

    def list(self, everything=False):
        """{name: state}"""
        found = self.http.get(f"/containers/json?all={'true' if everything else 'false'}")
        return {one["Names"][0].lstrip("/"): one["State"] for one in found}

    def events(self, since):
        """What happened from that time (a number of seconds) up to now, as the API tells it. Whole seconds are asked for,
        up to one that is not over yet: Podman says nothing about a span that ended."""
        said = self.http.request("GET", f"/events?since={int(since)}&until={int(time.time()) + 1}")[2]
        told = [json.loads(line) for line in said.splitlines() if line.strip()]
        return [one for one in told if one["timeNano"] >= since * 1e9]

    def run(self, *words, seconds=60):
        """The docker command against this engine; what it said."""
        return self.run_tool({}, "docker", "--host", *words, seconds=seconds)

    def run_tool(self, environment, program, host, *words, seconds):
        environment = {**environment, "LD_LIBRARY_PATH": self.libraries}
        return self.sandbox.run(["env", *(f"{key}={value}" for key, value in environment.items()), os.path.join(
            self.programs, program), host, f"unix://{self.socket}", *words], seconds=seconds)


class Podman(Docker):
    """The same verbs; run() is the podman command."""

    PEER = "podman"
    IMAGE = "localhost/busybox:test"

    def prepare(self):
        super().prepare()
        home = os.path.join(self.folder, ".config", "containers")
        os.makedirs(home)
        self.write(os.path.join(home, "policy.json"), {"default": [{"type": "insecureAcceptAnything"}]})
        self.config = self.write("containers.conf", f"""[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
events_logfile_path = "{self.folder}/events"
conmon_path = ["{self.programs}/conmon"]
runtime = "runc"
tmp_dir = "{self.folder}/tmp"
static_dir = "{self.data}/storage/libpod"
volume_path = "{self.data}/storage/volumes"
[engine.runtimes]
runc = ["{self.programs}/runc"]
[network]
network_backend = "cni"
network_config_dir = "{self.folder}/net"
""")

    def environment(self):
        return {**super().environment(), "CONTAINERS_CONF": self.config, "CONTAINERS_REGISTRIES_CONF": "/dev/null",
                "CONTAINERS_STORAGE_CONF": self.write("storage.conf", f"""[storage]
driver = "vfs"
graphroot = "{self.data}/storage"
runroot = "{self.folder}/exec"
""")}

    def command(self):
        return ["unshare", "--mount", "sh", "-euc", ENTER, "sh", self.libraries, os.path.join(self.programs, "podman"), "system",
                "service", "--time=0", f"unix://{self.socket}"]

    def run(self, *words, seconds=60):
        return self.run_tool(self.environment(), "podman", "--url", *words, seconds=seconds)
