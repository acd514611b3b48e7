"""How many jobs a worker has at once, and how much they slow each other down, from samples.

A worker's jobs overlap in the samples, so at each moment their number is known. If n jobs take f(n) times as long as
one alone, a job's work is the sum over n of the time that it shared its worker with n − 1 others, divided by f(n).
The work of a job does not depend on its neighbours, so the right f is the one with which the logarithm of work
varies least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from loadtest.analyze.jobs import JobColumns
from loadtest.analyze.littles_law import arrival_times
from loadtest.arrays import Floats
from loadtest.capacity.estimates import Estimate
from loadtest.scenario.model import Scenario
from loadtest.scenario.target import HandlerTarget

MIN_JOBS = 30
"""The fewest jobs that began with some number in hand for that number to count as seen."""
MIN_WAITED = 10
"""The fewest jobs that waited for a free slot for the most at once to count as the workers' limit."""
_ROUNDING_S = 0.002
_SECTIONS = 10
_MAX_FITTED_JOBS = 20_000


class SlowdownPoint(msgspec.Struct, frozen=True):
    """How many times as long a job takes while its worker has `jobs` jobs, as one alone."""

    jobs: int
    factor: Estimate


class Concurrency(msgspec.Struct, frozen=True):
    """Up to how many jobs a worker has at once, and how much they slow each other down; no points if they do not.

    `known` is whether `most` is the workers' limit: set, or the number at which jobs waited. If not, it is only the
    most that the run reached. `fewest` is the least number that was seen, whose factor is taken as 1.
    """

    most: int = 1
    known: bool = False
    fewest: int = 1
    slowdown: tuple[SlowdownPoint, ...] = ()

    @property
    def factors(self) -> tuple[tuple[int, float], ...]:
        """Return the slowdown without its intervals."""
        return tuple((each.jobs, each.factor.value) for each in self.slowdown)

    @property
    def log_errors(self) -> tuple[float, ...]:
        """Return the standard errors of the logarithms of the factors."""
        reach = float(special.stdtrit(_SECTIONS - 1, 0.975))
        return tuple(math.log(each.factor.high / each.factor.value) / reach for each in self.slowdown)


@dataclass(frozen=True)
class JobShares:
    """Jobs that a worker did, in the order of their takes.

    `at_start` is the number of jobs that the worker then had, the new one included, and `with_others_s` (jobs x
    numbers) for how long the job was one of 1, 2 … jobs.
    """

    execution_s: Floats
    waited: NDArray[np.bool_]
    at_start: NDArray[np.int64]
    with_others_s: Floats

    def work_s(self, factors: tuple[tuple[int, float], ...]) -> Floats:
        """Return how long each job would have taken alone."""
        numbers = np.arange(1, self.with_others_s.shape[1] + 1)
        points = dict(factors) or {1: 1.0}
        work: Floats = self.with_others_s @ (1 / np.interp(numbers, list(points), list(points.values())))
        return work


def job_shares(jobs: JobColumns) -> JobShares:
    """Return the jobs that a worker did, with how many others each shared it and for how long.

    The client knows a job's entry to half of its submission's round trip, so each execution is shortened by that at
    both ends before overlaps are counted; the time is then stretched to the execution.
    """
    entered = arrival_times(jobs)
    known = (jobs.worker >= 0) & ~np.isnan(entered + jobs.delay_ms + jobs.execution_ms) & (jobs.execution_ms > 0)
    taken = entered[known] + jobs.delay_ms[known] / 1000
    execution_s = jobs.execution_ms[known] / 1000
    order = np.argsort(taken, kind="stable")
    taken, execution_s, worker = taken[order], execution_s[order], jobs.worker[known][order]
    half_trip_s = np.nan_to_num((jobs.accepted_at - jobs.sent_at)[known][order] / 2)
    error_s = np.minimum(np.quantile(half_trip_s, 0.95) if len(taken) else 0.0, 0.05) + _ROUNDING_S
    inset_s = np.minimum(error_s, execution_s * 0.45)
    waited = jobs.delay_ms[known][order] / 1000 > 0.05 + error_s
    at_start, shares_s = _overlaps(taken + inset_s, taken + execution_s - inset_s, worker)
    stretched = shares_s * (execution_s / np.maximum(shares_s.sum(axis=1), 1e-9))[:, None]
    return JobShares(execution_s, waited, at_start, stretched)


