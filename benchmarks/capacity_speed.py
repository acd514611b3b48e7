"""`python -m benchmarks.capacity_speed`: how fast `loadtest capacity` simulates and answers, in about a minute.

Jobs per second of CPU, alone and over the whole model of the endpoint without its shortcuts; then the wall and CPU
time of whole commands, from a recorded run to the page, on two processes.
"""

from __future__ import annotations

import io
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console

from benchmarks.capacity_grid import scenario
from benchmarks.capacity_systems import FLEX, REVIVAL, LogNormal
from loadtest.capacity.simulation import simulated_run
from loadtest.capacity.simulation.arrivals import arrivals_at
from loadtest.capacity.simulation.workload import WorkerConfig, Workload, constant, fixed, revival
from loadtest.commands.capacity import CapacityRequest, capacity
from loadtest.endpoint.distributions import LogNormal as LogNormalTime
from loadtest.endpoint.settings import QueueDelay, RequestCount
from tests.independent.recorded import write_run

JOBS = 60_000
_SERVICE = LogNormalTime.model_construct(median=1.0, sigma=0.5)
_ONE = Workload("poisson", _SERVICE, constant(10.0), revival(constant(0.5), 60.0))
_MANY = Workload("poisson", _SERVICE, constant(10.0), concurrency=8, slowdown=((1, 1.0), (8, 2.0)))
SIMULATIONS = {
    "always running": (_ONE, fixed(20), 15.0),
    "queue delay, 2 to 20 workers": (_ONE, WorkerConfig(2, 20, QueueDelay()), 10.0),
    "request count, 0 to 64 workers": (_ONE, WorkerConfig(0, 64, RequestCount(request_count=1)), 30.0),
    "8 at once, always running": (_MANY, fixed(3), 8.0),
    "8 at once, request count": (_MANY, WorkerConfig(0, 6, RequestCount(request_count=4)), 10.0),
}
PLANS: dict[str, dict[str, Any]] = {
    "fewest workers": {},
    "named flex workers": {"workers": "10 to 40"},
    "full search": {
        "scalers": ("queue delay 4s", "request count 1", "request count 4"),
        "idle_timeouts": ("5s", "15s", "60s", "5min"),
        "max_workers": 64,
    },
}


def main() -> None:
    """Print both tables."""
    print("| simulation | jobs/s | over the whole model |\n|---|--:|--:|")
    for name, (work, setting, rate_per_s) in SIMULATIONS.items():
        quick = min(_spent_s(work, setting, rate_per_s) for _ in range(3))
        with mock.patch.object(simulated_run, "can_be_batch", return_value=False):
            whole = min(_spent_s(work, setting, rate_per_s) for _ in range(3))
        print(f"| {name} | {JOBS / quick:,.0f} | {whole / quick:.1f} |", flush=True)
    print("\n| command, 20 jobs/s, delay p95 < 2 s | wall | CPU |\n|---|--:|--:|")
    with tempfile.TemporaryDirectory() as directory:
        system = replace(FLEX, service=LogNormal(1.0, 0.5), revival=REVIVAL, most=6)
        write_run(Path(directory, "run"), scenario("speed", system, 2.0), system, 2.0, 1)
        for name, options in PLANS.items():
            request = CapacityRequest([Path(directory, "run")], "20/s", "delay p95 < 2s", processes=2, **options)
            wall_s, cpu_s = time.perf_counter(), _cpu_s()
            capacity(request, Console(file=io.StringIO()))
            print(f"| {name} | {time.perf_counter() - wall_s:.1f} s | {_cpu_s() - cpu_s:.1f} s |", flush=True)


def _spent_s(work: Workload, setting: WorkerConfig, rate_per_s: float) -> float:
    at_s = arrivals_at("poisson", rate_per_s, JOBS, 1)
    before_s = time.process_time()
    simulated_run.simulate_run(work, setting, at_s, 1)
    return time.process_time() - before_s


def _cpu_s() -> float:
    """Return the CPU seconds of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
