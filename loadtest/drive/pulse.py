"""The run's pulse: counts of the last seconds, for the live view."""

from __future__ import annotations

from collections import deque

from loadtest.record.sample import Outcome, Sample

RATE_SPAN_S = 5.0
TIMES_SPAN_S = 10.0


class Pulse:
    """Counts jobs as they start and end."""

    def __init__(self) -> None:
        self._started: deque[float] = deque()
        self._ended: deque[tuple[float, int, int]] = deque()
        self.in_flight = 0
        self.ended = 0
        self.not_completed = 0
        self.throttled = 0

    def started(self, at: float) -> None:
        """A job is about to be sent."""
        self._started.append(at)
        self.in_flight += 1

    def over(self, sample: Sample) -> None:
        """A job is over, however it ended."""
        self.in_flight -= 1
        self.ended += 1
        self.not_completed += sample.outcome != Outcome.COMPLETED
        self.throttled += sample.throttled
        if sample.finished_at is not None and sample.delay_ms is not None and sample.execution_ms is not None:
            self._ended.append((sample.finished_at, sample.delay_ms, sample.execution_ms))

    def started_per_s(self, now: float) -> float:
        """Jobs sent a second, of late."""
        while self._started and self._started[0] < now - RATE_SPAN_S:
            self._started.popleft()
        return len(self._started) / RATE_SPAN_S

    def times_ms(self, now: float) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """Delay and execution time of the jobs that ended of late, each as (p50, p95) in milliseconds."""
        while self._ended and self._ended[0][0] < now - TIMES_SPAN_S:
            self._ended.popleft()
        if not self._ended:
            return None
        return _middle_and_tail([delay for _, delay, _ in self._ended]), _middle_and_tail(
            [execution for _, _, execution in self._ended]
        )


def _middle_and_tail(values: list[int]) -> tuple[int, int]:
    values.sort()
    n = len(values)
    return values[-(-n * 50 // 100) - 1], values[-(-n * 95 // 100) - 1]
