"""POST /run, then read /stream until the job has ended and no chunk is left; its times come from /status."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator

from msgspec import structs

from loadtest.errors import InvalidResponse
from loadtest.flows.expectations import AnswerCheck
from loadtest.flows.job_flow import JobFlow, poll_status, poll_until_final, record_submission, send_submission
from loadtest.flows.responses import (
    PollHistory,
    invalid_text,
    is_success,
    next_poll_at,
    record_failure,
    record_success,
)
from loadtest.flows.steps import Flow, Response, Send, Step, WaitUntil
from loadtest.protocol.client_messages import Chunk, StreamResponse, decode_job, decode_stream
from loadtest.protocol.operations import Op, job_path
from loadtest.protocol.tokens import TokenReader
from loadtest.record.sample import ChunkSeen

LONG_POLL_S = 60.0
"""The longest time for which a server is expected to hold /stream; the endpoint does not document it."""


def run_and_stream(job: JobFlow, chunks_seen: list[ChunkSeen]) -> Flow:
    """Drive one job through /run and /stream; `chunks_seen` is filled with each chunk."""
    outputs: list[bytes] | None = None
    if job.check is not None:
        outputs = []
        job = structs.replace(job, check=_check_of_chunks(job.check, outputs))
    record_submission(job, (yield from send_submission(job, job.submission.long_poll_s)))
    if job.sample.finished_at is None:
        job.pacer.group.jobs += 1
        try:
            yield from _read(job, chunks_seen, outputs)
        finally:
            job.pacer.group.jobs -= 1
    if job.sample.finished_at is None:
        yield from poll_until_final(job, at_once=True)


def _check_of_chunks(check: AnswerCheck, outputs: list[bytes]) -> AnswerCheck:
    """Return a check that judges the list of all chunks, if there were any, in place of the output of `/status`."""
    return lambda output, sample: check(b"[" + b",".join(outputs) + b"]" if outputs else output, sample)


def _read(job: JobFlow, chunks_seen: list[ChunkSeen], outputs: list[bytes] | None) -> Flow:
    """Read until the stream has ended, the sample has its outcome, or the job timeout is over.

    After a read that brought chunks the next follows at once, as far as the limit lets all streams do so: the
    server holds it, and the next chunk is seen when it comes.
    """
    sample, polls, tokens = job.sample, job.history(), TokenReader()
    assert sample.job_id is not None
    path, job_is_final = job_path(Op.STREAM, sample.job_id), False
    again_at = sample.accepted_at or sample.intended_at
    while True:
        gap_s = job.pacer.interval_s(0)
        hold_s = max(0.0, min(LONG_POLL_S, job.deadline - again_at))
        response = yield Send(Op.STREAM, path, b"", hold_s, job.deadline)
        part = _part(polls, response)
        if part is not None:
            _record_chunks(job, part.stream, response, tokens, chunks_seen)
            if outputs is not None:
                outputs += (bytes(chunk.output) for chunk in part.stream)
            if part.ended or (job_is_final and not part.stream):
                tokens.end()
                sample.input_tokens, sample.output_tokens = tokens.input_tokens, tokens.output_tokens
                return
            if part.stream:
                gap_s = job.pacer.fair_interval_s()
            elif part.status is None:
                job_is_final = yield from _is_final(job, polls)
        if sample.finished_at is not None:
            return
        again_at = next_poll_at(polls, response, max(response.answered_at, response.sent_at + gap_s))
        if again_at > job.deadline:
            return
        yield WaitUntil(again_at)


def _part(polls: PollHistory, response: Response) -> StreamResponse | None:
    """Return the chunks in a response; None if it is of no use."""
    if not is_success(polls, response):
        return None
    try:
        part = decode_stream(response.body)
    except InvalidResponse as error:
        record_failure(polls, response, invalid_text(error, response))
        return None
    record_success(polls)
    return part


def _is_final(job: JobFlow, polls: PollHistory) -> Generator[Step, Response, bool]:
    """Poll the status after an empty array, the older form, which does not say when the stream ends."""
    response = yield from poll_status(job)
    if not is_success(polls, response):
        return False
    try:
        return decode_job(response.body).final
    except InvalidResponse as error:
        record_failure(polls, response, invalid_text(error, response))
        return False


def _record_chunks(
    job: JobFlow, chunks: list[Chunk], response: Response, tokens: TokenReader, chunks_seen: list[ChunkSeen]
) -> None:
    if not chunks:
        return
    sample = job.sample
    for chunk, at in zip(chunks, _seen_at(chunks, response), strict=True):
        pieces = tokens.add(chunk)
        chunks_seen.append(ChunkSeen(at, pieces))
        sample.first_chunk_at = sample.first_chunk_at or at
        if pieces:
            sample.first_content_at = sample.first_content_at or at
            sample.last_content_at = at
    sample.chunks = (sample.chunks or 0) + len(chunks)
    sample.input_tokens, sample.output_tokens = tokens.input_tokens, tokens.output_tokens


def _seen_at(chunks: list[Chunk], response: Response) -> list[float]:
    """Return when each chunk was there: a server may hold its response and send chunk by chunk."""
    if not response.body_progress:
        return [response.answered_at] * len(chunks)
    sizes, times = zip(*response.body_progress, strict=True)
    seen_at, end = [], 0
    for chunk in chunks:
        output = bytes(chunk.output)
        end = response.body.index(output, end) + len(output)
        part = bisect_left(sizes, end)
        seen_at.append(times[part] if part < len(times) else response.answered_at)
    return seen_at
