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

from loadtest.analyze.jobs import JobColumns, LoadWindow
from loadtest.analyze.worker_uptime import WorkerUptime
from loadtest.capacity.backtest.attribution import Cause, main_cause, substitutions
from loadtest.capacity.backtest.replica import FIGURES, Replica, RunModel, simulate_replica, with_endpoint_settings
from loadtest.capacity.calibration.calibrate import MeasuredRun
from loadtest.capacity.estimates import Estimate, MapFn
from loadtest.capacity.simulation.predict import percentile
from loadtest.capacity.simulation.workload import WorkerConfig, Workload
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import OpenLoad

MIN_JOBS = 72
"""From so many on an interval around a p95 is known at all."""
MAX_REPLICAS = 199
_STEP = 40
"""One in so many lies outside on either side, so that the interval stands between replicas."""
_ENOUGH_JOBS = 1_000_000
_NOT_IN_TIME = 0.01
_APART = 0.05
"""Of a smaller error no cause is told."""


class FigureCheck(msgspec.Struct, frozen=True, rename={"in_interval": "inside"}):
    """One figure of a run. `predicted` has the interval in which it lies for 95 % of such runs, by the replicas.

    `error` is predicted over measured, less one; null where nothing, or 0, was measured. `inside` tells whether
    what was measured lies in the interval.
    """

    name: str
    predicted: Estimate
    measured: float | None
    error: float | None
    in_interval: bool | None


class BacktestResult(msgspec.Struct, frozen=True):
    """A run that was held out, and what was predicted of it.

    `figures` are `delay_p50_ms` and `delay_p95_ms` of the jobs that completed, `throughput_per_s` (completed while
    load was offered) and `worker_s`, worker-seconds from start to stop in that time, by what health tells. `cause` is
    why the one furthest from what was measured is so; null where all are within a twentieth of it.
    """

    run: str
    scenario: str
    setting: WorkerConfig
    duration_s: float
    jobs: int
    replicas: int
    figures: tuple[FigureCheck, ...]
    notes: tuple[str, ...] = ()
    cause: Cause | None = None


@dataclass(frozen=True)
class HeldOut:
    """A run as it was measured. `setting` is what its scenario says of the workers, or what was said instead.

    `workers` are those that health told of, null where it told too little; `doubts` are sentences that are handed on.
    """

    name: str
    scenario: Scenario
    setting: WorkerConfig
    jobs: JobColumns
    window: LoadWindow
    complete: bool
    workers: WorkerUptime | None
    warnings: tuple[str, ...] = ()


def backtest(
    workload: Workload, run: HeldOut, seed: int = 1, replicas: int = MAX_REPLICAS, each: MapFn = map
) -> BacktestResult:
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
    if len(delay_ms) < MIN_JOBS:
        raise ValueError(
            f"{len(delay_ms)} jobs completed with a delay, a p95 needs {MIN_JOBS}; name a run of more jobs"
        )
    if workload.cold_start is None and not run.setting.fixed:
        raise ValueError(
            "its workers start on demand, and no cold start was seen in the runs to calibrate from; add one of "
            "a scenario such as scenarios/capacity.yaml"
        )
    model = RunModel(
        workload=with_endpoint_settings(workload, run.scenario),
        setting=run.setting,
        load=load,
        job_timeout_s=run.scenario.job_timeout,
        drain_s=run.scenario.drain.within,
        asked_at_s=None if run.workers is None else run.workers.at_s,
    )
    count = _replicas(len(run.jobs), replicas)
    drawn = list(each(partial(simulate_replica, model, seed), range(count)))
    done = run.window.count(run.jobs.finished_at[run.jobs.completed])
    observed = (
        percentile(delay_ms, 500),
        percentile(delay_ms, 950),
        run.window.per_second(done),
        None if run.workers is None else run.workers.worker_s,
    )
    figures = tuple(
        _figure(name, [one.figures[name] for one in drawn], value)
        for name, value in zip(FIGURES, observed, strict=True)
    )
    return BacktestResult(
        run=run.name,
        scenario=run.scenario.name,
        setting=run.setting,
        duration_s=run.window.duration_s,
        jobs=len(delay_ms),
        replicas=count,
        figures=figures,
        notes=(*run.warnings, *_notes(run, drawn)),
        cause=_cause(model, run, figures, drawn, seed, each),
    )


def _cause(
    model: RunModel, run: HeldOut, figures: Sequence[FigureCheck], drawn: Sequence[Replica], seed: int, each: MapFn
) -> Cause | None:
    """Why the figure is off that is furthest from what was measured; one outside its interval comes before others."""
    apart = [figure for figure in figures if figure.error is not None and abs(figure.error) > _APART]
    off = [figure for figure in apart if not figure.in_interval] or apart
    if not off:
        return None
    worst = max(off, key=lambda one: abs(one.error or 0.0))

    def again(known: RunModel) -> float:
        return float(
            np.mean(
                [one.figures[worst.name] for one in each(partial(simulate_replica, known, seed), range(_STEP - 1))]
            )
        )

    own = substitutions(
        model,
        MeasuredRun(run.name, run.scenario, run.jobs),
        np.sort(run.jobs.intended_at) - run.window.start_at,
        float(np.mean([one.jobs for one in drawn])),
    )
    return main_cause(worst.name, worst.predicted.value, worst.measured or 0.0, model, list(own), again)


def _replicas(jobs: int, most: int) -> int:
    wanted = min(most, _ENOUGH_JOBS // max(1, jobs))
    return max(1, (wanted + 1) // _STEP) * _STEP - 1


def _figure(name: str, drawn: Sequence[float], observed: float | None) -> FigureCheck:
    ordered = np.sort(drawn)
    outside = (len(ordered) + 1) // _STEP
    predicted = Estimate(float(np.mean(ordered)), float(ordered[outside - 1]), float(ordered[-outside]))
    if observed is None:
        return FigureCheck(name, predicted, None, None, None)
    error = predicted.value / observed - 1 if observed else None
    return FigureCheck(name, predicted, observed, error, predicted.low <= observed <= predicted.high)


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
