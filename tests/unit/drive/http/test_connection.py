"""The state that a connection and a client show, over a pair of sockets."""

from __future__ import annotations

import math
import socket

import gevent
import pytest

from loadtest.drive.http.client import HttpClient
from loadtest.drive.http.connection import READ_BYTES, Connection, IoBatcher
from loadtest.drive.http.errors import ConnectionClosed
from loadtest.drive.timer import GeventClock

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"ok":1}'


def test_connection_shows_its_state() -> None:
    ours, theirs = socket.socketpair()
    connection = Connection(ours, None, memoryview(bytearray(READ_BYTES)), IoBatcher(GeventClock()))
    assert repr(connection) == "<Connection idle, 0 exchanges>"
    exchange = gevent.spawn(connection.exchange, b"GET / HTTP/1.1\r\n\r\n", math.inf)
    gevent.idle()
    assert repr(connection) == "<Connection waiting, 1 exchanges>"
    assert theirs.recv(100) == b"GET / HTTP/1.1\r\n\r\n"
    theirs.sendall(OK)
    exchange.get()
    assert repr(connection) == "<Connection idle, 1 exchanges>"
    assert connection.reader.body() == b'{"ok":1}'
    exchange = gevent.spawn(connection.exchange, b"GET / HTTP/1.1\r\n\r\n", math.inf)
    gevent.idle()
    theirs.close()
    with pytest.raises(ConnectionClosed):
        exchange.get()
    assert repr(connection) == "<Connection closed, 2 exchanges>"


def test_client_shows_its_connections() -> None:
    client = HttpClient("http://127.0.0.1:1/v2/x", "secret", GeventClock())
    assert repr(client) == "<HttpClient http://127.0.0.1:1/v2/x: 0 connections, 0 idle>"
    client.close()
