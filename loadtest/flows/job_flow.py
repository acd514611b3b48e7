"""The common part of all flows: submitting a job, and polling its status until it has ended or is given up."""

from __future__ import annotations

from collections.abc import Generator
from math import inf

import msgspec

from loadtest.errors import InvalidResponse
from loadtest.flows.expectations import AnswerCheck
from loadtest.flows.responses import (
    PollHistory,
    count_response,
    end_sample,
    failure_text,
    invalid_text,
    next_poll_at,
    process_poll,
    record_result,
    retry_wait_s,
)
from loadtest.flows.steps import Flow, Response, Send, Step, WaitUntil
from loadtest.flows.submissions import shorten_hold
from loadtest.protocol.client_messages import decode_accepted_job, read_job
from loadtest.protocol.error_text import error_text
from loadtest.protocol.operations import (
    CONFLICT,
    STATUS_SYNC_WAIT,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
    Op,
    job_path,
)
from loadtest.record.sample import Outcome, Sample
from loadtest.traffic.polling import PollPacer

NOT_SUPPORTED = (404, 405)
REFUSED_FOR_A_WHILE = (CONFLICT, TOO_MANY_REQUESTS, UNAVAILABLE)
"""The statuses of a submission that was not accepted, and may be if it is sent again."""


class JobFlow(msgspec.Struct, frozen=True, gc=False):
    """A job to drive: its row, its submission, the pacer of its polls, and how long it is followed.

    `hold_until` is when the response to a submission must be there (seconds since the epoch), so that its job can be
    cancelled before the run ends. `check` judges its answer if it completes.
    """

    sample: Sample
    submission: Send
    pacer: PollPacer
    job_timeout_s: float
    hold_until: float = inf
    check: AnswerCheck | None = None

    @property
    def deadline(self) -> float:
        """Return when the job is given up, in seconds since the epoch."""
        return self.sample.intended_at + self.job_timeout_s

    def history(self) -> PollHistory:
        """Return the history of a job that has not been polled."""
        return PollHistory(self.sample, self.pacer.give_up_after_s, check=self.check)


def send_submission(job: JobFlow, hold_s: float) -> Generator[Step, Response, Response]:
    """Submit, and return the last response; after a 409, 429 or 503, wait as it asks, within the job timeout."""
    sample, asked = job.sample, job.submission
    step = Send(asked.op, asked.path, asked.body, hold_s, job.deadline)
    tries = 0
    while True:
        response = yield step
        sample.request_bytes += len(step.body)
        count_response(sample, response)
        if response.status == 200 or response.status not in REFUSED_FOR_A_WHILE:
            return response
        sample.faults += response.status != TOO_MANY_REQUESTS
        again_at = response.answered_at + retry_wait_s(response, tries)
        if again_at >= job.deadline:
            return response
        tries += 1
        yield WaitUntil(again_at)
        # A job that is cut off now may have been accepted: what refused it before no longer says.
        sample.http_status = None
        step = shorten_hold(step, job.hold_until - again_at)


def end_refused(sample: Sample, response: Response) -> None:
    """End a job whose submission has no response of use."""
    if response.status == TOO_MANY_REQUESTS:
        said = error_text(response.body)
        refusal = f"429 until the job timeout was over{f': {said}' if said else ''}"
        end_sample(sample, Outcome.RATE_LIMITED, response, refusal)
    elif response.status == 0:
        end_sample(sample, Outcome.UNREACHABLE, response, failure_text(response))
    else:
        outcome = Outcome.REJECTED if response.status >= 400 else Outcome.BAD_ANSWER
        end_sample(sample, outcome, response, failure_text(response))


def record_submission(driven: JobFlow, response: Response) -> None:
    """Take over what the last response to a submission says: the job's id, and its result if that is there."""
    sample = driven.sample
    if not 200 <= response.status < 300:
        end_refused(sample, response)
        return
    try:
        job = decode_accepted_job(response.body)
    except InvalidResponse as error:
        end_sample(sample, Outcome.BAD_ANSWER, response, invalid_text(error, response))
        return
    sample.job_id, sample.accepted_at = job.id, response.answered_at
    if job.final:
        if job.lacks_times:
            sample.faults += 1
        else:
            record_result(sample, job, response, driven.check)


