"""What all flows share: submitting, following a job's status to its end, and naming how it ended."""

from __future__ import annotations

from collections.abc import Generator

import msgspec

from loadtest.errors import InvalidResponse
from loadtest.flows.steps import Flow, Response, Send, Step, WaitUntil
from loadtest.protocol.client_messages import JobResponse, decode_job, token_counts
from loadtest.protocol.operations import OPERATIONS, STATUS_SYNC_WAIT, JobState, Op
from loadtest.record.sample import Outcome, Sample
from loadtest.traffic.polling import PollPacer

TOO_MANY_REQUESTS = 429
NOT_SUPPORTED = (404, 405)
RETRY_AFTER_S = 1.0
"""The wait after a 429 that names none."""
MAX_CONSECUTIVE_ERRORS = 5
"""So many polls in a row without a usable answer, and the job counts as lost."""
ERROR_LENGTH = 500

_OUTCOMES = {
    JobState.COMPLETED: Outcome.COMPLETED,
    JobState.FAILED: Outcome.FAILED,
    JobState.CANCELLED: Outcome.CANCELLED,
    JobState.TIMED_OUT: Outcome.TIMED_OUT,
}


class JobFlow(msgspec.Struct, frozen=True, gc=False):
    """A job to drive: its row, its submission, how its polls are paced, and how long it is followed."""

    sample: Sample
    submission: Send
    pacer: PollPacer
    job_timeout_s: float

    @property
    def give_up_at(self) -> float:
        """When the client's patience is over, in seconds since the epoch."""
        return self.sample.intended_at + self.job_timeout_s


def submit(job: JobFlow) -> Flow:
    """Submit until the job is accepted; a 429 is waited out as it asks, within the client's patience."""
    sample, asked = job.sample, job.submission
    step = Send(asked.op, asked.path, asked.body, asked.long_poll_s, job.give_up_at)
    while True:
        answer = yield step
        sample.request_bytes += len(step.body)
        _count(sample, answer)
        if answer.status != TOO_MANY_REQUESTS:
            break
        again_at = answer.answered_at + _retry_after_s(answer)
        if again_at >= job.give_up_at:
            break
        yield WaitUntil(again_at)
    if answer.status == TOO_MANY_REQUESTS:
        end_sample(sample, Outcome.RATE_LIMITED, answer, "429 until the client's patience was over")
    elif answer.status == 0:
        end_sample(sample, Outcome.UNREACHABLE, answer, answer.error)
    elif answer.status >= 400:
        end_sample(sample, Outcome.REJECTED, answer, excerpt(answer.body))
    elif (job_response := parse_job(sample, answer)) is not None:
        sample.job_id, sample.accepted_at = job_response.id, answer.answered_at
        if job_response.final:
            record_result(sample, job_response, answer)


def poll_until_final(job: JobFlow, at_once: bool = False) -> Flow:
    """Ask for an accepted job's status, as its polls are paced, until it has ended or patience is over."""
    sample, pacer = job.sample, job.pacer
    ask_at = sample.accepted_at or sample.intended_at
    if not at_once and not pacer.long_poll_s(job.give_up_at - ask_at):
        ask_at += pacer.interval_s(0)
    errors = 0
    pacer.group.jobs += 1
    try:
        while ask_at <= job.give_up_at:
            yield WaitUntil(ask_at)
            held = pacer.long_poll_s(job.give_up_at - ask_at) if pacer.long is not None else 0.0
            answer = yield from _long_poll(job, held) if held else poll_status(job)
            errors = process_poll(job, answer, errors)
            if sample.finished_at is not None:
                return
            again_at = (answer.sent_at if held else answer.answered_at) + pacer.interval_s(sample.polls)
            ask_at = max(again_at, answer.answered_at + (answer.retry_after_s or 0.0))
    finally:
        pacer.group.jobs -= 1


def poll_status(job: JobFlow) -> Generator[Step, Response, Response]:
    """One look at an accepted job's status."""
    answer = yield Send(Op.STATUS, OPERATIONS[Op.STATUS].path.format(id=job.sample.job_id), b"", 0.0, job.give_up_at)
    job.sample.polls += 1
    return answer


