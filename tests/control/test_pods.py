# SPDX-License-Identifier: GPL-2.0-or-later
"""What pods are called, told over the API: names beside uids, wherever a workload is shown, and nothing that is no name."""
import json
import time

import pytest

from serving import PATIENCE, as_list
from test_listeners import Lines, registration

PATH = "/v1/pods"
UID, ID = "0e6ec1f2-6e4e-4c0e-8a6e-0123456789ab", "4bf0c1ab" * 8  # of the fake's workload 9001
NAMES = {"podNamespace": "shop", "podName": "pay-6c9f", "containerName": "web"}


def pod(uid=UID, namespace="shop", name="pay-6c9f", containers=(("web", ID),)):
    return {"namespace": namespace, "name": name, "uid": uid, "containers": [{"name": n, "id": i} for n, i in containers]}


def pods(*items):
    return {"apiVersion": "sinew/v1", "kind": "PodList", "items": list(items)}


def uid(n):
    return f"{n:08x}" + UID[8:]


def tell(fake, *items):
    assert fake.ask("PUT", PATH, pods(*items)).status == 204


def known(fake):
    return fake.get(PATH)["items"]


def listener(fake):
    return next(one for one in fake.get("/v1/listeners")["items"] if "pod" in one)


def names(shown):
    return {key: value for key, value in shown.items() if key in NAMES}


@pytest.fixture
def listening(fake):
    """The fake, with a listener in that pod and others."""
    fake.put("/v1/sources/manifest", as_list(*(registration(f"a{port}", port) for port in range(8000, 8004))))
    return fake


def test_names_are_beside_the_uid_of_a_listener(listening):
    assert known(listening) == [] and names(listener(listening)) == {}
    tell(listening, pod(uid(1), name="other"), pod())
    assert known(listening) == [pod(uid(1), name="other"), pod()]
    shown = listening.get("/v1/listeners")["items"]
    assert [names(one) for one in shown if names(one)] == [NAMES]
    assert (listener(listening)["pod"], listener(listening)["container"]) == (UID, ID)


def test_the_stream_of_listeners_has_them_too(listening):
    tell(listening, pod())
    lines = Lines(listening)
    first = [line["listener"] for line in lines.until("SYNCED")]
    assert [names(one) for one in first if "pod" in one] == [NAMES]
    listening.ask("PATCH", "/v1/sources/manifest", {"upsert": [registration("late", 9001)]})
    assert names(lines.next()["listener"]) == NAMES


def test_the_caller_of_a_flow_has_them(start):
    fake = start(services=20)
    tell(fake, pod())
    flows = {one["service"]: one for one in fake.get("/v1/flows")["items"]}
    assert names(flows.pop("service-00007")) == NAMES
    assert not [one for one in flows.values() if names(one)]


def test_a_container_that_is_not_known_has_no_name(listening):
    tell(listening, pod(containers=[("web", "0" * 64)]))
    assert names(listener(listening)) == {"podNamespace": "shop", "podName": "pay-6c9f"}


def test_each_list_is_in_place_of_the_last(listening):
    tell(listening, pod())
    tell(listening, pod(name="renamed", containers=()))
    assert names(listener(listening))["podName"] == "renamed"
    tell(listening, pod(uid(1)))
    assert names(listener(listening)) == {}
    tell(listening)
    assert known(listening) == []
    tell(listening, pod())
    assert listening.ask("DELETE", PATH).status == 204
    assert known(listening) == [] and names(listener(listening)) == {}
    assert listening.ask("DELETE", PATH).status == 204


def test_the_uid_of_a_pod_from_a_file_and_other_names_of_kubernetes(fake):
    said = [pod("1f3870be274f6c49b3e31a0c6728957f", name="etcd-node.example.org"), pod(uid(1), "a", "0", [("9", ID)] * 64),
            pod(uid(2), "n" * 63, ".".join(["p" * 63] * 3 + ["p" * 61]), [("c" * 63, ID)])]
    tell(fake, *said)
    assert sorted(known(fake), key=json.dumps) == sorted(said, key=json.dumps)


