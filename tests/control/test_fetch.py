# SPDX-License-Identifier: GPL-2.0-or-later
"""HTTP exchanges of net/ against servers that misbehave, under the sanitizers: what a registry may do to the agent."""
import contextlib
import gzip
import json
import os
import select
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from harness.certificate import Authority

BUILD = os.environ.get("SINEW_BUILD", "build")
PROGRAM = os.path.join(BUILD, "san/tests/control/fetch_one")
HERE = "127.0.0.1"
OK = b"HTTP/1.1 200 OK\r\n"
FORTY = 40 << 20


class Server:
    """Calls serve(socket, request) for each request of each connection, until it says False."""

    def __init__(self, serve, listener=None, wrap=None):
        self.serve, self.wrap = serve, wrap
        self.requests, self.connections = [], 0
        self.listener = listener or socket.create_server((HERE, 0))
        self.port = None if listener else self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                taken, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.handle, args=(taken,), daemon=True).start()

    def handle(self, taken):
        taken.settimeout(20)
        with contextlib.suppress(OSError, ssl.SSLError):
            if self.wrap:
                taken = self.wrap(taken)
            with taken:
                while True:
                    request = self.read(taken)
                    if not request:
                        return
                    self.requests.append(request)
                    if self.serve(taken, request) is False:
                        return

    @staticmethod
    def read(taken):
        data = b""
        while b"\r\n\r\n" not in data:
            more = taken.recv(65536)
            if not more:
                return None
            data += more
        head, body = data.split(b"\r\n\r\n", 1)
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        while len(body) < length:
            body += taken.recv(65536)
        return head + b"\r\n\r\n" + body

    def close(self):
        self.listener.close()

    @property
    def url(self):
        return f"http://{HERE}:{self.port}/"


@pytest.fixture(name="serving")
def make_serving():
    with contextlib.ExitStack() as stack:
        def serving(serve, **more):
            server = Server(serve, **more)
            stack.callback(server.close)
            return server
        yield serving


def answer(body=b"hello", head=b"", status=OK):
    whole = status + b"Content-Length: %d\r\n" % len(body) + head + b"\r\n" + body

    def serve(taken, _):
        taken.sendall(whole)
    return serve


