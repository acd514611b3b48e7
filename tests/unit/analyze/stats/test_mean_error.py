"""The error of a mean is the one that means of other series like it have."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.analyze.stats.effective_number import effective
from loadtest.analyze.stats.mean_error import mean_error
from tests.unit.analyze.noise import autoregressive


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_the_error_of_a_share_is_that_of_other_series(rho: float) -> None:
    rng = np.random.default_rng(3)
    limit = 1.2816
    shares, errors = [], []
    for _ in range(300):
        values = autoregressive(rng, 4000, rho)
        over = (values > limit).astype(float)
        shares.append(over.mean())
        errors.append(mean_error(over - over.mean(), [effective(values)]).error)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(shares), rel=0.12)


def test_a_short_series_has_a_larger_error_and_few_degrees_of_freedom() -> None:
    rng = np.random.default_rng(5)
    values = autoregressive(rng, 100, 0.95)
    found, worth = mean_error(values - values.mean(), [effective(values)]), effective(values)
    assert found.degrees == worth.degrees < 20
    assert found.error == pytest.approx(values.std() / np.sqrt(worth.n))


def test_the_series_that_resembles_its_neighbours_most_decides() -> None:
    rng = np.random.default_rng(6)
    alike, noise = autoregressive(rng, 200, 0.95), rng.normal(size=200)
    both = mean_error(noise, [effective(alike), effective(noise)])
    assert both.error > 2 * mean_error(noise, [effective(noise)]).error


def test_without_deviations_there_is_no_error() -> None:
    assert mean_error(np.zeros(100), [effective(np.zeros(100))]).error == 0
