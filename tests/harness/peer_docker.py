# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Docker Engine with images, containers, cgroups and sockets of its own, and no network to set up: containers share
the network that the engine runs in.

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

IMAGE = "busybox:test"
# What the engine and its containers see: /run and the cgroups are private, so nothing of theirs stays on the host.
ENTER = """mount -t tmpfs tmpfs /run
umount -R -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec "$@"
"""


class Docker(PeerServer):
    """.socket is the API's; .cgroup the folder whose folders are the containers'."""

    PEER = "docker"

    def __init__(self, sandbox, **more):
        self.busybox = need("busybox")
        self.programs, self.libraries = built("docker", "bin"), built("docker", "lib")
        self.cgroup = sandbox.cgroup(more.get("name") or f"docker.{len(sandbox.children)}")
        super().__init__(sandbox, **more)

    def prepare(self):
        self.own_cgroup = f"{self.cgroup}.engine"
        os.mkdir(self.own_cgroup)
        self.socket = os.path.join(self.folder, "docker.sock")
        self.http = Http(path=self.socket)
        self.config = self.write("daemon.json", {})

    def environment(self):
        return {**super().environment(), "LD_LIBRARY_PATH": self.libraries,
                "PATH": f"{self.programs}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}

    def command(self):
        parent = "/" + os.path.relpath(self.cgroup, self.sandbox.cgroup_top)
        return ["unshare", "--mount", "sh", "-euc", ENTER, "sh", os.path.join(self.programs, "dockerd"),
                "--config-file", self.config, "--host", f"unix://{self.socket}", "--data-root", self.data, "--exec-root",
                os.path.join(self.folder, "exec"), "--pidfile", os.path.join(self.folder, "pid"), "--bridge=none",
                "--iptables=false", "--ip6tables=false", "--storage-driver=vfs", f"--cgroup-parent={parent}",
                "--exec-opt", "native.cgroupdriver=cgroupfs", "--group", "root"]

    def is_ready(self):
        return self.http.get("/_ping") == b"OK"

    def start(self, wait=True):
        super().start(wait)
        if wait and self.http.request("GET", f"/images/{IMAGE}/json")[0] == 404:
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
        shutil.rmtree(os.path.join(self.folder, "exec"), ignore_errors=True)

    def import_image(self):
        """A static busybox is the whole image."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(os.path.realpath(self.busybox), "bin/busybox")
            for name in ("sh", "sleep", "nc", "httpd"):
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        repository, tag = IMAGE.split(":")
        self.http.post(f"/images/create?fromSrc=-&repo={repository}&tag={tag}", packed.getvalue(),
                       headers={"Content-Type": "application/x-tar"})

    def create(self, name, labels=None, command=("sleep", "1000"), **more):
        """A container that is not started yet; its identity. `more` are keys as the API has them."""
        body = {"Image": IMAGE, "Cmd": list(command), "Labels": labels or {}, "Env": ["PATH=/bin"],
                "HostConfig": {"NetworkMode": "host", **more.pop("HostConfig", {})}, **more}
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
        """What happened from that time (a number of seconds) up to now, as the API tells it."""
        said = self.http.request("GET", f"/events?since={since}&until={time.time():.3f}")[2]
        return [json.loads(line) for line in said.splitlines() if line.strip()]

    def run(self, *words, seconds=60):
        """The docker command against this engine; what it said."""
        return self.sandbox.run(["env", f"LD_LIBRARY_PATH={self.libraries}", os.path.join(self.programs, "docker"),
                                 "--host", f"unix://{self.socket}", *words], seconds=seconds)
