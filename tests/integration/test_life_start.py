# SPDX-License-Identifier: GPL-2.0-or-later
"""How sinewd starts, refuses to start, and leaves: pins, bpffs, half-made folders, uninstall.

Pitfalls: P-43, P-69, P-72.
"""
import contextlib
import glob
import os
import shutil
import subprocess
import time
from datetime import datetime

import pytest

from harness.daemon import ABI, Daemon
from harness.life import BPFTOOL, attempts, census, eventually, names, run_refused
from harness.sandbox import SandboxError, check_call, libc
from harness.service import ask_tcp, connect_errno, put, serve_tcp, service

from conftest import BUILD

MS_RDONLY, MS_REMOUNT = 1, 32


@pytest.fixture(scope="module")
def vip(sandbox, namespace, daemon):
    """A service with a server; asked for by `inside(ask_tcp, *vip)`."""
    sandbox.spawn(serve_tcp, "10.1.0.1", 8080, namespace=namespace)
    put(daemon, service("shop", "10.96.0.10", [("10.1.0.1", 8080)]))
    return ("10.96.0.10", 80)


def command(daemon, **changes):
    """The command line of `daemon` with other paths."""
    words = daemon.command()
    for flag, value in changes.items():
        words[words.index("--" + flag) + 1] = value
    return words


def other(sandbox, daemon, bpffs):
    """A sinewd that has everything of its own but the pin folder."""
    folder = sandbox.path("other")
    os.makedirs(folder, exist_ok=True)
    return command(daemon, bpffs=bpffs, socket=folder + "/c.sock", **{"status-socket": folder + "/s.sock"},
                   state=folder + "/state")


def loaded():
    """Ids of all our programs that the kernel holds."""
    shown = subprocess.run([BPFTOOL, "prog", "show"], capture_output=True, text=True, check=True).stdout
    return {line.split(":")[0] for line in shown.splitlines() if " name sn_" in line}


def held(daemon):
    """Ids of the programs that this sinewd holds."""
    found = set()
    for path in glob.glob(f"/proc/{daemon.child.pid}/fdinfo/*"):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as f:
            found |= {line.split()[1] for line in f if line.startswith("prog_id:")}
    return found


def test_p72_no_bpffs_is_named_with_what_to_do(sandbox, daemon):
    plain = sandbox.path("plain")
    status, said = run_refused(other(sandbox, daemon, plain))
    assert status == 1
    assert f"{plain} is not on a bpffs: mount -t bpf bpf /sys/fs/bpf, or set bpffs.dir" in said
    assert not os.path.exists(plain), "a folder made in vain is removed"


def test_p72_a_missing_mount_point_is_named_with_what_to_do(sandbox, daemon):
    status, said = run_refused(other(sandbox, daemon, sandbox.path("not/there")))
    assert status == 1
    assert "cannot make or lock the pin folder" in said and "mount -t bpf" in said
    assert "needs root" not in said


def test_p72_sysfs_without_bpffs_is_not_taken_for_missing_rights(sandbox, daemon):
    """mkdir on sysfs is EPERM, which has nothing to do with who we are."""
    status, said = run_refused(other(sandbox, daemon, "/sys/kernel/sinew"))
    assert status == 1
    assert "cannot make or lock the pin folder /sys/kernel/sinew" in said and "mount -t bpf" in said
    assert "needs root" not in said


def test_p72_read_only_bpffs_is_named(sandbox, daemon):
    where = sandbox.path("readonly")
    os.mkdir(where)
    check_call(libc.mount(b"bpf", where.encode(), b"bpf", 0, None), "mount bpffs")
    try:
        check_call(libc.mount(b"bpf", where.encode(), b"bpf", MS_REMOUNT | MS_RDONLY, None), "remount bpffs")
        for bpffs in (where, where + "/below"):
            status, said = run_refused(other(sandbox, daemon, bpffs))
            assert status == 1
            assert "Read-only file system" in said and bpffs in said and "writable" in said
    finally:
        check_call(libc.umount2(where.encode(), 2), "umount")


