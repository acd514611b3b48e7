"""The kind of start of each job: its worker was warm, revived, or cold.

No response reports it; it shows in the delay. If a job waited although its worker had nothing to do for as long as
the job waited, it did not wait in a queue but for the worker to start. A running worker takes a waiting job at once,
or, with the vendor's SDK, within a second of its last job.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtest.analyze.jobs import JobColumns, LoadWindow
from loadtest.analyze.littles_law import arrival_times
from loadtest.analyze.stats.quantiles import quantiles
from loadtest.analyze.summary import StartKindSummary, Starts
from loadtest.arrays import Floats, Mask
from loadtest.scenario.metrics import Metric

CLASSES = ("warm", "revived", "cold")
UNKNOWN = -1
SLACK_S = 0.05
"""The error of the client about when a job entered the endpoint."""
WARM_MS = (100.0, 250.0)
"""The bounds of the longest delay of a job on a running worker; FlashBoot needs some 500 ms."""
WARM_TIMES = 5.0
"""Within these bounds, the multiple of the median delay of jobs whose worker had just been busy."""
RECENT_S = 1.0
PAUSE_S = 1.1
"""A worker of the vendor's SDK asks again a second after a take; a shorter wait is not a wait for a start."""
MIN_SEPARATION = 2.5
"""The least ratio of cold starts to revivals at which their delay divides the two."""
TRIM_FRACTION = 10
"""One in ten starts is left out, the shortest: the job arrived while the worker was starting for another."""
MIN_IN_WAVE = 5
LONG_MS = 8000.0
"""Without such a ratio, a worker that was seen before counts as revived if starts take less than this."""


@dataclass(frozen=True)
class StartClassification:
    """`kind` of each job as an index of CLASSES, or UNKNOWN; and the delays that divide them."""

    kind: NDArray[np.int8]
    warm_below_ms: float
    cold_from_ms: float | None


@dataclass(frozen=True)
class WorkerWait:
    """Masks of jobs that were their worker's first, or waited while it was idle; and how long it had been idle."""

    first: Mask
    idled: Mask
    gap_s: Floats


def start_kinds(jobs: JobColumns) -> StartClassification:
    """Return the kind of start of each completed job.

    A job waited for a start if its worker was idle, or not seen before, for as long as the job waited, took the job
    after more than the SDK's pause since its last job, and the delay is longer than a running worker explains: 5
    times the median delay of jobs whose worker had ended another within the second before, but at least 100 and at
    most 250 ms. Starts are then divided by their delay: if two groups (least squares on logarithms, as Otsu 1979
    divides a histogram; without the shortest tenth, jobs that arrived while the worker was starting for another) have
    medians a factor of 2.5 apart, the longer starts are cold. If not, a worker's first job is cold, and a later one
    revived unless starts take 8 s or more.
    """
    served = (jobs.worker >= 0) & ~np.isnan(jobs.delay_ms + jobs.execution_ms + jobs.sent_at)
    wait = worker_waits(jobs, served)
    delay_ms = jobs.delay_ms[served]
    warm_below_ms = _warm_below_ms(delay_ms, wait)
    started = wait.idled & (delay_ms >= warm_below_ms) & (wait.gap_s > PAUSE_S)
    cold_from_ms = _divide_ms(delay_ms[started])
    if cold_from_ms is not None:
        cold = delay_ms >= cold_from_ms
    else:
        long = bool(started.any()) and float(np.median(delay_ms[started])) >= LONG_MS
        cold = np.ones(len(delay_ms), bool) if long else wait.first
    kind = np.full(len(jobs), UNKNOWN, dtype=np.int8)
    kind[served] = np.where(started, np.where(cold, 2, 1), 0)
    kind[~jobs.completed] = UNKNOWN
    return StartClassification(kind, warm_below_ms, cold_from_ms)


def worker_waits(jobs: JobColumns, served: Mask, occupied_s: Floats | None = None) -> WorkerWait:
    """Return how each of these jobs found its worker; all need a worker and times.

    Waits count from the end of the worker's previous job.

    With `occupied_s`, the time from a take until its worker asks for the next job, it counts from then instead.
    """
    worker, entered = jobs.worker[served], arrival_times(jobs)[served]
    entered = np.where(np.isnan(entered), jobs.sent_at[served], entered)
    taken = entered + jobs.delay_ms[served] / 1000
    ended = taken + (jobs.execution_ms[served] / 1000 if occupied_s is None else occupied_s)
    order = np.lexsort((taken, worker))
    first = np.ones(len(worker), dtype=bool)
    first[1:] = np.diff(worker[order]) != 0
    # The latest end so far on each worker, with one sort: shifted, each worker's times lie above the previous one's.
    begins_at = float(taken.min(initial=np.inf))
    apart_s = float(ended.max(initial=-np.inf)) - begins_at + 1
    shifted = ended[order] - begins_at + worker[order] * apart_s
    latest = np.maximum.accumulate(shifted) - worker[order] * apart_s + begins_at
    before = np.concatenate([[-np.inf], latest[:-1]]) if len(latest) else latest
    before[first] = -np.inf
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    first, before = first[back], before[back]
    return WorkerWait(first, before <= entered + SLACK_S, taken - before)