def fetch(*words, seconds=60, environment=None):
    """What the program says, line by line; it must end well, with nothing left open."""
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=seconds, check=False,
                          stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
    assert done.returncode == 0, (done.returncode, done.stdout[-500:], done.stderr[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_answer_with_its_headers(serving):
    server = serving(answer(head=b"X-Consul-Index: 42\r\n"))
    (said,) = fetch("--show", "x-consul-index", "--header", "X-Token: t", server.url)
    assert (said["error"], said["status"], said["body"], said["header"]) == ("", 200, "hello", "42")
    assert b"\r\nX-Token: t\r\n" in server.requests[0]
    assert b"Expect" not in server.requests[0] and b"User-Agent" not in server.requests[0]


def test_connections_are_kept(serving):
    server = serving(answer())
    assert [one["status"] for one in fetch("--times", "5", server.url)] == [200] * 5
    assert (server.connections, len(server.requests)) == (1, 5)


def test_a_connection_that_the_server_closed_meanwhile_is_no_error(serving):
    def once(taken, request):
        answer()(taken, request)
        return False
    server = serving(once)
    assert [one["error"] for one in fetch("--times", "5", server.url)] == [""] * 5


def test_a_kept_connection_that_is_reset_at_the_next_request_is_no_error(serving):
    """The server closes with a request unread, so that its end is a reset."""
    def once(taken, request):
        answer()(taken, request)
        select.select([taken], [], [], 20)
        return False
    server = serving(once)
    assert [one["error"] for one in fetch("--times", "20", server.url)] == [""] * 20
    assert (server.connections, len(server.requests)) == (20, 20)


def test_what_came_before_a_reset_is_the_answer(serving):
    def serve(taken, request):
        answer()(taken, request)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
    assert [one["body"] for one in fetch("--times", "50", serving(serve).url)] == ["hello"] * 50


def test_a_body_is_sent_as_it_is_and_an_empty_one_says_its_length(serving):
    server = serving(answer())
    fetch("--method", "PUT", "--body", '{"a":1}', server.url)
    fetch("--method", "PUT", server.url)
    fetch("--method", "DELETE", server.url)
    assert server.requests[0].endswith(b'\r\n\r\n{"a":1}') and server.requests[0].startswith(b"PUT / HTTP/1.1\r\n")
    assert b"form" not in server.requests[0]
    assert b"Content-Length: 0" in server.requests[1]
    assert server.requests[2].startswith(b"DELETE / ")


def test_a_redirect_is_told_and_the_token_goes_nowhere_else(serving):
    other = serving(answer())
    server = serving(answer(status=b"HTTP/1.1 307 Temporary\r\n", head=b"Location: %s\r\n" % other.url.encode()))
    (said,) = fetch("--header", "X-Consul-Token: secret", server.url)
    assert (said["error"], said["status"]) == ("", 307)
    time.sleep(0.1)
    assert not other.requests


def test_no_proxy_of_the_environment_is_asked(serving):
    proxy, server = serving(answer()), serving(answer())
    for name in ("http_proxy", "ALL_PROXY", "all_proxy"):
        assert fetch(server.url, environment={name: proxy.url, "no_proxy": ""})[0]["status"] == 200
    assert not proxy.requests and len(server.requests) == 3


def test_no_password_file_of_the_user_is_read(serving, tmp_path):
    (tmp_path / ".netrc").write_text("default login me password secret\n")
    server = serving(answer())
    fetch(server.url, environment={"HOME": str(tmp_path)})
    assert b"Authorization" not in server.requests[0]


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "file:///etc/passwd", "http://me:secret@127.0.0.1/", "", "http://",
                                 "http://127.0.0.1/\r\nX: y", "gopher://127.0.0.1/", "127.0.0.1:80"])
def test_a_url_that_is_none_is_refused(url):
    assert fetch(url) == [{"refused": "EINVAL"}]


def test_a_header_or_method_that_would_be_two_is_refused():
    assert fetch("--header", "A: b\r\nX: y", "http://127.0.0.1:1/") == [{"refused": "EINVAL"}]
    assert fetch("--method", "GET / HTTP/1.1\r\nX: y", "http://127.0.0.1:1/") == [{"refused": "EINVAL"}]


def test_nobody_listens_and_no_such_name():
    with socket.create_server((HERE, 0)) as unused:
        port = unused.getsockname()[1]
    (said,) = fetch(f"http://{HERE}:{port}/")
    assert said["error"] == "ECONNREFUSED" and said["text"] and "\n" not in said["text"]
    assert fetch("http://no-such-name.invalid/")[0]["error"] == "EHOSTUNREACH"


def test_silence_ends_it_but_slow_bytes_do_not(serving):
    def slow(taken, _):
        taken.sendall(OK + b"Content-Length: 8\r\n\r\n")
        for _ in range(8):
            time.sleep(0.15)
            taken.sendall(b"x")
    assert fetch("--silence", "600", serving(slow).url)[0]["body"] == "x" * 8
    began = time.monotonic()
    (said,) = fetch("--silence", "300", serving(lambda taken, _: time.sleep(5)).url)
    assert said["error"] == "ETIMEDOUT" and "byte" in said["text"]
    assert 0.25 < time.monotonic() - began < 2


def test_a_byte_a_second_is_ended_by_the_time_of_the_whole(serving):
    def slower(taken, _):
        taken.sendall(OK + b"Content-Length: 100\r\n\r\n")
        for _ in range(50):
            time.sleep(0.1)
            taken.sendall(b"x")
    (said,) = fetch("--timeout", "700", "--silence", "500", serving(slower).url)
    assert said["error"] == "ETIMEDOUT" and said["us"] < 2_000_000


@pytest.mark.parametrize("raw", [
    OK + b"Content-Length: 100\r\n\r\nhalf", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b""])
