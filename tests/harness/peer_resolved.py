# SPDX-License-Identifier: GPL-2.0-or-later
"""A real systemd-resolved in a network namespace, its files in a mount namespace of its own.

Before it: peer_server.py; a namespace. After it: tests of names. It has no bus, so resolvectl cannot ask it; its stub answers
at 127.0.0.53 there, as on every host that has it. What a network manager would say of a link is written for it.
"""
import os
import socket

from harness.peer_server import PeerServer, built, in_namespace

USER = 64990
SCRIPT = """set -eu
mount -t tmpfs resolved /run
mkdir -p /run/systemd/resolve /run/systemd/resolved.conf.d /run/systemd/netif/links /run/own
for file in passwd group; do cp /etc/$file /run/own/$file; done
echo "systemd-resolve:x:{user}:{user}::/:/usr/sbin/nologin" >>/run/own/passwd
echo "systemd-resolve:x:{user}:" >>/run/own/group
for file in passwd group; do mount --bind /run/own/$file /etc/$file; done
[ ! -e /etc/systemd ] || mount -t tmpfs resolved /etc/systemd
chown {user}:{user} /run/systemd/resolve
cp {conf} /run/systemd/resolved.conf.d/sinew.conf
cp {links}/* /run/systemd/netif/links/
exec env LD_LIBRARY_PATH={library} {program}
"""


class Resolved(PeerServer):
    """`conf`: a drop-in of resolved.conf; `links`: {index of a link: its DNS server}."""

    PEER = "resolved"
    ADDRESS = "127.0.0.53"

    def __init__(self, sandbox, conf, links=None, **more):
        self.conf, self.links = conf, links or {}
        self.program = built("resolved", "systemd-resolved")
        super().__init__(sandbox, **more)

    def prepare(self):
        conf = self.write("sinew.conf", self.conf)
        links = os.path.join(self.folder, "links")
        os.makedirs(links)
        with open(os.path.join(links, "none"), "w", encoding="ascii"):
            pass
        for index, server in self.links.items():
            with open(os.path.join(links, str(index)), "w", encoding="ascii") as f:
                f.write(f"ADMIN_STATE=configured\nOPER_STATE=routable\nDNS={server}\nDNS_DEFAULT_ROUTE=yes\n")
        self.script = self.write("start", SCRIPT.format(
            user=USER, conf=conf, links=links, program=self.program,
            library=os.path.join(os.path.dirname(self.program), "lib")))

    def command(self):
        return ["unshare", "--mount", "bash", self.script]

    def is_ready(self):
        """Its stub's port is taken."""
        with in_namespace(self.namespace), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            return probe.connect_ex((self.ADDRESS, 53)) == 0
