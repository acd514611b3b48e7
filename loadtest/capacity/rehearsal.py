"""A run as it may come, from its scenario alone: its arrivals from another seed, in the endpoint's model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.analyze.jobs import Floats
from loadtest.analyze.worker_seconds import WorkersUp
from loadtest.capacity.predict import percentile
from loadtest.capacity.setting import Setting, Times, Workload, endpoint_settings, measured, revival
from loadtest.capacity.simulate import carried_out, paid_s, up_at
from loadtest.endpoint.settings import Measured
from loadtest.endpoint.spread import draws
from loadtest.endpoint.workers import Worker
from loadtest.scenario.model import Scenario
from loadtest.traffic.arrivals import schedule
from loadtest.traffic.settings import OpenLoad

FIGURES = ("delay_p50_ms", "delay_p95_ms", "throughput_per_s", "worker_s")
"""What is predicted of a run, and measured."""
_SEEDS = 1 << 42
"""Apart from the seeds of runs, whose arrivals are not to be known."""


@dataclass(frozen=True)
class Rehearsed:
    """All that is known of a run before it is run; and `at_s`, when its jobs arrived, where that is to be known."""

    workload: Workload
    setting: Setting
    load: OpenLoad
    patience_s: float
    drain_s: float
    asked_at_s: Floats | None
    at_s: Floats | None = None


@dataclass(frozen=True)
class Replica:
    """The figures of one draw of a run, by name; `late` is the share of its jobs that end after patience or drain."""

    figures: dict[str, float]
    late: float
    jobs: int


def as_in(workload: Workload, scenario: Scenario) -> Workload:
    """The work with what is a setting of the scenario's own endpoint: its simulated workers' pause, its revivals."""
    if scenario.target == "embedded":
        workload = dataclasses.replace(workload, take_pause=scenario.endpoint.take_pause)
    if not scenario.scaled_here or workload.revival is None:
        return workload
    known = scenario.endpoint.revival
    revived = None if known is None else revival(workload.revival.takes, known.within)
    return dataclasses.replace(workload, revival=revived)


def replica(run: Rehearsed, seed: int, number: int) -> Replica:
    """One draw of a run: the n-th has the same arrivals, and draws alike, whatever else is known of the run."""
    arrivals, model, extra = np.random.SeedSequence([_SEEDS, seed, number]).generate_state(3).tolist()
    rng = np.random.default_rng(extra)
    load, workload = run.load, _resampled(run.workload, rng)
    at_s = schedule(load, {"run": 1.0}, arrivals).at_s if run.at_s is None else run.at_s
    if len(at_s) == 0:
        return Replica(_figures(0.0, 0.0, 0.0, run.setting.active * load.duration_s), 0.0, 0)
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
    return Replica(
        figures=_figures(
            percentile(delay_ms, 500),
            percentile(delay_ms, 950),
            float(np.count_nonzero(completes & (ended_s <= load.duration_s))) / load.duration_s,
            _worker_s(run, workers),
        ),
        late=float(1 - np.mean(in_time)),
        jobs=n,
    )


def _figures(*values: float) -> dict[str, float]:
    return dict(zip(FIGURES, values, strict=True))


def _worker_s(run: Rehearsed, workers: Sequence[Worker]) -> float:
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
