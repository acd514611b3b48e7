"""The HTTP/1.1 client: requests to one endpoint over connections that are kept open."""

from __future__ import annotations

import math
from collections import Counter
from urllib.parse import urlsplit

from gevent import get_hub

from loadtest.clock import Clock
from loadtest.drive.http.connection import Connection
from loadtest.drive.http.dialer import Dialer, proxy_for
from loadtest.drive.http.errors import ConnectionClosed, LocalShortage, RequestError
from loadtest.flows.steps import Response
from loadtest.protocol.operations import authorization

RESPONSE_TIMEOUT_S = 30.0
GRACE_S = 1.0
"""How long after its deadline a response may come that is on its way."""
DEADLINE_CHECK_INTERVAL_S = 0.25
"""How often the deadlines of all exchanges are checked: one timer for all, since hardly any passes."""
REQUEST_CACHE_SIZE = 64
"""How many different requests with a body are kept, head and body in one."""
CACHEABLE_BODY_BYTES = 64 * 1024
"""A larger body is joined to its head each time it is sent, which costs little compared with the sending."""


class HttpClient:
    """A client of one endpoint that sends each request over an idle connection, or over a new one.

    `shortages` counts the requests that this machine could not send, by cause.
    """

    def __init__(self, url: str, key: str, clock: Clock) -> None:
        parts = urlsplit(url)
        proxy = proxy_for(url)
        host = parts.netloc.rpartition("@")[2]
        self._url = f"{parts.scheme}://{host}{parts.path}"
        self._dialer = Dialer(parts, proxy, clock)
        self._base = parts.path.rstrip("/")
        credentials = ""
        if proxy is not None and parts.scheme == "http":
            self._base = f"http://{host}{self._base}"
            credentials = proxy.credentials
        self._headers = (
            f" HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n"
            f"User-Agent: loadtest\r\nAuthorization: {authorization(key)}\r\n{credentials}"
        ).encode("latin-1")
        self._clock = clock
        self.shortages: Counter[str] = Counter()
        self._idle: list[Connection] = []
        self._connections: set[Connection] = set()
        self._prepared: dict[tuple[str, str, bytes], bytes] = {}
        self._sweep = get_hub().loop.timer(DEADLINE_CHECK_INTERVAL_S, DEADLINE_CHECK_INTERVAL_S, ref=False)
        self._sweep.start(self._expire_overdue)

    def send(
        self, method: str, path: str, body: bytes = b"", long_poll_s: float = 0.0, deadline: float = math.inf
    ) -> Response:
        """Send one request and return its response, or the error that it ended with; raises no RequestError.

        The server has RESPONSE_TIMEOUT_S in addition to `long_poll_s`, for which it may hold its response; after the
        later of that hold and `deadline` (seconds since the epoch), GRACE_S. If the server has closed an idle
        connection, the request is sent once more over a new one. The time to open one counts as the server's.
        """
        now = self._clock.now
        request = self._request(method, path, body)
        sent_at = now()
        timeout_s = long_poll_s + RESPONSE_TIMEOUT_S
        if deadline < sent_at + timeout_s:
            timeout_s = min(timeout_s, max(deadline - sent_at, long_poll_s) + GRACE_S)
        connection = self._acquire()
        try:
            if connection is not None:
                try:
                    connection.exchange(request, sent_at + timeout_s)
                    sent_at = connection.sent_at
                except ConnectionClosed:
                    if connection.reader.received_any:
                        raise
                    self._close_idle()
                    connection = None
            if connection is None:
                connection = self._dialer.dial()
                self._connections.add(connection)
                connection.exchange(request, now() + timeout_s)
            answered_at, reader = connection.answered_at, connection.reader
            retry_after_s = None if reader.status == 200 else reader.retry_after_s(answered_at)
            return Response(
                reader.status, reader.body(), sent_at, answered_at, retry_after_s, body_progress=reader.body_progress
            )
        except RequestError as error:
            if isinstance(error, LocalShortage):
                self.shortages[str(error)] += 1
            return Response(0, b"", sent_at, now(), error=str(error), error_kind=error.kind)
        finally:
            if connection is not None:
                self._release(connection)

    def __repr__(self) -> str:
        return f"<HttpClient {self._url}: {len(self._connections)} connections, {len(self._idle)} idle>"

    def _acquire(self) -> Connection | None:
        """Return an idle connection that is alive; None if there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
            self._connections.discard(connection)
        return None

    def _release(self, connection: Connection) -> None:
        if not connection.alive:
            self._connections.discard(connection)
            return
        if connection.tls is not None and connection.exchanges == 1:
            self._dialer.session = connection.tls.session
        self._idle.append(connection)

    def _request(self, method: str, path: str, body: bytes) -> bytes:
        """Return the whole request; one with a body is often the same for all jobs of a flow, and then built once."""
        if not body:
            length = b"Content-Length: 0\r\n" if method == "POST" else b""
            return f"{method} {self._base}{path}".encode() + self._headers + length + b"\r\n"
        cacheable = len(body) <= CACHEABLE_BODY_BYTES
        request = self._prepared.get((method, path, body)) if cacheable else None
        if request is None:
            if len(self._prepared) >= REQUEST_CACHE_SIZE:
                self._prepared.clear()
            head = f"{method} {self._base}{path}".encode() + self._headers
            length = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            request = b"".join((head, length, body))
            if cacheable:
                self._prepared[method, path, body] = request
        return request

    def _expire_overdue(self) -> None:
        now = self._clock.now()
        for connection in [each for each in self._connections if each.deadline < now]:
            connection.expire()

    def _close_idle(self) -> None:
        """Close all idle connections: they are as stale as the one that the server had closed."""
        while self._idle:
            connection = self._idle.pop()
            self._connections.discard(connection)
            connection.close()

    def close(self) -> None:
        """Close every idle connection."""
        self._sweep.stop()
        self._close_idle()
