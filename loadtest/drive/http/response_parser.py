"""Bytes of one connection in, one answer at a time out: the llhttp parser and what it leaves to do."""

from __future__ import annotations

import email.utils
import zlib

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from loadtest.drive.http.errors import ConnectionClosed, RemoteProtocolError

MAX_BODY_BYTES = 256 * 10**6
"""No answer is unpacked to more than this."""


class ResponseParser:
    """Reads the answers of one connection; between two of them it holds nothing of the first.

    `complete` says that an answer is whole: then `status`, `content()` and `retry_after()` are its own, and
    `keep` says whether the connection may carry another. `came` holds, for an answer that came in several parts,
    how many bytes of its body were there at which times.
    """

    def __init__(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        # The parser calls these for every header and part: bound to C methods, they cost next to nothing.
        self.on_header = self._headers.__setitem__
        self.on_body = self._parts.append
        self._parser = HttpResponseParser(self)
        self._in_body = False
        self.received_any = self.complete = False
        self.keep_alive = True
        self.status = 0
        self._part_count = 0
        """How many parts are this answer's; what nobody asked for may have come with it."""
        self.body_progress: list[tuple[int, float]] = []
        self._noted = (0, 0)

    def reset(self) -> None:
        """A request goes out; its answer is the next."""
        self._headers.clear()
        self._parts.clear()
        self._in_body = self.received_any = self.complete = False
        if self.body_progress:
            self.body_progress, self._noted = [], (0, 0)

    def mark_progress(self, at: float) -> None:
        """So far the answer has come by this time, and more of it is to come."""
        parts, size = self._noted
        size += sum(map(len, self._parts[parts:]))
        self._noted = len(self._parts), size
        self.body_progress.append((size, at))

    def feed(self, data: bytes | memoryview) -> None:
        """Bytes came; NoAnswer where they are not HTTP."""
        self.received_any = True
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.keep_alive = False
            if not self.complete:
                raise RemoteProtocolError(f"not HTTP: {error or type(error).__name__}") from None

    def on_eof(self) -> None:
        """The connection has ended, which completes an answer that has no other end; Closed otherwise."""
        self.keep_alive = False
        bounded = self._header(b"content-length") is not None or self._header(b"transfer-encoding") is not None
        if not self._in_body or bounded:
            raise ConnectionClosed("connection closed before the answer was whole")
        self.status, self._part_count = self._parser.get_status_code(), len(self._parts)
        self.complete = True

    def on_message_begin(self) -> None:
        """Parser: an answer begins; where nobody asked for a second one, the connection is not to be trusted."""
        if self.complete:
            self.keep_alive = False

    def on_headers_complete(self) -> None:
        """Parser: what follows is the body."""
        self._in_body = True

    def on_message_complete(self) -> None:
        """Parser: an answer is whole; 1xx only announces another, and whatever nobody asked for is passed over."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self.reset()
            return
        self.status, self._part_count = status, len(self._parts)
        self.complete = True
        self.keep_alive = self.keep_alive and self._parser.should_keep_alive()

    def body(self) -> bytes:
        """The answer's body, unpacked where it came packed; NoAnswer where that fails."""
        content = self._parts[0] if self._part_count == 1 else b"".join(self._parts[: self._part_count])
        # Packed data never begins like a JSON object or array, so most answers need no look at their headers.
        if content.startswith((b"{", b"[")):
            return content
        encoding = self._header(b"content-encoding")
        if encoding is None or not content or encoding.lower() == b"identity":
            return content
        # Where a part of the packed bytes ends says nothing of the plain ones.
        self.body_progress = []
        return _decompress(content, encoding.lower().decode("latin-1"))

    def retry_after_s(self, now: float) -> float | None:
        """Retry-After in seconds from now, in either of its forms (RFC 9110, section 10.2.3)."""
        value = self._header(b"retry-after")
        if value is None:
            return None
        text = value.decode("latin-1").strip()
        if text.isdigit():
            return float(text)
        try:
            return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
        except ValueError:
            return None

    def _header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self._headers.items() if key.lower() == name), None)


def _decompress(content: bytes, encoding: str) -> bytes:
    """The body without its gzip or deflate; some servers send deflate without zlib's frame."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise RemoteProtocolError(f"answer packed as {encoding}, which nobody asked for")
    framed = encoding != "deflate" or content[0] & 0x0F == zlib.DEFLATED
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32 if framed else -zlib.MAX_WBITS)
    try:
        plain = unpacker.decompress(content, MAX_BODY_BYTES)
    except zlib.error as error:
        raise RemoteProtocolError(f"answer cannot be unpacked: {error}") from None
    if not unpacker.eof:
        raise RemoteProtocolError("answer cannot be unpacked: it is cut off or too large")
    return plain
