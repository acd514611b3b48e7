"""Replications: long simulated intervals of one setting at one rate, without the time in which the queue settles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.arrays import Floats, Mask
from loadtest.capacity.simulation.arrivals import Profile, arrivals_at, gap_variation, parts_of
from loadtest.capacity.simulation.resampling import Vary
from loadtest.capacity.simulation.simulated_run import COLD, COMPLETED, TIMED_OUT, simulate_run
from loadtest.capacity.simulation.workload import (
    WorkerConfig,
    Workload,
    longest_s,
    occupied_s,
    variation,
)
from loadtest.endpoint.distributions import sample

WARM_UP = 0.25
"""The first part of each replication's time, which is left out: it begins with an empty queue and no flex worker."""
_SETTLING = 4
"""The length of a replication, in starts, idle times and thresholds of a flex worker; the first is the warm-up."""
_NO_THRESHOLD_S = 4.0  # the threshold to calculate with if the scaler has none: the default queue delay
_RELAXATIONS = 16
"""A replication is this many times as long as the queue takes to forget how it began; four of them are warm-up."""
_MAX_JOBS = 100_000
_SEED_OF_MODEL, _SEED_OF_OVERHEAD = 1 << 40, 1 << 41
"""Different from the seeds of arrivals, so that gaps and execution times never come from one stream."""


@dataclass(frozen=True)
class Replication:
    """One simulated interval after its warm-up. Columns: its jobs in the order of arrival, times in seconds.

    `busy_s`, `up_s`, `billed_s` and `initializing_s` are worker-seconds within `window_s`: occupied by a job or by a
    pause, from start to stop, billed, and starting, which is part of both of these. Each of several jobs at once
    counts for its share of the worker; tries that ended with their worker do not count as busy. `stops` is whether
    any worker stopped, in the warm-up or later. `outcome` is as in `simulated_run`.
    """

    wait_s: Floats
    dispatch_s: Floats
    service_s: Floats
    overhead_s: Floats
    start: NDArray[np.int8]
    outcome: NDArray[np.int8]
    window_s: float
    busy_s: float
    up_s: float
    billed_s: float
    initializing_s: float = 0.0
    stops: bool = False

    def __len__(self) -> int:
        return len(self.wait_s)

    @property
    def completed(self) -> Mask:
        """Return the mask of the jobs that completed."""
        mask: Mask = self.outcome == COMPLETED
        return mask

    @property
    def failed(self) -> Mask:
        """Return the mask of the jobs that did not complete."""
        return ~self.completed

    @property
    def timed_out(self) -> Mask:
        """Return the mask of the jobs that a deadline ended."""
        mask: Mask = self.outcome >= TIMED_OUT
        return mask

    @property
    def delay_s(self) -> Floats:
        """Return the wait for a worker plus the time that even an idle worker takes to begin.

        Of a job that expired in the queue it is the time until then.
        """
        return self.wait_s + self.dispatch_s

    @property
    def end_to_end_s(self) -> Floats:
        """Return the time from the intended start to the end as a client sees it; infinite if a job never completes.

        A gate counts it so.
        """
        ended_s = self.delay_s + self.service_s + self.overhead_s
        return np.where(self.completed, ended_s, np.inf) if self.outcome.any() else ended_s

    @property
    def cold(self) -> Mask:
        """Return the mask of jobs with a cold start."""
        mask: Mask = self.start == COLD
        return mask


def replication(
    workload: Workload, setting: WorkerConfig, rate_per_s: float, jobs: int, seed: int, vary: Vary | None = None
) -> Replication:
    """Simulate about `jobs` jobs at this rate; the draws depend on the seed, not on setting or rate.

    Of a profile, each different share is one interval, as long as all its parts together, and the day is all
    intervals. `vary` changes the workload to what another calibration might have found; arrivals and draws stay the
    same.
    """
    jobs = jobs_for_steady_state(workload, setting, rate_per_s, jobs)
    if vary is not None:
        workload = vary(workload, seed)
    if isinstance(workload.arrivals, Profile):
        return _simulate_day(workload, workload.arrivals, setting, rate_per_s, jobs, seed)
    at_s = arrivals_at(workload.arrivals, rate_per_s, jobs, seed)
    return _simulate_interval(workload, setting, at_s, float(at_s[-1]), seed)


