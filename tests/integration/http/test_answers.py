"""Responses over a socket, whole or not: each is a response or an error with its kind, never an exception."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

import pytest

from tests.integration.http.conftest import OK, Drive, Serve, answering, read_request

ONE = [{}]


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


CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"ok"\r\n3;x=y\r\n:1}\r\n0\r\nX-Late: 1\r\n\r\n'


@pytest.mark.parametrize("response", [OK, CHUNKED], ids=["plain", "chunked"])
def test_connection_is_kept_after_a_whole_response(serve: Serve, drive: Drive, response: bytes) -> None:
    server = serve(answering(response))
    for (got,) in drive(server.url, ONE, ONE):
        assert (got["status"], got["body"], got["error"]) == (200, '{"ok":1}', None)
    assert len(server.connections) == 1


def test_refusal_is_a_response(serve: Serve, drive: Drive) -> None:
    refusal = whole(b"busy", b"Retry-After: 7", status=b"429 Too Many Requests")
    [[got]] = drive(serve(answering(refusal)).url, ONE)
    assert (got["status"], got["retry_after_s"], got["body"]) == (429, 7.0, "busy")


@pytest.mark.parametrize(
    ("act", "error", "kind"),
    [
        (reset, "connection lost: Connection reset by peer", "connection_closed"),
        (lambda c: c.close(), "connection closed before the response was whole", "connection_closed"),
        (lambda c: c.sendall(CHUNKED[:60]), "connection closed before", "connection_closed"),
        (lambda c: c.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), "not HTTP", "remote_protocol_error"),
        (
            lambda c: c.sendall(whole(b"\x1f\x8bnonsense", b"Content-Encoding: gzip")),
            "cannot be decompressed",
            "remote_protocol_error",
        ),
    ],
    ids=["reset", "closed", "chunks cut", "garbage", "bad gzip"],
)
def test_half_a_response_is_an_error(
    serve: Serve, drive: Drive, act: Callable[[socket.socket], None], error: str, kind: str
) -> None:
    [[got]] = drive(serve(after_the_request(act)).url, ONE)
    assert (got["status"], got["error_kind"]) == (0, kind)
    assert error in got["error"]


def test_body_may_end_with_its_connection(serve: Serve, drive: Drive) -> None:
    server = serve(after_the_request(lambda c: c.sendall(b"HTTP/1.0 200 OK\r\n\r\n{}")))
    assert [got["body"] for [got] in drive(server.url, ONE, ONE)] == ["{}", "{}"]
    assert len(server.connections) == 2


def test_silent_server_is_waited_for_until_the_timeout(serve: Serve, drive: Drive) -> None:
    server = serve(after_the_request(lambda c: c.recv(1)))
    [[got]] = drive(server.url, ONE, response_timeout_s=0.6)
    assert (got["error"], got["error_kind"]) == ("no whole response in time", "read_timeout")
    assert 0.5 < got["took_s"] < 2
    assert len(server.connections) == 1


def test_response_is_not_waited_for_after_the_deadline(serve: Serve, drive: Drive) -> None:
    server = serve(after_the_request(lambda c: c.recv(1)))
    [[got]] = drive(server.url, [{"deadline_s": 0.2}])
    assert got["error"] == "no whole response in time"
    assert 1 < got["took_s"] < 3


def test_long_poll_is_waited_for_after_the_deadline(serve: Serve, drive: Drive) -> None:
    def late(connection: socket.socket) -> None:
        time.sleep(1.7)
        connection.sendall(OK)

    [[got]] = drive(serve(after_the_request(late)).url, [{"deadline_s": 0.2, "long_poll_s": 1.6}])
    assert got["status"] == 200


def test_slow_headers_delay_no_other_request(serve: Serve, drive: Drive) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        while read_request(connection):
            if number == 0:
                for byte in OK:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.06)
            else:
                connection.sendall(OK)

    (slow, *others) = drive(serve(talk).url, ONE * 4)[0]
    assert [got["body"] for got in (slow, *others)] == ['{"ok":1}'] * 4
    took_s = sorted(got["took_s"] for got in (slow, *others))
    assert took_s[-1] > 2.2
    assert took_s[-2] < 1.6


def test_unrequested_response_ends_the_connection(serve: Serve, drive: Drive) -> None:
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


def test_refusal_before_the_body_was_read_is_received(serve: Serve, drive: Drive) -> None:
    def talk(connection: socket.socket, _: int) -> None:
        connection.recv(1000)
        connection.sendall(whole(b"too large", b"Connection: close", status=b"413 Content Too Large"))
        time.sleep(0.2)

    [[got]] = drive(serve(talk).url, [{"bytes": 20 * 10**6}])
    assert (got["status"], got["body"]) == (413, "too large")


@pytest.mark.parametrize("head", [b"Content-Length: 9000000000", b"X-Without: length"])
def test_response_without_an_end_is_refused_and_read_no_further(serve: Serve, drive: Drive, head: bytes) -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        while True:
            connection.sendall(bytes(10**6))

    [[got]] = drive(serve(after_the_request(endless)).url, ONE)
    assert (got["error"], got["error_kind"]) == ("response is larger than 64 MB", "remote_protocol_error")


@pytest.mark.alone
def test_parts_of_a_response_are_seen_as_they_are_sent(serve: Serve, drive: Drive) -> None:
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
    seen = {size: at for size, at in reversed(answer["body_progress"]) if size}
    ends = [len(b"".join(parts[: number + 1])) for number in range(len(parts))]
    lags_s = [seen.get(end, answer["answered_at"]) - at for end, at in zip(ends, sent_at, strict=True)]
    assert max(lags_s) < 0.005
    assert min(lags_s) > -0.001
