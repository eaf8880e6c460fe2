# SPDX-License-Identifier: GPL-2.0-or-later
"""How real servers are built (tests/peers/build/run), shown with recipes that take no time: once, whole or not at all."""
import os
import shutil
import signal
import subprocess
import time

import pytest

from harness.life import eventually

BUILD = os.path.join(os.path.dirname(__file__), "build")


class Workshop:
    """A copy of the tool with the recipes that a test writes, and a folder for the results."""

    def __init__(self, folder):
        self.recipes = os.path.join(folder, "tree", "tests", "peers", "build")
        self.results = os.path.join(folder, "results")
        os.makedirs(self.recipes)
        for name in ("run", "go.bash"):
            shutil.copy(os.path.join(BUILD, name), self.recipes)

    def write(self, version, recipe):
        os.makedirs(os.path.join(self.recipes, "thing"), exist_ok=True)
        for name, text in (("versions", f"# x\nthing {version} A thing\n"), ("thing/recipe", recipe)):
            with open(os.path.join(self.recipes, name), "w", encoding="ascii") as f:
                f.write(text)

    def start(self, *words, limit=60):
        return subprocess.Popen([os.path.join(self.recipes, "run"), *words], stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env={**os.environ, "SINEW_PEERS_DIR": self.results, "SINEW_PEERS_LIMIT": str(limit)})

    def run(self, *words, **more):
        """(status, what it said)"""
        child = self.start(*words, **more)
        said = child.communicate(timeout=60)[0]
        return child.returncode, said

    def made(self):
        """What of a result is there: {file: text}, without the note about how it was built."""
        folder, found = os.path.join(self.results, "thing"), {}
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            with open(os.path.join(folder, name), encoding="ascii") as f:
                found[name] = f.read()
        found.pop("built", None)
        return found

    def left(self):
        """Whatever is there beside results, logs and the lock."""
        return [name for name in os.listdir(self.results) if not name.endswith(".log") and name not in ("thing", "lock")]


@pytest.fixture
def workshop(tmp_path):
    return Workshop(str(tmp_path))


def test_is_built_once_and_again_when_the_version_or_the_recipe_changes(workshop):
    workshop.write("1.0", 'echo "$VERSION" >"$OUT/program"\n')
    assert workshop.run("--check") == (1, "peer: thing 1.0: missing\n")
    assert workshop.run()[1].startswith("peer: thing 1.0: built in ")
    assert workshop.run() == (0, "peer: thing 1.0: there\n")
    workshop.write("1.1", 'echo "$VERSION" >"$OUT/program"\n')
    assert workshop.run()[1].startswith("peer: thing 1.1: built in ")
    assert workshop.made() == {"program": "1.1\n"}
    workshop.write("1.1", 'echo "new $VERSION" >"$OUT/other"\n')
    assert workshop.run("thing")[0] == 0
    assert workshop.made() == {"other": "new 1.1\n"}
    assert workshop.left() == ["download"]  # others may want it
    workshop.run()
    assert workshop.left() == []


def test_a_recipe_that_fails_leaves_what_was_there(workshop):
    workshop.write("1.0", 'echo old >"$OUT/program"\n')
    workshop.run()
    workshop.write("1.1", 'echo half >"$OUT/program"\necho "no more disk"\nfalse\necho whole >>"$OUT/program"\n')
    status, said = workshop.run()
    assert status == 1
    assert said.startswith("peer: thing 1.1: FAILED after ") and said.endswith(": no more disk\n")
    assert workshop.made() == {"program": "old\n"}


def test_a_recipe_that_fails_once_is_tried_again(workshop):
    workshop.write("1.0", 'mkdir "$CACHE/tried" || echo done >"$OUT/program"\n[[ -e $OUT/program ]]\n')
    assert workshop.run("thing")[0] == 0
    assert workshop.made() == {"program": "done\n"}


def test_a_recipe_that_hangs_is_ended_at_its_limit(workshop):
    workshop.write("1.0", "sleep 1000 &\nwait\n")
    began = time.monotonic()
    status, said = workshop.run(limit=1)
    assert status == 1 and said.endswith(": longer than 1 s\n")
    assert time.monotonic() - began < 20
    assert workshop.made() == {}


def test_one_that_is_ended_ends_its_recipe(workshop):
    workshop.write("1.0", 'echo $$ >"$CACHE/pid"\nsleep 1000 &\necho $! >>"$CACHE/pid"\nwait\n')
    child, path = workshop.start(), os.path.join(workshop.results, "download", "pid")

    def pids():
        with open(path, encoding="ascii") as f:
            return f.read().split()
    assert eventually(lambda: os.path.exists(path) and len(pids()) == 2, seconds=10)
    mine = pids()
    child.send_signal(signal.SIGTERM)
    child.wait(timeout=20)
    assert eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in mine), seconds=10)
    assert workshop.made() == {}


def test_two_at_once_build_once(workshop):
    workshop.write("1.0", 'echo x >>"$CACHE/times"\nsleep 1\ncp "$CACHE/times" "$OUT/"\n')
    both = [workshop.start("thing"), workshop.start("thing")]
    said = sorted(child.communicate(timeout=60)[0].split(" in ")[0].strip() for child in both)
    assert said == ["peer: thing 1.0: built", "peer: thing 1.0: there"]
    assert workshop.made() == {"times": "x\n"}
