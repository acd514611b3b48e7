"""Comparisons are right as often as they claim, over many pairs of runs with a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.analyze.compare.comparable_run import NEVER_MS, ComparableRun, JobCount, run_series
from loadtest.analyze.compare.comparison import ERROR_RATE, compare
from loadtest.analyze.compare.result import THROUGHPUT, ComparisonVerdict, MetricComparison, MetricKey
from loadtest.analyze.jobs import LoadWindow, jobs_of
from loadtest.analyze.stats.hypothesis_tests import holm_levels
from loadtest.scenario.metrics import Metric
from tests.unit.analyze.noise import autoregressive
from tests.unit.analyze.rows import START_AT, job, samples

P95 = MetricKey("t", Metric.DELAY, "p95")
JOBS = 5000
PAIRS = 500


def one_run(times_ms: NDArray[np.float64], per_s: NDArray[np.float64] | None = None) -> ComparableRun:
    return ComparableRun({("t", Metric.DELAY): times_ms}, np.zeros(0) if per_s is None else per_s)


def log_normal(rng: np.random.Generator, rho: float, n: int = JOBS) -> NDArray[np.float64]:
    """Return times of 200 ms with dependent neighbours; their p95 is 2.3 times that."""
    times: NDArray[np.float64] = 200 * np.exp(0.5 * autoregressive(rng, n, rho))
    return times


@pytest.fixture(scope="module", params=[0.0, 0.5], ids=["independent", "rho 0.5"])
def pairs(request: pytest.FixtureRequest) -> list[MetricComparison]:
    """Return 500 comparisons of two runs of the same endpoint, without tolerance."""
    rng = np.random.default_rng(11)
    found = []
    for _ in range(PAIRS):
        first, second = (one_run(log_normal(rng, request.param)) for _ in "ab")
        found += compare([first], second, [P95], 0.0, 0.0)
    return found


def share(found: list[MetricComparison], standing: ComparisonVerdict) -> float:
    return sum(each.standing is standing for each in found) / len(found)


def test_equal_runs_are_hardly_ever_called_worse_or_better(pairs: list[MetricComparison]) -> None:
    assert share(pairs, ComparisonVerdict.WORSE) <= 0.02
    assert share(pairs, ComparisonVerdict.BETTER) <= 0.02


def test_bounds_are_those_of_a_ratio_whatever_the_ratio_is() -> None:
    rng = np.random.default_rng(13)
    first, second = (log_normal(rng, 0.5) for _ in "ab")
    same, slower = (
        compare([one_run(first)], one_run(second * by), [P95], 0.0, min_difference_ms=0.0)[0] for by in (1.0, 1.1)
    )
    assert same.bounds is not None
    assert slower.bounds == pytest.approx([1.1 * bound for bound in same.bounds])
    assert (slower.standing is ComparisonVerdict.WORSE) == (1.1 * same.bounds[0] > 1)


def test_ten_percent_at_p95_are_found_in_five_thousand_jobs(pairs: list[MetricComparison]) -> None:
    """Were the second run of each pair 10 % slower, its bounds would be 1.1 times what they are."""
    found = [each.bounds is not None and 1.1 * each.bounds[0] > 1 for each in pairs]
    assert sum(found) / len(found) >= 0.8


def test_the_interval_of_a_ratio_holds_the_truth_95_times_in_100(pairs: list[MetricComparison]) -> None:
    held = [each.ci95 is not None and each.ci95[0] <= 1 <= each.ci95[1] for each in pairs]
    assert 0.94 <= sum(held) / len(held) <= 0.98


def test_a_detectable_difference_is_found_eight_times_in_ten() -> None:
    rng = np.random.default_rng(3)
    first, second = (one_run(log_normal(rng, 0.0)) for _ in "ab")
    detectable = compare([first], second, [P95])[0].detectable
    assert detectable is not None
    found = [
        compare([one_run(log_normal(rng, 0.0))], one_run(log_normal(rng, 0.0) * detectable), [P95])[0]
        for _ in range(200)
    ]
    assert 0.7 <= share(found, ComparisonVerdict.WORSE) <= 0.9


def test_many_metrics_at_once_are_not_many_chances_to_fail() -> None:
    rng = np.random.default_rng(5)
    metrics = [MetricKey(f"t{i}", Metric.DELAY, "p90") for i in range(8)]
    wrong = 0
    for _ in range(100):
        first, second = (
            ComparableRun({(m.flow, m.metric): rng.exponential(100, 1000) for m in metrics}, np.zeros(0))
            for _ in "ab"
        )
        found = compare([first], second, metrics, 0.0, 0.0)
        wrong += any(each.standing is ComparisonVerdict.WORSE for each in found)
    assert wrong <= 3


def test_one_metric_of_fifty_that_is_far_worse_is_found() -> None:
    rng = np.random.default_rng(12)
    metrics = [MetricKey(f"t{i}", Metric.DELAY, "p90") for i in range(50)]
    same = {(metric.flow, metric.metric): rng.exponential(100, 1000) for metric in metrics}
    key = ("t7", Metric.DELAY)
    slower = ComparableRun(same | {key: 2 * same[key]}, np.zeros(0))
    found = compare([ComparableRun(same, np.zeros(0))], slower, metrics)
    assert [each.metric.name for each in found if each.standing is ComparisonVerdict.WORSE] == ["t7 delay_ms p90"]


def test_a_difference_between_runs_of_the_baseline_is_not_a_regression() -> None:
    rng = np.random.default_rng(9)

    def drifting() -> ComparableRun:
        return one_run(log_normal(rng, 0.0) * np.exp(rng.normal(0, 0.05)))

    alone, together = [], []
    for _ in range(100):
        candidate, *baseline = (drifting() for _ in range(5))
        alone += compare(baseline[:1], candidate, [P95], 0.0, 0.0)
        together += compare(baseline, candidate, [P95], 0.0, 0.0)
    assert share(alone, ComparisonVerdict.WORSE) > 0.1
    assert share(together, ComparisonVerdict.WORSE) <= 0.03


def test_two_baselines_that_differ_give_finite_bounds_whatever_the_ratio() -> None:
    """One degree of freedom between two runs has an interval of any width."""
    rng = np.random.default_rng(9)
    baseline = [one_run(log_normal(rng, 0.0) * by) for by in (1.0, 1.5)]
    [found] = compare(baseline, one_run(log_normal(rng, 0.0) * 1e6), [P95])
    assert found.ratio is not None
    assert found.ratio > 1e5
    assert found.bounds is not None
    assert np.isfinite(found.bounds).all()


def test_within_the_tolerance_is_not_worse_and_far_beyond_it_is() -> None:
    rng = np.random.default_rng(1)
    first, second = log_normal(rng, 0.5), log_normal(rng, 0.5)

    def standing(factor: float) -> ComparisonVerdict:
        return compare([one_run(first)], one_run(second * factor), [P95], tolerance=0.05)[0].standing

    assert [standing(factor) for factor in (0.7, 1.0, 1.05, 1.4)] == [
        ComparisonVerdict.BETTER, ComparisonVerdict.CANNOT_TELL,
        ComparisonVerdict.CANNOT_TELL, ComparisonVerdict.WORSE,
    ]  # fmt: skip


def whole(rng: np.random.Generator, at_ms: float, range_ms: float = 0.0) -> ComparableRun:
    """Return whole milliseconds around a time, as a server reports them."""
    return one_run(np.rint(rng.normal(at_ms, range_ms, JOBS)))


@pytest.mark.parametrize(
    ("before_ms", "after_ms", "standing"),
    [
        (1.0, 3.0, ComparisonVerdict.CANNOT_TELL),
        (7.0, 9.0, ComparisonVerdict.CANNOT_TELL),
        (0.0, 2.0, ComparisonVerdict.CANNOT_TELL),
        (3.0, 1.0, ComparisonVerdict.CANNOT_TELL),
        (1.0, 4.0, ComparisonVerdict.WORSE),
        (4.0, 1.0, ComparisonVerdict.BETTER),
        (40.0, 42.0, ComparisonVerdict.CANNOT_TELL),
        (100.0, 104.0, ComparisonVerdict.CANNOT_TELL),
        (100.0, 106.0, ComparisonVerdict.WORSE),
    ],
)
def test_a_time_is_worse_beyond_both_the_share_and_the_minimum_difference(
    before_ms: float, after_ms: float, standing: ComparisonVerdict
) -> None:
    rng = np.random.default_rng(5)
    [found] = compare([whole(rng, before_ms)], whole(rng, after_ms), [P95])
    assert (found.standing, found.non_inferior) == (standing, standing is not ComparisonVerdict.WORSE)
    assert found.limit == pytest.approx(max(1.05, 1 + 2 / max(before_ms, 1.0)))


def test_without_a_minimum_difference_the_share_alone_decides() -> None:
    rng = np.random.default_rng(5)
    assert (
        compare([whole(rng, 1)], whole(rng, 3), [P95], min_difference_ms=0.0)[0].standing is ComparisonVerdict.WORSE
    )


def test_the_interval_and_not_the_value_must_exceed_the_minimum_difference() -> None:
    """A true difference at the margin is called worse as rarely as one of the share; a clear one is found."""
    rng = np.random.default_rng(17)

    def worse(by_ms: float) -> float:
        found = []
        for _ in range(200):
            first, second = (one_run(rng.exponential(5.0, 1000) + more_ms) for more_ms in (0.0, by_ms))
            found += compare([first], second, [P95])
        return share(found, ComparisonVerdict.WORSE)

    assert worse(2.0) <= 0.03
    assert worse(8.0) >= 0.9


@pytest.mark.parametrize(("factor", "no_worse"), [(1.0, True), (1.045, False), (1.3, False)])
def test_a_run_is_non_inferior_if_the_bounds_rule_out_that_it_is_worse(factor: float, no_worse: bool) -> None:
    rng = np.random.default_rng(3)
    first = np.rint(rng.normal(1000, 20, JOBS))
    [found] = compare([one_run(first)], one_run(first * factor), [P95], 0.05 if factor != 1.045 else 0.046)
    assert found.bounds is not None
    assert found.non_inferior is (found.bounds[1] <= found.limit) is no_worse


def test_less_throughput_is_worse() -> None:
    rng = np.random.default_rng(2)
    nothing = np.empty(0)
    full, half = (one_run(nothing, rng.poisson(rate, 120).astype(float)) for rate in (40, 30))
    [lost] = compare([full], half, [THROUGHPUT])
    [gained] = compare([half], full, [THROUGHPUT])
    assert (lost.standing, gained.standing) == (ComparisonVerdict.WORSE, ComparisonVerdict.BETTER)
    assert lost.detectable is not None
    assert 0.75 < lost.detectable < 1
    assert compare([full], full, [THROUGHPUT])[0].standing is ComparisonVerdict.CANNOT_TELL


def test_too_few_jobs_are_inconclusive_and_say_so() -> None:
    few = one_run(np.arange(50.0), np.ones(5))
    alike = one_run(np.concatenate([np.full(100, 10.0), np.full(100, 500.0)]))
    [p95, throughput] = compare([few], few, [P95, THROUGHPUT])
    assert p95 == MetricComparison(
        P95, None, None, None, None, None, None, None, ComparisonVerdict.CANNOT_TELL,
        "n too small: 50 jobs, p95 needs 72.", 1.05,
    )  # fmt: skip
    assert throughput.detail == "n too small: 5 jobs completed in 5 s, throughput needs some in 10 s."
    assert "count as" in compare([alike], alike, [MetricKey("t", Metric.DELAY, "p50")])[0].detail
    assert compare([few], few, [MetricKey("absent", Metric.DELAY, "p50")])[0].detail.startswith("n too small: 0 jobs")


def test_whole_milliseconds_and_zeros_give_finite_ratios() -> None:
    rng = np.random.default_rng(4)
    idle = one_run(rng.integers(0, 3, 2000).astype(float))
    [same] = compare([idle], idle, [P95])
    assert (same.ratio, same.standing) == (1.0, ComparisonVerdict.CANNOT_TELL)
    assert same.ci95 is not None
    assert np.isfinite(same.ci95).all()


def test_without_a_baseline_run_it_raises() -> None:
    with pytest.raises(ValueError, match="no baseline"):
        compare([], one_run(np.ones(10)), [P95])


def test_times_are_compared_in_the_order_of_their_intended_starts_and_within_the_window() -> None:
    table = samples(job(1, 5.0, delay_ms=2), job(0, 1.0, delay_ms=1), job(2, 11.0), job(3, 6.0, outcome="failed"))
    found = run_series(jobs_of(table), LoadWindow(START_AT, START_AT + 10))
    assert found.times_ms["run", Metric.DELAY].tolist() == [1, 2, 100]
    assert found.times_ms["run", Metric.END_TO_END].tolist() == pytest.approx([360, 360, NEVER_MS])
    assert found.counts == {"run": JobCount(3, 1)}
    assert found.completed_per_s.tolist() == [0, 1, 0, 0, 0, 1, 0, 0, 0, 0]


def test_holm_tests_the_least_p_value_hardest_and_stops_at_the_first_above_its_level() -> None:
    assert holm_levels([0.04, 0.001, 0.02], 0.03) == [0.015, 0.01, 0.015]
    assert holm_levels([], ERROR_RATE) == []
