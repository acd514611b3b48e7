"""Times that cannot be are counted by kind, and a warning from some share of the jobs on."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.analyze.impossible_times import impossible_times
from loadtest.analyze.jobs import jobs_of
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import Check, Validity
from tests.unit.analyze.rows import START_AT, job, run, run_data, samples

ENDED, NEGATIVE, LONGER = (
    "ended before their start",
    "have a negative delay or execution",
    "report more delay and execution than their response took",
)


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({}, []),
        ({"delay_ms": 5000}, [LONGER]),
        ({"execution_ms": 400, "delay_ms": None}, [LONGER]),
        ({"execution_ms": 400, "delay_ms": 5000, "outcome": "failed"}, [LONGER]),
        ({"execution_ms": 255}, []),
        ({"delay_ms": -11}, [NEGATIVE]),
        ({"execution_ms": -1}, []),
        ({"finished_at": START_AT}, [LONGER]),
        ({"finished_at": START_AT - 1}, [ENDED, LONGER]),
        ({"accepted_at": START_AT - 1}, [ENDED]),
        ({"first_chunk_at": START_AT - 1}, [ENDED]),
        ({"finished_at": None, "delay_ms": None, "execution_ms": None, "outcome": "censored"}, []),
    ],
)
def test_each_kind_is_counted(changes: dict[str, Any], kinds: list[str]) -> None:
    found = impossible_times(jobs_of(samples(job(0, 0.0, **changes), job(1, 1.0))))
    assert [kind for kind, count in found.by_kind.items() if count == 1] == kinds
    assert (found.jobs, found.impossible) == (2, 1 if kinds else 0)


def checked(impossible: int) -> tuple[Validity, Check]:
    rows = [job(seq, seq / 20, delay_ms=5000 if seq < impossible else 100) for seq in range(200)]
    validity = summarize(run_data(run(offered={"run": [20] * 10}), samples(*rows))).validity
    return validity, next(check for check in validity.checks if check.name == "possible times")


def test_there_is_a_warning_from_more_than_one_in_a_hundred_jobs_on() -> None:
    assert [checked(impossible)[1].warning for impossible in (0, 2, 3, 200)] == [False, False, True, True]
    validity, check = checked(3)
    assert (validity.valid, check.ok, check.value, check.limit) == (True, True, 3 / 200, 0.01)
    assert check.detail == f"3 of 200 jobs have impossible times: 3 {LONGER}."
    assert checked(0)[1].detail == "0 of 200 jobs have impossible times: none."


def test_without_jobs_nothing_is_impossible() -> None:
    assert impossible_times(jobs_of(samples())).share == 0
