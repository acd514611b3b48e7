"""What gates are held against: the jobs of a run, how long each was followed, and the windows of its time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadtest.analyze.job_table import JobTable, job_table
from loadtest.analyze.jobs import Floats, JobColumns, LoadWindow, Mask, load_window
from loadtest.analyze.start_kinds import CLASSES, UNKNOWN
from loadtest.analyze.summary import Steady
from loadtest.record.run import RunRecord
from loadtest.scenario.gates import STEADY, Gate
from loadtest.scenario.model import Scenario

NO_WORKER = -1


@dataclass(frozen=True)
class Window:
    """A part of a run's time, in seconds from the start of its load; the end does not belong to it."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class GateInputs:
    """The jobs of a run, in columns of one length, of which those are judged for which `mine` is true.

    Nothing is copied to look at some of them. `followed_until_at` is when the client stopped following a job that
    did not end, in epoch seconds. `worker` is a place in `worker_ids`, or −1. `cold` says which jobs met a cold
    start, `steady` where the run was steady; each is None where nobody knows.
    """

    jobs: JobColumns
    mask: Mask
    followed_until_at: Floats
    worker: NDArray[np.int32]
    worker_ids: tuple[str, ...]
    load: LoadWindow
    stages: tuple[tuple[str, Window], ...]
    steady: Window | None = None
    cold: Mask | None = None

    def where(self, mask: Mask) -> GateInputs:
        """The same of those of its jobs for which the mask is true."""
        return replace(self, mask=self.mask & mask)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.mask))


def evidence_of(run: RunRecord, samples: pa.Table | JobTable, steady: Steady) -> GateInputs:
    """The evidence in a run's record and its rows, which are in the schema of `samples.parquet` or digested."""
    digest = job_table(samples)
    jobs = digest.jobs
    load = load_window(run, jobs)
    job_timeout_s = Scenario.model_validate(run.scenario).job_timeout
    return GateInputs(
        jobs=jobs,
        mask=np.ones(len(jobs), dtype=np.bool_),
        followed_until_at=np.minimum(jobs.intended_at + job_timeout_s, _ended_at(run, jobs, load)),
        worker=jobs.worker,
        worker_ids=tuple(digest.worker_names),
        load=load,
        stages=_stages(run),
        steady=_window(steady),
        cold=_cold(digest),
    )


def _window(steady: Steady) -> Window | None:
    if steady.start_s is None or steady.end_s is None:
        return None
    return Window(steady.start_s, steady.end_s)


def _cold(digest: JobTable) -> Mask | None:
    """Which jobs met a cold start; None where no job tells how it found its worker."""
    kind = digest.starts.kind
    mask: Mask = kind == CLASSES.index("cold")
    return mask if np.any(kind != UNKNOWN) else None


def _ended_at(run: RunRecord, jobs: JobColumns, load: LoadWindow) -> float:
    """When the run ended; of one whose process died the last that its samples saw."""
    if run.ended_at is not None:
        return run.ended_at
    seen = np.concatenate([[load.end_at], jobs.sent_at, jobs.finished_at])
    return float(np.nanmax(seen))


def _stages(run: RunRecord) -> tuple[tuple[str, Window], ...]:
    ends_s = np.cumsum([stage.duration_s for stage in run.stages]).tolist()
    return tuple(
        (stage.name or f"stage {number}", Window(end_s - stage.duration_s, end_s))
        for number, (stage, end_s) in enumerate(zip(run.stages, ends_s, strict=True), 1)
    )


def windows(gate: Gate, inputs: GateInputs) -> tuple[Window, ...] | None:
    """The windows that a gate speaks of; all of the load where it names none, None where none is known.

    A stage that is called "steady" comes before the steady window that was found.
    """
    if gate.during is None:
        return (Window(0.0, inputs.load.duration_s),)
    named = tuple(window for name, window in inputs.stages if name == gate.during)
    if named:
        until_s = inputs.load.duration_s
        return tuple(Window(each.start_s, min(each.end_s, until_s)) for each in named if each.start_s < until_s)
    return (inputs.steady,) if gate.during == STEADY and inputs.steady is not None else None


def select(gate: Gate, inputs: GateInputs, within: tuple[Window, ...]) -> GateInputs:
    """The jobs that a gate speaks of: those of its flow that were meant to start in these windows."""
    found = of_flow(gate, inputs)
    if gate.during is None:
        return found
    at_s = found.jobs.intended_at - inputs.load.start_at
    mask = np.zeros(len(at_s), dtype=np.bool_)
    for window in within:
        mask |= (at_s >= window.start_s) & (at_s < window.end_s)
    return found.where(mask)


def of_flow(gate: Gate, inputs: GateInputs) -> GateInputs:
    """The jobs of the gate's flow, or all."""
    return inputs if gate.flow is None else inputs.where(inputs.jobs.of_flow(gate.flow))
