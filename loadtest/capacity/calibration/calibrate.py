"""From recorded runs to the inputs of a simulation: executions, starts, overheads, and missing measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from loadtest.analyze.jobs import JobColumns
from loadtest.analyze.start_kinds import CLASSES, UNKNOWN, start_kinds, worker_waits
from loadtest.analyze.stats.block_bootstrap import autocorrelations, serial_dependence
from loadtest.analyze.stats.quantiles import quantiles
from loadtest.analyze.summary import Quantiles
from loadtest.arrays import Floats
from loadtest.capacity.calibration.scalability import Scalability, point, scalability
from loadtest.capacity.calibration.take_pattern import NONE_SEEN, TakePattern, estimate_pattern, pattern_from_settings
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.simulation.arrivals import Process, Profile, gap_variation, peak
from loadtest.capacity.simulation.workload import Workload, constant, measured, occupied_s, revival
from loadtest.endpoint.distributions import Distribution
from loadtest.endpoint.settings import EndpointSettings, Revival, TakePause
from loadtest.protocol.json_values import canonical_json
from loadtest.record.sample import Outcome
from loadtest.scenario.metrics import Metric
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import OpenLoad

MIN_JOBS = 100  # the number of completed jobs below which a calibration is refused
MIN_STARTS = 5  # the number of starts of a kind below which a note says that few were observed
_MAX_VALUES = 20_000
_NORMAL_QUANTILE = 1.96


class MissingMeasurement(msgspec.Struct, frozen=True):
    """A time that no run shows, and the scenario that would measure it."""

    what: str
    measure: str


class Calibration(msgspec.Struct, frozen=True, rename={"pattern": "takes"}):
    """The figures of the runs; times in milliseconds.

    `execution_ms` is of jobs that a worker executed. `execution_mean_ms` has an interval from the effective number of
    independent jobs, and `execution_autocorrelation` is between each job and the next. The times of starts are the
    delay less the scaler's threshold. `pattern` is how workers pace their takes, `dispatch_ms` the delay of jobs that
    met an idle worker outside its pause, `overhead_ms` transport and polling. `gap_variation` is that of the arrivals
    to be simulated. `scalability` is the law through all runs: whether executions slow each other down.
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


@dataclass(frozen=True)
class MeasuredRun:
    """One run to calibrate from."""

    name: str
    scenario: Scenario
    jobs: JobColumns


@dataclass(frozen=True)
class _Measurements:
    """Times in milliseconds, and outcomes, of one run or of several together."""

    execution_ms: Floats
    cold_ms: Floats
    revival_ms: Floats
    dispatch_ms: Floats
    overhead_ms: Floats
    failed: int


def calibrate(runs: Sequence[MeasuredRun], arrivals: Process | None = None) -> tuple[Calibration, Workload]:
    """Return the calibration of these runs together, and the workload to simulate.

    The arrivals are those given, otherwise those of the last run. Raises ValueError if too few jobs were executed.
    """
    patterns = _take_patterns(runs)
    each = [_measure(run, pattern.take_pause) for run, pattern in zip(runs, patterns, strict=True)]
    measured = _together(each)
    jobs = len(measured.execution_ms)
    if jobs < MIN_JOBS:
        raise ValueError(f"{jobs} jobs were done by a worker, a calibration needs {MIN_JOBS}; run a longer scenario")
    process, notes = _arrivals(runs[-1].scenario, arrivals)
    workload = _workload(measured, process, runs[-1].scenario, patterns[-1].take_pause)
    pattern = msgspec.structs.replace(patterns[-1], occupied_mean_ms=workload.occupancy.mean_s() * 1000)
    if len({each.take_pause for each in patterns}) > 1:
        notes.append("Workers of these runs pace their takes differently; the last run's are simulated.")
    return _calibration(runs, each, measured, workload, pattern, notes), workload


def workload_of(run: MeasuredRun) -> tuple[Workload, TakePattern]:
    """Return the workload and take pattern of one run, however few its jobs; a worker must have executed some."""
    pattern = _take_patterns([run])[0]
    process, _ = _arrivals(run.scenario, None)
    return _workload(_measure(run, pattern.take_pause), process, run.scenario, pattern.take_pause), pattern


