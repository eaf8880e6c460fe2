# SPDX-License-Identifier: GPL-2.0-or-later
"""What sinewd may still do once it runs, who may talk to it, and what it may be started as.

Pitfalls: P-75.
"""
import contextlib
import errno
import glob
import json
import os
import shutil
import stat
import subprocess

import pytest

from harness.daemon import Daemon, family
from harness.life import ask, eventually, tool
from harness.sandbox import check_call, libc
from harness.service import ask_tcp, put, serve_tcp, service

from conftest import BUILD

DAC_READ_SEARCH, NET_ADMIN, SYS_PTRACE, SYS_ADMIN, PERFMON, BPF = 2, 12, 19, 21, 38, 39
MS_BIND = 4096
GID_CONTROL, GID_VIEW, UID_SOMEBODY = 64201, 64202, 64203


def facts(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def capabilities(pid, kind):
    bits = int(facts(pid)[kind], 16)
    return {n for n in range(64) if bits >> n & 1}


def helper(daemon):
    children = [pid for pid in family(daemon.child.pid) if pid != daemon.child.pid]
    assert len(children) == 1, children
    return children[0]


@pytest.mark.parametrize("kind", ["CapEff", "CapPrm", "CapBnd"])
def test_three_capabilities_remain(daemon, kind):
    assert capabilities(daemon.child.pid, kind) == {NET_ADMIN, PERFMON, BPF}


@pytest.mark.parametrize("kind", ["CapInh", "CapAmb"])
def test_no_capability_can_be_handed_on(daemon, kind):
    assert capabilities(daemon.child.pid, kind) == set() == capabilities(helper(daemon), kind)


def test_the_helper_keeps_what_entering_namespaces_needs(daemon):
    wanted = {DAC_READ_SEARCH, SYS_PTRACE, SYS_ADMIN, NET_ADMIN, PERFMON, BPF}
    assert capabilities(helper(daemon), "CapEff") == capabilities(helper(daemon), "CapBnd") == wanted


def test_no_new_privileges_and_a_seccomp_filter(daemon):
    for pid in (daemon.child.pid, helper(daemon)):
        assert (facts(pid)["NoNewPrivs"], facts(pid)["Seccomp"]) == ("1", "2")
    for task in glob.glob(f"/proc/{daemon.child.pid}/task/*"):
        assert facts(int(os.path.basename(task)))["Seccomp"] == "2", "every thread"


def test_threads_that_start_later_are_locked_down_too(daemon):
    """The first write of a state file starts libuv's threads."""
    put(daemon, service("one", "10.96.0.1", [("10.1.0.1", 80)]))
    tasks = [int(os.path.basename(task)) for task in glob.glob(f"/proc/{daemon.child.pid}/task/*")]
    assert len(tasks) > 1
    for task in tasks:
        assert capabilities(task, "CapEff") == {NET_ADMIN, PERFMON, BPF}
        assert facts(task)["Seccomp"] == "2"


def test_no_network_socket_is_open(daemon):
    """Unix sockets, and one that hears of network interfaces."""
    known = set()
    for name, column in (("unix", 6), ("netlink", -1)):
        with open(f"/proc/{daemon.child.pid}/net/{name}", encoding="utf-8") as f:
            known |= {line.split()[column] for line in f.readlines()[1:]}
    found = 0
    for pid in family(daemon.child.pid):
        for fd in glob.glob(f"/proc/{pid}/fd/*"):
            with contextlib.suppress(FileNotFoundError):
                target = os.readlink(fd)
                if target.startswith("socket:"):
                    found += 1
                    assert target[len("socket:["):-1] in known, (pid, fd, target)
    assert found >= 4


def test_the_helper_does_not_hold_the_lock_or_the_sockets(daemon):
    """It could not let go of them: a new sinewd must be able to start the moment the old one dies."""
    targets = []
    for fd in glob.glob(f"/proc/{helper(daemon)}/fd/*"):
        with contextlib.suppress(FileNotFoundError):
            targets.append(os.readlink(fd))
    assert daemon.pins not in targets
    assert sum(target.startswith("socket:") for target in targets) == 1
    assert not [target for target in targets if daemon.folder in target and not target.endswith(".log")]


def test_the_helper_goes_with_the_daemon(sandbox):
    for end in ("kill", "stop"):
        made = Daemon(sandbox, BUILD, f"goes{end}", sandbox.cgroup(f"goes{end}"))
        child = helper(made)
        getattr(made, end)()
        assert eventually(lambda pid=child: not os.path.exists(f"/proc/{pid}") or
                          facts(pid)["State"].startswith("Z")), end


def test_the_filter_refuses_what_the_daemon_does_not_need():
    seen = json.loads(subprocess.run([tool(BUILD, "confined"), "daemon"], capture_output=True, check=True).stdout)
    for needed in ("unix", "netlink"):
        assert seen.pop(needed) == 0, needed
    assert set(seen.values()) == {errno.EPERM}, seen


def test_the_filter_refuses_what_the_helper_does_not_need():
    seen = json.loads(subprocess.run([tool(BUILD, "confined"), "helper"], capture_output=True, check=True).stdout)
    for needed in ("unix", "ipv4", "netlink", "diag", "setns"):
        assert seen.pop(needed) == 0, needed
    assert set(seen.values()) == {errno.EPERM}, seen


def test_a_locked_down_daemon_still_does_all_its_work(sandbox, namespace, daemon):
    """Reload with another knob (loads programs), a change (writes state), a repaired cgroup, doctor (the helper)."""
    sandbox.spawn(serve_tcp, "10.1.0.1", 8080, namespace=namespace)
    put(daemon, service("works", "10.96.0.10", [("10.1.0.1", 8080)]))
    with open(daemon.config, "w", encoding="utf-8") as f:
        f.write("log: {format: text}\nbypass: {mark: 7}\n")
    daemon.child.send_signal(1)
    assert eventually(lambda: "settings reloaded" in daemon.log())
    os.rmdir(daemon.cgroup)
    os.mkdir(daemon.cgroup)
    assert eventually(lambda: daemon.get("/v1/status")["cgroupRepairs"] == 1)
    assert sandbox.call(ask_tcp, "10.96.0.10", 80, namespace=namespace, cgroup=daemon.cgroup)[0] == "10.1.0.1"
    assert "canary was translated" in json.dumps(daemon.get("/v1/doctor"))
    assert "error" not in daemon.log()


def test_files_and_sockets_are_nobody_elses(daemon):
    put(daemon, service("one", "10.96.0.1", [("10.1.0.1", 80)]))

    def mode(path):
        return stat.S_IMODE(os.lstat(path).st_mode)

    assert mode(daemon.socket) == mode(daemon.status_socket) == 0o660
    assert mode(os.path.join(daemon.state, "sources")) == 0o700
    assert mode(os.path.join(daemon.state, "sources", "manifest.json")) == 0o600
    assert mode(daemon.pinned) == 0o700
    for pin in glob.glob(os.path.join(daemon.pinned, "*", "*")):
        assert mode(pin) == 0o600, pin


def test_p75_pinned_maps_are_no_interface(sandbox, daemon):
    """Whoever is not root cannot open them; what they hold is told over the status socket, as JSON and as metrics."""
    def look():
        os.setgid(UID_SOMEBODY)
        os.setuid(UID_SOMEBODY)
        return os.access(daemon.map_pin("sn_services"), os.R_OK)

    assert sandbox.call(look) is False
    assert daemon.get("/v1/status")["maps"] and daemon.get("/v1/backends")["items"] is not None
    assert b"sinew_" in daemon.request("GET", "/metrics", status=True)


@pytest.fixture
def groups(sandbox):
    """The groups sinew and sinew-view, in this process's own view of /etc/group."""
    copy = sandbox.path("group")
    shutil.copy("/etc/group", copy)
    with open(copy, "r+", encoding="utf-8") as f:
        kept = [line for line in f if not line.startswith(("sinew:", "sinew-view:"))]
        f.seek(0)
        f.truncate()
        f.writelines(kept + [f"sinew:x:{GID_CONTROL}:\n", f"sinew-view:x:{GID_VIEW}:\n"])
    check_call(libc.mount(copy.encode(), b"/etc/group", None, MS_BIND, None), "bind /etc/group")
    yield
    check_call(libc.umount2(b"/etc/group", 2), "umount /etc/group")


def as_somebody(gid, path, method="GET"):  # DELETE of what is not there: 404 for who may
    """The status of a request by a user who is in one group only; 0: not let in."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(UID_SOMEBODY)
    try:
        return ask(path, method, "/v1/services" if method == "GET" else "/v1/services/test/x")[0]
    except PermissionError:
        return 0


def test_groups_let_others_in_to_change_and_to_look(sandbox, groups):
    made = Daemon(sandbox, BUILD, "grouped", sandbox.cgroup("grouped"))
    assert os.stat(made.socket).st_gid == GID_CONTROL and os.stat(made.status_socket).st_gid == GID_VIEW
    assert sandbox.call(as_somebody, GID_CONTROL, made.socket, "DELETE") == 404
    assert sandbox.call(as_somebody, GID_VIEW, made.status_socket) == 200
    assert sandbox.call(as_somebody, GID_VIEW, made.status_socket, "DELETE") == 403
    assert sandbox.call(as_somebody, GID_VIEW, made.socket) == 0
    assert sandbox.call(as_somebody, UID_SOMEBODY, made.status_socket) == 0
    assert made.stop() == 0


def start_as_somebody(sandbox, made, words):
    for path in (made.folder, made.state, made.pins):
        os.chown(path, UID_SOMEBODY, UID_SOMEBODY)
    return sandbox.start(["setpriv", "--reuid", str(UID_SOMEBODY), "--regid", str(UID_SOMEBODY),
                          "--clear-groups", *words, *made.command()])


def test_without_capabilities_the_start_is_refused_with_what_is_needed(sandbox):
    made = Daemon(sandbox, BUILD, "nobody", sandbox.cgroup("nobody"), start=False)
    made.child = start_as_somebody(sandbox, made, [])
    assert made.child.wait(timeout=20) == 1
    assert "sinewd needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON" in made.log()


def test_it_runs_as_another_user_with_three_capabilities(sandbox, namespace):
    """All but ending stale datagram sockets in other namespaces, which it then says."""
    three = "+bpf,+net_admin,+perfmon"
    made = Daemon(sandbox, BUILD, "three", sandbox.cgroup("three"), start=False)
    made.child = start_as_somebody(sandbox, made, ["--inh-caps", three, "--ambient-caps", three])
    assert eventually(lambda: "ready:" in made.log(), 20), made.log()
    sandbox.spawn(serve_tcp, "10.1.0.2", 8080, namespace=namespace)
    put(made, service("works", "10.96.0.10", [("10.1.0.2", 8080)]))
    assert sandbox.call(ask_tcp, "10.96.0.10", 80, namespace=namespace, cgroup=made.cgroup)[0] == "10.1.0.2"
    assert facts(made.child.pid)["Uid"].split()[0] == str(UID_SOMEBODY)
    assert capabilities(made.child.pid, "CapEff") == {NET_ADMIN, PERFMON, BPF}
    assert capabilities(made.child.pid, "CapAmb") == set()
    assert made.stop() == 0
