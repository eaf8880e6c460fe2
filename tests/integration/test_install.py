# SPDX-License-Identifier: GPL-2.0-or-later
"""By hand, as README.md has it: make install, sinewd, sinewctl apply, curl, sinewctl uninstall."""
import os
import re
import shutil
import subprocess

import pytest

from harness.service import serve_tcp

TREE = os.path.join(os.path.dirname(__file__), "..", "..")
BUILD = os.path.realpath(os.environ.get("SINEW_BUILD") or os.path.join(TREE, "build"))


def make(target, destination):
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(["make", "-C", TREE, f"O={BUILD}", f"DESTDIR={destination}", target], capture_output=True,
                          text=True, check=True, env=env, timeout=300).stdout


def files_below(folder):
    return sorted(os.path.relpath(os.path.join(where, name), folder)
                  for where, _, names in os.walk(folder) for name in names)


@pytest.fixture(scope="module")
def installed(sandbox):
    destination = sandbox.path("installed")
    make("install", destination)
    return destination


@pytest.mark.parametrize("name", [os.path.realpath, os.path.relpath])
def test_a_changed_header_rebuilds_what_includes_it_however_the_build_folder_is_named(name):
    """What was built under one name of the folder was not built anew under another, though a header had changed."""
    tree = os.path.realpath(TREE)
    if not BUILD.startswith(tree + os.sep):
        pytest.skip("the build folder is not in the tree")
    folder = BUILD if name is os.path.realpath else os.path.relpath(BUILD, tree)
    env = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    said = subprocess.run(["make", "-C", tree, "-n", "V=1", f"O={folder}", "-W", "userspace/base/text.h"], text=True,
                          capture_output=True, check=True, env=env, timeout=60).stdout
    assert " -c userspace/base/text.c" in said


def test_install_puts_everything_in_place(installed):
    manuals = [f"man{name[-5]}/{name[:-4]}" for name in os.listdir(os.path.join(TREE, "userspace", "man"))
               if name.endswith(".scd")]
    assert files_below(installed) == sorted(
        ["usr/local/sbin/sinew-agent", "usr/local/sbin/sinewd", "usr/local/bin/sinewctl",
         "usr/local/lib/systemd/system/sinewd.service", "usr/local/lib/systemd/system/sinew-agent.service",
         "usr/local/lib/sysusers.d/sinew.conf", "usr/local/lib/tmpfiles.d/sinew.conf",
         "usr/local/share/bash-completion/completions/sinewctl", *(f"usr/local/share/man/{one}" for one in manuals)])
    for program in ("usr/local/sbin/sinewd", "usr/local/sbin/sinew-agent", "usr/local/bin/sinewctl"):
        assert os.access(os.path.join(installed, program), os.X_OK)


def test_uninstall_removes_what_install_put(sandbox):
    destination = sandbox.path("removed")
    make("install", destination)
    make("uninstall", destination)
    assert files_below(destination) == []


@pytest.mark.parametrize("name", ["sinewd", "sinew-agent"])
def test_the_unit_starts_what_was_installed(sandbox, installed, name):
    with open(os.path.join(installed, f"usr/local/lib/systemd/system/{name}.service"), encoding="utf-8") as f:
        unit = f.read()
    start = re.search(r"^ExecStart=(\S+)$", unit, re.MULTILINE).group(1)
    assert os.access(installed + start, os.X_OK)
    assert re.search(r"^Type=notify$", unit, re.MULTILINE)  # both say when they are there, and when they reload
    assert re.search(r"^ExecReload=/bin/sh -c 'kill -HUP \$MAINPID'$", unit, re.MULTILINE)
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here to judge the unit")
    judged = subprocess.run(["systemd-analyze", "verify", "--man=no",
                             sandbox.write(f"{name}.service", unit.replace(start, installed + start))],
                            capture_output=True, text=True, timeout=60, check=False)
    assert [line for line in judged.stderr.splitlines() if f"{name}.service" in line] == [], judged.stderr