def _long_poll(job: JobFlow, hold_s: float) -> Generator[Step, Response, Response]:
    """One look whose answer is held until the job ends, for `hold_s` at the most.

    Where /status-sync is unknown, /status, which every endpoint has, tells whether the operation is or the job.
    """
    long = job.pacer.long
    assert long is not None
    wait_ms = round(hold_s * 1000)
    path = OPERATIONS[Op.STATUS_SYNC].path.format(id=job.sample.job_id)
    path += "" if wait_ms == STATUS_SYNC_WAIT.default_ms else f"?wait={wait_ms}"
    long.held += 1
    try:
        answer = yield Send(Op.STATUS_SYNC, path, b"", hold_s, job.give_up_at)
    finally:
        long.held -= 1
    job.sample.polls += 1
    if answer.status not in NOT_SUPPORTED:
        return answer
    _count(job.sample, answer)
    answer = yield from poll_status(job)
    long.unsupported = long.unsupported or 0 < answer.status < 400
    return answer


def process_poll(job: JobFlow, answer: Response, errors: int) -> int:
    """Take in an answer about an accepted job after `faults` polls in a row without one; how many there are now.

    Its end, or a lasting refusal, ends the sample.
    """
    if handle_error_response(job, answer, errors):
        return errors + (answer.status != TOO_MANY_REQUESTS)
    job_response = parse_job(job.sample, answer)
    if job_response is not None and job_response.final:
        record_result(job.sample, job_response, answer)
    return 0


def parse_job(sample: Sample, answer: Response) -> JobResponse | None:
    """The job that an answer shows; None where it shows none, which ends the sample."""
    try:
        return decode_job(answer.body)
    except InvalidResponse as error:
        end_sample(sample, Outcome.BAD_ANSWER, answer, str(error))
        return None


def handle_error_response(job: JobFlow, answer: Response, errors: int) -> bool:
    """Whether an answer about an accepted job is none, counted; a lasting refusal ends the sample.

    A lost connection and a 5xx are asked again, since asking changes nothing, up to FAULTS_IN_A_ROW.
    """
    sample = job.sample
    _count(sample, answer)
    if 0 < answer.status < 400 or answer.status == TOO_MANY_REQUESTS:
        return answer.status == TOO_MANY_REQUESTS
    last = errors + 1 >= MAX_CONSECUTIVE_ERRORS
    if answer.status == 404:
        end_sample(sample, Outcome.EXPIRED, answer, excerpt(answer.body))
    elif 400 <= answer.status < 500 or (answer.status >= 500 and last):
        end_sample(sample, Outcome.REJECTED, answer, excerpt(answer.body))
    elif last:
        end_sample(sample, Outcome.UNREACHABLE, answer, answer.error)
    return True


def record_result(sample: Sample, job_response: JobResponse, answer: Response) -> None:
    """Fill in what a final answer says."""
    sample.delay_ms, sample.execution_ms, sample.worker_id = (
        job_response.delay_ms,
        job_response.execution_ms,
        job_response.worker_id,
    )
    if sample.output_tokens is None and job_response.output:
        tokens = token_counts(job_response.output)
        sample.input_tokens, sample.output_tokens = tokens.input_tokens, tokens.output_tokens
    error = excerpt(bytes(job_response.error)) if job_response.error else None
    end_sample(sample, _OUTCOMES[job_response.state], answer, error)


def end_sample(sample: Sample, outcome: Outcome, answer: Response, error: str | None) -> None:
    """The job is over for the client, at the time of this answer."""
    sample.outcome, sample.error, sample.finished_at = outcome, error, answer.answered_at


def excerpt(body: bytes) -> str:
    """The beginning of a body as text, for people."""
    return body[:ERROR_LENGTH].decode("utf-8", "replace").strip().strip('"')


def _count(sample: Sample, answer: Response) -> None:
    sample.http_status = answer.status or None
    sample.response_bytes += len(answer.body)
    sample.throttled += answer.status == TOO_MANY_REQUESTS


def _retry_after_s(answer: Response) -> float:
    return RETRY_AFTER_S if answer.retry_after_s is None else answer.retry_after_s
