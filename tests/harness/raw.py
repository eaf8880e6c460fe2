# SPDX-License-Identifier: GPL-2.0-or-later
"""Socket calls as C makes them: addresses as bytes, results as errno, no retry behind one's back.

Before it: a socket of Python. After it: tables of tests that name errno values. Python repeats calls that a
signal interrupted and cannot give an address of one family to a socket of another.
"""
import ctypes
import errno
import os
import select
import socket
import struct

libc = ctypes.CDLL(None, use_errno=True)

IPPROTO_MPTCP, IPPROTO_UDPLITE = 262, 136
MSG_FASTOPEN, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT = 0x20000000, 23, 30
TCP_SYNCNT, TCP_USER_TIMEOUT = 7, 18
UNSPEC = struct.pack("=H14x", socket.AF_UNSPEC)


def sockaddr(address, port, family=None):
    """The bytes of a sockaddr; `family` AF_INET6 with an IPv4 address gives the mapped one."""
    family = family or (socket.AF_INET6 if ":" in address else socket.AF_INET)
    if family == socket.AF_INET:
        return struct.pack("=H", family) + struct.pack("!H", port) + socket.inet_aton(address) + bytes(8)
    if ":" not in address:
        address = "::ffff:" + address
    return struct.pack("=H", family) + struct.pack("!HI", port, 0) + socket.inet_pton(family, address) + bytes(4)


def connect(sock, address_bytes):
    """0 or the errno of one call of connect(2)."""
    buffer = ctypes.create_string_buffer(address_bytes, len(address_bytes))
    return 0 if libc.connect(sock.fileno(), buffer, len(address_bytes)) == 0 else ctypes.get_errno()


def finish(sock, seconds=5):
    """Waits for a non-blocking connect; its errno."""
    if not select.select([], [sock], [], seconds)[1]:
        return errno.EINPROGRESS
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def plain(address):
    """An address without the mapped form's prefix."""
    return address.removeprefix("::ffff:")


def peer(sock):
    """(address, port) as getpeername() tells it, or the errno."""
    try:
        return sock.getpeername()[:2]
    except OSError as error:
        return error.errno


def read_all(sock, seconds=5):
    """What the peer sends until it closes."""
    sock.settimeout(seconds)
    said = b""
    while True:
        part = sock.recv(4096)
        if not part:
            return said
        said += part


def ask(family, address_bytes, kind=socket.SOCK_STREAM, protocol=0, options=()):
    """Connects a new socket and reads what is said to it: {"errno", "peer", "backend"}."""
    with socket.socket(family, kind, protocol) as sock:
        for level, name, value in options:
            sock.setsockopt(level, name, value)
        number = connect(sock, address_bytes)
        if number:
            return {"errno": number, "peer": None, "backend": None}
        seen = peer(sock)
        return {"errno": 0, "peer": seen, "backend": read_all(sock).decode()}


def move(cgroup):
    """Puts this process into a cgroup."""
    with open(os.path.join(cgroup, "cgroup.procs"), "w", encoding="ascii") as f:
        f.write("0")
