"""The pulse of one process: counts of the last seconds, for the live view."""

from __future__ import annotations

from collections import deque

from loadtest.record.sample import Outcome, Sample

RATE_SPAN_S = 5.0
MAX_TIMES = 500
"""So many jobs' times are told at once; of more, every n-th."""


class LiveCounters:
    """Counts jobs as they start, and again when they are on record. Who starts one takes it out of `in_flight`."""

    def __init__(self) -> None:
        self._started = 0
        self._looks: deque[tuple[float, int]] = deque()
        self._fresh: list[tuple[float, int, int]] = []
        self.in_flight = 0
        self.ended = 0
        self.not_completed = 0
        self.throttled = 0

    def started(self) -> None:
        """A job is about to be sent."""
        self._started += 1
        self.in_flight += 1

    def count(self, samples: list[Sample]) -> None:
        """Jobs that are over and on record, however they ended."""
        self.ended += len(samples)
        self.not_completed += sum(sample.outcome != Outcome.COMPLETED for sample in samples)
        self.throttled += sum(sample.throttled for sample in samples)
        self._fresh += [
            (sample.finished_at, sample.delay_ms, sample.execution_ms)
            for sample in samples
            if sample.finished_at is not None and sample.delay_ms is not None and sample.execution_ms is not None
        ]

    def recent_starts(self, now: float) -> int:
        """Jobs sent since the last look that is RATE_SPAN_S ago, or since the start."""
        looks = self._looks
        looks.append((now, self._started))
        while len(looks) > 1 and looks[1][0] <= now - RATE_SPAN_S:
            looks.popleft()
        before, count = looks[0]
        return self._started - (count if before <= now - RATE_SPAN_S else 0)

    def drain_times(self) -> list[tuple[float, int, int]]:
        """When jobs ended since last asked, with their delay and execution time in milliseconds."""
        fresh, self._fresh = self._fresh, []
        return fresh[:: -(-len(fresh) // MAX_TIMES) or 1]
