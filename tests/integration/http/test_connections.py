"""Connections: how they are opened, kept, and opened again."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from gevent import socket as gevent_socket

from loadtest.drive.http import dialer
from loadtest.drive.timer import GeventClock
from tests.integration.http.conftest import OK, Drive, Serve, answering, read_request

ONE: list[dict[str, Any]] = [{}]


def test_connection_closed_while_idle_is_opened_again(serve: Serve, drive: Drive) -> None:
    def once(connection: socket.socket, _: int) -> None:
        read_request(connection)
        connection.sendall(OK)

    server = serve(once)
    later = {"requests": ONE, "after_s": 0.2}
    assert [got["status"] for [got] in drive(server.url, ONE, later, later)] == [200, 200, 200]
    assert len(server.connections) == 3


def answering_all_but(nth: int, seen: list[bytes]) -> Callable[[socket.socket, int], None]:
    """Take every request, close instead of the response to every n-th, and keep the connection after the others."""

    def talk(connection: socket.socket, _: int) -> None:
        while request := read_request(connection):
            seen.append(request.split()[1].rpartition(b"/")[2])
            if len(seen) % nth == 0:
                return
            connection.sendall(OK)

    return talk


def test_submission_is_sent_once_whatever_closes(serve: Serve, drive: Drive) -> None:
    seen: list[bytes] = []
    server = serve(answering_all_but(5, seen))
    answers = drive(server.url, *([{"path": f"/{round_number}"}] for round_number in range(50)))
    assert seen == [b"%d" % number for number in range(50)]
    closed = [got for [got] in answers if got["status"] == 0]
    assert [got["error_kind"] for got in closed] == ["connection_closed"] * 10


def test_read_is_sent_again_after_a_kept_connection_closed(serve: Serve, drive: Drive) -> None:
    seen: list[bytes] = []
    server = serve(answering_all_but(3, seen))
    answers = drive(server.url, *([{"path": f"/{number}", "method": "GET"}] for number in range(6)))
    assert [got["again"] for [got] in answers] == [False, False, True, False, False, True]


def test_request_without_response_on_a_kept_connection_is_not_repeated(serve: Serve, drive: Drive) -> None:
    seen: list[bytes] = []

    def talk(connection: socket.socket, _: int) -> None:
        seen.append(read_request(connection))
        connection.sendall(OK)
        seen.append(read_request(connection))
        connection.recv(1)

    [[_], [second]] = drive(serve(talk).url, ONE, ONE, response_timeout_s=0.5)
    assert second["error"] == "no whole response in time"
    assert len(seen) == 2


def test_kept_connections_have_keepalive() -> None:
    listener = gevent_socket.create_server(("127.0.0.1", 0))
    opened = dialer.Dialer(urlsplit(f"http://127.0.0.1:{listener.getsockname()[1]}/v2/x"), None, GeventClock()).dial()
    for level, option, value in dialer.KEEPALIVE:
        assert opened._socket.getsockopt(level, option) == value
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in dialer.KEEPALIVE
    opened.close()
    listener.close()


def test_address_that_does_not_answer_is_passed_over(serve: Serve, drive: Drive, black_hole: int) -> None:
    server = serve(answering(OK))
    addresses = [["127.0.0.1", black_hole], ["127.0.0.1", server.port]]
    [[got]] = drive("http://two.invalid/v2/x", ONE, addresses=addresses, connect_timeout_s=3)
    assert (got["status"], got["error"]) == (200, None)


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that answers no attempt to connect, since its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()[1]
        for filler in fillers:
            filler.close()


def test_refused_connection_is_an_error_until_the_server_listens(drive: Drive, tmp_path: Path) -> None:
    refused, listening = tmp_path / "refused", tmp_path / "listening"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def listen_late() -> None:
        while not refused.exists():
            time.sleep(0.01)
        with socket.create_server(("127.0.0.1", port)) as listener:
            listening.touch()
            connection, _ = listener.accept()
            with connection:
                read_request(connection)
                connection.sendall(OK)

    threading.Thread(target=listen_late, daemon=True).start()
    first, second = {"requests": ONE, "then": str(refused)}, {"requests": ONE, "when": str(listening)}
    [[early], [late]] = drive(f"http://127.0.0.1:{port}/v2/x", first, second)
    assert (early["error"], early["error_kind"]) == ("no connection: Connection refused", "connect_error")
    assert late["status"] == 200


def test_server_that_never_accepts_is_a_connect_timeout(drive: Drive, black_hole: int) -> None:
    [[got]] = drive(f"http://127.0.0.1:{black_hole}/v2/x", ONE, connect_timeout_s=0.5)
    assert (got["error"], got["error_kind"]) == ("no connection within 0.5 s", "connect_timeout")
    assert 0.4 < got["took_s"] < 2


def test_ipv6(serve: Serve, drive: Drive) -> None:
    heads: list[bytes] = []

    def talk(connection: socket.socket, _: int) -> None:
        heads.append(read_request(connection))
        connection.sendall(OK)

    server = serve(talk, address="::1")
    [[got]] = drive(server.url, ONE)
    assert got["status"] == 200
    assert f"Host: [::1]:{server.port}\r\n".encode() in heads[0]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost, trusted only if SSL_CERT_FILE names it."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    asked = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,DNS:target.invalid"
    command = ["openssl", *asked.split(), "-addext", names, "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_untrusted_certificate_is_a_tls_error(serve: Serve, drive: Drive, tls: ssl.SSLContext) -> None:
    [[got]] = drive(serve(answering(OK), tls).url, ONE)
    assert (got["error"], got["error_kind"]) == ("certificate not trusted: self-signed certificate", "tls_error")


def test_tls_is_verified_and_its_session_resumed(
    serve: Serve, drive: Drive, tls: ssl.SSLContext, certificate: Path
) -> None:
    reused: list[bool | None] = []

    def talk(connection: socket.socket, _: int) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        reused.append(connection.session_reused)
        while request := read_request(connection):
            connection.sendall(
                OK if b"close" not in request else OK.replace(b"200 OK", b"200 OK\r\nConnection: close")
            )

    server = serve(talk, tls)
    closing = [{"body": "close", "path": "/close"}]
    answers = drive(server.url, ONE, ONE, closing, ONE, env={"SSL_CERT_FILE": str(certificate)})
    assert [got["status"] for [got] in answers] == [200] * 4
    assert reused == [False, True]


def test_20_mb_over_tls(serve: Serve, drive: Drive, tls: ssl.SSLContext, certificate: Path) -> None:
    size = 20 * 10**6
    body = b"[" * size
    server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body), tls)
    [[got]] = drive(server.url, [{"bytes": size}], env={"SSL_CERT_FILE": str(certificate)})
    assert (got["status"], got["bytes"]) == (200, size)
    assert got["took_s"] < 5
