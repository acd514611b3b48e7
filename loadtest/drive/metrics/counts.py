"""The counts of one generator since the start of its run, which the master adds up: jobs, their times, requests."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import msgspec

from loadtest.flows.steps import Response
from loadtest.protocol.operations import OPERATIONS
from loadtest.record.recorder import EndedJob

BOUNDS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
)  # fmt: skip
"""The upper bounds of the histograms' buckets, in seconds; a last bucket has no bound."""
_OPERATION_OF = {(each.method, each.path): op for op, each in OPERATIONS.items()}


class TimeCounts(msgspec.Struct):
    """A histogram of times in seconds: how many in all and in each bucket, their sum, the least and the greatest."""

    count: int = 0
    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0
    min_s: float = 0.0
    max_s: float = 0.0

    def add(self, time_s: float) -> None:
        """Count a time."""
        if self.count == 0 or time_s < self.min_s:
            self.min_s = time_s
        self.max_s = max(self.max_s, time_s)
        self.count += 1
        self.buckets[bisect_left(BOUNDS_S, time_s)] += 1
        self.sum_s += time_s

    def merge(self, other: TimeCounts) -> None:
        """Add the times of another histogram."""
        if other.count:
            self.min_s = min(self.min_s, other.min_s) if self.count else other.min_s
            self.max_s = max(self.max_s, other.max_s)
            self.count += other.count
            self.buckets = [mine + its for mine, its in zip(self.buckets, other.buckets, strict=True)]
            self.sum_s += other.sum_s


TIMES = ("delay", "execution", "end_to_end", "send_lag")


class JobCounts(msgspec.Struct):
    """The jobs of one flow that ended in one way, and their times."""

    flow: str
    outcome: str
    jobs: int = 0
    delay: TimeCounts = msgspec.field(default_factory=TimeCounts)
    execution: TimeCounts = msgspec.field(default_factory=TimeCounts)
    end_to_end: TimeCounts = msgspec.field(default_factory=TimeCounts)
    send_lag: TimeCounts = msgspec.field(default_factory=TimeCounts)

    def merge(self, other: JobCounts) -> None:
        """Add the jobs of another generator."""
        self.jobs += other.jobs
        for name in TIMES:
            getattr(self, name).merge(getattr(other, name))


class RunCounts(msgspec.Struct):
    """All counts: jobs by flow and outcome, requests by operation and HTTP status (0: no response)."""

    jobs: list[JobCounts] = []
    requests: dict[str, dict[int, int]] = {}


class MetricCounter:
    """The counts of one generator; `count` is called with jobs that are over, `count_request` with each response."""

    def __init__(self) -> None:
        self.counts = RunCounts()
        self._jobs: dict[tuple[str, str], JobCounts] = {}

    def count(self, ended: Sequence[EndedJob]) -> None:
        """Count jobs that were sent and are over."""
        for sample, _ in ended:
            row = self._jobs.get((sample.flow, sample.outcome))
            if row is None:
                row = self._jobs[sample.flow, sample.outcome] = JobCounts(sample.flow, sample.outcome)
                self.counts.jobs.append(row)
            row.jobs += 1
            if sample.delay_ms is not None:
                row.delay.add(sample.delay_ms / 1000)
            if sample.execution_ms is not None:
                row.execution.add(sample.execution_ms / 1000)
            if sample.finished_at is not None:
                row.end_to_end.add(sample.finished_at - sample.intended_at)
            if sample.sent_at is not None:
                row.send_lag.add(max(0.0, sample.sent_at - sample.intended_at))

    def count_request(self, method: str, path: str, response: Response) -> None:
        """Count a request of an operation, by its method and its path template."""
        by_status = self.counts.requests.setdefault(_OPERATION_OF[method, path], {})
        by_status[response.status] = by_status.get(response.status, 0) + 1


def total(parts: Iterable[RunCounts]) -> RunCounts:
    """Return the counts of several generators together."""
    jobs: dict[tuple[str, str], JobCounts] = {}
    requests: dict[str, dict[int, int]] = {}
    for part in parts:
        for row in part.jobs:
            jobs.setdefault((row.flow, row.outcome), JobCounts(row.flow, row.outcome)).merge(row)
        for operation, by_status in part.requests.items():
            sums = requests.setdefault(operation, {})
            for status, count in by_status.items():
                sums[status] = sums.get(status, 0) + count
    return RunCounts(list(jobs.values()), requests)
