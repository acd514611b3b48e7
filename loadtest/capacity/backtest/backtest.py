"""A backtest: the figures of a run predicted from its scenario alone, compared with its measurements.

The scenario's own schedule, drawn from other seeds, meets the endpoint's model with the scenario's workers. Each
replica is as long as the run and begins like it, so that replicas differ as such runs differ from each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np

from loadtest.analyze.jobs import JobColumns, LoadWindow
from loadtest.analyze.workers import WorkerUptime
from loadtest.arrays import Floats
from loadtest.capacity.backtest.attribution import Cause, main_cause, substitutions
from loadtest.capacity.backtest.replica import FIGURES, Replica, RunModel, simulate_replica, with_endpoint_settings
from loadtest.capacity.calibration.measurements import MeasuredRun
from loadtest.capacity.estimates import Estimate, MapFn
from loadtest.capacity.simulation.predict import percentile
from loadtest.capacity.simulation.workload import (
    UnsimulableError,
    WorkerConfig,
    Workload,
    endpoint_settings,
)
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import OpenLoad

MIN_JOBS = 72  # the number of jobs from which an interval around a p95 can be given
MAX_REPLICAS = 199
_REPLICAS_PER_TAIL = 40
"""One replica of this many lies outside on either side, so that the ends of the interval are replicas."""
_MAX_SIMULATED_JOBS = 1_000_000
_MAX_LATE_SHARE = 0.01
_MAX_ERROR = 0.05  # no cause is sought for a smaller error
_MISSED_SHARE, _MISSED_MS = 0.1, 20.0


class UnpredictableRunError(Exception):
    """A run that cannot be predicted, or not be compared with a prediction; the text says why, and what to do."""


class FigureCheck(msgspec.Struct, frozen=True, rename={"in_interval": "inside"}):
    """One figure of a run. `predicted` has the interval in which it lies for 95 % of such runs, by the replicas.

    `error` is predicted over measured, less one; null if nothing, or 0, was measured. `in_interval` is whether the
    measured figure lies in the interval.
    """

    name: str
    predicted: Estimate
    measured: float | None
    error: float | None
    in_interval: bool | None

    @property
    def missed(self) -> bool:
        """Return whether the measured figure is outside, and by more than a tenth, and 20 ms if it is a time."""
        if self.measured is None or self.in_interval:
            return False
        difference = abs(self.predicted.value - self.measured)
        return difference > max(_MISSED_SHARE * self.measured, _MISSED_MS if self.name.endswith("_ms") else 0.0)


class BacktestResult(msgspec.Struct, frozen=True):
    """A run and its predictions.

    `figures` are `delay_p50_ms` and `delay_p95_ms` of the jobs that completed, `throughput_per_s` (completed while
    load was offered) and `worker_s`, worker-seconds from start to stop in that time, by the health checks. `cause`
    explains the figure with the largest error; null if all errors are within a twentieth.
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

    @property
    def missed(self) -> tuple[str, ...]:
        """Return the names of the wrongly predicted figures."""
        return tuple(figure.name for figure in self.figures if figure.missed)


@dataclass(frozen=True)
class HeldOut:
    """A run as measured. `setting` are the workers of its scenario, or those given in their place.

    `workers` are those by the health checks, null if there were too few checks; `warnings` are sentences for the
    notes.
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
    workload: Workload,
    run: HeldOut,
    seed: int = 1,
    replicas: int = MAX_REPLICAS,
    map_fn: MapFn = map,
    own_arrivals: bool = False,
) -> BacktestResult:
    """Return the predicted figures of a run next to the measured ones; `own_arrivals` are the times of its own jobs.

    Simulates at most `replicas` replicas, fewer if they hold many jobs, but 39 at least; `map_fn` maps over them. The
    interval is that in which one more of R draws lies with 95 % probability: order statistics k and R + 1 − k with
    k = (R + 1) / 40 (David and Nagaraja, Order Statistics, 3rd ed. 2003, section 7.3). Raises UnpredictableRunError
    if the run cannot be predicted, or is too short to compare with.
    """
    workload = with_endpoint_settings(workload, run.scenario)
    load, delay_ms = _require_predictable(workload, run)
    model = RunModel(
        workload=workload,
        setting=run.setting,
        load=load,
        job_timeout_s=run.scenario.job_timeout,
        drain_s=run.scenario.drain.within,
        asked_at_s=None if run.workers is None else run.workers.at_s,
        at_s=_arrived_s(run) if own_arrivals else None,
    )
    drawn: list[Replica] = list(
        map_fn(partial(simulate_replica, model, seed), range(_replicas(len(run.jobs), replicas)))
    )
    observed = _observed(run, delay_ms)
    figures = tuple(_figure(name, [one.figures[name] for one in drawn], observed[name]) for name in FIGURES)
    return BacktestResult(
        run=run.name,
        scenario=run.scenario.name,
        setting=run.setting,
        duration_s=run.window.duration_s,
        jobs=len(delay_ms),
        replicas=len(drawn),
        figures=figures,
        notes=(*run.warnings, *_notes(run, drawn)),
        cause=_cause(model, run, figures, drawn, seed, map_fn),
    )


def _require_predictable(workload: Workload, run: HeldOut) -> tuple[OpenLoad, Floats]:
    """Return the run's load and the delays of its completed jobs; raises UnpredictableRunError otherwise."""
    load = run.scenario.load
    if not isinstance(load, OpenLoad):
        raise UnpredictableRunError(
            "its users wait for answers, so that its arrivals depend on what is to be predicted (closed model); "
            "name a run of an open load"
        )
    if not run.complete:
        raise UnpredictableRunError("it ended before its scenario did; name a run that is complete")
    delay_ms = run.jobs.delay_ms[run.jobs.completed]
    delay_ms = delay_ms[~np.isnan(delay_ms)]
    if len(delay_ms) < MIN_JOBS:
        raise UnpredictableRunError(
            f"{len(delay_ms)} jobs completed with a delay, a p95 needs {MIN_JOBS}; name a run of more jobs"
        )
    _require_simulable(workload, run.setting)
    return load, delay_ms