def test_half_an_answer_is_none(serving, raw):
    def half(taken, _):
        taken.sendall(raw)
        return False
    assert fetch(serving(half).url)[0]["error"] == "ECONNRESET"


@pytest.mark.parametrize("raw", [b"SSH-2.0-OpenSSH\r\n", b"\0\1\2\3" * 64, b"HTTP/9.9 200\r\n\r\n"])
def test_what_is_not_http_is_said_to_be_garbage(serving, raw):
    def garbage(taken, _):
        taken.sendall(raw)
        return False
    assert fetch(serving(garbage).url)[0]["error"] == "EPROTO"


def endless(chunk):
    def serve(taken, _):
        taken.sendall(OK + b"\r\n")
        for _ in range((1 << 30) // len(chunk)):
            taken.sendall(chunk)
        return False
    return serve


def test_a_body_of_a_gibibyte_is_cut_at_the_limit(serving):
    server = serving(endless(b"x" * (1 << 20)))
    (said,) = fetch("--max", str(1 << 20), server.url)
    assert said["error"] == "EMSGSIZE" and said["length"] <= 1 << 20
    (said,) = fetch(server.url)  # 64 MiB is what nobody has to say
    assert said["error"] == "EMSGSIZE" and said["length"] <= 64 << 20


def test_headers_without_end_are_cut(serving):
    def heads(taken, _):
        taken.sendall(OK)
        for n in range(100000):
            taken.sendall(b"X-%d: %s\r\n" % (n, b"y" * 1000))
        return False
    assert fetch(serving(heads).url)[0]["error"] in ("EMSGSIZE", "EPROTO")


def test_gzip_is_unpacked_and_a_bomb_is_cut(serving):
    (said,) = fetch(serving(answer(gzip.compress(b"packed"), b"Content-Encoding: gzip\r\n")).url)
    assert said["body"] == "packed"
    bomb = gzip.compress(bytes(200 << 20), 9)
    (said,) = fetch("--max", str(1 << 20), serving(answer(bomb, b"Content-Encoding: gzip\r\n")).url)
    assert said["error"] == "EMSGSIZE" and said["length"] <= 1 << 20
    (said,) = fetch(serving(answer(b"not packed at all", b"Content-Encoding: gzip\r\n")).url)
    assert said["error"] == "EPROTO"


def test_a_stream_goes_by_and_has_no_total(serving):
    server = serving(answer(bytes(FORTY)))
    (said,) = fetch("--stream", "--max", "1000", server.url)
    assert (said["error"], said["length"], said["streamed"]) == ("", 0, FORTY)


def test_a_stream_that_is_no_2xx_is_kept_and_bounded(serving):
    gone = answer(b'{"code":410}', status=b"HTTP/1.1 410 Gone\r\n")
    (said,) = fetch("--stream", serving(gone).url)
    assert (said["status"], said["body"], said["streamed"]) == (410, '{"code":410}', 0)
    long = answer(bytes(5000), status=b"HTTP/1.1 500 Bad\r\n")
    assert fetch("--stream", "--max", "1000", serving(long).url)[0]["error"] == "EMSGSIZE"


def test_a_stream_is_ended_from_within(serving):
    server = serving(endless(b"x" * 4096))
    (said,) = fetch("--stream", "--fail-after", "10000", server.url)
    assert said["error"] == "EBADMSG"
    first, second = fetch("--stream", "--cancel-after", "10000", "--fail-after", "50000", "--times", "2", server.url)
    assert "cancelled" in first and second["error"] == "EBADMSG"
    (said,) = fetch("--stream", "--cancel-after", "10000", "--close", server.url)
    assert "cancelled" in said


def test_an_exchange_is_cancelled_while_it_waits(serving):
    server = serving(lambda taken, _: time.sleep(3))
    assert fetch("--cancel-ms", "50", "--times", "3", server.url) == [{"cancelled": 0}] * 3


def test_over_a_unix_socket(serving, tmp_path):
    path = str(tmp_path / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    server = serving(answer(), listener=listener)
    assert fetch("--unix", path, "http://docker/_ping")[0]["body"] == "hello"
    assert b"\r\nHost: docker\r\n" in server.requests[0]
    assert fetch("--unix", str(tmp_path / "none"), "http://docker/")[0]["error"] in ("ENOENT", "ECONNREFUSED")


@pytest.fixture(scope="module", name="authority")
def make_authority(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("ca")))


def tls_server(serving, authority, names=("localhost",), days=3, client=False):
    certificate, key = authority.issue(f"server{days}{len(names[0])}", names=names, days=days,
                                       addresses=() if names != ("localhost",) else (HERE,))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.certificate)
    server = serving(answer(), wrap=lambda taken: context.wrap_socket(taken, server_side=True))
    return f"https://{HERE}:{server.port}/"


