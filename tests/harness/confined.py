# SPDX-License-Identifier: GPL-2.0-or-later
"""A sinew-agent as its unit runs it: a user of its own without a capability, in the group of the control socket.

Before it: agent.py; setpriv. After it: tests of what it can and cannot do.
"""
import contextlib
import os

import pytest

from harness.agent import Agent
from harness.fixtures import BUILD
from harness.sandbox import SandboxError

USER, GROUP = 64999, 64998  # neither has a name; the group is that of the control socket here


CREDENTIALS = "/run/credentials/sinew-agent.service"
ENTER = f"""mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p {CREDENTIALS}
mount --bind "$1" {CREDENTIALS}
mount -o remount,bind,ro {CREDENTIALS}
export CREDENTIALS_DIRECTORY={CREDENTIALS}
shift
exec "$@"
"""


class Confined(Agent):
    """As User=, SupplementaryGroups= and CapabilityBoundingSet= make it; `bind` as AmbientCapabilities= does besides.
    `credentials` {name: text} are in the folder CREDENTIALS, as LoadCredential= puts them there for it alone."""

    def __init__(self, *words, bind=False, credentials=None, **more):
        self.bind, self.credentials = bind, None
        super().__init__(*words, start=False, **more)
        if credentials is not None:
            self.credentials = f"{self.folder}.credentials"
            os.makedirs(self.credentials, mode=0o500)
            os.chown(self.credentials, USER, USER)
            for name, text in credentials.items():
                self.give(name, text)
        os.chown(self.folder, USER, USER)
        self.share_control()
        self.start()

    def share_control(self):
        """The control socket that there is now belongs to the group, as that of a new sinewd does by its setting."""
        os.chown(self.control, -1, GROUP)

    def give(self, name, text):
        """A credential, new or another one than before."""
        path = os.path.join(self.credentials, name)
        with open(f"{path}.new", "w", encoding="ascii") as f:
            os.chmod(f.name, 0o400)
            os.chown(f.name, USER, USER)
            f.write(text)
        os.rename(f"{path}.new", path)

    def command(self):
        enter = ["unshare", "--mount", "sh", "-euc", ENTER, "sh", self.credentials] if self.credentials else []
        kept = "+net_bind_service" if self.bind else "-all"
        return [*enter, "setpriv", "--reuid", str(USER), "--regid", str(USER), "--groups", str(GROUP),
                "--bounding-set", "-all,+net_bind_service" if self.bind else "-all", "--inh-caps", kept,
                "--ambient-caps", kept, *super().command()]

    def threads(self):
        """The lines of status of each of its threads, as dicts."""
        folder = f"/proc/{self.child.pid}/task"
        for thread in os.listdir(folder):
            with open(os.path.join(folder, thread, "status"), encoding="utf-8") as f:
                yield dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


    def seen(self):
        """What others may see of it: {where: bytes}."""
        found = {"log": self.log().encode(), "registries": self.request("GET", "/v1/registries"),
                 "registrations": self.request("GET", "/v1/registrations"), "metrics": self.request("GET", "/metrics")}
        for name in ("cmdline", "environ"):
            with open(f"/proc/{self.child.pid}/{name}", "rb") as f:
                found[name] = f.read()
        for folder, _, names in os.walk(self.folder):
            for path in (os.path.join(folder, name) for name in names if name != "agent.sock"):
                with open(path, "rb") as f:
                    found[path] = f.read()
        return found


@pytest.fixture(name="confine")
def make_confined(sandbox, daemon, request):
    """confine(registries, ...) -> a Confined."""
    made = []
    with contextlib.suppress(SandboxError):  # of the test before
        daemon.request("DELETE", "/v1/sources/agent")

    def confine(registries, **more):
        made.append(Confined(sandbox, BUILD, daemon, registries, name=f"{request.node.name[5:40]}.{len(made)}", **more))
        return made[-1]
    yield confine
    for agent in made:
        if agent.child.poll() is None:
            assert agent.stop() == 0, agent.log()
