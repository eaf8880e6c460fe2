# SPDX-License-Identifier: GPL-2.0-or-later
"""The state folder: what was declared survives, whatever became of its files."""
import json
import os
import stat

import pytest

from harness.daemon import Daemon
from harness.life import ask, census, checks, eventually, names, run_refused, source
from harness.sandbox import check_call, libc
from harness.service import service

from conftest import BUILD

OTHER = "consul/dc1"


@pytest.fixture
def state(sandbox, request):
    """A sinewd with two sources: manifest has `mine`, consul/dc1 has `theirs`."""
    name = "".join(c for c in request.node.name if c.isalnum() or c == "_")[:50]
    made = Daemon(sandbox, BUILD, name, sandbox.cgroup(name))
    declare_both(made)
    yield made
    if made.child.poll() is None:
        made.stop()


def declare(daemon, name, *objects):
    return ask(daemon.socket, "PUT", f"/v1/sources/{name.replace('/', '%2F')}", source(*objects))


def declare_both(daemon):
    """As a registry's agent does: its source is written a moment after the answer."""
    declare(daemon, "manifest", service("mine", "10.96.0.1", [("10.1.0.1", 80)]))
    declare(daemon, OTHER, service("theirs", "10.96.0.2", [("10.1.0.2", 80)]))
    assert eventually(lambda: os.path.exists(path_of(daemon, OTHER)))


def path_of(daemon, name):
    return os.path.join(daemon.state, "sources", name.replace("/", "%2F") + ".json")


def spoil(daemon, name, text):
    with open(path_of(daemon, name), "wb") as f:
        f.write(text)


def kernel(daemon):
    return sorted(census(BUILD, daemon)["services"])


def test_everything_declared_survives_a_stop_and_a_start(state):
    assert state.stop() == 0
    state.start()
    assert names(state) == ["test/mine", "test/theirs"]
    by_source = {one["name"]: one for one in state.get("/v1/sources")["items"]}
    assert {by_source["manifest"]["services"], by_source[OTHER]["services"]} == {1}
    assert kernel(state) == ["10.96.0.1:80", "10.96.0.2:80"]


def test_the_etag_of_a_source_survives_so_that_no_update_is_lost(state):
    declare(state, "manifest", service("mine", "10.96.0.1", [("10.1.0.1", 81)]))
    before = {one["name"]: one["generation"] for one in state.get("/v1/sources")["items"]}
    assert before["manifest"] == 2
    state.stop()
    state.start()
    assert {one["name"]: one["generation"] for one in state.get("/v1/sources")["items"]} == before


def test_an_allocated_address_survives(state):
    declare(state, "manifest", service("pooled", None, [("10.1.0.1", 80)]))
    address = state.get("/v1/services/test/pooled")["spec"]["address"]
    state.stop()
    state.start()
    assert state.get("/v1/services/test/pooled")["spec"]["address"] == address


def test_a_removed_source_leaves_no_file(state):
    ask(state.socket, "DELETE", "/v1/sources/manifest")
    assert eventually(lambda: not os.path.exists(path_of(state, "manifest")))
    state.kill()
    state.start()
    assert names(state) == ["test/theirs"] and kernel(state) == ["10.96.0.2:80"]


def test_a_service_that_was_deleted_while_nobody_was_home_leaves_the_kernel(state):
    """The file is what was declared; the kernel follows it."""
    state.stop()
    os.unlink(path_of(state, "manifest"))
    state.start()
    assert names(state) == ["test/theirs"] and kernel(state) == ["10.96.0.2:80"]


@pytest.mark.parametrize("garbage", [
    b"", b"garbage", b"\x00" * 4096, b"[1,2,3]", b"{}", b'{"source":"manifest"}', b'{"source":"","items":[]}',
    b'{"source":"manifest","items":[{"kind":"Service"}]}', b"[" * 100000, b'{"source":"manifest","items":7}',
    b'{"apiVersion":"sinew/v1","kind":"List","source":"manifest","generation":1,"items":[{"apiVersion":"sinew/v1",'
    b'"kind":"Service","metadata":{"name":"x","namespace":"y"},"spec":{"address":"8.8.8.8","ports":[{"port":1}]}}]}',
], ids=["empty", "text", "zeros", "array", "object", "no-items", "no-source", "half-a-service", "deep", "number",
        "forbidden-address"])
def test_a_file_that_cannot_be_used_is_kept_aside_and_nothing_is_emptied(sandbox, daemon_for, garbage):
    """The other source is loaded; what the bad file declared goes on as the kernel has it, also after one more start,
    until it is declared again."""
    made = daemon_for
    made.stop()
    spoil(made, "manifest", garbage)
    made.start()
    assert names(made) == ["test/theirs"]
    assert kernel(made) == ["10.96.0.1:80", "10.96.0.2:80"], "not taken from the kernel"
    assert "state file" in made.log() and "manifest.json" in made.log() and "moved to manifest.json.bad" in made.log()
    with open(path_of(made, "manifest") + ".bad", "rb") as f:
        assert f.read() == garbage
    assert checks(made)["state"][0] == "warn"
    made.stop()
    made.start()
    assert kernel(made) == ["10.96.0.1:80", "10.96.0.2:80"], "nor at a later start"
    assert declare(made, "manifest", service("mine", "10.96.0.1", [("10.1.0.1", 80)]))[0] == 200
    assert eventually(lambda: not os.path.exists(path_of(made, "manifest") + ".bad"))
    assert checks(made)["state"][0] == "ok"
    with open(path_of(made, "manifest") + ".old", "rb") as f:
        assert f.read() == garbage


