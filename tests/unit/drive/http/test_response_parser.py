"""The reader is fed bytes and asked for answers; it knows no socket."""

from __future__ import annotations

import gzip
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.drive.http.errors import ConnectionClosed, RemoteProtocolError
from loadtest.drive.http.response_parser import ResponseParser

PLAIN = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"ok":1}'
CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"o\r\n5\r\nk":1}\r\n0\r\n\r\n'
PACKED = gzip.compress(b'{"ok":1}', mtime=0)
GZIP = b"HTTP/1.1 200 OK\r\nCONTENT-ENCODING: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED
ANNOUNCED = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN


def fed(*parts: bytes) -> ResponseParser:
    reader = ResponseParser()
    reader.reset()
    for part in parts:
        reader.feed(part)
    return reader


@given(answer=st.sampled_from([PLAIN, CHUNKED, GZIP, ANNOUNCED]), cuts=st.sets(st.integers(1, 60)))
def test_it_does_not_matter_how_an_answer_is_cut(answer: bytes, cuts: set[int]) -> None:
    indices = [0, *sorted(cut for cut in cuts if cut < len(answer)), len(answer)]
    reader = fed(*(answer[a:b] for a, b in pairwise(indices)))
    assert (reader.complete, reader.keep_alive, reader.status, reader.body()) == (True, True, 200, b'{"ok":1}')


@given(cut=st.integers(1, len(PLAIN) - 1))
def test_an_answer_that_is_cut_off_is_none(cut: int) -> None:
    reader = fed(PLAIN[:cut])
    assert not reader.complete
    with pytest.raises(ConnectionClosed):
        reader.on_eof()


def test_one_answer_leaves_nothing_to_the_next() -> None:
    reader = fed(b"HTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy")
    assert (reader.status, reader.body(), reader.retry_after_s(0.0)) == (429, b"busy", 3.0)
    reader.reset()
    reader.feed(PLAIN)
    assert (reader.status, reader.body(), reader.retry_after_s(0.0)) == (200, b'{"ok":1}', None)


def test_what_nobody_asked_for_is_left_out_and_ends_the_connection() -> None:
    reader = fed(PLAIN + b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno")
    assert (reader.status, reader.body(), reader.keep_alive) == (200, b'{"ok":1}', False)


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    reader = fed(b"HTTP/1.1 200 OK\r\n\r\n", b'{"ok"', b":1}")
    reader.on_eof()
    assert (reader.complete, reader.keep_alive, reader.body()) == (True, False, b'{"ok":1}')


def test_a_server_may_ask_to_close() -> None:
    assert not fed(PLAIN.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")).keep_alive


def test_retry_after_may_be_a_date() -> None:
    reader = fed(b"HTTP/1.1 503 x\r\nRetry-After: Thu, 01 Jan 1970 00:01:00 GMT\r\nContent-Length: 0\r\n\r\n")
    assert reader.retry_after_s(45.0) == 15.0
    assert reader.retry_after_s(90.0) == 0.0


@given(garbage=st.binary(min_size=1, max_size=200))
def test_garbage_is_never_more_than_a_fault(garbage: bytes) -> None:
    reader = ResponseParser()
    reader.reset()
    with suppress(RemoteProtocolError):
        reader.feed(garbage)
    assert not reader.complete or garbage.lstrip().startswith(b"HTTP/")
