# SPDX-License-Identifier: GPL-2.0-or-later
"""After a restart of the whole machine, with the registry away: the units start by themselves, in time, and services are
what they were. Before it: test_units.py, on the boot before."""
import json

import pytest

from harness.units import (CART, KEPT, PAYMENTS, UNITS, address_of, ask, backends, fetch, run, show, wait_for)


@pytest.fixture(scope="module", autouse=True)
def serve():
    with backends():
        yield


@pytest.mark.parametrize("unit", UNITS)
def test_it_was_started_by_the_boot(unit):
    assert (show(unit, "ActiveState"), show(unit, "NRestarts")) == ("active", "0")


def test_the_daemon_was_there_before_the_network_and_nobody_waits_in_a_circle():
    daemon, network = (int(show(unit, "ActiveEnterTimestampMonotonic")) for unit in ("sinewd", "network-pre.target"))
    assert 0 < daemon <= network
    assert "ordering cycle" not in run("journalctl", "--no-pager", "--boot")


def test_services_are_what_they_were_though_their_registry_is_away():
    with open(f"{KEPT}/addresses", encoding="utf-8") as f:
        before = json.load(f)
    for name, address in before.items():
        wait_for(lambda name=name, address=address: address_of(name) == address)
    wait_for(lambda: fetch("http://payments.sinew/") in {address for address, _ in PAYMENTS})
    wait_for(lambda: fetch("http://cart.sinew:8080/") == CART[0])
    states = {one["name"]: one["state"] for one in ask("/v1/registries")["items"]}
    assert states["folder"] == "ok" and states["dc1"] != "ok"
