"""The trend test agrees with scipy.stats, which takes too long to import; Holm's levels bound any wrong rejection."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from loadtest.analyze.stats.hypothesis_tests import holm_levels, mean_ranks, rejected, trend


@pytest.mark.parametrize("n", [10, 33, 100])
def test_ranks_and_slopes_are_those_of_scipy(n: int) -> None:
    values = np.round(np.random.default_rng(n).normal(size=n), 1)
    assert mean_ranks(values).tolist() == stats.rankdata(values).tolist()
    slope = stats.theilslopes(values, np.arange(n)).slope
    assert trend(values).change == pytest.approx(np.expm1(slope * (n - 1)))


def test_levels_step_down_from_the_least_p_value() -> None:
    assert holm_levels([0.04, 0.001], 0.05) == pytest.approx([0.05, 0.025])
    assert holm_levels([0.04, 0.03], 0.05) == pytest.approx([0.025, 0.025])


def test_p_values_below_their_level_are_rejected() -> None:
    assert rejected([0.01, 0.04, 0.03, 0.005], 0.05) == [0, 3]
    assert rejected([0.012, 0.001], 0.025) == [0, 1]
    assert rejected([], 0.05) == []
