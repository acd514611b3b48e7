"""Connections and the client over pairs of sockets: what goes out, how often, and when."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import gevent
import pytest
from gevent import Greenlet

from loadtest.drive.http.client import HttpClient
from loadtest.drive.http.connection import MAX_IDLE_S, READ_BYTES, Connection, IoBatcher, MaySend
from loadtest.drive.http.errors import ConnectError, ConnectionClosed
from loadtest.drive.timer import GeventClock
from loadtest.flows.steps import SEND_AGAIN, Response
from loadtest.record.sample import ErrorKind
from tests.unit.drive.virtual_clock import VirtualClock

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"ok":1}'
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"


def test_connection_shows_its_state() -> None:
    ours, theirs = socket.socketpair()
    connection = Connection(ours, None, memoryview(bytearray(READ_BYTES)), IoBatcher(GeventClock()))
    request = (b"GET / HTTP/1.1\r\n\r\n", 0.0, float("inf"), lambda now: True)
    assert repr(connection) == "<Connection idle, 0 exchanges>"
    exchange = gevent.spawn(connection.exchange, request)
    gevent.idle()
    assert repr(connection) == "<Connection waiting, 1 exchanges>"
    assert theirs.recv(100) == b"GET / HTTP/1.1\r\n\r\n"
    theirs.sendall(OK)
    exchange.get()
    assert repr(connection) == "<Connection idle, 1 exchanges>"
    assert connection.reader.body() == b'{"ok":1}'
    exchange = gevent.spawn(connection.exchange, request)
    gevent.idle()
    theirs.close()
    with pytest.raises(ConnectionClosed):
        exchange.get()
    assert repr(connection) == "<Connection closed, 2 exchanges>"


class Pairs:
    """A client whose connections are pairs of sockets, in virtual time; `theirs` are the server's ends."""

    def __init__(self) -> None:
        self.clock = VirtualClock(100.0)
        self.client = HttpClient("http://127.0.0.1:1/v2/x", "secret-of-ours", self.clock)
        self.client._dialer.dial = self._dial  # type: ignore[method-assign]
        self.connect_s = 0.0
        self.theirs: list[socket.socket] = []
        self._batcher = IoBatcher(self.clock)

    def _dial(self) -> Connection:
        self.clock.sleep(self.connect_s)
        ours, theirs = socket.socketpair()
        theirs.settimeout(5.0)
        self.theirs.append(theirs)
        return Connection(ours, None, memoryview(bytearray(READ_BYTES)), self._batcher)

    def send(self, method: str = "POST", may_send: MaySend = lambda now: True) -> Greenlet[[], Response]:
        sending = gevent.spawn(self.client.send, method, "/run", may_send=may_send)
        self.clock.run(self.clock.now() + self.connect_s)
        return sending

    def received(self) -> list[int]:
        """The numbers of the connections over which something came, which is read."""
        ready, _, _ = select.select(self.theirs, [], [], 0.0)
        return [number for number, their in enumerate(self.theirs) if their in ready and their.recv(1000)]

    def exchange(self, method: str = "POST", answer: bytes = OK) -> Response:
        """Send a request, and answer it on the connection that is there or was opened for it."""
        sending = self.send(method)
        assert self.theirs[-1].recv(1000).startswith(method.encode())
        self.theirs[-1].sendall(answer)
        return sending.get(timeout=5)


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    made = Pairs()
    yield made
    made.client.close()
    for their in made.theirs:
        their.close()


def test_client_shows_its_connections(pairs: Pairs) -> None:
    assert repr(pairs.client) == "<HttpClient http://127.0.0.1:1/v2/x: 0 connections, 0 idle>"
    pairs.exchange()
    assert repr(pairs.client) == "<HttpClient http://127.0.0.1:1/v2/x: 1 connections, 1 idle>"


