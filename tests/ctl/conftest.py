# SPDX-License-Identifier: GPL-2.0-or-later
"""sinewctl as a user types it, against a daemon that a test made up.

Before it: fake.py. After it: test_*.py. Each test has a socket of its own; no daemon, no root, no kernel.
"""
import os
import pty
import select
import shutil
import subprocess
import tempfile
import time

import pytest

import fake as fakes

BUILD = os.path.abspath(os.environ.get("SINEW_BUILD") or
                        os.path.join(os.path.dirname(__file__), "..", "..", "build"))


class Result:
    """What came of one command line."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}--- stderr\n{self.err}---"

    @property
    def lines(self):
        return self.out.splitlines()


class Ctl:
    """Runs sinewctl. `socket` None: none is named in the environment."""

    def __init__(self, socket, folder):
        self.socket, self.folder = socket, folder
        self.program = os.path.join(BUILD, "sinewctl")

    def environment(self, extra):
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": self.folder}
        env["SINEW_AGENT_CONFIG"] = os.path.join(self.folder, "agent.yaml")
        if self.socket:
            env["SINEW_SOCKET"] = env["SINEW_AGENT_SOCKET"] = self.socket
        return {**env, **(extra or {})}

    def __call__(self, *words, text=None, env=None, seconds=20):
        source = {"input": text} if text is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run([self.program, *words], capture_output=True, cwd=self.folder, timeout=seconds,
                              check=False, env=self.environment(env),
                              **{k: v.encode() if isinstance(v, str) else v for k, v in source.items()})
        assert done.returncode >= 0, f"ended by signal {-done.returncode}: {words}"
        return Result(done.returncode, done.stdout.decode("utf-8", "surrogateescape"),
                      done.stderr.decode("utf-8", "surrogateescape"))

    def terminal(self, *words, env=None, seconds=20, answer=None):
        """The same on a terminal of its own: everything that was shown on it."""
        main, side = pty.openpty()
        try:
            child = subprocess.Popen([self.program, *words], stdin=side, stdout=side, stderr=side, cwd=self.folder,
                                     env=self.environment({"TERM": "xterm", **(env or {})}), start_new_session=True)
            os.close(side)
            side = -1
            return Result(*self.converse(child, main, answer, seconds), "")
        finally:
            os.close(main)
            if side >= 0:
                os.close(side)

    @staticmethod
    def converse(child, main, answer, seconds):
        shown, end = b"", time.monotonic() + seconds
        while time.monotonic() < end:
            if answer and answer[0] in shown:
                os.write(main, answer[1])
                answer = None
            if select.select([main], [], [], 0.1)[0]:
                try:
                    piece = os.read(main, 65536)
                except OSError:  # the other side is closed
                    break
                if not piece:
                    break
                shown += piece
        try:
            code = child.wait(timeout=max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
        return code, shown.decode().replace("\r\n", "\n")

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return name


@pytest.fixture
def folder():
    """Short, because a unix socket's name is."""
    made = tempfile.mkdtemp(prefix="sinew-ctl.")
    yield made
    shutil.rmtree(made)


@pytest.fixture
def fake(folder):
    server = fakes.Server(os.path.join(folder, "s"))
    server.on_defaults()
    yield server
    server.close()


@pytest.fixture
def ctl(fake, folder):
    return Ctl(fake.server_address, folder)


@pytest.fixture
def alone(folder):
    """sinewctl without a daemon."""
    return Ctl(os.path.join(folder, "nobody"), folder)
