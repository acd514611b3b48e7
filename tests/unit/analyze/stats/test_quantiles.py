from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from loadtest.analyze.stats.effective_number import effective_number
from loadtest.analyze.stats.percentile_bounds import binomial_quantile
from loadtest.analyze.stats.quantiles import (
    PER_MILLE,
    interval_ranks,
    is_supported,
    min_samples,
    nearest_rank,
    quantiles,
)

finite = st.floats(-1e9, 1e9, allow_nan=False)


def test_the_outliers_that_a_digest_smooths_away() -> None:
    values = np.array([7.0] * 96 + [1502.0] * 6)
    assert quantiles(values).p95 == 1502
    assert quantiles(values).p90 == 7


@pytest.mark.parametrize(("name", "least"), [("p90", 36), ("p95", 72), ("p99", 368), ("p99_9", 3688)])
def test_percentile_is_supported_from_the_least_n_that_bounds_it(name: str, least: int) -> None:
    assert getattr(quantiles(np.arange(least, dtype=float)), name) is not None
    short = quantiles(np.arange(least - 1, dtype=float))
    assert getattr(short, name) is None
    assert name not in short.ci95
    assert min_samples(PER_MILLE[name]) == least


@given(per_mille=st.sampled_from(sorted(PER_MILLE.values())))
def test_support_begins_at_min_samples(per_mille: int) -> None:
    least = min_samples(per_mille)
    assert is_supported(least, per_mille)
    assert not is_supported(least - 1, per_mille)


@pytest.mark.parametrize(("per_mille", "ranks"), [(990, (983, 997)), (950, (936, 964))])
def test_the_interval_of_a_thousand_samples(per_mille: int, ranks: tuple[int, int]) -> None:
    assert interval_ranks(1000, per_mille) == ranks


def test_an_interval_holds_the_values_at_its_ranks() -> None:
    shuffled = (np.random.default_rng(seed).permutation(np.arange(1.0, 1001.0)) for seed in range(50))
    q = quantiles(next(values for values in shuffled if effective_number(values) == 1000))
    assert (q.p99, q.ci95["p99"]) == (990.0, (983.0, 997.0))
    assert (q.n, q.min, q.mean, q.max) == (1000, 1.0, 500.5, 1000.0)


@given(n=st.integers(1, 200_000), per_mille=st.sampled_from(sorted(PER_MILLE.values())))
def test_ranks_are_exact_although_floats_are_not(n: int, per_mille: int) -> None:
    assert nearest_rank(n, per_mille) == math.ceil(Fraction(per_mille, 1000) * n)


@given(n=st.integers(1, 20_000), per_mille=st.sampled_from(sorted(PER_MILLE.values())))
def test_the_interval_is_the_binomial_one(n: int, per_mille: int) -> None:
    p = per_mille / 1000
    low, high = int(binom.ppf(0.025, n, p)), int(binom.ppf(0.975, n, p)) + 1
    assert interval_ranks(n, per_mille) == ((low, high) if low >= 1 and high <= n else None)
    assert is_supported(n, per_mille) == (p**n <= 0.025 and (1 - p) ** n <= 0.025)


@given(st.lists(finite | st.just(math.nan), max_size=400))
def test_against_a_naive_reference(values: list[float]) -> None:
    known = sorted(value for value in values if not math.isnan(value))
    q = quantiles(np.array(values, dtype=float))
    assert q.n == len(known)
    for name, per_mille in PER_MILLE.items():
        expected = known[math.ceil(Fraction(per_mille, 1000) * q.n) - 1] if is_supported(q.n, per_mille) else None
        assert getattr(q, name) == expected
    if known:
        assert (q.min, q.max) == (known[0], known[-1])
        assert all(low <= getattr(q, name) <= high for name, (low, high) in q.ci95.items())


def test_nothing_is_nothing_and_not_zero() -> None:
    q = quantiles(np.array([math.nan]))
    assert (q.n, q.min, q.mean, q.p50, q.max, q.ci95) == (0, None, None, None, None, {})


@pytest.mark.parametrize(("name", "p", "n"), [("p50", 0.5, 40), ("p95", 0.95, 300), ("p99", 0.99, 1000)])
def test_an_interval_covers_the_truth_95_times_in_100(name: str, p: float, n: int) -> None:
    rng = np.random.default_rng(7)
    truth = -math.log(1 - p)
    trials = 2000
    found = [quantiles(rng.exponential(size=n)).ci95.get(name) for _ in range(trials)]
    printed = [ends for ends in found if ends is not None]
    held = sum(low <= truth <= high for low, high in printed)
    assert len(printed) >= 0.85 * trials
    # Whole ranks and the allowance for chance resemblance make it wider than it need be.
    assert 0.94 <= held / len(printed) <= 0.995


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.025])
def test_quantiles_of_a_binomial_are_those_of_scipy(share: float) -> None:
    sizes = [*range(1, 200), 1000, 4999, 1_000_000]
    assert [binomial_quantile(share, n, 0.5) for n in sizes] == [int(binom.ppf(share, n, 0.5)) for n in sizes]
