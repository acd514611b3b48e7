from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.protocol import Limit
from loadtest.traffic.arrivals import fullest
from loadtest.traffic.budget import CATCH_UP_S, FORGOTTEN_AT_ONCE, MARGIN_S, FullestWindow, RateBudget


def pushed(budget: RateBudget, times: int, late_s: float = 0.0) -> list[float]:
    """When requests leave that push as hard as they can, each `late_s` after it might have."""
    now, left_at = 0.0, []
    for _ in range(times):
        now = budget.next_at(now)
        now += late_s
        budget.take(now)
        left_at.append(now)
    return left_at


def test_a_burst_within_the_limit_goes_at_once_and_the_next_waits_a_window() -> None:
    assert pushed(RateBudget(Limit(3, 10)), 4) == [0.0, 0.0, 0.0, 10 + MARGIN_S]


def test_spacing_spreads_a_push_over_the_window() -> None:
    at = pushed(RateBudget(Limit(100, 10), spaced=True), 250)
    spacing_s = (10 + MARGIN_S) / 100
    assert np.diff(at).mean() == pytest.approx(spacing_s, rel=0.01)
    assert np.diff(at).max() <= spacing_s + CATCH_UP_S


@pytest.mark.parametrize("late_s", [0.0, 0.0009])
def test_spacing_keeps_at_least_97_percent_of_the_limit_though_timers_are_late(late_s: float) -> None:
    at = np.array(pushed(RateBudget(Limit(2000, 10), spaced=True), 6000, late_s))
    assert 1940 <= fullest(at, 10.0) <= 2000


def test_a_smaller_share_counts_what_was_sent_before() -> None:
    budget = RateBudget(Limit(4, 10))
    for at in (0.0, 1.0, 2.0):
        budget.take(at)
    budget.resize(2)
    assert budget.next_at(3.0) == 1.0 + 10 + MARGIN_S
    budget.resize(4)
    assert budget.next_at(3.0) == 3.0
    budget.resize(0)
    assert budget.next_at(3.0) == float("inf")
    budget.resize(99)
    budget.take(3.0)
    assert budget.next_at(4.0) == 10 + MARGIN_S


@given(
    st.integers(1, 20),
    st.floats(1, 10),
    st.booleans(),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), min_size=1, max_size=120),
)
def test_no_interval_holds_more_than_the_limit(
    requests: int, per_s: float, spaced: bool, steps: list[tuple[float, float]]
) -> None:
    """Whenever requests come, and however late each of them leaves."""
    budget = RateBudget(Limit(requests, per_s), spaced)
    now, left_at = 0.0, []
    for pause_s, late_s in steps:
        now = budget.next_at(now + pause_s) + late_s
        budget.take(now)
        left_at.append(now)
    assert fullest(np.array(left_at), per_s) <= requests


@given(st.lists(st.integers(0, 20).map(lambda quarters: quarters / 4), max_size=80))
def test_the_fullest_window_is_the_one_counted_afterwards(gaps: list[float]) -> None:
    at = np.cumsum(gaps)
    window = FullestWindow(10.0)
    for each in at:
        window.add(float(each))
    assert window.most == fullest(at, 10.0)


def test_what_a_window_holds_runs_off() -> None:
    window = FullestWindow(10.0)
    window.add(1.0)
    window.add(2.0)
    assert window.held(10.9) == 2
    assert window.held(11.0) == 1
    assert window.held(50.0) == 0
    assert window.most == 2


def test_a_window_over_a_long_run_is_as_exact_as_over_a_short_one() -> None:
    at = np.sort(np.random.default_rng(1).uniform(0, 60, 3 * FORGOTTEN_AT_ONCE))
    window = FullestWindow(10.0)
    for each in at.tolist():
        window.add(each)
    assert window.most == fullest(at, 10.0)
    assert window.held(65.0) == np.count_nonzero(at > 55.0)
