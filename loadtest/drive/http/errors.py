"""The errors of a request that got no whole response. Each class has the kind that its sample records."""

from __future__ import annotations

import socket
import ssl
from typing import ClassVar

from loadtest.record.sample import ErrorKind


class RequestError(Exception):
    """The root of the tree; the text says what happened."""

    kind: ClassVar[ErrorKind]


class ConnectError(RequestError):
    """No connection to the target or its proxy."""

    kind = ErrorKind.CONNECT_ERROR


class ConnectTimeout(ConnectError):
    """No connection in time."""

    kind = ErrorKind.CONNECT_TIMEOUT


class DnsError(ConnectError):
    """A host name that was not resolved."""

    kind = ErrorKind.DNS_ERROR


class ProxyError(ConnectError):
    """A proxy that opened no tunnel."""

    kind = ErrorKind.PROXY_ERROR


class TlsError(ConnectError):
    """A failed handshake, or a certificate that is not trusted."""

    kind = ErrorKind.TLS_ERROR


class ConnectionClosed(RequestError):
    """A connection that ended before the response was whole."""

    kind = ErrorKind.CONNECTION_CLOSED


class ReadTimeout(RequestError):
    """No whole response by the deadline."""

    kind = ErrorKind.READ_TIMEOUT


class RemoteProtocolError(RequestError):
    """Bytes that are not an HTTP response, or a body that cannot be decompressed."""

    kind = ErrorKind.REMOTE_PROTOCOL_ERROR


def connect_error(error: OSError) -> ConnectError:
    """Return the error of a connection that was not opened."""
    text = f"no connection: {error.strerror or error}"
    match error:
        case ssl.SSLCertVerificationError():
            return TlsError(f"certificate not trusted: {error.verify_message}")
        case ssl.SSLError():
            return TlsError(text)
        case socket.gaierror():
            return DnsError(text)
    return ConnectError(text)
