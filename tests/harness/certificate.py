# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys and certificates for servers under test, made by openssl: an authority, and what it signs.

Before it: a folder. After it: peer_*.py hand the files to servers and clients. All are EC keys that end after a few days;
they must never be used for anything but loopback.
"""
import os
import ssl
import subprocess


class Authority:
    """A certificate authority of its own in `folder`; .certificate is the file that clients trust."""

    def __init__(self, folder, name="test"):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.certificate, self.key = os.path.join(folder, "ca.crt"), os.path.join(folder, "ca.key")
        self.make_key(self.key)
        self.openssl("req", "-x509", "-new", "-key", self.key, "-out", self.certificate, "-days", "3",
                     "-subj", f"/CN=authority of {name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    @staticmethod
    def openssl(*words):
        subprocess.run(["openssl", *words], stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)

    def make_key(self, path):
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)

    def issue(self, name, subject=None, names=("localhost",), addresses=("127.0.0.1", "::1"), days=3):
        """(certificate, key) files NAME.crt and NAME.key, for a server and for a client. `subject` is as openssl takes
        it, /O=group/CN=user. A negative number of days makes one that has ended."""
        key, request = os.path.join(self.folder, f"{name}.key"), os.path.join(self.folder, f"{name}.csr")
        certificate, extensions = os.path.join(self.folder, f"{name}.crt"), os.path.join(self.folder, f"{name}.ext")
        self.make_key(key)
        self.openssl("req", "-new", "-key", key, "-out", request, "-subj", subject or f"/CN={name}")
        who = [f"DNS:{one}" for one in names] + [f"IP:{one}" for one in addresses]
        with open(extensions, "w", encoding="ascii") as f:
            # All that a strict client asks for (Python from 3.13 on).
            f.write("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                    "extendedKeyUsage=serverAuth,clientAuth\nsubjectKeyIdentifier=hash\n"
                    "authorityKeyIdentifier=keyid\nsubjectAltName=" + ",".join(who) + "\n")
        self.openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                     "-out", certificate, "-days", str(days), "-extfile", extensions)
        return certificate, key

    def context(self, pair=None):
        """What a client of Python uses: trusts this authority alone, shows `pair` if given."""
        context = ssl.create_default_context(cafile=self.certificate)
        if pair:
            context.load_cert_chain(*pair)
        return context
