"""Opening connections to the target: through a proxy or directly, with TLS or without."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult

import gevent
from gevent import socket
from gevent.monkey import get_original

from loadtest.clock import SleepingClock
from loadtest.drive.http.connection import READ_BYTES, Connection, IoBatcher
from loadtest.drive.http.errors import ConnectTimeout, ProxyError, connect_error
from loadtest.drive.http.happy_eyeballs import Address, alternate_families, connect, connect_first
from loadtest.drive.http.tls import Tls
from loadtest.protocol.addresses import url_host
from loadtest.scenario.environment import Proxy

MAX_RESPONSE_BYTES = 64 * 1024
MAX_REASON_LENGTH = 200
KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, option), value)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, option)
]
"""A path that is lost is noticed within 25 s, and one that is silent during a long poll is not forgotten."""


def header_lines(headers: Mapping[str, str]) -> str:
    """Return headers as they go over the wire."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def open_tunnel(proxy: Proxy, connected: Any, host: str, port: int) -> None:
    """Open a tunnel through a proxy to a server. Raises ProxyError if the proxy refuses."""
    name = f"{url_host(host)}:{port}"
    connected.sendall(f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n{header_lines(proxy.headers)}\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        data = connected.recv(MAX_RESPONSE_BYTES)
        if not data or len(head) > MAX_RESPONSE_BYTES:
            raise ProxyError(f"the proxy {proxy} did not answer CONNECT")
        head += data
    words = head.split(b"\r\n", 1)[0].split(None, 2)
    if len(words) < 2 or not words[1].startswith(b"2"):
        reason = b" ".join(words[1:]).decode("latin-1")[:MAX_REASON_LENGTH]
        raise ProxyError(f"the proxy {proxy} refused CONNECT: {reason}")


CONNECT_TIMEOUT_S = 5.0
"""For name, TCP, proxy and TLS together."""


class Dialer:
    """A dialer of one target; new connections resume the TLS `session` that it was given."""

    def __init__(self, target: SplitResult, proxy: Proxy | None, clock: SleepingClock) -> None:
        secure = target.scheme == "https"
        self.proxy = proxy
        # A URL escapes the percent sign before the zone of an IPv6 address (RFC 6874).
        self._host = (target.hostname or "").replace("%25", "%")
        self._port = target.port or (443 if secure else 80)
        self._clock = clock
        self._context = ssl.create_default_context() if secure else None
        # All connections read into the same memory: each parses what it got before another reads.
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._batcher = IoBatcher(clock)
        self._last_address: Address | None = None
        self.session: ssl.SSLSession | None = None

    def dial(self) -> Connection:
        """Open a connection. Raises ConnectError if there is none within CONNECT_TIMEOUT_S."""
        through = "" if self.proxy is None else f" through the proxy {self.proxy}"
        timeout = ConnectTimeout(f"no connection{through} within {CONNECT_TIMEOUT_S:g} s")
        try:
            with gevent.Timeout(CONNECT_TIMEOUT_S, timeout):
                return self._open(self._connect())
        except OSError as error:
            raise connect_error(error) from None

    def _connect(self) -> Any:
        """Return a socket connected to the server, or to the proxy, which is named in an error."""
        if self.proxy is None:
            return self._connect_to(self._host, self._port)
        try:
            return self._connect_to(self.proxy.host, self.proxy.port)
        except OSError as error:
            raise ProxyError(f"no connection to the proxy {self.proxy}: {error.strerror or error}") from None

    def _connect_to(self, host: str, port: int) -> Any:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = alternate_families([(family, address) for family, _, _, _, address in found])
        # One that was reached before goes first: a later connection does not wait for those that do not answer.
        addresses.sort(key=lambda each: each != self._last_address)
        self._last_address, connected = connect_first(addresses, connect, self._clock)
        return connected

    def _open(self, connected: Any) -> Connection:
        """Return the connection over this socket, with its tunnel and its TLS layer if it needs them."""
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for level, option, value in KEEPALIVE:
                connected.setsockopt(level, option, value)
            tls = None
            if self._context is not None:
                if self.proxy is not None:
                    open_tunnel(self.proxy, connected, self._host, self._port)
                # A certificate knows neither the zone nor the dot of an absolute name.
                tls = Tls(self._context, self._host.partition("%")[0].rstrip("."), self.session)
                tls.do_handshake(connected)
            # From here on the loop reads: a plain socket takes over, which switches no greenlet.
            plain = get_original("socket", "socket")(
                connected.family, connected.type, connected.proto, connected.detach()
            )
        finally:
            connected.close()
        return Connection(plain, tls, self._buffer, self._batcher)
