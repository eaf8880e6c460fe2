# SPDX-License-Identifier: GPL-2.0-or-later
"""Datagram sockets in every way that an application may address them.

Before it: raw.py; sandbox.py, in whose children these functions run. After it: tests compare what they say. A way is a
socket's family and the form of address that it is given; Python's own socket module hides some of them, so connect and
sendto go to libc. Must never wait without a limit.
"""
import collections
import ctypes
import os
import socket

from harness import raw
from harness.raw import libc

# A socket, an address as it is given to the socket, and which service address that can be.
WAYS = ("inet", "inet6", "mapped", "inet_on_inet6")
TIMEOUT = 5

Reply = collections.namedtuple("Reply", "server data source peer")


def is_v6(way):
    """Does the way reach IPv6 services? The others reach IPv4 ones."""
    return way == "inet6"


def open_socket(way, timeout=TIMEOUT):
    sock = socket.socket(socket.AF_INET if way == "inet" else socket.AF_INET6, socket.SOCK_DGRAM)
    sock.settimeout(timeout)
    return sock


def sockaddr(way, address, port):
    return raw.sockaddr(address, port, socket.AF_INET if way in ("inet", "inet_on_inet6") else socket.AF_INET6)


def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def connect(sock, way, address, port):
    said = sockaddr(way, address, port)
    checked(libc.connect(sock.fileno(), said, len(said)))


def disconnect(sock):
    """connect() with AF_UNSPEC: no program hears of it."""
    checked(libc.connect(sock.fileno(), raw.UNSPEC, len(raw.UNSPEC)))


def sendto(sock, way, data, address, port, flags=0):
    said = sockaddr(way, address, port)
    return checked(libc.sendto(sock.fileno(), data, len(data), flags, said, len(said)))


def plain(address):
    """(address, port) without the mapped form and without scopes."""
    return raw.plain(address[0]), address[1]


def receive(sock):
    """A reply of serve_udp: its server, what it echoes, whom it claims to be from."""
    data, source = sock.recvfrom(65535)
    server, _, rest = data.partition(b" ")
    return Reply(server.decode(), rest, plain(source), None)


def ask(sock, way, address, port, data=b"?"):
    """One datagram from an unconnected socket, and its reply."""
    sendto(sock, way, data, address, port)
    return receive(sock)


def ask_connected(sock, data=b"?"):
    sock.send(data)
    return receive(sock)._replace(peer=plain(sock.getpeername()))


def ask_once(way, kind, address, port):
    """One exchange over a new socket, "connected" or "unconnected"."""
    with open_socket(way) as sock:
        if kind == "unconnected":
            return ask(sock, way, address, port)
        connect(sock, way, address, port)
        return ask_connected(sock)


def errno_of(function, *args):
    """0, or the errno that it raised."""
    try:
        function(*args)
    except OSError as error:
        return error.errno or -1
    return 0
