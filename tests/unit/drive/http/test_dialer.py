"""The name that is looked up, and the tunnel through a proxy."""

from __future__ import annotations

from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest

from loadtest.drive.http import dialer
from loadtest.drive.http.dialer import MAX_RESPONSE_BYTES, Dialer, open_tunnel
from loadtest.drive.http.errors import DnsError, ProxyError
from loadtest.drive.timer import GeventClock
from loadtest.scenario.environment import Proxy


class FakeSocket:
    """A socket whose peer has its response ready, part by part."""

    def __init__(self, *parts: bytes) -> None:
        self.sent = b""
        self._parts = list(parts)

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def recv(self, max_bytes: int) -> bytes:
        return self._parts.pop(0)[:max_bytes] if self._parts else b""


@pytest.mark.parametrize(("host", "name"), [("target.invalid", "target.invalid"), ("fd00::2", "[fd00::2]")])
def test_tunnel_is_requested_by_host_name_with_credentials(host: str, name: str) -> None:
    wire = FakeSocket(b"HTTP/1.1 200 Connection est", b"ablished\r\nVia: x\r\n\r", b"\n")
    open_tunnel(Proxy("one.invalid", 1, {"Proxy-Authorization": "Basic bWU6"}), wire, host, 443)
    asked = f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\nProxy-Authorization: Basic bWU6\r\n\r\n"
    assert wire.sent == asked.encode()


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([b"HTTP/1.1 403 Forbidden\r\n\r\n"], "the proxy one.invalid:1 refused CONNECT: 403 Forbidden"),
        ([b"nonsense\r\n\r\n"], "the proxy one.invalid:1 refused CONNECT"),
        ([], "the proxy one.invalid:1 did not answer CONNECT"),
        ([b"HTTP/1.1 200 OK\r\n"], "the proxy one.invalid:1 did not answer CONNECT"),
        ([b"X" * MAX_RESPONSE_BYTES] * 3, "the proxy one.invalid:1 did not answer CONNECT"),
    ],
)
def test_refused_tunnel_is_a_proxy_error(parts: list[bytes], error: str) -> None:
    with pytest.raises(ProxyError, match=error):
        open_tunnel(Proxy("one.invalid", 1), FakeSocket(*parts), "target.invalid", 443)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://[fe80::1%25eth0]:8000/v2/x", ("fe80::1%eth0", 8000)),
        ("https://target.invalid./v2/x", ("target.invalid.", 443)),
        ("http://under_score.invalid/v2/x", ("under_score.invalid", 80)),
    ],
)
def test_host_of_the_url_is_looked_up(monkeypatch: pytest.MonkeyPatch, url: str, asked: tuple[str, int]) -> None:
    looked_up: list[tuple[str, int]] = []

    def getaddrinfo(host: str, port: int, **_: Any) -> NoReturn:
        looked_up.append((host, port))
        raise dialer.socket.gaierror(dialer.socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(dialer.socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(DnsError):
        Dialer(urlsplit(url), None, GeventClock()).dial()
    assert looked_up == [asked]
