"""Whether more busy workers slow each other down: the scalability law through the points of several runs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from loadtest.analyze.jobs import JobColumns
from loadtest.analyze.littles_law import arrival_times
from loadtest.capacity.calibration.usl import MIN_POINTS, Usl, fit_usl

MIN_DIFFERENT = MIN_POINTS - 1
"""The number of different worker counts that the points must cover."""


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