@pytest.mark.parametrize("heard", [b"", EARLY_HINTS, EARLY_HINTS * 2, OK[:1], OK[:-1]], ids=str)
@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
def test_submission_that_is_not_answered_is_never_sent_again(pairs: Pairs, kept: bool, heard: bytes) -> None:
    if kept:
        pairs.exchange()
    sending = pairs.send()
    assert pairs.theirs[-1].recv(1000).startswith(b"POST")
    if heard:
        pairs.theirs[-1].sendall(heard)
    pairs.theirs[-1].close()
    answer = sending.get(timeout=5)
    assert (answer.status, answer.error_kind) == (0, ErrorKind.CONNECTION_CLOSED)
    assert len(pairs.theirs) == 1


def test_read_whose_kept_connection_closes_without_a_byte_is_sent_again_in_a_place_of_its_own(pairs: Pairs) -> None:
    pairs.exchange()
    sending = pairs.send("GET")
    pairs.theirs[-1].recv(1000)
    pairs.theirs[-1].close()
    assert sending.get(timeout=5) is SEND_AGAIN
    assert pairs.exchange("GET").status == 200
    assert len(pairs.theirs) == 2


def test_read_whose_new_connection_closes_is_an_error(pairs: Pairs) -> None:
    sending = pairs.send("GET")
    pairs.theirs[-1].recv(1000)
    pairs.theirs[-1].close()
    assert sending.get(timeout=5).error_kind == ErrorKind.CONNECTION_CLOSED


@pytest.mark.parametrize("left", [b"", OK], ids=["closed", "unrequested response"])
def test_kept_connection_that_became_readable_is_not_used(pairs: Pairs, left: bytes) -> None:
    """The server acts while this process is held up: the loop has not seen it when the next request is to go out."""
    pairs.exchange()
    pairs.clock.run(until=110.0)
    first = pairs.theirs[-1]
    sending = gevent.spawn(pairs.client.send, "POST", "/run")
    first.sendall(left) if left else first.close()
    pairs.clock.settle()
    assert len(pairs.theirs) == 2
    assert pairs.theirs[-1].recv(1000).startswith(b"POST")
    pairs.theirs[-1].sendall(OK)
    assert sending.get(timeout=5).status == 200


@pytest.mark.parametrize(("idle_s", "connections"), [(MAX_IDLE_S - 1, 1), (MAX_IDLE_S + 1, 2)])
def test_connection_that_was_idle_for_long_is_not_used(pairs: Pairs, idle_s: float, connections: int) -> None:
    pairs.exchange()
    pairs.clock.run(until=100.0 + idle_s)
    assert pairs.exchange().status == 200
    assert len(pairs.theirs) == connections


def test_idle_connections_are_closed_after_a_while_and_used_ones_stay(pairs: Pairs) -> None:
    waiting = [pairs.send() for _ in range(3)]
    assert pairs.received() == [0, 1, 2]
    for their in pairs.theirs:
        their.sendall(OK)
    gevent.joinall(waiting, timeout=5)
    pairs.clock.run(until=110.0)
    sending = pairs.send()
    (used,) = pairs.received()
    pairs.theirs[used].sendall(OK)
    sending.get(timeout=5)
    pairs.clock.run(until=100.5 + MAX_IDLE_S)
    pairs.client._expire_overdue()
    assert repr(pairs.client).endswith("1 connections, 1 idle>")
    pairs.clock.run(until=129.0)
    pairs.send()
    assert pairs.received()[0] == used
    assert len(pairs.theirs) == 3


def test_place_is_asked_for_once_the_connection_is_there_and_the_bytes_can_go_out(pairs: Pairs) -> None:
    asked: list[float] = []

    def may_send(now: float) -> bool:
        asked.append(now)
        return len(asked) > 1

    pairs.connect_s = 0.4
    assert pairs.send(may_send=may_send).get(timeout=5) is SEND_AGAIN
    assert pairs.received() == []
    pairs.clock.run(until=101.0)
    pairs.connect_s = 0.0
    sending = pairs.send(may_send=may_send)
    assert pairs.received() == [0]
    pairs.clock.run(until=102.0)
    pairs.theirs[0].sendall(OK)
    answer = sending.get(timeout=5)
    assert asked == pytest.approx([100.4, 101.0])
    assert (answer.sent_at, answer.answered_at) == pytest.approx((101.0, 102.0))
    assert len(pairs.theirs) == 1


