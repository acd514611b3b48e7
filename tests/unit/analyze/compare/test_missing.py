"""A candidate does not look good by what it lacks: jobs that failed or never ended, flows, times, reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from loadtest.analyze.compare.comparable_run import ComparableRun, JobCount, run_series
from loadtest.analyze.compare.comparison import compare
from loadtest.analyze.compare.error_shares import compare_errors
from loadtest.analyze.compare.result import ComparisonVerdict, MetricComparison, MetricKey
from loadtest.analyze.jobs import LoadWindow, jobs_of
from loadtest.analyze.summary import Verdict
from loadtest.gate.baseline import as_gate_result, metrics_of
from loadtest.record.sample import Outcome
from loadtest.scenario.metrics import Metric
from tests.unit.analyze.rows import START_AT, job, samples

JOBS, LENGTH_S = 2000, 100.0
ERRORS = MetricKey("run", Metric.ERRORS)
WORSE, CANNOT_TELL, BETTER = ComparisonVerdict.WORSE, ComparisonVerdict.CANNOT_TELL, ComparisonVerdict.BETTER


def rows(slow: int = 100, flow: str = "run", **of_slow: Any) -> list[dict[str, Any]]:
    """Return jobs of about 100 ms and, spread among them, slow ones of 5 s, changed as asked."""
    rng = np.random.default_rng(1)
    made = []
    at_slow = set(rng.permutation(JOBS)[:slow].tolist())
    for seq in range(JOBS):
        at, execution_ms = LENGTH_S * seq / JOBS, round(rng.normal(100, 5)) + (5000 if seq in at_slow else 0)
        plain = job(
            seq,
            at,
            flow=flow,
            execution_ms=execution_ms,
            delay_ms=20,
            sent_at=START_AT + at,
            first_chunk_at=START_AT + at + 0.05,
            finished_at=START_AT + at + 0.05 + execution_ms / 1000,
        )
        made.append(plain | of_slow if seq in at_slow else plain)  # fmt: skip
    return made


def of(*tables: list[dict[str, Any]]) -> ComparableRun:
    table: pa.Table = samples(*(row for each in tables for row in each))
    return run_series(jobs_of(table), LoadWindow(START_AT, START_AT + LENGTH_S))


def found(baseline: ComparableRun, candidate: ComparableRun) -> dict[str, MetricComparison]:
    return {each.metric.name: each for each in compare([baseline], candidate, metrics_of([baseline], candidate))}


def verdicts(baseline: ComparableRun, candidate: ComparableRun) -> set[Verdict]:
    return {as_gate_result(each).verdict for each in found(baseline, candidate).values()}


@pytest.mark.parametrize("outcome", [outcome.value for outcome in Outcome if outcome is not Outcome.COMPLETED])
def test_a_run_does_not_get_better_by_not_completing_its_slowest_jobs(outcome: str) -> None:
    gone = {"outcome": outcome, "finished_at": None, "execution_ms": None}
    baseline, candidate = of(rows()), of(rows(**gone))
    after = found(baseline, candidate)
    assert all(each.standing is not BETTER for each in after.values())
    assert as_gate_result(after["run errors"]).verdict is Verdict.FAIL
    assert "5 % of 2,000 jobs did not complete, 0 % of 2,000 in the baseline; worse" in after["run errors"].detail


def test_an_upper_bound_that_reaches_into_unfinished_jobs_does_not_pass() -> None:
    unfinished = {"outcome": "censored", "finished_at": None, "execution_ms": None}
    fast, candidate = of(rows(0)), of(rows(98, **unfinished))
    p95 = found(fast, candidate)["run end_to_end_ms p95"]
    assert (p95.standing, p95.non_inferior, p95.ci95) == (CANNOT_TELL, False, None)
    assert "and more)" in p95.detail


def test_a_flow_that_fails_completely_is_worse_in_every_time_that_ends_with_the_job() -> None:
    failed = [row | {"outcome": "failed"} for row in rows(0, flow="runsync")]
    after = found(of(rows(0), rows(0, flow="runsync")), of(rows(0), failed))
    for name in ("runsync errors", "runsync end_to_end_ms p50", "runsync execution_ms p95"):
        assert after[name].standing is WORSE
    assert after["runsync end_to_end_ms p50"].detail == (
        "It has no runsync end_to_end_ms p50: too many of its jobs did not complete; worse."
    )
    assert after["run end_to_end_ms p50"].standing is CANNOT_TELL


def test_a_first_chunk_that_never_comes_is_worse() -> None:
    silent = [row | {"first_chunk_at": None} for row in rows(0, flow="stream")]
    p95 = found(of(rows(0, flow="stream")), of(silent))["stream first_chunk_ms p95"]
    assert (p95.standing, p95.candidate, p95.ratio) == (WORSE, None, None)


def test_a_flow_that_vanished_is_named_and_does_not_pass() -> None:
    both, one = of(rows(0), rows(0, flow="runsync")), of(rows(0))
    for after, side in ((found(both, one), "candidate"), (found(one, both), "baseline")):
        assert after["runsync errors"].detail == f"The {side} has no such jobs."
        named = [each for name, each in after.items() if name.startswith("runsync")]
        assert len(named) == 5
        assert {as_gate_result(each).verdict for each in named} == {Verdict.INCONCLUSIVE}


def test_times_that_the_server_does_not_report_are_undecided() -> None:
    reported, partly, silent = of(rows()), of(rows(execution_ms=None)), of(rows(JOBS, execution_ms=None))
    for candidate in (partly, silent):
        assert as_gate_result(found(reported, candidate)["run execution_ms p95"]).verdict is Verdict.INCONCLUSIVE
    slower = [row | {"execution_ms": row["execution_ms"] and 2 * row["execution_ms"]} for row in rows(9)]
    slower[0]["execution_ms"] = None
    assert found(of(rows(9)), of(slower))["run execution_ms p95"].standing is WORSE


def test_a_baseline_whose_jobs_did_not_complete_is_none() -> None:
    broken = [row | {"outcome": "failed"} for row in rows(0)]
    p95 = found(of(broken), of(rows(0)))["run end_to_end_ms p95"]
    assert (p95.standing, p95.non_inferior) == (CANNOT_TELL, False)
    assert p95.detail.startswith("The baseline has no run end_to_end_ms p95")


def test_a_run_against_itself_has_no_verdict_but_pass_in_errors() -> None:
    itself = of(rows(30, outcome="failed"))
    assert as_gate_result(found(itself, itself)["run errors"]).verdict is Verdict.PASS
    assert Verdict.FAIL not in verdicts(itself, itself)


@pytest.mark.parametrize(
    ("before", "after", "standing", "passes"),
    [
        ((100, 0), (100, 0), CANNOT_TELL, True),
        ((100, 0), (100, 1), CANNOT_TELL, False),
        ((1000, 0), (1000, 9), CANNOT_TELL, True),
        ((1000, 0), (1000, 12), CANNOT_TELL, False),
        ((1000, 0), (1000, 47), WORSE, False),
        ((1000, 47), (1000, 0), BETTER, True),
        ((1000, 47), (1000, 50), CANNOT_TELL, True),
        ((0, 0), (100, 0), CANNOT_TELL, False),
        ((100, 0), (0, 0), CANNOT_TELL, False),
        ((100, 100), (100, 100), CANNOT_TELL, True),
    ],
)
def test_shares_of_errors_are_compared(
    before: tuple[int, int], after: tuple[int, int], standing: ComparisonVerdict, passes: bool
) -> None:
    then, now = (ComparableRun({}, np.zeros(0), {"run": JobCount(*each)}) for each in (before, after))
    result = compare_errors([then], now, ERRORS, 0.01)
    assert (result.standing, result.non_inferior) == (standing, passes)


def test_equal_shares_beyond_the_margin_are_called_worse_as_rarely_as_claimed() -> None:
    rng = np.random.default_rng(3)
    worse = 0
    for _ in range(1000):
        counts = [JobCount(1000, int(rng.binomial(1000, share))) for share in (0.05, 0.06)]
        then, now = (ComparableRun({}, np.zeros(0), {"run": each}) for each in counts)
        worse += compare_errors([then], now, ERRORS, 0.01).standing is WORSE
    assert worse <= 20
