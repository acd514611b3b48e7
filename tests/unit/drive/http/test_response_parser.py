"""The parser of responses: fed bytes, without a socket."""

from __future__ import annotations

import gzip
import time
import zlib
from contextlib import suppress
from functools import reduce
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.drive.http import response_parser
from loadtest.drive.http.errors import ConnectionClosed, RemoteProtocolError
from loadtest.drive.http.response_parser import MAX_GZIP_MEMBERS, MAX_HEADER_BYTES, ResponseParser


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


JSON = b'{"ok":1}'
PLAIN = whole(JSON, b"Content-Type: application/json")


def nested_gzip(times: int) -> bytes:
    return reduce(lambda body, _: gzip.compress(body, mtime=0), range(times), JSON)


def two_lines(body: bytes, first: bytes, second: bytes) -> bytes:
    """Return a response whose codings are named in two header lines, which mean the same as one (RFC 9110, 5.3)."""
    return whole(body, b"Content-Encoding: " + first + b"\r\nContent-Encoding: " + second)


CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"o\r\n5;x=y\r\nk":1}\r\n0\r\nX-Late: 1\r\n\r\n'
ZIPPED = gzip.compress(JSON, mtime=0)
GZIP = whole(gzip.compress(JSON, mtime=0), b"CONTENT-ENCODING: gzip")
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN
RAW_DEFLATE = whole(zlib.compress(JSON, wbits=-15), b"Content-Encoding: deflate")


def fed(*parts: bytes) -> ResponseParser:
    parser = ResponseParser()
    parser.reset()
    for part in parts:
        parser.feed(part)
    return parser


@given(response=st.sampled_from([PLAIN, CHUNKED, GZIP, CONTINUED, RAW_DEFLATE]), cuts=st.sets(st.integers(1, 60)))
def test_response_is_the_same_however_its_bytes_are_cut(response: bytes, cuts: set[int]) -> None:
    indices = [0, *sorted(cut for cut in cuts if cut < len(response)), len(response)]
    parser = fed(*(response[a:b] for a, b in pairwise(indices)))
    assert (parser.complete, parser.keep_alive, parser.status, parser.body()) == (True, True, 200, JSON)


@pytest.mark.parametrize(
    ("response", "body"),
    [
        (whole(zlib.compress(JSON), b"content-encoding: Deflate"), JSON),
        (whole(b"[]", b"Content-Encoding: identity"), b"[]"),
        (whole(b"text", b"Content-Encoding: identity"), b"text"),
        (whole(b""), b""),
        (whole(b"", b"Content-Encoding: gzip"), b""),
        (whole(gzip.compress(b"", mtime=0) + gzip.compress(JSON, mtime=0), b"Content-Encoding: x-gzip"), JSON),
        (whole(b"".join(gzip.compress(bytes([each]), mtime=0) for each in JSON), b"Content-Encoding: gzip"), JSON),
        (whole(gzip.compress(JSON, mtime=0) + bytes(9), b"Content-Encoding: gzip"), JSON),
        (whole(gzip.compress(JSON, mtime=0), b"Content-Encoding: gzip, identity"), JSON),
        (whole(gzip.compress(JSON, mtime=0), b"Content-Encoding: IDENTITY ,Gzip,"), JSON),
        (whole(gzip.compress(zlib.compress(JSON), mtime=0), b"Content-Encoding: deflate, gzip"), JSON),
        (CHUNKED.replace(b"X-Late: 1", b"Content-Encoding: gzip"), JSON),
        *(
            (two_lines(ZIPPED, *lines), JSON)
            for lines in ((b"gzip", b"identity"), (b"identity", b"gzip"), (b"", b"gzip"))
        ),
        (two_lines(gzip.compress(ZIPPED, mtime=0), b"gzip", b"GZIP"), JSON),
        (two_lines(gzip.compress(zlib.compress(JSON), mtime=0), b"deflate", b"gzip"), JSON),
        (two_lines(zlib.compress(ZIPPED), b"x-gzip", b"deflate"), JSON),
        (CHUNKED.replace(b'{"o', b'"{o').replace(b"X-Late: 1", b"content-encoding: br"), b'"{ok":1}'),
    ],
)
def test_body_is_decompressed_as_its_header_says(response: bytes, body: bytes) -> None:
    assert fed(response).body() == body