def _overlaps(begins: Floats, ends: Floats, worker: NDArray[np.int32]) -> tuple[NDArray[np.int64], Floats]:
    """Return how many jobs each worker had at each begin, and for how long each job was one of 1, 2 … jobs."""
    at_start = np.ones(len(begins), dtype=np.int64)
    parts = []
    for each in np.unique(worker):
        mine = np.flatnonzero(worker == each)
        times = np.concatenate([begins[mine], ends[mine]])
        order = np.lexsort((np.repeat([1, 0], len(mine)), times))
        number = np.cumsum(np.repeat([1, -1], len(mine))[order])
        times = times[order]
        at_start[mine] = number[np.searchsorted(times, begins[mine], side="right") - 1]
        parts.append((mine, times, number))
    most = int(max((number.max() for _, _, number in parts), default=1))
    shares_s = np.zeros((len(begins), most))
    for mine, times, number in parts:
        lengths = np.diff(times, append=times[-1])
        for count in range(1, int(number.max()) + 1):
            until = np.concatenate([[0.0], np.cumsum(np.where(number == count, lengths, 0.0))])
            first, last = (np.searchsorted(times, at[mine], side="left") for at in (begins, ends))
            shares_s[mine, count - 1] = until[last] - until[first]
    return at_start, shares_s


def joined(runs: Sequence[JobShares]) -> JobShares:
    """Return the jobs of several runs as those of one."""
    most = max(each.with_others_s.shape[1] for each in runs)
    wide = [np.pad(each.with_others_s, ((0, 0), (0, most - each.with_others_s.shape[1]))) for each in runs]
    return JobShares(
        np.concatenate([each.execution_s for each in runs]),
        np.concatenate([each.waited for each in runs]),
        np.concatenate([each.at_start for each in runs]),
        np.concatenate(wide),
    )


def concurrency_limit(scenario: Scenario) -> int | None:
    """Return how many jobs a worker takes at most, if the scenario says so; a handler may have its own rule."""
    if scenario.target == "embedded":
        return scenario.endpoint.workers.concurrency
    if isinstance(scenario.target, HandlerTarget) and scenario.target.concurrency > 1:
        return scenario.target.concurrency
    return None


def estimate_concurrency(shares: JobShares, limit: int | None = None) -> Concurrency:
    """Return the jobs at once and their slowdown as the samples show them; `limit` is the workers' if it is known."""
    counts = np.bincount(shares.at_start, minlength=2)
    seen = np.flatnonzero(np.cumsum(counts[::-1])[::-1] >= MIN_JOBS)
    reached = int(seen.max(initial=1))
    at_limit = shares.waited & (shares.at_start >= reached)
    known = limit is not None or int(np.count_nonzero(at_limit)) >= MIN_WAITED
    most = reached if limit is None else limit
    if 1 in (reached, limit):
        return Concurrency(most, known)
    fewest = int(np.argmax(np.cumsum(counts) >= MIN_JOBS))
    return Concurrency(most, known, fewest, _slowdown(shares, _knots(fewest, reached)))


def _knots(fewest: int, reached: int) -> list[int]:
    """Return the numbers at which the slowdown is estimated: doubling, from the fewest to the most that was seen."""
    knots = [fewest]
    while knots[-1] * 2 < reached:
        knots.append(knots[-1] * 2)
    return [*knots, reached] if reached > knots[-1] else knots


def _slowdown(shares: JobShares, knots: list[int]) -> tuple[SlowdownPoint, ...]:
    """Return the factors at the knots, with 95 % intervals by the jackknife over ten sections of the run.

    (Miller 1974, Biometrika 61, p. 1, section 2: Student's t with one degree of freedom less than sections.)
    """
    if len(knots) < 2:
        return ()
    step = -(-len(shares.execution_s) // _MAX_FITTED_JOBS)
    with_others_s = shares.with_others_s[::step]
    whole = _fit(with_others_s, knots)
    section = np.arange(len(with_others_s)) * _SECTIONS // len(with_others_s)
    pseudo = np.array(
        [
            _SECTIONS * whole - (_SECTIONS - 1) * _fit(with_others_s[section != each], knots)
            for each in range(_SECTIONS)
        ]
    )
    reach = special.stdtrit(_SECTIONS - 1, 0.975) * pseudo.std(axis=0, ddof=1) / np.sqrt(_SECTIONS)
    rest = [
        SlowdownPoint(knot, Estimate(*np.exp([value, value - each, value + each]).tolist()))
        for knot, value, each in zip(knots[1:], whole, reach, strict=True)
    ]
    return (SlowdownPoint(knots[0], Estimate(1.0, 1.0, 1.0)), *rest)


def _fit(with_others_s: Floats, knots: list[int]) -> Floats:
    """Return the logarithms of the factors at all knots but the first, by least squares on the logarithm of work."""
    numbers = np.arange(1, with_others_s.shape[1] + 1)

    def residuals(logs: Floats) -> Floats:
        factors = np.interp(numbers, knots, np.exp(np.concatenate([[0.0], logs])))
        work = np.log(with_others_s @ (1 / factors))
        centred: Floats = work - work.mean()
        return centred

    start = np.zeros(len(knots) - 1)
    fitted: Floats = optimize.least_squares(
        residuals, start, method="lm" if len(start) < len(with_others_s) else "trf"
    ).x
    return fitted
