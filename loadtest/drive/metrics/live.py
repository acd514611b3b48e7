"""The figures of a run at its master: what the generators last reported, added up."""

from __future__ import annotations

from loadtest.clock import SleepingClock
from loadtest.drive.metrics.counts import RunCounts, total
from loadtest.drive.metrics.families import Snapshot
from loadtest.drive.metrics.publisher import Publisher
from loadtest.drive.stats.live import ProgressAggregator
from loadtest.protocol.client_messages import Health
from loadtest.protocol.operations import Op
from loadtest.record.directory import RunDirectory
from loadtest.record.recorder import HealthWriter
from loadtest.record.run import RunRecord
from loadtest.scenario.telemetry import MetricsConfig


class CountedHealthWriter(HealthWriter):
    """The health rows of a run, whose requests are counted by HTTP status."""

    requests: dict[int, int]

    def answered(self, status: int, sent_at: float, answered_at: float, health: Health | None) -> None:
        """Count a response, and write it."""
        self.requests[status] = self.requests.get(status, 0) + 1
        super().answered(status, sent_at, answered_at, health)


class LiveMetrics:
    """The metrics of a run, if it has any; `progress` knows the jobs in flight and the limits used."""

    def __init__(self, config: MetricsConfig | None, progress: ProgressAggregator, clock: SleepingClock) -> None:
        self._config = config
        self._progress = progress
        self._clock = clock
        self._counts: dict[str, RunCounts] = {}
        self._health_requests: dict[int, int] = {}
        self._publisher: Publisher | None = None
        self._finished = False

    @property
    def on(self) -> bool:
        """Return whether generators are to count for them."""
        return self._config is not None

    def begin(self, run: RunRecord) -> None:
        """Publish from now on. Raises UsageError if the address is taken."""
        if self._config is not None:
            self._publisher = Publisher(self._config, run, self.snapshot, self._clock)

    def take(self, name: str, counts: RunCounts | None) -> None:
        """Keep the latest counts of a generator, also if it is lost afterwards."""
        if counts is not None:
            self._counts[name] = counts

    def health_writer(self, directory: RunDirectory) -> HealthWriter:
        """Return the writer of the health rows, whose requests belong to the metrics."""
        if self._config is None:
            return HealthWriter(directory)
        writer = CountedHealthWriter(directory)
        writer.requests = self._health_requests
        return writer

    def snapshot(self) -> Snapshot:
        """Return the figures of all generators together, as last reported."""
        health = RunCounts(requests={str(Op.HEALTH): self._health_requests} if self._health_requests else {})
        counts = total([*self._counts.values(), health])
        if self._finished:
            return Snapshot(counts)
        return Snapshot(counts, self._progress.in_flight(), self._progress.limits_used())

    def finish(self, wait_for_scrape: bool) -> None:
        """Publish the last figures, of a run whose jobs are all over."""
        self._finished = True
        if self._publisher is not None:
            self._publisher.finish(wait_for_scrape)
