# SPDX-License-Identifier: GPL-2.0-or-later
"""A sinewd that is full: what it has goes on being kept up to date, what does not fit waits, and comes when others go."""
import json
import os

import pytest

from harness.agent import Agent
from harness.fixtures import BUILD

FRONTENDS, PORTS, LEFT = 16383, 32, 63  # LIMIT_SERVICES, LIMIT_PORTS, and what the others leave


class Folder:
    """Of one manifest: services with an endpoint each."""

    def __init__(self, path):
        self.path = path
        os.makedirs(path)

    def declare(self, names, target=8080):
        one = {name: {"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": name, "namespace": "full"},
                      "spec": {"ports": [{"port": 80}], "endpoints": [{"address": "10.1.0.1", "port": target}]}}
               for name in names}
        with open(os.path.join(self.path, ".new"), "w", encoding="utf-8") as f:
            f.write("\n---\n".join(json.dumps(service) for service in one.values()))
        os.rename(os.path.join(self.path, ".new"), os.path.join(self.path, "all.yaml"))


@pytest.fixture(name="folder")
def make_folder(sandbox):
    return Folder(sandbox.path("manifests"))


@pytest.fixture(name="filled")
def make_filled(daemon):
    """A sinewd in which other sources leave LEFT addresses and ports."""
    n = (FRONTENDS - LEFT) // PORTS
    assert n * PORTS == FRONTENDS - LEFT
    ports = [{"name": f"p{i}", "port": 1000 + i} for i in range(PORTS)]
    daemon.put("/v1/sources/others", {"apiVersion": "sinew/v1", "kind": "List", "items": [
        {"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": f"s{i}", "namespace": "others"},
         "spec": {"ports": ports, "endpoints": []}} for i in range(n)]})
    yield daemon
    daemon.request("DELETE", "/v1/sources/others")


@pytest.fixture(name="agent")
def make_agent(sandbox, filled, folder):
    agent = Agent(sandbox, BUILD, filled, [{"name": "folder", "type": "files", "path": folder.path}], name="agent-full",
                  start=False)
    yield agent
    if agent.child and agent.child.poll() is None:
        assert agent.stop() == 0, agent.log()


def test_what_does_not_fit_waits_until_others_go_and_keeps_nobody_else(agent, folder, filled):
    names = [f"s{i:02d}" for i in range(LEFT + 7)]

    def there():
        return {one["metadata"]["name"] for one in filled.get("/v1/services?namespace=full&limit=1000")["items"]}

    folder.declare(names)
    agent.start()
    agent.wait(lambda: len(there()) == LEFT, 30, "what fits")
    agent.wait_ready(30)
    assert len(agent.get("/v1/registries")["daemon"]["refused"]) == 7
    assert agent.log().count("no room for 7 objects") == 1 and "does not take" not in agent.log()
    inside = sorted(there())
    waiting = sorted(set(names) - set(inside))
    folder.declare(names, 9090)  # those within change though it is full
    agent.wait(lambda: set(agent.endpoints(inside[0], "full")) == {"10.1.0.1:9090"}, 30, "a change")
    assert len(there()) == LEFT
    rest = inside[5:] + waiting
    folder.declare(rest, 9090)
    agent.wait(lambda: len(there() & set(waiting)) >= 5, 60, "those that have room now")
    filled.request("DELETE", "/v1/sources/others")
    folder.declare(rest[1:], 9090)
    agent.wait(lambda: there() >= set(rest[1:]), 60, "all the others")
    agent.wait(lambda: not agent.get("/v1/registries")["daemon"]["refused"], 10, "nobody that is left out")
