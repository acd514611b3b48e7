from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.protocol.operations import Limit
from loadtest.traffic.arrivals import max_in_window
from loadtest.traffic.rate_limit import CATCH_UP_S, MARGIN_S, TRIM_BATCH, PeakWindow, SlidingWindowLimiter


def pushed(budget: SlidingWindowLimiter, times: int, late_s: float = 0.0) -> list[float]:
    """Return when requests leave that are sent as fast as possible, each `late_s` after it might have left."""
    now, left_at = 0.0, []
    for _ in range(times):
        now = budget.next_at(now)
        now += late_s
        budget.record(now)
        left_at.append(now)
    return left_at


def test_a_burst_within_the_limit_goes_at_once_and_the_next_waits_a_window() -> None:
    assert pushed(SlidingWindowLimiter(Limit(3, 10)), 4) == [0.0, 0.0, 0.0, 10 + MARGIN_S]


def test_a_limiter_shows_its_share_and_its_last_request() -> None:
    limiter = SlidingWindowLimiter(Limit(3, 10))
    assert repr(limiter) == "<SlidingWindowLimiter 3 per 10.1 s, none sent>"
    limiter.set_limit(2)
    limiter.record(4.0)
    assert repr(limiter) == "<SlidingWindowLimiter 2 per 10.1 s, last sent at 4.000>"


def test_spacing_spreads_a_push_over_the_window() -> None:
    at = pushed(SlidingWindowLimiter(Limit(100, 10), spaced=True), 250)
    spacing_s = (10 + MARGIN_S) / 100
    assert np.diff(at).mean() == pytest.approx(spacing_s, rel=0.01)
    assert np.diff(at).max() <= spacing_s + CATCH_UP_S


@pytest.mark.parametrize("late_s", [0.0, 0.0009])
def test_spacing_keeps_at_least_97_percent_of_the_limit_with_late_timers(late_s: float) -> None:
    at = np.array(pushed(SlidingWindowLimiter(Limit(2000, 10), spaced=True), 6000, late_s))
    assert 1940 <= max_in_window(at, 10.0) <= 2000


def test_a_smaller_share_counts_earlier_requests() -> None:
    budget = SlidingWindowLimiter(Limit(4, 10))
    for at in (0.0, 1.0, 2.0):
        budget.record(at)
    budget.set_limit(2)
    assert budget.next_at(3.0) == 1.0 + 10 + MARGIN_S
    budget.set_limit(4)
    assert budget.next_at(3.0) == 3.0
    budget.set_limit(0)
    assert budget.next_at(3.0) == float("inf")
    budget.set_limit(99)
    budget.record(3.0)
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
    """For requests at any times, each leaving late by any delay."""
    budget = SlidingWindowLimiter(Limit(requests, per_s), spaced)
    now, left_at = 0.0, []
    for pause_s, late_s in steps:
        now = budget.next_at(now + pause_s) + late_s
        budget.record(now)
        left_at.append(now)
    assert max_in_window(np.array(left_at), per_s) <= requests


@given(st.lists(st.tuples(st.integers(0, 20).map(lambda quarters: quarters / 4), st.booleans()), max_size=80))
def test_the_peak_window_is_the_one_counted_afterwards_whenever_it_is_read(steps: list[tuple[float, bool]]) -> None:
    at = np.cumsum([gap for gap, _ in steps])
    window = PeakWindow()
    for n, (each, (_, is_read)) in enumerate(zip(at, steps, strict=True)):
        window.add(float(each))
        if is_read:
            assert window.count(float(each)) == np.count_nonzero(at[: n + 1] > each - 10.0)
    assert window.peak == max_in_window(at, 10.0)


def test_the_count_of_a_window_expires() -> None:
    window = PeakWindow()
    window.add(1.0)
    window.add(2.0)
    assert window.count(10.9) == 2
    assert window.count(11.0) == 1
    assert window.count(50.0) == 0
    assert window.peak == 2


def test_a_window_over_a_long_run_is_as_exact_as_over_a_short_one() -> None:
    at = np.sort(np.random.default_rng(1).uniform(0, 60, 3 * TRIM_BATCH))
    window = PeakWindow()
    for n, each in enumerate(at.tolist()):
        window.add(each)
        if n % 10_000 == 0:
            assert window.count(each) == np.count_nonzero(at[: n + 1] > each - 10.0)
    assert window.peak == max_in_window(at, 10.0)
    assert window.count(65.0) == np.count_nonzero(at > 55.0)
