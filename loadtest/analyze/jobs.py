"""The samples as columns of numbers, and the span of time that rates are counted over."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadtest.record.run import Ending, RunRecord
from loadtest.record.sample import Outcome
from loadtest.scenario.flows import FlowName

FLOWS: tuple[str, ...] = get_args(FlowName)
OUTCOMES: tuple[str, ...] = tuple(Outcome)

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class JobColumns:
    """Columns of `samples.parquet`: times in epoch seconds, NaN for null; flow and outcome as indices, or −1.

    `worker` numbers the workers that the samples name, in no order that means anything; −1 for none.
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

    def __len__(self) -> int:
        return len(self.seq)

    def where(self, mask: Mask) -> JobColumns:
        """Those jobs for which the mask is true; no copy where that is all of them."""
        return self if mask.all() else self.take(np.flatnonzero(mask))

    def of_flow(self, flow: str) -> Mask:
        """Which jobs are of this flow."""
        mask: Mask = self.flow == FLOWS.index(flow)
        return mask

    def take(self, indices: NDArray[np.int64]) -> JobColumns:
        """The jobs at these places, in this order."""
        return JobColumns(**{field.name: getattr(self, field.name)[indices] for field in fields(self)})

    def ended(self, outcome: Outcome) -> Mask:
        """Which jobs ended so."""
        mask: Mask = self.outcome == OUTCOMES.index(outcome)
        return mask

    @property
    def completed(self) -> Mask:
        """Which jobs completed."""
        return self.ended(Outcome.COMPLETED)

    @property
    def sent(self) -> Mask:
        """Which jobs were sent."""
        return ~np.isnan(self.sent_at)

    @property
    def send_lag_ms(self) -> Floats:
        """From the intended start to the send."""
        return _ms(self.sent_at - self.intended_at)

    @property
    def response_ms(self) -> Floats:
        """From the send to the end as the client saw it."""
        return _ms(self.finished_at - self.sent_at)

    @property
    def end_to_end_ms(self) -> Floats:
        """From the intended start to the end as the client saw it."""
        return _ms(self.finished_at - self.intended_at)

    @property
    def submit_ms(self) -> Floats:
        """From the send until the job's id was known."""
        return _ms(self.accepted_at - self.sent_at)

    @property
    def first_chunk_ms(self) -> Floats:
        """From the intended start to the first chunk."""
        return _ms(self.first_chunk_at - self.intended_at)

    @property
    def overhead_ms(self) -> Floats:
        """What of the response time was neither delay nor execution: transport and polling."""
        return self.response_ms - self.delay_ms - self.execution_ms

    @property
    def lag_ms(self) -> Floats:
        """From a job's end on the server until the client saw it: how late a poll came, or a notification.

        The server's times count from the moment it took the submission in. That is not told; it is taken to lie in
        the middle between the send and the acceptance, and may be off by half of what lies between them.
        """
        return _ms(self.finished_at - (self.sent_at + self.accepted_at) / 2) - self.delay_ms - self.execution_ms


def _ms(seconds: Floats) -> Floats:
    """The same in milliseconds, in place: of millions of jobs every copy counts."""
    seconds *= 1000
    return seconds


def floats(table: pa.Table, name: str) -> Floats:
    """A column of numbers, NaN for null."""
    values: Floats = pc.cast(table.column(name), pa.float64()).to_numpy()
    return values


def integers(table: pa.Table, name: str) -> NDArray[np.int64]:
    """A column of whole numbers, 0 for null."""
    values: NDArray[np.int64] = pc.fill_null(pc.cast(table.column(name), pa.int64()), 0).to_numpy()
    return values


def _indices(table: pa.Table, name: str, words: tuple[str, ...]) -> NDArray[np.int8]:
    found = pc.index_in(pc.cast(table.column(name), pa.string()), value_set=pa.array(words, pa.string()))
    return np.asarray(pc.fill_null(pc.cast(found, pa.int8()), -1).to_numpy(), dtype=np.int8)


def worker_names(samples: pa.Table) -> list[str]:
    """The workers' names in the order of their numbers in `Jobs.worker`."""
    names: list[str] = _encoded_workers(samples).dictionary.to_pylist()
    return names


def _encoded_workers(samples: pa.Table) -> pa.DictionaryArray:
    encoded = pc.dictionary_encode(samples.column("worker_id")).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # what combining an empty column gives
        return pa.array([], pa.string()).dictionary_encode()
    return encoded


def jobs_of(samples: pa.Table) -> JobColumns:
    """The columns that the analysis reads, of a table in the schema of `samples.parquet`."""
    times = ("intended_at", "sent_at", "accepted_at", "first_chunk_at", "finished_at")
    numbers = ("delay_ms", "execution_ms", "polls")
    return JobColumns(
        seq=integers(samples, "seq"),
        process=integers(samples, "process").astype(np.int32),
        flow=_indices(samples, "flow", FLOWS),
        outcome=_indices(samples, "outcome", OUTCOMES),
        worker=pc.fill_null(_encoded_workers(samples).indices, -1).to_numpy(),
        accepted=pc.is_valid(samples.column("job_id")).to_numpy(),
        **{name: floats(samples, name) for name in times + numbers},
    )


@dataclass(frozen=True)
class LoadWindow:
    """From the load's first moment to its last, without the drain, in epoch seconds; rates are counted over it."""

    start_at: float
    end_at: float

    @property
    def duration_s(self) -> float:
        """How long the load went on."""
        return self.end_at - self.start_at

    def contains(self, at: Floats) -> Mask:
        """Which of these moments lie in the window."""
        mask: Mask = (at >= self.start_at) & (at <= self.end_at)
        return mask

    def count(self, at: Floats) -> int:
        """How many of these moments lie in the window."""
        return int(np.count_nonzero(self.contains(at)))

    def per_second(self, count: float) -> float:
        """A count as a rate over the window; 0 over no time."""
        return count / self.duration_s if self.duration_s > 0 else 0.0


def load_window(run: RunRecord, jobs: JobColumns) -> LoadWindow:
    """When load was offered: until the load's end or the run's, whichever came first.

    Where the run's record lacks a time because its process died, the samples tell the rest: the last thing
    they saw, though no later than the stages would have lasted. Load that never started lasted no time.
    """
    start_at = run.load_started_at
    if start_at is None:
        if len(jobs) == 0:
            return LoadWindow(run.started_at, run.started_at)
        start_at = float(np.nanmin(jobs.intended_at))
    ends = [at for at in (run.load_ended_at, run.ended_at) if at is not None]
    if not ends:
        seen = np.concatenate([jobs.intended_at, jobs.sent_at, jobs.finished_at])
        ends = [float(np.nanmax(seen))] if len(jobs) else [start_at]
        if run.stages:
            ends.append(start_at + sum(stage.duration_s for stage in run.stages))
    return LoadWindow(start_at, max(start_at, min(ends)))


def offered_by_second(run: RunRecord, window: LoadWindow) -> Floats:
    """Arrivals of all flows due in each second of the load; empty for a closed load, which offers nothing by itself.

    A complete run offered all it planned. One that was cut short offered its whole seconds, and of its last one
    the share that had passed.
    """
    total = np.zeros(max((len(counts) for counts in run.offered.values()), default=0))
    for counts in run.offered.values():
        total[: len(counts)] += counts
    if run.ending is not Ending.COMPLETE:
        total *= np.clip(window.duration_s - np.arange(len(total)), 0, 1)
    return total