def _warm_below_ms(delay_ms: Floats, wait: WorkerWait) -> float:
    at_once = delay_ms[wait.idled & (wait.gap_s < RECENT_S)]
    typical_ms = float(np.median(at_once)) if len(at_once) else 0.0
    return float(np.clip(WARM_TIMES * typical_ms, *WARM_MS))


def _divide_ms(delay_ms: Floats) -> float | None:
    """Return the delay that divides shorter from longer starts; None if there is only one group."""
    ordered = np.sort(delay_ms)[len(delay_ms) // TRIM_FRACTION :]
    n = len(ordered)
    if n < 2:
        return None
    logs = np.log(ordered)
    sums, left = np.cumsum(logs), np.arange(1, n)
    low, high = sums[:-1] / left, (sums[-1] - sums[:-1]) / (n - left)
    cut = int(np.argmax(left * (n - left) * (high - low) ** 2))
    longest_short, shortest_long = ordered[cut], ordered[cut + 1]
    apart = np.median(ordered[cut + 1 :]) / np.median(ordered[: cut + 1])
    return float(np.sqrt(longest_short * shortest_long)) if apart >= MIN_SEPARATION else None


def start_summary(jobs: JobColumns, classed: StartClassification, price: float | None) -> Starts | None:
    """Return the jobs and times of each kind of start; None if no completed job names its worker."""
    known = int(np.count_nonzero(classed.kind != UNKNOWN))
    if known == 0:
        return None
    billed_s = _billed_s(jobs, classed)
    total_s = float(billed_s.sum())
    classes = {}
    for index, name in enumerate(CLASSES):
        mine = classed.kind == index
        count = int(np.count_nonzero(mine))
        classes[name] = StartKindSummary(
            jobs=count,
            share=count / known,
            delay_ms=quantiles(jobs.delay_ms[mine]),
            execution_ms=quantiles(jobs.execution_ms[mine]),
            end_to_end_ms=quantiles(jobs.times_ms(Metric.END_TO_END)[mine]),
            cost_share=None if price is None or total_s == 0 else float(billed_s[mine].sum()) / total_s,
        )
    unknown = int(np.count_nonzero(jobs.completed)) - known
    return Starts(classes, classed.warm_below_ms, classed.cold_from_ms, unknown, _explain(classes, classed))


def _billed_s(jobs: JobColumns, classed: StartClassification) -> Floats:
    """Return the execution time, plus the delay of jobs that waited for a start: their worker is billed already."""
    waited_ms = np.where(classed.kind > 0, jobs.delay_ms, 0.0)
    billed_s: Floats = np.where(classed.kind == UNKNOWN, 0.0, jobs.execution_ms + waited_ms) / 1000
    return billed_s


def _explain(classes: dict[str, StartKindSummary], classed: StartClassification) -> str:
    waited = classes["revived"].jobs + classes["cold"].jobs
    if waited == 0:
        return f"No job waited {classed.warm_below_ms:.0f} ms or more for a worker to start."
    rule = (
        "by whether their worker was new"
        if classed.cold_from_ms is None
        else f"at a delay of {classed.cold_from_ms:.0f} ms"
    )
    return f"{waited} jobs waited for a worker to start; revived and cold are divided {rule}."


def cold_start_wave(jobs: JobColumns, classed: StartClassification, window: LoadWindow) -> float | None:
    """Return the excess of start waits in the worst tenth of a window over the median tenth, as a share of its jobs.

    Jobs count by their intended start. None if no tenth has MIN_IN_WAVE such jobs: small waves occur by chance.
    """
    mine = (classed.kind != UNKNOWN) & window.contains(jobs.intended_at)
    tenth = np.clip((jobs.intended_at[mine] - window.start_at) / window.duration_s * 10, 0, 9).astype(np.int64)
    waited = np.bincount(tenth[classed.kind[mine] > 0], minlength=10)
    if waited.max() < MIN_IN_WAVE:
        return None
    shares = waited / np.maximum(1, np.bincount(tenth, minlength=10))
    return float(shares.max() - np.median(shares))
