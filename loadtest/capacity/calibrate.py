"""From runs to what a simulation needs: what jobs took, what starts took, what came on top, and what was not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.analyze.blocks import autocorrelations, dependence
from loadtest.analyze.jobs import Jobs
from loadtest.analyze.quantiles import quantiles
from loadtest.analyze.starts import CLASSES, UNKNOWN, start_kinds, waits
from loadtest.analyze.summary import Quantiles
from loadtest.capacity.arrivals import Process, Profile, gap_variation, peak
from loadtest.capacity.scalability import Scalability, point, scalability
from loadtest.capacity.setting import Times, Workload, constant, mean_s, measured, occupied_s, revival
from loadtest.capacity.takes import NONE_SEEN, Takes, takes_of, takes_seen
from loadtest.capacity.values import Estimate
from loadtest.endpoint.settings import EndpointSettings, QueueDelay, Revival
from loadtest.endpoint.take_pause import TakePause
from loadtest.record.sample import Outcome
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import OpenLoad

Floats = NDArray[np.float64]

LEAST_JOBS = 100
"""Fewer completed jobs than this say too little of how long the next will take."""
LEAST_STARTS = 5
"""So many starts of a kind are wanted; with fewer, those that were seen stand for all, and that is noted."""
_MOST_VALUES = 20_000
_NEAR = 1.96


class Missing(msgspec.Struct, frozen=True):
    """What no run showed, and the scenario that would measure it."""

    what: str
    measure: str


class Calibration(msgspec.Struct, frozen=True):
    """What the runs say of the endpoint; times in milliseconds.

    `execution_ms` is of jobs that a worker did; `execution_mean_ms` has an interval that counts neighbours for what
    they are worth, and `execution_autocorrelation` is between each job and the next. Starts are what is left of the
    delay once the scaler's threshold is taken off. `takes` is how workers pace their takes, `dispatch_ms` the delay
    of jobs that met an idle worker in no pause, `overhead_ms` transport and polling. `gap_variation` is that of the
    arrivals to be simulated. `scalability` is the law through all runs: whether executions slow each other down.
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
    takes: Takes
    missing: tuple[Missing, ...] = ()
    notes: tuple[str, ...] = ()
    scalability: Scalability = Scalability()


@dataclass(frozen=True)
class MeasuredRun:
    """One run that is calibrated from."""

    name: str
    scenario: Scenario
    jobs: Jobs


@dataclass(frozen=True)
class _Seen:
    """Times in milliseconds, and outcomes, of one run or of several together."""

    execution_ms: Floats
    cold_ms: Floats
    revival_ms: Floats
    dispatch_ms: Floats
    overhead_ms: Floats
    failed: int


def calibrate(runs: Sequence[MeasuredRun], arrivals: Process | None = None) -> tuple[Calibration, Workload]:
    """What these runs say together, and the work to simulate; the last run's arrivals where none are given.

    ValueError where too few jobs were done, and says how many more are needed.
    """
    paces = _paces(runs)
    each = [_seen(run, takes.take_pause) for run, takes in zip(runs, paces, strict=True)]
    seen = _together(each)
    jobs = len(seen.execution_ms)
    if jobs < LEAST_JOBS:
        raise ValueError(
            f"{jobs} jobs were done by a worker, a calibration needs {LEAST_JOBS}; run a longer scenario"
        )
    process, notes = _arrivals(runs[-1].scenario, arrivals)
    workload = _workload(seen, process, runs[-1].scenario, paces[-1].take_pause)
    takes = msgspec.structs.replace(paces[-1], occupied_mean_ms=mean_s(workload.occupied) * 1000)
    if len({each.take_pause for each in paces}) > 1:
        notes.append("Workers of these runs pace their takes differently; the last run's are simulated.")
    return _calibration(runs, each, seen, workload, takes, notes), workload


def measured_alone(run: MeasuredRun) -> tuple[Workload, Takes]:
    """What one run says of its work, however few its jobs are; they must have been done by a worker."""
    takes = _paces([run])[0]
    process, _ = _arrivals(run.scenario, None)
    return _workload(_seen(run, takes.take_pause), process, run.scenario, takes.take_pause), takes