def _simulate_day(
    workload: Workload, profile: Profile, setting: WorkerConfig, rate_per_s: float, jobs: int, seed: int
) -> Replication:
    intervals = []
    for index, (share, weight) in enumerate(profile.parts):
        drawn = int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
        length_s = jobs / rate_per_s * weight
        at_s = np.empty(0)
        if share > 0:
            at_s = arrivals_at("poisson", rate_per_s * share, math.ceil(jobs * share * weight), drawn)
        intervals.append(_simulate_interval(workload, setting, at_s[at_s <= length_s], length_s, drawn))

    columns = ("wait_s", "dispatch_s", "service_s", "overhead_s", "start", "outcome")
    sums = ("window_s", "busy_s", "up_s", "billed_s", "initializing_s")
    joined: dict[str, Any] = {name: np.concatenate([getattr(each, name) for each in intervals]) for name in columns}
    return Replication(
        **joined,
        **{name: sum(getattr(each, name) for each in intervals) for name in sums},
        stops=any(each.stops for each in intervals),
    )


def _simulate_interval(
    workload: Workload, setting: WorkerConfig, at_s: Floats, end_at: float, seed: int
) -> Replication:
    """Simulate jobs that arrive at these times, none later than `end_at`, the end of the window."""
    start_at = WARM_UP * end_at
    run = simulate_run(workload, setting, at_s, _SEED_OF_MODEL + seed, end_at)
    occupied = occupied_s(workload.take_pause, run.execution_s)
    up_s, billed_s = run.up.up_and_billed_s(start_at, end_at)
    taken_at, n = run.taken_at, len(at_s)
    busy_s = np.clip(taken_at + occupied, start_at, end_at) - np.clip(taken_at, start_at, end_at)
    inside = at_s >= start_at
    extra = np.random.default_rng(_SEED_OF_OVERHEAD + seed)
    dispatch_s, overhead_s = sample(workload.dispatch, n, extra), sample(workload.overhead, n, extra)
    return Replication(
        wait_s=(taken_at - at_s)[inside],
        dispatch_s=dispatch_s[inside],
        service_s=run.execution_s[inside],
        overhead_s=overhead_s[inside],
        start=run.start[inside],
        outcome=run.outcome[inside],
        window_s=end_at - start_at,
        busy_s=float(busy_s.sum()) / workload.concurrency,
        up_s=up_s,
        billed_s=billed_s,
        initializing_s=run.up.initializing_s(start_at, end_at),
        stops=run.up.any_stop,
    )


def jobs_for_steady_state(workload: Workload, setting: WorkerConfig, rate_per_s: float, jobs: int) -> int:
    """Return `jobs`, or as many more as the queue and flex workers need to settle, but at most 100,000 of these."""
    return max(jobs, math.ceil(min(_MAX_JOBS, _steady_state_jobs(workload, setting, rate_per_s))))


def can_reach_steady_state(workload: Workload, setting: WorkerConfig, rate_per_s: float) -> bool:
    """Return whether a replication is long enough; above about 98 % busy it is not, and its figures are too good."""
    return _relaxation_jobs(workload, setting, rate_per_s) * _RELAXATIONS <= _MAX_JOBS


def _steady_state_jobs(workload: Workload, setting: WorkerConfig, rate_per_s: float) -> float:
    queue_jobs = _relaxation_jobs(workload, setting, rate_per_s) * _RELAXATIONS
    if setting.fixed or workload.cold_start is None:
        return queue_jobs
    threshold_s = setting.scaler.threshold_s
    waited_s = _NO_THRESHOLD_S if threshold_s is None else threshold_s
    cycle_s = longest_s(workload.cold_start) + setting.idle_timeout_s + waited_s
    smallest = min(weight for _, weight in parts_of(workload.arrivals))
    return max(queue_jobs, _SETTLING * cycle_s * rate_per_s / smallest)


def _relaxation_jobs(workload: Workload, setting: WorkerConfig, rate_per_s: float) -> float:
    """Return how many jobs arrive while a queue forgets its start: ρ / (1 − √ρ)², times (Ca² + Cs²) / 2.

    The first factor is λ times the relaxation time of M/M/c, 1 / (cμ (1 − √ρ)²) (Odoni and Roth 1983, Operations
    Research 31, p. 432, who give the second factor for other queues). Infinite if the queue never settles. Of a
    profile, the jobs of a whole day in which each part is long enough.
    """
    mean_busy = rate_per_s * workload.load_s / setting.max_workers
    longest = 0.0
    for share, weight in parts_of(workload.arrivals):
        if mean_busy * share >= 1:
            return math.inf
        longest = max(longest, mean_busy / (1 - math.sqrt(mean_busy * share)) ** 2 / weight)
    spread = (gap_variation(workload.arrivals) ** 2 + variation(workload.occupancy) ** 2) / 2
    return longest * max(0.5, spread)
