# SPDX-License-Identifier: GPL-2.0-or-later
"""What a registry takes away is asked about once more: a service that is scaled to zero in a real one is soon without
endpoints and without suspects, though nobody says it twice; and one that has lost everything is still not believed."""
import time

import pytest

from harness.agent import Agent
from harness.fixtures import BUILD
from harness.publisher import KINDS

KNOWN = {"a": ("10.1.0.1", 8080), "b": ("10.1.0.2", 8080), "c": ("10.1.0.3", 8080)}
SOON_SECONDS = 20  # a second or two when nobody else is busy; without a second look at least thirty


class Case:
    """A registry with a to c, and an agent that follows it."""

    def __init__(self, kind, sandbox, namespace, daemon):
        more = {"persistent": True} if kind == "consul" else {}
        self.publisher = KINDS[kind](sandbox, KNOWN, name=f"zero-{kind}", namespace=namespace, **more)
        follow = {"name": "here", **self.publisher.follow()}
        self.agent = Agent(sandbox, BUILD, daemon, [follow], name=f"zero-agent-{kind}", namespace=namespace)
        self.publisher.publish(*KNOWN)
        self.agent.wait(lambda: len(self.endpoints()) == 3 and not self.suspects(), 30)

    def endpoints(self):
        return self.agent.endpoints(self.publisher.name, "shop")

    def suspects(self):
        return [one for one in self.endpoints().values() if one.get("suspect")]


@pytest.fixture(name="case", params=["consul", "etcd", "kubernetes"])
def make_case(request, sandbox, namespace, daemon):
    case = Case(request.param, sandbox, namespace, daemon)
    yield case
    case.agent.stop()
    case.publisher.server.stop()


def test_p84_what_is_scaled_to_zero_is_gone_soon_and_what_lost_everything_is_not_believed(case):
    began = time.monotonic()
    case.publisher.publish()
    case.agent.wait(case.suspects, 10)
    case.agent.wait(lambda: not case.endpoints(), SOON_SECONDS)
    print(f"{case.publisher.KIND}: none left {time.monotonic() - began:.2f} s after they were taken out")
    case.publisher.publish(*KNOWN)
    case.agent.wait(lambda: len(case.endpoints()) == 3 and not case.suspects(), 30)
    case.publisher.server.wipe()
    case.publisher.server.start()
    if case.publisher.KIND == "kubernetes":
        case.publisher.declare()
    time.sleep(6)  # several looks, if there were any
    assert len(case.endpoints()) == 3, case.agent.log()
