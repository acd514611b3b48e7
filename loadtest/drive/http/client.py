"""The HTTP/1.1 client: requests to one endpoint over connections that are kept open."""

from __future__ import annotations

import math
from collections import Counter
from urllib.parse import urlsplit

from gevent import get_hub

from loadtest.clock import SleepingClock
from loadtest.drive.http.connection import MAX_IDLE_S, Connection, MaySend, StaleConnection
from loadtest.drive.http.dialer import Dialer, header_lines
from loadtest.drive.http.errors import ConnectError, LocalShortage, ProxyError, RequestError
from loadtest.drive.masking import SecretMask
from loadtest.flows.steps import SEND_AGAIN, Response
from loadtest.protocol.operations import authorization
from loadtest.scenario.environment import proxy_for

PROXY_AUTHENTICATION_REQUIRED = 407
DEADLINE_CHECK_INTERVAL_S = 0.25
"""How often the deadlines of all exchanges are checked: one timer for all, since hardly any passes."""
REQUEST_CACHE_SIZE = 64
"""How many different requests with a body are kept, head and body in one."""
CACHEABLE_BODY_BYTES = 64 * 1024
"""A larger body is joined to its head each time it is sent, which costs little compared with the sending."""


class HttpClient:
    """A client of one endpoint that sends each request over an idle connection, or over a new one.

    `shortages` counts the requests that this machine could not send, by cause. `mask` knows
    the secrets that it sends.
    """

    def __init__(self, url: str, key: str, clock: SleepingClock) -> None:
        parts = urlsplit(url)
        proxy = proxy_for(url)
        host = parts.netloc.rpartition("@")[2]
        self._url = f"{parts.scheme}://{host}{parts.path}"
        self._dialer = Dialer(parts, proxy, clock)
        self._base = parts.path.rstrip("/")
        credentials = ""
        if proxy is not None and parts.scheme == "http":
            self._base = f"http://{host}{self._base}"
            credentials = header_lines(proxy.headers)
        self._headers = (
            f" HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n"
            f"User-Agent: loadtest\r\nAuthorization: {authorization(key)}\r\n{credentials}"
        ).encode("latin-1")
        self.mask = SecretMask([key, *(() if proxy is None else proxy.secrets)])
        self._clock = clock
        self.shortages: Counter[str] = Counter()
        self._idle: list[Connection] = []
        self._connections: set[Connection] = set()
        self._prepared: dict[tuple[str, str, bytes], bytes] = {}
        self._sweep = get_hub().loop.timer(DEADLINE_CHECK_INTERVAL_S, DEADLINE_CHECK_INTERVAL_S, ref=False)
        self._sweep.start(self._expire_overdue)

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        long_poll_s: float = 0.0,
        deadline: float = math.inf,
        may_send: MaySend = lambda now: True,
    ) -> Response:
        """Send one request, once, and return its response, or the error that it ended with; raises no RequestError.

        A connection is there before `may_send` is called, at the moment in which the bytes go out. Returns SEND_AGAIN
        if it returns False, or if the server closed a kept connection without a byte of the response to a GET.
        The time to open a connection counts as the server's: the response is that to a request sent before it.
        """
        request = (self._request(method, path, body), long_poll_s, deadline, may_send)
        connection, dialed_at = None, 0.0
        try:
            while True:
                if self._idle:
                    connection = self._idle.pop()
                else:
                    dialed_at = self._clock.now()
                    connection = self._dialer.dial()
                    self._connections.add(connection)
                try:
                    if not connection.exchange(request):
                        return SEND_AGAIN
                    return self._response(connection, dialed_at or connection.sent_at)
                except StaleConnection:
                    self._connections.discard(connection)
                    connection = None
        except RequestError as error:
            if isinstance(error, LocalShortage):
                self.shortages[str(error)] += 1
            sent_at = connection.sent_at if connection is not None and not dialed_at else dialed_at
            if connection is not None and connection.is_stale(error):
                # The others are most likely closed as well.
                self._close_idle()
                if method == "GET":
                    return SEND_AGAIN
            text, proxy = str(error), self._dialer.proxy
            if proxy is not None and not isinstance(error, ConnectError):
                text += f", through the proxy {proxy}"
            partial, progress = (b"", []) if connection is None else connection.reader.partial_body()
            return Response(
                0,
                self.mask.body(partial),
                sent_at,
                self._clock.now(),
                error=self.mask.text(text),
                error_kind=error.kind,
                body_progress=progress,
            )
        finally:
            if connection is not None and connection.alive and connection.exchanges > 1:
                self._idle.append(connection)
            elif connection is not None:
                self._release(connection)

    def _response(self, connection: Connection, sent_at: float) -> Response:
        """Return the response that this connection has read. Raises RequestError if it is not usable."""
        answered_at, reader = connection.answered_at, connection.reader
        status, body, retry_after_s, location = reader.status, reader.body(), None, None
        if status != 200:
            if status == PROXY_AUTHENTICATION_REQUIRED and self._dialer.proxy is not None:
                raise ProxyError(f"the proxy {self._dialer.proxy} refuses the credentials, or asks for them (407)")
            retry_after_s, location = reader.retry_after_s(answered_at), reader.location()
            location = None if location is None else self.mask.text(location)
        body = self.mask.body(body)
        # In the order of the fields: naming them would take longer than all the rest.
        return Response(status, body, sent_at, answered_at, retry_after_s, None, None, reader.body_progress, location)

    def __repr__(self) -> str:
        return f"<HttpClient {self._url}: {len(self._connections)} connections, {len(self._idle)} idle>"

    def _release(self, connection: Connection) -> None:
        """Keep a connection after its first exchange, and its TLS session for others; forget a closed one."""
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
        # The last used are at the end.
        fresh = next((index for index, each in enumerate(self._idle) if each.answered_at >= now - MAX_IDLE_S), None)
        self._close_idle(fresh)

    def _close_idle(self, count: int | None = None) -> None:
        """Close this many idle connections, from the one that has been idle for longest; all unless given."""
        closed, self._idle[:count] = self._idle[:count], []
        for connection in closed:
            self._connections.discard(connection)
            connection.close()

    def close(self) -> None:
        """Close every idle connection."""
        self._sweep.stop()
        self._close_idle()
