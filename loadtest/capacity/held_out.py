"""A prediction held against a run that it has not seen: from that run's scenario alone, what would it have measured?

The scenario's own schedule, drawn from other seeds, meets the endpoint's model with the scenario's workers. Each
replica is as long as the run and begins as it did, so that they differ as such runs differ from each other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np

from loadtest.analyze.jobs import Floats, Jobs, LoadWindow
from loadtest.analyze.worker_seconds import WorkersUp
from loadtest.capacity.predict import percentile
from loadtest.capacity.setting import Setting, Times, Workload, endpoint_settings, measured, revival
from loadtest.capacity.simulate import carried_out, paid_s, up_at
from loadtest.capacity.values import Each, Estimate
from loadtest.endpoint.settings import Measured
from loadtest.endpoint.spread import draws
from loadtest.endpoint.workers import Worker
from loadtest.scenario.model import Scenario
from loadtest.traffic.arrivals import schedule
from loadtest.traffic.settings import OpenLoad

LEAST_JOBS = 72
"""From so many on an interval around a p95 is known at all."""
MOST_REPLICAS = 199
_STEP = 40
"""One in so many lies outside on either side, so that the interval stands between replicas."""
_ENOUGH_JOBS = 1_000_000
_NOT_IN_TIME = 0.01
_SEEDS = 1 << 42
"""Apart from the seeds of runs, whose arrivals are not to be known."""


class Figure(msgspec.Struct, frozen=True):
    """One figure of a run. `predicted` has the interval in which it lies for 95 % of such runs, by the replicas.

    `error` is predicted over measured, less one; null where nothing, or 0, was measured. `inside` tells whether
    what was measured lies in the interval.
    """

    name: str
    predicted: Estimate
    measured: float | None
    error: float | None
    inside: bool | None


class PredictionCheck(msgspec.Struct, frozen=True):
    """A run that was held out, and what was predicted of it.

    `figures` are `delay_p50_ms` and `delay_p95_ms` of the jobs that completed, `throughput_per_s` (completed while
    load was offered) and `worker_s`, worker-seconds from start to stop in that time, by what health tells.
    """

    run: str
    scenario: str
    setting: Setting
    duration_s: float
    jobs: int
    replicas: int
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeldOut:
    """A run as it was measured. `setting` is what its scenario says of the workers, or what was said instead.

    `workers` are those that health told of, null where it told too little; `doubts` are sentences that are handed on.
    """

    name: str
    scenario: Scenario
    setting: Setting
    jobs: Jobs
    window: LoadWindow
    complete: bool
    workers: WorkersUp | None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Rehearsed:
    """All that is known of a run before it is run."""

    workload: Workload
    setting: Setting
    load: OpenLoad
    patience_s: float
    drain_s: float
    asked_at_s: Floats | None


@dataclass(frozen=True)
class _Replica:
    """The figures of one draw of a run; `late` is the share of its jobs that end after patience or drain have."""

    p50_ms: float
    p95_ms: float
    per_s: float
    worker_s: float
    late: float


def check(
    workload: Workload, run: HeldOut, seed: int = 1, replicas: int = MOST_REPLICAS, each: Each = map
) -> PredictionCheck:
    """What was predicted of a run, and what it measured.

    At most so many replicas, fewer where they hold many jobs, 39 at least; `each` goes through them. The interval
    is that in which one more of R draws lies with 95 % probability: order statistics k and R + 1 − k with
    k = (R + 1) / 40 (David and Nagaraja, Order Statistics, 3rd ed. 2003, section 7.3). ValueError where the run
    cannot be predicted, or is too short to be held against.
    """
    load = run.scenario.load
    if not isinstance(load, OpenLoad):
        raise ValueError(
            "its users wait for answers, so that its arrivals depend on what is to be predicted (closed model); "
            "name a run of an open load"
        )
    if not run.complete:
        raise ValueError("it ended before its scenario did; name a run that is complete")
    delay_ms = run.jobs.delay_ms[run.jobs.completed]
    delay_ms = delay_ms[~np.isnan(delay_ms)]
    if len(delay_ms) < LEAST_JOBS:
        raise ValueError(
            f"{len(delay_ms)} jobs completed with a delay, a p95 needs {LEAST_JOBS}; name a run of more jobs"
        )
    if workload.cold_start is None and not run.setting.fixed:
        raise ValueError(
            "its workers start on demand, and no cold start was seen in the runs to calibrate from; add one of "
            "a scenario such as scenarios/capacity.yaml"
        )
    rehearsed = _Rehearsed(
        workload=_as_in(workload, run.scenario),
        setting=run.setting,
        load=load,
        patience_s=run.scenario.patience,
        drain_s=run.scenario.drain.within,
        asked_at_s=None if run.workers is None else run.workers.at_s,
    )
    count = _replicas(len(run.jobs), replicas)
    drawn = list(each(partial(_replica, rehearsed, seed), range(count)))
    done = run.window.count(run.jobs.finished_at[run.jobs.completed])
    return PredictionCheck(
        run=run.name,
        scenario=run.scenario.name,
        setting=run.setting,
        duration_s=run.window.duration_s,
        jobs=len(delay_ms),
        replicas=count,
        figures=(
            _figure("delay_p50_ms", [one.p50_ms for one in drawn], percentile(delay_ms, 500)),
            _figure("delay_p95_ms", [one.p95_ms for one in drawn], percentile(delay_ms, 950)),
            _figure("throughput_per_s", [one.per_s for one in drawn], run.window.per_second(done)),
            _figure(
                "worker_s", [one.worker_s for one in drawn], None if run.workers is None else run.workers.worker_s
            ),
        ),
        notes=(*run.doubts, *_notes(run, drawn)),
    )


def _replicas(jobs: int, most: int) -> int:
    wanted = min(most, _ENOUGH_JOBS // max(1, jobs))
    return max(1, (wanted + 1) // _STEP) * _STEP - 1


def _as_in(workload: Workload, scenario: Scenario) -> Workload:
    """The work with what is a setting of the scenario's own endpoint: its simulated workers' pause, its revivals."""
    if scenario.target == "embedded":
        workload = dataclasses.replace(workload, take_pause=scenario.endpoint.take_pause)
    if not scenario.scaled_here or workload.revival is None:
        return workload
    known = scenario.endpoint.revival
    revived = None if known is None else revival(workload.revival.takes, known.within)
    return dataclasses.replace(workload, revival=revived)


def _replica(run: _Rehearsed, seed: int, number: int) -> _Replica:
    arrivals, model, extra = np.random.SeedSequence([_SEEDS, seed, number]).generate_state(3).tolist()
    rng = np.random.default_rng(extra)
    load, workload = run.load, _resampled(run.workload, rng)
    at_s = schedule(load, {"run": 1.0}, arrivals).at_s
    if len(at_s) == 0:
        return _Replica(0.0, 0.0, 0.0, run.setting.active * load.duration_s, 0.0)
    jobs, workers = carried_out(endpoint_settings(workload, run.setting), at_s, model, load.duration_s)
    n = len(jobs)
    delay_s = np.fromiter((math.nan if job.taken_at is None else job.taken_at for job in jobs), float, n) - at_s
    delay_s += draws(workload.dispatch, n, rng)
    execution_s = np.fromiter((job.service_s for job in jobs), float, n)
    ended_s = at_s + delay_s + execution_s + draws(workload.overhead, n, rng)
    completes = ~np.fromiter((job.fails for job in jobs), bool, n)
    in_time = ended_s <= np.minimum(at_s + run.patience_s, load.duration_s + run.drain_s)
    told = completes & in_time
    delay_ms = np.round((delay_s[told] if told.any() else delay_s) * 1000)
    return _Replica(
        p50_ms=percentile(delay_ms, 500),
        p95_ms=percentile(delay_ms, 950),
        per_s=float(np.count_nonzero(completes & (ended_s <= load.duration_s))) / load.duration_s,
        worker_s=_worker_s(run, workers),
        late=float(1 - np.mean(in_time)),
    )


def _worker_s(run: _Rehearsed, workers: Sequence[Worker]) -> float:
    """As the run's health would have told it, where it was asked: so the interval has the error of that, too."""
    if run.asked_at_s is None:
        return paid_s(workers, 0.0, run.load.duration_s)[0]
    return WorkersUp(run.asked_at_s, up_at(workers, run.asked_at_s), run.load.duration_s).worker_s


