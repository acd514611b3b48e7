"""The samples as columns of numbers, and the span of time that rates are counted over."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadtest.arrays import Floats, Mask
from loadtest.record.run import Ending, RunRecord
from loadtest.record.sample import Outcome
from loadtest.scenario.flows import FLOWS
from loadtest.scenario.metrics import Metric

OUTCOMES: tuple[str, ...] = tuple(Outcome)
IMPOSSIBLE_MS = 10.0
"""A time below zero by more than this is impossible; up to this, rounding and clocks explain it."""


@dataclass(frozen=True)
class JobColumns:
    """Columns of `samples.parquet`: times in epoch seconds, NaN for null; flow and outcome as indices, or −1.

    `worker` numbers the workers that the samples name, in arbitrary order; −1 for none, as for `user`.
    """

    seq: NDArray[np.int64]
    process: NDArray[np.int32]
    flow: NDArray[np.int8]
    outcome: NDArray[np.int8]
    worker: NDArray[np.int32]
    accepted: Mask
    intended_at: Floats
    sent_at: Floats
    accepted_at: Floats
    first_chunk_at: Floats
    finished_at: Floats
    delay_ms: Floats
    execution_ms: Floats
    polls: Floats
    user: NDArray[np.int32]
    ready_at: Floats
    first_content_at: Floats
    last_content_at: Floats
    input_tokens: Floats
    output_tokens: Floats

    def __len__(self) -> int:
        return len(self.seq)

    def where(self, mask: Mask) -> JobColumns:
        """Return the jobs for which the mask is true; no copy if that is all of them."""
        return self if mask.all() else self.take(np.flatnonzero(mask))

    def of_flow(self, flow: str) -> Mask:
        """Return a mask of the jobs of this flow."""
        mask: Mask = self.flow == FLOWS.index(flow)
        return mask

    def take(self, indices: NDArray[np.int64]) -> JobColumns:
        """Return the jobs at these indices, in this order."""
        return JobColumns(**{field.name: getattr(self, field.name)[indices] for field in fields(self)})

    def ended(self, outcome: Outcome) -> Mask:
        """Return a mask of the jobs with this outcome."""
        mask: Mask = self.outcome == OUTCOMES.index(outcome)
        return mask

    @property
    def completed(self) -> Mask:
        """Return a mask of the jobs that completed."""
        return self.ended(Outcome.COMPLETED)

    @property
    def sent(self) -> Mask:
        """Return a mask of the jobs that were sent."""
        return ~np.isnan(self.sent_at)

    def times_ms(self, metric: Metric) -> Floats:
        """Return a time of each job as `scenario.metrics` describes it, NaN if it has none."""
        spec = metric.spec
        if not spec.start:
            return self._column(spec.column)
        times_ms = self._column(spec.end) - self._column(spec.start)
        # In place: of millions of jobs every copy counts.
        times_ms *= 1000
        for name in spec.less:
            times_ms -= self._column(name)
        if spec.per_token:
            times_ms /= np.where(self.output_tokens > 1, self.output_tokens - 1, np.nan)
        return times_ms

    def known_times_ms(self, metric: Metric) -> Floats:
        """Return a time of each job, NaN if it is not known: the job did not complete, or the time is impossible.

        A time that ends before the job does, such as the delay, is known of a job that failed afterwards.
        """
        times_ms = self.times_ms(metric)
        unknown = times_ms < -IMPOSSIBLE_MS
        if metric.spec.until_completed:
            unknown |= ~self.completed
        return np.where(unknown, np.nan, times_ms)

    def _column(self, name: str) -> Floats:
        column: Floats = getattr(self, name)
        return column

    @property
    def lag_ms(self) -> Floats:
        """Return the times from a job's end on the server until the client saw it, by a poll or a notification.

        The server's times count from the moment it accepted the submission. No response reports that moment; it is
        assumed to lie halfway between the send and the acceptance, and may be off by half the time between them.
        """
        accepted_at = (self.sent_at + self.accepted_at) / 2
        return (self.finished_at - accepted_at) * 1000 - self.delay_ms - self.execution_ms


def floats(table: pa.Table, name: str) -> Floats:
    """Return a column of numbers, NaN for null."""
    values: Floats = pc.cast(table.column(name), pa.float64()).to_numpy()
    return values


def integers(table: pa.Table, name: str) -> NDArray[np.int64]:
    """Return a column of whole numbers, 0 for null."""
    values: NDArray[np.int64] = pc.fill_null(pc.cast(table.column(name), pa.int64()), 0).to_numpy()
    return values


def _indices(table: pa.Table, name: str, values: tuple[str, ...]) -> NDArray[np.int8]:
    found = pc.index_in(pc.cast(table.column(name), pa.string()), value_set=pa.array(values, pa.string()))
    return np.asarray(pc.fill_null(pc.cast(found, pa.int8()), -1).to_numpy(), dtype=np.int8)


def worker_names(samples: pa.Table) -> list[str]:
    """Return the workers' names in the order of their numbers in `JobColumns.worker`."""
    names: list[str] = _encoded_workers(samples).dictionary.to_pylist()
    return names


