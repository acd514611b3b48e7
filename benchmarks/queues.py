"""Queues whose true percentiles are known, many runs at once: what intervals, gates and comparisons are judged by.

They share no code with loadtest. Times are in milliseconds; a job's execution has a mean of `SERVICE_MS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from math import ceil, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import signal, special

Array = NDArray[np.float64]
SERVICE_MS = 100.0


@dataclass(frozen=True)
class System:
    """A queue with Poisson arrivals, or times without a queue.

    `workers` serve first come, first served; 0 means times that are drawn, exponential, and with an
    autocorrelation of about `load` between neighbours if `correlated`. `service_cv` is the coefficient of variation
    of a gamma distribution; 1 is exponential, 0 is constant. With a `log_sigma` service is lognormal instead. Jobs
    arrive in batches of `batch`.
    """

    name: str
    workers: int = 0
    service_cv: float = 1.0
    correlated: bool = False
    log_sigma: float = 0.0
    batch: int = 1

    def execution_ms(self, rng: np.random.Generator, size: tuple[int, int]) -> Array:
        """Return execution times with a mean of `SERVICE_MS`."""
        if self.log_sigma:
            return SERVICE_MS * rng.lognormal(-(self.log_sigma**2) / 2, self.log_sigma, size)
        if self.service_cv == 0:
            return np.full(size, SERVICE_MS)
        shape = 1 / self.service_cv**2
        return rng.gamma(shape, SERVICE_MS / shape, size)


SYSTEMS = (
    System("independent"),
    System("AR(1)", correlated=True),
    System("M/M/1", workers=1),
    System("M/M/8", workers=8),
    System("8 workers, CV 0.3", workers=8, service_cv=0.3),
)


UNSEEN = (
    System("M/D/1", workers=1, service_cv=0.0),
    System("3 workers, lognormal(1.5)", workers=3, log_sigma=1.5),
    System("4 workers, batches of 5", workers=4, batch=5),
)
"""Systems on which no constant of loadtest was chosen."""


@dataclass(frozen=True)
class Runs:
    """Arrays of runs x jobs; runs are independent, and stationary from their first job on unless they start empty."""

    arrival_ms: Array
    delay_ms: Array
    execution_ms: Array

    @property
    def end_to_end_ms(self) -> Array:
        """Return the times from arrival to end."""
        return self.delay_ms + self.execution_ms


def simulate(system: System, load: float, runs: int, jobs: int, seed: int, *, empty: bool = False) -> Runs:
    """Return `runs` runs of `jobs` jobs at a utilisation of `load`, above 1 only if queues start `empty`."""
    return _simulated(system, load, runs, jobs, seed, times=1, empty=empty)[0]


def simulate_pair(system: System, load: float, runs: int, jobs: int, seed: int) -> tuple[Runs, Runs]:
    """Return the runs twice, with the same arrivals; execution times, and times without a queue, are drawn again."""
    first, second = _simulated(system, load, runs, jobs, seed, times=2, empty=False)
    return first, second


def _simulated(system: System, load: float, runs: int, jobs: int, seed: int, times: int, empty: bool) -> list[Runs]:
    rng = np.random.default_rng([seed, (*SYSTEMS, *UNSEEN).index(system), round(load * 1000)])
    if system.workers == 0:
        return [_without_queue(system, load, runs, jobs, rng) for _ in range(times)]
    warm_up = 0 if empty else min(30_000, ceil(20 / (1 - load) ** 2))
    total = warm_up + jobs
    gap_ms = rng.exponential(SERVICE_MS * system.batch / (system.workers * load), (total, runs))
    gap_ms[np.arange(total) % system.batch > 0] = 0.0
    kept = slice(warm_up, None)
    arrival_ms = np.cumsum(gap_ms[kept], axis=0)
    found = []
    for _ in range(times):
        execution_ms = system.execution_ms(rng, (total, runs))
        delay_ms = _wait(gap_ms, execution_ms, system.workers)
        columns = (arrival_ms, delay_ms[kept], execution_ms[kept])
        found.append(Runs(*(np.ascontiguousarray(each.T) for each in columns)))
    return found


def _wait(gap_ms: Array, execution_ms: Array, workers: int) -> Array:
    """Return each job's wait, for arrays of jobs x runs (Kiefer and Wolfowitz 1955: work left at each worker)."""
    total, runs = gap_ms.shape
    left_ms = np.zeros((runs, workers))
    every = np.arange(runs)
    delay_ms = np.empty((total, runs))
    for job in range(total):
        left_ms -= gap_ms[job][:, None]
        np.maximum(left_ms, 0.0, out=left_ms)
        least = left_ms.argmin(axis=1)
        delay_ms[job] = left_ms[every, least]
        left_ms[every, least] += execution_ms[job]
    return delay_ms


def _without_queue(system: System, load: float, runs: int, jobs: int, rng: np.random.Generator) -> Runs:
    """Return exponential delays, by a Gaussian AR(1) turned into an exponential at each instant, if correlated."""
    if system.correlated:
        shocks = rng.standard_normal((runs, jobs)) * sqrt(1 - load**2)
        shocks[:, 0] /= sqrt(1 - load**2)
        normal = signal.lfilter([1.0], [1.0, -load], shocks, axis=1)
        delay_ms = -SERVICE_MS * special.log_ndtr(-normal)
    else:
        delay_ms = rng.exponential(SERVICE_MS, (runs, jobs))
    arrival_ms = np.cumsum(rng.exponential(SERVICE_MS, (runs, jobs)), axis=1)
    return Runs(arrival_ms, delay_ms, np.zeros((runs, jobs)))


@cache
def true_percentile_ms(system: System, load: float, quantity: str, p: float) -> float:
    """Return a percentile of `delay` or `end_to_end` (also a response's): exact for M/M/c delays and M/M/1, else
    from 600 long runs of their own seed."""
    if system.workers == 0:
        return -SERVICE_MS * log(1 - p)
    poisson = system.batch == 1 and system.service_cv == 1 and not system.log_sigma
    if poisson and quantity == "delay":
        waits = erlang_c(system.workers, system.workers * load)
        rate_per_ms = system.workers * (1 - load) / SERVICE_MS
        return max(0.0, log(waits / (1 - p)) / rate_per_ms)
    if poisson and system.workers == 1:
        return -SERVICE_MS / (1 - load) * log(1 - p)
    long = _long_runs(system, load)
    return float(np.quantile(long.delay_ms if quantity == "delay" else long.end_to_end_ms, p))


@lru_cache(maxsize=2)
def _long_runs(system: System, load: float) -> Runs:
    return simulate(system, load, 600, 20_000, seed=987_654)


def erlang_c(workers: int, offered: float) -> float:
    """Return the probability of waiting in M/M/c, by the recursion of Erlang's B."""
    blocked = 1.0
    for each in range(1, workers + 1):
        blocked = offered * blocked / (each + offered * blocked)
    return blocked / (1 - offered / workers * (1 - blocked))
