"""What is made of scipy.special, held against scipy.stats, which takes too long to import."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from loadtest.analyze.stats.trend import mean_ranks, trend
from loadtest.analyze.workers import binomial_quantile


@pytest.mark.parametrize("n", [10, 33, 100])
def test_ranks_and_slopes_are_those_of_scipy(n: int) -> None:
    values = np.round(np.random.default_rng(n).normal(size=n), 1)
    assert mean_ranks(values).tolist() == stats.rankdata(values).tolist()
    slope = stats.theilslopes(values, np.arange(n)).slope
    assert trend(values).change == pytest.approx(np.expm1(slope * (n - 1)))


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.025])
def test_quantiles_of_a_binomial_are_those_of_scipy(share: float) -> None:
    sizes = [*range(1, 200), 1000, 4999, 1_000_000]
    assert [binomial_quantile(share, n) for n in sizes] == [int(stats.binom.ppf(share, n, 0.5)) for n in sizes]
