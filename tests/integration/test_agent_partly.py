# SPDX-License-Identifier: GPL-2.0-or-later
"""One registry speaks and another never does: what the first takes back goes from sinewd, whatever becomes of the request that
says so."""
import json
import os
import re
import shutil
import socket

import pytest

from harness.agent import Agent
from harness.door import Door
from harness.fixtures import BUILD


class Folder:
    """Of manifests: a service without endpoints each, which goes at once when its file does. In a namespace of its own, for
    what a test leaves in sinewd is there for the next."""

    def __init__(self, path, namespace):
        self.path, self.namespace = path, namespace
        os.makedirs(path)

    def declare(self, name):
        with open(os.path.join(self.path, ".new"), "w", encoding="utf-8") as f:
            json.dump({"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": name, "namespace": self.namespace},
                       "spec": {"ports": [{"port": 80}], "endpoints": []}}, f)
        os.rename(os.path.join(self.path, ".new"), os.path.join(self.path, name + ".yaml"))

    def remove(self, name):
        os.unlink(os.path.join(self.path, name + ".yaml"))


@pytest.fixture(name="folder")
def make_folder(sandbox, request):
    name = re.sub("[^a-z]", "-", request.node.name)[-20:].strip("-")
    return Folder(sandbox.path(f"manifests-{name}"), name)


@pytest.fixture(name="door")
def make_door(sandbox, daemon, request):
    door = Door(sandbox.path(f"door-{request.node.name[-20:]}"), daemon.socket)
    yield door
    door.close()


@pytest.fixture(name="agent")
def make_agent(sandbox, daemon, folder, door, request):
    held = socket.socket()
    held.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else can
    silent = f"http://127.0.0.1:{held.getsockname()[1]}"
    agent = Agent(sandbox, BUILD, daemon, [{"name": "folder", "type": "files", "path": folder.path},
                                           {"name": "silent", "type": "consul", "address": silent}],
                  name=f"agent-{request.node.name[-20:]}", control=door.path, start=False)
    yield agent
    if agent.child and agent.child.poll() is None:
        assert agent.stop() == 0, agent.log()
    held.close()


def wait_there(agent, folder, *names):
    for name in names:
        agent.wait(lambda: agent.service(name, folder.namespace), 30, name)  # pylint: disable=cell-var-from-loop


def wait_gone(agent, folder, name):
    agent.wait(lambda: not agent.service(name, folder.namespace), 20, f"removal of {name}")


def is_written(path, name):
    """Whether a state file of sinewd names it."""
    if not os.path.exists(path):
        return False
    with open(path, encoding="utf-8") as f:
        return f'"{name}"' in f.read()


@pytest.mark.parametrize("mode", ["away", "lost", "half", "busy"])
def test_what_goes_while_sinewd_is_hard_to_reach_goes_in_the_end(agent, folder, door, mode):
    for name in ("stays", "goes", "comes"):
        folder.declare(name)
    agent.start()
    wait_there(agent, folder, "stays", "goes", "comes")
    door.mode = mode
    folder.remove("goes")
    folder.remove("comes")
    if mode in ("lost", "half"):
        wait_gone(agent, folder, "goes")  # and the agent does not know
        wait_gone(agent, folder, "comes")
    else:
        agent.wait(lambda: re.search("warning: sinewd: .*trying again", agent.log()), 20, "a request that fails")
        assert agent.service("goes", folder.namespace)
    folder.declare("comes")  # again
    folder.declare("late")
    folder.declare("later")
    agent.wait(lambda: agent.registry("folder")["services"] == 4, 20, "the word of the folder")
    door.mode = "pass"
    wait_there(agent, folder, "late", "stays", "comes")
    wait_gone(agent, folder, "goes")
    assert not agent.registry("silent").get("lastChange") and "refused" not in agent.log()


def test_a_sinewd_that_was_killed_before_it_wrote_is_told_again(agent, folder, daemon, sandbox):
    for name in ("remains", "vanishes"):
        folder.declare(name)
    agent.start()
    wait_there(agent, folder, "remains", "vanishes")
    state, kept = os.path.join(daemon.state, "sources", "agent.json"), sandbox.path("agent.json")
    agent.wait(lambda: is_written(state, "remains") and is_written(state, "vanishes"), 20, "a state file")
    shutil.copy(state, kept)
    folder.remove("vanishes")
    wait_gone(agent, folder, "vanishes")
    daemon.kill()
    shutil.copy(kept, state)
    daemon.start()
    assert "0 services declared" not in daemon.log()
    wait_gone(agent, folder, "vanishes")
    assert agent.service("remains", folder.namespace)
