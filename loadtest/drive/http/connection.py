"""One connection: a request goes out, the loop reads its answer, and only then wakes who waits for it.

A gevent socket starts and stops a watcher for every wait and wakes its greenlet for every part that comes.
Here the watcher runs for as long as the connection lives and reads by itself in the loop, so that an
exchange costs one send, one receive and one switch; and that the server has closed is known before the next.
"""

from __future__ import annotations

import math
import socket
import ssl
from typing import Any

from gevent import get_hub, getcurrent

from loadtest.clock import Clock
from loadtest.drive.http.errors import ConnectionClosed, ReadTimeout, RemoteProtocolError, RequestError
from loadtest.drive.http.response_parser import ResponseParser

READ, WRITE = 1, 2
"""What a watcher of the loop watches for, in libev's words."""
READ_BYTES = 256 * 1024
RECORD_BYTES = 16 * 1024
"""The most that TLS puts into one record."""


class Tls:
    """The TLS layer of a connection, between memory and memory."""

    def __init__(self, context: ssl.SSLContext, host: str, session: ssl.SSLSession | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host, session=session)

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection may resume; the server sends it with its first answer."""
        return self._object.session

    @property
    def resumed(self) -> bool:
        """Whether this connection took up an earlier one's session."""
        return bool(self._object.session_reused)

    def do_handshake(self, connected: Any) -> None:
        """Agree with the server over a socket that waits by itself; OSError where that fails."""
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                connected.sendall(self._outgoing.read())
                data = connected.recv(READ_BYTES)
                if not data:
                    raise ConnectionResetError("closed during the TLS handshake") from None
                self._incoming.write(data)
            else:
                connected.sendall(self._outgoing.read())
                return

    def encrypt(self, data: bytes) -> bytes:
        """What goes over the wire for these bytes."""
        self._object.write(data)
        return self._outgoing.read()

    def decrypt(self, data: memoryview) -> tuple[bytes, bool]:
        """What these bytes from the wire mean, and whether the server has said that nothing follows."""
        self._incoming.write(data)
        parts = []
        try:
            while part := self._object.read(RECORD_BYTES):
                parts.append(part)
                # To ask once more, and be told by an exception that nothing is left, would cost as much again.
                if not self._incoming.pending and not self._object.pending():
                    return b"".join(parts), False
        except ssl.SSLWantReadError:
            return b"".join(parts), False
        except ssl.SSLZeroReturnError:
            pass
        return b"".join(parts), True


class IoBatcher:
    """What the loop does for all connections in turn: reads all that came, lets all go on who waited for it, sends.

    Done for one connection after another, each would wake the server, and find the processor's caches full of
    something else: together they take a third less of the core. `sent_at` of a connection is when its request
    went, `answered_at` when its answer was whole.
    """

    def __init__(self, clock: Clock) -> None:
        self.now = clock.now
        self._loop = get_hub().loop
        self._to_send: list[Connection] = []
        self._to_wake: list[Connection] = []

    def send(self, connection: Connection) -> None:
        """Send this connection's request at the end of the loop's turn."""
        if not self._to_send:
            self._loop.run_callback(self._send)
        self._to_send.append(connection)

    def resume_waiter(self, connection: Connection) -> None:
        """Let go on who waits for this connection, when all that came has been read."""
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
    """A connected socket that does not block, owned by the loop; one exchange at a time.

    `alive` says that it may be used again. `by` is when the exchange under way must be over, in seconds
    since the epoch: whoever owns the connection calls `expire` then.
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

    def exchange(self, request: bytes, by: float) -> None:
        """Send a request and wait until `reader` has its answer; NoAnswer where none comes whole by then."""
        reader = self.reader
        reader.reset()
        self.exchanges += 1
        self.deadline = by
        try:
            self._unsent = request if self.tls is None else self.tls.encrypt(request)
            self._waiting = getcurrent()
            self._done = False
            self._batcher.send(self)
            self._hub.switch()
            if self._error is not None:
                raise self._error
        # Whatever ends the wait, a killed user too, leaves half an exchange behind.
        except BaseException:
            self.close()
            raise
        finally:
            self._waiting = None
        self.deadline = math.inf
        if self._unsent or not reader.keep_alive:
            self.close()

    def send(self) -> None:
        """The loop: send what is not sent yet, or as much of it as the socket takes."""
        if not self.alive:
            return
        unsent = self._unsent
        try:
            sent = self._socket.send(unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            # A server may refuse a long body, answer and close: what it said is still to be read.
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
        """The loop: there is something to read."""
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
        """The exchange is over; whoever waits for it is woken once."""
        if not self._done:
            self._done = True
            self.answered_at = self._batcher.now()
            self._batcher.resume_waiter(self)

    def wake(self) -> None:
        """The loop: let go on who waits, if anybody still does."""
        if self._waiting is not None:
            self._waiting.switch()

    def _on_data(self, data: memoryview) -> None:
        plain: bytes | memoryview = data
        ended = not data
        if self.tls is not None and data:
            plain, ended = self.tls.decrypt(data)
        if self._waiting is None and (plain or ended):
            raise RemoteProtocolError("closed, or answered, when nothing had been asked")
        if plain:
            self.reader.feed(plain)
        if ended and not self.reader.complete:
            self.reader.on_eof()

    def expire(self) -> None:
        """The exchange has had its time."""
        if self._waiting is not None and not self._done:
            self._error = ReadTimeout("no whole response in time")
            self._complete()

    def close(self) -> None:
        """Give the connection up; a second time changes nothing."""
        if self.alive:
            self.alive = False
            for watcher in (self._readable, self._writable):
                watcher.stop()
                watcher.close()
            self._socket.close()