@pytest.mark.parametrize("wrong, pointer", [
    (pod(namespace=""), "namespace"), (pod(namespace="Shop"), "namespace"), (pod(namespace="shop.a"), "namespace"),
    (pod(namespace="n" * 64), "namespace"), (pod(namespace="shop\n"), "namespace"), (pod(namespace=7), "namespace"),
    (pod(name="pay\u0000"), "name"), (pod(name="pay\u001b[31m"), "name"), (pod(name="-pay"), "name"), (pod(name="pay..0"), "name"),
    (pod(name="pay/0"), "name"), (pod(name="p" * 254), "name"), (pod(name=".".join(["p" * 60] * 5)), "name"),
    (pod(name="p\u00e4y"), "name"), (pod(name=None), "name"),
    (pod(""), "uid"), (pod(UID.upper()), "uid"), (pod(UID.replace("-", "_")), "uid"), (pod(UID[:-1]), "uid"),
    (pod(UID + "0"), "uid"), (pod("*"), "uid"), (pod(UID[:-1] + "\u0000"), "uid"),
    (pod(containers=[("web", "0" * 63)]), "containers/0/id"), (pod(containers=[("web", "G" * 64)]), "containers/0/id"),
    (pod(containers=[("web", ID), ("Web", ID)]), "containers/1/name"), (pod(containers=[("web", None)]), "containers/0/id"),
    (pod(containers=[("web", ID)] * 65), "containers"), ({**pod(), "containers": {}}, "containers"),
    ({**pod(), "containers": [[]]}, "containers/0"), ({**pod(), "labels": {}}, "labels"), ("pay", ""),
    ({"namespace": "shop", "name": "pay"}, ""), ({**pod(), "containers": [{"name": "web"}]}, "containers/0")])
def test_what_is_no_name_is_refused_with_its_place(fake, wrong, pointer):
    tell(fake, pod())
    said = fake.ask("PUT", PATH, pods(pod(uid(1)), wrong, pod(uid(2)))).problem(422)
    assert [one["pointer"] for one in said["errors"]] == ["/items/1" + (f"/{pointer}" if pointer else "")]
    assert known(fake) == [pod()]


def test_no_two_pods_have_one_uid(fake):
    tell(fake, pod())
    said = fake.ask("PUT", PATH, pods(pod(uid(1)), pod(uid(2)), pod(uid(1), name="double"))).problem(422)
    assert uid(1) in said["detail"] and known(fake) == [pod()]


def test_no_more_than_so_many(fake):
    every = [pod(uid(n), name=f"p-{n}") for n in range(1025)]
    tell(fake, *every[:1024])
    assert len(known(fake)) == 1024
    assert "1024" in fake.ask("PUT", PATH, pods(*every)).problem(422)["detail"]
    assert known(fake) == every[:1024]


def test_only_a_list_of_pods_over_the_control_socket(fake):
    fake.ask("PUT", PATH, pods(pod()), status=True).problem(403)
    fake.ask("DELETE", PATH, status=True).problem(403)
    for body in ({}, [], {**pods(pod()), "kind": "List"}, {**pods(), "more": 1}, {**pods(), "items": {}}):
        fake.ask("PUT", PATH, body).problem(422)
    for text in (b"", b"{", b"[" * 1000, b'{"items":["\xff"]}'):
        fake.ask("PUT", PATH, text).problem(400)
    assert known(fake) == []


def test_what_is_not_told_again_is_forgotten(start):
    """And what is stays. A slow machine must not make it old: only what was told a moment ago is looked at."""
    keep = 3.0
    fake = start(services=0, pods_ms=int(keep * 1000))
    began, looked = time.monotonic(), 0
    while time.monotonic() - began < 3 * keep:
        told = time.monotonic()
        tell(fake, pod())
        time.sleep(keep / 10)
        shown = known(fake)
        if time.monotonic() - told < keep:
            assert shown == [pod()]
            looked += told - began > keep
    assert looked
    end = time.monotonic() + PATIENCE
    while known(fake):
        assert time.monotonic() < end
        time.sleep(0.05)
