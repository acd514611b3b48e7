"""The pulse of one process: counts of the last seconds, for the live view."""

from __future__ import annotations

from collections import deque

from loadtest.record.sample import Outcome, Sample

RATE_SPAN_S = 5.0
MOST_TIMES = 500
"""So many jobs' times are told at once; of more, every n-th."""


class Pulse:
    """Counts jobs as they start and end."""

    def __init__(self) -> None:
        self._started: deque[float] = deque()
        self._fresh: list[tuple[float, int, int]] = []
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
            self._fresh.append((sample.finished_at, sample.delay_ms, sample.execution_ms))

    def started_lately(self, now: float) -> int:
        """Jobs sent in the last RATE_SPAN_S."""
        while self._started and self._started[0] < now - RATE_SPAN_S:
            self._started.popleft()
        return len(self._started)

    def take_times(self) -> list[tuple[float, int, int]]:
        """When jobs ended since last asked, with their delay and execution time in milliseconds."""
        fresh, self._fresh = self._fresh, []
        return fresh[:: -(-len(fresh) // MOST_TIMES) or 1]
