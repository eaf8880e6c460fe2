# SPDX-License-Identifier: GPL-2.0-or-later
"""The packaged units under systemd itself, on a machine of their own (scripts/vm -m): installed, set up and enabled as
README.md has it, then used, killed, hung, stopped and started. test_reboot.py goes on after its second boot."""
import contextlib
import grp
import http.client
import json
import os
import pwd
import re
import signal
import stat
import threading

import pytest

from harness.fake_consul import instance
from harness.units import (CART, FOLDER, KEPT, MANIFEST, PAYMENTS, TOKEN, TOKEN_FILE, UNITS, Consul, address_of, ask,
                           backends, fetch, is_ready, journal, main_pid, run, show, status_of, wait_for, write)

AGENT_SETTINGS = """registries:
  - {{name: folder, type: files, path: {folder}}}
  - {{name: dc1, type: consul, address: "{consul}", tokenFile: /run/credentials/sinew-agent.service/dc1}}
dns.address: 127.0.0.153:53
node.name: machine
"""
DROP_IN = f"[Service]\nLoadCredential=dc1:{TOKEN_FILE}\n"
REGISTRATION = {"apiVersion": "sinew/v1", "kind": "Registration", "metadata": {"name": "web"},
                "spec": {"service": "web", "registry": "dc1", "workload": {"unit": "web.service"}, "port": 9090}}
ENDS = {address for address, _ in PAYMENTS}


@pytest.fixture(scope="module", name="consul")
def make_consul():
    with Consul({"cart": [instance("cart-1", *CART)]}) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def serve():
    with backends():
        yield


@pytest.fixture(scope="module", autouse=True)
def started(consul):
    """As a person sets it up; nothing here runs before the boot has done its part."""
    write(f"{FOLDER}/shop.yaml", json.dumps(MANIFEST))
    write(TOKEN_FILE, TOKEN + "\n", mode=0o400)
    write("/etc/sinew/agent.yaml", AGENT_SETTINGS.format(folder=FOLDER, consul=consul.address))
    write("/etc/systemd/system/sinew-agent.service.d/credential.conf", DROP_IN)
    write("/etc/resolv.conf", "nameserver 127.0.0.153\noptions timeout:20\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", *UNITS)
    run("systemctl", "start", *UNITS)
    wait_for(is_ready)


@pytest.fixture(autouse=True)
def leave_running(started):
    """Whatever a test did to them."""
    yield
    run("systemctl", "start", *UNITS)
    wait_for(is_ready)


def test_a_first_boot_makes_users_and_folders():
    """systemd-sysusers and systemd-tmpfiles, from the product's files."""
    for group in ("sinew", "sinew-view", "sinew-agent"):
        assert grp.getgrnam(group)
    assert "nologin" in pwd.getpwnam("sinew-agent").pw_shell
    for path, owner, mode in (("/etc/sinew", "root", 0o755), ("/var/lib/sinew", "root", 0o700),
                              ("/run/sinew", "root", 0o755), ("/run/sinew-agent", "sinew-agent", 0o755),
                              ("/var/lib/sinew-agent", "sinew-agent", 0o700)):
        found = os.stat(path)
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (pwd.getpwnam(owner).pw_uid, mode), path


def test_systemd_has_nothing_to_say_against_the_units():
    assert run("systemd-analyze", "verify", "--man=no", *(f"{unit}.service" for unit in UNITS)) == ""
    said = run("systemd-analyze", "security", "--no-pager", "sinew-agent.service")
    level = re.search(r"exposure level for sinew-agent.service: ([\d.]+)", said)
    with open("/dev/ttyS0", "w", encoding="ascii") as console:
        console.write(f"exposure of sinew-agent, by systemd-analyze security: {level.group(1)} of 10\n")
    assert float(level.group(1)) <= 2.5, said


@pytest.mark.parametrize("unit", UNITS)
def test_it_is_active_and_nobody_complains(unit):
    assert show(unit, "Type") == "notify"
    assert (show(unit, "ActiveState"), show(unit, "SubState"), show(unit, "Result")) == ("active", "running", "success")
    assert show(unit, "NeedDaemonReload") == "no"
    assert "failed" not in run("systemctl", "status", "--no-pager", unit).lower()
    assert "0 loaded units" in run("systemctl", "--failed", "--no-pager")
    loud = journal("--priority=warning", "--quiet")
    assert loud == ""


def test_the_daemon_tells_systemd_what_it_does_and_that_it_lives():
    assert re.fullmatch(r"\d+ programs on /sys/fs/cgroup", show("sinewd", "StatusText"))
    fed = show("sinewd", "WatchdogTimestampMonotonic")
    assert show("sinewd", "WatchdogUSec") == "10s"
    wait_for(lambda: show("sinewd", "WatchdogTimestampMonotonic") != fed)


