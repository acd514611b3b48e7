"""The inputs of gates: the jobs of a run, how long each was followed, and the windows of its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from loadtest.analyze.gaps import TokenGaps
from loadtest.analyze.jobs import JobColumns, LoadWindow
from loadtest.analyze.run_data import RunData
from loadtest.analyze.throughput import completion_window
from loadtest.arrays import Floats, Mask
from loadtest.record.run import RunRecord
from loadtest.scenario.gates import STEADY, Gate

NO_WORKER = -1


@dataclass(frozen=True)
class Window:
    """A part of a run's time, in seconds from the start of its load; the end is not included."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class GateInputs:
    """The jobs of a run, in columns of one length; a gate judges those for which `mask` is true.

    No column is copied to select jobs. `followed_until_at` is when the client stopped following a job that did not
    end, in epoch seconds. `worker` is an index of `worker_ids`, or −1. `start_kind` is an index of the kinds of start
    (`analyze.start_kinds.CLASSES`), or −1. `gaps` are those between tokens. `steady` is the
    steady window, None if there is none.
    """

    jobs: JobColumns
    mask: Mask
    followed_until_at: Floats
    worker: NDArray[np.int32]
    worker_ids: tuple[str, ...]
    load: LoadWindow
    stages: tuple[tuple[str, Window], ...]
    start_kind: NDArray[np.int8]
    gaps: TokenGaps
    steady: Window | None = None

    def last_seen_at(self) -> Floats:
        """Return when each job ended, or when the client stopped following it, in epoch seconds."""
        return np.where(np.isnan(self.jobs.finished_at), self.followed_until_at, self.jobs.finished_at)

    def where(self, mask: Mask) -> GateInputs:
        """Return the inputs with only those of their jobs for which the mask is true."""
        return replace(self, mask=self.mask & mask)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.mask))


def gate_inputs(data: RunData) -> GateInputs:
    """Return the inputs that a recorded run gives to its gates."""
    jobs, steady = data.jobs, data.steady.window
    return GateInputs(
        jobs=jobs,
        mask=np.ones(len(jobs), dtype=np.bool_),
        followed_until_at=data.followed_until_at(),
        worker=jobs.worker,
        worker_ids=tuple(data.table.worker_names),
        load=data.load,
        stages=_stages(data.run),
        start_kind=data.starts.kind,
        gaps=data.gaps,
        steady=None if steady is None else _relative(steady, data.load),
    )


def _relative(window: LoadWindow, load: LoadWindow) -> Window:
    return Window(window.start_at - load.start_at, window.end_at - load.start_at)


def _stages(run: RunRecord) -> tuple[tuple[str, Window], ...]:
    ends_s = np.cumsum([stage.duration_s for stage in run.stages]).tolist()
    return tuple(
        (stage.name, Window(end_s - stage.duration_s, end_s)) for stage, end_s in zip(run.stages, ends_s, strict=True)
    )


def windows(gate: Gate, inputs: GateInputs) -> tuple[Window, ...] | None:
    """Return the windows of a gate; the whole load if it names none, None if its steady window is not known.

    A stage named "steady" takes precedence over the steady window that the analysis finds.
    """
    if gate.during is None:
        return (Window(0.0, inputs.load.duration_s),)
    named = tuple(window for name, window in inputs.stages if name == gate.during)
    if named:
        until_s = inputs.load.duration_s
        return tuple(Window(each.start_s, min(each.end_s, until_s)) for each in named if each.start_s < until_s)
    return (inputs.steady,) if gate.during == STEADY and inputs.steady is not None else None


def select(gate: Gate, inputs: GateInputs, within: tuple[Window, ...]) -> GateInputs:
    """Return the jobs of a gate: those of its flow with an intended start in these windows."""
    found = of_flow(gate, inputs)
    if gate.during is None:
        return found
    at_s = found.jobs.intended_at - inputs.load.start_at
    mask = np.zeros(len(at_s), dtype=np.bool_)
    for window in within:
        mask |= (at_s >= window.start_s) & (at_s < window.end_s)
    return found.where(mask)


def completion_windows(inputs: GateInputs, within: Sequence[Window]) -> list[Window]:
    """Return the times in which the selected jobs of these windows could complete."""
    start_at = inputs.load.start_at
    spans = (LoadWindow(start_at + each.start_s, start_at + each.end_s) for each in within)
    return [_relative(completion_window(inputs.jobs, inputs.mask, span), inputs.load) for span in spans]


def of_flow(gate: Gate, inputs: GateInputs) -> GateInputs:
    """Return the jobs of the gate's flow, or all if it names none."""
    return inputs if gate.flow is None else inputs.where(inputs.jobs.of_flow(gate.flow))
