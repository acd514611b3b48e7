"""The proxy that the environment names for a target, and the tunnel through it."""

from __future__ import annotations

import os

import pytest

from loadtest.drive.http.dialer import MAX_RESPONSE_BYTES, Proxy, proxy_for
from loadtest.drive.http.errors import ProxyError

PLAIN, SECURE = "http://target.invalid/v2/x", "https://target.invalid/v2/x"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


class FakeSocket:
    """A socket whose peer has its response ready, part by part."""

    def __init__(self, *parts: bytes) -> None:
        self.sent = b""
        self._parts = list(parts)

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def recv(self, max_bytes: int) -> bytes:
        return self._parts.pop(0)[:max_bytes] if self._parts else b""


def test_connection_without_a_proxy_is_direct() -> None:
    assert proxy_for(PLAIN) is None
    assert proxy_for(SECURE) is None


def test_each_scheme_has_its_own_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://one.invalid:3128")
    assert proxy_for(PLAIN) == Proxy(("one.invalid", 3128))
    assert proxy_for(SECURE) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://two.invalid:3129")
    assert proxy_for(PLAIN) == Proxy(("one.invalid", 3128))
    assert proxy_for(SECURE) == Proxy(("two.invalid", 3129))


def test_proxy_of_the_scheme_overrides_all_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all.invalid:1080")
    monkeypatch.setenv("HTTPS_PROXY", "http://two.invalid:3129")
    assert proxy_for(PLAIN) == Proxy(("all.invalid", 1080))
    assert proxy_for(SECURE) == Proxy(("two.invalid", 3129))


def test_lower_case_variable_overrides_upper_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://capital.invalid:1")
    monkeypatch.setenv("http_proxy", "http://small.invalid:2")
    assert proxy_for(PLAIN) == Proxy(("small.invalid", 2))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.2.1", "[::1]"])
def test_loopback_is_reached_directly(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all.invalid:1080")
    assert proxy_for(f"http://{host}:8000/v2/x") is None


@pytest.mark.parametrize(
    ("excepted", "direct"),
    [
        ("target.invalid", True),
        ("invalid", True),
        (".invalid", True),
        ("other.invalid, target.invalid", True),
        ("target.invalid:8443", True),
        ("*", True),
        ("target.invalid:9", False),
        ("get.invalid", False),
        ("", False),
    ],
)
def test_no_proxy_targets_are_reached_directly(monkeypatch: pytest.MonkeyPatch, excepted: str, direct: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://two.invalid:3129")
    monkeypatch.setenv("NO_PROXY", excepted)
    assert (proxy_for("https://target.invalid:8443/v2/x") is None) is direct


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("one.invalid:3128", Proxy(("one.invalid", 3128))),
        ("one.invalid", Proxy(("one.invalid", 80))),
        ("http://[fd00::1]:3128/", Proxy(("fd00::1", 3128))),
        # me:pass word, me: and m@e:p:w in base64
        (
            "http://me:pass%20word@one.invalid:1",
            Proxy(("one.invalid", 1), "Proxy-Authorization: Basic bWU6cGFzcyB3b3Jk\r\n"),
        ),
        ("http://me@one.invalid:1", Proxy(("one.invalid", 1), "Proxy-Authorization: Basic bWU6\r\n")),
        ("m%40e:p%3Aw@one.invalid:1", Proxy(("one.invalid", 1), "Proxy-Authorization: Basic bUBlOnA6dw==\r\n")),
    ],
)
def test_proxy_url_may_omit_scheme_port_or_password(monkeypatch: pytest.MonkeyPatch, url: str, proxy: Proxy) -> None:
    monkeypatch.setenv("HTTP_PROXY", url)
    assert proxy_for(PLAIN) == proxy


@pytest.mark.parametrize(("host", "name"), [("target.invalid", "target.invalid"), ("fd00::2", "[fd00::2]")])
def test_tunnel_is_requested_by_host_name_with_credentials(host: str, name: str) -> None:
    wire = FakeSocket(b"HTTP/1.1 200 Connection est", b"ablished\r\nVia: x\r\n\r", b"\n")
    Proxy(("one.invalid", 1), "Proxy-Authorization: Basic bWU6\r\n").open_tunnel(wire, host, 443)
    asked = f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\nProxy-Authorization: Basic bWU6\r\n\r\n"
    assert wire.sent == asked.encode()


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([b"HTTP/1.1 403 Forbidden\r\n\r\n"], "the proxy refused CONNECT: 403 Forbidden"),
        ([b"nonsense\r\n\r\n"], "the proxy refused CONNECT"),
        ([], "the proxy did not answer CONNECT"),
        ([b"HTTP/1.1 200 OK\r\n"], "the proxy did not answer CONNECT"),
        ([b"X" * MAX_RESPONSE_BYTES] * 3, "the proxy did not answer CONNECT"),
    ],
)
def test_refused_tunnel_is_a_proxy_error(parts: list[bytes], error: str) -> None:
    with pytest.raises(ProxyError, match=error):
        Proxy(("one.invalid", 1)).open_tunnel(FakeSocket(*parts), "target.invalid", 443)
