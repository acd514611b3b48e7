"""The error of a row: it shows what the endpoint sent, and is short whatever that was."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.flows.job_flow import JobFlow, run_and_poll
from loadtest.flows.steps import Response
from loadtest.flows.submissions import run_submission
from loadtest.protocol.error_text import ERROR_LENGTH
from loadtest.record.sample import Outcome, Sample
from loadtest.traffic.polling import PollGroup, PollPacer
from loadtest.traffic.settings import Polling


def ended(status: int, body: bytes, error: str | None = None, timeout_s: float = 60.0) -> Sample:
    """Return the row of a job whose submission gets this response."""
    sample = Sample(0, "run", 0.0)
    flow: Any = run_and_poll(JobFlow(sample, run_submission({}), PollPacer(Polling(), 198.0, PollGroup()), timeout_s))
    next(flow)
    with pytest.raises(StopIteration):
        flow.send(Response(status, body, 0.0, 0.1, error=error))
    return sample


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, rb'{"error": "quota for caf\u00e9"}', "not a job, it has no usable id: error: quota for café"),
        (200, b'{"id": "", "status": "FAILED"}', 'not a job, it has no usable id: {"id": "", "status": "FAILED"}'),
        (200, b"<html>hello</html>", "not a job: <html>hello</html>"),
        (200, b"null", "not a job: null"),
        (204, b"", "not a job: the body is empty"),
        (429, b'"slow down"', "429 until the job timeout was over: slow down"),
        (429, b"", "429 until the job timeout was over"),
        (405, b"", "HTTP 405"),
    ],
)
def test_an_answer_that_is_no_job_shows_its_body_once(status: int, body: bytes, error: str) -> None:
    assert ended(status, body, timeout_s=0.05).error == error


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (403, b"x" * 10**6, None),
        (200, b"x" * 10**6, None),
        (200, b'{"id": "a", "status": "FAILED", "error": "' + b"x" * 10**6 + b'"}', None),
        (0, b"", "x" * 10**6),
    ],
)
def test_the_error_of_a_row_is_short(status: int, body: bytes, error: str | None) -> None:
    sample = ended(status, body, error)
    assert sample.outcome is not Outcome.COMPLETED
    assert sample.error is not None
    assert 0 < len(sample.error) <= ERROR_LENGTH
