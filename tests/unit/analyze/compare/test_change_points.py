"""Change points: rare in series without one, and found where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.analyze.compare.change_points import MIN_SIDE, ChangePoint, change_points


@pytest.mark.parametrize("kind", ["normal", "lognormal", "constant"])
def test_series_without_a_change_rarely_gets_one(kind: str) -> None:
    rng = np.random.default_rng(5)
    draw = {"normal": rng.standard_normal, "lognormal": lambda n: rng.lognormal(0, 1, n), "constant": np.ones}[kind]
    found = sum(bool(change_points(draw(20))) for _ in range(40))
    assert found <= 3  # 0.4 expected


def test_a_step_is_found_at_its_place_and_others_after_it() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(at, 0.1, n) for at, n in ((1.0, 15), (2.0, 12), (0.5, 9))])
    assert [each.place for each in change_points(values)] == [15, 27]
    assert all(each.p <= 0.01 for each in change_points(values))


def test_a_change_of_spread_is_one_too() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(0, 0.05, 40), rng.normal(0, 2.0, 40)])
    [found] = change_points(values)
    assert abs(found.place - 40) <= 3


def test_small_steps_are_found_more_often_the_larger_they_are() -> None:
    rng = np.random.default_rng(3)
    power = []
    for step in (0.5, 1.5, 3.0):
        series = [np.concatenate([rng.standard_normal(12), step + rng.standard_normal(12)]) for _ in range(12)]
        power.append(sum(bool(change_points(each)) for each in series))
    assert power[0] < power[1] < power[2]
    assert power[2] >= 11


@pytest.mark.parametrize("n", [0, 1, 2 * MIN_SIDE - 1, 2 * MIN_SIDE])
def test_short_series_have_none(n: int) -> None:
    assert change_points((np.arange(n) >= n / 2).astype(float)) == []


def test_of_a_long_series_the_end_counts() -> None:
    values = np.concatenate([np.zeros(100), np.ones(150), np.full(100, 3.0)])
    assert [each.place for each in change_points(values)] == [250]
    assert isinstance(change_points(values)[0], ChangePoint)
