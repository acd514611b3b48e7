"""Workloads as another calibration of the same size might have found them, so that intervals include its error."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from loadtest.arrays import Floats
from loadtest.capacity.simulation.workload import Workload, measured, revival, scaled, variation
from loadtest.endpoint.distributions import Distribution, Empirical

_SEED = 1 << 43  # different from the seeds of arrivals, models and overheads
_PRIOR = 0.5
"""Added to a count of events, and to that of others: Jeffreys' prior."""
_FEWEST = 2
Vary = Callable[[Workload, int], Workload]
"""From a workload, and the seed of a replication, to the workload as another calibration might have found it."""
_PESSIMISM = 2.4
"""Standard errors; with ten replications `estimate_redrawn` allows for as many."""


def resampled(workload: Workload, seed: int) -> Workload:
    """Return the workload with all its measurements drawn again; the same if it has none.

    Times are drawn with replacement from those measured (bootstrap), one fewer than they are worth in independent
    ones: the mean of n − 1 of them varies as much as an unbiased estimate says that of n does. Shares come from their
    beta distribution, factors from a log-normal one, all of them up or down together.
    """
    evidence = workload.evidence
    if evidence is None:
        return workload
    rng = np.random.default_rng([_SEED, seed])
    service = _redrawn(workload.service, evidence.executions, rng)
    cold_start = workload.cold_start
    if cold_start is not None:
        factor = math.exp(workload.cold_start_error * rng.standard_normal()) if workload.cold_start_error else 1.0
        cold_start = scaled(_redrawn(cold_start, math.inf, rng), factor)
    revived = workload.revival
    if revived is not None:
        revived = revival(_redrawn(revived.duration, math.inf, rng), revived.within)
    dispatch = _redrawn(workload.dispatch, math.inf, rng)
    failed = workload.failure_rate * evidence.executions
    deviate = float(rng.standard_normal())
    factors = tuple(
        (jobs, factor * math.exp(deviate * error))
        for (jobs, factor), error in zip(workload.slowdown, evidence.slowdown, strict=True)
    )
    failure_rate = float(rng.beta(failed + _PRIOR, evidence.executions - failed + _PRIOR))
    crash_rate = float(rng.beta(evidence.crashes + _PRIOR, evidence.tries - evidence.crashes + _PRIOR))
    return dataclasses.replace(
        workload,
        service=service,
        cold_start=cold_start,
        revival=revived,
        dispatch=dispatch,
        slowdown=factors,
        failure_rate=failure_rate if workload.failure_rate else 0.0,
        crash_rate=crash_rate if evidence.crashes else workload.crash_rate,
        evidence=None,
    )


def pessimistic(workload: Workload, _: int = 0) -> Workload:
    """Return the workload with each measurement at the worse end of its interval; the same if it is exact."""
    return _pessimistic(workload)


@lru_cache(maxsize=8)
def _pessimistic(workload: Workload) -> Workload:
    evidence = workload.evidence
    if evidence is None:
        return workload
    cold_start, revived = workload.cold_start, workload.revival
    return dataclasses.replace(
        workload,
        service=_longer(workload.service, evidence.executions),
        cold_start=None
        if cold_start is None
        else scaled(_longer(cold_start, math.inf), math.exp(_PESSIMISM * workload.cold_start_error)),
        revival=None if revived is None else revival(_longer(revived.duration, math.inf), revived.within),
        dispatch=_longer(workload.dispatch, math.inf),
        slowdown=tuple(
            (jobs, factor * math.exp(_PESSIMISM * error))
            for (jobs, factor), error in zip(workload.slowdown, evidence.slowdown, strict=True)
        ),
        failure_rate=_more(workload.failure_rate, evidence.executions),
        crash_rate=_more(workload.crash_rate, evidence.tries),
        evidence=None,
    )


def _longer(times: Distribution, worth: float) -> Distribution:
    """Return times that are longer by as much as their mean may be."""
    if not isinstance(times, Empirical):
        return times
    count = max(_FEWEST, min(worth, len(times.values)))
    return measured(np.array(times.values) * math.exp(_PESSIMISM * variation(times) / math.sqrt(count - 1)))


def _more(share: float, trials: float) -> float:
    """Return the largest share that this number of trials allows; the same if it was not measured, or is 0."""
    if share == 0 or trials == 0:
        return share
    return min(1.0, share + _PESSIMISM * math.sqrt(share * (1 - share) / trials))


def _redrawn(times: Distribution, worth: float, rng: np.random.Generator) -> Distribution:
    """Return times drawn again, in order, so that equal random numbers draw about equal times of both."""
    if not isinstance(times, Empirical):
        return times
    count = max(_FEWEST, math.floor(min(worth, len(times.values))) - 1)
    values: Floats = np.sort(rng.choice(times.values, count))
    return measured(values)
