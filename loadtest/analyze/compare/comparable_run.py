"""A run as it is compared: the times of its jobs, how many did not complete, and its completions per second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from loadtest.analyze.jobs import JobColumns, LoadWindow
from loadtest.analyze.throughput import completion_window
from loadtest.arrays import Floats
from loadtest.record.run import RunRecord
from loadtest.scenario.flows import FLOWS
from loadtest.scenario.metrics import Metric

COMPARED = (Metric.END_TO_END, Metric.RESPONSE, Metric.DELAY, Metric.EXECUTION, Metric.FIRST_CHUNK)
NEVER_MS = 1e12
"""The time of a job that did not complete, or whose first chunk never came: longer than any other, and finite."""

_ROUNDING_S = 1e-5
"""The precision of epoch seconds: a span of 20 s must not have 19 whole seconds."""


@dataclass(frozen=True)
class JobCount:
    """A number of jobs, and how many of them did not complete."""

    jobs: int
    not_completed: int

    def and_missing(self, jobs: int) -> JobCount:
        """Return the number with jobs that are missing, which did not complete."""
        return JobCount(self.jobs + jobs, self.not_completed + jobs)


@dataclass(frozen=True)
class ComparableRun:
    """A run: times by flow and metric, in order of intended start, completions per second, and jobs by flow.

    A time is NEVER_MS if the job did not have it, and NaN if the server did not report it or it is impossible.
    `seq` holds the number of each job by flow. Runs with the same `schedule`, if it is not empty, sent the same jobs
    under the same numbers at the same times from the start of the load.
    """

    times_ms: Mapping[tuple[str, Metric], Floats]
    completed_per_s: Floats
    counts: Mapping[str, JobCount] = field(default_factory=dict)
    seq: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    schedule: str = ""

    def has(self, flow: str, metric: Metric) -> bool:
        """Return whether any job of the flow has this time."""
        times_ms = self.times_ms.get((flow, metric), np.empty(0))
        return bool(np.any(times_ms < NEVER_MS))


def schedule_of(run: RunRecord) -> str:
    """Return what decides when a run sends which job, its scenario and its seed; empty if the load is closed."""
    return f"{run.scenario_hash} {run.seed}" if run.offered else ""


def run_series(jobs: JobColumns, window: LoadWindow, schedule: str = "") -> ComparableRun:
    """Return the times of each flow's jobs with an intended start in the window, and the completions in it."""
    due = np.flatnonzero(window.contains(jobs.intended_at))
    due = due[np.argsort(jobs.intended_at[due], kind="stable")]
    of_flow: dict[str, NDArray[np.int64]] = {flow: due[jobs.of_flow(flow)[due]] for flow in FLOWS}
    by_flow = {flow: indices for flow, indices in of_flow.items() if len(indices)}
    completed = jobs.completed
    times: dict[tuple[str, Metric], Floats] = {}
    for metric in COMPARED:
        column = _times_ms(jobs, metric)
        times.update({(flow, metric): column[at] for flow, at in by_flow.items() if flow in metric.spec.flows})
    span = completion_window(jobs, completed, window)
    seconds = int(span.duration_s + _ROUNDING_S)
    ended_s = jobs.finished_at[completed] - span.start_at
    per_s, _ = np.histogram(ended_s, np.arange(seconds + 1)) if seconds else (np.zeros(0), None)
    counts = {flow: JobCount(len(at), int(np.count_nonzero(~completed[at]))) for flow, at in by_flow.items()}
    seq = {flow: jobs.seq[at] for flow, at in by_flow.items()}
    return ComparableRun(times, per_s.astype(np.float64), counts, seq, schedule)


def share_a_schedule(runs: Sequence[ComparableRun]) -> bool:
    """Return whether all runs sent the same jobs at the same times."""
    return runs[0].schedule != "" and all(each.schedule == runs[0].schedule for each in runs)


def paired(baseline: Sequence[ComparableRun], candidate: ComparableRun) -> list[ComparableRun]:
    """Return the runs with their jobs in the same places, by their numbers; the candidate is the last.

    A job that the candidate lacks did not complete; of one that a baseline lacks nothing is known. So neither makes
    the candidate look good.
    """
    runs = [*baseline, candidate]
    common = [flow for flow in candidate.seq if all(flow in each.seq for each in baseline)]
    union = {flow: np.unique(np.concatenate([each.seq[flow] for each in runs])) for flow in common}
    lacking = {flow: len(at) - len(candidate.seq[flow]) for flow, at in union.items()}
    counts = {flow: each.and_missing(lacking.get(flow, 0)) for flow, each in candidate.counts.items()}
    *before, after = runs
    return [
        *(_placed(each, union, np.nan) for each in before),
        replace(_placed(after, union, NEVER_MS), counts=counts),
    ]


def _placed(run: ComparableRun, union: Mapping[str, NDArray[np.int64]], missing_ms: float) -> ComparableRun:
    times = dict(run.times_ms)
    for (flow, metric), known_ms in run.times_ms.items():
        if flow in union:
            placed = np.full(len(union[flow]), missing_ms)
            placed[np.searchsorted(union[flow], run.seq[flow])] = known_ms
            times[flow, metric] = placed
    return replace(run, times_ms=times, seq={**run.seq, **union})


def _times_ms(jobs: JobColumns, metric: Metric) -> Floats:
    """Return a time of each job: NEVER_MS if the client saw that the job did not have it, NaN if it is not known."""
    known_ms, recorded_ms = jobs.known_times_ms(metric), jobs.times_ms(metric)
    seen_by_client = bool(metric.spec.start)
    never = np.isnan(known_ms) & (~jobs.completed | (np.isnan(recorded_ms) & seen_by_client))
    return np.where(never, NEVER_MS, known_ms)