@pytest.mark.parametrize("response", [PLAIN, CHUNKED])
@given(data=st.data())
def test_response_that_is_cut_off_is_incomplete(response: bytes, data: st.DataObject) -> None:
    parser = fed(response[: data.draw(st.integers(1, len(response) - 1))])
    assert not parser.complete
    with pytest.raises(ConnectionClosed):
        parser.on_eof()


@pytest.mark.parametrize(
    "data",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
    ids=["garbage", "101"],
)
def test_bytes_that_are_not_a_response_are_a_protocol_error(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not HTTP"):
        fed(data)


@pytest.mark.parametrize(
    ("body", "encoding", "error"),
    [
        (b"\x1f\x8bnonsense", b"gzip", "cannot be decompressed"),
        (gzip.compress(JSON * 40, mtime=0)[:-9], b"gzip", "cut off"),
        (gzip.compress(JSON, mtime=0) + gzip.compress(JSON, mtime=0)[:-3], b"gzip", "cut off"),
        (b"\x00x", b"br", "compressed as br"),
        (gzip.compress(b"", mtime=0) * (MAX_GZIP_MEMBERS + 1), b"gzip", "gzip members"),
        (b"\x00x", b"gzip, \xe9", "compressed as \xe9"),
        (nested_gzip(9), b"gzip", "more than 8 times"),
    ],
)
def test_body_that_cannot_be_decompressed_is_a_protocol_error(body: bytes, encoding: bytes, error: str) -> None:
    with pytest.raises(RemoteProtocolError, match=error):
        fed(whole(body, b"Content-Encoding: " + encoding)).body()


def test_response_leaves_nothing_to_the_next() -> None:
    parser = fed(whole(b"busy", b"Retry-After: 3", status=b"429 Too Many Requests"))
    assert (parser.status, parser.body(), parser.retry_after_s(0.0)) == (429, b"busy", 3.0)
    parser.reset()
    parser.feed(PLAIN)
    assert (parser.status, parser.body(), parser.retry_after_s(0.0)) == (200, JSON, None)


def test_unrequested_response_is_left_out_and_ends_the_connection() -> None:
    parser = fed(PLAIN + whole(b"no", status=b"500 Oops"))
    assert (parser.status, parser.body(), parser.keep_alive) == (200, JSON, False)


def test_response_without_a_length_ends_with_its_connection() -> None:
    parser = fed(b"HTTP/1.1 200 OK\r\n\r\n", b'{"ok"', b":1}")
    parser.on_eof()
    assert (parser.complete, parser.keep_alive, parser.body()) == (True, False, JSON)


def test_server_can_ask_to_close_the_connection() -> None:
    assert not fed(whole(JSON, b"Connection: close")).keep_alive


@pytest.mark.parametrize(
    ("value", "now", "seconds"),
    [
        (b"7", 45.0, 7.0),
        (b"Thu, 01 Jan 1970 00:01:00 GMT", 45.0, 15.0),
        (b"Thu, 01 Jan 1970 00:01:00 GMT", 90.0, 0.0),
        (b"Thursday, 01-Jan-70 00:01:00 GMT", 45.0, 15.0),
        (b"Thu Jan  1 00:01:00 1970", 45.0, 15.0),
        (b"0", 45.0, 0.0),
        (b"9" * 400, 45.0, float("inf")),
        (b"nonsense", 45.0, None),
        (b"-5", 45.0, None),
        (b"\xc2\xb2", 45.0, None),
        (b"\xb2", 45.0, None),
        (b"\xd9\xa3", 45.0, None),
        (b"Thu, 01 Jan 99999999999 00:00:00 GMT", 45.0, None),
        (b"Thu, 99999999999999999999999 Jan 1970 00:00:00 GMT", 45.0, None),
        (b"Thu, 01 Jan 1970 00:00:00 +99999999999", 45.0, None),
        (b"Thu, 01 Jan " + b"9" * 5000 + b" 00:00:00 GMT", 45.0, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(
    monkeypatch: pytest.MonkeyPatch, value: bytes, now: float, seconds: float | None
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert fed(whole(b"", b"RETRY-AFTER: " + value, status=b"503 x")).retry_after_s(now) == seconds
    finally:
        monkeypatch.undo()
        time.tzset()


@given(value=st.binary(max_size=60).filter(lambda value: not set(value) & set(b"\r\n\0")))
def test_any_retry_after_is_seconds_or_nothing(value: bytes) -> None:
    parser = ResponseParser()
    parser.reset()
    with suppress(RemoteProtocolError):
        parser.feed(whole(b"", b"Retry-After: " + value, b"Date: " + value[::-1], b"Location: " + value))
        assert (parser.retry_after_s(45.0) or 0.0) >= 0.0
        assert parser.location() is None or isinstance(parser.location(), str)


def test_date_of_retry_after_is_compared_with_that_of_the_server() -> None:
    at = (b"Retry-After: Thu, 01 Jan 1970 00:01:00 GMT", b"Date: Thu, 01 Jan 1970 00:00:50 GMT")
    assert fed(whole(b"", *at, status=b"503 x")).retry_after_s(1e9) == 10.0
    assert fed(whole(b"", at[0], b"Date: today", status=b"503 x")).retry_after_s(45.0) == 15.0


def test_interim_response_leaves_nothing_to_the_final_one() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\nContent-Encoding: br\r\n\r\n"
    parser = fed(hints)
    assert parser.received_any
    parser.feed(whole(b"busy", status=b"429 x"))
    assert (parser.status, parser.body(), parser.retry_after_s(0.0)) == (429, b"busy", None)


LIMIT_BYTES = 10**6


@pytest.fixture
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_parser, "MAX_RESPONSE_BYTES", LIMIT_BYTES)


def feed_endlessly(parser: ResponseParser, piece: bytes, limit_bytes: int = LIMIT_BYTES) -> None:
    for count in range(1, 2 + limit_bytes // len(piece)):
        parser.feed(piece)
        parser.mark_progress(len(piece), 0.0)
        assert len(parser._parts) <= count


@pytest.mark.usefixtures("_small_limit")
@pytest.mark.parametrize(
    "piece", [b"1\r\nx\r\n" * 1000, b"4000\r\n" + b"x" * 0x4000 + b"\r\n"], ids=["tiny", "large"]
)
def test_response_that_is_too_large_is_refused_before_it_is_whole(piece: bytes) -> None:
    parser = fed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with pytest.raises(RemoteProtocolError, match="larger than 1 MB"):
        feed_endlessly(parser, piece)


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Many: x\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 10_000),
        (b"HTTP/1.1 200 OK\r\n", b"x" * 10_000),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 500),
    ],
    ids=["many", "long value", "long name", "1xx"],
)
def test_headers_without_an_end_are_refused(begin: bytes, piece: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="headers are larger than 1 MB"):
        feed_endlessly(fed(begin), piece, MAX_HEADER_BYTES)


@pytest.mark.usefixtures("_small_limit")
@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(bytes(LIMIT_BYTES + 1)), b"gzip"),
        (zlib.compress(bytes(LIMIT_BYTES + 1)), b"deflate"),
        (gzip.compress(bytes(LIMIT_BYTES // 10)) * 11, b"gzip"),
        (gzip.compress(gzip.compress(bytes(LIMIT_BYTES + 1))), b"gzip, gzip"),
    ],
    ids=["gzip", "deflate", "members", "twice"],
)
def test_response_that_becomes_too_large_is_refused(body: bytes, coding: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="larger than 1 MB"):
        fed(whole(body, b"Content-Encoding: " + coding)).body()


@given(garbage=st.binary(min_size=1, max_size=200))
def test_garbage_raises_nothing_but_a_protocol_error(garbage: bytes) -> None:
    parser = ResponseParser()
    parser.reset()
    with suppress(RemoteProtocolError):
        parser.feed(garbage)
    assert not parser.complete or garbage.lstrip().startswith(b"HTTP/")