def test_the_agents_unit_leaves_it_little(sandbox, installed):
    """By systemd's own measure: 10 is everything, below 2.5 is what it calls OK."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here to judge the unit")
    said = subprocess.run(["systemd-analyze", "security", "--offline=true",
                           os.path.join(installed, "usr/local/lib/systemd/system/sinew-agent.service")],
                          capture_output=True, text=True, timeout=60, check=False).stdout
    assert float(re.search(r"exposure level for sinew-agent.service: ([\d.]+)", said).group(1)) <= 2.5


def test_who_the_agent_is_can_be_made(sandbox, installed):
    """systemd-sysusers in a root of its own: the user, and the groups of both sockets."""
    if not shutil.which("systemd-sysusers"):
        pytest.skip("no systemd-sysusers here")
    root = sandbox.path("users")
    os.makedirs(os.path.join(root, "etc"))
    subprocess.run(["systemd-sysusers", f"--root={root}", os.path.join(installed, "usr/local/lib/sysusers.d/sinew.conf")],
                   capture_output=True, timeout=60, check=True)
    with open(os.path.join(root, "etc/group"), encoding="ascii") as f:
        assert {line.split(":")[0] for line in f} == {"sinew", "sinew-view", "sinew-agent"}
    with open(os.path.join(root, "etc/passwd"), encoding="ascii") as f:
        user = f.read().split(":")
    assert user[0] == "sinew-agent" and user[5] == "/var/lib/sinew-agent" and "nologin" in user[6]


def test_a_running_daemon_says_which_commit_it_is(daemon):
    """Also after a commit without a clean build."""
    head = subprocess.run(["git", "-C", TREE, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True,
                          check=False).stdout.strip() or "unknown"
    said = subprocess.run([daemon.program, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"({head})" in said
    assert daemon.get("/v1/status")["revision"] == head
    assert f'revision="{head}"' in daemon.request("GET", "/metrics").decode()


def test_the_daemon_has_no_ring_beside_its_filter(daemon):
    """libuv of Debian 13 makes an io_uring for its loop and aborts when that is forbidden later."""
    fds = f"/proc/{daemon.child.pid}/fd"
    assert [one for one in os.listdir(fds) if "io_uring" in os.readlink(os.path.join(fds, one))] == []
    with open(f"/proc/{daemon.child.pid}/status", encoding="ascii") as f:
        assert re.search(r"^Seccomp_filters:\s+2$", f.read(), re.MULTILINE)


def commands():
    """The manifest and the commands of README's "By hand", as they are written there."""
    with open(os.path.join(TREE, "README.md"), encoding="utf-8") as f:
        section = f.read().split("## By hand", 1)[1].split("\n## ", 1)[0]
    shell, manifest = re.findall(r"```\w*\n(.*?)```", section, re.DOTALL)[:2]
    return [line.split("#")[0].strip() for line in shell.splitlines()], manifest


BY_HAND = """set -eu
mount -t tmpfs by-hand /run && mount -t bpf by-hand /sys/fs/bpf && mount -t tmpfs by-hand /var/lib
export PATH={installed}/usr/local/sbin:{installed}/usr/local/bin:$PATH
ip address add 10.0.0.5/32 dev lo && ip address add 10.0.0.6/32 dev lo
/usr/bin/python3 -m http.server --bind 10.0.0.5 --directory {one} 8080 2>/dev/null &
/usr/bin/python3 -m http.server --bind 10.0.0.6 --directory {other} 8080 2>/dev/null &
for end in 10.0.0.5 10.0.0.6; do until curl -s -o /dev/null http://$end:8080/; do sleep 0.02; done; done
cd {folder}
SINEWD_CGROUP_PATH={cgroup} sinewd 2>sinewd.log &
until sinewctl version >/dev/null 2>&1; do sleep 0.02; kill -0 $!; done
{commands}
wait $!
find /sys/fs/bpf /var/lib/sinew /run/sinew -mindepth 1 ! -name '*.debug' 2>/dev/null || true
echo gone
"""


def test_by_hand_works_as_it_is_written(sandbox, namespace, installed):
    """All in places of the usual names, in a mount namespace; only the cgroup is another than the whole host."""
    written, manifest = commands()
    assert written[:3] == ["scripts/deps build", "make && make install", "systemctl start sinewd"]
    folder, cgroup = sandbox.path("by-hand"), sandbox.cgroup("by-hand")
    os.mkdir(folder)
    with open(os.path.join(folder, "shop.yaml"), "w", encoding="utf-8") as f:
        f.write(manifest)
    for name in ("one", "other"):
        os.mkdir(sandbox.path(name))
        with open(os.path.join(sandbox.path(name), "index.html"), "w", encoding="ascii") as f:
            f.write(f"{name}\n")
    words = "\n".join(written[3:]).replace("sinewctl events", "timeout 0.2 sinewctl events || [ $? = 124 ]")
    words = words.replace("curl ", "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do curl -s ") \
        .replace("10.96.0.10/", "10.96.0.10/; done").replace("sinewctl uninstall", "sinewctl uninstall --yes")
    script = BY_HAND.format(installed=installed, one=sandbox.path("one"), other=sandbox.path("other"),
                            folder=folder, cgroup=cgroup, commands=words)
    child = sandbox.start(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                           "bash", "-c", script], namespace=namespace, cgroup=cgroup)
    said, _ = child.communicate(timeout=60)
    lines = said.decode().splitlines()
    assert child.returncode == 0, said.decode() + sandbox.said(child)
    assert "service shop/payments created" in lines
    assert lines.count("one") + lines.count("other") == 20 and lines.count("one") > 3 and "other" in lines
    assert any(line.startswith("would pick 10.0.0.") for line in lines)
    assert lines[-2].startswith("uninstalled: ") and lines[-1] == "gone"
