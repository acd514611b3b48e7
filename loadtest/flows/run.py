"""POST /run, then poll /status."""

from __future__ import annotations

from loadtest.flows.job import Job, followed, submitted
from loadtest.flows.steps import Steps
from loadtest.protocol import OPERATIONS, Op


def run_and_poll(job: Job) -> Steps:
    """Drive one job through /run and /status."""
    yield from submitted(job, Op.RUN, OPERATIONS[Op.RUN].path)
    if job.sample.finished_at is None:
        yield from followed(job)