def test_the_agent_is_a_user_without_capabilities_behind_its_filters():
    pid, user = main_pid("sinew-agent"), pwd.getpwnam("sinew-agent")
    said = status_of(pid)
    assert said["Uid"].split() == [str(user.pw_uid)] * 4 and said["Gid"].split() == [str(user.pw_gid)] * 4
    assert set(map(int, said["Groups"].split())) - {user.pw_gid} == {grp.getgrnam("sinew").gr_gid}
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(said[name], 16) == 0, name
    assert int(said["CapBnd"], 16) == 1 << 10, "CAP_NET_BIND_SERVICE, which nothing can be gained from any more"
    assert said["NoNewPrivs"] == "1" and said["Seccomp"] == "2"
    held = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert not [one for one in held if "bpf" in one or "io_uring" in one], held
    with open(f"/proc/{pid}/limits", encoding="ascii") as f:
        assert re.search(r"^Max core file size +0 +0 ", f.read(), re.MULTILINE)


def test_the_daemon_keeps_three_capabilities():
    said = status_of(main_pid("sinewd"))
    assert int(said["CapEff"], 16) == 1 << 12 | 1 << 38 | 1 << 39, "CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF"
    assert said["NoNewPrivs"] == "1" and said["Seccomp"] == "2"


@pytest.mark.parametrize("path,owner,group", [("/run/sinew/control.sock", "root", "sinew"),
                                              ("/run/sinew/status.sock", "root", "sinew-view"),
                                              ("/run/sinew-agent/agent.sock", "sinew-agent", "sinew")])
def test_a_socket_is_for_its_group_alone(path, owner, group):
    found = os.stat(path)
    assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o660
    assert pwd.getpwuid(found.st_uid).pw_name == owner and grp.getgrgid(found.st_gid).gr_name == group
    words = ("curl", "-sS", "--unix-socket", path, "http://localhost/v1/registries" if "agent" in path
             else "http://localhost/v1/services")
    nobody = {"user": "nobody", "group": "nogroup"}
    assert '"items"' in run(*words, **nobody, extra_groups=[group])
    assert '"items"' not in run(*words, **nobody, extra_groups=[], check=False)


def test_a_service_of_a_folder_is_reached_by_its_address_and_by_name():
    address = wait_for(lambda: address_of("payments"))
    for url in (f"http://{address}/", "http://payments.sinew/", "http://payments.shop.sinew/"):
        assert fetch(url) in ENDS, url
    assert "folder" in run("sinewctl", "get", "registries") and "warn" not in run("sinewctl", "doctor").lower()


def test_a_credential_that_only_root_reads_reaches_the_registry_and_is_seen_nowhere(consul):
    assert fetch("http://cart.sinew:8080/") == CART[0]
    assert {headers["X-Consul-Token"] for _, _, _, headers in consul.requests} == {TOKEN}
    pid = main_pid("sinew-agent")
    for name in ("cmdline", "environ"):
        with open(f"/proc/{pid}/{name}", "rb") as f:
            assert TOKEN.encode() not in f.read(), name
    for words in (("systemctl", "show", "sinew-agent"), ("systemctl", "status", "--no-pager", "--full", "sinew-agent"),
                  ("journalctl", "--no-pager", "--all"), ("sinewctl", "get", "registries", "-o", "json"),
                  ("grep", "-r", TOKEN, "/var/lib/sinew-agent", "/var/lib/sinew", "/run/sinew", "/run/sinew-agent")):
        assert TOKEN not in run(*words, check=False), words
    agent = {"user": "sinew-agent", "group": "sinew-agent", "extra_groups": []}
    assert "Permission denied" in run("cat", TOKEN_FILE, check=False, **agent)
    assert "Permission denied" in run("cat", "/run/credentials/sinew-agent.service/dc1", check=False, user="nobody",
                                      group="nogroup", extra_groups=[])


@contextlib.contextmanager
def web():
    """A unit that listens."""
    run("systemd-run", "--quiet", "--unit=web", "--", "/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.5", "9090")
    yield
    run("systemctl", "stop", "web", check=False)
    run("systemctl", "reset-failed", "web", check=False)


def test_a_unit_that_listens_is_registered_until_it_is_killed_or_the_agent_stops(consul):
    write("/sinew/web.yaml", json.dumps(REGISTRATION))
    run("sinewctl", "apply", "-f", "/sinew/web.yaml")
    for end in (("systemctl", "kill", "--signal=KILL", "web"), ("systemctl", "stop", "sinew-agent")):
        with web():
            wait_for(lambda: consul.names() == {"web 127.0.0.5:9090"})
            assert "web.service" in run("sinewctl", "get", "listeners")
            run(*end)
            wait_for(lambda: consul.names() == set())
        run("systemctl", "start", "sinew-agent")
    run("sinewctl", "delete", "-f", "/sinew/web.yaml")


