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


class Confined(Agent):
    """As User=, SupplementaryGroups= and CapabilityBoundingSet= make it; `bind` as AmbientCapabilities= does besides."""

    def __init__(self, *words, bind=False, **more):
        self.bind = bind
        super().__init__(*words, start=False, **more)
        os.chown(self.folder, USER, USER)
        os.chown(self.control, -1, GROUP)
        self.start()

    def command(self):
        kept = "+net_bind_service" if self.bind else "-all"
        return ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--groups", str(GROUP),
                "--bounding-set", "-all,+net_bind_service" if self.bind else "-all", "--inh-caps", kept,
                "--ambient-caps", kept, *super().command()]

    def threads(self):
        """The lines of status of each of its threads, as dicts."""
        folder = f"/proc/{self.child.pid}/task"
        for thread in os.listdir(folder):
            with open(os.path.join(folder, thread, "status"), encoding="utf-8") as f:
                yield dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


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
