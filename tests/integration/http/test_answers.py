"""What servers answer, whole or not: every kind of it is an answer or a fault in words, never an exception."""

from __future__ import annotations

import gzip
import socket
import struct
import time
import zlib
from collections.abc import Callable

import pytest

from tests.integration.http.conftest import OK, Drive, Serve, answering, read_request

ONE = [{}]
TEXT = b'{"text": "' + b"all work and no play " * 40 + b'"}'


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def after_the_request(act: Callable[[socket.socket], None]) -> Callable[[socket.socket, int], None]:
    def talk(connection: socket.socket, _: int) -> None:
        read_request(connection)
        act(connection)

    return talk


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def drip(connection: socket.socket) -> None:
    for byte in OK:
        connection.sendall(bytes([byte]))


CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n3;x=y\r\n:1}\r\n0\r\nX-After: 1\r\n\r\n'


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK, b'{"ok":1}'),
        (CHUNKED, b'{"a":1}'),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b'{"ok":1}'),
        (whole(gzip.compress(TEXT), b"Content-Encoding: gzip"), TEXT),
        (whole(zlib.compress(TEXT), b"content-encoding: Deflate"), TEXT),
        (whole(zlib.compress(TEXT, wbits=-15), b"Content-Encoding: deflate"), TEXT),
        (whole(b"[]"), b"[]"),
        (whole(b""), b""),
    ],
    ids=["plain", "chunked", "1xx first", "gzip", "deflate", "raw deflate", "array", "empty"],
)
def test_an_answer_comes_whole_and_its_connection_is_kept(
    serve: Serve, drive: Drive, answer: bytes, body: bytes
) -> None:
    server = serve(answering(answer))
    for (got,) in drive(server.url, ONE, ONE):
        assert (got["status"], got["bytes"], got["fault"]) == (200, len(body), None)
        assert got["body"].encode("latin-1") == (body if len(body) < 1000 else body[:10])
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("answer", "status", "retry_after_s"),
    [
        (whole(b"busy", b"Retry-After: 7", status=b"429 Too Many Requests"), 429, 7.0),
        (whole(b"busy", status=b"429 Too Many Requests"), 429, None),
        (whole(b"soon", b"RETRY-AFTER: nonsense", status=b"503 Service Unavailable"), 503, None),
        (whole(b"oops", status=b"500 Internal Server Error"), 500, None),
    ],
)
def test_refusals_are_answers(
    serve: Serve, drive: Drive, answer: bytes, status: int, retry_after_s: float | None
) -> None:
    [[got]] = drive(serve(answering(answer)).url, ONE)
    assert (got["status"], got["retry_after_s"], got["bytes"]) == (status, retry_after_s, 4)


@pytest.mark.parametrize(
    ("act", "fault"),
    [
        (reset, "connection lost: Connection reset by peer"),
        (lambda c: c.close(), "connection closed before the answer was whole"),
        (lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), "connection closed before"),
        (lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nServer: cut"), "connection closed before"),
        (lambda c: c.sendall(CHUNKED[:60]), "connection closed before"),
        (lambda c: c.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), "not HTTP"),
        (
            lambda c: c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            "not HTTP",
        ),
        (lambda c: c.sendall(whole(b"\x1f\x8bnonsense", b"Content-Encoding: gzip")), "cannot be unpacked"),
        (lambda c: c.sendall(whole(gzip.compress(TEXT)[:-9], b"Content-Encoding: gzip")), "cut off"),
        (lambda c: c.sendall(whole(b"\x00x", b"Content-Encoding: br")), "packed as br"),
    ],
    ids=["reset", "closed", "body cut", "head cut", "chunks cut", "garbage", "101", "bad gzip", "gzip cut", "br"],
)
def test_half_an_answer_is_a_fault(
    serve: Serve, drive: Drive, act: Callable[[socket.socket], None], error: str
) -> None:
    [[got]] = drive(serve(after_the_request(act)).url, ONE)
    assert got["status"] == 0
    assert error in got["fault"]


def test_a_body_may_end_with_its_connection(serve: Serve, drive: Drive) -> None:
    server = serve(after_the_request(lambda c: c.sendall(b"HTTP/1.0 200 OK\r\n\r\n{}")))
    assert [got["body"] for [got] in drive(server.url, ONE, ONE)] == ["{}", "{}"]
    assert len(server.connections) == 2


