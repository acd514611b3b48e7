"""One connection: a request goes out, the event loop reads the response, and then wakes the greenlet that waits.

A gevent socket starts and stops a watcher for every wait and wakes its greenlet for every part that comes.
Here the watcher runs for as long as the connection lives and reads in the loop, so that an exchange costs one
send, one receive and one switch; and a connection that the server has closed is known before the next request.
"""

from __future__ import annotations

import math
import socket
import ssl
from typing import Any

from gevent import get_hub, getcurrent

from loadtest.clock import Clock
from loadtest.drive.http.errors import ConnectionClosed, ReadTimeout, RemoteProtocolError, RequestError, TlsError
from loadtest.drive.http.response_parser import ResponseParser

READ, WRITE = 1, 2
"""The events of a loop watcher, as libev numbers them."""
READ_BYTES = 256 * 1024
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
                data = connected.recv(READ_BYTES)
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


class IoBatcher:
    """The work of the loop for all connections together: read all that came, wake all that waited for it, send.

    Done connection by connection, each send would wake the server, and find the processor's caches full of
    something else: batched, it takes a third less of the core. `sent_at` of a connection is when its request
    went out, `answered_at` when its response was whole.
    """

    def __init__(self, clock: Clock) -> None:
        self.now = clock.now
        self._loop = get_hub().loop
        self._to_send: list[Connection] = []
        self._to_wake: list[Connection] = []

    def send(self, connection: Connection) -> None:
        """Send this connection's request at the end of this iteration of the loop."""
        if not self._to_send:
            self._loop.run_callback(self._send)
        self._to_send.append(connection)

    def resume_waiter(self, connection: Connection) -> None:
        """Wake the greenlet that waits for this connection, once all that came has been read."""
        if not self._to_wake:
            self._loop.run_callback(self._wake)
        self._to_wake.append(connection)

    def _send(self) -> None:
        to_send, self._to_send = self._to_send, []
        for connection in to_send:
            connection.sent_at = self.now()
            connection.send()

    def _wake(self) -> None:
        to_wake, self._to_wake = self._to_wake, []
        for connection in to_wake:
            connection.wake()


class Connection:
    """A connected non-blocking socket, read by the loop; one exchange at a time.

    `alive` says that it can be used again. `deadline` is when the exchange under way must be over, in seconds
    since the epoch: the owner of the connection calls `expire` then.
    """

    def __init__(self, connected: socket.socket, tls: Tls | None, buffer: memoryview, batcher: IoBatcher) -> None:
        connected.setblocking(False)
        self.tls = tls
        self.alive = True
        self.deadline = math.inf
        self.sent_at = self.answered_at = 0.0
        self.exchanges = 0
        self.reader = ResponseParser()
        self._socket = connected
        self._receive, self._buffer = connected.recv_into, buffer
        self._batcher = batcher
        self._unsent: bytes | memoryview = b""
        self._waiting: Any = None
        self._done = False
        self._error: RequestError | None = None
        self._hub = get_hub()
        self._readable = self._hub.loop.io(connected.fileno(), READ)
        self._readable.start(self._read)
        self._writable = self._hub.loop.io(connected.fileno(), WRITE)

    def __repr__(self) -> str:
        state = "closed" if not self.alive else "idle" if self._waiting is None else "waiting"
        layers = "TLS, " if self.tls is not None else ""
        return f"<Connection {layers}{state}, {self.exchanges} exchanges>"

    def exchange(self, request: bytes, deadline: float) -> None:
        """Send a request and wait until `reader` has its response. Raises RequestError if none is whole by then."""
        reader = self.reader
        reader.reset()
        self.exchanges += 1
        self.deadline = deadline
        try:
            self._unsent = request if self.tls is None else self.tls.encrypt(request)
            self._waiting = getcurrent()
            self._done = False
            self._batcher.send(self)
            self._hub.switch()
            if self._error is not None:
                raise self._error
        # Any error, even a kill of the user, leaves half an exchange behind.
        except BaseException:
            self.close()
            raise
        finally:
            self._waiting = None
        self.deadline = math.inf
        if self._unsent or not reader.keep_alive:
            self.close()

    def send(self) -> None:
        """Send the rest of the request, or as much of it as the socket takes; called by the loop."""
        if not self.alive:
            return
        unsent = self._unsent
        try:
            sent = self._socket.send(unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            # A server may refuse a long body, respond and close: its response is still to be read.
            self.reader.keep_alive = False
            sent = len(unsent)
        if sent < len(unsent):
            self._unsent = memoryview(unsent)[sent:]
            self._writable.start(self.send)
        else:
            self._unsent = b""
            if isinstance(unsent, memoryview):
                self._writable.stop()

    def _read(self) -> None:
        """Read what came; called by the loop."""
        try:
            data = self._buffer[: self._receive(self._buffer)]
            if self.tls is None and data and self._waiting is not None:
                self.reader.feed(data)
            else:
                self._on_data(data)
        except BlockingIOError:
            return
        except RequestError as error:
            self._error = error
        except OSError as error:
            self._error = ConnectionClosed(f"connection lost: {error.strerror or error}")
        if self._waiting is None:
            if self._error is not None:
                self.close()
        elif self.reader.complete or self._error is not None:
            self._complete()
        else:
            self.reader.mark_progress(self._batcher.now())

    def _complete(self) -> None:
        """End the exchange, and wake the greenlet that waits for it once."""
        if not self._done:
            self._done = True
            self.answered_at = self._batcher.now()
            self._batcher.resume_waiter(self)

    def wake(self) -> None:
        """Switch to the greenlet that waits, if one still does; called by the loop."""
        if self._waiting is not None:
            self._waiting.switch()

    def _on_data(self, data: memoryview) -> None:
        plain: bytes | memoryview = data
        ended = not data
        if self.tls is not None and data:
            plain, ended = self.tls.decrypt(data)
        if self._waiting is None and (plain or ended):
            raise RemoteProtocolError("closed, or sent a response, without a request")
        if plain:
            self.reader.feed(plain)
        if ended and not self.reader.complete:
            self.reader.on_eof()

    def expire(self) -> None:
        """End an exchange whose deadline has passed."""
        if self._waiting is not None and not self._done:
            self._error = ReadTimeout("no whole response in time")
            self._complete()

    def close(self) -> None:
        """Close the connection; a second time changes nothing."""
        if self.alive:
            self.alive = False
            for watcher in (self._readable, self._writable):
                watcher.stop()
                watcher.close()
            self._socket.close()
