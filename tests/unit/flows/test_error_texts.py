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


def ended(status: int, body: bytes, error: str | None = None) -> Sample:
    """Return the row of a job whose submission gets this response."""
    sample = Sample(0, "run", 0.0)
    flow: Any = run_and_poll(JobFlow(sample, run_submission({}), PollPacer(Polling(), 198.0, PollGroup()), 60.0))
    next(flow)
    with pytest.raises(StopIteration):
        flow.send(Response(status, body, 0.0, 0.1, error=error))
    return sample


def test_an_answer_that_is_no_job_shows_its_body() -> None:
    sample = ended(200, rb'{"error": "quota exceeded for caf\u00e9"}')
    assert sample.outcome is Outcome.BAD_ANSWER
    assert sample.error is not None
    assert sample.error.startswith("not a job")
    assert sample.error.endswith(": error: quota exceeded for café")


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
