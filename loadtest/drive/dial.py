"""How a connection to the target comes about: through a proxy or not, with TLS or without."""

from __future__ import annotations

import ssl
from urllib.parse import SplitResult

import gevent
from gevent import socket
from gevent.monkey import get_original

from loadtest.clock import Clock
from loadtest.drive.connection import READ_BYTES, Connection, IoBatcher, Tls
from loadtest.drive.proxy import Proxy
from loadtest.drive.reading import RequestError

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
            with gevent.Timeout(CONNECT_TIMEOUT_S, RequestError(f"no connection within {CONNECT_TIMEOUT_S:g} s")):
                return self._connect()
        except ssl.SSLCertVerificationError as error:
            raise RequestError(f"certificate not trusted: {error.verify_message}") from None
        except OSError as error:
            raise RequestError(f"no connection: {error.strerror or error}") from None

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
