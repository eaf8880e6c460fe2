# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing of a ring is left on this host. A ring takes these over in a file whose name sorts last."""
import glob
import json
import os
import subprocess
import time

from harness.sandbox import Sandbox


def test_no_cgroup_is_left():
    """A folder is named for the process that made it: ours, or one that is no more."""
    left = []
    for path in glob.glob(os.path.join(Sandbox.find_cgroup2(), "sinew-*")):
        pid = path.rsplit(".", 1)[-1]
        if pid == str(os.getpid()) or not os.path.exists(f"/proc/{pid}"):
            left.append(path)
    assert left == []


def test_no_process_is_left():
    """Sandboxes end before this; whatever still runs a sinewd of this build escaped one."""
    build = os.path.realpath(os.environ.get("SINEW_BUILD", "build"))
    left = []
    for link in glob.glob("/proc/[0-9]*/exe"):
        try:
            if os.readlink(link).startswith(build + "/"):
                left.append(link)
        except OSError:
            continue
    assert left == []


def test_no_program_and_no_link_is_attached_outside_a_sandbox():
    """Programs of a dead sandbox go with its links; the kernel frees them a moment later."""
    for _ in range(50):
        shown = json.loads(subprocess.run(["bpftool", "--json", "link", "show"], capture_output=True,
                                          check=True).stdout or "[]")
        severed = [one for one in shown if one.get("type") == "cgroup" and one.get("cgroup_id") == 0]
        if not severed:
            return
        time.sleep(0.1)
    assert severed == []


def test_no_namespace_is_left():
    shown = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert [line for line in shown.splitlines() if "sinew" in line] == []
