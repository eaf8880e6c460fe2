# SPDX-License-Identifier: GPL-2.0-or-later
"""A folder of manifests, followed by a real sinew-agent beside a real sinewd: what is written is there, what is half
written, wrong or missing takes nothing away.

Pitfalls: P-88.
"""
import json
import os
import time

import pytest

from harness.agent import Agent
from harness.fixtures import BUILD


def manifest(name, *addresses):
    """A service with these endpoints; JSON is YAML."""
    return json.dumps({"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": name, "namespace": "files"},
                       "spec": {"ports": [{"port": 80}], "endpoints": [{"address": one, "port": 8080}
                                                                       for one in addresses]}})


class Folder:
    """Of manifests."""

    def __init__(self, path):
        self.path = path
        os.makedirs(path)

    def write(self, name, text):
        with open(os.path.join(self.path, name), "w", encoding="utf-8") as f:
            f.write(text)

    def replace(self, name, text):
        self.write(".new", text)
        os.rename(os.path.join(self.path, ".new"), os.path.join(self.path, name))

    def remove(self, name):
        os.unlink(os.path.join(self.path, name))


@pytest.fixture(name="folder")
def make_folder(sandbox, request):
    return Folder(sandbox.path(f"manifests-{request.node.name[5:40]}"))


@pytest.fixture(name="agent")
def make_agent(sandbox, daemon, folder, request):
    agent = Agent(sandbox, BUILD, daemon, [{"name": "folder", "type": "files", "path": folder.path}],
                  name=f"agent-{request.node.name[5:40]}", start=False)
    yield agent
    if agent.child and agent.child.poll() is None:
        assert agent.stop() == 0, agent.log()


def test_manifests_of_a_folder_are_services(agent, folder, record_property):
    folder.write("pay.yaml", manifest("pay", "10.1.0.1"))
    agent.start()
    agent.wait_endpoints("pay", ["10.1.0.1:8080"], "files")
    took, known = [], ["10.1.0.1"]
    for n in range(2, 12):
        known.append(f"10.1.0.{n}")
        began = time.monotonic()
        folder.replace("pay.yaml", manifest("pay", *known))
        agent.wait_endpoints("pay", [f"{one}:8080" for one in known], "files")
        took.append(time.monotonic() - began)
    record_property("written to visible in sinewd, median ms", round(sorted(took)[5] * 1000))
    assert sorted(took)[5] < 0.5
    folder.write("cart.yaml", manifest("cart", "10.1.0.3"))
    agent.wait_endpoints("cart", ["10.1.0.3:8080"], "files")
    assert agent.registry("folder")["services"] == 2


def test_p88_a_swapped_data_link_is_followed(agent, folder):
    for version, address in (("..v1", "10.1.0.1"), ("..v2", "10.1.0.2")):
        Folder(os.path.join(folder.path, version)).write("pay.yaml", manifest("pay", address, "10.1.0.9"))
    os.symlink("..v1", os.path.join(folder.path, "..data"))
    os.symlink("..data/pay.yaml", os.path.join(folder.path, "pay.yaml"))
    agent.start()
    agent.wait_endpoints("pay", ["10.1.0.1:8080", "10.1.0.9:8080"], "files")
    os.symlink("..v2", os.path.join(folder.path, "..data_tmp"))
    os.rename(os.path.join(folder.path, "..data_tmp"), os.path.join(folder.path, "..data"))
    agent.wait_endpoints("pay", ["10.1.0.2:8080", "10.1.0.9:8080"], "files", seconds=2)


def test_a_file_that_is_wrong_keeps_what_it_said_and_is_told_by_line(agent, folder):
    folder.write("pay.yaml", manifest("pay", "10.1.0.1"))
    agent.start()
    agent.wait_endpoints("pay", ["10.1.0.1:8080"], "files")
    folder.replace("pay.yaml", "apiVersion: sinew/v1\nkind: Service\nmetadata: {name: pay, namespace: files}\n"
                               "spec: {ports: [{port: 80}], endpoints: [{addres: 10.1.0.2}]}\n")
    assert "/pay.yaml:4:" in agent.wait_error("folder", "garbage")["text"]
    assert "/pay.yaml:4:" in agent.log() and "addres" in agent.log()
    assert agent.endpoints("pay", "files")
    folder.write("cart.yaml", manifest("cart", "10.1.0.3"))
    agent.wait_endpoints("cart", ["10.1.0.3:8080"], "files")
    # Nor does a restart lose it: the file may have been right before.
    agent.kill()
    agent.start()
    agent.wait(lambda: agent.registry("folder")["services"], what="word of the other file")
    time.sleep(7)  # longer than others are waited for
    assert set(agent.endpoints("pay", "files")) == {"10.1.0.1:8080"}
    folder.replace("pay.yaml", manifest("pay", "10.1.0.1", "10.1.0.2"))
    agent.wait_endpoints("pay", ["10.1.0.1:8080", "10.1.0.2:8080"], "files")


