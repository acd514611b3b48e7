"""The jobs of each worker, whether its execution time differs from all others, and how long workers were up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from loadtest.analyze.jobs import JobColumns, LoadWindow, floats
from loadtest.analyze.stats.effective_number import effective
from loadtest.analyze.stats.hypothesis_tests import holm_levels
from loadtest.analyze.stats.percentile_bounds import binomial_quantile
from loadtest.analyze.stats.quantiles import quantiles
from loadtest.analyze.summary import WorkerComparison, WorkerSummary
from loadtest.arrays import Floats
from loadtest.units import nearest_rank

ERROR_RATE = 0.05
"""The highest probability that any of equal workers is named as different."""
RELEVANT = 1.1
"""The ratio of medians, or its inverse, from which a worker is named: smaller differences change no decision."""
_HALF = 500


def worker_summaries(jobs: JobColumns, names: list[str]) -> list[WorkerSummary]:
    """Return workers by their number of completed jobs, the busiest first; `names` are theirs by their numbers.

    Workers without a completed job come before all others.

    A worker is compared with all others by the ratio of medians. Whether it differs is Mood's median test (1950),
    with signs in place of counts so that equal times count as neither, at levels by Holm over all workers. The
    interval at that level joins the binomial intervals of both medians by MOVER (Zou and Donner 2008, Statistics
    in Medicine 27, p. 1693) on logarithms. Jobs of one worker count for as many as
    they are worth in independent ones (see `effective`); workers count as independent.
    """
    known = jobs.completed & (jobs.worker >= 0)
    counts = np.bincount(jobs.worker[known], minlength=len(names))
    others = np.bincount(jobs.worker[~jobs.completed & (jobs.worker >= 0)], minlength=len(names))
    timed = jobs.where(known & ~np.isnan(jobs.execution_ms))
    ordered_ms, positions = _by_worker(timed, len(names))
    in_time = _in_time(timed, len(names))
    worth = _worth(timed, len(names))
    all_worth = float(worth.sum())
    numbers = [(float(each), all_worth - float(each)) for each in worth]
    some = [index for index, at in enumerate(positions) if 0 < len(at) < len(ordered_ms)]
    p_values = [_p_value(ordered_ms, positions[index], numbers[index]) for index in some]
    levels = dict(zip(some, holm_levels(p_values, ERROR_RATE), strict=True))
    compared = [
        _comparison(ordered_ms, at, numbers[index], levels[index]) if index in levels else None
        for index, at in enumerate(positions)
    ]
    workers = [
        WorkerSummary(name, int(count), quantiles(times_ms), comparison, int(other))
        for name, count, other, times_ms, comparison in zip(names, counts, others, in_time, compared, strict=True)
    ]
    return sorted(workers, key=lambda worker: (worker.jobs > 0, -worker.jobs, worker.worker_id))


def _in_time(jobs: JobColumns, workers: int) -> list[Floats]:
    """Return each worker's execution times, by the intended start of the jobs."""
    order = np.lexsort((jobs.intended_at, jobs.worker))
    starts = np.searchsorted(jobs.worker[order], np.arange(1, workers))
    return np.split(jobs.execution_ms[order], starts) if workers else []


def _by_worker(jobs: JobColumns, workers: int) -> tuple[Floats, list[NDArray[np.int64]]]:
    """Return all execution times in order, and the positions of each worker's in that order."""
    order = np.argsort(jobs.execution_ms, kind="stable")
    by_worker = np.argsort(jobs.worker[order], kind="stable")
    starts = np.searchsorted(jobs.worker[order][by_worker], np.arange(1, workers))
    return jobs.execution_ms[order], np.split(by_worker, starts) if workers else []


def _worth(jobs: JobColumns, workers: int) -> Floats:
    """Return the effective number of jobs of each worker, from its execution times in the order of their ends."""
    order = np.lexsort((jobs.finished_at, jobs.worker))
    starts = np.searchsorted(jobs.worker[order], np.arange(1, workers))
    return np.array([effective(times_ms).for_upper() for times_ms in np.split(jobs.execution_ms[order], starts)])


