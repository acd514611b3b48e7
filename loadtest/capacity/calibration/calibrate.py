"""From recorded runs to the inputs of a simulation: executions, starts, overheads, and missing measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from loadtest.analyze.stats.effective_number import autocorrelations, effective_for_mean
from loadtest.analyze.stats.quantiles import quantiles
from loadtest.analyze.summary import Quantiles
from loadtest.arrays import Floats
from loadtest.capacity.calibration.concurrency import (
    Concurrency,
    concurrency_limit,
    estimate_concurrency,
    job_shares,
    joined,
)
from loadtest.capacity.calibration.crashes import Crashes, estimate_crashes
from loadtest.capacity.calibration.measurements import (
    MeasuredRun,
    Measurements,
    MissingMeasurement,
    measure,
    policy_of,
    subsample,
    together,
)
from loadtest.capacity.calibration.missing import assumptions, missing_times
from loadtest.capacity.calibration.scalability import Scalability, point, scalability
from loadtest.capacity.calibration.start_times import StartTime
from loadtest.capacity.calibration.starts import Starts, with_starts
from loadtest.capacity.calibration.take_pattern import NONE_SEEN, TakePattern, estimate_pattern, pattern_from_settings
from loadtest.capacity.calibration.unfinished import with_unfinished
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.simulation.arrivals import Process, Profile, gap_variation, peak
from loadtest.capacity.simulation.workload import NO_DEADLINES, Evidence, Workload, constant, longest_s
from loadtest.endpoint.distributions import Distribution, Empirical
from loadtest.endpoint.settings import Policy, TakePause
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import OpenLoad

MIN_JOBS = 100  # the number of completed jobs below which a calibration is refused
_MIN_WORTH = 3.0  # independent executions: fewer show no variance
LEAST_EXECUTION_MS = 0.25
"""What 0 ms stand for: the endpoint reports whole milliseconds, and no work takes no time."""
_NORMAL_QUANTILE = 1.96


class Calibration(msgspec.Struct, frozen=True, rename={"pattern": "takes"}):
    """The figures of the runs; times in milliseconds.

    `execution_ms` is of jobs that a worker executed, with estimates for the `unfinished` ones, which did not end by
    themselves. `execution_mean_ms` has an interval from the effective number of independent jobs, and
    `execution_autocorrelation` is between each job and the next. `cold_start` and `revival` say how the times of
    starts were found; `cold_start_ms` and `revival_ms` are empty if they were not measured one by one. `pattern` is
    how workers pace their takes, `dispatch_ms` the delay of jobs that met an idle worker outside its pause,
    `overhead_ms` transport and polling. `gap_variation` is that of the arrivals to be simulated.
    `execution_timeout_s` and `ttl_s` are the deadlines of jobs, null if they are not known; `crashes` is how often
    jobs lose their worker. `scalability` is the law through all runs: whether executions slow each other down.
    `concurrency` is the same for the jobs of one worker.
    """

    runs: tuple[str, ...]
    jobs: int
    arrivals: str
    gap_variation: float
    execution_ms: Quantiles
    execution_mean_ms: Estimate
    execution_variation: float
    execution_autocorrelation: float
    cold_start_ms: Quantiles
    revival_ms: Quantiles
    dispatch_ms: Quantiles
    overhead_ms: Quantiles
    failure_rate: float
    pattern: TakePattern
    missing: tuple[MissingMeasurement, ...] = ()
    notes: tuple[str, ...] = ()
    scalability: Scalability = Scalability()
    concurrency: Concurrency = Concurrency()
    crashes: Crashes = Crashes()
    execution_timeout_s: float | None = None
    ttl_s: float | None = None
    cold_start: StartTime = StartTime()
    revival: StartTime = StartTime()
    unfinished: int = 0


def calibrate(runs: Sequence[MeasuredRun], arrivals: Process | None = None) -> tuple[Calibration, Workload]:
    """Return the calibration of these runs together, and the workload to simulate.

    The arrivals are those given, otherwise those of the last run. Raises ValueError if too few jobs were executed.
    """
    concurrency, crashes = _concurrency(runs)
    patterns = _take_patterns(runs, concurrency.most)
    each = [measure(run, pattern.take_pause, concurrency) for run, pattern in zip(runs, patterns, strict=True)]
    jobs = sum(len(one.execution_ms) for one in each)
    if jobs < MIN_JOBS:
        raise ValueError(f"{jobs} jobs were done by a worker, a calibration needs {MIN_JOBS}; run a longer scenario")
    process, notes = _arrivals(runs[-1].scenario, arrivals)
    workload = _workload(each, process, runs[-1].scenario, patterns[-1].take_pause, concurrency, crashes)
    workload, starts = with_starts(workload, runs, together(each))
    pattern = msgspec.structs.replace(patterns[-1], occupied_mean_ms=workload.occupancy.mean_s() * 1000)
    if len({each.take_pause for each in patterns}) > 1:
        notes.append("Workers of these runs pace their takes differently; the last run's are simulated.")
    return _calibration(runs, each, workload, pattern, starts, concurrency, crashes, notes), workload


def workload_of(run: MeasuredRun) -> tuple[Workload, TakePattern]:
    """Return the workload and take pattern of one run, however few its jobs; a worker must have executed some."""
    concurrency, crashes = _concurrency([run])
    pattern = _take_patterns([run], concurrency.most)[0]
    process, _ = _arrivals(run.scenario, None)
    measured = measure(run, pattern.take_pause, concurrency)
    workload = _workload([measured], process, run.scenario, pattern.take_pause, concurrency, crashes)
    return with_starts(workload, [run], measured, simulated=False)[0], pattern


def _concurrency(runs: Sequence[MeasuredRun]) -> tuple[Concurrency, Crashes]:
    shares = joined([job_shares(run.jobs) for run in runs])
    return estimate_concurrency(shares, concurrency_limit(runs[-1].scenario)), estimate_crashes(runs, shares)


def _workload(
    each: Sequence[Measurements],
    arrivals: Process,
    scenario: Scenario,
    take_pause: TakePause,
    concurrency: Concurrency,
    crashes: Crashes,
) -> Workload:
    measured = together(each)
    policy = _policy(scenario, measured)
    failed = measured.failed / len(measured.execution_ms)
    starts_known = scenario.target == "embedded"
    return Workload(
        arrivals=arrivals,
        service=subsample(np.maximum(_alone_ms(measured), LEAST_EXECUTION_MS)),
        concurrency=concurrency.most,
        slowdown=concurrency.factors,
        dispatch=subsample(measured.dispatch_ms) if len(measured.dispatch_ms) else constant(0.0),
        overhead=subsample(measured.overhead_ms) if len(measured.overhead_ms) else constant(0.0),
        failure_rate=max(0.0, failed - crashes.gives_up),
        take_pause=take_pause,
        crash_rate=crashes.rate,
        tries=crashes.tries,
        policy=policy,
        replacement=scenario.endpoint.cold_start if starts_known else constant(0.0),
        evidence=Evidence(_worth(each), concurrency.log_errors, crashes.seen, crashes.of),
    )


def _policy(scenario: Scenario, measured: Measurements) -> Policy:
    """Return the deadlines of jobs; none for executions if an endpoint elsewhere let some take longer."""
    policy = policy_of(scenario)
    longest_s = float(measured.execution_ms.max(initial=0.0)) / 1000
    if scenario.starts_endpoint or longest_s <= policy.execution_timeout * 1.01:
        return policy
    return policy.model_copy(update={"execution_timeout": NO_DEADLINES.execution_timeout})


def _worth(each: Sequence[Measurements]) -> float:
    """Return how many independent executions those of these runs are worth, for their mean."""
    return max(_MIN_WORTH, sum(effective_for_mean(run.execution_ms).n for run in each))


def _alone_ms(measured: Measurements) -> Floats:
    """Return how long jobs take alone; unfinished ones are estimated, and shared their workers as others did."""
    shared = float(measured.execution_ms.sum()) / max(float(measured.alone_ms.sum()), LEAST_EXECUTION_MS)
    return with_unfinished(measured.alone_ms, measured.unfinished_ms / max(shared, 1.0))


def _take_patterns(runs: Sequence[MeasuredRun], slots: int) -> list[TakePattern]:
    """Return how each run's workers pace their takes; real workers are estimated from all their runs together."""
    known = [pattern_from_settings(run.scenario) for run in runs]
    real = [(run.scenario, run.jobs) for run, pattern in zip(runs, known, strict=True) if pattern is None]
    estimated = estimate_pattern(real, slots) if real else NONE_SEEN
    return [estimated if pattern is None else pattern for pattern in known]


