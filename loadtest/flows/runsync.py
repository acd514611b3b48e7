"""POST /runsync; where the wait ends before the job does, go on with /status."""

from __future__ import annotations

from functools import cache

from loadtest.flows.job import Job, followed, submitted
from loadtest.flows.steps import Steps
from loadtest.protocol import OPERATIONS, RUNSYNC_WAIT, Op


def runsync(job: Job) -> Steps:
    """Drive one job through /runsync."""
    wait_ms = max(RUNSYNC_WAIT.least_ms, round(min(job.wait_s, job.patience_s) * 1000))
    asked = "" if wait_ms == RUNSYNC_WAIT.default_ms else f"?wait={wait_ms}"
    yield from submitted(job, Op.RUNSYNC, OPERATIONS[Op.RUNSYNC].path + asked, wait_ms / 1000)
    if job.sample.finished_at is None:
        yield from followed(job)


@cache
def _path(wait_s: float) -> str:
    wait_ms = round(wait_s * 1000)
    asked = "" if wait_ms == RUNSYNC_WAIT.default_ms else f"?wait={wait_ms}"
    return OPERATIONS[Op.RUNSYNC].path + asked
