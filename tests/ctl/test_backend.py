# SPDX-License-Identifier: GPL-2.0-or-later
"""backend eject, drain and restore: what is asked of the daemon, and what a person reads."""
import json

import pytest

from fake import problem

PATH = "/v1/services/shop/payments/endpoints/%s/%s"
HOLD = {"apiVersion": "sinew/v1", "kind": "HoldResult", "namespace": "shop", "service": "payments", "address": "10.0.1.5",
        "backends": 1}


def asked(fake):
    method, path, query, body = fake.seen[-1]
    assert method == "POST" and body is None
    return path, query


def test_eject_asks_and_tells_until_when(ctl, fake):
    fake.on("POST", PATH % ("10.0.1.5", "eject"), (200, {**HOLD, "hold": {"kind": "eject", "until": "2026-01-31T12:01:07.341Z"}}))
    shown = ctl("backend", "eject", "shop/payments", "10.0.1.5", "--for", "1h", "--reason", "leaks memory")
    assert (shown.code, shown.out) == (0, "10.0.1.5 of shop/payments ejected until 2026-01-31T12:01:07.341Z\n")
    assert asked(fake) == (PATH % ("10.0.1.5", "eject"), {"for": "1h", "reason": "leaks memory"})


def test_drain_is_until_restored(ctl, fake):
    fake.on("POST", PATH % ("[fd00::9]:8080", "drain"), (200, {**HOLD, "hold": {"kind": "drain"}}))
    shown = ctl("backend", "drain", "payments", "[fd00::9]:8080", "-n", "shop")
    assert (shown.code, shown.out) == (0, "[fd00::9]:8080 of shop/payments drained until restored\n")
    assert asked(fake) == (PATH % ("[fd00::9]:8080", "drain"), {})


def test_restore(ctl, fake):
    fake.on("POST", PATH % ("10.0.1.5", "restore"), (200, HOLD))
    shown = ctl("backend", "restore", "shop/payments", "10.0.1.5")
    assert (shown.code, shown.out) == (0, "10.0.1.5 of shop/payments restored\n")
    as_json = ctl("backend", "restore", "shop/payments", "10.0.1.5", "-o", "json")
    assert json.loads(as_json.out) == HOLD


@pytest.mark.parametrize("words, says", [
    (("ejct", "shop/payments", "10.0.1.5"), 'did you mean "eject"?'),
    (("eject", "shop/", "10.0.1.5"), "no name of a service"),
    (("eject", "/payments", "10.0.1.5"), "no name of a service"),
    (("eject", "shop/payments", "10.0.1.5", "--for", "600"), "duration"),
    (("restore", "shop/payments", "10.0.1.5", "--for", "1m"), "neither --for nor --reason"),
    (("eject", "shop/payments"), ""),
])
def test_mistakes_are_told_before_anything_is_asked(ctl, fake, words, says):
    shown = ctl("backend", *words)
    assert shown.code == 2 and says in shown.err and fake.seen == []


@pytest.mark.parametrize("status, code", [(404, 4), (403, 5), (409, 1)])
def test_the_daemons_refusal_is_the_exit_code(ctl, fake, status, code):
    fake.on("POST", PATH % ("10.0.1.5", "eject"), problem(status, "it cannot be"))
    shown = ctl("backend", "eject", "shop/payments", "10.0.1.5")
    assert shown.code == code and "it cannot be" in shown.err