def test_p72_a_bpffs_of_another_mount_namespace_is_another_bpffs(sandbox, daemon):
    """A private mount hides the pins, not the programs: they keep serving, and the first sinewd is not disturbed."""
    before = census(BUILD, daemon)
    words = ["unshare", "-m", "sh", "-c", 'mount -t bpf bpf "$0" && ls "$0"', sandbox.bpffs]
    assert "sinewd" not in subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert census(BUILD, daemon)["links"] == before["links"]


def test_p69_pins_of_another_abi_are_refused_with_what_to_do(sandbox, inside, daemon, vip):
    daemon.kill()
    above = os.path.join(daemon.pins, f"v{ABI + 1}")
    os.makedirs(above + "/maps")
    status, said = run_refused(daemon.command())
    assert status == 1
    assert f"{daemon.pins} holds maps of ABI {ABI + 1}, this is ABI {ABI}" in said and "sinewctl uninstall" in said
    assert inside(ask_tcp, *vip)[0] == "10.1.0.1", "the old programs go on"
    os.rmdir(above + "/maps")
    os.rmdir(above)
    daemon.start()
    assert names(daemon) == ["test/shop"]


def test_p69_a_pinned_map_of_another_shape_is_refused(sandbox, inside, daemon, vip):
    """Whoever made it: nothing is reshaped or emptied, traffic goes on with the programs that are there."""
    daemon.kill()
    pin, kept = daemon.map_pin("sn_policies"), daemon.map_pin("sn_policies") + "_kept"
    os.rename(pin, kept)
    subprocess.run([BPFTOOL, "map", "create", pin, "type", "array", "key", "4", "value", "12", "entries", "1024",
                    "name", "sn_policies"], check=True, capture_output=True)
    status, said = run_refused(daemon.command())
    assert status == 1
    assert f"{pin} has another shape" in said and "value 12 bytes" in said and "sinewd --uninstall" in said
    assert "cannot load the programs" not in said, "one cause, one line"
    assert inside(ask_tcp, *vip)[0] == "10.1.0.1"
    os.unlink(pin)
    os.rename(kept, pin)
    daemon.start()
    assert names(daemon) == ["test/shop"]


def test_p69_a_pinned_map_with_other_flags_is_refused(sandbox, daemon, vip):
    daemon.kill()
    pin, kept = daemon.map_pin("sn_policies"), daemon.map_pin("sn_policies") + "_kept"
    os.rename(pin, kept)
    subprocess.run([BPFTOOL, "map", "create", pin, "type", "array", "key", "4", "value", "8", "entries", "1024",
                    "name", "sn_policies"], check=True, capture_output=True)
    status, said = run_refused(daemon.command())
    assert status == 1 and "has another shape" in said and "flags 0" in said
    os.unlink(pin)
    os.rename(kept, pin)
    daemon.start()


def test_p69_something_else_pinned_in_a_maps_place_is_refused(sandbox, daemon, vip):
    daemon.kill()
    pin, kept = daemon.map_pin("sn_policies"), daemon.map_pin("sn_policies") + "_kept"
    os.rename(pin, kept)
    program = next(iter(census(BUILD, daemon)["links"].values()))["program"]
    subprocess.run([BPFTOOL, "prog", "pin", "id", str(program), pin], check=True, capture_output=True)
    status, said = run_refused(daemon.command())
    assert status == 1 and pin in said
    os.unlink(pin)
    os.rename(kept, pin)
    daemon.start()


def test_p69_a_takeover_keeps_the_size_of_pinned_maps(sandbox, daemon, vip):
    """Another maps.flows would need a new map, and forget what sockets rely on."""
    daemon.kill()
    daemon.settings = ["maps.flows=4096"]
    daemon.start()
    shown = subprocess.run([BPFTOOL, "map", "show", "pinned", daemon.map_pin("sn_flows")], capture_output=True,
                           text=True, check=True).stdout
    assert "max_entries 131072" in shown
    daemon.kill()
    daemon.settings = []
    daemon.start()