def _workload(seen: _Seen, arrivals: Process, scenario: Scenario, take_pause: TakePause) -> Workload:
    return Workload(
        arrivals=arrivals,
        service=_thinned(seen.execution_ms),
        cold_start=_thinned(seen.cold_ms) if len(seen.cold_ms) else None,
        revival=_revival(seen.revival_ms, scenario),
        dispatch=_thinned(seen.dispatch_ms) if len(seen.dispatch_ms) else constant(0.0),
        overhead=_thinned(seen.overhead_ms) if len(seen.overhead_ms) else constant(0.0),
        failure_rate=seen.failed / len(seen.execution_ms),
        take_pause=take_pause,
    )


def _paces(runs: Sequence[MeasuredRun]) -> list[Takes]:
    """How each run's workers pace their takes; of real ones as all of them together show."""
    told = [takes_of(run.scenario) for run in runs]
    real = [(run.scenario, run.jobs) for run, takes in zip(runs, told, strict=True) if takes is None]
    seen = takes_seen(real) if real else NONE_SEEN
    return [seen if takes is None else takes for takes in told]


def _calibration(
    runs: Sequence[MeasuredRun],
    each: Sequence[_Seen],
    seen: _Seen,
    workload: Workload,
    takes: Takes,
    notes: list[str],
) -> Calibration:
    execution_ms = seen.execution_ms
    lagged = [autocorrelations(run.execution_ms)[0] for run in each if len(run.execution_ms) >= LEAST_JOBS]
    worth = sum(dependence(run.execution_ms).effective_n for run in each)
    mean, deviation = float(execution_ms.mean()), float(execution_ms.std())
    reach = _NEAR * deviation / max(1.0, worth) ** 0.5
    points = [point(run.name, run.jobs) for run in runs]
    return Calibration(
        runs=tuple(run.name for run in runs),
        jobs=len(execution_ms),
        arrivals=_named(workload.arrivals),
        gap_variation=gap_variation(workload.arrivals),
        execution_ms=quantiles(execution_ms),
        execution_mean_ms=Estimate(mean, mean - reach, mean + reach),
        execution_variation=deviation / mean if mean else 0.0,
        execution_autocorrelation=float(np.mean(lagged)) if lagged else 0.0,
        cold_start_ms=quantiles(seen.cold_ms),
        revival_ms=quantiles(seen.revival_ms),
        dispatch_ms=quantiles(seen.dispatch_ms),
        overhead_ms=quantiles(seen.overhead_ms),
        failure_rate=workload.failure_rate,
        takes=takes,
        missing=tuple(_missing(runs, seen)),
        notes=(*notes, *_notes(runs, seen)),
        scalability=scalability([one for one in points if one is not None]),
    )


def _seen(run: MeasuredRun, take_pause: TakePause) -> _Seen:
    jobs = run.jobs.taken(np.argsort(run.jobs.intended_at, kind="stable"))
    failed = jobs.ended(Outcome.FAILED)
    done = (jobs.completed | failed) & ~np.isnan(jobs.execution_ms)
    kind = start_kinds(jobs).kind
    served = (jobs.worker >= 0) & ~np.isnan(jobs.delay_ms + jobs.execution_ms + jobs.sent_at)
    at_once = np.zeros(len(jobs), dtype=bool)
    at_once[served] = waits(jobs, served, occupied_s(take_pause, jobs.execution_ms[served] / 1000)).idled
    overhead_ms = jobs.overhead_ms[jobs.completed]
    return _Seen(
        execution_ms=jobs.execution_ms[done],
        cold_ms=_start_ms(jobs.delay_ms[kind == CLASSES.index("cold")], run.scenario),
        revival_ms=_start_ms(jobs.delay_ms[kind == CLASSES.index("revived")], run.scenario),
        dispatch_ms=jobs.delay_ms[at_once & (kind == CLASSES.index("warm")) & (kind != UNKNOWN)],
        overhead_ms=np.maximum(0.0, overhead_ms[~np.isnan(overhead_ms)]),
        failed=int(np.count_nonzero(failed & done)),
    )


