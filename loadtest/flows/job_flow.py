"""The common part of all flows: submitting, polling a job's status to its end, and naming how it ended."""

from __future__ import annotations

from collections.abc import Generator

import msgspec

from loadtest.errors import InvalidResponse
from loadtest.flows.steps import Flow, Response, Send, Step, WaitUntil
from loadtest.protocol.client_messages import JobResponse, decode_job, token_counts
from loadtest.protocol.error_text import error_text, shortened
from loadtest.protocol.operations import OPERATIONS, STATUS_SYNC_WAIT, TOO_MANY_REQUESTS, JobState, Op
from loadtest.record.sample import ErrorKind, Outcome, Sample
from loadtest.traffic.polling import PollPacer

NOT_SUPPORTED = (404, 405)
RETRY_AFTER_S = 1.0
"""The wait after a 429 without Retry-After."""
MAX_CONSECUTIVE_ERRORS = 5
"""After this many polls in a row without a usable response, the job counts as lost."""

_OUTCOMES = {
    JobState.COMPLETED: Outcome.COMPLETED,
    JobState.FAILED: Outcome.FAILED,
    JobState.CANCELLED: Outcome.CANCELLED,
    JobState.TIMED_OUT: Outcome.TIMED_OUT,
}


class JobFlow(msgspec.Struct, frozen=True, gc=False):
    """A job to drive: its row, its submission, the pacer of its polls, and how long it is followed."""

    sample: Sample
    submission: Send
    pacer: PollPacer
    job_timeout_s: float

    @property
    def deadline(self) -> float:
        """Return when the job is given up, in seconds since the epoch."""
        return self.sample.intended_at + self.job_timeout_s


def submit(job: JobFlow) -> Flow:
    """Submit until the job is accepted; after a 429, wait as it asks, within the job timeout."""
    sample, asked = job.sample, job.submission
    step = Send(asked.op, asked.path, asked.body, asked.long_poll_s, job.deadline)
    while True:
        response = yield step
        sample.request_bytes += len(step.body)
        _count(sample, response)
        if response.status != TOO_MANY_REQUESTS:
            break
        wait_s = RETRY_AFTER_S if response.retry_after_s is None else response.retry_after_s
        again_at = response.answered_at + wait_s
        if again_at >= job.deadline:
            break
        yield WaitUntil(again_at)
    if response.status == TOO_MANY_REQUESTS:
        end_sample(sample, Outcome.RATE_LIMITED, response, "429 until the job timeout was over")
    elif response.status == 0:
        end_sample(sample, Outcome.UNREACHABLE, response, response.error)
    elif response.status >= 400:
        end_sample(sample, Outcome.REJECTED, response, excerpt(response.body))
    elif (job_response := parse_job(sample, response)) is not None:
        sample.job_id, sample.accepted_at = job_response.id, response.answered_at
        if job_response.final:
            record_result(sample, job_response, response)


def poll_until_final(job: JobFlow, at_once: bool = False) -> Flow:
    """Poll an accepted job's status, as the pacer says, until it has ended or its timeout is over."""
    sample, pacer = job.sample, job.pacer
    poll_at = sample.accepted_at or sample.intended_at
    if not at_once and not pacer.long_poll_s(job.deadline - poll_at):
        poll_at += pacer.interval_s(0)
    errors = 0
    pacer.group.jobs += 1
    try:
        while poll_at <= job.deadline:
            yield WaitUntil(poll_at)
            hold_s = pacer.long_poll_s(job.deadline - poll_at) if pacer.long is not None else 0.0
            response = yield from _long_poll(job, hold_s) if hold_s else poll_status(job)
            errors = process_poll(job, response, errors)
            if sample.finished_at is not None:
                return
            again_at = (response.sent_at if hold_s else response.answered_at) + pacer.interval_s(sample.polls)
            poll_at = max(again_at, response.answered_at + (response.retry_after_s or 0.0))
    finally:
        pacer.group.jobs -= 1


def run_and_poll(job: JobFlow) -> Flow:
    """Drive one job through its submission and, unless the response shows its end, /status."""
    yield from submit(job)
    if job.sample.finished_at is None:
        yield from poll_until_final(job)


