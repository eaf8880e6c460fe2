# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings, where each came from, reload, and what sinewd tells its service manager."""
import contextlib
import glob
import os
import signal
import socket
import subprocess
import time

import pytest

from harness.daemon import Daemon
from harness.life import ask, census, eventually, run_refused
from harness.sandbox import SandboxError
from harness.service import put, serve_tcp, service

from conftest import BUILD


class Manager:
    """The other end of sd_notify(3)."""

    def __init__(self, sandbox, name):
        self.path = sandbox.path(name)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.bind(self.path)
        self.socket.settimeout(0.1)
        self.said = []

    def wait(self, line, count=1, seconds=20):
        """Until a line was said so often."""
        def enough():
            with contextlib.suppress(socket.timeout):
                self.said.append(self.socket.recv(4096).decode())
            return sum(one.split("\n").count(line) for one in self.said) >= count
        return eventually(enough, seconds, 0)


def write(daemon, text):
    with open(daemon.config, "w", encoding="utf-8") as f:
        f.write(text)


def reload_settings(daemon):
    """SIGHUP, and what was logged about it."""
    before = len(daemon.log())
    daemon.child.send_signal(signal.SIGHUP)
    assert eventually(lambda: any(word in daemon.log()[before:] for word in ("settings reloaded", "stay in force")), 10)
    return daemon.log()[before:]


def shown(daemon, env=None):
    """{setting: (value, origin)} of `sinewctl config show --origin`."""
    done = subprocess.run([os.path.join(BUILD, "sinewctl"), "--socket", daemon.socket, "config", "show", "--origin",
                           "-o", "wide"], capture_output=True, text=True, check=True, timeout=20, env=env)
    found = {}
    for line in done.stdout.splitlines()[1:]:
        words = line.split()
        found[words[0]] = (words[1], words[-1])
    return found


def test_ready_watchdog_reloading_and_stopping_are_told(sandbox):
    manager = Manager(sandbox, "manager")
    made = Daemon(sandbox, BUILD, "notify", sandbox.cgroup("notify"), start=False)
    made.child = sandbox.start(made.command(), env={**os.environ, "NOTIFY_SOCKET": manager.path,
                                                    "WATCHDOG_USEC": "800000"})
    assert manager.wait("READY=1")
    assert any(line.startswith("STATUS=10 programs on") for line in "\n".join(manager.said).split("\n"))
    began = time.monotonic()
    assert manager.wait("WATCHDOG=1", 4)
    assert time.monotonic() - began < 4 * 0.8, "in time for the watchdog that the manager set"
    manager.said.clear()
    reload_settings(made)
    assert manager.wait("READY=1")
    told = [one for one in manager.said if not one.startswith("WATCHDOG")]
    assert told[0].startswith("RELOADING=1\nMONOTONIC_USEC=") and told[1].startswith("READY=1")
    made.child.terminate()
    assert manager.wait("STOPPING=1")
    assert made.child.wait(timeout=10) == 0


def test_a_manager_in_the_abstract_namespace_is_told(sandbox):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0sinew-test-%d" % os.getpid())
        manager.settimeout(20)
        made = Daemon(sandbox, BUILD, "abstract", sandbox.cgroup("abstract"), start=False)
        made.child = sandbox.start(made.command(), env={**os.environ, "NOTIFY_SOCKET": "@sinew-test-%d" % os.getpid()})
        assert manager.recv(4096).startswith(b"READY=1")
        assert made.stop() == 0


def test_heartbeat_advances_and_the_loop_is_measured(daemon):
    first = census(BUILD, daemon)
    assert first["pid"] == daemon.child.pid
    assert eventually(lambda: census(BUILD, daemon)["heartbeat"] > first["heartbeat"])
    status = daemon.get("/v1/status")
    assert 0 <= status["heartbeatAgeSeconds"] < 30 and status["loopMaxSeconds"] >= 0
    daemon.kill()
    last = census(BUILD, daemon)["heartbeat"]
    time.sleep(0.6)
    assert census(BUILD, daemon)["heartbeat"] == last
    daemon.start()


def test_flag_beats_environment_beats_file_beats_default(sandbox):
    made = Daemon(sandbox, BUILD, "layers", sandbox.cgroup("layers"), ["maps.flows=4096"], start=False)
    write(made, "maps: {flows: 1024}\nmetrics:\n  seriesBudget: 111\nservices.pool4: 127.200.0.0/16\nlog.format: text\n")
    made.child = sandbox.start(made.command(), env={**os.environ, "SINEWD_METRICS_SERIES_BUDGET": "222",
                                                    "SINEWD_MAPS_FLOWS": "2048"})
    assert eventually(lambda: "ready:" in made.log(), 20), made.log()
    seen = shown(made)
    assert seen["maps.flows"] == ("4096", "--set")
    assert seen["metrics.seriesBudget"] == ("222", "SINEWD_METRICS_SERIES_BUDGET")
    assert seen["services.pool4"] == ("127.200.0.0/16", f"{made.config}:4:1")
    assert seen["services.pool6"] == ("fd73:696e:6577::/64", "default")
    assert seen["control.socket"] == (made.socket, "--socket")
    assert made.stop() == 0