def poll_until_final(job: JobFlow, at_once: bool = False) -> Flow:
    """Poll an accepted job's status, as the pacer says, until it has ended or is given up."""
    sample, pacer, polls = job.sample, job.pacer, job.history()
    poll_at = sample.accepted_at or sample.intended_at
    if not at_once and not pacer.long_poll_s(job.deadline - poll_at):
        poll_at += pacer.interval_s(0)
    deadline, ask = job.deadline, _status_request(job)
    pacer.group.jobs += 1
    try:
        while poll_at <= deadline:
            yield WaitUntil(poll_at)
            # While polls fail, the plain one is tried: it may be only the long poll that fails.
            long = pacer.long is not None and polls.failing_since is None
            hold_s = pacer.long_poll_s(deadline - poll_at) if long else 0.0
            if hold_s:
                response = yield from _long_poll(job, hold_s)
                poll_at = response.sent_at + pacer.interval_s(sample.polls)
            else:
                response = yield ask
                sample.polls += 1
                poll_at = response.answered_at + pacer.interval_s(sample.polls)
            process_poll(polls, response)
            if sample.finished_at is not None:
                return
            if response.status != 200:
                poll_at = next_poll_at(polls, response, poll_at)
        yield WaitUntil(deadline)
    finally:
        pacer.group.jobs -= 1


def run_and_poll(job: JobFlow) -> Flow:
    """Drive one job through its submission and, unless the response shows its end, /status."""
    record_submission(job, (yield from send_submission(job, job.submission.long_poll_s)))
    if job.sample.finished_at is None:
        yield from poll_until_final(job)


def poll_status(job: JobFlow) -> Generator[Step, Response, Response]:
    """Ask once for an accepted job's status."""
    response = yield _status_request(job)
    job.sample.polls += 1
    return response


def _status_request(job: JobFlow) -> Send:
    assert job.sample.job_id is not None
    return Send(Op.STATUS, job_path(Op.STATUS, job.sample.job_id), b"", 0.0, job.deadline)


def _long_poll(job: JobFlow, hold_s: float) -> Generator[Step, Response, Response]:
    """Ask once for a response that the server holds until the job ends, for `hold_s` at most.

    If /status-sync is unknown, ask /status, which every endpoint has: its response shows whether the operation is
    unknown or the job.
    """
    long, job_id = job.pacer.long, job.sample.job_id
    assert long is not None
    assert job_id is not None
    wait_ms = round(hold_s * 1000)
    path = job_path(Op.STATUS_SYNC, job_id)
    path += "" if wait_ms == STATUS_SYNC_WAIT.default_ms else f"?wait={wait_ms}"
    long.held += 1
    try:
        response = yield Send(Op.STATUS_SYNC, path, b"", hold_s, job.deadline)
    finally:
        long.held -= 1
    job.sample.polls += 1
    if response.status not in NOT_SUPPORTED:
        return response
    count_response(job.sample, response)
    response = yield from poll_status(job)
    long.unsupported = long.unsupported or 200 <= response.status < 300
    return response


MAX_CANCELS = 5
"""How often one job's cancelling is tried."""


def cancel(job_id: str, confirmed_at: list[float]) -> Flow:
    """Cancel a job that was given up; `confirmed_at` gets the time at which the endpoint says that it has ended.

    A cancel may be repeated, since it changes nothing the second time.
    """
    path = job_path(Op.CANCEL, job_id)
    response = yield Send(Op.CANCEL, path)
    for tries in range(MAX_CANCELS):
        if 200 <= response.status < 300 and _has_ended(response.body):
            confirmed_at.append(response.answered_at)
            return
        if response.status in NOT_SUPPORTED or tries + 1 == MAX_CANCELS:
            return
        yield WaitUntil(response.answered_at + retry_wait_s(response, tries))
        response = yield Send(Op.CANCEL, path)


def _has_ended(body: bytes) -> bool:
    try:
        return read_job(body).final
    except InvalidResponse:
        return False
