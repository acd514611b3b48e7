"""POST /run with a webhook, and wait for its notification; /status is polled only if none comes for long."""

from __future__ import annotations

from loadtest.flows.job_flow import JobFlow, poll_status, record_submission, send_submission
from loadtest.flows.responses import next_poll_at, process_poll
from loadtest.flows.steps import NO_RESPONSE, Flow, WaitForWebhook

FALLBACK_POLL_INTERVAL_S = 30.0
"""A notification can get lost, and its endpoint gives up after three tries, 10 s apart."""
FAILED_POLL_INTERVAL_S = 5.0
"""The interval after a notification or a poll of no use."""


def run_and_wait_for_webhook(job: JobFlow) -> Flow:
    """Drive one job through /run until its webhook was called, or a poll of its status shows its end."""
    record_submission(job, (yield from send_submission(job, job.submission.long_poll_s)))
    sample = job.sample
    if sample.finished_at is not None or sample.job_id is None:
        return
    since, polls = sample.accepted_at or sample.intended_at, job.history()
    while sample.finished_at is None:
        poll_at = since + (FALLBACK_POLL_INTERVAL_S if polls.failing_since is None else FAILED_POLL_INTERVAL_S)
        response = yield WaitForWebhook(sample.job_id, min(poll_at, job.deadline))
        if response is NO_RESPONSE:
            if poll_at >= job.deadline:
                return
            response = yield from poll_status(job)
        process_poll(polls, response)
        since = next_poll_at(polls, response, response.answered_at)
