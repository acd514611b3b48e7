"""Opening connections to the target: through a proxy or directly, with TLS or without."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import gevent
from gevent import socket
from gevent.monkey import get_original

from loadtest.clock import Clock
from loadtest.drive.http.connection import READ_BYTES, Connection, IoBatcher, Tls
from loadtest.drive.http.errors import ConnectTimeout, ProxyError, connect_error
from loadtest.scenario.environment import proxy_url

MAX_RESPONSE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Proxy:
    """A proxy's address, and the header line with its credentials, if any."""

    address: tuple[str, int]
    credentials: str = ""

    def open_tunnel(self, connected: Any, host: str, port: int) -> None:
        """Open a tunnel to a server. Raises ProxyError if the proxy refuses."""
        name = f"[{host}]" if ":" in host else host
        connected.sendall(
            f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n{self.credentials}\r\n".encode("latin-1")
        )
        head = b""
        while b"\r\n\r\n" not in head:
            data = connected.recv(MAX_RESPONSE_BYTES)
            if not data or len(head) > MAX_RESPONSE_BYTES:
                raise ProxyError("the proxy did not answer CONNECT")
            head += data
        words = head.split(b"\r\n", 1)[0].split(None, 2)
        if len(words) < 2 or not words[1].startswith(b"2"):
            raise ProxyError(f"the proxy refused CONNECT: {b' '.join(words[1:]).decode('latin-1')}")


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for requests to this URL; None for this machine and for hosts in NO_PROXY."""
    proxy = proxy_url(url)
    if proxy is None:
        return None
    parts = urlsplit(proxy)
    credentials = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        credentials = f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}\r\n"
    return Proxy((parts.hostname or "", parts.port or 80), credentials)


CONNECT_TIMEOUT_S = 5.0
"""For name, TCP, proxy and TLS together."""


class Dialer:
    """A dialer of one target; new connections resume the TLS `session` that it was given."""

    def __init__(self, target: SplitResult, proxy: Proxy | None, clock: Clock) -> None:
        secure = target.scheme == "https"
        self._host = target.hostname or ""
        self._port = target.port or (443 if secure else 80)
        self._proxy = proxy
        self._context = ssl.create_default_context() if secure else None
        # All connections read into the same memory: each parses what it got before another reads.
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._batcher = IoBatcher(clock)
        self.session: ssl.SSLSession | None = None

    def dial(self) -> Connection:
        """Open a connection. Raises ConnectError if there is none within CONNECT_TIMEOUT_S."""
        try:
            with gevent.Timeout(CONNECT_TIMEOUT_S, ConnectTimeout(f"no connection within {CONNECT_TIMEOUT_S:g} s")):
                return self._connect()
        except OSError as error:
            raise connect_error(error) from None

    def _connect(self) -> Connection:
        address = (self._host, self._port) if self._proxy is None else self._proxy.address
        gevent_socket = socket.create_connection(address)
        try:
            gevent_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls = None
            if self._context is not None:
                if self._proxy is not None:
                    self._proxy.open_tunnel(gevent_socket, self._host, self._port)
                tls = Tls(self._context, self._host, self.session)
                tls.do_handshake(gevent_socket)
            # From here on the loop reads: a plain socket takes over, which switches no greenlet.
            plain = get_original("socket", "socket")(
                gevent_socket.family, gevent_socket.type, gevent_socket.proto, gevent_socket.detach()
            )
        finally:
            gevent_socket.close()
        return Connection(plain, tls, self._buffer, self._batcher)