def _encoded_workers(samples: pa.Table) -> pa.DictionaryArray:
    encoded = pc.dictionary_encode(samples.column("worker_id")).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # the result of combining an empty column
        return pa.array([], pa.string()).dictionary_encode()
    return encoded


def jobs_of(samples: pa.Table) -> JobColumns:
    """Return the columns that the analysis reads, of a table in the schema of `samples.parquet`."""
    times = ("intended_at", "sent_at", "accepted_at", "first_chunk_at", "finished_at", "ready_at")
    numbers = ("delay_ms", "execution_ms", "polls", "first_content_at", "last_content_at")
    tokens = ("input_tokens", "output_tokens")
    return JobColumns(
        seq=integers(samples, "seq"),
        process=integers(samples, "process").astype(np.int32),
        flow=_indices(samples, "flow", FLOWS),
        outcome=_indices(samples, "outcome", OUTCOMES),
        worker=pc.fill_null(_encoded_workers(samples).indices, -1).to_numpy(),
        user=pc.fill_null(samples.column("user"), -1).to_numpy(),
        accepted=pc.is_valid(samples.column("job_id")).to_numpy(),
        **{name: floats(samples, name) for name in times + numbers + tokens},
    )


@dataclass(frozen=True)
class LoadWindow:
    """A span of epoch seconds: the load from its start to its end, without the drain, or a part of it."""

    start_at: float
    end_at: float

    @property
    def duration_s(self) -> float:
        """Return the length of the span."""
        return self.end_at - self.start_at

    def contains(self, at: Floats) -> Mask:
        """Return a mask of the moments that lie in the window."""
        mask: Mask = (at >= self.start_at) & (at <= self.end_at)
        return mask

    def count(self, at: Floats) -> int:
        """Return the number of moments that lie in the window."""
        return int(np.count_nonzero(self.contains(at)))

    def per_second(self, count: float) -> float:
        """Return a count as a rate over the window; 0 if it has no length."""
        return count / self.duration_s if self.duration_s > 0 else 0.0


def last_event_at(jobs: JobColumns, default: float) -> float:
    """Return the latest time in the samples, in epoch seconds; the default if there is none."""
    known = (times[~np.isnan(times)] for times in (jobs.intended_at, jobs.sent_at, jobs.finished_at))
    return max((float(times.max()) for times in known if len(times)), default=default)


def load_window(run: RunRecord, jobs: JobColumns) -> LoadWindow:
    """Return when load was offered: until the load's end or the run's, whichever came first.

    If the record lacks a time because its process died, the samples give it: their last event, though no later than
    the stages would have lasted. Load that never started has no length.
    """
    start_at = run.load_started_at
    if start_at is None:
        if len(jobs) == 0:
            return LoadWindow(run.started_at, run.started_at)
        start_at = float(np.nanmin(jobs.intended_at))
    ends = [at for at in (run.load_ended_at, run.ended_at) if at is not None]
    if not ends:
        ends = [last_event_at(jobs, default=start_at)]
        if run.stages:
            ends.append(start_at + sum(stage.duration_s for stage in run.stages))
    return LoadWindow(start_at, max(start_at, min(ends)))


def offered_by_second(run: RunRecord, window: LoadWindow) -> Floats:
    """Return the arrivals of all flows due in each second of the load; empty for a closed load.

    A complete run offered all it planned. A run that was cut short offered its whole seconds, and of its last
    second the share that had passed.
    """
    total = np.zeros(max((len(counts) for counts in run.offered.values()), default=0))
    for counts in run.offered.values():
        total[: len(counts)] += counts
    if run.ending is not Ending.COMPLETE:
        total *= np.clip(window.duration_s - np.arange(len(total)), 0, 1)
    return total