@pytest.mark.parametrize("text,expected", [
    ("log:\n  levl: debug\n", ':2:3: unknown setting "log.levl"; did you mean "log.level"?'),
    ("bypas.mark: 1\n", ':1:1: unknown setting "bypas.mark"; did you mean "bypass.mark"?'),
    ("xyzzy: 1\n", ':1:1: unknown setting "xyzzy"; sinewd(8) lists them'),
    ("log.level: loud\n", ':1:1: log.level is "loud", expected error, warning, notice, info or debug'),
    ("maps.flows: 1000\n", ':1:1: maps.flows is "1000", expected a power of two'),
    ("bypass:\n  mark: 99999999999\n", ':2:3: bypass.mark is "99999999999", expected a number in range'),
    ("services.allow: [10.0.0.0/8, nonsense]\n", "services.allow"),
    ("bypass.cgroups: relative\n", ':1:1: bypass.cgroups is "relative", expected cgroups'),
    ("a: [1, 2\n", ":1:"),
    ("- a\n- b\n", "expected settings as"),
    ("log.level: {deep: {deeper: 1}}\n", ':1:13: unknown setting "log.level.deep"; did you mean "log.level"?'),
    ("log.level: info\nlog.level: debug\n", ":2:"),
    ("\x00\x01\x02", ": a NUL byte: this is no YAML"),
    ("log.level: info\n\x00bypass.mark: 5\n", ": a NUL byte: this is no YAML"),
])
def test_a_mistyped_setting_is_an_error_with_its_place(sandbox, text, expected):
    made = Daemon.__new__(Daemon)
    made.config = sandbox.write("bad.yaml", text)
    words = [os.path.join(BUILD, "sinewd"), "--config", made.config, "--bpffs", sandbox.path("never"),
             "--state", sandbox.path("never"), "--socket", sandbox.path("n1"), "--status-socket", sandbox.path("n2"),
             "--cgroup", sandbox.cgroup_root]
    status, said = run_refused(words)
    assert status == 2 and made.config in said and expected in said, said


@pytest.mark.parametrize("words,expected", [
    (["--set", "bypass.marks=1"], 'did you mean "bypass.mark"?'),
    (["--set", "log.level"], "expected KEY=VALUE"),
    (["--bpfs", "/x"], "--bpffs"),
    (["start"], "no operands"),
    (["--config"], "--config"),
])
def test_a_mistyped_flag_is_a_usage_error(words, expected):
    status, said = run_refused([os.path.join(BUILD, "sinewd"), *words])
    assert status == 2 and expected in said, said


def test_a_named_file_that_is_missing_is_an_error(sandbox, daemon):
    words = daemon.command()
    words[words.index("--config") + 1] = sandbox.path("missing.yaml")
    status, said = run_refused(words)
    assert status == 2 and "cannot read" in said and "missing.yaml" in said


def test_a_bad_value_of_the_environment_names_the_variable(daemon):
    status, said = run_refused(daemon.command(), env={**os.environ, "SINEWD_MAPS_FLOWS": "many"})
    assert status == 2 and 'SINEWD_MAPS_FLOWS: maps.flows is "many"' in said


@pytest.fixture
def reloading(sandbox, namespace, daemon):
    """A sinewd with a file of settings that the test writes; back to none afterwards."""
    yield daemon
    write(daemon, "log: {format: text}\n")
    reload_settings(daemon)


def marked_connect(address, port, mark):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(3)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        try:
            client.connect((address, port))
            return client.recv(100).decode()
        except OSError:
            return ""


def test_reload_takes_a_new_knob_over_and_tells_where_it_came_from(sandbox, namespace, inside, reloading):
    sandbox.spawn(serve_tcp, "10.1.0.1", 8080, namespace=namespace)
    put(reloading, service("shop", "10.96.0.10", [("10.1.0.1", 8080)]))
    assert inside(marked_connect, "10.96.0.10", 80, 81) == "10.1.0.1"
    write(reloading, "log: {format: text}\nbypass:\n  mark: 81\n")
    assert "settings reloaded" in reload_settings(reloading)
    assert shown(reloading)["bypass.mark"] == ("81", f"{reloading.config}:3:3")
    assert inside(marked_connect, "10.96.0.10", 80, 81) == "", "now it passes untouched"
    assert inside(marked_connect, "10.96.0.10", 80, 82) == "10.1.0.1"


def test_reload_warns_of_what_needs_a_restart(reloading):
    write(reloading, "log: {format: text}\nmaps:\n  flows: 2048\nbypass: {mark: 5}\n")
    said = reload_settings(reloading)
    assert f"{reloading.config}:3:3: maps.flows needs a restart to take effect" in said
    assert "settings reloaded" in said
    seen = shown(reloading)
    assert seen["maps.flows"][0] == "131072", "what is in force, not what is written"
    assert seen["bypass.mark"][0] == "5"


