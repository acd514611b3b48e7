"""The errors of a request that got no whole response. Each class has the kind that its sample records."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import ClassVar

from loadtest.errors import reason_and_remedy
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


class LocalShortage(ConnectError):
    """A connection for which this machine lacked a file descriptor, a port, memory, or a name server that answers."""

    kind = ErrorKind.LOCAL_RESOURCES


class ConnectionClosed(RequestError):
    """A connection that ended before the response was whole."""

    kind = ErrorKind.CONNECTION_CLOSED


class ReadTimeout(RequestError):
    """No whole response by the deadline."""

    kind = ErrorKind.READ_TIMEOUT


class RemoteProtocolError(RequestError):
    """Bytes that are not an HTTP response, or a body that cannot be decompressed."""

    kind = ErrorKind.REMOTE_PROTOCOL_ERROR


_SHORT_OF = {
    errno.EMFILE: "open files",
    errno.ENFILE: "open files",
    errno.EADDRNOTAVAIL: "local ports",
    errno.ENOMEM: "memory",
    errno.ENOBUFS: "memory",
}
_RESOLVER_FAILURES = (socket.EAI_AGAIN, socket.EAI_MEMORY, socket.EAI_SYSTEM)
"""Failures of this machine's resolver or its name server, which say nothing about the name."""


def connect_error(error: OSError) -> ConnectError:
    """Return the error of a connection that was not opened."""
    text = f"no connection: {error.strerror or error}"
    match error:
        case ssl.SSLCertVerificationError():
            return TlsError(f"certificate not trusted: {error.verify_message}")
        case ssl.SSLError():
            return TlsError(text)
        case socket.gaierror() if error.errno in _RESOLVER_FAILURES:
            return LocalShortage(f"this machine's name server did not answer: {error.strerror}; check its resolver")
        case socket.gaierror():
            return DnsError(text)
    if error.errno in _SHORT_OF:
        return LocalShortage(f"this machine is short of {_SHORT_OF[error.errno]}: {reason_and_remedy(error)}")
    return ConnectError(text)
