"""What recorded runs show: times of executions, starts, idle workers and transport, and what they do not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from loadtest.analyze.jobs import JobColumns
from loadtest.analyze.start_kinds import CLASSES, UNKNOWN, start_kinds
from loadtest.analyze.start_waits import worker_waits
from loadtest.arrays import Floats
from loadtest.capacity.calibration.concurrency import Concurrency, job_shares
from loadtest.capacity.simulation.workload import occupied_s
from loadtest.endpoint.settings import EndpointSettings, TakePause
from loadtest.protocol.json_values import canonical_json
from loadtest.record.sample import Outcome
from loadtest.scenario.metrics import Metric
from loadtest.scenario.model import Scenario

MIN_STARTS = 5  # the number of starts of a kind below which a note says that few were observed


@dataclass(frozen=True)
class MeasuredRun:
    """One run to calibrate from."""

    name: str
    scenario: Scenario
    jobs: JobColumns


@dataclass(frozen=True)
class Measurements:
    """Times in milliseconds, and outcomes, of one run or of several together.

    `alone_ms` is how long jobs take that share their worker with no other.
    """

    execution_ms: Floats
    alone_ms: Floats
    cold_ms: Floats
    revival_ms: Floats
    dispatch_ms: Floats
    overhead_ms: Floats
    failed: int


def measure(run: MeasuredRun, take_pause: TakePause, concurrency: Concurrency) -> Measurements:
    """Return the times of one run, whose workers pace their takes and share their time in this way."""
    jobs = run.jobs.take(np.argsort(run.jobs.intended_at, kind="stable"))
    failed = jobs.ended(Outcome.FAILED)
    done = (jobs.completed | failed) & ~np.isnan(jobs.execution_ms)
    kind = start_kinds(jobs).kind
    served = (jobs.worker >= 0) & ~np.isnan(jobs.delay_ms + jobs.execution_ms + jobs.sent_at)
    idle = np.zeros(len(jobs), dtype=bool)
    idle[served] = worker_waits(jobs, served, occupied_s(take_pause, jobs.execution_ms[served] / 1000)).idled
    overhead_ms = jobs.times_ms(Metric.OVERHEAD)[jobs.completed]
    alone_ms = job_shares(jobs).work_s(concurrency.factors) * 1000 if concurrency.factors else None
    return Measurements(
        execution_ms=jobs.execution_ms[done],
        alone_ms=jobs.execution_ms[done] if alone_ms is None else alone_ms,
        cold_ms=_start_ms(jobs.delay_ms[kind == CLASSES.index("cold")], run.scenario),
        revival_ms=_start_ms(jobs.delay_ms[kind == CLASSES.index("revived")], run.scenario),
        dispatch_ms=jobs.delay_ms[idle & (kind == CLASSES.index("warm")) & (kind != UNKNOWN)],
        overhead_ms=np.maximum(0.0, overhead_ms[~np.isnan(overhead_ms)]),
        failed=int(np.count_nonzero(failed & done)),
    )


def together(measured: Sequence[Measurements]) -> Measurements:
    """Return the times of several runs as those of one."""

    def joined(name: str) -> Floats:
        return np.concatenate([getattr(each, name) for each in measured])

    times = ("execution_ms", "alone_ms", "cold_ms", "revival_ms", "dispatch_ms", "overhead_ms")
    return Measurements(**{name: joined(name) for name in times}, failed=sum(each.failed for each in measured))


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


class MissingMeasurement(msgspec.Struct, frozen=True):
    """A time that no run shows, and the scenario that would measure it."""

    what: str
    measure: str


_LET_STOP = (
    "a scenario whose workers stop between jobs, such as scenarios/cold-start.yaml: active 0, gaps {} "
    "than the idle timeout"
)


def _revives(runs: Sequence[MeasuredRun]) -> bool:
    """Return whether the endpoints may revive workers, as far as is known."""
    return any(endpoint_of(run.scenario).revival is not None for run in runs)


def missing_times(runs: Sequence[MeasuredRun], measured: Measurements) -> list[MissingMeasurement]:
    """Return the times that a prediction may need and that these runs do not show."""
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


def assumptions(runs: Sequence[MeasuredRun], measured: Measurements) -> list[str]:
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
