from __future__ import annotations

from loadtest.drive.stats.live import MAX_TIMES, LiveCounters
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
    for sample in (ended(Outcome.COMPLETED), ended(Outcome.FAILED), ended(Outcome.REJECTED, delay_ms=None)):
        counters.count(sample, [])
    assert (counters.ended, counters.not_completed, counters.throttled) == (3, 2, 3)
    assert counters.drain_times() == [(2.0, 5, 7), (2.0, 5, 7)]
    assert counters.drain_times() == []


def test_at_most_max_times_are_reported() -> None:
    counters = LiveCounters()
    for _ in range(3 * MAX_TIMES):
        counters.count(ended(Outcome.COMPLETED), [])
    assert len(counters.drain_times()) == MAX_TIMES
