"""What the index of runs shows: a line for each run, and how the figures of each scenario changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from loadtest.analyze.compare.change_points import ChangePoint, change_points
from loadtest.analyze.summary import FlowSummary, Summary

MIN_RUNS = 2
"""The fewest runs of a scenario that make a trend."""
FIGURES: dict[str, Callable[[FlowSummary], float | None]] = {
    "end-to-end p95": lambda flow: flow.end_to_end_ms.p95,
    "delay p95": lambda flow: flow.delay_ms.p95,
    "execution p50": lambda flow: flow.execution_ms.p50,
    "throughput": lambda flow: flow.throughput_per_s,
}
"""The figures whose trend is shown; times in milliseconds."""


@dataclass(frozen=True)
class IndexedRun:
    """A run: the folder that holds it, from the index, its note, and its results."""

    folder: str
    note: str
    summary: Summary

    @property
    def flow(self) -> tuple[str, FlowSummary] | None:
        """Return the flow with the most jobs, whose figures stand for the run; None if it has none."""
        flows = self.summary.flows
        return max(flows.items(), key=lambda item: item[1].jobs) if flows else None

    @property
    def errors(self) -> float | None:
        """Return the share of submitted jobs that did not complete; None if none were submitted."""
        submitted = self.summary.jobs.get("submitted", 0)
        return 1 - self.summary.jobs.get("completed", 0) / submitted if submitted else None

    @property
    def counts(self) -> bool:
        """Return whether its figures belong to a trend: it was measured validly, to its end."""
        return self.summary.validity.valid and self.summary.run.complete


@dataclass(frozen=True)
class Trend:
    """One figure of one flow in the valid runs of a scenario, in order of time, and where it changed."""

    scenario: str
    flow: str
    figure: str
    runs: Sequence[IndexedRun]
    values: Sequence[float]
    changes: Sequence[ChangePoint]

    def levels(self) -> list[float]:
        """Return for each run the median of the values between the changes around it."""
        edges = [0, *(each.place for each in self.changes), len(self.values)]
        parts = [self.values[start:end] for start, end in pairwise(edges)]
        return [float(np.median(part)) for part in parts for _ in part]


def trends(runs: Sequence[IndexedRun]) -> list[Trend]:
    """Return the trends of all scenarios, by name; of a figure that each of two valid runs or more has."""
    found = []
    usable = [run for run in runs if run.counts and run.flow is not None]

    def key(run: IndexedRun) -> tuple[str, str]:
        assert run.flow is not None
        return run.summary.run.scenario, run.flow[0]

    for (scenario, flow), group in groupby(sorted(usable, key=key), key):
        in_order = sorted(group, key=lambda run: run.summary.run.started_at)
        for figure, read in FIGURES.items():
            known = [(run, value) for run in in_order if run.flow and (value := read(run.flow[1])) is not None]
            if len(known) < MIN_RUNS:
                continue
            values = [float(value) for _, value in known]
            # A time is compared by its ratios, as a user feels it.
            changes = change_points(np.log(np.maximum(values, 1e-3)))
            found.append(Trend(scenario, flow, figure, [run for run, _ in known], values, changes))
    return found
