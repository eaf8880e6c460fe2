# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the control ring: fakes of the daemon that serve the real API."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from serving import Fake  # noqa: E402


@pytest.fixture
def start():
    """start(**options) -> a Fake of this test's own, stopped and looked at when the test ends."""
    fakes = []

    def make(**options):
        fakes.append(Fake(**options))
        return fakes[-1]
    yield make
    for fake in fakes:
        fake.stop()


@pytest.fixture
def fake(start):
    """Without services."""
    return start(services=0)


@pytest.fixture(scope="module")
def shared():
    """Twenty made-up services; for tests that only read."""
    one = Fake(services=20)
    yield one
    one.stop()
