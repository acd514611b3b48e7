"""A prediction held against a run that it has not seen: from that run's scenario alone, what would it have measured?

The scenario's own schedule, drawn from other seeds, meets the endpoint's model with the scenario's workers. Each
replica is as long as the run and begins as it did, so that they differ as such runs differ from each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np

from loadtest.analyze.jobs import Jobs, LoadWindow
from loadtest.analyze.worker_seconds import WorkersUp
from loadtest.capacity.calibrate import MeasuredRun
from loadtest.capacity.causes import Cause, main_cause, own_of
from loadtest.capacity.predict import percentile
from loadtest.capacity.rehearsal import FIGURES, Rehearsed, Replica, as_in, replica
from loadtest.capacity.setting import Setting, Workload
from loadtest.capacity.values import Each, Estimate
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import OpenLoad

LEAST_JOBS = 72
"""From so many on an interval around a p95 is known at all."""
MOST_REPLICAS = 199
_STEP = 40
"""One in so many lies outside on either side, so that the interval stands between replicas."""
_ENOUGH_JOBS = 1_000_000
_NOT_IN_TIME = 0.01
_APART = 0.05
"""Of a smaller error no cause is told."""


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
    load was offered) and `worker_s`, worker-seconds from start to stop in that time, by what health tells. `cause` is
    why the one furthest from what was measured is so; null where all are within a twentieth of it.
    """

    run: str
    scenario: str
    setting: Setting
    duration_s: float
    jobs: int
    replicas: int
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
    cause: Cause | None = None


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
    rehearsed = Rehearsed(
        workload=as_in(workload, run.scenario),
        setting=run.setting,
        load=load,
        patience_s=run.scenario.patience,
        drain_s=run.scenario.drain.within,
        asked_at_s=None if run.workers is None else run.workers.at_s,
    )
    count = _replicas(len(run.jobs), replicas)
    drawn = list(each(partial(replica, rehearsed, seed), range(count)))
    done = run.window.count(run.jobs.finished_at[run.jobs.completed])
    seen = (
        percentile(delay_ms, 500),
        percentile(delay_ms, 950),
        run.window.per_second(done),
        None if run.workers is None else run.workers.worker_s,
    )
    figures = tuple(
        _figure(name, [one.figures[name] for one in drawn], value) for name, value in zip(FIGURES, seen, strict=True)
    )
    return PredictionCheck(
        run=run.name,
        scenario=run.scenario.name,
        setting=run.setting,
        duration_s=run.window.duration_s,
        jobs=len(delay_ms),
        replicas=count,
        figures=figures,
        notes=(*run.doubts, *_notes(run, drawn)),
        cause=_cause(rehearsed, run, figures, drawn, seed, each),
    )


def _cause(
    rehearsed: Rehearsed, run: HeldOut, figures: Sequence[Figure], drawn: Sequence[Replica], seed: int, each: Each
) -> Cause | None:
    """Why the figure is off that is furthest from what was measured; one outside its interval comes before others."""
    apart = [figure for figure in figures if figure.error is not None and abs(figure.error) > _APART]
    off = [figure for figure in apart if not figure.inside] or apart
    if not off:
        return None
    worst = max(off, key=lambda one: abs(one.error or 0.0))

    def again(known: Rehearsed) -> float:
        return float(
            np.mean([one.figures[worst.name] for one in each(partial(replica, known, seed), range(_STEP - 1))])
        )

    own = own_of(
        rehearsed,
        MeasuredRun(run.name, run.scenario, run.jobs),
        np.sort(run.jobs.intended_at) - run.window.start_at,
        float(np.mean([one.jobs for one in drawn])),
    )
    return main_cause(worst.name, worst.predicted.value, worst.measured or 0.0, rehearsed, list(own), again)


def _replicas(jobs: int, most: int) -> int:
    wanted = min(most, _ENOUGH_JOBS // max(1, jobs))
    return max(1, (wanted + 1) // _STEP) * _STEP - 1


def _figure(name: str, drawn: Sequence[float], seen: float | None) -> Figure:
    ordered = np.sort(drawn)
    outside = (len(ordered) + 1) // _STEP
    predicted = Estimate(float(np.mean(ordered)), float(ordered[outside - 1]), float(ordered[-outside]))
    if seen is None:
        return Figure(name, predicted, None, None, None)
    error = predicted.value / seen - 1 if seen else None
    return Figure(name, predicted, seen, error, predicted.low <= seen <= predicted.high)


def _notes(run: HeldOut, drawn: Sequence[Replica]) -> list[str]:
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
