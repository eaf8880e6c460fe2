# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/demo as a person runs it: what it shows, what it says when something is wrong, what it leaves."""
import contextlib
import fcntl
import glob
import os
import re
import signal
import subprocess
import time

import pytest

from harness.sandbox import Sandbox

TREE = os.path.join(os.path.dirname(__file__), "..", "..")
DEMO = os.path.join(TREE, "scripts", "demo")
BUILD = os.path.realpath(os.environ.get("SINEW_BUILD") or os.path.join(TREE, "build"))
LOGS = os.path.join(BUILD, "demo")
SECONDS = 120


@pytest.fixture(autouse=True)
def alone():
    """A demo that somebody keeps is theirs."""
    os.makedirs(LOGS, exist_ok=True)
    with open(os.path.join(LOGS, "lock"), "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.skip("a demo of this tree was kept: scripts/demo --end")
    yield


def default_signals():
    """Under make -j and nohup they may come ignored, which a shell cannot undo."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


started = []  # process ids of demos; their cgroups are named for them


def run(*words):
    child = subprocess.Popen([DEMO, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, env={**os.environ, "O": BUILD}, preexec_fn=default_signals)
    started.append(child.pid)
    said, errors = child.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess(words, child.returncode, said, errors)


class Running:
    """A demo whose lines are read while it runs."""

    def __init__(self, *words):
        self.child = subprocess.Popen([DEMO, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True, start_new_session=True,
                                      env={**os.environ, "O": BUILD}, preexec_fn=default_signals)
        self.said = ""
        started.append(self.child.pid)

    @property
    def cgroup(self):
        return f"sinew-demo.{self.child.pid}"

    def read_until(self, start):
        for line in self.child.stdout:
            self.said += line
            if line.startswith(start):
                return
        raise AssertionError(f"no line starts with {start!r} in:\n{self.said}")

    def end(self):
        """Its exit status; what it said is in .said."""
        with self.child.stdout:
            self.said += self.child.stdout.read()
        return self.child.wait(timeout=SECONDS)

    def processes(self):
        return {pid: words for pid, words in processes().items() if self.cgroup in cgroup_of(pid)}


def read(path):
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as f:
        return f.read()
    return ""


def cgroup_of(pid):
    return read(f"/proc/{pid}/cgroup")


def processes():
    """{pid: command line} of this host. What has ended and waits for its parent has none: in a whole ring that is us,
    for what a demo leaves to itself."""
    found = {int(pid): read(f"/proc/{pid}/cmdline").replace("\0", " ") for pid in os.listdir("/proc") if pid.isdigit()}
    return {pid: words for pid, words in found.items() if words}


def left_behind():
    """Of the demos that were started here: cgroups, processes, mounts, links."""
    names = [f"sinew-demo.{pid}" for pid in started]
    left = [path for path in glob.glob(os.path.join(Sandbox.find_cgroup2(), "sinew-demo.*"))
            if os.path.basename(path) in names]
    for pid, words in processes().items():
        where = [field for field in re.findall(r"sinew-demo\.\d+", cgroup_of(pid) + words) if field in names]
        left += [f"{pid} {words}"] if where else []
    left += [line for line in read("/proc/mounts").splitlines() if line.startswith("sinew-demo ")]
    for number in read(os.path.join(LOGS, "links")).split():
        if subprocess.run(["bpftool", "link", "show", "id", number], capture_output=True, check=False).returncode == 0:
            left.append(f"link {number}")
    return left


def nothing_left():
    """What a killed demo leaves goes within a moment."""
    for _ in range(250):
        if not left_behind():
            return []
        time.sleep(0.04)
    return left_behind()


SCENES = (
    r" 1  build +\S+   sinewd \d+\.\d+\.\d+ ",
    r" 2  sinewd on a child cgroup +\S+   attached (\d+) of \1 \(kernel .*\), \d+\.\d MiB",
    r" 3  sinewctl apply -f shop.yaml +\S+   payments 10\.96\.0\.10:80 -> 3 backends \(weights 2:1:1\)",
    r" 4  curl http://10\.96\.0\.10/ x400 +\S+   200 OK 400, errors 0;  a (\d+)  b (\d+)  c (\d+) ",
    r" 5  b dies, nobody has said so +\S+   400 requests, errors 0;  went on inside connect\(\) (\d+);  "
    r"10\.1\.0\.2:8080 ejected for 3\ds: 5 consecutive refused, 2 of 3 usable",
    r" 6  sinewctl why 10\.96\.0\.10:80 +\S+   10\.1\.0\.2:8080 ejected, \d+s left: 5 consecutive refused;  "
    r"would pick 10\.1\.0\.[13]:8080",
    r" 7  kill -9 sinewd under load +\S+   ([\d,]+) requests, errors 0, (\d+) with no sinewd;  "
    r"a new one took over \d+ links, \d+ maps in \d+ms",
    r" 8  remove c +\S+   400 requests, errors 0;  a (\d+)  b (\d+), to c: 0",
    r" 9  b is back: backend restore +\S+   200 requests, errors 0;  a (\d+)  b (\d+)",
    r"10  what the kernel counted +\S+   attempts ([\d,]+) = connected ([\d,]+) \+ went on (\d+);  p50 \S+ p99 \S+",
)


def figures(said):
    """The figures of each scene's line."""
    lines = [line for line in said.splitlines() if re.match(r"[ 1]\d  ", line)]
    assert len(lines) == len(SCENES), said
    found = []
    for pattern, line in zip(SCENES, lines):
        match = re.match(pattern, line)
        assert match, f"{line!r} is not {pattern!r}"
        found.append([int(group.replace(",", "")) for group in match.groups()])
    return found


def test_every_scene_is_shown_and_nothing_is_left():
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    _, _, _, weights, (went_on,), _, (under_load, without), (a, b), (to_a, to_b), total = figures(done.stdout)
    assert sum(weights) == 400 and min(weights) > 40 and 120 < weights[0] < 280
    assert went_on >= 5
    assert under_load >= 2000 and without >= 500
    assert a + b == 400
    assert to_a + to_b == 200 and to_b > 0
    # Of every request of every scene, and of the connection held over the kill.
    made = 400 + 400 + under_load + 1 + 400 + 200
    assert total == [made + total[2], made, total[2]] and total[2] >= went_on
    assert done.stdout.splitlines()[-1] == \
        "All 10 scenes as expected. Left behind: nothing.   Play with it: scripts/demo --keep"
    assert "\x1b" not in done.stdout
    assert left_behind() == []


def test_a_kept_sandbox_can_be_entered_and_ended():
    try:
        done = run("--keep")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "scripts/demo --enter" in done.stdout and "scripts/demo --end" in done.stdout
        again = run()
        assert again.returncode == 2 and "scripts/demo --end" in again.stderr
        answers = set()
        for _ in range(40):
            answers.add(run("--enter", "curl", "-s", "http://10.96.0.10/").stdout.strip())
        assert answers == {"a", "b", "c"}
        assert "payments" in run("--enter", "sinewctl", "get", "services").stdout
        outside = re.search(r"--socket (/proc/\d+/root\S+)", done.stdout).group(1)
        shown = subprocess.run([os.path.join(BUILD, "sinewctl"), "--socket", outside, "get", "services"],
                               capture_output=True, text=True, timeout=20, check=False)
        assert "10.96.0.10" in shown.stdout, shown.stderr
        by_hand = re.search(r"(nsenter -t .*; exec )sh'", done.stdout).group(1) + "curl -s http://10.96.0.10/'"
        entered = subprocess.run(["sh", "-c", by_hand], capture_output=True, text=True, timeout=20,
                                 check=False)
        assert entered.stdout.strip() in {"a", "b", "c"}, entered.stderr
    finally:
        ended = run("--end")
    assert ended.returncode == 0 and "Left behind: nothing." in ended.stdout, ended.stderr
    assert nothing_left() == []
    assert run("--end").returncode == 2


def test_a_wrong_result_is_told_and_fails():
    demo = Running()
    demo.read_until(" 3  ")
    for pid, words in demo.processes().items():
        if "http.server --bind 10.1.0.3" in words:
            os.kill(pid, signal.SIGKILL)
    assert demo.end() == 1, demo.said
    lines = demo.said.splitlines()
    told = next(i for i, line in enumerate(lines) if "not as expected: " in line)
    assert re.match(r" [4-8]  ", lines[told - 1])
    assert lines[told + 1].strip() == f"logs: {LOGS}"
    assert lines[-1] == "Not all scenes were as expected. Left behind: nothing."
    assert read(os.path.join(LOGS, "sinewd.log"))
    assert left_behind() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_whatever_ends_it_leaves_nothing(number):
    demo = Running()
    demo.read_until(" 4  ")
    if number == signal.SIGINT:  # Ctrl-C reaches everything in the foreground
        os.killpg(demo.child.pid, number)
    else:
        os.kill(demo.child.pid, number)
    status = demo.end()
    assert status == (-number if number == signal.SIGKILL else 128 + number)
    if number != signal.SIGKILL:
        assert "Left behind: nothing." in demo.said
    assert nothing_left() == []


def test_help_and_bad_options():
    assert "--keep" in run("--help").stdout
    wrong = run("--kepp")
    assert wrong.returncode == 2 and "--keep" in wrong.stderr
