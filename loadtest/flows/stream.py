"""POST /run, then read /stream until the job has ended and nothing more waits; its times come from /status."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator

from loadtest.errors import InvalidResponse
from loadtest.flows.job_flow import (
    TOO_MANY_REQUESTS,
    JobFlow,
    end_sample,
    handle_error_response,
    poll_until_final,
    submit,
)
from loadtest.flows.steps import Flow, Response, Send, Step, WaitUntil
from loadtest.protocol.client_messages import Chunk, decode_job, decode_stream, token_counts
from loadtest.protocol.operations import OPERATIONS, Op
from loadtest.record.sample import Outcome

LONG_POLL_S = 60.0
"""How long a server is expected to hold /stream open at the most; none documents it."""


def run_and_stream(job: JobFlow, chunk_seen_at: list[float]) -> Flow:
    """Drive one job through /run and /stream; `chunk_seen_at` is filled with the time of each chunk."""
    yield from submit(job)
    if job.sample.finished_at is None:
        job.pacer.group.jobs += 1
        try:
            yield from _read(job, chunk_seen_at)
        finally:
            job.pacer.group.jobs -= 1
    if job.sample.finished_at is None:
        yield from poll_until_final(job, at_once=True)


def _read(job: JobFlow, chunk_seen_at: list[float]) -> Flow:
    """Read on until the stream has ended, the sample has its outcome, or patience is over.

    After a read that brought chunks the next follows at once, as far as the limit lets all streams do so: the
    server holds it open, and the next chunk is seen when it comes.
    """
    sample = job.sample
    path = OPERATIONS[Op.STREAM].path.format(id=sample.job_id)
    errors, job_is_final = 0, False
    again_at = sample.accepted_at or sample.intended_at
    while True:
        gap_s = job.pacer.interval_s(0)
        hold_s = max(0.0, min(LONG_POLL_S, job.give_up_at - again_at))
        answer = yield Send(Op.STREAM, path, b"", hold_s, job.give_up_at)
        if handle_error_response(job, answer, errors):
            if sample.finished_at is not None:
                return
            errors += answer.status != TOO_MANY_REQUESTS
        else:
            errors = 0
            try:
                part = decode_stream(answer.body)
            except InvalidResponse as error:
                end_sample(sample, Outcome.BAD_ANSWER, answer, str(error))
                return
            _record_chunks(job, part.stream, answer, chunk_seen_at)
            if part.ended or (job_is_final and not part.stream):
                return
            if part.stream:
                gap_s = job.pacer.fair_interval_s()
            elif part.status is None:
                job_is_final = yield from _is_final(job)
        again_at = max(answer.answered_at + (answer.retry_after_s or 0.0), answer.sent_at + gap_s)
        if again_at > job.give_up_at:
            return
        yield WaitUntil(again_at)


def _is_final(job: JobFlow) -> Generator[Step, Response, bool]:
    """The older form does not say when the stream ends: an empty array is followed by a look at the status."""
    path = OPERATIONS[Op.STATUS].path.format(id=job.sample.job_id)
    answer = yield Send(Op.STATUS, path, give_up_at=job.give_up_at)
    job.sample.polls += 1
    if handle_error_response(job, answer, 0):
        return False
    try:
        return decode_job(answer.body).final
    except InvalidResponse:
        return False


def _record_chunks(job: JobFlow, chunks: list[Chunk], answer: Response, chunk_seen_at: list[float]) -> None:
    sample = job.sample
    seen_at = _seen_at(chunks, answer)
    chunk_seen_at.extend(seen_at)
    for chunk in chunks:
        tokens = token_counts(chunk.metrics) if chunk.metrics else token_counts(chunk.output)
        if tokens.input_tokens is not None:
            sample.input_tokens = (sample.input_tokens or 0) + tokens.input_tokens
        if tokens.output_tokens is not None:
            sample.output_tokens = (sample.output_tokens or 0) + tokens.output_tokens
    if chunks:
        sample.chunks = (sample.chunks or 0) + len(chunks)
        sample.first_chunk_at = sample.first_chunk_at or seen_at[0]


def _seen_at(chunks: list[Chunk], answer: Response) -> list[float]:
    """When each chunk was there: a server may hold its answer open and send one after another as they come."""
    if not answer.body_progress:
        return [answer.answered_at] * len(chunks)
    sizes, times = zip(*answer.body_progress, strict=True)
    seen_at, end = [], 0
    for chunk in chunks:
        output = bytes(chunk.output)
        end = answer.body.index(output, end) + len(output)
        place = bisect_left(sizes, end)
        seen_at.append(times[place] if place < len(times) else answer.answered_at)
    return seen_at