def poll_status(job: JobFlow) -> Generator[Step, Response, Response]:
    """Ask once for an accepted job's status."""
    path = OPERATIONS[Op.STATUS].path.format(id=job.sample.job_id)
    response = yield Send(Op.STATUS, path, b"", 0.0, job.deadline)
    job.sample.polls += 1
    return response


def _long_poll(job: JobFlow, hold_s: float) -> Generator[Step, Response, Response]:
    """Ask once for a response that the server holds until the job ends, for `hold_s` at most.

    If /status-sync is unknown, ask /status, which every endpoint has: its response shows whether the operation is
    unknown or the job.
    """
    long = job.pacer.long
    assert long is not None
    wait_ms = round(hold_s * 1000)
    path = OPERATIONS[Op.STATUS_SYNC].path.format(id=job.sample.job_id)
    path += "" if wait_ms == STATUS_SYNC_WAIT.default_ms else f"?wait={wait_ms}"
    long.held += 1
    try:
        response = yield Send(Op.STATUS_SYNC, path, b"", hold_s, job.deadline)
    finally:
        long.held -= 1
    job.sample.polls += 1
    if response.status not in NOT_SUPPORTED:
        return response
    _count(job.sample, response)
    response = yield from poll_status(job)
    long.unsupported = long.unsupported or 0 < response.status < 400
    return response


def process_poll(job: JobFlow, response: Response, errors: int) -> int:
    """Process a poll's response, after this many errors in a row; return how many there are now.

    The end of the job, or a lasting refusal, ends the sample.
    """
    if handle_error_response(job, response, errors):
        return errors + (response.status != TOO_MANY_REQUESTS)
    job_response = parse_job(job.sample, response)
    if job_response is not None and job_response.final:
        record_result(job.sample, job_response, response)
    return 0


def parse_job(sample: Sample, response: Response) -> JobResponse | None:
    """Return the job in a response; None if there is none, which ends the sample."""
    try:
        return decode_job(response.body)
    except InvalidResponse as error:
        end_sample(sample, Outcome.BAD_ANSWER, response, f"{error}: {excerpt(response.body)}")
        return None


def handle_error_response(job: JobFlow, response: Response, errors: int) -> bool:
    """Count a poll's response, and return whether it is an error; a lasting refusal ends the sample.

    After a lost connection or a 5xx the job is polled again, since a poll changes nothing, up to
    MAX_CONSECUTIVE_ERRORS.
    """
    sample = job.sample
    _count(sample, response)
    if 0 < response.status < 400 or response.status == TOO_MANY_REQUESTS:
        return response.status == TOO_MANY_REQUESTS
    last = errors + 1 >= MAX_CONSECUTIVE_ERRORS
    if response.status == 404:
        end_sample(sample, Outcome.EXPIRED, response, excerpt(response.body))
    elif 400 <= response.status < 500 or (response.status >= 500 and last):
        end_sample(sample, Outcome.REJECTED, response, excerpt(response.body))
    elif last:
        end_sample(sample, Outcome.UNREACHABLE, response, response.error)
    return True


def record_result(sample: Sample, job_response: JobResponse, response: Response) -> None:
    """Fill in the result of a job that has ended."""
    sample.delay_ms, sample.execution_ms = job_response.delay_ms, job_response.execution_ms
    sample.worker_id = job_response.worker_id
    if sample.output_tokens is None and job_response.output:
        tokens = token_counts(job_response.output)
        sample.input_tokens, sample.output_tokens = tokens.input_tokens, tokens.output_tokens
    error = excerpt(bytes(job_response.error)) if job_response.error else None
    end_sample(sample, _OUTCOMES[job_response.state], response, error)


def end_sample(sample: Sample, outcome: Outcome, response: Response, error: str | None) -> None:
    """End the job for the client, at the time of this response."""
    sample.outcome, sample.finished_at = outcome, response.answered_at
    sample.error = None if error is None else shortened(error)
    sample.error_kind = ErrorKind.INVALID_RESPONSE if outcome is Outcome.BAD_ANSWER else response.error_kind


def excerpt(body: bytes) -> str:
    """Return the beginning of a body as text, for people."""
    return error_text(body)


def _count(sample: Sample, response: Response) -> None:
    sample.http_status = response.status or None
    sample.response_bytes += len(response.body)
    sample.throttled += response.status == TOO_MANY_REQUESTS
