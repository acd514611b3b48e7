"""Predictions for a setting at a rate: delays, utilisation, cost, each with the simulation's own interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from loadtest.arrays import Floats
from loadtest.capacity.estimates import Estimate, estimate_redrawn
from loadtest.capacity.queueing_formulas import offered_load
from loadtest.capacity.simulation.arrivals import peak
from loadtest.capacity.simulation.resampling import Vary
from loadtest.capacity.simulation.simulate import Replication, jobs_for_steady_state, replication
from loadtest.capacity.simulation.simulated_run import COLD, REVIVED
from loadtest.capacity.simulation.workload import WorkerConfig, Workload
from loadtest.units import nearest_rank

_MAX_JOBS = 2_000_000  # the number of jobs that is kept, in about 70 MB; the oldest replications are dropped first
_Key = tuple[Workload, WorkerConfig, float, int, int, Vary | None]


Join = Callable[[Sequence[float], Sequence[float]], Estimate]
"""From a figure of replications, and that of the same ones of other calibrations, to an estimate."""


class SimulationBudget(msgspec.Struct, frozen=True):
    """How much to simulate: independent replications of at least `jobs` jobs each, with the seeds from `seed` on."""

    replications: int = 10
    jobs: int = 10_000
    seed: int = 1


class PredictedTimes(msgspec.Struct, frozen=True):
    """The distribution of one time of all jobs, in milliseconds."""

    mean: Estimate
    p50: Estimate
    p90: Estimate
    p95: Estimate
    p99: Estimate


class Prediction(msgspec.Struct, frozen=True):
    """A setting at a rate. Intervals include the errors of simulation and calibration, not that of the model.

    If the offered load is as much as all workers can do, the queue never settles: `settles` is false, and all figures
    but the loads are null. `peak_load` is the load in the busiest part of a daily profile. `waits` is the share of
    jobs that do not meet an idle worker, `cold` and `revived` the shares that wait for a start, `failed` the share
    that does not complete, `timed_out` the part of these that a deadline ended. End-to-end times are of the jobs that
    complete. `utilisation` is the time for which workers are occupied, with a job or in the pause after a take, over
    worker-seconds from start to stop. `billed_workers` is worker-seconds billed per second, with those of
    `initializing_workers`, which are starting. Costs are in US dollars, null without a price; that of 1000 jobs is of
    1000 that complete, as in the report of a run.
    """

    setting: WorkerConfig
    rate_per_s: float
    offered_load: float
    settles: bool
    replications: int = 0
    jobs: int = 0
    delay_ms: PredictedTimes | None = None
    end_to_end_ms: PredictedTimes | None = None
    waits: Estimate | None = None
    cold: Estimate | None = None
    revived: Estimate | None = None
    utilisation: Estimate | None = None
    billed_workers: Estimate | None = None
    cost_per_hour: Estimate | None = None
    cost_per_1000_jobs: Estimate | None = None
    peak_load: float | None = None
    failed: Estimate | None = None
    timed_out: Estimate | None = None
    initializing_workers: Estimate | None = None


class ReplicationCache:
    """Replications, keyed by everything that they depend on."""

    def __init__(self) -> None:
        self._known: dict[_Key, tuple[float, Replication]] = {}
        self._jobs = 0

    def replication(
        self,
        workload: Workload,
        setting: WorkerConfig,
        rate_per_s: float,
        jobs: int,
        seed: int,
        vary: Vary | None = None,
    ) -> Replication:
        """Return the same as `simulate.replication`, from the cache or simulated now.

        If no worker stopped, none stops with a longer idle timeout either: with as many jobs, all is equal.
        """
        jobs = jobs_for_steady_state(workload, setting, rate_per_s, jobs)
        idle_s = setting.idle_timeout_s
        key = workload, msgspec.structs.replace(setting, idle_timeout_s=0.0), rate_per_s, jobs, seed, vary
        if key in self._known:
            known_idle_s, known = self._known[key]
            if idle_s == known_idle_s or (idle_s > known_idle_s and not known.stops):
                return known
        run = replication(workload, setting, rate_per_s, jobs, seed, vary)
        self._keep(key, idle_s, run)
        return run

    def _keep(self, key: _Key, idle_s: float, run: Replication) -> None:
        if key in self._known:
            self._jobs -= len(self._known.pop(key)[1])
        self._known[key] = idle_s, run
        self._jobs += len(run)
        while self._jobs > _MAX_JOBS:
            self._jobs -= len(self._known.pop(next(iter(self._known)))[1])


def settles(workload: Workload, setting: WorkerConfig, rate_per_s: float) -> bool:
    """Return whether all workers together can do more than is offered, at the peak of a profile."""
    return offered_load(rate_per_s * peak(workload.arrivals), workload.load_s) < setting.max_workers


def replications(
    workload: Workload,
    setting: WorkerConfig,
    rate_per_s: float,
    budget: SimulationBudget,
    cache: ReplicationCache | None = None,
    vary: Vary | None = None,
) -> list[Replication]:
    """Return independent replications, the n-th with equal draws for all settings; none if a queue never settles.

    With `vary`, each is of the workload as another calibration might have found it; none if it is exact.
    """
    if not settles(workload, setting, rate_per_s) or (vary is not None and workload.evidence is None):
        return []
    simulate = replication if cache is None else cache.replication
    return [
        simulate(workload, setting, rate_per_s, budget.jobs, budget.seed + number, vary)
        for number in range(budget.replications)
    ]


def predict(
    workload: Workload,
    setting: WorkerConfig,
    rate_per_s: float,
    runs: Sequence[Replication],
    price: float | None = None,
    redrawn: Sequence[Replication] = (),
    join: Join = estimate_redrawn,
) -> Prediction:
    """Return the prediction from replications, none if the queue never settles; `price` in US dollars per second.

    `redrawn` are the same replications of other calibrations, from which `join` takes the calibration's error;
    without them the intervals are the simulation's alone.
    """
    load = offered_load(rate_per_s, workload.load_s)
    highest = peak(workload.arrivals)
    peak_load = None if highest == 1 else load * highest
    if not runs:
        return Prediction(setting, rate_per_s, load, settles=False, peak_load=peak_load)

    def over(figure: Callable[[Replication], float], scale: float = 1.0) -> Estimate:
        values, others = ([figure(run) * scale for run in each] for each in (runs, redrawn))
        return join(values, others)

    def times(of: Callable[[Replication], Floats]) -> PredictedTimes:
        return _times([of(run) for run in runs], [of(run) for run in redrawn], join)

    completes = all(run.completed.any() for run in (*runs, *redrawn))
    return Prediction(
        setting=setting,
        rate_per_s=rate_per_s,
        offered_load=load,
        settles=True,
        replications=len(runs),
        jobs=sum(len(run) for run in runs),
        delay_ms=times(lambda run: run.delay_s),
        end_to_end_ms=times(lambda run: run.end_to_end_s[run.completed]) if completes else None,
        waits=over(lambda run: float(np.mean(run.wait_s > 0))),
        cold=over(lambda run: float(np.mean(run.start == COLD))),
        revived=over(lambda run: float(np.mean(run.start == REVIVED))),
        utilisation=over(lambda run: run.busy_s / run.up_s if run.up_s else 0.0),
        billed_workers=over(lambda run: run.billed_s / run.window_s),
        cost_per_hour=None if price is None else over(lambda run: run.billed_s / run.window_s, 3600 * price),
        cost_per_1000_jobs=None
        if price is None or not completes
        else over(lambda run: run.billed_s / np.count_nonzero(run.completed), 1000 * price),
        peak_load=peak_load,
        failed=over(lambda run: float(np.mean(run.failed))),
        timed_out=over(lambda run: float(np.mean(run.timed_out))),
        initializing_workers=over(lambda run: run.initializing_s / run.window_s),
    )


def percentile(values: Floats, per_mille: int) -> float:
    """Return the percentile by nearest rank, as in all reports."""
    index = nearest_rank(len(values), per_mille) - 1
    return float(np.partition(values, index)[index])


def _times(runs_s: Sequence[Floats], redrawn_s: Sequence[Floats], join: Join) -> PredictedTimes:
    ordered, again = ([np.sort(times_s) * 1000 for times_s in each] for each in (runs_s, redrawn_s))

    def over(figure: Callable[[Floats], float]) -> Estimate:
        return join([figure(times_ms) for times_ms in ordered], [figure(times_ms) for times_ms in again])

    def at(per_mille: int) -> Estimate:
        return over(lambda times_ms: float(times_ms[nearest_rank(len(times_ms), per_mille) - 1]))

    return PredictedTimes(over(lambda times_ms: float(times_ms.mean())), at(500), at(900), at(950), at(990))
