"""One group is rarely divided, whatever its shape and size; two are found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from loadtest.analyze.stats.two_groups import division
from loadtest.arrays import Floats

Draw = Callable[[np.random.Generator, int], Floats]
RUNS = {5: 200, 12: 120, 30: 80, 200: 40, 1000: 20}
ONE_GROUP: dict[str, Draw] = {
    "log-normal 0.1": lambda rng, n: rng.lognormal(2, 0.1, n),
    "log-normal 0.4": lambda rng, n: rng.lognormal(2, 0.4, n),
    "log-normal 1": lambda rng, n: rng.lognormal(2, 1.0, n),
    "gamma 2": lambda rng, n: rng.gamma(2, 1, n),
    "gamma 8": lambda rng, n: rng.gamma(8, 1, n),
    "constant and noise": lambda rng, n: np.round(10_000 + rng.normal(0, 30, n)),
    "constant and a wait": lambda rng, n: 10 + rng.exponential(5, n),
}


@pytest.mark.parametrize("name", ONE_GROUP)
def test_one_group_is_divided_in_five_percent_at_most(name: str) -> None:
    rng = np.random.default_rng(1)
    for n, runs in RUNS.items():
        divided = sum(division(ONE_GROUP[name](rng, n)) is not None for _ in range(runs))
        # Four standard errors above 5 %, so that chance alone fails one in thousands.
        assert divided <= 0.05 * runs + 4 * np.sqrt(0.05 * 0.95 * runs), (n, divided)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize(("ratio", "sigma"), [(3, 0.15), (4, 0.2), (10, 0.3), (40, 0.5)])
def test_two_groups_are_found_and_divided_between_them(share: float, ratio: float, sigma: float) -> None:
    rng = np.random.default_rng(2)
    for n, runs in ((30, 40), (300, 10)):
        longer = round(share * n)
        found = 0
        for _ in range(runs):
            values = rng.lognormal(0, sigma, n) * np.repeat([1, ratio], [n - longer, longer])
            at = division(rng.permutation(values))
            found += at is not None and abs(np.count_nonzero(values >= at) - longer) <= 0.05 * n + 1
        assert found >= 0.9 * runs, (n, found)


def test_few_and_equal_values_are_one_group() -> None:
    assert division(np.array([1.0, 1.0, 100.0, 100.0])) is None
    assert division(np.full(50, 3.0)) is None


def test_a_third_group_far_away_is_not_needed_to_divide() -> None:
    values = np.array([500.0] * 40 + [40_000.0] * 10)
    at = division(values)
    assert at is not None
    assert 500 < at < 40_000