def test_a_half_made_pin_folder_is_swept(sandbox, daemon):
    """Maps without a link are nobody's: a start or an uninstall was cut short before anything was attached."""
    made = Daemon(sandbox, BUILD, "half", sandbox.cgroup("half"))
    put(made, service("old", "10.96.7.7", [("10.1.0.1", 8080)]))
    assert made.stop() == 0
    links = os.path.join(made.pinned, "links")
    for name in os.listdir(links):
        os.unlink(os.path.join(links, name))
    os.unlink(made.map_pin("sn_meta"))
    shutil.rmtree(made.state)
    made.start()
    assert names(made) == [] and census(BUILD, made)["services"] == {}
    assert "made maps and links below" in made.log()
    assert len(census(BUILD, made)["links"]) == 10
    assert made.stop() == 0


def test_a_folder_with_some_links_missing_is_completed(sandbox, inside, daemon, vip):
    daemon.kill()
    before = census(BUILD, daemon)["links"]
    for name in ("sn_connect6", "sn_sockops"):
        os.unlink(os.path.join(daemon.pinned, "links", name))
    daemon.start()
    after = census(BUILD, daemon)["links"]
    assert len(after) == 10
    assert {n: v["id"] for n, v in after.items() if n not in ("sn_connect6", "sn_sockops")} == \
           {n: v["id"] for n, v in before.items() if n not in ("sn_connect6", "sn_sockops")}
    assert inside(ask_tcp, *vip)[0] == "10.1.0.1"


def test_a_folder_with_a_map_missing_is_completed(sandbox, inside, daemon, vip):
    """What was counted there is gone; what was declared is not."""
    daemon.kill()
    os.unlink(daemon.map_pin("sn_backends"))
    daemon.start()
    assert inside(ask_tcp, *vip)[0] == "10.1.0.1"
    assert "torn" not in census(BUILD, daemon)["services"]["10.96.0.10:80"]


def test_counters_and_services_survive_a_restart(inside, daemon, vip):
    for _ in range(5):
        inside(ask_tcp, *vip)
    counted = attempts(daemon, "shop")
    attached = daemon.get("/v1/status")["attachedAt"]
    assert daemon.stop() == 0
    inside(ask_tcp, *vip)
    daemon.start()
    assert attempts(daemon, "shop") == counted + 1
    assert abs_seconds(daemon.get("/v1/status")["attachedAt"], attached) <= 1
    assert "took over the maps and links below" in daemon.log()


def abs_seconds(a, b):
    begin, end = (datetime.fromisoformat(t.replace("Z", "+00:00")) for t in (a, b))
    return abs((end - begin).total_seconds())


def test_declared_services_survive_what_a_reboot_does(sandbox, inside, daemon, vip):
    """Pins, programs and counters are gone; the state folder is not."""
    daemon.kill()
    shutil.rmtree(daemon.pinned)
    assert eventually(lambda: inside(connect_errno, *vip) != 0), "unattached: the address is just an address"
    daemon.start()
    assert names(daemon) == ["test/shop"] and attempts(daemon, "shop") == 0
    assert inside(ask_tcp, *vip)[0] == "10.1.0.1"


def test_p43_another_cgroup_moves_the_programs_there(sandbox, namespace, inside, daemon, vip):
    """After an edit of cgroup.path and a restart, the former cgroup is left as if we had never been there."""
    old, daemon.cgroup = daemon.cgroup, sandbox.cgroup("moved")
    assert daemon.stop() == 0
    daemon.start()
    assert inside(ask_tcp, *vip)[0] == "10.1.0.1"
    assert sandbox.call(connect_errno, *vip, namespace=namespace, cgroup=old) != 0
    assert {link["cgroup"] for link in census(BUILD, daemon)["links"].values()} == {os.stat(daemon.cgroup).st_ino}