def _p_value(ordered_ms: Floats, at: NDArray[np.int64], worth: tuple[float, float]) -> float:
    """Return the two-sided p-value of no difference between the values at these positions and all others.

    `worth` is the effective number of the ones and of the others.
    """
    n, m = len(ordered_ms), len(at)
    median = ordered_ms[nearest_rank(n, _HALF) - 1]
    below, upto = np.searchsorted(ordered_ms, median, side="left"), np.searchsorted(ordered_ms, median, side="right")
    over, under = n - int(upto), int(below)
    mine = float(np.count_nonzero(at >= upto)) - float(np.count_nonzero(at < below))
    total = over - under
    variance = (over + under) / n - (total / n) ** 2
    if variance == 0:
        return 1.0
    difference = mine / m - (total - mine) / (n - m)
    return float(2 * special.ndtr(-abs(difference) / math.sqrt(variance * (1 / worth[0] + 1 / worth[1]))))


def _comparison(
    ordered_ms: Floats, at: NDArray[np.int64], worth: tuple[float, float], level: float
) -> WorkerComparison | None:
    """Return the ratio of the medians and its interval at a level; None if either has too few jobs for one."""
    mine = _median_ranks(len(at), worth[0], level)
    others = _median_ranks(len(ordered_ms) - len(at), worth[1], level)
    if mine is None or others is None:
        return None
    w, w_low, w_high = (_log_ms(ordered_ms[at[rank - 1]]) for rank in mine)
    r, r_low, r_high = (_log_ms(ordered_ms[_rank_of_others(rank - 1, at)]) for rank in others)
    ratio = math.exp(w - r)
    low = math.exp(w - r - math.hypot(w - w_low, r_high - r))
    high = math.exp(w - r + math.hypot(w_high - w, r - r_low))
    differs = (low > 1 or high < 1) and not 1 / RELEVANT < ratio < RELEVANT
    return WorkerComparison(ratio, (low, high), differs)


def _log_ms(value_ms: float) -> float:
    """Return the logarithm of a time; times under the server's resolution of 1 ms count as 1 ms."""
    return math.log(max(value_ms, 1.0))


def _median_ranks(n: int, worth: float, level: float) -> tuple[int, int, int] | None:
    """Return ranks (from 1) of the median of n values and of its interval at a two-sided level.

    The interval is that of `worth` independent values at the same shares of n; None for too few.
    """
    independent = math.floor(worth)
    if independent == 0 or 2 * 0.5**independent > level:
        return None
    rank = binomial_quantile(level / 2, independent, 0.5)
    low = max(1, rank * n // independent)
    return (nearest_rank(n, _HALF), low, n + 1 - low) if rank >= 1 else None


def _rank_of_others(index: int, at: NDArray[np.int64]) -> int:
    """Return the position, in the order of all, of the `index`-th (from 0) of those not at these positions."""
    return index + int(np.searchsorted(at - np.arange(len(at)), index, side="right"))


MIN_HEALTH_PROBES = 10
"""With fewer probes, most of the figure would be interpolation."""
UP = ("initializing", "running")
"""The states of a worker that is up, as /health counts them; idle ones have stopped and are not billed."""
UP_BEFORE_SCHEMA_3 = (*UP, "idle")
"""The same for the embedded endpoint in runs of an older schema: its running workers without a job were idle."""


@dataclass(frozen=True)
class WorkerUptime:
    """Workers that were starting or running at each probe, in seconds from the load's start.

    No job reports this time. The vendor bills it, but says both that starts are billed and that they are not.
    """

    at_s: Floats
    up: Floats
    duration_s: float

    @property
    def worker_s(self) -> float:
        """Return worker-seconds from start to stop: the area under straight lines from each probe to the next.

        A worker that starts or stops between two probes counts for half of that time, which is right on average,
        and wrong by half of it at most. Nothing is rounded up.
        """
        at_s = np.concatenate([[0.0], self.at_s, [self.duration_s]])
        return float(np.trapezoid(np.interp(at_s, self.at_s, self.up), at_s))


def worker_uptime(health: pa.Table, window: LoadWindow, states: Sequence[str] = UP) -> WorkerUptime | None:
    """Return the workers that were up, in one of these states, while load was offered, from the health probes.

    None if there were too few probes or none for a tenth of the time, or if the endpoint does not report workers that
    are starting.
    """
    at = floats(health, "at")
    up = sum((floats(health, name) for name in states), np.zeros(len(at)))
    known = ~np.isnan(up) & window.contains(at)
    found = WorkerUptime(at[known] - window.start_at, up[known], window.duration_s)
    if len(found.at_s) < MIN_HEALTH_PROBES:
        return None
    gaps_s = np.diff(np.concatenate([[0.0], found.at_s, [window.duration_s]]))
    return None if gaps_s.max() > window.duration_s / MIN_HEALTH_PROBES else found
