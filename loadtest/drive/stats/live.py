"""Live figures: the counts and the CPU demand of one process, and the progress of the run made of all counts."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import msgspec

from loadtest.drive.cluster.messages import StatusReport
from loadtest.protocol.operations import Op
from loadtest.record.recorder import EndedJob
from loadtest.record.run import Progress
from loadtest.record.sample import Outcome
from loadtest.scenario.model import Scenario
from loadtest.traffic.rate_limit import PeakWindow
from loadtest.units import nearest_rank

RATE_SPAN_S = 5.0
MAX_TIMES = 500
"""The most times in one report; of more, every n-th."""


class LiveCounters:
    """The jobs that a process has started and ended; the dispatcher takes a job out of `in_flight`."""

    def __init__(self) -> None:
        self._started = 0
        self._calls: deque[tuple[float, int]] = deque()
        self._fresh: list[tuple[float, int, int]] = []
        self.in_flight = 0
        self.ended = 0
        self.execution_s = 0.0
        self.not_completed = 0
        self.throttled = 0

    def started(self) -> None:
        """Count a job that is about to be sent."""
        self._started += 1
        self.in_flight += 1

    def count(self, ended: Sequence[EndedJob]) -> None:
        """Count jobs that were sent and are over, however they ended."""
        self.ended += len(ended)
        completed = Outcome.COMPLETED
        for sample, _ in ended:
            self.not_completed += sample.outcome != completed
            self.throttled += sample.throttled
            if sample.execution_ms is not None:
                self.execution_s += sample.execution_ms / 1000
            if sample.finished_at is not None and sample.delay_ms is not None and sample.execution_ms is not None:
                self._fresh.append((sample.finished_at, sample.delay_ms, sample.execution_ms))

    def recent_starts(self, now: float) -> int:
        """Return the jobs started since the last call that was RATE_SPAN_S ago, or since the start."""
        calls = self._calls
        calls.append((now, self._started))
        while len(calls) > 1 and calls[1][0] <= now - RATE_SPAN_S:
            calls.popleft()
        before, count = calls[0]
        return self._started - (count if before <= now - RATE_SPAN_S else 0)

    def drain_times(self) -> list[tuple[float, int, int]]:
        """Return when jobs ended since the last call, with their delay and execution time in milliseconds."""
        fresh, self._fresh = self._fresh, []
        step = max(1, math.ceil(len(fresh) / MAX_TIMES))
        return fresh[::step]


TIMES_SPAN_S = 10.0


class ProgressAggregator:
    """The latest counts of all processes, added up to the progress of the run."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._latest: dict[str, StatusReport] = {}
        self._times: deque[tuple[float, int, int]] = deque()

    def update(self, process: str, report: StatusReport) -> None:
        """Take the latest report of one process."""
        self._latest[process] = report
        self._times.extend(report.times)

    def drop(self, process: str) -> None:
        """Drop the present figures of a lost process; its totals stay."""
        latest = self._latest.get(process)
        if latest is not None:
            offered = None if latest.offered is None else 0
            self._latest[process] = msgspec.structs.replace(
                latest, in_flight=0, started=0, offered=offered, requests_in_window={}
            )

    def progress(self, phase: str, starts_at: float, ends_at: float, now: float, lost: int) -> Progress:
        """Return the progress of the run at `now` (seconds since the epoch), of whose processes `lost` are lost."""
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
            in_flight=self.in_flight(),
            ended=sum(counts.ended for counts in latest),
            not_completed=sum(counts.not_completed for counts in latest),
            throttled=sum(counts.throttled for counts in latest),
            delay_ms=_p50_p95([delay_ms for _, delay_ms, _ in self._times]),
            execution_ms=_p50_p95([execution_ms for _, _, execution_ms in self._times]),
            limit_used=self.limits_used(),
            processes=len(self._latest) - lost,
            lost=lost,
        )

    def in_flight(self) -> int:
        """Return how many jobs are in flight at all generators together."""
        return sum(counts.in_flight for counts in self._latest.values())

    def limits_used(self) -> dict[str, float]:
        """Return the share of each operation's limit that the last 10 s held."""
        requests: Counter[str] = Counter()
        for counts in self._latest.values():
            requests.update(counts.requests_in_window)
        used = {}
        for op, count in requests.items():
            limit = self._scenario.limit(Op(op))
            if limit is not None:
                used[op] = count / (limit.per_second * PeakWindow.span_s)
        return used


def _p50_p95(values: list[int]) -> tuple[int, int] | None:
    if not values:
        return None
    values.sort()
    n = len(values)
    return values[nearest_rank(n, 500) - 1], values[nearest_rank(n, 950) - 1]


def _stage_at(elapsed_s: float, scenario: Scenario) -> str:
    stages = scenario.load.stages
    ends_s = accumulate(stage.duration for stage in stages)
    index = next((index for index, end_s in enumerate(ends_s) if elapsed_s < end_s), len(stages) - 1)
    return stages[index].label(index + 1)


CPU_WINDOW_S = 5.0
"""A shorter time at full load is a start-up or a flush, and shows as send lag if it matters."""

_SCHEDULED = Path("/proc/self/schedstat")
"""On Linux: how long the process ran, and waited for a core to run on, in nanoseconds."""


def cpu_demand_s() -> float:
    """Return the seconds of a core that this process has used and, if the system reports them, has waited for."""
    try:
        waited_s = int(_SCHEDULED.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        waited_s = 0.0
    return time.process_time() + waited_s


class CpuMonitor:
    """The largest share of one core in any CPU_WINDOW_S, as `peak_share`; None until a window is complete."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()
        self.peak_share: float | None = None

    def add(self, now: float, cpu_s: float) -> None:
        """Add the seconds of CPU demand until this time (seconds)."""
        samples = self._samples
        samples.append((now, cpu_s))
        while len(samples) > 1 and samples[1][0] <= now - CPU_WINDOW_S:
            samples.popleft()
        before, cpu_before_s = samples[0]
        if now - before >= CPU_WINDOW_S:
            self.peak_share = max(self.peak_share or 0.0, (cpu_s - cpu_before_s) / (now - before))
