"""The TLS layer of a connection."""

from __future__ import annotations

import ssl
from typing import Any

from loadtest.drive.http.errors import TlsError

RECORD_BYTES = 16 * 1024
"""The largest payload of one TLS record."""


class Tls:
    """The TLS layer of a connection, from memory to memory."""

    def __init__(self, context: ssl.SSLContext, host: str, session: ssl.SSLSession | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host, session=session)

    @property
    def session(self) -> ssl.SSLSession | None:
        """Return the session that a later connection can resume; the server sends it with its first response."""
        return self._object.session

    def do_handshake(self, connected: Any) -> None:
        """Do the handshake over a gevent socket. Raises TlsError or OSError if it fails."""
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                connected.sendall(self._outgoing.read())
                data = connected.recv(RECORD_BYTES)
                if not data:
                    raise TlsError("no connection: closed during the TLS handshake") from None
                self._incoming.write(data)
            else:
                connected.sendall(self._outgoing.read())
                return

    def encrypt(self, data: bytes) -> bytes:
        """Return these bytes as they go over the wire."""
        self._object.write(data)
        return self._outgoing.read()

    def decrypt(self, data: memoryview) -> tuple[bytes, bool]:
        """Return the plain bytes of these from the wire, and whether the server has ended the stream."""
        self._incoming.write(data)
        parts = []
        try:
            while part := self._object.read(RECORD_BYTES):
                parts.append(part)
                # Reading once more, only to get the exception that nothing is left, would cost as much again.
                if not self._incoming.pending and not self._object.pending():
                    return b"".join(parts), False
        except ssl.SSLWantReadError:
            return b"".join(parts), False
        except ssl.SSLZeroReturnError:
            pass
        return b"".join(parts), True
