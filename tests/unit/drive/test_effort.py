from __future__ import annotations

import time

import pytest

from loadtest.drive.effort import SPAN_S, Effort, wanted_s


def shares(*cpu_s_of_half_seconds: float) -> float | None:
    effort, cpu_s = Effort(), 0.0
    for number, more_s in enumerate(cpu_s_of_half_seconds):
        cpu_s += more_s
        effort.add(number / 2, cpu_s)
    return effort.greatest_share


def test_the_fullest_span_counts() -> None:
    busy_for_one_span = [0.1] * 20 + [0.4] * int(2 * SPAN_S) + [0.1] * 20
    assert shares(*busy_for_one_span) == pytest.approx(0.8)


def test_a_short_burst_is_spread_over_a_span() -> None:
    assert shares(*[0.0] * 20, 0.5, *[0.0] * 20) == pytest.approx(0.5 / SPAN_S)


def test_less_than_a_span_says_nothing() -> None:
    assert shares(*[0.5] * int(2 * SPAN_S)) is None


def test_what_a_process_has_had_of_a_core_is_part_of_what_it_wanted() -> None:
    before_s, began_s = wanted_s(), time.process_time()
    sum(range(1_000_000))
    had_s = time.process_time() - began_s
    assert wanted_s() - before_s >= had_s > 0
