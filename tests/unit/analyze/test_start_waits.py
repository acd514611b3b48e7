"""Which jobs waited for a start of their own, so that their delay is its time."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.analyze.jobs import JobColumns, jobs_of
from loadtest.analyze.start_waits import execution_at_least_ms, own_starts
from tests.unit.analyze.rows import START_AT, job, samples

Row = tuple[float, float, float]
"""When a job enters, how long it waits, and how long it executes, in seconds."""


def jobs(*rows: Row) -> JobColumns:
    return jobs_of(
        samples(
            *(
                job(
                    seq,
                    at,
                    sent_at=START_AT + at,
                    accepted_at=START_AT + at,
                    worker_id=f"w{seq}",
                    delay_ms=round(wait * 1000),
                    execution_ms=round(execution * 1000),
                )
                for seq, (at, wait, execution) in enumerate(rows)
            )
        )
    )


@pytest.mark.parametrize(
    ("rows", "own"),
    [
        (((0, 40, 1), (1000, 40, 1)), [0, 1]),
        (((0, 40, 1), (20, 25, 1)), [0]),  # the second waited for the rest of a start
        (((0, 40, 1), (60, 21, 1)), [0]),  # a worker may still start that began for the first
        (((0, 0, 500), (100, 40, 1)), []),  # a worker was up, and could have taken it
        (((0, 40, 1), (0, 40, 1)), []),  # two at once: each may have had the shorter of two starts
    ],
)
def test_only_a_start_that_was_the_only_one_counts(rows: tuple[Row, ...], own: list[int]) -> None:
    table = jobs(*rows)
    found = own_starts(table, table.delay_ms >= 100, 100.0)
    assert found.index.tolist() == own


def test_another_job_that_may_start_a_worker_cuts_the_wait_off() -> None:
    table = jobs((0, 40, 1), (15, 30, 1))
    started = table.delay_ms >= 100
    found = own_starts(table, started, 100.0)
    assert (found.wait_s.tolist(), found.ended.tolist()) == ([15.0], [False])
    later = own_starts(table, started, 100.0, threshold_s=30.0)
    assert (later.wait_s.tolist(), later.ended.tolist()) == ([40.0], [True])


def test_a_job_without_an_execution_time_executed_until_it_was_seen_to_end() -> None:
    rows = (
        job(
            0, 0.0, sent_at=START_AT, accepted_at=START_AT, finished_at=START_AT + 9, delay_ms=2000, execution_ms=None
        ),
        job(1, 0.0, delay_ms=None, execution_ms=None),
        job(2, 0.0),
    )
    np.testing.assert_allclose(execution_at_least_ms(jobs_of(samples(*rows))), [7000, np.nan, 200])
