"""The request engine: HTTP/1.1 on gevent sockets with the llhttp parser, over connections that are kept."""

from __future__ import annotations

import email.utils
import ssl
from urllib.parse import urlsplit

from gevent import socket
from gevent import ssl as gevent_ssl
from httptools import HttpParserError, HttpResponseParser

from loadtest.clock import Clock
from loadtest.flows.steps import Answer
from loadtest.protocol import authorization

CONNECT_WITHIN_S = 5.0
ANSWER_WITHIN_S = 30.0
READ_BYTES = 256 * 1024


class NoAnswer(Exception):
    """A request got no whole answer; the text says why. `stale`: the kept connection had been closed before."""

    def __init__(self, fault: str, stale: bool = False) -> None:
        super().__init__(fault)
        self.stale = stale


class Connection:
    """One connection and its parser; between two exchanges it holds nothing of the first."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._parser = HttpResponseParser(self)
        self._forget()
        self.exchanges = 0
        self.keep = True

    def _forget(self) -> None:
        self._body: list[bytes] = []
        self._retry_after: bytes | None = None
        self._complete = self._bounded = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: one header."""
        lower = name.lower()
        if lower == b"retry-after":
            self._retry_after = value
        elif lower in (b"content-length", b"transfer-encoding"):
            self._bounded = True

    def on_body(self, data: bytes) -> None:
        """Parser: a part of the body."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Parser: the answer is whole."""
        self._complete = True

    def exchange(self, request: bytes, by: float, clock: Clock) -> tuple[int, bytes, bytes | None]:
        """Send a request, read its answer: status, body, Retry-After. NoAnswer where none comes whole by `by`."""
        self._forget()
        self.exchanges += 1
        heard = False
        try:
            self._socket.settimeout(max(0.001, by - clock.now()))
            self._socket.sendall(request)
            while not self._complete:
                data = self._socket.recv(READ_BYTES)
                if not data:
                    if heard and not self._bounded:
                        self.keep = False
                        break
                    raise NoAnswer("connection closed before the answer was whole", self._stale(heard))
                heard = True
                self._parser.feed_data(data)
                if not self._complete:
                    self._socket.settimeout(max(0.001, by - clock.now()))
        except TimeoutError:
            raise NoAnswer("no whole answer in time") from None
        except OSError as fault:
            raise NoAnswer(f"connection lost: {fault.strerror or fault}", self._stale(heard)) from None
        except HttpParserError as fault:
            raise NoAnswer(f"not HTTP: {fault}") from None
        self.keep = self.keep and self._parser.should_keep_alive()
        return self._parser.get_status_code(), b"".join(self._body), self._retry_after

    def _stale(self, heard: bool) -> bool:
        return self.exchanges > 1 and not heard

    def close(self) -> None:
        """Give the connection up."""
        self._socket.close()


class Engine:
    """Sends requests to one endpoint, each over a free kept connection or a new one."""

    def __init__(self, url: str, key: str, clock: Clock) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self._address = (parts.hostname or "", parts.port or (443 if secure else 80))
        self._tls = gevent_ssl.create_default_context() if secure else None
        self._base = parts.path.rstrip("/")
        self._headers = (
            f" HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nAccept: application/json\r\n"
            f"User-Agent: loadtest\r\nAuthorization: {authorization(key)}\r\n"
        ).encode()
        self._clock = clock
        self._free: list[Connection] = []

    def send(self, method: str, path: str, body: bytes = b"", hold_s: float = 0.0) -> Answer:
        """One request and what came of it; a server may hold its answer for `hold_s` on top of ANSWER_WITHIN_S.

        A kept connection that the server had closed in the meantime is opened anew, once.
        """
        request = self._request(method, path, body)
        sent_at = self._clock.now()
        while True:
            connection: Connection | None = None
            try:
                connection = self._free.pop() if self._free else self._connect()
                by = self._clock.now() + hold_s + ANSWER_WITHIN_S
                status, content, retry_after = connection.exchange(request, by, self._clock)
            except NoAnswer as fault:
                if connection is not None:
                    connection.close()
                if fault.stale:
                    self._drop_free()
                    continue
                return Answer(0, b"", sent_at, self._clock.now(), fault=str(fault))
            except BaseException:
                if connection is not None:
                    connection.close()
                raise
            if connection.keep:
                self._free.append(connection)
            else:
                connection.close()
            answered_at = self._clock.now()
            return Answer(status, content, sent_at, answered_at, _seconds_from(retry_after, answered_at))

    def _request(self, method: str, path: str, body: bytes) -> bytes:
        head = f"{method} {self._base}{path}".encode() + self._headers
        if method == "POST":
            head += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        return head + b"\r\n" + body

    def _connect(self) -> Connection:
        try:
            connected = socket.create_connection(self._address, timeout=CONNECT_WITHIN_S)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connected = self._tls.wrap_socket(connected, server_hostname=self._address[0])
        except TimeoutError:
            raise NoAnswer(f"no connection within {CONNECT_WITHIN_S:g} s") from None
        except ssl.SSLCertVerificationError as fault:
            raise NoAnswer(f"certificate not trusted: {fault.verify_message}") from None
        except OSError as fault:
            raise NoAnswer(f"no connection: {fault.strerror or fault}") from None
        return Connection(connected)

    def _drop_free(self) -> None:
        """What was kept as long as a stale connection is as stale."""
        while self._free:
            self._free.pop().close()

    def close(self) -> None:
        """Close every kept connection."""
        self._drop_free()


def _seconds_from(retry_after: bytes | None, now: float) -> float | None:
    """Retry-After as seconds from now, in either of its forms (RFC 9110, section 10.2.3)."""
    if retry_after is None:
        return None
    text = retry_after.decode("latin-1").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return None