@pytest.fixture(scope="module")
def shared(sandbox):
    return Daemon(sandbox, BUILD, "spoilt", sandbox.cgroup("spoilt"))


@pytest.fixture
def daemon_for(shared):
    """As `state`, but one sinewd for all kinds of garbage."""
    declare_both(shared)
    return shared


def test_a_file_cut_at_any_place_is_bad_or_whole_never_half(state):
    declare(state, "manifest", *(service(f"s{i}", f"10.96.1.{i}", [("10.1.0.1", 80)]) for i in range(1, 6)))
    state.stop()
    with open(path_of(state, "manifest"), "rb") as f:
        whole = f.read()
    for cut in (len(whole) // 3, len(whole) // 2, len(whole) - 3):
        spoil(state, "manifest", whole[:cut])
        state.start()
        assert names(state) == ["test/theirs"]
        assert len(kernel(state)) == 6
        state.stop()
        os.unlink(path_of(state, "manifest") + ".bad")
    spoil(state, "manifest", whole)
    state.start()
    assert len(names(state)) == 6


def test_two_files_that_claim_one_service_do_not_both_win(state):
    state.stop()
    with open(path_of(state, OTHER), encoding="utf-8") as f:
        theirs = json.load(f)
    theirs["source"] = "consul/dc2"
    spoil(state, "consul/dc2", json.dumps(theirs).encode())
    state.start()
    assert names(state) == ["test/mine", "test/theirs"]
    bad = [name for name in os.listdir(os.path.join(state.state, "sources")) if name.endswith(".bad")]
    assert len(bad) == 1


def test_leavings_of_a_killed_write_are_swept(state):
    state.kill()
    left = path_of(state, "manifest").replace(".json", ".tmp")
    with open(left, "wb") as f:
        f.write(b'{"half')
    state.start()
    assert not os.path.exists(left) and names(state) == ["test/mine", "test/theirs"]


def test_a_full_disk_is_an_error_of_the_answer_and_the_old_file_stays(sandbox):
    made = Daemon(sandbox, BUILD, "full", sandbox.cgroup("full"), start=False)
    check_call(libc.mount(b"tmpfs", made.state.encode(), b"tmpfs", 0, b"size=64k"), "mount tmpfs")
    try:
        made.start()
        assert declare(made, "manifest", service("mine", "10.96.0.1", [("10.1.0.1", 80)]))[0] == 200
        with open(path_of(made, "manifest"), "rb") as f:
            old = f.read()
        with open(os.path.join(made.state, "fill"), "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass
        status, said = declare(made, "manifest", service("mine", "10.96.0.1", [("10.1.0.1", 81)]))
        assert status == 507 and b"could not be written to disk: No space left on device" in said, (status, said)
        with open(path_of(made, "manifest"), "rb") as f:
            assert f.read() == old
        assert made.get("/v1/status")["stateWriteFailures"] >= 1
        level, text, hint = checks(made)["state"]
        assert level == "fail" and made.state in text and "disk full" in hint
        assert census(BUILD, made)["services"]["10.96.0.1:80"]["backends"] == [["10.1.0.1", 81]], "in effect"
        os.unlink(os.path.join(made.state, "fill"))
        assert eventually(lambda: checks(made)["state"][0] == "ok", 12), "tried again by itself"
        made.kill()
        made.start()
        assert made.get("/v1/services/test/mine")["spec"]["endpoints"][0]["port"] == 81
        assert made.stop() == 0
    finally:
        if made.child and made.child.poll() is None:
            made.kill()
        libc.umount2(made.state.encode(), 2)


def test_a_disk_that_is_full_until_the_end_keeps_the_last_good_state(sandbox):
    """A restart returns to what is on disk, whole."""
    made = Daemon(sandbox, BUILD, "fuller", sandbox.cgroup("fuller"), start=False)
    check_call(libc.mount(b"tmpfs", made.state.encode(), b"tmpfs", 0, b"size=64k"), "mount tmpfs")
    try:
        made.start()
        declare(made, "manifest", service("mine", "10.96.0.1", [("10.1.0.1", 80)]))
        with open(os.path.join(made.state, "fill"), "wb") as f:
            os.posix_fallocate(f.fileno(), 0, os.statvfs(made.state).f_bavail * os.statvfs(made.state).f_bsize)
        assert declare(made, "manifest", service("mine", "10.96.0.1", [("10.1.0.1", 81)]))[0] == 507
        assert made.stop() == 0
        made.start()
        assert made.get("/v1/services/test/mine")["spec"]["endpoints"][0]["port"] == 80
        assert made.stop() == 0
    finally:
        if made.child and made.child.poll() is None:
            made.kill()
        libc.umount2(made.state.encode(), 2)


def test_a_state_folder_that_cannot_be_used_is_named(sandbox):
    made = Daemon(sandbox, BUILD, "nofolder", sandbox.cgroup("nofolder"), start=False)
    os.rmdir(made.state)
    with open(made.state, "w", encoding="utf-8") as f:
        f.write("a file")
    status, said = run_refused(made.command())
    assert status == 1 and f"cannot use the state folder {made.state}" in said


def test_a_state_folder_is_made_when_it_is_missing(sandbox):
    made = Daemon(sandbox, BUILD, "fresh", sandbox.cgroup("fresh"), start=False)
    os.rmdir(made.state)
    made.start()
    assert declare(made, "manifest", service("mine", "10.96.0.1", [("10.1.0.1", 80)]))[0] == 200
    assert stat.S_IMODE(os.stat(made.state).st_mode) == 0o700
    assert made.stop() == 0
