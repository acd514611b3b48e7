"""Bytes of one connection in, one response at a time out: the llhttp parser and what it leaves to do."""

from __future__ import annotations

import re
import zlib
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from itertools import islice

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from loadtest.drive.http.errors import ConnectionClosed, RemoteProtocolError
from loadtest.protocol.addresses import bare_url

MAX_RESPONSE_BYTES = 64 * 10**6
"""The largest response, and the largest body after decompression; the endpoint's own results have 20 MB at most."""
MAX_HEADER_BYTES = 10**6
"""The most that the headers of a response may take, with those of the 1xx responses before it."""
GZIP = ("gzip", "x-gzip")
GZIP_MAGIC = b"\x1f\x8b"
MAX_CODINGS = 8
MAX_GZIP_MEMBERS = 10_000
"""The most members of a gzip body: each takes 20 us, however little is in it."""
_DECOMPRESSED_AT_ONCE = 64 * 1024
"""How much is decompressed at once: what is left after the end of a gzip member is copied."""


class ResponseParser:
    """A reader of the responses of one connection; between two of them it keeps nothing of the first.

    Once `complete`, `status`, `body()` and `retry_after_s()` are those of the response, and `keep_alive` says whether
    the connection can carry another. `body_progress` holds, for a response that came in several parts, how many bytes
    of its body were there at which times.
    """

    def __init__(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        # The parser calls these for every header and part: bound to C methods, they cost next to nothing.
        self.on_header = self._headers.setdefault
        self.on_body = self._parts.append
        self._parser = HttpResponseParser(self)
        self.received_any = self.complete = False
        self.keep_alive = True
        self.status = 0
        self._part_count = 0
        """The parts of this response; those of an unrequested one may follow."""
        self.body_progress: list[tuple[int, float]] = []
        self._counted = (0, 0)
        self._received = 0
        self._header_count: int | None = None
        """How many headers this response has, once they are whole; trailers may follow."""

    def reset(self) -> None:
        """Expect the response to a request that goes out."""
        self._headers.clear()
        self._parts.clear()
        self._header_count = None
        self.received_any = self.complete = False
        if self._received:
            self.body_progress, self._counted, self._received = [], (0, 0), 0

    def mark_progress(self, received: int, at: float) -> None:
        """Note how much of the body is there at this time, after so many more bytes, while more is to come.

        Raises RemoteProtocolError if the response is larger than MAX_RESPONSE_BYTES, or its headers than
        MAX_HEADER_BYTES.
        """
        self._received += received
        if self._header_count is None and self._received > MAX_HEADER_BYTES:
            raise RemoteProtocolError(f"headers are larger than {MAX_HEADER_BYTES / 1e6:g} MB")
        if self._received > MAX_RESPONSE_BYTES:
            raise RemoteProtocolError(f"response is larger than {MAX_RESPONSE_BYTES / 1e6:g} MB")
        counted, size = self._counted
        # One part for all that came at once: thousands of tiny chunks would take more memory than their bytes.
        self._parts[counted:] = [b"".join(self._parts[counted:])]
        size += len(self._parts[counted])
        self._counted = counted + 1, size
        self.body_progress.append((size, at))

    def feed(self, data: bytes | memoryview) -> None:
        """Parse bytes that came. Raises RemoteProtocolError if they are not HTTP."""
        self.received_any = True
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.keep_alive = False
            if not self.complete:
                raise RemoteProtocolError(f"not HTTP: {error or type(error).__name__}") from None

    def on_eof(self) -> None:
        """End a response that has no other end than that of its connection. Raises ConnectionClosed if it has one."""
        self.keep_alive = False
        bounded = self._header(b"content-length") is not None or self._header(b"transfer-encoding") is not None
        if self._header_count is None or bounded:
            raise ConnectionClosed("connection closed before the response was whole")
        self.status, self._part_count = self._parser.get_status_code(), len(self._parts)
        self.complete = True

    def on_message_begin(self) -> None:
        """Distrust a connection on which an unrequested response begins; called by the parser."""
        if self.complete:
            self.keep_alive = False

    def on_headers_complete(self) -> None:
        """Note that the body follows; called by the parser."""
        if not self.complete:
            self._header_count = len(self._headers)

    def on_message_complete(self) -> None:
        """Complete the response, unless it is 1xx or an unrequested one; called by the parser."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._headers.clear()
            self._header_count = None
            return
        self.status, self._part_count = status, len(self._parts)
        self.complete = True
        self.keep_alive = self.keep_alive and self._parser.should_keep_alive()

    def body(self) -> bytes:
        """Return the body, decompressed. Raises RemoteProtocolError if that fails."""
        content = self._parts[0] if self._part_count == 1 else b"".join(self._parts[: self._part_count])
        # Compressed data never begins like a JSON object or array, so most responses need no look at their headers.
        if content.startswith((b"{", b"[")):
            return content
        codings = [each.strip().lower() for each in (self._header(b"content-encoding") or b"").split(b",")]
        applied = [each.decode("latin-1") for each in codings if each not in (b"", b"identity")]
        if not content or not (applied or content.startswith(GZIP_MAGIC)):
            return content
        # The end of a part of the compressed bytes says nothing of the plain ones.
        self.body_progress = []
        return _plain(content, applied)

    def partial_body(self) -> tuple[bytes, list[tuple[int, float]]]:
        """Return what came of the body of a 200 that broke off, if it is a stream of events, and its progress."""
        if self.complete or self._header_count is None or self._parser.get_status_code() != HTTPStatus.OK:
            return b"", []
        is_events = (self._header(b"content-type") or b"").lower().startswith(b"text/event-stream")
        return (b"".join(self._parts), self.body_progress) if is_events else (b"", [])

    def retry_after_s(self, now: float) -> float | None:
        """Return Retry-After in seconds from now, in any of its forms (RFC 9110, section 10.2.3); None without one.

        A date is compared with that of the response, since the server's clock may differ from that of this machine.
        """
        value = self._header(b"retry-after")
        if value is None:
            return None
        if re.fullmatch(rb"\s*[0-9]+\s*", value):
            return float(value)
        at, server_now = _date(value), _date(self._header(b"date"))
        return None if at is None else max(0.0, at - (now if server_now is None else server_now))

    def location(self) -> str | None:
        """Return where a redirect leads, without what may be secret: user, password and query; None if nowhere."""
        value = self._header(b"location")
        try:
            return None if value is None else bare_url(value.decode("latin-1").strip())
        except ValueError:
            return None

    def _header(self, name: bytes) -> bytes | None:
        headers = islice(self._headers.items(), self._header_count)
        return next((value for key, value in headers if key.lower() == name), None)


def _date(value: bytes | None) -> float | None:
    """Return an HTTP date in seconds since the epoch; None if it is not one. Without a zone it is in GMT."""
    try:
        date = parsedate_to_datetime((value or b"").decode("latin-1"))
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _plain(content: bytes, applied: list[str]) -> bytes:
    """Undo these codings, the last one first. Raises RemoteProtocolError if that fails.

    Of several header lines, only the first is known: what begins like gzip, as no JSON does, is gzip in any case.
    """
    for _ in range(MAX_CODINGS):
        if content.startswith(GZIP_MAGIC):
            content = _decompress(content, "gzip")
            if applied and applied[-1] in GZIP:
                applied.pop()
        elif content and applied:
            content = _decompress(content, applied.pop())
        else:
            return content
    raise RemoteProtocolError(f"response cannot be decompressed: it is compressed more than {MAX_CODINGS} times")


def _decompress(content: bytes, coding: str) -> bytes:
    """Undo gzip, of any number of members, or deflate; some servers send deflate without zlib's header."""
    if coding not in (*GZIP, "deflate"):
        raise RemoteProtocolError(f"response compressed as {coding[:40]}, which was not accepted")
    framed = coding != "deflate" or content[0] & 0x0F == zlib.DEFLATED
    plain: list[bytes] = []
    left, at, members = MAX_RESPONSE_BYTES, 0, 0
    while not members or content.startswith(GZIP_MAGIC, at):
        members += 1
        if members > MAX_GZIP_MEMBERS:
            raise RemoteProtocolError(f"response cannot be decompressed: more than {MAX_GZIP_MEMBERS} gzip members")
        decompressor = zlib.decompressobj(zlib.MAX_WBITS | 32 if framed else -zlib.MAX_WBITS)
        while not decompressor.eof:
            if at == len(content):
                raise RemoteProtocolError("response cannot be decompressed: it is cut off")
            part = content[at : at + _DECOMPRESSED_AT_ONCE]
            try:
                plain.append(decompressor.decompress(part, left + 1))
            except zlib.error as error:
                raise RemoteProtocolError(f"response cannot be decompressed: {error}") from None
            at += len(part) - len(decompressor.unused_data)
            left -= len(plain[-1])
            if left < 0:
                raise RemoteProtocolError(f"response is larger than {MAX_RESPONSE_BYTES / 1e6:g} MB")
    return b"".join(plain)
