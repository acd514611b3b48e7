from __future__ import annotations

from loadtest.drive.pulse import MOST_TIMES, Pulse
from loadtest.record.sample import Outcome, Sample


def ended(outcome: Outcome, delay_ms: int | None = 5) -> Sample:
    return Sample(0, "run", 1.0, outcome=outcome, finished_at=2.0, delay_ms=delay_ms, execution_ms=7, throttled=1)


def test_what_started_lately_is_what_started_since_a_look_five_seconds_ago() -> None:
    pulse = Pulse()
    seen = []
    for half_second in range(40):
        seen.append(pulse.started_lately(half_second / 2))
        for _ in range(10 if half_second < 20 else 0):
            pulse.started()
    assert seen[:5] == [0, 10, 20, 30, 40]
    assert seen[11:21] == [100] * 10
    assert seen[20:32] == [100, 90, 80, 70, 60, 50, 40, 30, 20, 10, 0, 0]
    assert pulse.in_flight == 200


def test_jobs_on_record_are_counted_by_how_they_ended() -> None:
    pulse = Pulse()
    pulse.count([ended(Outcome.COMPLETED), ended(Outcome.FAILED), ended(Outcome.REJECTED, delay_ms=None)])
    assert (pulse.ended, pulse.not_completed, pulse.throttled) == (3, 2, 3)
    assert pulse.take_times() == [(2.0, 5, 7), (2.0, 5, 7)]
    assert pulse.take_times() == []


def test_of_many_times_some_are_told() -> None:
    pulse = Pulse()
    pulse.count([ended(Outcome.COMPLETED)] * (3 * MOST_TIMES))
    assert len(pulse.take_times()) == MOST_TIMES