def test_uninstall_by_a_client_removes_every_trace(sandbox, namespace, daemon, vip):
    gone = Daemon(sandbox, BUILD, "gone", sandbox.cgroup("gone"))
    put(gone, service("shop", "10.96.0.10", [("10.1.0.1", 8080)]))
    assert sandbox.call(ask_tcp, *vip, namespace=namespace, cgroup=gone.cgroup)[0] == "10.1.0.1"
    ours = held(gone)
    assert len(ours) >= 10 and ours <= loaded()
    done = subprocess.run([os.path.join(BUILD, "sinewctl"), "--socket", gone.socket, "uninstall", "--yes"],
                          capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "uninstalled" in done.stdout
    assert gone.child.wait(timeout=10) == 0
    assert not os.path.exists(gone.pins) and not os.path.exists(gone.state)
    assert not os.path.exists(gone.socket) and not os.path.exists(gone.status_socket)
    assert sandbox.call(connect_errno, *vip, namespace=namespace, cgroup=gone.cgroup) != 0
    assert eventually(lambda: not ours & loaded(), 10), "the kernel still holds programs"


def test_uninstall_is_not_lost_among_the_sweeps_after_a_change(sandbox):
    """A backend goes, its datagram sockets are looked for at once and again 0.4 s later; meanwhile: uninstall."""
    for pause in (0, 0.05, 0.2):
        gone = Daemon(sandbox, BUILD, f"sweeps{int(pause * 100)}", sandbox.cgroup(f"sweeps{int(pause * 100)}"))
        put(gone, service("shop", "10.96.0.10", [("10.1.0.1", 8080), ("10.1.0.2", 8080)]))
        put(gone, service("shop", "10.96.0.10", [("10.1.0.1", 8080)]))
        time.sleep(pause)
        gone.request("POST", "/v1/uninstall")
        assert gone.child.wait(timeout=10) == 0
        assert not os.path.exists(gone.pins)


def test_uninstall_without_a_daemon_removes_every_trace(sandbox, namespace, daemon, vip):
    gone = Daemon(sandbox, BUILD, "alone", sandbox.cgroup("alone"))
    put(gone, service("shop", "10.96.0.10", [("10.1.0.1", 8080)]))
    running = subprocess.run(gone.command() + ["--uninstall"], capture_output=True, text=True, timeout=20, check=False)
    assert running.returncode == 1
    assert f"sinewd (pid {gone.child.pid}) still tends {gone.pins}" in running.stderr
    assert names(gone) == ["test/shop"], "nothing was removed under it"
    gone.kill()
    assert os.path.exists(gone.socket), "a killed one leaves its socket"
    done = subprocess.run(gone.command() + ["--uninstall"], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert not any(map(os.path.exists, (gone.pins, gone.state, gone.socket, gone.status_socket)))
    assert sandbox.call(connect_errno, *vip, namespace=namespace, cgroup=gone.cgroup) != 0
    again = subprocess.run(gone.command() + ["--uninstall"], capture_output=True, text=True, timeout=20, check=False)
    assert again.returncode == 0, "nothing to remove is no error"


def test_uninstall_of_a_named_instance_never_turns_to_another(sandbox, daemon):
    """Nobody answers at that socket; the settings of its sinewd are not known here, and the default ones are not its."""
    done = subprocess.run([os.path.join(BUILD, "sinewctl"), "--socket", sandbox.path("nobody.sock"), "uninstall",
                           "--yes"], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 3 and done.stdout == ""
    assert "nobody.sock" in done.stderr and "with the settings that it had" in done.stderr
    assert "running sinewd" not in done.stderr
    assert daemon.get("/v1/status")["programs"]["attached"] == 10


def test_uninstall_asks_first_when_nobody_can_answer(daemon):
    done = subprocess.run([os.path.join(BUILD, "sinewctl"), "--socket", daemon.socket, "uninstall"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2 and "--yes" in done.stderr
    assert daemon.get("/v1/status")["programs"] == {"attached": 10, "wanted": 10}


def test_uninstall_over_the_read_only_socket_is_refused(daemon):
    with pytest.raises(SandboxError, match="403"):
        daemon.request("POST", "/v1/uninstall", status=True)
