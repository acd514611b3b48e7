"""A run as it is compared: the times of its jobs, how many did not complete, what completed in each second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from loadtest.analyze.gaps import Pooled, TokenGaps
from loadtest.analyze.jobs import JobColumns, LoadWindow
from loadtest.analyze.run_data import RunData
from loadtest.analyze.throughput import completion_window
from loadtest.arrays import Floats, Mask
from loadtest.record.run import RunRecord
from loadtest.scenario.flows import FLOWS
from loadtest.scenario.metrics import Metric

COMPARED = (
    Metric.END_TO_END,
    Metric.RESPONSE,
    Metric.DELAY,
    Metric.EXECUTION,
    Metric.FIRST_CHUNK,
    Metric.TTFT,
    Metric.TPOT,
)
TOKEN_RATES = (Metric.TOKENS, Metric.INPUT_TOKENS)
NEVER_MS = 1e12
"""The time of a job that did not complete, or whose first chunk never came: longer than any other, and finite."""
NO_TIME_MS = -NEVER_MS
"""The time per token of a job that completed with one token, and so has none."""

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
class TokenRate:
    """The tokens of completed jobs in each second, and how many of these jobs report them and do not."""

    per_s: Floats
    jobs: int
    silent: int


@dataclass(frozen=True)
class ComparableRun:
    """A run: times by flow and metric, in order of intended start, completions per second, and jobs by flow.

    A time is NEVER_MS if the job did not have it, and NaN if the server did not report it or it is impossible.
    `gaps` are those between the tokens of each flow's jobs, with the same meaning, and `tokens` their rates.
    `seq` holds the number of each job by flow. Runs with the same `schedule`, if it is not empty, sent the same jobs
    under the same numbers at the same times from the start of the load.
    """

    times_ms: Mapping[tuple[str, Metric], Floats]
    completed_per_s: Floats
    counts: Mapping[str, JobCount] = field(default_factory=dict)
    seq: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    schedule: str = ""
    gaps: Mapping[str, Pooled] = field(default_factory=dict)
    tokens: Mapping[tuple[str, Metric], TokenRate] = field(default_factory=dict)

    def has(self, flow: str, metric: Metric) -> bool:
        """Return whether any job of the flow has this time, or reports these tokens."""
        if metric in TOKEN_RATES:
            return (flow, metric) in self.tokens and self.tokens[flow, metric].jobs > 0
        times_ms = self.values_ms(flow, metric)
        return bool(np.any(np.abs(times_ms) < NEVER_MS))

    def values_ms(self, flow: str, metric: Metric) -> Floats:
        """Return the times of a flow's jobs; of gaps, of one job after the other."""
        if metric.is_pooled:
            return self.gaps[flow].values_ms if flow in self.gaps else np.empty(0)
        return self.times_ms.get((flow, metric), np.empty(0))

    def lacks_times(self) -> bool:
        """Return whether any time is not known."""
        arrays = (*self.times_ms.values(), *(each.values_ms for each in self.gaps.values()))
        return any(bool(np.isnan(values_ms).any()) for values_ms in arrays)

    def without_unknown(self) -> ComparableRun:
        """Return the run with each time that is not known as one that the job did not have."""
        times = {key: np.nan_to_num(times_ms, nan=NEVER_MS) for key, times_ms in self.times_ms.items()}
        gaps = {
            flow: Pooled(np.nan_to_num(each.values_ms, nan=NEVER_MS), each.counts) for flow, each in self.gaps.items()
        }
        return replace(self, times_ms=times, gaps=gaps)


def schedule_of(run: RunRecord) -> str:
    """Return what decides when a run sends which job, its scenario and its seed; empty if the load is closed."""
    return f"{run.scenario_hash} {run.seed}" if run.offered else ""


def comparable(data: RunData) -> ComparableRun:
    """Return a recorded run as it is compared."""
    return run_series(data.jobs, data.load, schedule_of(data.run), data.gaps)


