"""The effective number of jobs, against series whose dependence is known, and the ends of intervals that use it."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from benchmarks.queues import SYSTEMS, simulate, true_percentile_ms
from loadtest.analyze.stats.effective_number import (
    Effective,
    effective,
    effective_number,
    effective_times,
    independent,
)
from loadtest.analyze.stats.percentile_bounds import lower_rank, upper_bound
from loadtest.analyze.stats.quantiles import interval_ranks, quantiles
from loadtest.arrays import Floats

RNG = np.random.default_rng(5)


def autoregressive(rho: float, n: int) -> Floats:
    shocks = RNG.standard_normal(n) * (1 - rho**2) ** 0.5
    shocks[0] = RNG.standard_normal()
    return np.asarray(signal.lfilter([1.0], [1.0, -rho], shocks))


@pytest.mark.parametrize("rho", [0.3, 0.5, 0.8, 0.9])
def test_an_autoregression_is_worth_what_theory_says(rho: float) -> None:
    found = np.median([effective_number(autoregressive(rho, 20_000)) for _ in range(15)])
    assert found / 20_000 == pytest.approx((1 - rho) / (1 + rho), rel=0.15)


def test_independent_values_count_nearly_as_many_as_they_are() -> None:
    found = [effective_number(RNG.exponential(size=1000)) for _ in range(50)]
    assert np.median(found) > 900
    assert max(found) <= 1000


@given(seed=st.integers(0, 1000), rho=st.sampled_from([0.0, 0.7, 0.95]), n=st.integers(2, 400))
def test_only_the_order_of_the_values_counts(seed: int, rho: float, n: int) -> None:
    values = signal.lfilter([1.0], [1.0, -rho], np.random.default_rng(seed).standard_normal(n))
    found = effective(values)
    assert effective(np.exp(values)) == found
    assert effective(values**3 * 5 + 1) == found
    assert 1 <= found.n <= n
    assert found.for_upper() <= found.for_lower() <= found.n


def test_equal_times_are_independent_although_floats_differ() -> None:
    assert effective(np.full(500, 7.0)) == independent(500)
    assert effective_times(7.0 + np.arange(500) * 1e-7) == independent(500)


@pytest.mark.parametrize("n", [0, 1])
def test_there_is_nothing_to_resemble(n: int) -> None:
    assert effective(np.zeros(n)) == independent(n)
    assert upper_bound(np.zeros(n), 950, independent(n), 0.01) == inf


def test_a_longer_run_of_the_same_kind_is_worth_more_for_each_job() -> None:
    short, long = Effective(1000, 20.0, 12.0).for_upper(), Effective(1000, 20.0, 12.0).for_upper(100_000)
    assert long / short > 100
    assert long < 100_000 / 20


@given(n=st.integers(1, 5000), per_mille=st.sampled_from([500, 900, 950, 990]))
def test_dependence_widens_an_interval(n: int, per_mille: int) -> None:
    ranks = interval_ranks(n, per_mille)
    lower = lower_rank(n, per_mille, Effective(n, 3.0, max(1.0, n / 9)), 0.025)
    assert lower is None or ranks is None or lower <= ranks[0]


def test_few_values_have_no_upper_end() -> None:
    # Even independent jobs would need 90.
    assert upper_bound(autoregressive(0.9, 89) + 10, 950, Effective(89, 19.0, 4.0), 0.01) == inf


@pytest.mark.parametrize(("name", "load"), [("AR(1)", 0.7), ("M/M/1", 0.5)])
def test_a_queue_far_below_its_limit_passes_mostly(name: str, load: float) -> None:
    system = next(each for each in SYSTEMS if each.name == name)
    runs = simulate(system, load, 100, 1000, seed=12)
    quantity = "end_to_end" if system.workers else "delay"
    times_ms = runs.end_to_end_ms if system.workers else runs.delay_ms
    limit_ms = 2 * true_percentile_ms(system, load, quantity, 0.95)
    assert sum(upper_bound(run, 950, effective_times(run), 0.01) < limit_ms for run in times_ms) >= 60


def test_a_second_mode_that_was_seen_counts_in_full() -> None:
    warm = np.abs(autoregressive(0.9, 1000)) + 100
    cold = np.where(np.arange(1000) // 15 == 20, 20_000.0, warm)
    assert upper_bound(cold, 950, effective(cold), 0.01) >= 20_000


@pytest.mark.parametrize(("name", "load"), [("M/M/1", 0.7), ("M/M/8", 0.8), ("M/M/1", 0.9), ("AR(1)", 0.9)])
def test_a_queue_at_its_limit_hardly_ever_passes_and_its_interval_covers(name: str, load: float) -> None:
    system = next(each for each in SYSTEMS if each.name == name)
    delay_ms = simulate(system, load, 200, 1000, seed=11).delay_ms
    truth_ms = (
        true_percentile_ms(SYSTEMS[SYSTEMS.index(system)], load, "delay", 0.95) if name != SYSTEMS[4].name else 179.7
    )
    passes = sum(upper_bound(run, 950, effective_times(run), 0.01) < truth_ms for run in delay_ms)
    ends = [found for run in delay_ms if (found := quantiles(run).ci95.get("p95"))]
    assert passes <= 6
    assert np.mean([low <= truth_ms <= high for low, high in ends]) >= 0.92
