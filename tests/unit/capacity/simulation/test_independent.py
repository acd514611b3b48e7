"""The model agrees with an endpoint that shares no code with it, over many seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loadtest.capacity.simulation.simulated_run import simulate_run
from loadtest.capacity.simulation.workload import WorkerConfig, Workload, constant, fixed, measured, revival
from loadtest.endpoint.settings import QueueDelay, RequestCount, TakePause
from tests.independent.endpoint import Simulation, System

EXPONENTIAL = measured(-np.log1p(-(np.arange(20_000) + 0.5) / 20_000))
REVIVAL = (60.0, 0.5)
COLD_S = 10.0
PLAIN = System(lambda rng: rng.expovariate(1.0), start=lambda _: COLD_S)
SLOWER = ((1, 1.0), (4, 1.6))
SEEDS = range(30)


def slower(jobs: int) -> float:
    return 0.8 + 0.2 * jobs


SYSTEMS: dict[str, tuple[System, Workload, WorkerConfig, float]] = {
    "always running": (replace(PLAIN, active=4, most=4), Workload("poisson", EXPONENTIAL), fixed(4), 3.0),
    "gap after a job": (
        replace(PLAIN, active=4, most=4, gap_s=0.1),
        Workload("poisson", EXPONENTIAL, take_pause=TakePause(after_job="100ms")),
        fixed(4),
        3.0,
    ),
    "several at once": (
        replace(PLAIN, active=2, most=2, concurrency=4, slowdown=slower, gap_s=0.1),
        Workload("poisson", EXPONENTIAL, concurrency=4, slowdown=SLOWER, take_pause=TakePause(after_job="100ms")),
        fixed(2),
        3.5,
    ),
    "crashes on workers that always run": (
        replace(PLAIN, active=4, most=4, crashes=0.1, start=lambda _: 2.0),
        Workload("poisson", EXPONENTIAL, replacement=constant(2.0), crash_rate=0.1),
        fixed(4),
        2.0,
    ),
    "crashes of several at once on flex workers": (
        replace(PLAIN, active=1, most=4, concurrency=3, crashes=0.05, scaler=("request count", 2)),
        Workload("poisson", EXPONENTIAL, constant(COLD_S), concurrency=3, crash_rate=0.05),
        WorkerConfig(1, 4, RequestCount(request_count=2)),
        2.0,
    ),
    "queue delay": (
        replace(PLAIN, most=6),
        Workload("poisson", EXPONENTIAL, constant(COLD_S)),
        WorkerConfig(0, 6, QueueDelay()),
        2.0,
    ),
    "request count with revivals": (
        replace(PLAIN, most=6, scaler=("request count", 1), revival=REVIVAL),
        Workload("poisson", EXPONENTIAL, constant(COLD_S), revival(constant(REVIVAL[1]), REVIVAL[0])),
        WorkerConfig(0, 6, RequestCount(request_count=1)),
        0.5,
    ),
    "several at once on flex workers": (
        replace(PLAIN, active=1, most=3, concurrency=4, slowdown=slower, scaler=("request count", 4)),
        Workload("poisson", EXPONENTIAL, constant(COLD_S), concurrency=4, slowdown=SLOWER),
        WorkerConfig(1, 3, RequestCount(request_count=4)),
        4.0,
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_waits_executions_and_worker_time_are_those_of_an_independent_simulation(name: str) -> None:
    system, work, setting, rate_per_s = SYSTEMS[name]
    differences = []
    for seed in SEEDS:
        at_s = np.cumsum(np.random.default_rng(seed).exponential(1 / rate_per_s, 600))
        end_at = float(at_s[-1])
        theirs = Simulation(system, at_s.tolist(), seed).run()
        waits_s = np.array([job.taken - job.at for job in theirs.jobs])
        executions_s = np.array([job.ended - job.taken for job in theirs.jobs])
        up_s = sum(min(end, end_at) - max(start, 0) for worker in theirs.workers for start, end in worker.spans)
        ours = simulate_run(work, setting, at_s, seed, end_at)
        ours_up_s, _ = ours.up.up_and_billed_s(0.0, end_at)
        ours_waits_s = ours.taken_at - at_s
        differences.append(
            [
                ours_waits_s.mean() - waits_s.mean(),
                np.quantile(ours_waits_s, 0.9) - np.quantile(waits_s, 0.9),
                ours.execution_s.mean() - executions_s.mean(),
                (ours_up_s - up_s) / end_at,
            ]
        )
    found = np.array(differences)
    # Four standard errors: of thirty-two figures, chance alone puts one outside in one of some 500 sets of seeds.
    within = 4 * found.std(axis=0, ddof=1) / np.sqrt(len(SEEDS)) + 1e-9
    assert (np.abs(found.mean(axis=0)) <= within).all(), (found.mean(axis=0), within)