def test_reload_with_an_error_keeps_the_old_settings(reloading):
    write(reloading, "log: {format: text}\nbypass: {mark: 5}\n")
    reload_settings(reloading)
    programs = census(BUILD, reloading)["links"]
    write(reloading, "log: {format: text}\nbypass: {mark: 6, mrak: 7}\n")
    said = reload_settings(reloading)
    assert f'{reloading.config}:2:19: unknown setting "bypass.mrak"; did you mean "bypass.mark"?' in said
    assert "the old ones stay in force" in said
    assert shown(reloading)["bypass.mark"][0] == "5"
    assert census(BUILD, reloading)["links"] == programs, "no program was swapped"


def test_reload_of_nothing_new_swaps_nothing(reloading):
    before = census(BUILD, reloading)["links"]
    reload_settings(reloading)
    assert census(BUILD, reloading)["links"] == before


def test_reload_takes_the_log_level_over(daemon):
    """Through the file; the flag of the harness would win, so it is left out."""
    words = daemon.command()
    del words[words.index("--log-level"):words.index("--log-level") + 2]
    assert daemon.stop() == 0
    daemon.child = daemon.sandbox.start(words)
    assert eventually(lambda: "ready:" in daemon.log(), 20)
    write(daemon, "log: {format: json, level: warning}\n")
    daemon.child.send_signal(signal.SIGHUP)
    assert eventually(lambda: shown(daemon)["log.level"][0] == "warning")
    assert shown(daemon)["log.format"][0] == "json"
    size = len(daemon.log())
    put(daemon, service("quiet", "10.96.0.55", [("10.1.0.1", 80)]))
    assert daemon.log()[size:] == "", "information is not said any more"
    write(daemon, "log: {format: json}\n")
    daemon.child.send_signal(signal.SIGHUP)
    assert eventually(lambda: '"message":"settings reloaded"' in daemon.log()), daemon.log()[size:]
    write(daemon, "log: {format: text}\n")
    daemon.stop()
    daemon.start()


def test_many_reloads_leak_nothing(reloading):
    """Programs, descriptors and watches of each turn go with it."""
    def descriptors():
        return len(os.listdir(f"/proc/{reloading.child.pid}/fd"))

    counts = []
    for mark in range(1, 13):
        write(reloading, f"log: {{format: text}}\nbypass: {{mark: {mark}}}\n")
        reload_settings(reloading)
        counts.append(descriptors())
    assert max(counts[2:]) == min(counts[2:]), counts
    put(reloading, service("after", "10.96.0.56", []))
    assert ask(reloading.status_socket, "GET", "/healthz")[0] == 200


def test_events_still_flow_after_a_reload(sandbox, inside, reloading):
    put(reloading, service("none", "10.96.0.57", []))
    write(reloading, "log: {format: text}\nbypass: {mark: 77}\n")
    reload_settings(reloading)
    stream = subprocess.Popen([os.path.join(BUILD, "sinewctl"), "--socket", reloading.status_socket, "events",
                               "-o", "json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        inside(marked_connect, "10.96.0.57", 80, 1)
        os.set_blocking(stream.stdout.fileno(), False)
        assert eventually(lambda: b"10.96.0.57" in (stream.stdout.read() or b""), 5)
    finally:
        stream.kill()
        stream.wait()
        stream.stdout.close()


def test_the_unit_for_systemd_verifies(sandbox):
    """With the path of a program that exists, and RequiresMountsFor as it is."""
    unit = os.path.join(os.path.dirname(__file__), "..", "..", "deploy", "systemd", "sinewd.service")
    with open(unit, encoding="utf-8") as f:
        text = f.read()
    copy = sandbox.write("sinewd.service", text.replace("/usr/local/sbin/sinewd", os.path.join(BUILD, "sinewd")))
    try:
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True,
                              timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("systemd-analyze is not installed")
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "sinewd" in line]
    assert not ours, ours
    assert "Type=notify" in text and "/usr/local/sbin/sinewd" in text
    assert "\nRestart=on-failure\n" in text, "sinewctl uninstall ends it with 0, and it must not come back"


def test_a_stranger_on_the_control_path_is_not_removed(sandbox, daemon):
    """A file that is no socket, or a socket that somebody listens on, is left alone, and named."""
    made = Daemon(sandbox, BUILD, "stranger", sandbox.cgroup("stranger"), start=False)
    with open(made.socket, "w", encoding="utf-8") as f:
        f.write("precious")
    status, said = run_refused(made.command())
    assert status == 1 and made.socket in said
    with open(made.socket, encoding="utf-8") as f:
        assert f.read() == "precious"
    words = made.command()
    words[words.index("--socket") + 1] = daemon.socket
    status, said = run_refused(words)
    assert status == 1 and daemon.socket in said
    assert daemon.get("/v1/status")["pid"] == daemon.child.pid


def test_a_refused_start_leaves_no_daemon_and_no_helper(sandbox):
    made = Daemon(sandbox, BUILD, "refused", sandbox.cgroup("refused"), start=False)
    os.mkdir(made.socket)
    with pytest.raises(SandboxError):
        made.start()
    time.sleep(0.2)
    left = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError), open(path, "rb") as f:
            left += [path] if made.pins.encode() in f.read() else []
    assert left == []