def _workload(measured: _Measurements, arrivals: Process, scenario: Scenario, take_pause: TakePause) -> Workload:
    return Workload(
        arrivals=arrivals,
        service=_subsample(measured.execution_ms),
        cold_start=_subsample(measured.cold_ms) if len(measured.cold_ms) else None,
        revival=_revival(measured.revival_ms, scenario),
        dispatch=_subsample(measured.dispatch_ms) if len(measured.dispatch_ms) else constant(0.0),
        overhead=_subsample(measured.overhead_ms) if len(measured.overhead_ms) else constant(0.0),
        failure_rate=measured.failed / len(measured.execution_ms),
        take_pause=take_pause,
    )


def _take_patterns(runs: Sequence[MeasuredRun]) -> list[TakePattern]:
    """Return how each run's workers pace their takes; real workers are estimated from all their runs together."""
    known = [pattern_from_settings(run.scenario) for run in runs]
    real = [(run.scenario, run.jobs) for run, pattern in zip(runs, known, strict=True) if pattern is None]
    estimated = estimate_pattern(real) if real else NONE_SEEN
    return [estimated if pattern is None else pattern for pattern in known]


def _calibration(
    runs: Sequence[MeasuredRun],
    each: Sequence[_Measurements],
    measured: _Measurements,
    workload: Workload,
    pattern: TakePattern,
    notes: list[str],
) -> Calibration:
    execution_ms = measured.execution_ms
    lagged = [autocorrelations(run.execution_ms)[0] for run in each if len(run.execution_ms) >= MIN_JOBS]
    effective_n = sum(serial_dependence(run.execution_ms).effective_n for run in each)
    mean, deviation = float(execution_ms.mean()), float(execution_ms.std())
    reach = _NORMAL_QUANTILE * deviation / max(1.0, effective_n) ** 0.5
    points = [point(run.name, run.jobs) for run in runs]
    return Calibration(
        runs=tuple(run.name for run in runs),
        jobs=len(execution_ms),
        arrivals=_arrivals_text(workload.arrivals),
        gap_variation=gap_variation(workload.arrivals),
        execution_ms=quantiles(execution_ms),
        execution_mean_ms=Estimate(mean, mean - reach, mean + reach),
        execution_variation=deviation / mean if mean else 0.0,
        execution_autocorrelation=float(np.mean(lagged)) if lagged else 0.0,
        cold_start_ms=quantiles(measured.cold_ms),
        revival_ms=quantiles(measured.revival_ms),
        dispatch_ms=quantiles(measured.dispatch_ms),
        overhead_ms=quantiles(measured.overhead_ms),
        failure_rate=workload.failure_rate,
        pattern=pattern,
        missing=tuple(_missing(runs, measured)),
        notes=(*notes, *_notes(runs, measured)),
        scalability=scalability([one for one in points if one is not None]),
    )


def _measure(run: MeasuredRun, take_pause: TakePause) -> _Measurements:
    jobs = run.jobs.take(np.argsort(run.jobs.intended_at, kind="stable"))
    failed = jobs.ended(Outcome.FAILED)
    done = (jobs.completed | failed) & ~np.isnan(jobs.execution_ms)
    kind = start_kinds(jobs).kind
    served = (jobs.worker >= 0) & ~np.isnan(jobs.delay_ms + jobs.execution_ms + jobs.sent_at)
    idle = np.zeros(len(jobs), dtype=bool)
    idle[served] = worker_waits(jobs, served, occupied_s(take_pause, jobs.execution_ms[served] / 1000)).idled
    overhead_ms = jobs.times_ms(Metric.OVERHEAD)[jobs.completed]
    return _Measurements(
        execution_ms=jobs.execution_ms[done],
        cold_ms=_start_ms(jobs.delay_ms[kind == CLASSES.index("cold")], run.scenario),
        revival_ms=_start_ms(jobs.delay_ms[kind == CLASSES.index("revived")], run.scenario),
        dispatch_ms=jobs.delay_ms[idle & (kind == CLASSES.index("warm")) & (kind != UNKNOWN)],
        overhead_ms=np.maximum(0.0, overhead_ms[~np.isnan(overhead_ms)]),
        failed=int(np.count_nonzero(failed & done)),
    )


