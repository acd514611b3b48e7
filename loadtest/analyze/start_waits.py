"""How each job found its worker: busy, idle, or not there, and which jobs waited for a start of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtest.analyze.jobs import JobColumns
from loadtest.analyze.littles_law import arrival_times
from loadtest.arrays import Floats, Mask

SLACK_S = 0.05
"""The error of the client about when a job entered the endpoint."""
_LONGEST = 0.9
"""The quantile of the waits for a start taken as the longest start, which may have begun for another job."""


@dataclass(frozen=True)
class WorkerWait:
    """Masks of jobs that were their worker's first, or waited while it was idle; and how long it had been idle."""

    first: Mask
    idled: Mask
    gap_s: Floats


@dataclass(frozen=True)
class OwnStarts:
    """Jobs that arrived at an endpoint with no worker up and none starting, so that a worker started for each.

    `wait_s` is until the next job came if that was sooner: that one may have made another worker start.
    """

    index: NDArray[np.int64]
    wait_s: Floats
    ended: Mask


def execution_at_least_ms(jobs: JobColumns) -> Floats:
    """Return the execution times; of jobs without one, the time from their take until the client gave them up.

    NaN if no worker is known to have taken the job.
    """
    seen_ms = (jobs.finished_at - _entered_at(jobs)) * 1000 - jobs.delay_ms
    return np.where(np.isnan(jobs.execution_ms), np.maximum(seen_ms, 0.0), jobs.execution_ms)


def worker_waits(jobs: JobColumns, served: Mask, occupied_s: Floats | None = None) -> WorkerWait:
    """Return how each of these jobs found its worker; all need a worker, a delay and a time of occupation.

    Waits count from the end of the worker's previous job. With `occupied_s`, the time from a take until its worker
    asks for the next job, they count from then instead.
    """
    worker, entered = jobs.worker[served], _entered_at(jobs)[served]
    taken = entered + jobs.delay_ms[served] / 1000
    ended = taken + (execution_at_least_ms(jobs)[served] / 1000 if occupied_s is None else occupied_s)
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


def own_starts(jobs: JobColumns, started: Mask, waited_ms: float, threshold_s: float = 0.0) -> OwnStarts:
    """Return which of the jobs that waited for a start did so for one that began for them.

    When such a job came, all earlier ones had ended; and those that had waited `waited_ms` or more, and may have made
    a worker start, had been taken for as long as the longest start. The next job makes no worker start before it has
    waited for the scaler's threshold.
    """
    if not started.any():
        return OwnStarts(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0, dtype=bool))
    entered = _entered_at(jobs)
    order = np.argsort(entered, kind="stable")
    order = order[~np.isnan(entered[order])]
    delay_s = jobs.delay_ms / 1000
    taken = entered + delay_s
    ended = taken + execution_at_least_ms(jobs) / 1000
    ended = np.fmax(entered, np.where(np.isnan(ended), jobs.finished_at, ended))
    longest_s = float(np.quantile(delay_s[started], _LONGEST))
    waited = jobs.accepted & ~(jobs.delay_ms < waited_ms)
    starting_until = np.where(waited, np.where(np.isnan(taken), ended, taken) + longest_s, -np.inf)
    latest = np.maximum.accumulate(np.maximum(ended, starting_until)[order])
    alone = np.concatenate([[-np.inf], latest])[: len(order)] <= entered[order] + SLACK_S
    next_s = np.diff(entered[order], append=np.inf)
    own = started[order] & alone & (next_s > 0)
    index, limit_s = order[own], next_s[own] + threshold_s
    return OwnStarts(index, np.minimum(delay_s[index], limit_s), delay_s[index] <= limit_s)


def _entered_at(jobs: JobColumns) -> Floats:
    entered = arrival_times(jobs)
    return np.where(np.isnan(entered), jobs.sent_at, entered)
