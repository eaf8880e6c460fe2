# SPDX-License-Identifier: GPL-2.0-or-later
"""Pods of an API server that misbehaves: what was known stays, what is not known is asked for again, and not in a storm."""
import itertools
import os
import time

import pytest

from harness import fake_kubernetes as fake
from harness.agent import Agent
from harness.fake_kubernetes import FakeKubernetes
from harness.fake_sinewd import FakeSinewd, registration
from harness.fixtures import BUILD
from harness.registering import wait_for

LIMIT = 1024
COUNT = itertools.count()


@pytest.fixture
def server():
    with FakeKubernetes() as made:
        made.put_node("n1")
        yield made


class Place:
    """A sinewd of the test's own, an agent, and one Registration of pods labelled app=pay. Nothing listens at dc1: what
    is matched is pending or failing there."""

    def __init__(self, sandbox, server, name, wanted=True, **settings):
        os.makedirs(sandbox.path(name))
        self.sinewd = FakeSinewd(os.path.join(sandbox.path(name), "control.sock"))
        self.pod = {"namespace": "shop", "labels": {"app": "pay"}}
        if wanted:
            self.want()
        self.agent = Agent(sandbox, BUILD, self.sinewd, [
            {"name": "dc1", "type": "consul", "address": "http://127.0.0.1:1"},
            {"name": "cluster", "type": "kubernetes", "address": server.url, **settings}], name=f"{name}/agent",
            environment={**os.environ, "NODE_NAME": "N1"})  # names of nodes are in lower case

    def want(self):
        self.sinewd.put(registration("pay", "dc1", 8080, workload={"pod": self.pod}, namespace="shop"))

    def listen(self, uid, address="127.0.0.1", port=8080):
        cookie = self.sinewd.listen(port, address=address, cgroup="/kubepods.slice/x", pod=uid, container="a" * 64)
        return cookie

    def state(self):
        items = self.agent.get("/v1/registrations")["items"]
        return items[0]["state"] if items else None

    def known(self):
        return {one["name"] for one in self.agent.get("/v1/pods")["items"]}

    def named(self):
        """What the pods are called, as the agent told sinewd; None: it has not, or has taken that back."""
        with self.sinewd.lock:
            return None if self.sinewd.pods is None else {one["name"] for one in self.sinewd.pods}

    def is_matched(self):
        return self.state() in ("pending", "failing")

    def end(self):
        assert self.agent.stop() == 0, self.agent.log()
        self.sinewd.stop()


@pytest.fixture(name="begin")
def make_begin(sandbox, server):
    made = []

    def begin(**more):
        made.append(Place(sandbox, server, f"p{next(COUNT)}", **more))
        return made[0]
    yield begin
    for place in made:
        place.end()


def test_pods_are_asked_for_only_while_somebody_wants_them(begin, server):
    place = begin(wanted=False)
    uid = server.put_pod("pay-0", app="pay")
    server.put_pod("elsewhere", node="n2", app="pay")
    server.wait_watched()
    place.listen(uid)
    time.sleep(0.3)
    assert not [one for one in server.requests if one.kind == "pods"]
    place.want()
    wait_for(place.is_matched)
    assert place.known() == {"pay-0"}
    assert all(one.query["fieldSelector"] == "spec.nodeName=n1" for one in server.requests if one.kind == "pods")
    place.sinewd.remove("pay")
    wait_for(lambda: not place.known() and "pods" not in place.agent.registry("cluster"))
    place.want()
    wait_for(place.is_matched)


def test_they_are_followed_by_a_setting_too(begin, server):
    uid = server.put_pod("mail-0", app="mail")
    place = begin(wanted=False, pods="true")
    wait_for(lambda: place.known() == {"mail-0"})
    assert place.agent.get("/v1/pods")["items"][0]["uid"] == uid
    server.put_pod("more-0")
    wait_for(lambda: place.known() == {"mail-0", "more-0"})
    server.delete("pods", "mail-0")
    wait_for(lambda: place.known() == {"more-0"})


def test_410_in_the_stream_lists_anew_and_loses_nothing(begin, server):
    uid = server.put_pod("pay-0", app="pay")
    place = begin()
    place.listen(uid)
    wait_for(place.is_matched)
    server.wait_watched("pods")
    gone = server.put_pod("gone-0", app="pay")
    wait_for(lambda: "gone-0" in place.known())
    server.delete("pods", "gone-0", tell=False)
    server.compact()
    server.say("pods", {"type": "ERROR", "object": fake.GONE})
    server.put_pod("late-0")
    wait_for(lambda: "late-0" in place.known())
    assert place.is_matched()
    # A list that is without it is no reason yet to forget whose socket that is.
    missing = [one for one in place.agent.get("/v1/pods")["items"] if one.get("missing")]
    assert [one["uid"] for one in missing] == [gone]


