from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.protocol import Limit
from loadtest.traffic.arrivals import fullest
from loadtest.traffic.budget import MARGIN_S, FullestWindow, RateBudget


def test_a_burst_within_the_limit_goes_at_once_and_the_next_waits_a_window() -> None:
    budget = RateBudget(Limit(3, 10))
    assert [budget.reserve(5.0)[1] for _ in range(3)] == [5.0] * 3
    assert budget.reserve(5.0)[1] == 15.0 + MARGIN_S


def test_spacing_spreads_a_push_over_the_window() -> None:
    budget = RateBudget(Limit(100, 10), spaced=True)
    at = [budget.reserve(0.0)[1] for _ in range(250)]
    assert np.diff(at) == pytest.approx(np.full(249, (10 + MARGIN_S) / 100))


def test_spacing_keeps_at_least_97_percent_of_the_limit() -> None:
    budget = RateBudget(Limit(1000, 10), spaced=True)
    at = np.array([budget.reserve(0.0)[1] for _ in range(4000)])
    assert 970 <= fullest(at, 10.0) <= 1000


def test_a_request_that_left_late_counts_from_then() -> None:
    budget = RateBudget(Limit(1, 10))
    place, _ = budget.reserve(0.0)
    budget.settle(place, 4.0)
    assert budget.reserve(5.0)[1] == 14.0 + MARGIN_S


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
        now += pause_s
        place, at = budget.reserve(now)
        left_at.append(at + late_s)
        budget.settle(place, at + late_s)
        now = max(now, at)
    # a request that left late may be followed by one that left in time, never within its window
    assert fullest(np.sort(left_at), per_s) <= requests


@given(st.lists(st.floats(0, 5), max_size=80))
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
