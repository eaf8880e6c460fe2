# SPDX-License-Identifier: GPL-2.0-or-later
"""A resolver whose answers are a function of the test's, over UDP and TCP on one port of loopback.

Before it: dnspython. After it: tests of whatever asks resolvers. Answers what it is told to, however wrong.
"""
import contextlib
import socket
import struct
import threading

import dns.message

HERE = "127.0.0.1"


class Resolver:
    """One that answers as `script(query, over_tcp)` says: bytes, a list of them, or None for silence. Of each question that
    came: (id, source port, over TCP, message)."""

    def __init__(self, script):
        self.script, self.seen = script, []
        while True:
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind((HERE, 0))
            self.port = self.udp.getsockname()[1]
            self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            with contextlib.suppress(OSError):
                self.tcp.bind((HERE, self.port))
                break
        self.tcp.listen(64)
        for loop in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=loop, daemon=True).start()

    def name(self):
        return f"{HERE}:{self.port}"

    def answers(self, wire, port, over_tcp):
        asked = dns.message.from_wire(wire)
        self.seen.append((asked.id, port, over_tcp, asked))
        said = self.script(asked, over_tcp)
        return said if isinstance(said, list) else [] if said is None else [said]

    def serve_udp(self):
        with contextlib.suppress(OSError):
            while True:
                wire, peer = self.udp.recvfrom(65535)
                if not peer:  # closed
                    return
                for one in self.answers(wire, peer[1], False):
                    self.udp.sendto(one, peer)

    def serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                client, peer = self.tcp.accept()
                with client, contextlib.suppress(OSError, struct.error):
                    length, = struct.unpack("!H", client.recv(2, socket.MSG_WAITALL))
                    for one in self.answers(client.recv(length, socket.MSG_WAITALL), peer[1], True):
                        client.sendall(struct.pack("!H", len(one)) + one)

    def close(self):
        for one in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
