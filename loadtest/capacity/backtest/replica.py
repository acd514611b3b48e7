"""A simulated copy of a run from its scenario alone: its arrivals from another seed, in the endpoint's model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from loadtest.analyze.workers import WorkerUptime
from loadtest.arrays import Floats
from loadtest.capacity.calibration.measurements import policy_of
from loadtest.capacity.simulation.predict import percentile
from loadtest.capacity.simulation.resampling import resampled
from loadtest.capacity.simulation.simulated_run import UpIntervals, simulate_run
from loadtest.capacity.simulation.workload import WorkerConfig, Workload, revival
from loadtest.endpoint.distributions import sample
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
    """Return the workload with what a scenario says of its own endpoint: pause, crashes, deadlines, revivals."""
    known = scenario.endpoint
    if scenario.target == "embedded":
        workload = dataclasses.replace(
            workload, take_pause=known.take_pause, crash_rate=known.crash_rate, tries=known.tries
        )
    if not scenario.starts_endpoint:
        return workload
    workload = dataclasses.replace(workload, policy=policy_of(scenario))
    if workload.revival is None:
        return workload
    revives = known.revival
    revived = None if revives is None else revival(workload.revival.duration, revives.within)
    return dataclasses.replace(workload, revival=revived)


def simulate_replica(run: RunModel, seed: int, number: int) -> Replica:
    """Simulate the run once: the n-th copy has the same arrivals and draws, whatever else is known of the run."""
    arrivals, model, extra = np.random.SeedSequence([_SEEDS, seed, number]).generate_state(3).tolist()
    rng = np.random.default_rng(extra)
    load, workload = run.load, resampled(run.workload, model)
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
