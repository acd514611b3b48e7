"""The parser of responses: fed bytes, without a socket."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.drive.http.errors import ConnectionClosed, RemoteProtocolError
from loadtest.drive.http.response_parser import ResponseParser


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


JSON = b'{"ok":1}'
PLAIN = whole(JSON, b"Content-Type: application/json")
CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"o\r\n5;x=y\r\nk":1}\r\n0\r\nX-Late: 1\r\n\r\n'
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
        (whole(b""), b""),
    ],
    ids=["deflate", "array", "empty"],
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
        (b"\x00x", b"br", "compressed as br"),
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
        (b"nonsense", 45.0, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: bytes, now: float, seconds: float | None) -> None:
    assert fed(whole(b"", b"RETRY-AFTER: " + value, status=b"503 x")).retry_after_s(now) == seconds


@given(garbage=st.binary(min_size=1, max_size=200))
def test_garbage_raises_nothing_but_a_protocol_error(garbage: bytes) -> None:
    parser = ResponseParser()
    parser.reset()
    with suppress(RemoteProtocolError):
        parser.feed(garbage)
    assert not parser.complete or garbage.lstrip().startswith(b"HTTP/")
