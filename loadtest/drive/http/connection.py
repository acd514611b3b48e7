"""One connection: a request goes out, the event loop reads the response, and then wakes the greenlet that waits.

A gevent socket starts and stops a watcher for every wait and wakes its greenlet for every part that comes.
Here the watcher runs for as long as the connection lives and reads in the loop, so that an exchange costs one
send, one receive and one switch; and a connection that the server has closed is known before the next request.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeAlias

from gevent import get_hub, getcurrent

from loadtest.clock import Clock
from loadtest.drive.http.errors import ConnectionClosed, ReadTimeout, RemoteProtocolError, RequestError
from loadtest.drive.http.response_parser import ResponseParser
from loadtest.drive.http.tls import Tls

READ, WRITE = 1, 2
"""The events of a loop watcher, as libev numbers them."""
READ_BYTES = 256 * 1024
RESPONSE_TIMEOUT_S = 30.0
GRACE_S = 1.0
"""How long after its deadline a response may come that is on its way."""
MAX_IDLE_S = 20.0
"""A connection that has been idle for longer may have been forgotten on its way, and is not used again."""
UNWATCHED_S = 0.02
"""A connection that has been idle for longer is looked at once more before a request goes out."""

MaySend: TypeAlias = Callable[[float], bool]
"""Called at the moment in which a request can go out, with the time; returns whether it may."""
Request: TypeAlias = tuple[bytes, float, float, MaySend]
"""Its bytes, the seconds for which the server may hold its response, its deadline, and what allows it."""


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
            connection.start(self.now())

    def _wake(self) -> None:
        to_wake, self._to_wake = self._to_wake, []
        for connection in to_wake:
            connection.wake()


class StaleConnection(Exception):
    """A kept connection that cannot be used any more; not a byte of the request went out."""


class Connection:
    """A connected non-blocking socket, read by the loop; one exchange at a time.

    `alive` says that it can be used again. `deadline` is when the exchange under way must be over, in seconds
    since the epoch: the owner of the connection calls `expire` then. `answered_at` is since when it has been idle.
    """

    def __init__(self, connected: socket.socket, tls: Tls | None, buffer: memoryview, batcher: IoBatcher) -> None:
        connected.setblocking(False)
        self.tls = tls
        self.alive = True
        self.deadline = math.inf
        self.sent_at, self.answered_at = 0.0, batcher.now()
        self.exchanges = 0
        self.reader = ResponseParser()
        self._socket = connected
        self._receive, self._buffer = connected.recv_into, buffer
        self._batcher = batcher
        self._request: Request
        self._unsent: bytes | memoryview = b""
        self._greenlet: Any = None
        """The one in `exchange`."""
        self._started = self._done = False
        """Whether its request has begun to go out, and whether it has its response or an error."""
        self._error: Exception | None = None
        self._hub = get_hub()
        self._readable = self._hub.loop.io(connected.fileno(), READ)
        self._readable.start(self._read)
        self._writable = self._hub.loop.io(connected.fileno(), WRITE)

    def __repr__(self) -> str:
        state = "closed" if not self.alive else "idle" if self._greenlet is None else "waiting"
        layers = "TLS, " if self.tls is not None else ""
        return f"<Connection {layers}{state}, {self.exchanges} exchanges>"

    def exchange(self, request: Request) -> bool:
        """Send a request and wait until `reader` has its response; return False if it was not allowed to go out.

        Raises StaleConnection if the connection is closed and no byte went out, RequestError if no whole response
        came in time: the server has RESPONSE_TIMEOUT_S in addition to its hold; after the later of that hold and the
        deadline, GRACE_S.
        """
        self.reader.reset()
        self._request = request
        self._done = False
        self._greenlet = getcurrent()
        try:
            self._batcher.send(self)
            self._hub.switch()
            if self._error is not None:
                raise self._error
            if not self._started:
                return False
        # Any error, even a kill of the user, leaves half an exchange behind.
        except BaseException:
            self.close()
            raise
        finally:
            self._greenlet = None
            self._started = False
        self.deadline = math.inf
        if self._unsent or not self.reader.keep_alive:
            self.close()
        return True

    def start(self, at: float) -> None:
        """Send the request now, if the connection is alive and the request may go out; called by the loop."""
        if self._greenlet is None:
            return
        idle_s = at - self.answered_at
        if idle_s > UNWATCHED_S and self.alive:
            # The server may have closed it since the loop last looked.
            self._read()
        request, hold_s, deadline, may_send = self._request
        if not self.alive or idle_s > MAX_IDLE_S:
            self._error = StaleConnection()
        elif may_send(at):
            self._started = True
            self.exchanges += 1
            self.sent_at = at
            latest = at + hold_s + RESPONSE_TIMEOUT_S
            self.deadline = latest if deadline >= latest else min(latest, max(deadline, at + hold_s) + GRACE_S)
            try:
                self._unsent = request if self.tls is None else self.tls.encrypt(request)
            except ssl.SSLError as error:
                self._fail(ConnectionClosed(f"connection lost: {error}"))
            else:
                self.send()
            return
        self._batcher.resume_waiter(self)

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
            if self.tls is None and data and self._started:
                self.reader.feed(data)
            else:
                self._on_data(data)
            if self.reader.complete:
                self._complete()
            elif self._started:
                self.reader.mark_progress(len(data), self._batcher.now())
        except BlockingIOError:
            return
        except RequestError as error:
            self._fail(error)
        except OSError as error:
            self._fail(ConnectionClosed(f"connection lost: {error.strerror or error}"))

    def _fail(self, error: RequestError) -> None:
        """Close an idle connection; end an exchange with this error, unless it has its response already."""
        if not self._started:
            self.close()
        elif self.reader.complete:
            self.reader.keep_alive = False
        else:
            self._error = error
            self._complete()

    def _complete(self) -> None:
        """End the exchange, and wake the greenlet that waits for it once."""
        if not self._done:
            self._done = True
            self.answered_at = self._batcher.now()
            self._batcher.resume_waiter(self)

    def wake(self) -> None:
        """Switch to the greenlet that waits, if one still does; called by the loop."""
        if self._greenlet is not None:
            self._greenlet.switch()

    def _on_data(self, data: memoryview) -> None:
        plain: bytes | memoryview = data
        ended = not data
        if self.tls is not None and data:
            plain, ended = self.tls.decrypt(data)
        if not self._started and (plain or ended):
            raise RemoteProtocolError("closed, or sent a response, without a request")
        if plain:
            self.reader.feed(plain)
        if ended and not self.reader.complete:
            self.reader.on_eof()

    def is_stale(self, error: RequestError) -> bool:
        """Return whether an exchange ended because the server had closed a connection kept from earlier ones."""
        return self.exchanges > 1 and isinstance(error, ConnectionClosed) and not self.reader.received_any

    def expire(self) -> None:
        """End an exchange whose deadline has passed."""
        if self._started and not self._done:
            self._fail(ReadTimeout("no whole response in time"))

    def close(self) -> None:
        """Close the connection; a second time changes nothing."""
        if self.alive:
            self.alive = False
            for watcher in (self._readable, self._writable):
                watcher.stop()
                watcher.close()
            self._socket.close()
