"""A look at an endpoint's health between two probes, over the very way that the load goes."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from loadtest.commands.search import MAX_HEALTH_BYTES, unfinished_jobs
from loadtest.errors import RunAborted
from tests.integration.http.conftest import PROXIES, Serve, answering, read_request
from tests.integration.http.test_connections import certificate, tls

__all__ = ["certificate", "tls"]

BODY = b'{"jobs":{"completed":9,"failed":1,"inProgress":2,"inQueue":3,"retried":0},"workers":{"idle":0,"running":2}}'
HEALTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_what_waits_and_what_runs_is_unfinished_and_the_key_is_shown(serve: Serve) -> None:
    heads: list[bytes] = []

    def talk(connection: socket.socket, _: int) -> None:
        heads.append(read_request(connection))
        connection.sendall(HEALTH)

    assert unfinished_jobs(serve(talk).url, "clé") == 5
    assert heads[0].startswith(b"GET /v2/x/health HTTP/1.1\r\n")
    assert b"\r\nauthorization: bearer cl\xe9\r\n" in heads[0].lower()


def test_this_machine_is_reached_directly_and_another_through_the_proxy(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[bytes] = []

    def talk(connection: socket.socket, _: int) -> None:
        heads.append(read_request(connection))
        connection.sendall(HEALTH)

    proxy = serve(talk)
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    assert unfinished_jobs(serve(answering(HEALTH)).url, "k") == 5
    assert heads == []
    assert unfinished_jobs("http://target.invalid/v2/x", "k") == 5
    assert heads[0].startswith(b"GET http://target.invalid/v2/x/health HTTP/1.1\r\n")


def test_the_certificates_of_the_system_are_trusted_and_no_others(
    serve: Serve, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve(answering(HEALTH), tls=tls).url
    with pytest.raises(RunAborted, match="CERTIFICATE_VERIFY_FAILED"):
        unfinished_jobs(url, "k")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert unfinished_jobs(url, "k") == 5


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "refuses the key (401)"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://other.invalid/\r\nContent-Length: 0\r\n\r\n", "HTTP 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "health"),
        (b"", "disconnected"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 2 * MAX_HEALTH_BYTES, "too large"),
    ],
)
def test_what_is_no_health_is_one_line(serve: Serve, answer: bytes, why: str) -> None:
    def talk(connection: socket.socket, _: int) -> None:
        read_request(connection)
        with suppress(ConnectionError):
            connection.sendall(answer)

    with pytest.raises(RunAborted) as raised:
        unfinished_jobs(serve(talk).url, "k")
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


def test_refused_connection_is_one_line() -> None:
    with pytest.raises(RunAborted, match=r"^target: http://127.0.0.1:1/v2/x: .*refused; is it up\?$"):
        unfinished_jobs("http://127.0.0.1:1/v2/x", "k")
