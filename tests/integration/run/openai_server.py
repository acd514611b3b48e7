"""A small endpoint with an OpenAI route that keeps its own times, and answers wrong or empty now and then."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

TOKENS, FIRST_S, GAP_S = 20, 0.05, 0.02
EVERY = 14
"""One answer of this many of each operation is not as it should be: 7 %."""
HEALTH = {"jobs": {"inQueue": 0, "inProgress": 0}, "workers": {"idle": 1, "running": 0}}


@dataclass
class OpenAIServer:
    """What the server knows: when each request came and each token went out, by the id of the answer."""

    url: str = ""
    received_at: dict[str, float] = field(default_factory=dict)
    tokens_at: dict[str, list[float]] = field(default_factory=dict)
    late_s: dict[str, float] = field(default_factory=dict)
    """The most by which a token of the answer went out later than planned: the machine was busy."""
    wrong: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    numbers: count[int] = field(default_factory=lambda: count(1))

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                received_at, path = time.time(), head.split()[1].decode().partition("?")[0]
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
                if path.endswith("/openai/v1/chat/completions"):
                    await self._stream(json.loads(body), received_at, writer)
                elif path.endswith("/runsync"):
                    self._runsync(writer)
                else:
                    answer(writer, HEALTH if path.endswith("/health") else {"id": "x", "status": "CANCELLED"})
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _runsync(self, writer: asyncio.StreamWriter) -> None:
        number = next(self.numbers)
        job_id, document = f"sync-{number}", {"status": "COMPLETED", "delayTime": 1, "executionTime": 1}
        if number % EVERY == 0:
            self.empty.add(job_id)
            answer(writer, {"id": job_id, **document})
        else:
            answer(writer, {"id": job_id, **document, "output": {"text": "fine"}})

    async def _stream(self, asked: dict[str, Any], received_at: float, writer: asyncio.StreamWriter) -> None:
        number = len(self.bodies) + 1
        answer_id = f"chatcmpl-{number}"
        self.bodies.append(asked)
        self.received_at[answer_id] = received_at
        times = self.tokens_at[answer_id] = []
        is_wrong, breaks = number % EVERY == 0, number % EVERY == 1
        if is_wrong:
            self.wrong.add(answer_id)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        begun = time.monotonic()
        for index in range(TOKENS):
            planned_at = begun + FIRST_S + GAP_S * index
            await asyncio.sleep(planned_at - time.monotonic())
            self.late_s[answer_id] = max(self.late_s.get(answer_id, 0.0), time.monotonic() - planned_at)
            if breaks and index == TOKENS // 2:
                self.broken.add(answer_id)
                raise ConnectionError
            times.append(time.time())
            _event(writer, answer_id, [{"index": 0, "delta": {"content": "no" if is_wrong else f" {index}"}}])
        _event(writer, answer_id, [{"index": 0, "delta": {}, "finish_reason": "stop"}])
        usage = {"prompt_tokens": 5, "completion_tokens": TOKENS}
        _event(writer, answer_id, [], usage=usage)
        _chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")


def _event(writer: asyncio.StreamWriter, answer_id: str, choices: list[Any], **members: Any) -> None:
    _chunk(writer, b"data: %s\n\n" % json.dumps({"id": answer_id, "choices": choices, **members}).encode())


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


def answer(writer: asyncio.StreamWriter, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@contextmanager
def openai_server() -> Iterator[OpenAIServer]:
    """Serve on a free port, in a thread of its own, until the block ends."""
    server = OpenAIServer()
    with listening(server.talk) as server.url:
        yield server


@contextmanager
def listening(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Iterator[str]:
    """Listen on a free port, in a thread of its own, until the block ends; yield the endpoint's URL."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    ports: list[int] = []

    async def listen() -> None:
        listener = await asyncio.start_server(talk, "127.0.0.1", 0)
        ports.append(listener.sockets[0].getsockname()[1])
        ready.set()

    def serve() -> None:
        loop.run_until_complete(listen())
        loop.run_forever()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(10)
    yield f"http://127.0.0.1:{ports[0]}/v2/x"
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
