"""Bytes of one connection in, one response at a time out: the llhttp parser and what it leaves to do."""

from __future__ import annotations

import email.utils
import zlib

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from loadtest.drive.http.errors import ConnectionClosed, RemoteProtocolError

MAX_BODY_BYTES = 256 * 10**6
"""The most that a body is decompressed to."""


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
        self.on_header = self._headers.__setitem__
        self.on_body = self._parts.append
        self._parser = HttpResponseParser(self)
        self._in_body = False
        self.received_any = self.complete = False
        self.keep_alive = True
        self.status = 0
        self._part_count = 0
        """The parts of this response; those of an unrequested one may follow."""
        self.body_progress: list[tuple[int, float]] = []
        self._counted = (0, 0)

    def reset(self) -> None:
        """Expect the response to a request that goes out."""
        self._headers.clear()
        self._parts.clear()
        self._in_body = self.received_any = self.complete = False
        if self.body_progress:
            self.body_progress, self._counted = [], (0, 0)

    def mark_progress(self, at: float) -> None:
        """Note how much of the body is there at this time, while more is to come."""
        parts, size = self._counted
        size += sum(map(len, self._parts[parts:]))
        self._counted = len(self._parts), size
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
        if not self._in_body or bounded:
            raise ConnectionClosed("connection closed before the response was whole")
        self.status, self._part_count = self._parser.get_status_code(), len(self._parts)
        self.complete = True

    def on_message_begin(self) -> None:
        """Distrust a connection on which an unrequested response begins; called by the parser."""
        if self.complete:
            self.keep_alive = False

    def on_headers_complete(self) -> None:
        """Note that the body follows; called by the parser."""
        self._in_body = True

    def on_message_complete(self) -> None:
        """Complete the response, unless it is 1xx or an unrequested one; called by the parser."""
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
        """Return the body, decompressed. Raises RemoteProtocolError if that fails."""
        content = self._parts[0] if self._part_count == 1 else b"".join(self._parts[: self._part_count])
        # Compressed data never begins like a JSON object or array, so most responses need no look at their headers.
        if content.startswith((b"{", b"[")):
            return content
        encoding = self._header(b"content-encoding")
        if encoding is None or not content or encoding.lower() == b"identity":
            return content
        # The end of a part of the compressed bytes says nothing of the plain ones.
        self.body_progress = []
        return _decompress(content, encoding.lower().decode("latin-1"))

    def retry_after_s(self, now: float) -> float | None:
        """Return Retry-After in seconds from now, in either of its forms (RFC 9110, section 10.2.3)."""
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
    """Undo gzip or deflate; some servers send deflate without zlib's header."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise RemoteProtocolError(f"response compressed as {encoding}, which was not accepted")
    framed = encoding != "deflate" or content[0] & 0x0F == zlib.DEFLATED
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 32 if framed else -zlib.MAX_WBITS)
    try:
        plain = decompressor.decompress(content, MAX_BODY_BYTES)
    except zlib.error as error:
        raise RemoteProtocolError(f"response cannot be decompressed: {error}") from None
    if not decompressor.eof:
        raise RemoteProtocolError("response cannot be decompressed: it is cut off or too large")
    return plain
