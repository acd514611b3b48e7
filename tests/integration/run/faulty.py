"""A small endpoint that misbehaves now and then, in the ways that a test chooses; what it did is on record."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

SERVICE_S = 0.1
HEALTH = {"jobs": {"inQueue": 0, "inProgress": 0}, "workers": {"idle": 1, "running": 0}}

Misbehave = Callable[["Talk"], None]


@dataclass(frozen=True)
class Spell:
    """A while in which the endpoint misbehaves in one way; seconds since the epoch."""

    misbehave: Misbehave
    bad_from: float
    bad_until: float


@dataclass
class Faulty:
    """What is known of the endpoint: its jobs by id, and when it misbehaves, each way after a calm of `after_s`."""

    ways: Sequence[Misbehave]
    after_s: float
    for_s: float
    url: str = ""
    jobs: dict[str, float] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    spells: list[Spell] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def job_comes(self) -> None:
        """The first job sets the times of the faults."""
        if not self.spells:
            now, each_s = time.time(), self.after_s + self.for_s
            ends = [now + each_s * number for number in range(1, len(self.ways) + 1)]
            self.spells = [Spell(way, end - self.for_s, end) for way, end in zip(self.ways, ends, strict=True)]

    def misbehaviour(self) -> Misbehave | None:
        now = time.time()
        return next((spell.misbehave for spell in self.spells if spell.bad_from <= now < spell.bad_until), None)


class Talk(BaseHTTPRequestHandler):
    """One connection, request after request."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    endpoint: Faulty
    numbers: count[int]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.endpoint.job_comes()
        if misbehave := self.endpoint.misbehaviour():
            misbehave(self)
        else:
            self.serve_post()

    def serve_post(self) -> None:
        if "/cancel/" in self.path:
            job_id = self.path.rpartition("/")[2]
            self.endpoint.cancelled.add(job_id)
            self.answer({"id": job_id, "status": "CANCELLED"})
            return
        job_id = f"job-{next(self.numbers)}"
        self.endpoint.jobs[job_id] = time.time()
        if "/runsync" in self.path:
            time.sleep(SERVICE_S)
            self.answer(self._job(job_id))
        else:
            self.answer({"id": job_id, "status": "IN_QUEUE"})

    def do_GET(self) -> None:
        if misbehave := self.endpoint.misbehaviour():
            misbehave(self)
        else:
            self.answer(HEALTH if self.path.endswith("/health") else self._job(self.path.rpartition("/")[2]))

    def _job(self, job_id: str) -> dict[str, Any]:
        if time.time() < self.endpoint.jobs[job_id] + SERVICE_S:
            return {"id": job_id, "status": "IN_PROGRESS", "delayTime": 0}
        took_ms = round(SERVICE_S * 1000)
        return {"id": job_id, "status": "COMPLETED", "delayTime": 0, "executionTime": took_ms, "output": 1}

    def answer(self, body: Any, status: int = 200) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """What happened is on the endpoint's own record."""


def resets(talk: Talk) -> None:
    talk.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    talk.connection.close()
    talk.close_connection = True


def hangs(talk: Talk) -> None:
    talk.endpoint.over.wait(60)
    talk.close_connection = True


def answers_with_a_page(talk: Talk) -> None:
    talk.answer(b"<html>Please sign in to the network</html>")


def speaks_another_protocol(talk: Talk) -> None:
    talk.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    talk.close_connection = True


def answers_502(talk: Talk) -> None:
    talk.answer(b"no healthy upstream", 502)


def answers_503(talk: Talk) -> None:
    talk.answer(b"settings are changing", 503)


def answers_502_to_polls(talk: Talk) -> None:
    if talk.command == "GET":
        talk.answer(b"no healthy upstream", 502)
    else:
        talk.serve_post()


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """A client that has gone, or a connection that was reset, is part of the story."""


@contextmanager
def faulty(ways: Sequence[Misbehave], after_s: float, for_s: float) -> Iterator[Faulty]:
    """An endpoint that is well for `after_s`, then misbehaves for `for_s`, once in each of these ways."""
    endpoint = Faulty(ways, after_s, for_s)
    talk = type("BoundTalk", (Talk,), {"endpoint": endpoint, "numbers": count()})
    with Listener(("127.0.0.1", 0), talk) as listener:
        endpoint.url = f"http://127.0.0.1:{listener.server_address[1]}/v2/x"
        serving = threading.Thread(target=listener.serve_forever, args=(0.05,))
        serving.start()
        yield endpoint
        endpoint.over.set()
        listener.shutdown()
        serving.join()
