from __future__ import annotations

from loadtest.drive.stats.live import MAX_TIMES, LiveCounters
from loadtest.record.sample import Outcome, Sample


def ended(outcome: Outcome, delay_ms: int | None = 5) -> Sample:
    return Sample(0, "run", 1.0, outcome=outcome, finished_at=2.0, delay_ms=delay_ms, execution_ms=7, throttled=1)


def test_what_started_lately_is_what_started_since_a_look_five_seconds_ago() -> None:
    counters = LiveCounters()
    seen = []
    for half_second in range(40):
        seen.append(counters.recent_starts(half_second / 2))
        for _ in range(10 if half_second < 20 else 0):
            counters.started()
    assert seen[:5] == [0, 10, 20, 30, 40]
    assert seen[11:21] == [100] * 10
    assert seen[20:32] == [100, 90, 80, 70, 60, 50, 40, 30, 20, 10, 0, 0]
    assert counters.in_flight == 200


def test_jobs_on_record_are_counted_by_how_they_ended() -> None:
    counters = LiveCounters()
    for sample in (ended(Outcome.COMPLETED), ended(Outcome.FAILED), ended(Outcome.REJECTED, delay_ms=None)):
        counters.count(sample, [])
    assert (counters.ended, counters.not_completed, counters.throttled) == (3, 2, 3)
    assert counters.drain_times() == [(2.0, 5, 7), (2.0, 5, 7)]
    assert counters.drain_times() == []


def test_of_many_times_some_are_told() -> None:
    counters = LiveCounters()
    for _ in range(3 * MAX_TIMES):
        counters.count(ended(Outcome.COMPLETED), [])
    assert len(counters.drain_times()) == MAX_TIMES
