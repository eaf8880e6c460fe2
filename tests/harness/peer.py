# SPDX-License-Identifier: GPL-2.0-or-later
"""Real clients of a service: what they need, what they were answered, what the kernel counted meanwhile.

Before it: fixtures.py and service.py. After it: tests/peers. A client is asked for N requests, each a connection of its
own, and prints for each the line "ANSWER PEER": which backend answered, and the peer as that client sees it.
"""
import collections
import http.server
import os
import re
import shutil
import socket
import time

import pytest

IPPROTO_MPTCP = 262
TCP_FASTOPEN = 23


def need(program):
    """Where it is; a test without it is skipped."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        pytest.skip(f"{program} is not installed: scripts/deps peers")
    return path


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the server's own address; the connection ends with the answer."""

    def do_GET(self):
        body = self.server.server_address[0].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True

    def server_bind(self):  # the one of HTTPServer asks DNS for its own name
        self.socket.bind(self.server_address)
        self.socket.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 64)


def serve_http(address, port, protocol=0):
    """A server's loop, for Sandbox.spawn. `protocol`: 0 or IPPROTO_MPTCP."""
    server = Server((address, port), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, protocol)
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.server_bind()
    server.server_activate()
    yield
    server.serve_forever()


class Ledger:
    """What the kernel counted for a service between the two ends of a `with`."""

    def __init__(self, daemon, name, namespace="test"):
        self.daemon = daemon
        self.path = f"/v1/services/{namespace}/{name}"

    def read(self):
        status = self.daemon.get(self.path)["status"]
        counted = collections.Counter(attempts=status["traffic"]["attempts"])
        counted.update(status["traffic"]["outcomes"])
        for end in status["endpoints"]:
            counted[end["address"]] += end["outcomes"]["connected"]
        return counted

    def __enter__(self):
        self.before = self.read()
        return self

    def __exit__(self, *_):
        end = time.monotonic() + 3  # the last close may be a moment behind its client
        while self.daemon.get(self.path)["status"]["traffic"]["active"] and time.monotonic() < end:
            time.sleep(0.02)
        self.counted = self.read()
        self.counted.subtract(self.before)
        self.counted = {name: n for name, n in self.counted.items() if n}


def normal(peer):
    """10.96.0.10:80 and [fd00:96::10]:80 as (address, port)."""
    match = re.fullmatch(r"\[?([0-9a-fA-F.:]+?)\]?:(\d+)", peer)
    return (match.group(1), int(match.group(2))) if match else peer


def check(said, ledger, times, backends, peer=None):
    """Each request answered, by a backend of the service, by all of them; seen from `peer`; each counted once, for the
    backend that answered."""
    lines = [line.split() for line in said.splitlines() if line.strip()]
    assert len(lines) == times, said
    answers = collections.Counter(line[0] for line in lines)
    assert sorted(answers) == sorted(backends)
    if peer:
        assert {normal(line[1]) for line in lines} == {peer}
    assert ledger.counted == {"attempts": times, "connected": times, **answers}
