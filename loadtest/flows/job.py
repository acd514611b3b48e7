"""What all flows share: submitting, following a job's status to its end, and naming how it ended."""

from __future__ import annotations

from collections.abc import Generator

import msgspec

from loadtest.errors import BadAnswer
from loadtest.flows.steps import Answer, Send, Step, Steps, Until
from loadtest.protocol import OPERATIONS, STATUS_SYNC_WAIT, JobState, Op
from loadtest.record.sample import Outcome, Sample
from loadtest.traffic.polling import PollPacer
from loadtest.wire import JobAnswer, decode_job, token_counts

THROTTLED = 429
UNKNOWN = (404, 405)
RETRY_AFTER_S = 1.0
"""The wait after a 429 that names none."""
FAULTS_IN_A_ROW = 5
"""So many polls in a row without a usable answer, and the job counts as lost."""
ERROR_LENGTH = 500

_OUTCOMES = {
    JobState.COMPLETED: Outcome.COMPLETED,
    JobState.FAILED: Outcome.FAILED,
    JobState.CANCELLED: Outcome.CANCELLED,
    JobState.TIMED_OUT: Outcome.TIMED_OUT,
}


class Job(msgspec.Struct, frozen=True, gc=False):
    """A job to drive: its row, its submission, how its polls are paced, and how long it is followed."""

    sample: Sample
    submission: Send
    pacer: PollPacer
    patience_s: float

    @property
    def give_up_at(self) -> float:
        """When the client's patience is over, in seconds since the epoch."""
        return self.sample.intended_at + self.patience_s


def submitted(job: Job) -> Steps:
    """Submit until the job is accepted; a 429 is waited out as it asks, within the client's patience."""
    sample, asked = job.sample, job.submission
    step = Send(asked.op, asked.path, asked.body, asked.hold_s, job.give_up_at)
    while True:
        answer = yield step
        sample.request_bytes += len(step.body)
        _count(sample, answer)
        if answer.status != THROTTLED:
            break
        again_at = answer.answered_at + _retry_after_s(answer)
        if again_at >= job.give_up_at:
            break
        yield Until(again_at)
    if answer.status == THROTTLED:
        end(sample, Outcome.RATE_LIMITED, answer, "429 until the client's patience was over")
    elif answer.status == 0:
        end(sample, Outcome.UNREACHABLE, answer, answer.fault)
    elif answer.status >= 400:
        end(sample, Outcome.REJECTED, answer, text_of(answer.body))
    elif (seen := job_seen(sample, answer)) is not None:
        sample.job_id, sample.accepted_at = seen.id, answer.answered_at
        if seen.final:
            finish(sample, seen, answer)


def followed(job: Job, at_once: bool = False) -> Steps:
    """Ask for an accepted job's status, as its polls are paced, until it has ended or patience is over."""
    sample, pacer = job.sample, job.pacer
    ask_at = sample.accepted_at or sample.intended_at
    if not at_once and not pacer.hold_s(job.give_up_at - ask_at):
        ask_at += pacer.gap_s(0)
    faults = 0
    pacer.crowd.jobs += 1
    try:
        while ask_at <= job.give_up_at:
            yield Until(ask_at)
            held = pacer.hold_s(job.give_up_at - ask_at) if pacer.long is not None else 0.0
            answer = yield from _held(job, held) if held else asked(job)
            faults = noted(job, answer, faults)
            if sample.finished_at is not None:
                return
            again_at = (answer.sent_at if held else answer.answered_at) + pacer.gap_s(sample.polls)
            ask_at = max(again_at, answer.answered_at + (answer.retry_after_s or 0.0))
    finally:
        pacer.crowd.jobs -= 1


def asked(job: Job) -> Generator[Step, Answer, Answer]:
    """One look at an accepted job's status."""
    answer = yield Send(Op.STATUS, OPERATIONS[Op.STATUS].path.format(id=job.sample.job_id), b"", 0.0, job.give_up_at)
    job.sample.polls += 1
    return answer


def _held(job: Job, hold_s: float) -> Generator[Step, Answer, Answer]:
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
    if answer.status not in UNKNOWN:
        return answer
    _count(job.sample, answer)
    answer = yield from asked(job)
    long.lacking = long.lacking or 0 < answer.status < 400
    return answer


def noted(job: Job, answer: Answer, faults: int) -> int:
    """Take in an answer about an accepted job after `faults` polls in a row without one; how many there are now.

    Its end, or a lasting refusal, ends the sample.
    """
    if refused(job, answer, faults):
        return faults + (answer.status != THROTTLED)
    seen = job_seen(job.sample, answer)
    if seen is not None and seen.final:
        finish(job.sample, seen, answer)
    return 0


def job_seen(sample: Sample, answer: Answer) -> JobAnswer | None:
    """The job that an answer shows; None where it shows none, which ends the sample."""
    try:
        return decode_job(answer.body)
    except BadAnswer as fault:
        end(sample, Outcome.BAD_ANSWER, answer, str(fault))
        return None


def refused(job: Job, answer: Answer, faults: int) -> bool:
    """Whether an answer about an accepted job is none, counted; a lasting refusal ends the sample.

    A lost connection and a 5xx are asked again, since asking changes nothing, up to FAULTS_IN_A_ROW.
    """
    sample = job.sample
    _count(sample, answer)
    if 0 < answer.status < 400 or answer.status == THROTTLED:
        return answer.status == THROTTLED
    last = faults + 1 >= FAULTS_IN_A_ROW
    if answer.status == 404:
        end(sample, Outcome.EXPIRED, answer, text_of(answer.body))
    elif 400 <= answer.status < 500 or (answer.status >= 500 and last):
        end(sample, Outcome.REJECTED, answer, text_of(answer.body))
    elif last:
        end(sample, Outcome.UNREACHABLE, answer, answer.fault)
    return True


def finish(sample: Sample, seen: JobAnswer, answer: Answer) -> None:
    """Fill in what a final answer says."""
    sample.delay_ms, sample.execution_ms, sample.worker_id = seen.delay_ms, seen.execution_ms, seen.worker_id
    if sample.output_tokens is None and seen.output:
        tokens = token_counts(seen.output)
        sample.input_tokens, sample.output_tokens = tokens.input_tokens, tokens.output_tokens
    error = text_of(bytes(seen.error)) if seen.error else None
    end(sample, _OUTCOMES[seen.state], answer, error)


def end(sample: Sample, outcome: Outcome, answer: Answer, error: str | None) -> None:
    """The job is over for the client, at the time of this answer."""
    sample.outcome, sample.error, sample.finished_at = outcome, error, answer.answered_at


def text_of(body: bytes) -> str:
    """The beginning of a body as text, for people."""
    return body[:ERROR_LENGTH].decode("utf-8", "replace").strip().strip('"')


def _count(sample: Sample, answer: Answer) -> None:
    sample.http_status = answer.status or None
    sample.response_bytes += len(answer.body)
    sample.throttled += answer.status == THROTTLED


def _retry_after_s(answer: Answer) -> float:
    return RETRY_AFTER_S if answer.retry_after_s is None else answer.retry_after_s