@pytest.mark.parametrize("status, body", [(500, b"{}"), (200, b"{"), (404, b"{}"), (403, b"{}"), (200, b'{"kind":"PodList"}')],
                         ids=("500", "half", "404", "403", "no-list"))
def test_no_answer_takes_a_pod_away(begin, server, status, body):
    uid = server.put_pod("pay-0", app="pay")
    place = begin()
    place.listen(uid)
    wait_for(place.is_matched)
    server.wait_watched("pods")
    for verb in ("list", "watch", "get"):
        server.instead("pods", verb, *[lambda request, connection: connection.answer(body, status)] * 3)
    server.cut()
    wait_for(lambda: sum(len(left) for left in server.script.values()) <= 7, 20)
    for _ in range(100):
        assert place.is_matched() and place.known() == {"pay-0"}
        time.sleep(0.005)
    assert place.agent.registry("cluster")["services"] == 0 and place.agent.registry("cluster")["state"] == "ok"


def test_a_uid_that_is_not_known_is_asked_for_again_ever_later(begin, server):
    """A server forgets to tell of a pod: only a list has it. Another one is in no list: that makes no storm of them."""
    place = begin()
    server.wait_watched("pods")

    def lists(since):
        return [one.at for one in server.requests if one.kind == "pods" and one.at > since and
                (one.verb == "list" or one.initial)]
    with server.changed:  # made behind the back of every watch
        server.version += 1
        server.objects["pods"][("shop", "pay-0")] = {
            "kind": "Pod", "apiVersion": "v1", "spec": {"nodeName": "n1"}, "metadata": {
                "name": "pay-0", "namespace": "shop", "uid": "the-uid", "labels": {"app": "pay"},
                "resourceVersion": str(server.version)}}
    began = time.monotonic()
    place.listen("another-uid", "127.0.0.2")
    place.listen("the-uid")
    wait_for(place.is_matched, 30)
    wait_for(lambda: len(lists(began)) >= 3, 60)
    times = [began, *lists(began)]
    assert all(later - earlier > 1.9 for earlier, later in zip(times, times[1:])), times


def test_no_more_pods_are_kept_than_the_limit(begin, server):
    for n in range(LIMIT + 10):
        server.put_pod(f"p-{n}")
    place = begin(pods="true")
    wait_for(lambda: len(place.known()) == LIMIT, 30)
    assert place.agent.registry("cluster")["lastSkipped"].startswith("10 pods left out")
    said = place.agent.request("GET", "/metrics").decode()
    assert f'sinew_registry_pods{{registry="cluster",type="kubernetes"}} {LIMIT}\n' in said


def kubelet_list(*pods):
    """As a kubelet says it: neither the list nor a pod of a file has a version."""
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [
        {"metadata": {"name": name, "namespace": "shop", "uid": uid, "labels": {"app": "pay"}}, "spec": {}, "status": {}}
        for name, uid in pods]}


def test_a_kubelet_is_asked_instead_if_it_is_named(begin, server):
    """And asked at once for a pod whose socket is there before its pod is known."""
    with FakeKubernetes() as kubelet:
        told = [("pay-0", "uid-0")]
        kubelet.list = lambda request, connection: connection.answer(kubelet_list(*told))
        place = begin(kubelet=kubelet.url, interval="60s")
        wait_for(lambda: place.known() == {"pay-0"})
        place.listen("uid-0")
        wait_for(place.is_matched)
        place.listen("uid-1", port=8081)
        told.append(("pay-1", "uid-1"))
        place.sinewd.put(registration("more", "dc1", 8081, workload={"pod": place.pod}, namespace="shop"))
        wait_for(lambda: place.known() == {"pay-0", "pay-1"})
        for answer in ((500, {}), (403, {}), (200, {"kind": "PodList"}), (200, {"kind": "Status"})):
            kubelet.list = lambda request, connection, said=answer: connection.answer(said[1], said[0])
            place.listen("uid-2", f"127.0.0.{3 + answer[0] % 7}", port=8081)  # missed: it is asked again
            wait_for(lambda: "lastError" in place.agent.registry("cluster")["pods"], 20)
            if answer[0] == 403:
                assert "clusterrole sinew-nodes --verb=get,list,watch --resource=nodes/proxy" in \
                    place.agent.registry("cluster")["pods"]["lastError"]["hint"]
            assert place.known() == {"pay-0", "pay-1"} and place.is_matched()
            kubelet.list = lambda request, connection: connection.answer(kubelet_list(*told))
            wait_for(lambda: place.agent.registry("cluster")["pods"]["synced"], 20)
        assert not [one for one in server.requests if one.kind == "pods"]
        assert all(one.path == "/pods" and "authorization" not in one.headers for one in kubelet.requests)


