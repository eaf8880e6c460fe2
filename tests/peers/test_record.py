# SPDX-License-Identifier: GPL-2.0-or-later
"""What real servers answer can be written down for the corpora of decoders (tests/peers/record)."""
import json
import os
import subprocess

import pytest

from harness.peer_server import is_built

RECORD = os.path.join(os.path.dirname(__file__), "record")
PARTS = {"consul": {"consul-health.json", "consul-services.json"},
         "etcd": {"etcd-range.json", "etcd-watch.stream", "etcd-compacted.stream"},
         "kubernetes": {"kubernetes-slices.json", "kubernetes-watch.stream", "kubernetes-expired.stream", "kubernetes-pods.json",
                        "kubernetes-pods.stream"},
         "eureka": {"eureka-apps.json", "eureka-delta.json"},
         "docker": {"docker-containers.json", "docker-events.stream"}}


@pytest.mark.parametrize("part", PARTS)
def test_answers_are_written_down(part, tmp_path):
    for name in {part, "etcd"} if part == "kubernetes" else {part}:
        if not is_built(name):
            pytest.skip(f"{name} is not built: scripts/test --peers")
    done = subprocess.run([RECORD, str(tmp_path), part], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(found) >= PARTS[part]
    for name in PARTS[part]:
        said = [json.loads(line) for line in found[name].splitlines()] if name.endswith(".stream") else json.loads(found[name])
        assert said, name
    if part == "kubernetes":
        assert b'"code":410' in found["kubernetes-expired.stream"]
        told = [json.loads(line)["type"] for line in found["kubernetes-watch.stream"].splitlines()]
        assert [one for one in told if one != "BOOKMARK"] == ["ADDED", "DELETED"]
        assert b"k8s.io/initial-events-end" in found["kubernetes-list.stream"]
    if part == "etcd":
        assert b'"compact_revision"' in found["etcd-compacted.stream"] and b'"DELETE"' in found["etcd-watch.stream"]
