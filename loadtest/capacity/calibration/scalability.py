"""Whether more busy workers slow each other down: the Universal Scalability Law through the points of several runs.

X(N) = λ N / (1 + α (N − 1) + β N (N − 1)): λ is the throughput of one, α the serial share (contention), β the cost of
agreement between each two (coherency). (Gunther, Guerrilla Capacity Planning, 2007, chapters 5 and 6.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from scipy import optimize, special

from loadtest.analyze.jobs import JobColumns
from loadtest.analyze.littles_law import arrival_times
from loadtest.arrays import Floats
from loadtest.capacity.estimates import Estimate

MIN_POINTS = 4  # three parameters fit any three points exactly, which leaves no estimate of the error
_MAX_EXTRAPOLATION = 10
MIN_DIFFERENT = MIN_POINTS - 1  # the number of different worker counts that the points must cover


class Usl(msgspec.Struct, frozen=True):
    """A fitted law; `at_one` (λ) per second, `alpha`, `beta` with their 95 % intervals, cut at 0.

    `peak_n` is the load of the greatest throughput and `peak` that throughput. Both are null without evidence of a
    turn: β may be 0, or the peak lies beyond ten times the greatest measured load.
    """

    at_one: Estimate
    alpha: Estimate
    beta: Estimate
    peak_n: float | None
    peak: float | None


def throughput(n: Floats, at_one: float, alpha: float, beta: float) -> Floats:
    """Return X(N) of the law."""
    value: Floats = at_one * n / (1 + alpha * (n - 1) + beta * n * (n - 1))
    return value


def fit_usl(points: Sequence[tuple[float, float]]) -> Usl:
    """Fit the law to points (N, throughput) by least squares, with α and β at least 0.

    Intervals: value ± t · standard error from the curvature at the fit, n − 3 degrees of freedom. Raises ValueError
    for fewer than four points, or fewer than three different loads.
    """
    n, x = np.array(points, dtype=np.float64).reshape(-1, 2).T
    if len(n) < MIN_POINTS:
        raise ValueError(f"the scalability law needs {MIN_POINTS} points, {len(n)} are there; measure more loads")
    if len(np.unique(n)) < MIN_POINTS - 1:
        raise ValueError("the scalability law needs three different loads; measure more of them")
    start = (float((x / n).max()), 0.01, 1e-4)
    fitted, covariance = optimize.curve_fit(throughput, n, x, p0=start, bounds=(0, np.inf), x_scale=start)
    reach = special.stdtrit(len(n) - 3, 0.975) * np.sqrt(np.diag(covariance))
    estimates = [
        Estimate(float(value), max(0.0, float(value - each)), float(value + each))
        for value, each in zip(fitted, reach, strict=True)
    ]
    at_one, alpha, beta = (float(value) for value in fitted)
    turns = estimates[2].low > 0 and alpha < 1 and (1 - alpha) / beta < (_MAX_EXTRAPOLATION * float(n.max())) ** 2
    peak_n = math.sqrt((1 - alpha) / beta) if turns else None
    peak = None if peak_n is None else float(throughput(np.array([peak_n]), at_one, alpha, beta)[0])
    return Usl(estimates[0], estimates[1], estimates[2], peak_n, peak)


class Point(msgspec.Struct, frozen=True):
    """One run while its jobs arrived: the mean number of busy workers, and jobs done per second."""

    run: str
    busy_workers: float
    done_per_s: float


class Scalability(msgspec.Struct, frozen=True):
    """The points of all runs and the law through them; if it is null, `missing` names the runs to add."""

    points: tuple[Point, ...] = ()
    law: Usl | None = None
    missing: str = ""


def point(name: str, jobs: JobColumns) -> Point | None:
    """Return a run's point; None if no job has an execution time, or if all arrived at one moment.

    Busy workers are execution time over time (Little's law). So the point is right whether or not all workers were
    busy, and throughput falls behind only if executions take longer.
    """
    began_at = arrival_times(jobs) + jobs.delay_ms / 1000
    ended_at = began_at + jobs.execution_ms / 1000
    known = ~np.isnan(ended_at)
    if not known.any():
        return None
    start_at, end_at = float(jobs.intended_at[known].min()), float(jobs.intended_at[known].max())
    if end_at == start_at:
        return None
    began_at, ended_at = began_at[known], ended_at[known]
    busy_s = np.clip(ended_at, start_at, end_at) - np.clip(began_at, start_at, end_at)
    span_s = end_at - start_at
    done = np.count_nonzero((ended_at >= start_at) & (ended_at <= end_at))
    return Point(name, float(busy_s.sum()) / span_s, float(done) / span_s)


def scalability(points: Sequence[Point]) -> Scalability:
    """Return the law through these points; worker counts differ if they differ as whole numbers."""
    different = len({max(1, round(each.busy_workers)) for each in points})
    if len(points) < MIN_POINTS or different < MIN_DIFFERENT:
        missing = (
            f"{MIN_POINTS} runs with {MIN_DIFFERENT} different numbers of workers at work, here are "
            f"{len(points)} with {different}; run the scenario at other rates, and name all runs"
        )
        return Scalability(tuple(points), missing=missing)
    try:
        law = fit_usl([(each.busy_workers, each.done_per_s) for each in points])
    except RuntimeError:  # raised by scipy if least squares do not converge
        return Scalability(tuple(points), missing="runs of the same jobs; no law fits these")
    return Scalability(tuple(points), law)
