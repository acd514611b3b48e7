"""POST /run, or /runsync, whose response may hold the ended job already; then poll /status."""

from __future__ import annotations

from typing import Any

from loadtest.flows.job_flow import JobFlow, poll_until_final, submit
from loadtest.flows.steps import Flow, Send
from loadtest.protocol.client_messages import Policy, encode_submission
from loadtest.protocol.operations import OPERATIONS, RUNSYNC_WAIT, Op


def run_submission(job_input: Any, webhook: str | None = None, policy: Policy | None = None) -> Send:
    """Return the request that submits a job with this input by /run."""
    return Send(Op.RUN, OPERATIONS[Op.RUN].path, encode_submission(job_input, webhook, policy))


def runsync_submission(job_input: Any, wait_s: float, job_timeout_s: float, policy: Policy | None = None) -> Send:
    """Return the request that submits a job with this input by /runsync, held for `wait_s` within the job timeout."""
    wait_ms = max(RUNSYNC_WAIT.min_ms, round(min(wait_s, job_timeout_s) * 1000))
    asked = "" if wait_ms == RUNSYNC_WAIT.default_ms else f"?wait={wait_ms}"
    return Send(
        Op.RUNSYNC, OPERATIONS[Op.RUNSYNC].path + asked, encode_submission(job_input, None, policy), wait_ms / 1000
    )


def run_and_poll(job: JobFlow) -> Flow:
    """Drive one job through its submission and, unless the response shows its end, /status."""
    yield from submit(job)
    if job.sample.finished_at is None:
        yield from poll_until_final(job)
