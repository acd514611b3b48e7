"""POST /run with a webhook, and wait to be told; /status is asked only where nothing has been told for long."""

from __future__ import annotations

from loadtest.flows.job_flow import JobFlow, poll_status, process_poll, submit
from loadtest.flows.steps import NO_RESPONSE, Flow, WaitForWebhook

FALLBACK_POLL_INTERVAL_S = 30.0
"""A notification can get lost, and its endpoint gives up after three tries, 10 s apart."""


def run_and_wait_for_webhook(job: JobFlow) -> Flow:
    """Drive one job through /run until its webhook was called, or a look at its status shows its end."""
    yield from submit(job)
    sample = job.sample
    if sample.finished_at is not None or sample.job_id is None:
        return
    since, errors = sample.accepted_at or sample.intended_at, 0
    while sample.finished_at is None:
        look_at = since + FALLBACK_POLL_INTERVAL_S
        answer = yield WaitForWebhook(sample.job_id, min(look_at, job.give_up_at))
        if answer is NO_RESPONSE:
            if look_at >= job.give_up_at:
                return
            answer = yield from poll_status(job)
        errors = process_poll(job, answer, errors)
        since = answer.answered_at
