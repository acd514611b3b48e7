from __future__ import annotations

import time

import pytest

from loadtest.drive.stats.live import CPU_WINDOW_S, MAX_TIMES, CpuMonitor, LiveCounters, cpu_demand_s
from loadtest.record.sample import Outcome, Sample


def ended(outcome: Outcome, delay_ms: int | None = 5) -> Sample:
    return Sample(0, "run", 1.0, outcome=outcome, finished_at=2.0, delay_ms=delay_ms, execution_ms=7, throttled=1)


def test_recent_starts_are_those_of_the_last_five_seconds() -> None:
    counters = LiveCounters()
    starts = []
    for half_second in range(40):
        starts.append(counters.recent_starts(half_second / 2))
        for _ in range(10 if half_second < 20 else 0):
            counters.started()
    assert starts[:5] == [0, 10, 20, 30, 40]
    assert starts[11:21] == [100] * 10
    assert starts[20:32] == [100, 90, 80, 70, 60, 50, 40, 30, 20, 10, 0, 0]
    assert counters.in_flight == 200


def test_ended_jobs_are_counted_by_outcome() -> None:
    counters = LiveCounters()
    counters.count([(ended(Outcome.COMPLETED), ()), (ended(Outcome.FAILED), ())])
    counters.count([(ended(Outcome.REJECTED, delay_ms=None), ())])
    assert (counters.ended, counters.not_completed, counters.throttled) == (3, 2, 3)
    assert counters.drain_times() == [(2.0, 5, 7), (2.0, 5, 7)]
    assert counters.drain_times() == []


def test_at_most_max_times_are_reported() -> None:
    counters = LiveCounters()
    counters.count([(ended(Outcome.COMPLETED), ())] * 3 * MAX_TIMES)
    assert len(counters.drain_times()) == MAX_TIMES


def shares(*cpu_s_of_half_seconds: float) -> float | None:
    cpu, cpu_s = CpuMonitor(), 0.0
    for number, more_s in enumerate(cpu_s_of_half_seconds):
        cpu_s += more_s
        cpu.add(number / 2, cpu_s)
    return cpu.peak_share


def test_peak_share_is_that_of_the_busiest_window() -> None:
    busy_for_one_span = [0.1] * 20 + [0.4] * int(2 * CPU_WINDOW_S) + [0.1] * 20
    assert shares(*busy_for_one_span) == pytest.approx(0.8)


def test_short_burst_is_averaged_over_a_window() -> None:
    assert shares(*[0.0] * 20, 0.5, *[0.0] * 20) == pytest.approx(0.5 / CPU_WINDOW_S)


def test_less_than_a_window_has_no_share() -> None:
    assert shares(*[0.5] * int(2 * CPU_WINDOW_S)) is None


def test_cpu_demand_includes_the_time_on_a_core() -> None:
    before_s, began_s = cpu_demand_s(), time.process_time()
    sum(range(1_000_000))
    had_s = time.process_time() - began_s
    assert cpu_demand_s() - before_s >= had_s > 0
