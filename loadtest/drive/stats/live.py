"""The run at one moment, put together from what its processes tell, for whoever watches it."""

from __future__ import annotations

from collections import Counter, deque

import msgspec

from loadtest.protocol.operations import Op
from loadtest.record.progress import ProcessCounts, Progress
from loadtest.record.sample import Outcome, Sample
from loadtest.scenario.model import Scenario
from loadtest.traffic.rate_limit import PeakWindow

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


TIMES_SPAN_S = 10.0


class ProgressAggregator:
    """Gathers the counts of all processes."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._latest: dict[str, ProcessCounts] = {}
        self._times: deque[tuple[float, int, int]] = deque()

    def update(self, process: str, counts: ProcessCounts) -> None:
        """The latest of one process."""
        self._latest[process] = counts
        self._times.extend(counts.times)

    def drop(self, process: str) -> None:
        """A process has fallen silent: what it told last is no longer so, but what it has done stays."""
        text = self._latest.get(process)
        if text is not None:
            offered = None if text.offered is None else 0
            self._latest[process] = msgspec.structs.replace(
                text, in_flight=0, started=0, offered=offered, requests_in_window={}
            )

    def progress(self, phase: str, starts_at: float, ends_at: float, now: float, lost: int) -> Progress:
        """How the run stands at `now` (seconds since the epoch), of which `lost` processes fell silent."""
        latest = self._latest.values()
        while self._times and self._times[0][0] < now - TIMES_SPAN_S:
            self._times.popleft()
        offered = [counts.offered for counts in latest if counts.offered is not None]
        return Progress(
            phase=phase,
            stage=_stage_at(now - starts_at, self._scenario),
            elapsed_s=now - starts_at,
            left_s=max(0.0, ends_at - now),
            offered_per_s=sum(offered) / RATE_SPAN_S if offered else None,
            achieved_per_s=sum(counts.started for counts in latest) / RATE_SPAN_S,
            in_flight=sum(counts.in_flight for counts in latest),
            ended=sum(counts.ended for counts in latest),
            not_completed=sum(counts.not_completed for counts in latest),
            throttled=sum(counts.throttled for counts in latest),
            delay_ms=_p50_p95([delay_ms for _, delay_ms, _ in self._times]),
            execution_ms=_p50_p95([execution_ms for _, _, execution_ms in self._times]),
            limit_used=self._limits_used(),
            processes=len(self._latest) - lost,
            lost=lost,
        )

    def _limits_used(self) -> dict[str, float]:
        held: Counter[str] = Counter()
        for counts in self._latest.values():
            held.update(counts.requests_in_window)
        used = {}
        for op, requests in held.items():
            limit = self._scenario.limit(Op(op))
            if limit is not None:
                used[op] = requests / (limit.per_second * PeakWindow.span_s)
        return used


def _p50_p95(values: list[int]) -> tuple[int, int] | None:
    if not values:
        return None
    values.sort()
    n = len(values)
    return values[-(-n * 50 // 100) - 1], values[-(-n * 95 // 100) - 1]


def _stage_at(elapsed_s: float, scenario: Scenario) -> str:
    stages = scenario.load.stages
    ends_s = 0.0
    for number, stage in enumerate(stages, 1):
        ends_s += stage.duration
        if elapsed_s < ends_s or number == len(stages):
            return stage.label(number)
    return ""
