# SPDX-License-Identifier: GPL-2.0-or-later
"""The served document drives requests (schemathesis), and every answer has the shape that it promises.

Pitfalls: P-75.
"""
import os
import socket
import subprocess
import sys
import threading

import pytest

from serving import BUILD, Wire, as_list, policy, service

VERSION = "schemathesis>=4.10,<5"
EXAMPLES = "20"
# What the document cannot say: what is an address and what a duration, an address outside the pools is not allowed, a body names what its path names.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 403, 404, 409, 412, 422]

[[operations]]
include-name = "GET /v1/explain"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "POST /v1/services/{namespace}/{name}/endpoints/{endpoint}/drain"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "POST /v1/services/{namespace}/{name}/endpoints/{endpoint}/eject"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "POST /v1/services/{namespace}/{name}/endpoints/{endpoint}/restore"
checks.positive_data_acceptance.enabled = false
"""


def test_the_document_is_openapi_3_1_and_resolves(shared):
    document = shared.get("/v1/openapi.json")
    assert document["openapi"] == "3.1.0" and document["info"]["title"] == "Sinew control API"

    def resolve(value):
        if isinstance(value, dict):
            ref = value.get("$ref")
            if ref:
                at = document
                for part in ref.removeprefix("#/").split("/"):
                    at = at[part]
            for one in value.values():
                resolve(one)
        if isinstance(value, list):
            for one in value:
                resolve(one)
    resolve(document)


class Door:
    """A TCP port of 127.0.0.1 that leads to a unix socket: the generator knows nothing else."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire = Wire(self.path)
            wire.sock.settimeout(None)
            for source, sink in ((client, wire.sock), (wire.sock, client)):
                threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


@pytest.fixture(scope="module")
def schemathesis():
    """The program, from a virtual environment in the build folder, made when it is not there."""
    folder = os.path.abspath(os.path.join(BUILD, "schemathesis"))
    program = os.path.join(folder, "bin", "schemathesis")
    if not os.path.exists(program):
        for command in ([sys.executable, "-m", "venv", folder],
                        [os.path.join(folder, "bin", "pip"), "install", "--quiet", VERSION]):
            try:
                done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
                                      check=False)
                said = (done.stderr or done.stdout).strip().splitlines()[-1:] if done.returncode else None
            except subprocess.TimeoutExpired:
                said = ["no answer within 300 s"]
            if said is not None:
                pytest.skip(f"schemathesis cannot be installed: {' '.join(said)[:300]}")
    return program


def test_requests_made_from_the_document_are_answered_as_it_says(start, schemathesis, tmp_path):
    fake = start(services=20)
    fake.put("/v1/services/shop/payments", service("payments"))
    fake.put("/v1/policies/shop/payments", policy("payments"))
    fake.put("/v1/sources/consul%2Fdc1", as_list(service("a"), policy("b")))
    door = Door(fake.control)
    (tmp_path / "schemathesis.toml").write_text(CONFIG, encoding="utf-8")
    command = [schemathesis, "--config-file", str(tmp_path / "schemathesis.toml"), "run",
               f"http://127.0.0.1:{door.port}/v1/openapi.json", "--exclude-path", "/v1/events", "--exclude-path",
               "/v1/listeners",  # they never end
               "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", "1", "--no-color",
               "--generation-deterministic"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
                              check=False, cwd=tmp_path)
    finally:
        door.close()
    print(done.stdout[-1500:])
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert fake.child.poll() is None


# --- P-75 -------------------------------------------------------------------------------------------

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}


class Shape:
    """As much of JSON Schema as the document uses for answers; `seen` counts the properties that were there."""

    def __init__(self, document):
        self.document, self.seen = document, set()

    def resolve(self, schema):
        while "$ref" in schema:
            at = self.document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                at = at[part]
            schema = at
        return schema

    def check(self, value, schema, where):
        schema = self.resolve(schema)
        for part in schema.get("allOf", []):
            self.check(value, part, where)
        if "type" in schema:
            good = isinstance(value, TYPES[schema["type"]])
            assert good and not (isinstance(value, bool) and schema["type"] != "boolean"), (where, value)
        assert value == schema.get("const", value), (where, value)
        assert value in schema.get("enum", [value]), (where, value)
        if isinstance(value, dict):
            self.check_object(value, schema, where)
        for i, item in enumerate(value if isinstance(value, list) else []):
            self.check(item, schema.get("items", {}), f"{where}/{i}")

    def check_object(self, value, schema, where):
        known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        assert set(schema.get("required", [])) <= set(value), (where, value)
        for name, item in value.items():
            assert name in known or other is not False, f"{where}/{name} is not in the document"
            if name in known:
                self.seen.add(name)
                self.check(item, known[name], f"{where}/{name}")
            elif other is not True:
                self.check(item, other, f"{where}/{name}")


def test_p75_what_is_to_be_seen_is_a_versioned_document_and_not_a_layout_of_maps(start):
    """Others read counters, backends and flows from the status socket, in shapes that the document promises; nobody has
    to open a pinned map."""
    fake = start(services=20)
    fake.put("/v1/policies/shop/payments", policy("payments"))
    fake.put("/v1/services/shop/payments", service("payments", labels={"a": "b"}))
    fake.put("/v1/registrations/shop/payments", {
        "apiVersion": "sinew/v1", "kind": "Registration", "metadata": {"name": "payments", "namespace": "shop"},
        "spec": {"service": "payments", "registry": "dc1", "workload": {"unit": "payments.service"}, "port": 8080,
                 "tags": ["v2"], "meta": {"team": "billing"}, "address": "10.0.0.5"}})
    fake.ask("PUT", "/v1/pods", {"apiVersion": "sinew/v1", "kind": "PodList", "items": [{
        "namespace": "shop", "name": "payments-0", "uid": "0e6ec1f2-6e4e-4c0e-8a6e-0123456789ab",
        "containers": [{"name": "web", "id": "4bf0c1ab" * 8}]}]})
    document = fake.get("/v1/openapi.json")
    shape, asked = Shape(document), 0
    for path, item in document["paths"].items():
        content = item.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if "application/json" not in content:
            continue
        filled = path.replace("{namespace}", "shop").replace("sources/{name}", "sources/manifest")
        filled = filled.replace("{name}", "payments")
        if path == "/v1/explain":
            filled += "?destination=shop/payments:80"
        answer = fake.get(filled)
        shape.check(answer, content["application/json"]["schema"], path)
        assert path in ("/healthz", "/v1/openapi.json") or answer["apiVersion"] == "sinew/v1"
        asked += 1
    assert asked >= 14
    assert {"attempts", "outcomes", "active", "incarnation", "cookie", "ageSeconds", "maps", "programRuns", "node",
            "podName", "containerName", "uid"} <= shape.seen
