# SPDX-License-Identifier: GPL-2.0-or-later
"""Where tests and the bench happen: namespaces, cgroups and processes that vanish with the run.

Before it: root. After it: tests put clients, servers and a sinewd (daemon.py) into it. Nothing has a name outside: network
namespaces live as long as a process in them, mounts are private, every child is killed by the kernel when the
run ends, however it ends; what they started, when it ends by itself. A kill -9 can leave cgroup folders and
files; the next run removes those of dead runs.
"""
import contextlib
import ctypes
import glob
import os
import pickle
import platform
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import traceback

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}
BPF_PROG_GET_FD_BY_ID, BPF_ENABLE_STATS = 13, 32
BACKENDS = ("10.1.0.1", "10.1.0.2", "10.1.0.3")
VIPS = "10.96.0.0/12"

libc = ctypes.CDLL(None, use_errno=True)


class SandboxError(Exception):
    """What makes a run impossible; its text says what to do."""


def check_call(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def bpf(command, attributes):
    """The bpf system call with attributes given as bytes; returns a descriptor."""
    number = BPF_SYSCALL.get(platform.machine())
    if number is None:
        raise SandboxError(f"the number of the bpf system call on {platform.machine()} is not known here")
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    return check_call(libc.syscall(number, command, buffer, 128), f"bpf({command})")


@contextlib.contextmanager
def bpf_stats():
    """While inside, the kernel times its BPF programs; it stops by itself should we die."""
    fd = bpf(BPF_ENABLE_STATS, b"\0" * 4)
    try:
        yield
    finally:
        os.close(fd)


def shortened(text):
    """The last lines that a program said, each cut, on one line."""
    return " | ".join(line[:200] for line in text.strip().split("\n")[-4:])


class Namespace:
    """A network namespace: loopback with backend addresses, and no way out."""

    def __init__(self, sandbox, route_vips=False, addresses=BACKENDS):
        self.sandbox = sandbox
        self.keeper = sandbox.start(["sleep", "infinity"], unshare=True)
        self.fd = os.open(f"/proc/{self.keeper.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.run(["ip", "link", "set", "lo", "up"])
        for address in addresses:
            length = 128 if ":" in address else 32
            self.run(["ip", "address", "add", f"{address}/{length}", "dev", "lo",
                      *(["nodad"] if length == 128 else [])])
        if route_vips:
            # Address translation happens after the route was found, so there must be one.
            self.run(["ip", "route", "add", VIPS, "dev", "lo", "src", addresses[0]])
        self.run(["sysctl", "-qw", "net.ipv4.ip_local_port_range=10000 65000", "net.ipv4.tcp_tw_reuse=1"])

    def run(self, command, text=None):
        self.sandbox.run(command, namespace=self, text=text)


class Sandbox:
    """Everything that one run makes. A context manager; leaving it removes all of it."""

    def __init__(self, name, housekeeping=None, cpu=None):
        self.prefix = f"sinew-{name}."  # of cgroups and folders; then the run's process id
        self.cpu = cpu  # of what is measured
        self.housekeeping = housekeeping  # the CPU of everything that is given no other; None: any
        self.children = []
        self.spawned = []
        self.fds = []
        self.cgroup_root = None

    def __enter__(self):
        if os.geteuid() != 0:
            raise SandboxError("a sandbox makes namespaces and cgroups and loads programs: run it as root")
        self.tmp = tempfile.mkdtemp(prefix=f"{self.prefix}{os.getpid()}.")
        try:
            self.make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def make(self):
        os.chmod(self.tmp, 0o755)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        check_call(libc.unshare(CLONE_NEWNS), "unshare")
        check_call(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "make mounts private")
        self.bpffs = os.path.join(self.tmp, "bpffs")
        os.mkdir(self.bpffs)
        check_call(libc.mount(b"bpf", self.bpffs.encode(), b"bpf", 0, None), "mount bpffs")
        self.cgroup_top = self.find_cgroup2()
        self.remove_left()
        self.cgroup_root = os.path.join(self.cgroup_top, f"{self.prefix}{os.getpid()}")
        os.mkdir(self.cgroup_root)
        if self.housekeeping is not None:
            os.sched_setaffinity(0, {self.housekeeping})

    def __exit__(self, *_):
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_number, signal.SIG_IGN)
        for child in reversed(self.children):
            if child.poll() is None:
                child.kill()
        for child in self.children:
            child.wait()
        for pid in list(self.spawned):
            self.end(pid)
        self.end_orphans()
        libc.umount2(os.path.join(self.tmp, "bpffs").encode(), 2)
        if self.cgroup_root:
            self.remove_cgroups(self.cgroup_root)
        shutil.rmtree(self.tmp, ignore_errors=True)

    @staticmethod
    def end_orphans():
        """What our children had started became ours when they ended."""
        me = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
        for _ in range(100):
            with open(me, encoding="ascii") as f:
                orphans = [int(pid) for pid in f.read().split()]
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
            if not orphans:
                return

    @staticmethod
    def find_cgroup2():
        with open("/proc/mounts", encoding="utf-8") as mounts:
            for line in mounts:
                fields = line.split()
                if fields[2] == "cgroup2":
                    return fields[1]
        raise SandboxError("no cgroup v2 is mounted on this host")

    def remove_left(self):
        """Of runs that were killed: their cgroups and files. Their processes and mounts went with them."""
        for path in glob.glob(os.path.join(self.cgroup_top, f"{self.prefix}*")) + \
                glob.glob(os.path.join(tempfile.gettempdir(), f"{self.prefix}*")):
            pid = os.path.basename(path)[len(self.prefix):].split(".")[0]
            if not pid.isdigit() or os.path.exists(f"/proc/{pid}"):
                continue
            if path.startswith(self.cgroup_top):
                self.remove_cgroups(path)
            else:
                shutil.rmtree(path, ignore_errors=True)

    @staticmethod
    def remove_cgroups(root):
        """Folders below first. A process that was just killed may still be leaving: bounded patience."""
        for folder, _, _ in os.walk(root, topdown=False):
            for _ in range(50):
                try:
                    os.rmdir(folder)
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)

    def cgroup(self, name):
        path = os.path.join(self.cgroup_root, name)
        os.mkdir(path)
        return path

    def path(self, name):
        return os.path.join(self.tmp, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def entering(self, namespace, cgroup, cpu, unshare):
        """What a child does before it becomes its program."""
        def enter():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which ends its children
            if cpu is not None or self.housekeeping is not None:
                os.sched_setaffinity(0, {self.housekeeping if cpu is None else cpu})
            if cgroup:
                with open(os.path.join(cgroup, "cgroup.procs"), "w", encoding="ascii") as f:
                    f.write("0")
            if unshare:
                check_call(libc.unshare(CLONE_NEWNET), "unshare")
            if namespace:
                check_call(libc.setns(namespace.fd, CLONE_NEWNET), "setns")
        return enter

    def run(self, command, namespace=None, cgroup=None, cpu=None, text=None, seconds=120):
        """Standard output of a program that must succeed."""
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=seconds, check=False,
                              preexec_fn=self.entering(namespace, cgroup, cpu, False))
        if done.returncode != 0:
            said = shortened(done.stderr or done.stdout)
            raise SandboxError(f"{os.path.basename(command[0])} {' '.join(command[1:4])}: "
                             f"ended with {done.returncode}: {said}")
        return done.stdout

    def start(self, command, namespace=None, cgroup=None, cpu=None, text=None, unshare=False, env=None):
        """A program that runs until the end of the run. Its standard error goes to a file in the sandbox."""
        with open(self.path(f"{len(self.children)}.{os.path.basename(command[0])}.log"), "wb") as log:
            child = subprocess.Popen(command, stdin=subprocess.PIPE if text is not None else subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, stderr=log, env=env,
                                     preexec_fn=self.entering(namespace, cgroup, cpu, unshare))
        child.log = log.name
        self.children.append(child)
        if text is not None:
            with contextlib.suppress(BrokenPipeError), child.stdin:  # it has ended: whoever waits for it tells why
                child.stdin.write(text.encode())
        return child

    def start_ready(self, command, seconds=20, **where):
        """Starts a program and waits for its line "ready"."""
        child = self.start(command, **where)
        if not select.select([child.stdout], [], [], seconds)[0] or child.stdout.readline() != b"ready\n":
            raise SandboxError(f"{os.path.basename(command[0])} did not start: {self.said(child)}")
        return child

    @staticmethod
    def said(child):
        with open(child.log, encoding="utf-8", errors="replace") as f:
            return shortened(f.read()) or "it said nothing"

    def start_notifying(self, command, seconds=60, **where):
        """Starts a program that speaks sd_notify and waits for READY=1."""
        path = self.path(f"notify.{len(self.children)}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.bind(path)
            notify.settimeout(0.2)
            child = self.start(command, env={**os.environ, "NOTIFY_SOCKET": path}, **where)
            end = time.monotonic() + seconds
            while time.monotonic() < end and child.poll() is None:
                with contextlib.suppress(socket.timeout):
                    if b"READY=1" in notify.recv(4096).split(b"\n"):
                        return child
        raise SandboxError(f"{os.path.basename(command[0])} did not become ready: {self.said(child)}")

    def call(self, function, *args, namespace=None, cgroup=None, seconds=60):
        """What function(*args) returns (or raises) in a child process in that place."""
        enter = self.entering(namespace, cgroup, None, False)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            try:
                enter()
                said = (True, function(*args))
            except BaseException as error:  # pylint: disable=broad-except
                said = (False, (error, traceback.format_exc()))
            try:
                text = pickle.dumps(said)
            except Exception:  # pylint: disable=broad-except
                text = pickle.dumps((False, (SandboxError("no way to hand this over"), repr(said))))
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(text)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            ready = select.select([pipe], [], [], seconds)[0]
            if not ready:
                os.kill(pid, signal.SIGKILL)
            text = pipe.read()
        os.waitpid(pid, 0)
        if not ready or not text:
            raise SandboxError(f"{function.__name__} in the sandbox: " +
                               ("ended without a word" if ready else f"not done after {seconds} s"))
        good, value = pickle.loads(text)
        if good:
            return value
        error, trace = value
        raise error from SandboxError(trace)

    def spawn(self, function, *args, namespace=None, cgroup=None, seconds=20):
        """Runs a generator function in a child process until the end of the sandbox: what it does before its first
        `yield` is done when this returns. The process id."""
        enter = self.entering(namespace, cgroup, None, False)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            try:
                enter()
                loop = function(*args)
                next(loop)
                os.write(writing, b"1")
                os.close(writing)
                next(loop, None)
            except BaseException:  # pylint: disable=broad-except
                os.write(2, traceback.format_exc().encode())
            os._exit(0)
        os.close(writing)
        self.spawned.append(pid)
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            if not select.select([pipe], [], [], seconds)[0] or not pipe.read(1):
                raise SandboxError(f"{function.__name__} did not start in the sandbox")
        return pid

    def end(self, pid):
        """Ends a process that spawn() started."""
        self.spawned.remove(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def open_program(self, number):
        """A descriptor of a loaded program, to read its times by."""
        fd = bpf(BPF_PROG_GET_FD_BY_ID, int(number).to_bytes(4, "little"))
        self.fds.append(fd)
        return fd


def program_time(fd):
    """(nanoseconds, runs) of a program since it was loaded, as far as they were counted."""
    fields = {}
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as f:
        for line in f:
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    return int(fields.get("run_time_ns", 0)), int(fields.get("run_cnt", 0))
