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


def test_peak_share_is_that_of_the_busiest_window() -> None:
    busy_for_one_span = [0.1] * 20 + [0.4] * int(2 * WINDOW_S) + [0.1] * 20
    assert shares(*busy_for_one_span) == pytest.approx(0.8)


def test_short_burst_is_averaged_over_a_window() -> None:
    assert shares(*[0.0] * 20, 0.5, *[0.0] * 20) == pytest.approx(0.5 / WINDOW_S)


def test_less_than_a_window_has_no_share() -> None:
    assert shares(*[0.5] * int(2 * WINDOW_S)) is None


def test_cpu_demand_includes_the_time_on_a_core() -> None:
    before_s, began_s = cpu_demand_s(), time.process_time()
    sum(range(1_000_000))
    had_s = time.process_time() - began_s
    assert cpu_demand_s() - before_s >= had_s > 0