def test_time_to_connect_is_part_of_the_response_time(pairs: Pairs) -> None:
    pairs.connect_s = 0.4
    answer = pairs.exchange()
    assert (answer.sent_at, answer.answered_at) == pytest.approx((100.0, 100.4))


def test_killed_request_does_not_go_out(pairs: Pairs) -> None:
    pairs.exchange()
    asked: list[float] = []
    sending = gevent.spawn(pairs.client.send, "POST", "/run", may_send=lambda now: bool(asked.append(now)) or True)
    gevent.spawn(sending.throw)
    pairs.clock.settle()
    assert asked == []
    assert pairs.theirs[0].recv(1000) == b""
    assert repr(pairs.client).endswith("0 connections, 0 idle>")


def test_connection_that_cannot_be_opened_asks_for_no_place(pairs: Pairs) -> None:
    def refuse() -> Connection:
        pairs.clock.sleep(0.5)
        raise ConnectError("no connection: refused")

    pairs.client._dialer.dial = refuse  # type: ignore[method-assign]
    asked: list[float] = []
    sending = pairs.send(may_send=lambda now: bool(asked.append(now)) or True)
    pairs.clock.run()
    answer = sending.get(timeout=5)
    assert (answer.error_kind, answer.sent_at, answer.answered_at) == (ErrorKind.CONNECT_ERROR, 100.0, 100.5)
    assert asked == []


def test_key_in_a_response_is_masked(pairs: Pairs) -> None:
    body = b'{"error": "no such key: secret-of-ours"}'
    for status in (b"200 OK", b"401 Unauthorized"):
        answer = pairs.exchange(answer=b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        assert answer.body == b'{"error": "no such key: **************"}'


def test_key_in_the_headers_of_a_response_is_masked(pairs: Pairs) -> None:
    redirect = b"HTTP/1.1 302 x\r\nContent-Length: 0\r\nLocation: https://host.invalid/secret-of-ours/run\r\n\r\n"
    assert pairs.exchange(answer=redirect).location == "https://host.invalid/****/run"
    coded = b"HTTP/1.1 200 x\r\nContent-Length: 1\r\nContent-Encoding: secret-of-ours\r\n\r\nx"
    assert "compressed as ****" in str(pairs.exchange(answer=coded).error)


def test_redirect_names_where_it_leads_without_secrets(pairs: Pairs) -> None:
    head = b"HTTP/1.1 301 x\r\nContent-Length: 0\r\nLocation: https://me:pw@host.invalid/v2/x?token=1#a\r\n\r\n"
    assert pairs.exchange(answer=head).location == "https://host.invalid/v2/x"
    assert pairs.exchange().location is None


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("kind", [b"text/event-stream", b"application/json"])
def test_stream_of_events_that_breaks_off_keeps_what_came_of_it(pairs: Pairs, kind: bytes) -> None:
    sending = pairs.send()
    their = pairs.theirs[-1]
    their.recv(1000)
    their.sendall(STREAM.replace(b"text/event-stream", kind) + b"9\r\ndata: a\n\n\r\n")
    pairs.clock.run(until=101.0)
    their.sendall(b"9\r\ndata: b\n\n\r\n8\r\ndat")
    pairs.clock.settle()
    their.close()
    answer = sending.get(timeout=5)
    assert (answer.status, answer.error_kind) == (0, ErrorKind.CONNECTION_CLOSED)
    if kind == b"text/event-stream":
        assert answer.body == b"data: a\n\ndata: b\n\ndat"
        assert [size for size, _ in answer.body_progress] == [9, 21]
    else:
        assert (answer.body, list(answer.body_progress)) == (b"", [])
