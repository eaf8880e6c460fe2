#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""HTTP requests that tell Sinew whether they failed, sinew-report(7).

report.py ADDRESS PORT TIMES [REPORT_SOCKET] prints the status of each.
"""
import contextlib
import http.client
import socket
import struct
import sys

SO_COOKIE = 57
REPORT = "/run/sinew/report.sock"


def tell(sock, failed, path=REPORT):
    """Before the socket is closed: the cookie is the connection's."""
    cookie, = struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))
    message = f"{'failure' if failed else 'success'} {cookie}".encode()
    # Nobody listens, or a full queue: never a reason for a request to fail.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as report:
        report.sendto(message, socket.MSG_DONTWAIT, path)


class ReportingConnection(http.client.HTTPConnection):
    """Like its parent; each answer is reported when its head has come."""

    report = REPORT

    def getresponse(self):
        sock = self.sock  # the parent may let go of it
        try:
            answer = super().getresponse()
        except (http.client.HTTPException, OSError):
            tell(sock, True, self.report)
            raise
        if sock.fileno() >= 0:
            tell(sock, answer.status >= 500, self.report)
        return answer


def main(address, port, times, report=REPORT):
    ReportingConnection.report = report
    for _ in range(int(times)):
        connection = ReportingConnection(address, int(port), timeout=10)
        connection.request("GET", "/")
        print(connection.getresponse().status)
        connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
