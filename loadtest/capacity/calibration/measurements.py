"""What recorded runs show: times of executions, starts, idle workers and transport, and what they do not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from loadtest.analyze.jobs import JobColumns
from loadtest.analyze.start_kinds import WARM, revives, start_kinds
from loadtest.analyze.start_waits import execution_at_least_ms, worker_waits
from loadtest.arrays import Floats
from loadtest.capacity.calibration.concurrency import Concurrency, job_shares
from loadtest.capacity.calibration.start_times import (
    StartWaits,
    WorkerCounts,
    cold_waits,
    revival_waits,
    waits_together,
)
from loadtest.capacity.calibration.unfinished import ended_by_itself, unfinished_ms
from loadtest.capacity.simulation.workload import measured as measured_times
from loadtest.capacity.simulation.workload import occupied_s
from loadtest.endpoint.distributions import Distribution
from loadtest.endpoint.settings import EndpointSettings, Policy, TakePause
from loadtest.record.sample import Outcome
from loadtest.scenario.flows import FLOWS
from loadtest.scenario.metrics import Metric
from loadtest.scenario.model import Scenario

_MAX_VALUES = 20_000


@dataclass(frozen=True)
class MeasuredRun:
    """One run to calibrate from.

    `retried` counts the jobs given back to the queue, None if health was not asked. `warnings` are sentences for the
    notes.
    """

    name: str
    scenario: Scenario
    jobs: JobColumns
    retried: int | None = None
    health: WorkerCounts | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurements:
    """Times in milliseconds, and outcomes, of one run or of several together.

    `unfinished_ms` is how long jobs that did not end by themselves executed at least; that of jobs that timed out is
    longer than their timeout. `alone_ms` is how long jobs take that share their worker with no other. `failed` counts
    the jobs that ended FAILED by themselves.
    """

    execution_ms: Floats
    unfinished_ms: Floats
    alone_ms: Floats
    cold: StartWaits
    revived: StartWaits
    dispatch_ms: Floats
    overhead_ms: Floats
    failed: int


class MissingMeasurement(msgspec.Struct, frozen=True):
    """A time that no run shows, why not, and the scenario that would measure it."""

    what: str
    measure: str
    why: str = ""


def measure(run: MeasuredRun, take_pause: TakePause, concurrency: Concurrency) -> Measurements:
    """Return the times of one run, whose workers pace their takes and share their time in this way."""
    jobs = run.jobs.take(np.argsort(run.jobs.intended_at, kind="stable"))
    failed = jobs.ended(Outcome.FAILED)
    limits_s = execution_timeouts_s(run.scenario, jobs)
    done = ended_by_itself(jobs, limits_s)
    kind = start_kinds(jobs, revives(run.scenario)).kind
    at_work_ms = execution_at_least_ms(jobs)
    served = (jobs.worker >= 0) & ~np.isnan(jobs.delay_ms + at_work_ms + jobs.sent_at)
    idle = np.zeros(len(jobs), dtype=bool)
    idle[served] = worker_waits(jobs, served, occupied_s(take_pause, at_work_ms[served] / 1000)).idled
    overhead_ms = jobs.times_ms(Metric.OVERHEAD)[jobs.completed]
    alone_ms = job_shares(jobs).work_s(concurrency.factors) * 1000 if concurrency.factors else None
    return Measurements(
        execution_ms=jobs.execution_ms[done],
        unfinished_ms=unfinished_ms(jobs, run.scenario.job_timeout, limits_s),
        alone_ms=jobs.execution_ms[done] if alone_ms is None else alone_ms,
        cold=cold_waits(jobs, run.scenario, endpoint_of(run.scenario)),
        revived=revival_waits(jobs, run.scenario, endpoint_of(run.scenario)),
        dispatch_ms=jobs.delay_ms[idle & (kind == WARM)],
        overhead_ms=np.maximum(0.0, overhead_ms[~np.isnan(overhead_ms)]),
        failed=int(np.count_nonzero(failed & done)),
    )


def together(measured: Sequence[Measurements]) -> Measurements:
    """Return the times of several runs as those of one."""

    def joined(name: str) -> Floats:
        return np.concatenate([getattr(each, name) for each in measured])

    return Measurements(
        **{
            name: joined(name) for name in ("execution_ms", "unfinished_ms", "alone_ms", "dispatch_ms", "overhead_ms")
        },
        cold=waits_together([each.cold for each in measured]),
        revived=waits_together([each.revived for each in measured]),
        failed=sum(each.failed for each in measured),
    )


def endpoint_of(scenario: Scenario) -> EndpointSettings:
    """Return the settings of the endpoint: as in the scenario if the run started it, else the documented defaults."""
    return scenario.endpoint if scenario.starts_endpoint else EndpointSettings()


def policy_of(scenario: Scenario) -> Policy:
    """Return the deadlines of a scenario's jobs: its flows' or the endpoint's; the longest if they differ."""
    known = endpoint_of(scenario).policy

    def longest_s(key: str) -> float:
        asked = (getattr(flow.policy, key) for flow in scenario.flows.values())
        return max(float(getattr(known, key) if each is None else each) for each in asked)

    return known.model_copy(update={key: longest_s(key) for key in ("execution_timeout", "ttl")})


def execution_timeouts_s(scenario: Scenario, jobs: JobColumns) -> Floats:
    """Return after which time in the handler each job is stopped: its flow's execution timeout, or the endpoint's."""
    default = endpoint_of(scenario).policy.execution_timeout
    by_flow = np.full(len(FLOWS), default)
    for name, flow in scenario.flows.items():
        if flow.policy.execution_timeout is not None:
            by_flow[FLOWS.index(name)] = flow.policy.execution_timeout
    limits: Floats = by_flow[jobs.flow]
    return limits


def subsample(values_ms: Floats) -> Distribution:
    """Return the distribution of all values in seconds; of many, evenly spaced percentiles."""
    ordered = np.sort(values_ms) / 1000
    n = len(ordered)
    if n > _MAX_VALUES:
        ordered = ordered[((np.arange(_MAX_VALUES) + 0.5) / _MAX_VALUES * n).astype(np.int64)]
    return measured_times(ordered)