def run_series(
    jobs: JobColumns, window: LoadWindow, schedule: str = "", gaps: TokenGaps | None = None
) -> ComparableRun:
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
    per_s = _per_second(jobs, completed, span)
    counts = {flow: JobCount(len(at), int(np.count_nonzero(~completed[at]))) for flow, at in by_flow.items()}
    seq = {flow: jobs.seq[at] for flow, at in by_flow.items()}
    pooled: dict[str, Pooled] = {
        flow: _gaps(jobs, gaps, at)
        for flow, at in by_flow.items()
        if gaps is not None and flow in Metric.ITL.spec.flows
    }
    tokens: dict[tuple[str, Metric], TokenRate] = {
        (flow, metric): _token_rate(jobs, completed & jobs.of_flow(flow), window, metric)
        for flow in by_flow
        for metric in TOKEN_RATES
    }
    return ComparableRun(times, per_s, counts, seq, schedule, pooled, tokens)


def _per_second(jobs: JobColumns, mask: Mask, span: LoadWindow, amounts: Floats | None = None) -> Floats:
    """Return in each whole second of a span how many of these jobs ended, or what they amount to."""
    seconds = int(span.duration_s + _ROUNDING_S)
    if not seconds:
        return np.zeros(0)
    weights = None if amounts is None else amounts[mask]
    per_s, _ = np.histogram(jobs.finished_at[mask] - span.start_at, np.arange(seconds + 1), weights=weights)
    return per_s.astype(np.float64)


def _token_rate(jobs: JobColumns, done: Mask, window: LoadWindow, metric: Metric) -> TokenRate:
    span = completion_window(jobs, done, window)
    amounts: Floats = getattr(jobs, metric.spec.summed)
    within = done & span.contains(jobs.finished_at)
    silent = int(np.count_nonzero(within & np.isnan(amounts)))
    return TokenRate(
        _per_second(jobs, done, span, np.nan_to_num(amounts)), int(np.count_nonzero(within)) - silent, silent
    )


def _gaps(jobs: JobColumns, gaps: TokenGaps, at: NDArray[np.int64]) -> Pooled:
    """Return the gaps between the tokens of these jobs; those that a job did not live to see are NEVER_MS."""
    found = gaps.of(at)
    lost = np.isnan(found.values_ms) & np.repeat(~jobs.completed[at], found.counts)
    return Pooled(np.where(lost, NEVER_MS, found.values_ms), found.counts)


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
    gaps = {
        flow: _placed_gaps(each, np.searchsorted(union[flow], run.seq[flow]), len(union[flow]), missing_ms)
        if flow in union
        else each
        for flow, each in run.gaps.items()
    }
    return replace(run, times_ms=times, gaps=gaps, seq={**run.seq, **union})


def _placed_gaps(gaps: Pooled, places: NDArray[np.int64], jobs: int, missing_ms: float) -> Pooled:
    """Return gaps with their jobs in these places; a job in another place has as many missing ones as the mean."""
    known, ordered = np.zeros(jobs, dtype=np.bool_), gaps.take(np.argsort(places))
    known[places] = True
    counts = np.full(jobs, max(1, round(float(gaps.counts.mean()))))
    counts[known] = ordered.counts
    values_ms = np.full(int(counts.sum()), missing_ms)
    values_ms[np.repeat(known, counts)] = ordered.values_ms
    return Pooled(values_ms, counts)


def _times_ms(jobs: JobColumns, metric: Metric) -> Floats:
    """Return a time of each job: NEVER_MS if the client saw that the job did not have it, NaN if it is not known."""
    known_ms, recorded_ms, spec = jobs.known_times_ms(metric), jobs.times_ms(metric), metric.spec
    seen_by_client = np.full(len(jobs), bool(spec.start))
    if spec.per_token:
        seen_by_client = ~np.isnan(jobs.output_tokens)
    never = np.isnan(known_ms) & (~jobs.completed | (np.isnan(recorded_ms) & seen_by_client))
    found: Floats = np.where(never, NEVER_MS, known_ms)
    return np.where(jobs.completed & (jobs.output_tokens <= 1), NO_TIME_MS, found) if spec.per_token else found