def _resampled(workload: Workload, rng: np.random.Generator) -> Workload:
    """The same with each of its times drawn anew from those that were measured, as many of them (bootstrap).

    So what few jobs or starts do not know well shows in the interval.
    """

    def anew(times: Times) -> Times:
        return measured(rng.choice(times.values, len(times.values))) if isinstance(times, Measured) else times

    return dataclasses.replace(
        workload,
        service=anew(workload.service),
        cold_start=None if workload.cold_start is None else anew(workload.cold_start),
        revival=None if workload.revival is None else revival(anew(workload.revival.takes), workload.revival.within),
    )


def _figure(name: str, drawn: Sequence[float], seen: float | None) -> Figure:
    ordered = np.sort(drawn)
    outside = (len(ordered) + 1) // _STEP
    predicted = Estimate(float(np.mean(ordered)), float(ordered[outside - 1]), float(ordered[-outside]))
    if seen is None:
        return Figure(name, predicted, None, None, None)
    error = predicted.value / seen - 1 if seen else None
    return Figure(name, predicted, seen, error, predicted.low <= seen <= predicted.high)


def _notes(run: HeldOut, drawn: Sequence[_Replica]) -> list[str]:
    notes = []
    late = float(np.mean([one.late for one in drawn]))
    if late > _NOT_IN_TIME:
        notes.append(
            f"{late:.0%} of the simulated jobs end after patience or drain have; the simulation leaves them in "
            "the queue, where the run gave them up."
        )
    if run.workers is None:
        notes.append("Its health was asked too seldom to tell how long workers were up.")
    return notes
