# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/demo --registry as a person runs it: the demo's scenes, but a real registry says who serves."""
import os
import re
import subprocess

import pytest

from harness.peer_server import is_built
from harness.publisher import KINDS

TREE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.realpath(os.environ.get("SINEW_BUILD") or os.path.join(TREE, "build"))
SCENES = {
    3: r"{kind} \S+ +\S+   is running, and knows a, b and c as \"payments\"",
    4: r"sinew-agent, as user nobody +\S+   agent.yaml has [45678] lines;  payments (\S+):80 -> 3 backends",
    5: r"curl http://\S+/ x400 +\S+   200 OK 400, errors 0; ",
    6: r"b dies, nobody has said so +\S+   400 requests, errors 0;  went on inside connect\(\) \d+; .* ejected for ",
    8: r"kill -9 sinewd under load +\S+   [\d,]+ requests, errors 0, ",
    9: r"remove c +\S+   400 requests, errors 0;  a \d+  b \d+, to c: 0",
    11: r"kill -9 {kind}, back(, empty)? +\S+   400 requests, errors 0;  2 backends of before are kept",
    12: r"what the kernel counted +\S+   attempts [\d,]+ = connected [\d,]+ \+ went on \d+;  p50 \S+ p99 \S+",
}


def run(*words):
    return subprocess.run([os.path.join(TREE, "scripts", "demo"), *words], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, env={**os.environ, "O": BUILD}, timeout=240, check=False)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_demo_with_a_real_registry(kind):
    if not is_built(kind):
        pytest.skip(f"{kind} is not built: scripts/test --peers")
    done = run("--registry", kind)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {int(line[:2]): line for line in done.stdout.splitlines() if re.match(r"[ 1]\d  ", line)}
    assert sorted(lines) == list(range(1, 13)), done.stdout
    for number, pattern in SCENES.items():
        assert re.match(rf"[ 1]\d  {pattern.format(kind=kind)}", lines[number]), lines[number]
    assert "All 12 scenes as expected. Left behind: nothing." in done.stdout


@pytest.mark.parametrize("words", [["--registry"], ["--registry", "zookeeper"], ["--registry", "consul", "x"]])
def test_a_registry_that_there_is_not_is_refused_with_those_there_are(words):
    done = run(*words)
    assert done.returncode == 2
    assert "consul" in done.stderr or "not built" in done.stderr or "--keep" in done.stderr