def test_a_file_that_is_wrong_leaves_no_doubt_about_the_others(agent, folder):
    """It was read that the others lack something: the folder is there, and what it has is known."""
    known = [f"10.1.0.{n}" for n in range(1, 5)]
    for name in ("bad", "cart", "mail"):
        folder.write(f"{name}.yaml", manifest(name, "10.1.0.9"))
    folder.write("pay.yaml", manifest("pay", *known))
    agent.registries[0]["interval"] = "1s"
    agent.write(agent.registries)
    agent.start()
    agent.wait_endpoints("pay", [f"{one}:8080" for one in known], "files")
    folder.replace("bad.yaml", "{")
    agent.wait_error("folder", "garbage")
    folder.replace("pay.yaml", manifest("pay", "10.1.0.1"))
    agent.wait(lambda: agent.registry("folder").get("suspect") == 3, what="suspects")
    agent.wait(lambda: set(agent.endpoints("pay", "files")) == {"10.1.0.1:8080"}, 60, "an end of doubt")
    assert set(agent.endpoints("bad", "files")) == {"10.1.0.9:8080"}


def test_with_a_wrong_file_from_the_start_the_others_are_served(agent, folder):
    folder.write("bad.yaml", "{")
    folder.write("pay.yaml", manifest("pay", "10.1.0.1"))
    agent.start()
    agent.wait_endpoints("pay", ["10.1.0.1:8080"], "files")
    assert "/bad.yaml:1:" in agent.wait_error("folder", "garbage")["text"]


def test_a_folder_that_goes_takes_nothing_away(agent, folder):
    folder.write("pay.yaml", manifest("pay", "10.1.0.1"))
    agent.start()
    agent.wait_endpoints("pay", ["10.1.0.1:8080"], "files")
    os.rename(folder.path, folder.path + ".away")
    assert folder.path in agent.wait_error("folder", "missing")["text"]
    time.sleep(1)
    assert agent.endpoints("pay", "files")
    os.rename(folder.path + ".away", folder.path)
    folder.replace("pay.yaml", manifest("pay", "10.1.0.1", "10.1.0.2"))
    agent.wait_endpoints("pay", ["10.1.0.1:8080", "10.1.0.2:8080"], "files")


def test_an_emptied_folder_is_held_back(agent, folder):
    folder.write("pay.yaml", manifest("pay", "10.1.0.1", "10.1.0.2"))
    folder.write("cart.yaml", manifest("cart", "10.1.0.3"))
    agent.start()
    agent.wait_endpoints("cart", ["10.1.0.3:8080"], "files")
    folder.remove("pay.yaml")
    folder.remove("cart.yaml")
    agent.wait(lambda: agent.registry("folder").get("suspect"), what="suspects")
    assert set(agent.endpoints("pay", "files")) == {"10.1.0.1:8080", "10.1.0.2:8080"}


def test_a_policy_that_is_in_use_elsewhere_stays_and_keeps_nothing_else(agent, daemon, folder):
    gentle = json.dumps({"apiVersion": "sinew/v1", "kind": "TrafficPolicy", "metadata": {"name": "gentle", "namespace": "files"},
                         "spec": {}})
    folder.write("gentle.yaml", gentle)
    folder.write("pay.yaml", manifest("pay", "10.1.0.1"))
    agent.start()
    agent.wait_endpoints("pay", ["10.1.0.1:8080"], "files")
    mine = {"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": "mine", "namespace": "files"},
            "spec": {"ports": [{"port": 80}], "policy": "gentle"}}
    daemon.put("/v1/services/files/mine", mine)
    folder.remove("gentle.yaml")
    agent.wait(lambda: "still uses it" in agent.log(), 20, "a refusal")
    folder.write("late.yaml", manifest("late", "10.1.0.2"))
    agent.wait_endpoints("late", ["10.1.0.2:8080"], "files")
    agent.wait_ready()
    assert daemon.get("/v1/policies/files/gentle")
    refused, = agent.get("/v1/registries")["daemon"]["refused"]
    assert refused["name"] == "files/gentle" and "files/mine" in refused["reason"]
    daemon.request("DELETE", "/v1/services/files/mine")
