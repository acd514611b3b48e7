"""The start time with which the simulation of a run has the delays that the run had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from loadtest.arrays import Floats
from loadtest.capacity.calibration.start_times import StartSource, StartTime
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.simulation.simulated_run import simulate_run
from loadtest.capacity.simulation.workload import WorkerConfig, Workload, constant
from loadtest.endpoint.distributions import Distribution

_MAX_JOBS = 1500
_SEARCH_REPLICAS, _REPLICAS = 3, 12
_LONGEST, _SHORTEST = 3.0, 0.03
"""The times to search between, as multiples of the longest delay of a job with a cold start."""
_SIGMAS = 2.2  # Student's t with 11 degrees of freedom, two-sided 95 %
_MAX_RELATIVE_ERROR = 0.5
_STEP = 1.2
_SEED = 1 << 43  # different from the seeds of predictions


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


def agrees(run: RecordedDelays, workload: Workload, cold_start: Distribution) -> bool:
    """Return whether the mean delay of the run is one that its simulation has with these cold starts."""
    means_ms = _simulated_ms(run, replace(workload, cold_start=cold_start), _REPLICAS)
    return bool(abs(_recorded_ms(run) - means_ms.mean()) <= _reach_ms(means_ms))


def fitted_start_time(run: RecordedDelays, workload: Workload) -> StartTime:
    """Return the time of a start, the same for all, with which the run's mean delay is that of its simulation.

    Its interval is where the mean delay of one such run may be the recorded one, by the replicas' spread over the
    slope. The time is not known if that is wider than half of it.
    """
    recorded_ms = _recorded_ms(run)

    def mean_ms(start_s: float, replicas: int) -> Floats:
        return _simulated_ms(run, replace(workload, cold_start=constant(start_s)), replicas)

    start_s = _root(lambda at: float(mean_ms(at, _SEARCH_REPLICAS).mean()) - recorded_ms, run.longest_ms / 1000)
    if start_s is None:
        return StartTime(why="no start time gives the simulated run the delays of the recorded one")
    found, longer = mean_ms(start_s, _REPLICAS), mean_ms(start_s * _STEP, _REPLICAS)
    slope = float(longer.mean() - found.mean()) / (start_s * (_STEP - 1))
    if slope <= 0 or _reach_ms(found) / slope > _MAX_RELATIVE_ERROR * start_s:
        return StartTime(why="the delays of the recorded run hardly depend on the start time")
    start_s = max(0.0, start_s + (recorded_ms - float(found.mean())) / slope)
    reach_s = _reach_ms(found) / slope
    interval = Estimate(start_s * 1000, max(0.0, start_s - reach_s) * 1000, (start_s + reach_s) * 1000)
    return StartTime(interval, StartSource.FITTED, run.n)


def _root(excess_ms: Callable[[float], float], longest_s: float) -> float | None:
    """Return where the excess is 0, to a percent; None if it does not change its sign."""
    low, high = np.log([_SHORTEST * longest_s, _LONGEST * longest_s])
    if excess_ms(float(np.exp(low))) > 0 or excess_ms(float(np.exp(high))) < 0:
        return None
    return float(np.exp(float(optimize.brentq(lambda log: excess_ms(float(np.exp(log))), low, high, xtol=0.01))))


def _recorded_ms(run: RecordedDelays) -> float:
    return float(np.nanmean(run.delay_ms[:_MAX_JOBS]))


def _reach_ms(means_ms: Floats) -> float:
    """Return how far the mean delay of one more such run may be from the mean of these."""
    return _SIGMAS * float(means_ms.std(ddof=1)) * (1 + 1 / len(means_ms)) ** 0.5


def _simulated_ms(run: RecordedDelays, workload: Workload, replicas: int) -> Floats:
    """Return the mean delay of each replica, with the run's own arrivals."""
    at_s, known = run.at_s[:_MAX_JOBS], ~np.isnan(run.delay_ms[:_MAX_JOBS])
    dispatch_ms = workload.dispatch.mean_s() * 1000
    waits_s = (simulate_run(workload, run.setting, at_s, _SEED + seed).taken_at - at_s for seed in range(replicas))
    return np.array([float(np.mean(each[known])) * 1000 + dispatch_ms for each in waits_s])
