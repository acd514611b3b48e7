"""A simulated copy of a run from its scenario alone: its arrivals from another seed, in the endpoint's model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from loadtest.analyze.workers import WorkerUptime
from loadtest.arrays import Floats
from loadtest.capacity.simulation.predict import percentile
from loadtest.capacity.simulation.simulated_run import UpIntervals, simulate_run
from loadtest.capacity.simulation.workload import WorkerConfig, Workload, measured, revival, scaled
from loadtest.endpoint.distributions import Distribution, Empirical, sample
from loadtest.scenario.model import Scenario
from loadtest.traffic.arrivals import draw_schedule
from loadtest.traffic.settings import OpenLoad

FIGURES = ("delay_p50_ms", "delay_p95_ms", "throughput_per_s", "worker_s")
"""The predicted and measured figures."""
_SEEDS = 1 << 42  # different from the seeds of runs, whose arrivals are unknown to a prediction


@dataclass(frozen=True)
class RunModel:
    """Everything known of a run in advance; `at_s` holds the arrivals if they are given."""

    workload: Workload
    setting: WorkerConfig
    load: OpenLoad
    job_timeout_s: float
    drain_s: float
    asked_at_s: Floats | None
    at_s: Floats | None = None


@dataclass(frozen=True)
class Replica:
    """The figures of one simulated copy; `late` is the share of its jobs that end after the job timeout or drain."""

    figures: dict[str, float]
    late: float
    jobs: int


def with_endpoint_settings(workload: Workload, scenario: Scenario) -> Workload:
    """Return the workload with the take pause and the revivals of the scenario's own endpoint."""
    if scenario.target == "embedded":
        workload = dataclasses.replace(workload, take_pause=scenario.endpoint.take_pause)
    if not scenario.starts_endpoint or workload.revival is None:
        return workload
    known = scenario.endpoint.revival
    revived = None if known is None else revival(workload.revival.duration, known.within)
    return dataclasses.replace(workload, revival=revived)


def simulate_replica(run: RunModel, seed: int, number: int) -> Replica:
    """Simulate the run once: the n-th copy has the same arrivals and draws, whatever else is known of the run."""
    arrivals, model, extra = np.random.SeedSequence([_SEEDS, seed, number]).generate_state(3).tolist()
    rng = np.random.default_rng(extra)
    load, workload = run.load, _resampled(run.workload, rng)
    at_s = draw_schedule(load, {"run": 1.0}, arrivals).at_s if run.at_s is None else run.at_s
    if len(at_s) == 0:
        return Replica(_figures(0.0, 0.0, 0.0, run.setting.active * load.duration_s), 0.0, 0)
    simulated = simulate_run(workload, run.setting, at_s, model, load.duration_s)
    n = len(at_s)
    delay_s = simulated.taken_at - at_s + sample(workload.dispatch, n, rng)
    ended_s = at_s + delay_s + simulated.execution_s + sample(workload.overhead, n, rng)
    completes = simulated.completed
    in_time = ended_s <= np.minimum(at_s + run.job_timeout_s, load.duration_s + run.drain_s)
    observed = completes & in_time
    delay_ms = np.round((delay_s[observed] if observed.any() else delay_s) * 1000)
    return Replica(
        figures=_figures(
            percentile(delay_ms, 500),
            percentile(delay_ms, 950),
            float(np.count_nonzero(completes & (ended_s <= load.duration_s))) / load.duration_s,
            _worker_s(run, simulated.up),
        ),
        late=float(1 - np.mean(in_time)),
        jobs=n,
    )


def _figures(*values: float) -> dict[str, float]:
    return dict(zip(FIGURES, values, strict=True))


def _worker_s(run: RunModel, up: UpIntervals) -> float:
    """Return worker-seconds as the run's health checks would have measured them, so that their error is included."""
    if run.asked_at_s is None:
        return up.up_and_billed_s(0.0, run.load.duration_s)[0]
    return WorkerUptime(run.asked_at_s, up.count_at(run.asked_at_s), run.load.duration_s).worker_s


def _resampled(workload: Workload, rng: np.random.Generator) -> Workload:
    """Return the workload with each of its times resampled (bootstrap), so that the interval has their error.

    A start time that was not measured one by one is drawn from its error.
    """

    def redrawn(times: Distribution) -> Distribution:
        return measured(rng.choice(times.values, len(times.values))) if isinstance(times, Empirical) else times

    factor = float(np.exp(workload.cold_start_error * rng.standard_normal())) if workload.cold_start_error else 1.0
    return dataclasses.replace(
        workload,
        service=redrawn(workload.service),
        cold_start=None if workload.cold_start is None else scaled(redrawn(workload.cold_start), factor),
        revival=None
        if workload.revival is None
        else revival(redrawn(workload.revival.duration), workload.revival.within),
    )
