"""Runs of one schedule are compared job by job, so that what both have in common does not count as noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.analyze.compare.comparable_run import (
    NEVER_MS,
    ComparableRun,
    JobCount,
    paired,
    schedule_of,
    share_a_schedule,
)
from loadtest.analyze.compare.comparison import compare
from loadtest.analyze.compare.result import THROUGHPUT, ComparisonVerdict, MetricComparison, MetricKey
from loadtest.gate.baseline import metrics_of
from loadtest.scenario.metrics import Metric
from tests.unit.analyze.rows import run, scenario

WORSE, CANNOT_TELL = ComparisonVerdict.WORSE, ComparisonVerdict.CANNOT_TELL
DELAY, EXECUTION = ("run", Metric.DELAY), ("run", Metric.EXECUTION)
P95 = MetricKey("run", Metric.DELAY, "p95")


def waits(rng: np.random.Generator, pairs: int, jobs: int, load: float) -> NDArray[np.float64]:
    """Return the waits of pairs of runs with the same arrivals at one worker, an array of 2 x pairs x jobs."""
    settling = round(10 / (1 - load) ** 2)
    gaps_ms = rng.exponential(100 / load, (settling + jobs, pairs))
    executions_ms = rng.exponential(100, (settling + jobs, 2, pairs))
    wait_ms, found = np.zeros((2, pairs)), []
    for gap_ms, execution_ms in zip(gaps_ms, executions_ms, strict=True):
        wait_ms = np.maximum(wait_ms - gap_ms, 0)
        found.append(wait_ms)
        wait_ms = wait_ms + execution_ms
    whole: NDArray[np.float64] = np.stack(found[settling:], axis=-1)
    return whole


def one_run(delay_ms: NDArray[np.float64], schedule: str = "one", **columns: NDArray[np.float64]) -> ComparableRun:
    n = len(delay_ms)
    times = {DELAY: delay_ms, **{("run", Metric[name]): values for name, values in columns.items()}}
    per_s = np.bincount(np.arange(n) * 60 // n).astype(float)
    return ComparableRun(times, per_s, {"run": JobCount(n, 0)}, {"run": np.arange(n)}, schedule)


def compared(baseline: ComparableRun, candidate: ComparableRun, tolerance: float = 0.05) -> list[MetricComparison]:
    return compare([baseline], candidate, metrics_of([baseline], candidate), tolerance)


def queueing(seed: int = 1, jobs: int = 1000, load: float = 0.9) -> NDArray[np.float64]:
    wait_ms: NDArray[np.float64] = waits(np.random.default_rng(seed), 1, jobs, load)[0, 0]
    return wait_ms


@pytest.mark.parametrize(
    "times_ms",
    [
        queueing(),
        np.full(1000, 7.0),
        np.zeros(1000),
        np.where(np.arange(1000) % 30 == 0, NEVER_MS, queueing()),
        np.where(np.arange(1000) < 900, 10.0, 5000.0),
    ],
    ids=["queue", "constant", "zero", "failures", "a rush at the end"],
)
def test_a_run_passes_against_itself_with_a_difference_of_nothing(times_ms: NDArray[np.float64]) -> None:
    itself = one_run(times_ms)
    times, *others = (each for each in compared(itself, itself) if each.ratio is not None)
    for each in (times, *others):
        assert (each.ratio, each.ci95, each.bounds) == (1.0, (1.0, 1.0), (1.0, 1.0)), each
        assert (each.standing, each.non_inferior) == (CANNOT_TELL, True)
    assert all(each.non_inferior for each in compared(itself, itself))


def test_a_run_against_itself_is_not_decided_by_times_that_no_server_reported() -> None:
    silent = one_run(queueing(), EXECUTION=np.where(np.arange(1000) < 100, np.nan, 50.0))
    execution = next(each for each in compared(silent, silent) if each.metric.metric is Metric.EXECUTION)
    assert (execution.standing, execution.non_inferior) == (CANNOT_TELL, False)


@pytest.mark.parametrize(("factor", "standing", "passes"), [(1.2, WORSE, False), (1.02, CANNOT_TELL, True)])
def test_what_both_runs_share_hides_no_difference(factor: float, standing: ComparisonVerdict, passes: bool) -> None:
    """A run like this hardly knows its own p95, but the jobs of both runs waited in the same queue."""
    delay_ms = queueing(jobs=5000, load=0.7) + 10
    noise = np.random.default_rng(2).normal(1, 0.005, (2, 5000))
    first, second = delay_ms * noise[0], delay_ms * noise[1] * factor
    [found] = compare([one_run(first)], one_run(second), [P95])
    assert (found.standing, found.non_inferior) == (standing, passes)
    [apart] = compare([one_run(first, "")], one_run(second, ""), [P95])
    assert (apart.standing, apart.non_inferior) == (CANNOT_TELL, False)


def test_jobs_that_stay_on_their_side_of_the_percentile_do_not_make_a_ratio_exact() -> None:
    delay_ms = np.arange(1, 1001.0)
    [found] = compare([one_run(delay_ms)], one_run(delay_ms**1.001), [P95])
    assert found.ci95 is not None
    assert found.ci95[0] < 950**0.001 < found.ci95[1]


@pytest.mark.parametrize("load", [0.5, 0.9])
@pytest.mark.parametrize("schedule", ["one", ""])
def test_equal_queues_are_hardly_ever_called_different(load: float, schedule: str) -> None:
    first, second = waits(np.random.default_rng(4), 100, 1000, load)
    metrics = [MetricKey("run", Metric.DELAY, name) for name in ("p50", "p90", "p95")]
    wrong = 0
    for one, other in zip(first, second, strict=True):
        found = compare([one_run(one, schedule)], one_run(other, schedule), metrics, 0.0, 0.0)
        wrong += any(each.standing is not CANNOT_TELL for each in found)
    assert wrong <= 2


def test_jobs_are_paired_by_their_numbers_and_a_missing_one_never_looks_good() -> None:
    whole = one_run(np.arange(10.0))
    lost = replace(
        whole, times_ms={DELAY: np.array([5.0, 7.0])}, seq={"run": np.array([5, 7])}, counts={"run": JobCount(2, 1)}
    )
    before, after = paired([whole], lost)
    assert before.times_ms[DELAY].tolist() == list(range(10))
    assert after.times_ms[DELAY].tolist() == [*[NEVER_MS] * 5, 5, NEVER_MS, 7, *[NEVER_MS] * 2]
    assert (before.counts["run"], after.counts["run"]) == (JobCount(10, 0), JobCount(10, 9))
    before, after = paired([lost], whole)
    np.testing.assert_array_equal(before.times_ms[DELAY], [*[np.nan] * 5, 5, np.nan, 7, *[np.nan] * 2])
    assert after.counts["run"] == JobCount(10, 0)


def test_the_order_of_the_rows_does_not_matter() -> None:
    first, second = waits(np.random.default_rng(6), 1, 1000, 0.7)[:, 0]
    order = np.random.default_rng(7).permutation(1000)
    mixed = replace(one_run(second[order]), seq={"run": order})
    assert compare([one_run(first)], mixed, [P95]) == compare([one_run(first)], one_run(second), [P95])


def test_only_runs_of_one_scenario_and_seed_share_a_schedule() -> None:
    first, again, other = (run(scenario(), seed=seed, offered={"run": [1, 1]}) for seed in (1, 1, 2))
    assert schedule_of(first) == schedule_of(again) != ""
    assert schedule_of(other) != schedule_of(first)
    assert schedule_of(run(scenario(), offered={})) == ""
    runs = [one_run(np.zeros(1), each) for each in ("a", "a", "b", "", "")]
    assert share_a_schedule(runs[:2])
    assert not share_a_schedule(runs[:3])
    assert not share_a_schedule(runs[3:])


@pytest.mark.parametrize("schedule", ["one", ""])
@pytest.mark.parametrize("factor", [0.5, 1.0, 1.2])
@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_the_detectable_ratio_lies_beyond_the_limit_on_the_side_of_worse(
    schedule: str, factor: float, spread: float
) -> None:
    noise = np.random.default_rng(8).normal(0, spread, (4, 1000))
    first, second = one_run(100 * np.exp(noise[0]), schedule), one_run(factor * 100 * np.exp(noise[1]), schedule)
    per_s = [np.rint(100 * np.exp(each[:60])) for each in noise[2:]]
    first, second = replace(first, completed_per_s=per_s[0]), replace(second, completed_per_s=per_s[1] * factor)
    time, rate = compare([first], second, [P95, THROUGHPUT])
    assert time.detectable is not None
    assert rate.detectable is not None
    assert time.detectable >= time.limit * (1 - 1e-9) > 1
    assert rate.detectable <= rate.limit * (1 + 1e-9) < 1
    if not spread:
        assert (time.detectable, rate.detectable) == pytest.approx((time.limit, rate.limit), rel=0.01)


def test_a_run_too_short_for_its_queue_says_how_many_jobs_would_do() -> None:
    first, second = waits(np.random.default_rng(9), 1, 300, 0.95)[:, 0]
    [found] = compare([one_run(first)], one_run(second), [P95])
    assert (found.standing, found.non_inferior, found.detectable) == (CANNOT_TELL, False, None)
    assert "count as" in found.detail
    assert found.detail.endswith("jobs would do.")
