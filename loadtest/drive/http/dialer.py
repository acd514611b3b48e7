"""How a connection to the target comes about: through a proxy or not, with TLS or without."""

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
from loadtest.scenario.proxies import proxy_url

MAX_RESPONSE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Proxy:
    """Where a proxy listens, and the header line that it wants, if any."""

    address: tuple[str, int]
    credentials: str = ""

    def open_tunnel(self, connected: Any, host: str, port: int) -> None:
        """Ask for a way through to a server; NoAnswer where the proxy refuses."""
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
    """The proxy that requests to this URL go through; none for what is on this machine or in NO_PROXY."""
    named = proxy_url(url)
    if named is None:
        return None
    where = urlsplit(named)
    credentials = ""
    if where.username is not None:
        pair = f"{unquote(where.username)}:{unquote(where.password or '')}".encode()
        credentials = f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}\r\n"
    return Proxy((where.hostname or "", where.port or 80), credentials)


CONNECT_TIMEOUT_S = 5.0
"""For all of it: name, TCP, proxy and TLS."""


class Dialer:
    """Opens connections to one target; a TLS session that it has been given is taken up by those to come."""

    def __init__(self, target: SplitResult, proxy: Proxy | None, clock: Clock) -> None:
        secure = target.scheme == "https"
        self._host = target.hostname or ""
        self._port = target.port or (443 if secure else 80)
        self._proxy = proxy
        self._context = ssl.create_default_context() if secure else None
        # All connections read into the same memory: each hands on what it got before another may read.
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._batcher = IoBatcher(clock)
        self.session: ssl.SSLSession | None = None

    def dial(self) -> Connection:
        """A new connection; NoAnswer where none comes about within CONNECT_WITHIN_S."""
        try:
            with gevent.Timeout(CONNECT_TIMEOUT_S, ConnectTimeout(f"no connection within {CONNECT_TIMEOUT_S:g} s")):
                return self._connect()
        except OSError as error:
            raise connect_error(error) from None

    def _connect(self) -> Connection:
        address = (self._host, self._port) if self._proxy is None else self._proxy.address
        waiting = socket.create_connection(address)
        try:
            waiting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls = None
            if self._context is not None:
                if self._proxy is not None:
                    self._proxy.open_tunnel(waiting, self._host, self._port)
                tls = Tls(self._context, self._host, self.session)
                tls.do_handshake(waiting)
            # From here on the loop reads: a socket that neither blocks nor waits takes over.
            plain = get_original("socket", "socket")(waiting.family, waiting.type, waiting.proto, waiting.detach())
        finally:
            waiting.close()
        return Connection(plain, tls, self._buffer, self._batcher)
