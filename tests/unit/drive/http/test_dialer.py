"""Which proxy the environment names for a target, and how a way through it is asked for."""

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


class Wire:
    """A connection whose other side has its answer ready, piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        self.sent = b""
        self._pieces = list(pieces)

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def recv(self, most: int) -> bytes:
        return self._pieces.pop(0)[:most] if self._pieces else b""


def test_without_a_proxy_the_way_is_direct() -> None:
    assert proxy_for(PLAIN) is None
    assert proxy_for(SECURE) is None


def test_each_scheme_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://one.invalid:3128")
    assert proxy_for(PLAIN) == Proxy(("one.invalid", 3128))
    assert proxy_for(SECURE) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://two.invalid:3129")
    assert proxy_for(PLAIN) == Proxy(("one.invalid", 3128))
    assert proxy_for(SECURE) == Proxy(("two.invalid", 3129))


def test_one_for_all_gives_way_to_that_of_the_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all.invalid:1080")
    monkeypatch.setenv("HTTPS_PROXY", "http://two.invalid:3129")
    assert proxy_for(PLAIN) == Proxy(("all.invalid", 1080))
    assert proxy_for(SECURE) == Proxy(("two.invalid", 3129))


def test_small_letters_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://capital.invalid:1")
    monkeypatch.setenv("http_proxy", "http://small.invalid:2")
    assert proxy_for(PLAIN) == Proxy(("small.invalid", 2))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.2.1", "[::1]"])
def test_what_is_on_this_machine_is_reached_directly(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
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
def test_exceptions_are_direct(monkeypatch: pytest.MonkeyPatch, excepted: str, direct: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://two.invalid:3129")
    monkeypatch.setenv("NO_PROXY", excepted)
    assert (proxy_for("https://target.invalid:8443/v2/x") is None) is direct


@pytest.mark.parametrize(
    ("named", "proxy"),
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
def test_a_proxy_is_named_in_several_ways(monkeypatch: pytest.MonkeyPatch, named: str, proxy: Proxy) -> None:
    monkeypatch.setenv("HTTP_PROXY", named)
    assert proxy_for(PLAIN) == proxy


@pytest.mark.parametrize(("host", "name"), [("target.invalid", "target.invalid"), ("fd00::2", "[fd00::2]")])
def test_a_tunnel_is_asked_for_by_name_with_credentials(host: str, name: str) -> None:
    wire = Wire(b"HTTP/1.1 200 Connection est", b"ablished\r\nVia: x\r\n\r", b"\n")
    Proxy(("one.invalid", 1), "Proxy-Authorization: Basic bWU6\r\n").open_tunnel(wire, host, 443)
    asked = f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\nProxy-Authorization: Basic bWU6\r\n\r\n"
    assert wire.sent == asked.encode()


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ([b"HTTP/1.1 403 Forbidden\r\n\r\n"], "the proxy refused CONNECT: 403 Forbidden"),
        ([b"nonsense\r\n\r\n"], "the proxy refused CONNECT"),
        ([], "the proxy did not answer CONNECT"),
        ([b"HTTP/1.1 200 OK\r\n"], "the proxy did not answer CONNECT"),
        ([b"X" * MAX_RESPONSE_BYTES] * 3, "the proxy did not answer CONNECT"),
    ],
)
def test_a_tunnel_that_does_not_come_about_says_why(pieces: list[bytes], error: str) -> None:
    with pytest.raises(ProxyError, match=error):
        Proxy(("one.invalid", 1)).open_tunnel(Wire(*pieces), "target.invalid", 443)
