"""The steps of a job that a task follows by itself: it is only submitted, asked for once, or cancelled."""

from __future__ import annotations

from contextlib import suppress

from loadtest.errors import InvalidResponse
from loadtest.flows.job_flow import JobFlow, cancel, poll_status, poll_until_final, record_submission, send_submission
from loadtest.flows.responses import PollHistory, process_poll
from loadtest.flows.steps import Flow
from loadtest.protocol.client_messages import read_job


def submit_only(job: JobFlow) -> Flow:
    """Submit a job; it is followed by the flows below."""
    record_submission(job, (yield from send_submission(job, job.submission.long_poll_s)))


def poll_once(job: JobFlow, polls: PollHistory, states: list[str]) -> Flow:
    """Ask once for the status of an accepted job; `states` gets the status that the endpoint reports."""
    response = yield from poll_status(job)
    process_poll(polls, response)
    if 200 <= response.status < 300:
        with suppress(InvalidResponse):
            states.append(read_job(response.body).status)


def cancel_and_follow(job: JobFlow) -> Flow:
    """Cancel an accepted job, and poll its status until the endpoint says how it has ended."""
    assert job.sample.job_id is not None
    yield from cancel(job.sample.job_id, [])
    yield from poll_until_final(job, at_once=True)
