"""POST /run with a webhook, and wait to be told; /status is asked only where nothing has been told for long."""

from __future__ import annotations

from loadtest.flows.job import Job, asked, noted, submitted
from loadtest.flows.steps import NOTHING, Hear, Steps

LOOK_EVERY_S = 30.0
"""A notification can get lost, and its endpoint gives up after three tries, 10 s apart."""


def run_and_hear(job: Job) -> Steps:
    """Drive one job through /run until its webhook was called, or a look at its status shows its end."""
    yield from submitted(job)
    sample = job.sample
    if sample.finished_at is not None or sample.job_id is None:
        return
    since, faults = sample.accepted_at or sample.intended_at, 0
    while sample.finished_at is None:
        look_at = since + LOOK_EVERY_S
        answer = yield Hear(sample.job_id, min(look_at, job.give_up_at))
        if answer is NOTHING:
            if look_at >= job.give_up_at:
                return
            answer = yield from asked(job)
        faults = noted(job, answer, faults)
        since = answer.answered_at
