# SPDX-License-Identifier: GPL-2.0-or-later
"""Services and servers for tests.

Before it: sandbox.py. After it: tests put the services into a Daemon and reach the servers through them.
"""
import contextlib
import socket
import struct


def service(name, address, endpoints, port=80, protocol="TCP", namespace="test", **spec):
    """A Service object. `endpoints`: (address, port) or (address, port, weight); port None: as the service's;
    or as a manifest has it. `address`: one, a list, or None."""
    ends = []
    for end in endpoints:
        if isinstance(end, dict):
            ends.append(end)
            continue
        ends.append({"address": end[0], **({"port": end[1]} if end[1] else {})})
        if len(end) > 2:
            ends[-1]["weight"] = end[2]
    spec = {"ports": [{"name": "main", "port": port, "protocol": protocol}], "endpoints": ends, **spec}
    if isinstance(address, str):
        spec["address"] = address
    elif address:
        spec["addresses"] = list(address)
    return {"apiVersion": "sinew/v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": spec}


def put(daemon, *objects):
    """Declares objects one by one in source "manifest"."""
    for one in objects:
        kind = "services" if one["kind"] == "Service" else "policies"
        meta = one["metadata"]
        daemon.put(f"/v1/{kind}/{meta.get('namespace', 'default')}/{meta['name']}", one)


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve_tcp(address, port):
    """A server's loop, for Sandbox.spawn: answers each connection with its own address, then closes it."""
    server = socket.socket(family(address), socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen(512)
    yield
    while True:
        client, _ = server.accept()
        with client, contextlib.suppress(ConnectionError):  # whoever resets is not waited for
            client.sendall(address.encode())


def serve_kept(address, port):
    """For Sandbox.spawn: keeps each connection."""
    with socket.socket(family(address)) as server:
        server.bind((address, port))
        server.listen(16)
        yield
        kept = []
        while True:
            kept.append(server.accept()[0])


def serve_udp(address, port):
    """A server's loop, for Sandbox.spawn: answers each datagram with its own address and the datagram."""
    server = socket.socket(family(address), socket.SOCK_DGRAM)
    server.bind((address, port))
    yield
    while True:
        data, client = server.recvfrom(65535)
        server.sendto(address.encode() + b" " + data, client)


def reset_on_close(client):
    """The close of this socket sends a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def ask_tcp(address, port, timeout=5):
    """What a server behind an address answers, and the peer that the client sees."""
    with socket.socket(family(address), socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        client.connect((address, port))
        peer = client.getpeername()[:2]
        data = b""
        while True:
            part = client.recv(4096)
            if not part:
                return data.decode(), peer
            data += part


def ask_tcp_often(address, port, times):
    """{answer: how often}"""
    seen = {}
    for _ in range(times):
        answer, _ = ask_tcp(address, port)
        seen[answer] = seen.get(answer, 0) + 1
    return seen


def connect_errno(address, port, kind=socket.SOCK_STREAM, timeout=5):
    """0, or the errno of connect()."""
    with socket.socket(family(address), kind) as client:
        client.settimeout(timeout)
        try:
            client.connect((address, port))
        except OSError as error:
            return error.errno
    return 0