# --- their names, told to sinewd ---

def uid_of(n):
    return f"{n:08x}-6e4e-4c0e-8a6e-0123456789ab"


def put_pod(server, name, uid, **more):
    """With that uid, as a hostile server may choose it."""
    with server.changed:
        server.objects["pods"].setdefault(("shop", name), {"metadata": {"uid": uid}})
    return server.put_pod(name, **more)


def test_names_are_told_only_while_somebody_wants_pods(begin, server):
    place = begin(wanted=False)
    put_pod(server, "pay-0", uid_of(0))
    server.wait_watched()
    time.sleep(0.3)
    assert place.sinewd.pods_told == 0
    place.want()
    wait_for(lambda: place.named() == {"pay-0"})
    assert place.sinewd.pods == [{"namespace": "shop", "name": "pay-0", "uid": uid_of(0), "containers": []}]
    put_pod(server, "pay-1", uid_of(1))
    wait_for(lambda: place.named() == {"pay-0", "pay-1"})
    server.delete("pods", "pay-0")
    wait_for(lambda: place.named() == {"pay-1"})
    place.sinewd.remove("pay")
    wait_for(lambda: place.named() is None)


def test_a_sinewd_that_was_started_anew_is_told_again(begin, server):
    put_pod(server, "pay-0", uid_of(0))
    place = begin(wanted=False, pods="true")
    wait_for(lambda: place.named() == {"pay-0"})
    place.sinewd.stop()
    place.sinewd.pods = None  # it keeps them in memory
    place.sinewd.start()
    wait_for(lambda: place.named() == {"pay-0"}, 40)


def test_names_that_were_not_taken_are_told_again_and_what_is_wrong_is_logged_once(begin, server):
    put_pod(server, "pay-0", uid_of(0))
    place = begin(wanted=False)
    place.sinewd.pods_statuses = [404, 404, 503]
    place.want()
    wait_for(lambda: place.named() == {"pay-0"}, 40)
    said = place.agent.log()
    assert said.count("it does not take them: an older one?") == 1 and said.count("names: status 503") == 1
    wait_for(lambda: "pods: sinewd has their names" in place.agent.log())


def test_a_server_that_loses_its_pods_or_denies_them_takes_no_name_away(begin, server):
    put_pod(server, "pay-0", uid_of(0))
    place = begin(wanted=False, pods="true")
    wait_for(lambda: place.named() == {"pay-0"})
    server.wait_watched("pods")
    for verb in ("list", "watch", "get"):
        server.instead("pods", verb, *[fake.status(403)] * 2)
    server.cut()
    wait_for(lambda: "lastError" in place.agent.registry("cluster")["pods"], 20)
    told = place.sinewd.pods_told
    wait_for(lambda: place.sinewd.pods_told > told + 1, 40)
    assert place.named() == {"pay-0"}


def test_an_agent_that_does_not_know_them_yet_takes_no_name_away(begin, server):
    put_pod(server, "pay-0", uid_of(0))
    place = begin(wanted=False, pods="true")
    wait_for(lambda: place.named() == {"pay-0"})
    place.agent.kill()
    for verb in ("list", "watch", "get"):
        server.instead("pods", verb, *[fake.status(403)] * 1000)
    place.agent.start()
    wait_for(lambda: "lastError" in place.agent.registry("cluster").get("pods", {}), 20)
    time.sleep(1.5)
    assert place.named() == {"pay-0"}
    server.script.clear()
    put_pod(server, "pay-1", uid_of(1))
    wait_for(lambda: place.named() == {"pay-0", "pay-1"}, 90)


def test_what_sinewd_would_refuse_of_a_hostile_server_is_not_told(begin, server):
    """One bad name must not take all others along."""
    for n, name in enumerate(("good-0", "Upper", "a/b", "esc\u001b[2J", "n" * 254, "-x", "good-1.example")):
        put_pod(server, name, uid_of(n))
    put_pod(server, "no-uuid", "0e6ec1f2/../../x")
    put_pod(server, "twin-0", uid_of(99))
    put_pod(server, "twin-1", uid_of(99))
    place = begin(wanted=False, pods="true")
    wait_for(lambda: place.named() == {"good-0", "good-1.example"})


def test_no_more_names_are_told_than_sinewd_takes(begin, server):
    for n in range(LIMIT + 10):
        put_pod(server, f"p-{n}", uid_of(n))
    place = begin(pods="true")
    wait_for(lambda: place.named() and len(place.named()) == LIMIT, 30)