def test_tls_with_the_right_authority_and_with_no_other(serving, authority, tmp_path):
    url = tls_server(serving, authority)
    assert fetch("--ca", authority.certificate, url)[0]["status"] == 200
    stranger = Authority(str(tmp_path / "other"))
    for words in (["--ca", stranger.certificate], [], ["--ca", str(tmp_path / "missing")]):
        (said,) = fetch(*words, url)
        assert said["error"] == "EKEYREJECTED" and said["text"]


def test_tls_with_another_name_or_an_old_certificate_is_refused(serving, authority):
    for more in ({"names": ("elsewhere.example",)}, {"days": -1}):
        assert fetch("--ca", authority.certificate, tls_server(serving, authority, **more))[0]["error"] == "EKEYREJECTED"


def test_tls_shows_a_client_certificate(serving, authority):
    url = tls_server(serving, authority, client=True)
    certificate, key = authority.issue("client")
    assert fetch("--ca", authority.certificate, "--cert", certificate, "--key", key, url)[0]["status"] == 200
    assert fetch("--ca", authority.certificate, url)[0]["error"] in ("EKEYREJECTED", "ECONNRESET")


def reset(taken):
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    taken.close()


@pytest.mark.parametrize("end", [socket.socket.close, reset])
@pytest.mark.parametrize("said", [b"", b"\x16\x03\x03\x00\x7a\x02\x00"], ids=["nothing", "half"])
def test_a_connection_that_breaks_in_the_handshake_is_no_matter_of_certificates(serving, said, end):
    def leave(taken):
        assert taken.recv(65536)  # the client's hello
        if said:
            taken.sendall(said)
        end(taken)
        raise OSError
    (one,) = fetch(f"https://{HERE}:{serving(None, wrap=leave).port}/")
    assert (one["error"], one["text"]) == ("ECONNRESET", "the connection broke in the TLS handshake")


def test_an_alert_in_the_handshake_is_no_broken_connection(serving):
    def alert(taken):
        assert taken.recv(65536)
        taken.sendall(b"\x15\x03\x03\x00\x02\x02\x28")  # fatal: handshake_failure
        assert taken.recv(65536) == b""
        raise OSError
    (one,) = fetch(f"https://{HERE}:{serving(None, wrap=alert).port}/")
    assert one["error"] == "EKEYREJECTED" and "handshake failure" in one["text"]


def test_a_server_that_wants_a_certificate_of_ours_is_no_broken_connection(serving, authority):
    certificate, key = authority.issue("strict")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.certificate)

    def refuse(taken):
        raw = taken.dup()  # stays open: what is unread at a close would reset the connection, and the alert be lost
        with raw, contextlib.suppress(ssl.SSLError):
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(taken, server_side=True)
            while raw.recv(65536):
                pass
        raise OSError
    (one,) = fetch("--ca", authority.certificate, f"https://{HERE}:{serving(None, wrap=refuse).port}/")
    assert one["error"] == "EKEYREJECTED" and "certificate required" in one["text"]


def test_tls_where_there_is_none(serving):
    server = serving(answer())
    assert fetch(f"https://{HERE}:{server.port}/", "--timeout", "3000")[0]["error"] in ("EKEYREJECTED", "ETIMEDOUT")