def _calibration(
    runs: Sequence[MeasuredRun],
    each: Sequence[Measurements],
    workload: Workload,
    pattern: TakePattern,
    starts: Starts,
    concurrency: Concurrency,
    crashes: Crashes,
    notes: list[str],
) -> Calibration:
    measured, policy = together(each), workload.policy
    execution_ms = with_unfinished(measured.execution_ms, measured.unfinished_ms)
    lagged = [autocorrelations(run.execution_ms, 1)[1] for run in each if len(run.execution_ms) >= MIN_JOBS]
    mean, deviation = float(execution_ms.mean()), float(execution_ms.std())
    reach = _NORMAL_QUANTILE * deviation / _worth(each) ** 0.5
    points = [point(run.name, run.jobs) for run in runs]
    return Calibration(
        runs=tuple(run.name for run in runs),
        jobs=len(measured.execution_ms),
        unfinished=len(measured.unfinished_ms),
        arrivals=_arrivals_text(workload.arrivals),
        gap_variation=gap_variation(workload.arrivals),
        execution_ms=quantiles(execution_ms),
        execution_mean_ms=Estimate(mean, mean - reach, mean + reach),
        execution_variation=deviation / mean if mean else 0.0,
        execution_autocorrelation=float(np.mean(lagged)) if lagged else 0.0,
        cold_start_ms=_quantiles(workload.cold_start),
        revival_ms=_quantiles(None if workload.revival is None else workload.revival.duration),
        cold_start=starts.cold,
        revival=starts.revived,
        dispatch_ms=quantiles(measured.dispatch_ms),
        overhead_ms=quantiles(measured.overhead_ms),
        failure_rate=workload.failure_rate,
        pattern=pattern,
        missing=tuple(missing_times(runs, measured, starts)),
        notes=(*notes, *assumptions(runs, measured, starts), *_replacement_note(workload)),
        scalability=scalability([one for one in points if one is not None]),
        concurrency=concurrency,
        crashes=crashes,
        execution_timeout_s=None if math.isinf(policy.execution_timeout) else policy.execution_timeout,
        ttl_s=policy.ttl,
    )


