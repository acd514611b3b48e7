"""The data of the charts: a run over its time, and how its times are distributed.

Times are seconds from the start of the load, rates per second, all else milliseconds.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa

from loadtest.analyze.jobs import OUTCOMES, JobColumns, LoadWindow, floats, offered_by_second
from loadtest.analyze.operations import requests_over_time
from loadtest.analyze.run_data import RunData
from loadtest.analyze.start_kinds import CLASSES, UNKNOWN, StartClassification
from loadtest.analyze.stats.bins import (
    BinnedPercentiles,
    Bins,
    Distribution,
    bins_over,
    distribution,
    histogram_edges_ms,
    rounded,
)
from loadtest.analyze.throughput import completion_window
from loadtest.analyze.token_series import TokenSeries, token_series
from loadtest.analyze.users import users_over_time
from loadtest.arrays import Floats
from loadtest.record.run import RunRecord
from loadtest.record.sample import Outcome
from loadtest.scenario.flows import FLOWS
from loadtest.scenario.metrics import Metric

MAX_BINS = 100
MAX_POINTS = 700
MAX_PROBES = 300
_CHARTED = (Metric.DELAY, Metric.EXECUTION, Metric.END_TO_END)


class Rates(msgspec.Struct, frozen=True):
    """Per bin: jobs offered (by intended start), sent, completed and otherwise ended, per second of the bin.

    `in_flight` counts the jobs sent and not ended at the bin's end. `offered` is empty for a closed load. `requests`
    counts each operation's requests, polls included, by the time of their response, `throttled` those with response
    429 (only operations with one); `limit_use` is the fullest 10 seconds that end in the bin over the limit.
    """

    bin_s: float
    at_s: list[float]
    offered: list[float]
    sent: list[float]
    completed: list[float]
    failed: list[float]
    in_flight: list[int]
    requests: dict[str, list[float]]
    throttled: dict[str, list[float]] = {}
    limit_use: dict[str, list[float]] = {}


class Latencies(msgspec.Struct, frozen=True):
    """Completed jobs, in the bin of their intended start; `mean` holds the parts of their mean end-to-end time."""

    bin_s: float
    at_s: list[float]
    jobs: list[int]
    delay_ms: BinnedPercentiles
    execution_ms: BinnedPercentiles
    end_to_end_ms: BinnedPercentiles
    mean: dict[str, list[float | None]]


class Points(msgspec.Struct, frozen=True):
    """A sample of completed jobs, evenly picked, at their intended start; null for a time that a job lacks."""

    at_s: list[float]
    delay_ms: list[float | None]
    execution_ms: list[float | None]
    end_to_end_ms: list[float | None]


class HealthSeries(msgspec.Struct, frozen=True):
    """The health probes: jobs in the queue and in progress, workers by state."""

    at_s: list[float]
    in_queue: list[int]
    in_progress: list[int]
    running: list[int]
    idle: list[int]
    initializing: list[int]


class Stage(msgspec.Struct, frozen=True):
    """A stage of the load and its start."""

    name: str
    start_s: float


class StartSeries(msgspec.Struct, frozen=True):
    """Completed jobs with a warm, revived or cold worker, per bin of the intended start."""

    bin_s: float
    at_s: list[float]
    warm: list[int]
    revived: list[int]
    cold: list[int]


class UserSeries(msgspec.Struct, frozen=True):
    """Users of a closed load, as means over each bin."""

    bin_s: float
    at_s: list[float]
    wanted: list[float]
    at_work: list[float]
    held_back: list[float]


class Series(msgspec.Struct, frozen=True):
    """Everything that the charts of a report draw."""

    load_s: float
    end_s: float
    throughput_per_s: float
    """Jobs of all flows that completed while load was offered, per second of it."""
    stages: list[Stage]
    rates: Rates
    latencies: Latencies
    points: Points
    distributions: dict[str, dict[str, Distribution]]
    """By quantity (delay_ms, execution_ms, end_to_end_ms), then by flow; completed jobs."""
    outcomes: dict[str, dict[str, int]]
    """Jobs by flow, then by outcome, without outcomes that no job had."""
    health: HealthSeries | None = None
    starts: StartSeries | None = None
    """None if no job names its worker."""
    users: UserSeries | None = None
    """None if the load is open, or the samples name no users."""
    tokens: TokenSeries | None = None
    """None if no job reports tokens."""


def series(data: RunData) -> Series:
    """Return everything that the report draws of a run."""
    run, jobs, window = data.run, data.jobs, data.load
    done = jobs.where(jobs.completed)
    span = completion_window(jobs, jobs.completed, window)
    moments = np.concatenate([[window.end_at], _ended_at(jobs), jobs.sent_at])
    end_s = float(np.nanmax(moments)) - window.start_at
    return Series(
        load_s=window.duration_s,
        end_s=end_s,
        throughput_per_s=span.per_second(span.count(done.finished_at)),
        stages=_stages(run),
        rates=_rates(data, end_s),
        latencies=_latencies(done, window),
        points=_points(done, window),
        distributions=_distributions(done),
        outcomes=_outcomes(jobs),
        health=_health(data.health, window),
        starts=_starts(jobs, data.starts, window),
        users=_users(data),
        tokens=token_series(
            jobs, data.chunks, window, bins_over(window.start_at, end_s, MAX_BINS), (MAX_BINS, MAX_POINTS)
        ),
    )


def _users(data: RunData) -> UserSeries | None:
    users = users_over_time(data)
    if users is None:
        return None
    bins = bins_over(data.load.start_at, data.load.duration_s, MAX_BINS)
    edges_s = np.minimum(np.append(bins.starts_s, bins.count * bins.width_s), data.load.duration_s)
    wanted, at_work = users.means(edges_s)
    return UserSeries(
        bin_s=bins.width_s,
        at_s=bins.starts_s.tolist(),
        wanted=rounded(wanted),
        at_work=rounded(at_work),
        held_back=rounded(wanted - at_work),
    )


def _ended_at(jobs: JobColumns) -> Floats:
    """Return when each job ended, NaN if it did not; a job without that time ends at its last recorded event."""
    last = jobs.finished_at
    for earlier in (jobs.accepted_at, jobs.sent_at, jobs.intended_at):
        last = np.where(np.isnan(last), earlier, last)
    return np.where(jobs.ended(Outcome.CENSORED), np.nan, last)


def _rates(data: RunData, end_s: float) -> Rates:
    jobs, window = data.jobs, data.load
    bins = bins_over(window.start_at, end_s, MAX_BINS)
    ended_at = _ended_at(jobs)
    return Rates(
        bin_s=bins.width_s,
        at_s=bins.starts_s.tolist(),
        offered=_offered(data.run, window, bins),
        sent=bins.per_second(jobs.sent_at),
        completed=bins.per_second(ended_at[jobs.completed]),
        failed=bins.per_second(ended_at[~jobs.completed]),
        in_flight=bins.concurrency(jobs.sent_at, ended_at),
        **requests_over_time(data.requests, bins, data.scenario),
    )


def _offered(run: RunRecord, window: LoadWindow, bins: Bins) -> list[float]:
    """Return the arrivals of all flows per second; they are known by whole seconds, which no bin divides."""
    due = offered_by_second(run, window)
    seconds = np.arange(len(due), dtype=np.float64)
    return bins.per_second(bins.start_at + seconds + 0.5, due) if len(due) else []


def _latencies(done: JobColumns, window: LoadWindow) -> Latencies:
    bins = bins_over(window.start_at, window.duration_s, MAX_BINS)
    whole = done.where(~np.isnan(done.times_ms(Metric.SEND_LAG) + done.times_ms(Metric.OVERHEAD)))
    parts = (Metric.SEND_LAG, Metric.DELAY, Metric.EXECUTION, Metric.OVERHEAD)
    return Latencies(
        bin_s=bins.width_s,
        at_s=bins.starts_s.tolist(),
        jobs=np.bincount(bins.index(done.intended_at), minlength=bins.count).tolist(),
        mean={each.name.lower(): bins.means(whole.intended_at, whole.times_ms(each)) for each in parts},
        **{each.spec.column: bins.percentiles(done.intended_at, done.times_ms(each)) for each in _CHARTED},
    )


def _starts(jobs: JobColumns, classed: StartClassification, window: LoadWindow) -> StartSeries | None:
    kind = classed.kind
    if np.all(kind == UNKNOWN):
        return None
    bins = bins_over(window.start_at, window.duration_s, MAX_BINS)
    counts = {
        name: np.bincount(bins.index(jobs.intended_at[kind == index]), minlength=bins.count).tolist()
        for index, name in enumerate(CLASSES)
    }
    return StartSeries(bin_s=bins.width_s, at_s=bins.starts_s.tolist(), **counts)


def _points(done: JobColumns, window: LoadWindow) -> Points:
    times_ms = {each.spec.column: done.times_ms(each) for each in _CHARTED}
    indices = np.flatnonzero(~np.isnan(done.times_ms(Metric.END_TO_END)))
    picked = np.linspace(0, len(indices) - 1, min(len(indices), MAX_POINTS)).round().astype(np.int64)
    at = indices[np.unique(picked)]
    columns = {
        name: [None if np.isnan(value) else value for value in rounded(values_ms[at])]
        for name, values_ms in times_ms.items()
    }
    return Points(at_s=rounded(done.intended_at[at] - window.start_at), **columns)


def _distributions(done: JobColumns) -> dict[str, dict[str, Distribution]]:
    by_flow = {flow: mask for flow in FLOWS if (mask := done.of_flow(flow)).any()}
    quantities: dict[str, dict[str, Distribution]] = {}
    for metric in _CHARTED:
        # Flows share their edges, so that their bars can be compared.
        values_ms = done.times_ms(metric)
        edges_ms = histogram_edges_ms(values_ms)
        quantities[metric.spec.column] = {
            flow: distribution(values_ms[mask], edges_ms) for flow, mask in by_flow.items()
        }
    return quantities


def _outcomes(jobs: JobColumns) -> dict[str, dict[str, int]]:
    by_flow = {}
    for index, flow in enumerate(FLOWS):
        counts = np.bincount(jobs.outcome[(jobs.flow == index) & (jobs.outcome >= 0)], minlength=len(OUTCOMES))
        by_flow[flow] = {str(outcome): int(n) for outcome, n in zip(OUTCOMES, counts, strict=True) if n}
    return {flow: counts for flow, counts in by_flow.items() if counts}


def _stages(run: RunRecord) -> list[Stage]:
    ends = np.cumsum([stage.duration_s for stage in run.stages]).tolist()
    return [Stage(stage.name, end - stage.duration_s) for stage, end in zip(run.stages, ends, strict=True)]


def _health(health: pa.Table, window: LoadWindow) -> HealthSeries | None:
    if len(health) == 0:
        return None
    stride = -(-len(health) // MAX_PROBES)
    some = health.take(np.arange(0, len(health), stride))
    names = ("in_queue", "in_progress", "running", "idle", "initializing")
    columns = {name: np.nan_to_num(floats(some, name)).astype(np.int64).tolist() for name in names}
    return HealthSeries(at_s=rounded(floats(some, "at") - window.start_at), **columns)
