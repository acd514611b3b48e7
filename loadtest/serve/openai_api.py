"""The OpenAI route over HTTP: a request becomes a job, and what its worker sends is handed on as it comes.

A client that leaves does not end its job, and a wait is limited by the job's own time limits alone: the vendor
documents neither.
"""

from __future__ import annotations

import math
from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import Payloads
from loadtest.errors import InvalidResponse
from loadtest.protocol.client_messages import Chunk
from loadtest.protocol.openai_messages import (
    EventText,
    error_document,
    is_error,
    openai_submission,
    whole_answer,
)
from loadtest.protocol.operations import JobState, Op
from loadtest.serve import responses
from loadtest.serve.live import LiveEndpoint, long_poll
from loadtest.serve.request_body import body_within

METHODS = ("GET", "POST")
_EVENT_STREAM = {"cache-control": "no-cache"}
_NO_OUTPUT = msgspec.Raw(b'"the job completed without an output"')
_REQUEUED = msgspec.Raw(b'"the worker was lost after it had sent a part of its answer"')
_STOPPING = msgspec.Raw(b'"the endpoint is shutting down"')


async def openai_response(live: LiveEndpoint, payloads: Payloads, request: Request, route: str) -> Response:
    """Return the response to a request: at the first chunk if it is streamed, else once the job has ended."""
    body = b""
    if request.method == "POST":
        received = await body_within(request, payloads.runsync)
        if received is None:
            return responses.too_large(payloads.too_large_status, payloads.runsync)
        body = received
    try:
        submission, streamed = openai_submission(route, body)
    except InvalidResponse as error:
        return responses.bad_request(f"body: {error}")
    job = live.endpoint.submit(Op.OPENAI, live.clock.now(), submission)
    live.process_due()
    async with long_poll(request) as waiter:
        if streamed:
            await live.wait_for_chunk(job, math.inf, waiter)
        else:
            await live.wait_for_end(job, math.inf, waiter)
    chunks = live.endpoint.unread_chunks(job, live.clock.now())
    if chunks and is_error(chunks[0].output):
        return _failed(bytes(chunks[0].output))
    if streamed and not chunks and job.output and job.state is JobState.COMPLETED:
        chunks = [Chunk(job.output)]  # all of it came at once, by the job's result
    if streamed and (chunks or job.state is JobState.COMPLETED):
        return EventStream(live, job, chunks, request)
    return _whole(job, chunks)


def _whole(job: Job, chunks: list[Chunk]) -> Response:
    """Return the response to a request that is not streamed, or that is and whose job ended without a chunk."""
    if not job.final:  # the server stops
        return responses.STOPPING
    if job.state is not JobState.COMPLETED:
        return _failed(error_document(job.error, job.state))
    answer = whole_answer([chunk.output for chunk in chunks], job.output)
    if answer is None:
        return _failed(error_document(_NO_OUTPUT, job.state))
    is_text = not answer.startswith((b"{", b"["))
    return Response(answer, media_type="text/plain" if is_text else "application/json")


def _failed(document: bytes) -> Response:
    return Response(document, HTTPStatus.INTERNAL_SERVER_ERROR, media_type="application/json")


class EventStream(Response):
    """A streamed answer: the chunks that have come, then each as it comes, until the job ends."""

    def __init__(self, live: LiveEndpoint, job: Job, chunks: list[Chunk], request: Request) -> None:
        super().__init__(headers=_EVENT_STREAM, media_type="text/event-stream")
        del self.headers["content-length"]
        self._live = live
        self._job = job
        self._chunks = chunks
        self._request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events. Raises ClientDisconnect if the client leaves."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        job, live, text, requeues = self._job, self._live, EventText(), self._job.requeues
        chunks = self._chunks
        async with long_poll(self._request) as waiter:
            while not waiter.client_left and job.requeues == requeues:
                if chunks:
                    body = b"".join([text.add(chunk.output) for chunk in chunks])
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                elif job.final or live.stopping:
                    break
                await live.wait_for_chunk(job, math.inf, waiter)
                chunks = self._read()
        await send({"type": "http.response.body", "body": self._end(text, job.requeues > requeues)})

    def _read(self) -> list[Chunk]:
        return self._live.endpoint.unread_chunks(self._job, self._live.clock.now())

    def _end(self, text: EventText, requeued: bool) -> bytes:
        """Return the end of the answer; a job that went to another worker would begin again, so it is an error."""
        job = self._job
        if job.state is JobState.COMPLETED and not requeued:
            return text.end()
        error = _REQUEUED if requeued else job.error if job.final else _STOPPING
        return text.fail(error_document(error, job.state))
