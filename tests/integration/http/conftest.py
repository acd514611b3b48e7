"""A server of which a test writes every byte, and a process that sends requests to it."""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("driver.py")
TIMEOUT_S = 30
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"ok":1}'
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


def read_request(connection: socket.socket) -> bytes:
    """Read one whole request; empty if the client has closed the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    parts, left = [data], length - len(body)
    while left > 0:
        more = connection.recv(1 << 20)
        if not more:
            return b""
        parts.append(more)
        left -= len(more)
    return b"".join(parts)


def answering(*answers: bytes) -> Callable[[socket.socket, int], None]:
    """Send the same responses on every connection, one per request, the last one repeatedly."""

    def talk(connection: socket.socket, _: int) -> None:
        for number in count():
            if not read_request(connection):
                return
            connection.sendall(answers[min(number, len(answers) - 1)])

    return talk


@dataclass
class Server:
    """A listener on a free port; each connection, numbered from 0, has a thread of its own."""

    port: int
    scheme: str
    host: str
    connections: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/v2/x"


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(talk, tls=None, address="127.0.0.1")`: a server that lives as long as the test."""
    listeners: list[socket.socket] = []
    servers: list[Server] = []

    def begin(
        talk: Callable[[socket.socket, int], None], tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
    ) -> Server:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = socket.create_server((address, 0), family=family, backlog=128)
        host = f"[{address}]" if ":" in address else "localhost" if tls else address
        server = Server(listener.getsockname()[1], "https" if tls else "http", host)
        listeners.append(listener)
        servers.append(server)

        def attend(connection: socket.socket, number: int) -> None:
            with suppress(OSError), connection:
                if tls is not None:
                    connection = tls.wrap_socket(connection, server_side=True)
                with connection:
                    talk(connection, number)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    server.connections.append(connection)
                    arguments = (connection, len(server.connections) - 1)
                    threading.Thread(target=attend, args=arguments, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return server

    yield begin
    for listener in listeners:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for server in servers:
        for connection in server.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


Drive = Callable[..., list[list[dict[str, Any]]]]


@pytest.fixture(scope="session")
def driver() -> Iterator[subprocess.Popen[str]]:
    """A process that carries out plans, one after the other, each in a fork of its own."""
    environment = {name: value for name, value in os.environ.items() if name.lower() not in PROXIES}
    with subprocess.Popen(
        [sys.executable, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def drive(driver: subprocess.Popen[str]) -> Drive:
    """`drive(url, [requests of a round], …, env={}, **plan)`: the response to each request, by rounds."""

    def run(
        url: str, *rounds: list[dict[str, Any]] | dict[str, Any], env: dict[str, str] | None = None, **plan: Any
    ) -> list[list[dict[str, Any]]]:
        waves = [each if isinstance(each, dict) else {"requests": each} for each in rounds]
        assert driver.stdin is not None
        assert driver.stdout is not None
        driver.stdin.write(json.dumps({"url": url, "rounds": waves, "env": env or {}, **plan}) + "\n")
        driver.stdin.flush()
        readable, _, _ = select.select([driver.stdout], [], [], TIMEOUT_S)
        assert readable, f"no responses within {TIMEOUT_S} s"
        done = json.loads(driver.stdout.readline())
        assert done["failed"] == ""
        return done["rounds"]  # type: ignore[no-any-return]

    return run
