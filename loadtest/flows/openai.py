"""POST /openai/v1/..., and read the answer to the end: server-sent events as they come, or one document.

The job has no times of the server's own, and no id that other operations know: what was sent and has not ended may
have been accepted.
"""

from __future__ import annotations

import re
from bisect import bisect_left

import msgspec
from msgspec import structs

from loadtest.flows.job_flow import JobFlow, end_refused, send_submission
from loadtest.flows.responses import end_completed, end_sample, failure_text
from loadtest.flows.steps import Flow, Response, WaitUntil
from loadtest.protocol.client_messages import ABSENT, INVALID, is_usable_id
from loadtest.protocol.error_text import error_text
from loadtest.protocol.openai_text import joined_document
from loadtest.protocol.server_events import DONE, events
from loadtest.protocol.tokens import TokenReader
from loadtest.record.sample import ChunkSeen, Outcome, Sample

EVENTS_PER_TURN = 32
TURN_S = 0.0005
"""Reading an event takes 10 us, so that two thirds of a turn are left for everything else if many streams end."""
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')


class _Document(msgspec.Struct, gc=False):
    """The members of an answer, or of one event of it, that say how it ends."""

    id: msgspec.Raw = ABSENT
    choices: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT
    object: msgspec.Raw = ABSENT


class _Stream(msgspec.Struct, gc=False):
    """How far a stream of events was read: the data of its events, and what says that it has ended."""

    data: list[bytes]
    done_at: float | None = None
    error: str | None = None
    finished: bool = False


class ReadingTurns(msgspec.Struct, gc=False):
    """The turns of all streams of a process to read events: many that end at once must not delay the others.

    `last_at` is the last turn given, in seconds since the epoch.
    """

    last_at: float = 0.0

    def next_at(self, since: float) -> float:
        """Return the next turn, at `since` or later."""
        self.last_at = max(since, self.last_at + TURN_S)
        return self.last_at


def run_openai(job: JobFlow, chunks_seen: list[ChunkSeen], hold_s: float, turns: ReadingTurns) -> Flow:
    """Drive one job through its OpenAI request, whose response may take `hold_s`.

    `chunks_seen` is filled with each event of a streamed answer.
    """
    sample, tokens = job.sample, TokenReader()
    response = yield from send_submission(job, hold_s)
    is_document = response.body.lstrip()[:1] == b"{"
    is_success = 200 <= response.status < 300
    if is_success and is_document:
        _read_document(job, response, tokens)
        return
    stream = _Stream([])
    if response.status in (0, 200):
        yield from _read_events(job, response, tokens, chunks_seen, stream, turns)
    if response.status == 0 and stream.done_at is None and stream.error is None:
        broken = f"the stream broke off after {len(chunks_seen)} events: " if chunks_seen else ""
        end_sample(sample, Outcome.UNREACHABLE, response, broken + failure_text(response))
    elif is_success or response.status == 0:
        _end_stream(job, response, stream, tokens)
    else:
        end_refused(sample, response)


def _read_events(
    job: JobFlow,
    response: Response,
    tokens: TokenReader,
    chunks_seen: list[ChunkSeen],
    stream: _Stream,
    turns: ReadingTurns,
) -> Flow:
    """Count each event at the time at which its end was there, some in each turn; fill in the stream."""
    sample, sizes, part = job.sample, [size for size, _ in response.body_progress], 0
    for number, (data, end) in enumerate(events(response.body)):
        if number % EVENTS_PER_TURN == 0:
            yield WaitUntil(turns.next_at(response.answered_at))
        part = bisect_left(sizes, end, part)
        at = response.body_progress[part][1] if part < len(sizes) else response.answered_at
        if data == DONE:
            stream.done_at = at
            break
        pieces = tokens.add_event(data)
        chunks_seen.append(ChunkSeen(at, pieces))
        if pieces:
            sample.first_content_at = sample.first_content_at or at
            sample.last_content_at = at
        stream.data.append(data)
        stream.finished = stream.finished or _FINISHED.search(data) is not None
        stream.error = _failure(data) if b'"error"' in data else None
        if stream.error is not None:
            stream.done_at = at
            break
    if chunks_seen:
        sample.first_chunk_at = chunks_seen[0].at
        sample.chunks = len(chunks_seen)
    sample.input_tokens, sample.output_tokens = tokens.input_tokens, tokens.output_tokens


def _end_stream(job: JobFlow, response: Response, stream: _Stream, tokens: TokenReader) -> None:
    """End a job whose stream has been read."""
    sample = job.sample
    if not stream.data and stream.done_at is None:
        what = error_text(response.body) or "the body is empty"
        end_sample(sample, Outcome.BAD_ANSWER, response, f"not a stream of events: {what}")
        return
    if stream.error is None and stream.done_at is None and not stream.finished:
        text = f"the stream ended after {len(stream.data)} events without [DONE] and without a finish_reason"
        end_sample(sample, Outcome.BAD_ANSWER, response, text)
        return
    sample.accepted_at = sample.first_chunk_at or response.answered_at
    sample.http_status = sample.http_status or 200
    if stream.data:
        _take_id(sample, _read(stream.data[0]))
    if stream.error is not None:
        end_sample(sample, Outcome.FAILED, response, stream.error)
        sample.error_kind = None
    else:
        # How the connection ended says nothing of an answer that is whole.
        response = structs.replace(response, error_kind=None)
        has_content = bool(tokens.pieces or tokens.output_tokens)
        output = joined_document(stream.data) if job.check is not None else b""
        end_completed(sample, output, has_content, response, job.check)
    sample.finished_at = stream.done_at or response.answered_at


def _read_document(job: JobFlow, response: Response, tokens: TokenReader) -> None:
    """End a job whose answer is one document."""
    sample, body = job.sample, response.body
    document = _read(body)
    failure = _failure(body)
    if failure is None and not document.choices:
        end_sample(
            sample, Outcome.BAD_ANSWER, response, f"not an OpenAI answer, it has no choices: {error_text(body)}"
        )
        return
    sample.accepted_at = response.answered_at
    _take_id(sample, document)
    if failure is not None:
        end_sample(sample, Outcome.FAILED, response, failure)
        return
    tokens.add_result(msgspec.Raw(body))
    sample.input_tokens, sample.output_tokens = tokens.input_tokens, tokens.output_tokens
    end_completed(sample, body, bool(tokens.pieces or tokens.output_tokens), response, job.check)


def _failure(body: bytes) -> str | None:
    """Return the text of an error that a document or an event holds; None if it holds none."""
    document = _read(body)
    if document.error and bytes(document.error) != b"null" and not document.choices:
        return _message(bytes(document.error))
    return _message(body) if bytes(document.object) == b'"error"' else None


def _message(raw: bytes) -> str:
    try:
        message = msgspec.json.decode(raw, type=dict[str, object]).get("message")
    except INVALID:
        message = None
    return message if isinstance(message, str) and message else error_text(raw)


def _read(body: bytes) -> _Document:
    try:
        return msgspec.json.decode(body, type=_Document)
    except INVALID:
        return _Document()


def _take_id(sample: Sample, document: _Document) -> None:
    """Take the id that the worker gave the answer, by which its log can be searched."""
    try:
        given = msgspec.json.decode(document.id or b"null", type=str | None) or ""
    except INVALID:
        return
    if is_usable_id(given):
        sample.job_id = given