class Traffic:
    """While inside, a client connects to the service again and again, by its address."""

    def __init__(self, address):
        self.address, self.stopped, self.failed, self.done = address, False, [], 0
        self.thread = threading.Thread(target=self.go, daemon=True)

    def go(self):
        while not self.stopped:
            try:
                client = http.client.HTTPConnection(self.address, timeout=60)
                client.request("GET", "/")
                assert client.getresponse().read().decode() in ENDS
                client.close()
                self.done += 1
            except Exception as error:  # whatever it is, the test tells
                self.failed.append(error)

    def wait_more(self):
        seen = self.done
        wait_for(lambda: self.done > seen + 5 or self.failed)

    def __enter__(self):
        self.thread.start()
        self.wait_more()
        return self

    def __exit__(self, *_):
        self.wait_more()
        self.stopped = True
        self.thread.join(60)


@contextlib.contextmanager
def traffic():
    with Traffic(address_of("payments")) as one:
        yield one
    assert one.failed == [] and one.done > 0


@pytest.mark.parametrize("unit", UNITS)
def test_a_killed_one_is_started_again_and_connects_go_on(unit):
    before = main_pid(unit), int(show(unit, "NRestarts"))
    with traffic() as client:
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: int(show(unit, "NRestarts")) > before[1] and show(unit, "ActiveState") == "active")
        client.wait_more()
    assert main_pid(unit) not in (0, before[0])
    wait_for(is_ready)
    assert fetch("http://payments.sinew/") in ENDS


def test_it_is_started_again_however_often_it_ends_unless_its_settings_are_wrong():
    """systemd gives a unit up that starts five times within ten seconds, unless it is told not to."""
    for unit in UNITS:
        assert (show(unit, "StartLimitIntervalUSec"), show(unit, "RestartPreventExitStatus")) == ("0", "2")


def test_a_daemon_that_hangs_is_killed_and_started_again():
    before = main_pid("sinewd")
    with traffic() as client:
        os.kill(before, signal.SIGSTOP)
        wait_for(lambda: main_pid("sinewd") not in (0, before) and show("sinewd", "ActiveState") == "active")
        client.wait_more()
    assert "Watchdog timeout" in journal()


def test_a_reload_takes_over_settings_without_a_restart():
    before = main_pid("sinewd")
    write("/etc/sinew/sinewd.yaml", "log.level: debug\n")
    run("systemctl", "reload", "sinewd")
    wait_for(lambda: "debug" in run("sinewctl", "config", "show", "--origin"))
    assert main_pid("sinewd") == before
    os.unlink("/etc/sinew/sinewd.yaml")
    run("systemctl", "reload", "sinewd")


@pytest.mark.parametrize("order", [UNITS, UNITS[::-1]], ids=["daemon-first", "agent-first"])
def test_stopped_in_either_order_services_stay_and_all_is_back_at_a_start(order):
    address = address_of("payments")
    with traffic() as client:
        for unit in order:
            run("systemctl", "stop", unit)
            assert (show(unit, "ActiveState"), show(unit, "Result")) == ("inactive", "success")
            client.wait_more()
            if unit == "sinewd" and order[0] == unit:  # names are the agent's
                assert show("sinew-agent", "ActiveState") == "active"
                assert fetch("http://payments.sinew/") in ENDS
        assert not os.path.exists("/run/sinew/control.sock") and not os.path.exists("/run/sinew-agent/agent.sock")
        for unit in order:
            run("systemctl", "start", unit)
            client.wait_more()
        wait_for(is_ready)
    assert address_of("payments") == address and fetch("http://payments.sinew/") in ENDS
    assert {one["state"] for one in ask("/v1/registries")["items"]} == {"ok"}


def test_an_agent_whose_settings_are_wrong_says_where_and_is_not_started_again_and_again():
    path = "/etc/sinew/agent.yaml"
    with open(path, encoding="utf-8") as f:
        good = f.read()
    write(path, good.replace("type: files", "type: flies"))
    with traffic():
        run("systemctl", "restart", "sinew-agent", check=False)
        wait_for(lambda: show("sinew-agent", "ActiveState") == "failed")
        assert (show("sinew-agent", "ExecMainStatus"), show("sinew-agent", "NRestarts")) == ("2", "0")
        assert f"{path}:2:" in journal()
        write(path, good)


def test_after_an_uninstall_the_daemon_stays_away_until_it_is_started():
    assert os.path.isdir("/sys/fs/bpf/sinew")
    run("sinewctl", "uninstall", "--yes")
    wait_for(lambda: show("sinewd", "ActiveState") == "inactive")
    assert show("sinewd", "Result") == "success" and not os.path.exists("/sys/fs/bpf/sinew")
    assert show("sinew-agent", "ActiveState") == "active"
    run("systemctl", "start", "sinewd")
    wait_for(lambda: address_of("payments"))
    wait_for(lambda: fetch("http://payments.sinew/") in ENDS)


def test_the_second_boot_is_told_what_there_was():
    write(f"{KEPT}/addresses", json.dumps({name: address_of(name) for name in ("payments", "cart")}))