def _together(seen: Sequence[_Seen]) -> _Seen:
    def joined(name: str) -> Floats:
        return np.concatenate([getattr(each, name) for each in seen])

    times = ("execution_ms", "cold_ms", "revival_ms", "dispatch_ms", "overhead_ms")
    return _Seen(**{name: joined(name) for name in times}, failed=sum(each.failed for each in seen))


def endpoint_of(scenario: Scenario) -> EndpointSettings:
    """What is known of the endpoint's scaling: all of one that the run started, documented defaults of another."""
    return scenario.endpoint if scenario.scaled_here else EndpointSettings()


def _start_ms(delay_ms: Floats, scenario: Scenario) -> Floats:
    """What a start took: the delay less the scaler's threshold, unless most delays are shorter than that is.

    The shortest tenth is left out, as in `analyze.starts`: jobs that came while the worker was starting.
    """
    scaler = endpoint_of(scenario).scaler
    threshold_ms = scaler.queue_delay * 1000 if isinstance(scaler, QueueDelay) else 0.0
    kept = np.sort(delay_ms)[len(delay_ms) // 10 :]
    if len(kept) == 0 or float(np.median(kept)) < threshold_ms:
        return kept
    taken: Floats = np.maximum(0.0, kept - threshold_ms)
    return taken


def _thinned(values_ms: Floats) -> Times:
    """All values in seconds, or where they are many as many percentiles of them, evenly spaced."""
    ordered = np.sort(values_ms) / 1000
    n = len(ordered)
    if n > _MOST_VALUES:
        ordered = ordered[((np.arange(_MOST_VALUES) + 0.5) / _MOST_VALUES * n).astype(np.int64)]
    return measured(ordered)


def _revival(revival_ms: Floats, scenario: Scenario) -> Revival | None:
    if len(revival_ms) == 0:
        return None
    known = endpoint_of(scenario).revival
    return revival(_thinned(revival_ms), 60.0 if known is None else known.within)


def _arrivals(scenario: Scenario, given: Process | None) -> tuple[Process, list[str]]:
    if given is not None:
        return given, []
    if isinstance(scenario.load, OpenLoad):
        return scenario.load.arrivals, []
    return "poisson", ["The run's users waited for answers, so it has no arrivals of its own; Poisson is assumed."]


def _named(arrivals: Process) -> str:
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
    """Whether the endpoints may revive workers, as far as is known."""
    return any(endpoint_of(run.scenario).revival is not None for run in runs)


def _missing(runs: Sequence[MeasuredRun], seen: _Seen) -> list[Missing]:
    found = []
    if len(seen.cold_ms) == 0:
        found.append(Missing("cold start time", _LET_STOP.format("much longer")))
    if len(seen.revival_ms) == 0 and _revives(runs):
        found.append(Missing("revival time", _LET_STOP.format("a little longer")))
    if len(seen.dispatch_ms) == 0:
        idle = (
            "a scenario at a low rate, so that jobs meet workers that are up and idle, such as scenarios/smoke.yaml"
        )
        found.append(Missing("delay at an idle worker", idle))
    return found


def _notes(runs: Sequence[MeasuredRun], seen: _Seen) -> list[str]:
    """What was assumed, each in a sentence."""
    notes = []
    if len({msgspec.json.encode(run.scenario.resolved()["flows"]) for run in runs}) > 1:
        notes.append("The runs sent different jobs; their execution times are mixed as they came.")
    if not all(run.scenario.scaled_here for run in runs) and len(seen.cold_ms) + len(seen.revival_ms):
        notes.append(
            "The endpoint's scaler is not known: the default queue delay of 4 s was taken off the delay of starts."
        )
    for name, times in (("cold starts", seen.cold_ms), ("revivals", seen.revival_ms)):
        if 0 < len(times) < LEAST_STARTS:
            notes.append(f"Only {len(times)} {name} were seen; they stand for all.")
    if len(seen.cold_ms) and len(seen.revival_ms) == 0 and _revives(runs):
        notes.append("No revival was seen, so every start is taken to be cold.")
    return notes
