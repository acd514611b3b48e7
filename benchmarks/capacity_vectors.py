"""`python -m benchmarks.capacity_vectors`: long simulations of systems whose truth is known, in some two minutes.

Queues whose workers start on demand are compared with their Markov chains, and 20 settings of AWS Lambda with figures
measured there. `tests/unit/capacity/simulation/test_golden_vectors.py` simulates some of them for less long.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from loadtest.capacity.estimates import Estimate, estimate
from loadtest.capacity.simulation.simulate import Replication, replication
from loadtest.capacity.simulation.workload import WorkerConfig, Workload, constant, measured
from loadtest.endpoint.distributions import Distribution
from loadtest.endpoint.settings import RequestCount
from tests.independent.golden import LAMBDA, LAMBDA_IDLE_S, SETUPS, Lambda, Setup

_ONE_EACH = RequestCount(request_count=1)
_QUANTILES = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
SHARE, LEVEL, ERRORS = 0.02, 0.99, 3.0
LAMBDA_SHARE = 0.05


def exponential(mean_s: float) -> Distribution:
    """Return an exponential time: values at the middles of equally likely intervals."""
    return measured(_QUANTILES * mean_s)


def setup_figures(asked: Setup, replications: int, jobs: int) -> tuple[Estimate, Estimate]:
    """Return the mean time in the system and the number of starting workers, with their 99 % intervals."""
    work = Workload("poisson", exponential(1.0), exponential(asked.start))
    setting = WorkerConfig(0, asked.workers, _ONE_EACH, idle_timeout_s=0.0)
    runs = [replication(work, setting, asked.workers * asked.load, jobs, seed) for seed in range(replications)]
    times = estimate([float((run.wait_s + run.service_s).mean()) for run in runs], LEVEL)
    return times, estimate([(run.up_s - run.busy_s) / run.window_s for run in runs], LEVEL)


def agrees(found: Estimate, true: float) -> bool:
    """Return whether an estimate is within 2 % of the truth, or its interval holds it."""
    return abs(found.value / true - 1) <= SHARE or found.low <= true <= found.high


def cold_share(run: Replication) -> float:
    """Return the share of jobs for which a worker was started: those that met none idle.

    On Lambda these wait for that worker. Here a worker that is done sooner may take such a job.
    """
    return float(np.mean(run.wait_s > 0))


def lambda_run(asked: Lambda, jobs: int, seed: int) -> Replication:
    """Return a simulation of a setting of AWS Lambda: a worker for each job that finds none idle."""
    start_s = (asked.cold_ms - asked.warm_ms) / 1000
    work = Workload("poisson", exponential(asked.warm_ms / 1000), constant(start_s))
    return replication(work, WorkerConfig(0, 100, _ONE_EACH, LAMBDA_IDLE_S), asked.rate_per_s, jobs, seed)


def main() -> int:
    """Print both tables; return 1 if a figure of a Markov chain does not agree, else 0."""
    started_s, wrong = time.perf_counter(), 0
    print("| workers | load | start | time: true | simulated | | starting: true | simulated | |")
    print("|---|---|---|---|---|---|---|---|---|")
    for asked in SETUPS:
        cells = []
        for found, true in zip(setup_figures(asked, 10, 100_000), (asked.time, asked.starting), strict=True):
            wrong += not agrees(found, true)
            cells.append(f"{true:.4f} | {found.value:.4f} ± {found.high - found.value:.4f} | {_mark(found, true)}")
        print(f"| {asked.workers} | {asked.load:.2f} | {asked.start:g} | {' | '.join(cells)} |", flush=True)
    print("\n| jobs/s | cold: measured | simulated | | instances: measured | simulated | |")
    print("|---|---|---|---|---|---|---|")
    for setting in LAMBDA:
        run = lambda_run(setting, 300_000, 1)
        cold, instances = cold_share(run), run.up_s / run.window_s
        off = abs(cold - setting.cold_share)
        near = off <= max(ERRORS * setting.cold_share_error, LAMBDA_SHARE * setting.cold_share)
        error = instances / setting.instances - 1
        print(
            f"| {setting.rate_per_s:.4f} | {setting.cold_share:.5f} ± {setting.cold_share_error:.5f} | {cold:.5f} | "
            f"{'ok' if near else '**no**'} | {setting.instances:.3f} | {instances:.3f} ({error:+.1%}) | "
            f"{'ok' if abs(error) <= LAMBDA_SHARE else '**no**'} |",
            flush=True,
        )
    print(f"\n{time.perf_counter() - started_s:.0f} s")
    return 1 if wrong else 0


def _mark(found: Estimate, true: float) -> str:
    return "ok" if agrees(found, true) else "**no**"


if __name__ == "__main__":
    sys.exit(main())