def _require_simulable(workload: Workload, setting: WorkerConfig) -> None:
    """Raise UnpredictableRunError if the workers start on demand and no start is known, or stop in their pause."""
    if workload.cold_start is None and not setting.fixed:
        raise UnpredictableRunError(
            "its workers start on demand, and no cold start was seen in the runs to calibrate from, or none by which "
            "its time is known; add one of a scenario such as scenarios/cold-start.yaml"
        )
    try:
        endpoint_settings(workload, setting)
    except UnsimulableError as error:
        raise UnpredictableRunError(str(error)) from None


def _observed(run: HeldOut, delay_ms: Floats) -> dict[str, float | None]:
    done = run.window.count(run.jobs.finished_at[run.jobs.completed])
    values = (
        percentile(delay_ms, 500),
        percentile(delay_ms, 950),
        run.window.per_second(done),
        None if run.workers is None else run.workers.worker_s,
    )
    return dict(zip(FIGURES, values, strict=True))


def _cause(
    model: RunModel, run: HeldOut, figures: Sequence[FigureCheck], drawn: Sequence[Replica], seed: int, map_fn: MapFn
) -> Cause | None:
    """Return why the figure with the largest error is off; one outside its interval comes before others."""
    wrong = [figure for figure in figures if figure.error is not None and abs(figure.error) > _MAX_ERROR]
    off = [figure for figure in wrong if not figure.in_interval] or wrong
    if not off:
        return None
    worst = max(off, key=lambda one: abs(one.error or 0.0))

    def predict_again(known: RunModel) -> float:
        return float(
            np.mean(
                [
                    one.figures[worst.name]
                    for one in map_fn(partial(simulate_replica, known, seed), range(_REPLICAS_PER_TAIL - 1))
                ]
            )
        )

    own = substitutions(
        model,
        MeasuredRun(run.name, run.scenario, run.jobs),
        _arrived_s(run),
        float(np.mean([one.jobs for one in drawn])),
    )
    return main_cause(worst.name, worst.predicted.value, worst.measured or 0.0, model, list(own), predict_again)


def _arrived_s(run: HeldOut) -> Floats:
    at_s: Floats = np.sort(run.jobs.intended_at) - run.window.start_at
    return at_s


def _replicas(jobs: int, at_most: int) -> int:
    wanted = min(at_most, _MAX_SIMULATED_JOBS // max(1, jobs))
    return max(1, (wanted + 1) // _REPLICAS_PER_TAIL) * _REPLICAS_PER_TAIL - 1


def _figure(name: str, drawn: Sequence[float], observed: float | None) -> FigureCheck:
    ordered = np.sort(drawn)
    outside = (len(ordered) + 1) // _REPLICAS_PER_TAIL
    predicted = Estimate(float(np.mean(ordered)), float(ordered[outside - 1]), float(ordered[-outside]))
    if observed is None:
        return FigureCheck(name, predicted, None, None, None)
    error = predicted.value / observed - 1 if observed else None
    return FigureCheck(name, predicted, observed, error, predicted.low <= observed <= predicted.high)


def _notes(run: HeldOut, drawn: Sequence[Replica]) -> list[str]:
    notes = []
    late = float(np.mean([one.late for one in drawn]))
    if late > _MAX_LATE_SHARE:
        notes.append(
            f"{late:.0%} of the simulated jobs end after the job timeout or the drain; the simulation leaves them in "
            "the queue, the run gave them up."
        )
    if run.workers is None:
        notes.append("Its health was checked too rarely to know how long workers were up.")
    return notes
