from __future__ import annotations

import time

import pytest

from loadtest.drive.stats.cpu import WINDOW_S, CpuMonitor, cpu_demand_s


def shares(*cpu_s_of_half_seconds: float) -> float | None:
    cpu, cpu_s = CpuMonitor(), 0.0
    for number, more_s in enumerate(cpu_s_of_half_seconds):
        cpu_s += more_s
        cpu.add(number / 2, cpu_s)
    return cpu.peak_share


def test_the_fullest_span_counts() -> None:
    busy_for_one_span = [0.1] * 20 + [0.4] * int(2 * WINDOW_S) + [0.1] * 20
    assert shares(*busy_for_one_span) == pytest.approx(0.8)


def test_a_short_burst_is_spread_over_a_span() -> None:
    assert shares(*[0.0] * 20, 0.5, *[0.0] * 20) == pytest.approx(0.5 / WINDOW_S)


def test_less_than_a_span_says_nothing() -> None:
    assert shares(*[0.5] * int(2 * WINDOW_S)) is None


def test_what_a_process_has_had_of_a_core_is_part_of_what_it_wanted() -> None:
    before_s, began_s = cpu_demand_s(), time.process_time()
    sum(range(1_000_000))
    had_s = time.process_time() - began_s
    assert cpu_demand_s() - before_s >= had_s > 0
