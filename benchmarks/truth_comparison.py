"""Check what comparisons claim about chance, by simulated queues whose truth is known.

A compared with A: each pair of runs is of one system, with the *same arrivals* and execution times drawn again, or
*apart*, with nothing in common. The share of pairs that are better or worse in any metric, without a tolerance, is to
be at most 2 %; a response's times are those end to end. Power: the share of pairs in which end-to-end p95 is worse if
all times of the second run are 1.10 times as long; *possible* is what a test that knows the true standard error
finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from math import log
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.queues import SYSTEMS, Runs, System, simulate, simulate_pair
from loadtest.analyze.compare.comparable_run import ComparableRun
from loadtest.analyze.compare.comparison import ERROR_RATE, compare
from loadtest.analyze.compare.result import THROUGHPUT, ComparisonVerdict, MetricKey
from loadtest.scenario.metrics import Metric

LOADS = (0.5, 0.7, 0.8, 0.9, 0.95)
JOBS = (1000, 5000)
SLOWER = 1.10
P95 = MetricKey("run", Metric.END_TO_END, "p95")
METRICS = (
    THROUGHPUT,
    MetricKey("run", Metric.END_TO_END, "p50"),
    P95,
    MetricKey("run", Metric.DELAY, "p95"),
)


class Cell(NamedTuple):
    """A system at a utilisation, compared by runs of this many jobs."""

    system: System
    load: float
    jobs: int


@dataclass(frozen=True)
class Found:
    """Shares of pairs: different in any metric, and worse in p95 if slower; `possible` is the most that can be."""

    different: float
    slower: float
    possible: float


def cells() -> Iterator[Cell]:
    """Yield the cells of the table; independent times know no utilisation."""
    for system in SYSTEMS:
        for load in LOADS if system.workers or system.correlated else LOADS[:1]:
            yield from (Cell(system, load, jobs) for jobs in JOBS)


def comparable(runs: Runs, index: int, schedule: str) -> ComparableRun:
    """Return one of the runs as loadtest compares it."""
    arrival_ms, end_to_end_ms = runs.arrival_ms[index], runs.end_to_end_ms[index]
    times = {
        ("run", Metric.END_TO_END): end_to_end_ms,
        ("run", Metric.DELAY): runs.delay_ms[index],
    }
    seconds = int((arrival_ms[-1] - arrival_ms[0]) / 1000)
    per_s, _ = np.histogram((arrival_ms + end_to_end_ms - arrival_ms[0]) / 1000, np.arange(seconds + 1))
    return ComparableRun(times, per_s.astype(float), {}, {"run": np.arange(len(arrival_ms))}, schedule)


def measure(first: Runs, second: Runs, schedule: str) -> Found:
    """Return how often runs of one system differ, and how often one that is slower is found."""
    different, slower = [], []
    for each in range(len(first.delay_ms)):
        pair = (comparable(first, each, schedule), comparable(second, each, schedule))
        found = compare(pair[:1], pair[1], METRICS, tolerance=0.0, min_difference_ms=0.0)
        different.append(any(one.standing is not ComparisonVerdict.CANNOT_TELL for one in found))
        bounds = found[METRICS.index(P95)].bounds
        # The bounds of a run with all times multiplied are the bounds multiplied.
        slower.append(bounds is not None and bounds[0] * SLOWER > 1)
    return Found(float(np.mean(different)), float(np.mean(slower)), _possible(first, second))


def _possible(first: Runs, second: Runs) -> float:
    """Return the power of a test that knows the standard error of the ratio's logarithm, at Holm's first level."""
    before, after = (np.quantile(each.end_to_end_ms, 0.95, axis=1) for each in (first, second))
    needed = float(stats.norm.isf(ERROR_RATE / len(METRICS)))
    return float(stats.norm.sf(needed - log(SLOWER) / float(np.std(np.log(after / before)))))


def table_row(cell: Cell, runs: int) -> str:
    """Return the row of a cell."""
    first, second = simulate_pair(*cell[:2], runs, cell.jobs, seed=1)
    other = simulate(*cell[:2], runs, cell.jobs, seed=2)
    together, apart = measure(first, second, "one schedule"), measure(first, other, "")
    shares = (together.different, apart.different, together.slower, together.possible, apart.slower, apart.possible)
    load = f"{cell.load:g}" if cell.system.workers or cell.system.correlated else "–"
    return (
        f"| {cell.system.name} | {load} | {cell.jobs} | " + " | ".join(f"{100 * each:.1f}" for each in shares) + " |"
    )


def table(runs: int, pool: Executor) -> Iterator[str]:
    """Yield the lines of a Markdown table, in percent."""
    heads = ("same arrivals", "apart", "1.10 ×: same arrivals", "possible", "apart", "possible")
    yield "| system | ρ | n | A/A: " + " | ".join(heads) + " |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    yield from pool.map(partial(table_row, runs=runs), cells())
