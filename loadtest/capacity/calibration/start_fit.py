"""The start time with which the simulation of a run has the delays that the run had."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import optimize

from loadtest.arrays import Floats
from loadtest.capacity.calibration.start_times import StartSource, StartTime
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.simulation.simulated_run import simulate_run
from loadtest.capacity.simulation.workload import WorkerConfig, Workload, constant
from loadtest.endpoint.distributions import Distribution, LogNormal

_MAX_JOBS = 1500
_SEARCH_REPLICAS, _REPLICAS = 3, 12
_LONGEST, _SHORTEST = 3.0, 0.03
"""The times to search between, as multiples of the longest delay of a job with a cold start."""
_SIGMAS = (0.0, 0.15, 0.3, 0.5, 0.8)
_STUDENT = 2.2  # t with 11 degrees of freedom, two-sided 95 %
_MAX_RELATIVE_ERROR = 0.5
_STEP = 1.2
_SEED = 1 << 43  # different from the seeds of predictions


@dataclass(frozen=True)
class _Figures:
    mean_ms: float
    p95_ms: float


@dataclass(frozen=True)
class _Delays:
    """Figures of simulated runs, one of each."""

    mean_ms: Floats
    p95_ms: Floats


@dataclass(frozen=True)
class RecordedDelays:
    """When a run's jobs arrived, in seconds from the start of its load, how long they waited, and how its workers
    start. `longest_ms` is the longest delay of a job with a cold start.
    """

    at_s: Floats
    delay_ms: Floats
    setting: WorkerConfig
    longest_ms: float
    n: int

    @property
    def figures(self) -> _Figures:
        """Return the mean and the p95 of the delays, to compare with simulated ones."""
        delay_ms = self.delay_ms[:_MAX_JOBS]
        delay_ms = delay_ms[~np.isnan(delay_ms)]
        return _Figures(float(delay_ms.mean()), float(np.quantile(delay_ms, 0.95)))


def agrees(run: RecordedDelays, workload: Workload, cold_start: Distribution) -> bool:
    """Return whether the run's delays have a mean and a p95 that its simulation has with these cold starts."""
    simulated = _simulate(run, replace(workload, cold_start=cold_start), _REPLICAS)
    pairs = (run.figures.mean_ms, simulated.mean_ms), (run.figures.p95_ms, simulated.p95_ms)
    return all(bool(abs(recorded - found.mean()) <= _reach_ms(found)) for recorded, found in pairs)


def fitted_start_time(run: RecordedDelays, workload: Workload) -> tuple[Distribution | None, StartTime]:
    """Return the log-normal start times with which the run's delays have the mean and p95 of those of its simulation.

    Of five widths, the one whose p95 is nearest is taken. The interval of the mean is where the mean delay of one
    such run may be the recorded one, by the replicas' spread over the slope. The time is not known if that is wider
    than half of it.
    """

    def simulate(start_s: float, sigma: float, replicas: int = _SEARCH_REPLICAS) -> _Delays:
        return _simulate(run, replace(workload, cold_start=_start(start_s, sigma)), replicas)

    def root(sigma: float) -> float | None:
        return _root(lambda at: _mean(simulate(at, sigma)) - run.figures.mean_ms, run.longest_ms / 1000)

    start_s = root(0.0)
    if start_s is None:
        return None, StartTime(why="no start time gives the simulated run the delays of the recorded one")
    sigma = _width(run, [(sigma, simulate(start_s, sigma)) for sigma in _SIGMAS])
    start_s = start_s if sigma == 0 else root(sigma) or start_s
    found, longer = simulate(start_s, sigma, _REPLICAS), simulate(start_s * _STEP, sigma, _REPLICAS)
    slope = (_mean(longer) - _mean(found)) / (start_s * (_STEP - 1))
    reach_s = _reach_ms(found.mean_ms) / slope if slope > 0 else np.inf
    start_s = max(0.0, start_s + (run.figures.mean_ms - _mean(found)) / slope) if slope > 0 else 0.0
    if reach_s > _MAX_RELATIVE_ERROR * start_s:
        return None, StartTime(why="the delays of the recorded run hardly depend on the start time")
    interval = Estimate(start_s * 1000, (start_s - reach_s) * 1000, (start_s + reach_s) * 1000)
    return _start(start_s, sigma), StartTime(interval, StartSource.FITTED, run.n)


def _start(mean_s: float, sigma: float) -> Distribution:
    if sigma == 0:
        return constant(mean_s)
    return LogNormal.model_construct(median=mean_s * float(np.exp(-(sigma**2) / 2)), sigma=sigma)


def _width(run: RecordedDelays, simulated: Sequence[tuple[float, _Delays]]) -> float:
    """Return the width whose p95, over the mean, is nearest to the recorded one."""
    recorded = run.figures.p95_ms / run.figures.mean_ms

    def error(delays: _Delays) -> float:
        return abs(float(delays.p95_ms.mean()) / _mean(delays) - recorded)

    return min(simulated, key=lambda each: error(each[1]))[0]


def _root(excess_ms: Callable[[float], float], longest_s: float) -> float | None:
    """Return where the excess is 0, to a percent; None if it does not change its sign."""
    low, high = np.log([_SHORTEST * longest_s, _LONGEST * longest_s])
    if excess_ms(float(np.exp(low))) > 0 or excess_ms(float(np.exp(high))) < 0:
        return None
    found: Any = optimize.brentq(lambda log: excess_ms(float(np.exp(log))), low, high, xtol=0.01)
    return float(np.exp(found))


def _mean(delays: _Delays) -> float:
    return float(delays.mean_ms.mean())


def _reach_ms(runs_ms: Floats) -> float:
    """Return how far this figure of one more such run may be from the mean of these."""
    return _STUDENT * float(runs_ms.std(ddof=1)) * math.sqrt(1 + 1 / len(runs_ms))


def _simulate(run: RecordedDelays, workload: Workload, replicas: int) -> _Delays:
    """Return the figures of each replica, with the run's own arrivals."""
    at_s, known = run.at_s[:_MAX_JOBS], ~np.isnan(run.delay_ms[:_MAX_JOBS])
    waits_s = (simulate_run(workload, run.setting, at_s, _SEED + seed).taken_at - at_s for seed in range(replicas))
    return _delays([each[known] * 1000 + workload.dispatch.mean_s() * 1000 for each in waits_s])


def _delays(runs_ms: Sequence[Floats]) -> _Delays:
    return _Delays(
        np.array([each.mean() for each in runs_ms]), np.array([np.quantile(each, 0.95) for each in runs_ms])
    )
