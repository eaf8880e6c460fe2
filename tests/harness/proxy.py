# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever may stand between an agent and its registry: a TCP proxy that fails in a chosen way.

Before it: a server that is well. After it: tests of what a broken registry may not do. Listens on loopback of one namespace.
"""
import contextlib
import os
import selectors
import socket
import threading
import time

from harness.peer_server import free_ports, in_namespace

MODES = ("pass", "refuse", "hang", "garbage", "half", "slow", "no-tls")
PLAIN = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


class Proxy:
    """.port goes to `port`. .mode: pass; refuse: closed at once; hang: taken, never answered; garbage: random bytes; half:
    the first 200 bytes of each answer; slow: a byte each second; no-tls: an answer in the clear. Changing it ends all
    connections there are."""

    def __init__(self, port, namespace=None):
        self.target, self.namespace, self.current = port, namespace, "pass"
        self.port, = free_ports(1, namespace)
        self.taken, self.lock, self.closed = set(), threading.Lock(), False
        with in_namespace(namespace):
            self.listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def mode(self):
        return self.current

    @mode.setter
    def mode(self, mode):
        assert mode in MODES
        self.current = mode
        self.cut()

    def cut(self):
        with self.lock:
            for one in self.taken:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.closed = True
        self.listener.close()
        self.cut()

    def accept(self):
        while not self.closed:
            try:
                taken, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.handle, args=(taken, self.current), daemon=True).start()

    def handle(self, taken, mode):
        with self.lock:
            self.taken.add(taken)
        try:
            with contextlib.suppress(OSError):
                self.serve(taken, mode)
        finally:
            with self.lock:
                self.taken.discard(taken)
            taken.close()

    def serve(self, taken, mode):
        if mode == "refuse":
            return
        if mode in ("garbage", "no-tls"):
            taken.recv(65536)
            taken.sendall(os.urandom(5000) if mode == "garbage" else PLAIN)
            return
        if mode == "hang":
            while taken.recv(65536):
                pass
            return
        with in_namespace(self.namespace):
            server = socket.create_connection(("127.0.0.1", self.target), 5)
        with server:
            server.settimeout(None)
            self.carry(taken, server, mode)

    def carry(self, taken, server, mode):
        with selectors.DefaultSelector() as ready:
            ready.register(taken, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, taken)
            while not self.closed:
                for key, _ in ready.select(1):
                    data = key.fileobj.recv(262144)
                    if not data:
                        return
                    if key.fileobj is server and mode == "half":
                        key.data.sendall(data[:200])
                        return
                    if key.fileobj is server and mode == "slow":
                        self.dribble(taken, data)
                        return
                    key.data.sendall(data)

    def dribble(self, taken, data):
        for byte in data[:100]:
            taken.sendall(bytes([byte]))
            time.sleep(1)
            if self.closed:
                return