def test_a_server_that_says_nothing_has_its_time(serve: Serve, drive: Drive) -> None:
    server = serve(after_the_request(lambda c: c.recv(1)))
    [[got]] = drive(server.url, ONE, answer_within_s=0.6)
    assert got["fault"] == "no whole answer in time"
    assert 0.5 < got["took_s"] < 2
    assert len(server.connections) == 1


def test_an_answer_past_the_clients_patience_is_not_waited_for(serve: Serve, drive: Drive) -> None:
    server = serve(after_the_request(lambda c: c.recv(1)))
    [[got]] = drive(server.url, [{"patience_s": 0.2}])
    assert got["fault"] == "no whole answer in time"
    assert 1 < got["took_s"] < 3


def test_an_answer_that_the_server_may_hold_longer_is_waited_for(serve: Serve, drive: Drive) -> None:
    def late(connection: socket.socket) -> None:
        time.sleep(1.7)
        connection.sendall(OK)

    [[got]] = drive(serve(after_the_request(late)).url, [{"patience_s": 0.2, "hold_s": 1.6}])
    assert got["status"] == 200


def test_headers_that_drip_hold_nobody_else_up(serve: Serve, drive: Drive) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        while read_request(connection):
            if number == 0:
                for byte in OK:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.01)
            else:
                connection.sendall(OK)

    (slow, *others) = drive(serve(talk).url, ONE * 4)[0]
    assert [got["body"] for got in (slow, *others)] == ['{"ok":1}'] * 4
    took_s = sorted(got["took_s"] for got in (slow, *others))
    assert took_s[-1] > 0.3
    assert took_s[-2] < 0.3


def test_an_answer_that_nobody_asked_for_ends_the_connection(serve: Serve, drive: Drive) -> None:
    server = serve(answering(OK + whole(b'{"of":"another"}')))
    assert [got["body"] for [got] in drive(server.url, ONE, ONE)] == ['{"ok":1}', '{"ok":1}']
    assert len(server.connections) == 2


@pytest.mark.parametrize("chunked", [False, True])
def test_20_mb_go_out_and_come_back(serve: Serve, drive: Drive, chunked: bool) -> None:
    size = 20 * 10**6
    received: list[int] = []

    def talk(connection: socket.socket, _: int) -> None:
        while request := read_request(connection):
            received.append(len(request.partition(b"\r\n\r\n")[2]))
            if not chunked:
                connection.sendall(whole(b"[" * size))
                continue
            piece = b"[" * 10_000
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            connection.sendall((b"%x\r\n" % len(piece) + piece + b"\r\n") * (size // len(piece)) + b"0\r\n\r\n")

    [[got], [again]] = drive(serve(talk).url, [{"bytes": size}], [{"bytes": size}])
    assert received == [size, size]
    assert (got["bytes"], again["bytes"]) == (size, size)
    assert again["took_s"] < 3


def test_a_refusal_before_the_body_is_read_is_heard(serve: Serve, drive: Drive) -> None:
    def talk(connection: socket.socket, _: int) -> None:
        connection.recv(1000)
        connection.sendall(whole(b"too large", b"Connection: close", status=b"413 Content Too Large"))
        time.sleep(0.2)

    [[got]] = drive(serve(talk).url, [{"bytes": 20 * 10**6}])
    assert (got["status"], got["body"]) == (413, "too large")


@pytest.mark.alone
def test_parts_of_an_answer_are_seen_as_they_are_sent(serve: Serve, drive: Drive) -> None:
    parts = [b'[{"output":"first"}', b',{"output":"second"}', b',{"output":"third"}]']
    sent_at: list[float] = []

    def talk(connection: socket.socket, _: int) -> None:
        while read_request(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for part in parts:
                time.sleep(0.15)
                sent_at.append(time.time())
                connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            connection.sendall(b"0\r\n\r\n")

    [[answer]] = drive(serve(talk).url, [{"method": "GET", "path": "/stream/1"}])
    assert answer["body"].encode() == b"".join(parts)
    seen = {size: at for size, at in reversed(answer["came"]) if size}
    ends = [len(b"".join(parts[: number + 1])) for number in range(len(parts))]
    lags_s = [seen.get(end, answer["answered_at"]) - at for end, at in zip(ends, sent_at, strict=True)]
    assert max(lags_s) < 0.005
    assert min(lags_s) > -0.001
