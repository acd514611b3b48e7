"""The request engine: HTTP/1.1 to one endpoint over connections that are kept."""

from __future__ import annotations

import math
from urllib.parse import urlsplit

from gevent import get_hub

from loadtest.clock import Clock
from loadtest.drive.connection import Connection
from loadtest.drive.dial import Dialer
from loadtest.drive.proxy import proxy_for
from loadtest.drive.reading import Closed, NoAnswer
from loadtest.flows.steps import Answer
from loadtest.protocol import authorization

ANSWER_WITHIN_S = 30.0
LAST_MOMENT_S = 1.0
"""So long after the end of a client's patience an answer may come that is on its way."""
SWEEP_S = 0.25
"""How often the deadlines of all exchanges are looked at: one timer for all, since hardly any is ever met."""
PREPARED = 64
"""So many different requests with a body are kept ready."""
PREPARED_BYTES = 64 * 1024
"""A larger body is put behind its head each time it is sent, which is little beside the sending."""


class Engine:
    """Sends requests to one endpoint, each over a free kept connection or a new one."""

    def __init__(self, url: str, key: str, clock: Clock) -> None:
        parts = urlsplit(url)
        proxy = proxy_for(url)
        host = parts.netloc.rpartition("@")[2]
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
        self._free: list[Connection] = []
        self._open: set[Connection] = set()
        self._prepared: dict[tuple[str, str, bytes], bytes] = {}
        self._sweep = get_hub().loop.timer(SWEEP_S, SWEEP_S, ref=False)
        self._sweep.start(self._expire_overdue)

    def send(
        self, method: str, path: str, body: bytes = b"", hold_s: float = 0.0, give_up_at: float = math.inf
    ) -> Answer:
        """One request and what came of it; a server may hold its answer for `hold_s` on top of ANSWER_WITHIN_S.

        Past `give_up_at` (seconds since the epoch), and what the server may hold, it has LAST_MOMENT_S. A kept
        connection that the server had closed in the meantime is opened anew, once. What it takes to open a
        connection counts as the server's time.
        """
        now = self._clock.now
        request = self._request(method, path, body)
        sent_at = now()
        within_s = hold_s + ANSWER_WITHIN_S
        if give_up_at < sent_at + within_s:
            within_s = min(within_s, max(give_up_at - sent_at, hold_s) + LAST_MOMENT_S)
        connection = self._kept()
        try:
            if connection is not None:
                try:
                    connection.exchange(request, sent_at + within_s)
                    sent_at = connection.sent_at
                except Closed:
                    if connection.reader.heard:
                        raise
                    self._drop_free()
                    connection = None
            if connection is None:
                connection = self._dialed()
                connection.exchange(request, now() + within_s)
            answered_at, reader = connection.answered_at, connection.reader
            retry_after_s = None if reader.status == 200 else reader.retry_after_s(answered_at)
            return Answer(reader.status, reader.content(), sent_at, answered_at, retry_after_s, came=reader.came)
        except NoAnswer as fault:
            return Answer(0, b"", sent_at, now(), fault=str(fault))
        finally:
            if connection is not None:
                self._keep(connection)

    def _kept(self) -> Connection | None:
        while self._free:
            connection = self._free.pop()
            if connection.alive:
                return connection
            self._open.discard(connection)
        return None

    def _dialed(self) -> Connection:
        connection = self._dialer.dial()
        self._open.add(connection)
        return connection

    def _keep(self, connection: Connection) -> None:
        if not connection.alive:
            self._open.discard(connection)
            return
        if connection.tls is not None and connection.exchanges == 1:
            self._dialer.session = connection.tls.session
        self._free.append(connection)

    def _request(self, method: str, path: str, body: bytes) -> bytes:
        """The whole request; one with a body is often the same for all jobs of a flow, and then made once."""
        if not body:
            length = b"Content-Length: 0\r\n" if method == "POST" else b""
            return f"{method} {self._base}{path}".encode() + self._headers + length + b"\r\n"
        kept = len(body) <= PREPARED_BYTES
        request = self._prepared.get((method, path, body)) if kept else None
        if request is None:
            if len(self._prepared) >= PREPARED:
                self._prepared.clear()
            head = f"{method} {self._base}{path}".encode() + self._headers
            length = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            request = b"".join((head, length, body))
            if kept:
                self._prepared[method, path, body] = request
        return request

    def _expire_overdue(self) -> None:
        now = self._clock.now()
        for connection in [each for each in self._open if each.by < now]:
            connection.expire()

    def _drop_free(self) -> None:
        """What was kept as long as a stale connection is as stale."""
        while self._free:
            connection = self._free.pop()
            self._open.discard(connection)
            connection.close()

    def close(self) -> None:
        """Close every kept connection."""
        self._sweep.stop()
        self._drop_free()
