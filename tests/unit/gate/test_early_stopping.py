"""MLPerf's early stopping, to the digit, and what it promises: a target at its limit hardly ever passes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loadtest.analyze.stats.quantiles import interval_ranks
from loadtest.gate.early_stopping import allowed_over, holds, min_jobs, more_jobs, refuted

P90, P95, P99, P99_9 = 0.1, 0.05, 0.01, 0.001


@pytest.mark.parametrize(
    ("over", "share", "jobs"),
    [
        (0, P90, 44),
        (0, P95, 90),
        (0, P99, 459),
        (0, P99_9, 4603),
        (1, P90, 64),
        (1, P95, 130),
        (1, P99, 662),
        (1, P99_9, 6636),
    ],
)
def test_the_fewest_jobs(over: int, share: float, jobs: int) -> None:
    assert min_jobs(over, share) == jobs
    assert holds(over, jobs, share)
    assert not holds(over, jobs - 1, share)


@pytest.mark.parametrize(
    ("n", "share", "over"),
    [(1000, P99, 2), (5000, P99, 33), (10_000, P99, 77), (1000, P95, 34), (458, P99, None), (459, P99, 0)],
)
def test_the_most_that_may_be_over(n: int, share: float, over: int | None) -> None:
    assert allowed_over(n, share) == over


def test_twenty_jobs_say_nothing_good_of_a_p99() -> None:
    assert allowed_over(20, P99) is None
    assert more_jobs(0, 20, P99) == 439


def test_no_jobs_neither_hold_nor_are_refuted() -> None:
    assert not holds(0, 0, P95)
    assert not refuted(0, 0, P95)


def test_how_many_more_jobs_are_needed() -> None:
    assert more_jobs(10, 1000, P95) == 0
    assert more_jobs(50, 1000, P95) is None  # the very share that may be over
    assert more_jobs(60, 1000, P95) is None
    more = more_jobs(4, 100, P95)
    assert more is not None
    assert holds(-(-4 * (100 + more) // 100), 100 + more, P95)


counts = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.sampled_from([500, 900, 950, 990, 999]))
def test_gate_fails_exactly_if_the_reports_interval_is_beyond_the_limit(
    counted: tuple[int, int], per_mille: int
) -> None:
    over, n = counted
    ranks = interval_ranks(n, per_mille)
    if ranks is not None:
        assert refuted(over, n, 1 - per_mille / 1000) == (n - over < ranks[0])


@given(counts, st.sampled_from([P90, P95, P99, P99_9]))
def test_nothing_both_holds_and_is_refuted(counted: tuple[int, int], share: float) -> None:
    over, n = counted
    assert not (holds(over, n, share) and refuted(over, n, share))
    assert holds(over, n, share) == (n > over and stats.binom.cdf(over, n, share) <= 0.01)


@pytest.mark.parametrize("share", [P90, P95, P99])
@pytest.mark.parametrize("n", [500, 2000, 10_000])
def test_a_target_whose_percentile_is_the_limit_passes_once_in_a_hundred_runs(n: int, share: float) -> None:
    runs = 20_000
    over = np.random.default_rng(7).binomial(n, share, runs)
    most = allowed_over(n, share)
    assert most is not None
    passed = np.count_nonzero(over <= most) / runs
    assert passed <= 0.01 + 3 * np.sqrt(0.01 * 0.99 / runs)
    failed = sum(refuted(int(each), n, share) for each in over[:2000]) / 2000
    assert failed <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / 2000)