def _together(measured: Sequence[_Measurements]) -> _Measurements:
    def joined(name: str) -> Floats:
        return np.concatenate([getattr(each, name) for each in measured])

    times = ("execution_ms", "cold_ms", "revival_ms", "dispatch_ms", "overhead_ms")
    return _Measurements(**{name: joined(name) for name in times}, failed=sum(each.failed for each in measured))


def endpoint_of(scenario: Scenario) -> EndpointSettings:
    """Return the settings of the endpoint: as in the scenario if the run started it, else the documented defaults."""
    return scenario.endpoint if scenario.starts_endpoint else EndpointSettings()


def _start_ms(delay_ms: Floats, scenario: Scenario) -> Floats:
    """Return how long starts took: the delay less the scaler's threshold, unless most delays are shorter than that.

    The shortest tenth is left out, as in `analyze.start_kinds`: these jobs came while the worker was starting.
    """
    threshold_ms = (endpoint_of(scenario).scaler.threshold_s or 0.0) * 1000
    kept = np.sort(delay_ms)[len(delay_ms) // 10 :]
    if len(kept) == 0 or float(np.median(kept)) < threshold_ms:
        return kept
    taken: Floats = np.maximum(0.0, kept - threshold_ms)
    return taken


def _subsample(values_ms: Floats) -> Distribution:
    """Return the distribution of all values in seconds; of many, evenly spaced percentiles."""
    ordered = np.sort(values_ms) / 1000
    n = len(ordered)
    if n > _MAX_VALUES:
        ordered = ordered[((np.arange(_MAX_VALUES) + 0.5) / _MAX_VALUES * n).astype(np.int64)]
    return measured(ordered)


def _revival(revival_ms: Floats, scenario: Scenario) -> Revival | None:
    if len(revival_ms) == 0:
        return None
    known = endpoint_of(scenario).revival
    return revival(_subsample(revival_ms), 60.0 if known is None else known.within)


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


_LET_STOP = (
    "a scenario whose workers stop between jobs, such as scenarios/cold-start.yaml: active 0, gaps {} "
    "than the idle timeout"
)


def _revives(runs: Sequence[MeasuredRun]) -> bool:
    """Return whether the endpoints may revive workers, as far as is known."""
    return any(endpoint_of(run.scenario).revival is not None for run in runs)


def _missing(runs: Sequence[MeasuredRun], measured: _Measurements) -> list[MissingMeasurement]:
    missing = []
    if len(measured.cold_ms) == 0:
        missing.append(MissingMeasurement("cold start time", _LET_STOP.format("much longer")))
    if len(measured.revival_ms) == 0 and _revives(runs):
        missing.append(MissingMeasurement("revival time", _LET_STOP.format("a little longer")))
    if len(measured.dispatch_ms) == 0:
        measure = (
            "a scenario at a low rate, so that jobs meet workers that are up and idle, such as scenarios/smoke.yaml"
        )
        missing.append(MissingMeasurement("delay at an idle worker", measure))
    return missing


def _notes(runs: Sequence[MeasuredRun], measured: _Measurements) -> list[str]:
    """Return the assumptions made, each as a sentence."""
    notes = []
    if len({canonical_json(run.scenario.resolved()["flows"]) for run in runs}) > 1:
        notes.append("The runs sent different jobs; their execution times are mixed in the same proportions.")
    if not all(run.scenario.starts_endpoint for run in runs) and len(measured.cold_ms) + len(measured.revival_ms):
        notes.append(
            "The endpoint's scaler is not known: the default queue delay of 4 s was taken off the delay of starts."
        )
    for name, times in (("cold starts", measured.cold_ms), ("revivals", measured.revival_ms)):
        if 0 < len(times) < MIN_STARTS:
            notes.append(f"Only {len(times)} {name} were seen; they represent all.")
    if len(measured.cold_ms) and len(measured.revival_ms) == 0 and _revives(runs):
        notes.append("No revival was seen, so every start is taken to be cold.")
    return notes