def _replacement_note(workload: Workload) -> list[str]:
    """Return a note if workers have to be replaced, and no start is known."""
    stops = workload.policy.timeout_stops_worker and longest_s(workload.service) > workload.policy.execution_timeout
    if workload.cold_start is not None or workload.replacement.mean_s() > 0 or not (workload.crash_rate or stops):
        return []
    return ["Workers died or were stopped, and no start was seen; others are taken to replace them at once."]


def _quantiles(times: Distribution | None) -> Quantiles:
    """Return the quantiles of measured times; none if they are not measured, but set or fitted."""
    return quantiles(np.array(times.values if isinstance(times, Empirical) else ()) * 1000)


def _arrivals(scenario: Scenario, given: Process | None) -> tuple[Process, list[str]]:
    if given is not None:
        return given, []
    if isinstance(scenario.load, OpenLoad):
        return scenario.load.arrivals, []
    return "poisson", ["The run's users waited for answers, so it has no arrivals of its own; Poisson is assumed."]


def _arrivals_text(arrivals: Process) -> str:
    if isinstance(arrivals, str):
        return arrivals
    if isinstance(arrivals, Profile):
        return f"profile of {len(arrivals.shares)} parts, peak {peak(arrivals):.3g} times the mean"
    return f"gamma, CV {arrivals.gamma_cv:g}" if hasattr(arrivals, "gamma_cv") else f"trace of {len(arrivals.times)}"
