# SPDX-License-Identifier: GPL-2.0-or-later
"""A unix socket that leads to another, of a sinewd say, and fails in a chosen way.

Before it: a server that is well. After it: tests of what a client makes of a lost request, or of a lost answer.
"""
import contextlib
import os
import socket
import threading

MODES = ("pass", "away", "lost", "half", "busy")
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Door:
    """.path leads to `target`. .mode: pass; away: closed at once; lost: what is asked is done, and the answer never comes;
    half: 20 bytes of it do; busy: 503, and nothing is done. Changing it ends all connections there are. `asked`: what clients
    have sent since."""

    def __init__(self, path, target):
        self.path, self.target, self.current, self.asked = path, target, "pass", b""
        self.taken, self.lock = set(), threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def mode(self):
        return self.current

    @mode.setter
    def mode(self, mode):
        assert mode in MODES
        self.current = mode
        self.cut()
        with self.lock:
            self.asked = b""

    def cut(self):
        with self.lock:
            for one in self.taken:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        os.unlink(self.path)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                taken, _ = self.listener.accept()
                threading.Thread(target=self.handle, args=(taken, self.current), daemon=True).start()

    def handle(self, client, mode):
        server = socket.socket(socket.AF_UNIX)
        with self.lock:
            self.taken |= {client, server}
        try:
            with contextlib.suppress(OSError):
                self.serve(client, server, mode)
        finally:
            with self.lock:
                self.taken -= {client, server}
            for one in (client, server):  # a thread that still reads one would keep it open
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def serve(self, client, server, mode):
        if mode == "away":
            return
        if mode == "busy":
            self.take(client)
            client.sendall(BUSY)
            return
        server.connect(self.target)
        threading.Thread(target=self.forward, args=(client, server), daemon=True).start()
        while True:
            answer = server.recv(65536)
            if mode != "pass":
                client.sendall(answer[:20] if mode == "half" else b"")
                return
            if not answer:
                return
            client.sendall(answer)

    def take(self, client):
        data = client.recv(65536)
        with self.lock:
            if self.mode != "pass":
                self.asked += data
        return data

    def forward(self, client, server):
        with contextlib.suppress(OSError):
            data = b"x"
            while data:
                data = self.take(client)
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
