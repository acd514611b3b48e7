"""How often a steady window is found where the truth is known.

Queues are stationary, start empty, or are overloaded; times without a queue change their level, or rise all the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import fields
from itertools import repeat

import numpy as np

from benchmarks.queues import SERVICE_MS, SYSTEMS, Array, System, simulate
from loadtest.analyze.jobs import JobColumns, LoadWindow
from loadtest.analyze.steady import SteadyWindow, steady_window
from loadtest.scenario.model import Scenario

LOADS = (0.5, 0.7, 0.8, 0.9)
OVERLOADS = (1.02, 1.05)
JOBS = (1000, 5000)
OVERLOAD_S = 60.0
SEED = 7


def jobs_of_run(arrival_ms: Array, end_to_end_ms: Array) -> JobColumns:
    """Return completed jobs that arrived from 0 s on."""
    n = len(arrival_ms)
    columns = {field.name: np.full(n, np.nan) for field in fields(JobColumns)}
    columns |= {name: np.zeros(n, int) for name in ("process", "flow", "outcome", "worker")}
    columns |= {"seq": np.arange(n), "accepted": np.ones(n, bool)}
    columns |= {"intended_at": arrival_ms / 1000, "finished_at": (arrival_ms + end_to_end_ms) / 1000}
    return JobColumns(**columns)


def answers(arrival_ms: Array, end_to_end_ms: Array, duration_s: float | None = None) -> Iterator[SteadyWindow]:
    """Yield what the analysis says of each run, of arrays of runs x jobs; a run ends with its last job by default."""
    for arrivals, times in zip(arrival_ms, end_to_end_ms, strict=True):
        load = LoadWindow(0.0, duration_s or float(arrivals[-1]) / 1000 + 1e-6)
        scenario = Scenario.model_validate(
            {"name": "truth", "load": {"stages": [{"rate": "10/s", "for": f"{load.end_at:.6f}s"}]}}
        )
        sent = arrivals < load.end_at * 1000
        yield steady_window(scenario, jobs_of_run(arrivals[sent], times[sent]), load)


def row(name: str, found: Iterator[SteadyWindow]) -> str:
    """Return a row of the table: the shares of runs that are steady, too short to judge, and not steady."""
    every = list(found)
    steady = sum(each.window is not None for each in every)
    short = sum(each.too_short for each in every)
    shares = " | ".join(f"{each / len(every):.1%}" for each in (steady, short, len(every) - steady - short))
    return f"| {name} | {shares} |"


def queue_rows(system: System, runs: int) -> list[str]:
    """Return the rows of a system below and above what it can do."""
    return list(_queue_rows(system, runs))


def _queue_rows(system: System, runs: int) -> Iterator[str]:
    for empty in (False, True) if system.workers else (False,):
        for load in LOADS:
            for jobs in JOBS:
                made = simulate(system, load, runs, jobs, SEED, empty=empty)
                start = "empty" if empty else "stationary"
                yield row(f"{system.name} | {load} | {jobs}, {start}", answers(made.arrival_ms, made.end_to_end_ms))
    for load in OVERLOADS if system.workers else ():
        expected = OVERLOAD_S * 1000 / SERVICE_MS * system.workers * load
        jobs = round(expected + 6 * np.sqrt(expected))
        made = simulate(system, load, runs, jobs, SEED, empty=True)
        found = answers(made.arrival_ms, made.end_to_end_ms, OVERLOAD_S)
        yield row(f"{system.name} | {load} | {OVERLOAD_S:.0f} s, empty", found)


def change_rows(runs: int, jobs: int = 2000) -> list[str]:
    """Return the rows of times that change: from the middle on, all the time, or only at first."""
    return list(_change_rows(runs, jobs))


def _change_rows(runs: int, jobs: int) -> Iterator[str]:
    made = simulate(SYSTEMS[1], 0.95, runs, JOBS[1], SEED)
    yield row(f"AR(1) | 0.95 | {JOBS[1]}, stationary", answers(made.arrival_ms, made.end_to_end_ms))
    share = np.linspace(0, 1, jobs)
    kinds = {
        "1.5 × from the middle on": np.where(share < 0.5, 1.0, 1.5),
        "rise to 1.5 ×": 1.5**share,
        "rise to 3 ×": 3.0**share,
        "fall to 1/3": 3.0**-share,
        "6 × at first, over after a fifth": 1 + 5 * np.exp(-share * 20),
    }
    for rho in (0.0, 0.5):
        made = simulate(SYSTEMS[1], rho, runs, jobs, SEED)
        # A floor, and a third of the spread of an exponential.
        times_ms = 2 * SERVICE_MS + made.delay_ms
        for kind, factor in kinds.items():
            yield row(f"AR(1), {kind} | {rho} | {jobs}", answers(made.arrival_ms, times_ms * factor))


def table(runs: int, pool: Executor) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| times | utilisation, or autocorrelation | jobs | steady | too short to judge | not steady |"
    yield "|---|--:|---|--:|--:|--:|"
    for rows in pool.map(queue_rows, SYSTEMS, repeat(runs)):
        yield from rows
    yield from pool.submit(change_rows, runs).result()
