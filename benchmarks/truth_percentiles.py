"""How often gates and intervals of percentiles are right, on queues whose percentiles are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.queues import Array, System, simulate, true_percentile_ms
from loadtest.gate.early_stopping import refuted
from loadtest.gate.measures import Times
from loadtest.units import nearest_rank

LOADS = (0.5, 0.7, 0.8, 0.9, 0.95)
JOBS = (1000, 5000)
SEED = 20_261


@dataclass(frozen=True)
class Cell:
    """Shares of runs, 0 to 1, of one system, load, quantity, number of jobs and percentile.

    `false_pass` and `false_fail` with the limit at the truth; `passes` with the truth at half of the limit, `fails`
    at twice; the oracle's figures are those of a rule that knows how the sample percentile varies.
    """

    system: str
    load: float
    quantity: str
    jobs: int
    per_mille: int
    false_pass: float
    false_fail: float
    passes: float
    oracle_passes: float
    fails: float
    oracle_fails: float
    printed: float
    covers: float


def cells(system: System, load: float, runs: int) -> list[Cell]:
    """Return the cells of a system at a utilisation; those of 1000 jobs are the starts of those of 5000."""
    made = simulate(system, load, runs, max(JOBS), SEED)
    found = list(_cells_of(system, load, "delay", made.delay_ms))
    return [*found, *_cells_of(system, load, "end_to_end", made.end_to_end_ms)] if system.workers else found


def _cells_of(system: System, load: float, quantity: str, times_ms: Array) -> Iterator[Cell]:
    for jobs in JOBS:
        some = times_ms[:, :jobs]
        for per_mille in (950, 990):
            truth_ms = true_percentile_ms(system, load, quantity, per_mille / 1000)
            judged = np.array([_judge(run, per_mille, truth_ms) for run in some])
            false_pass, false_fail, passes, fails, printed, covers = judged.mean(axis=0).tolist()
            oracle = _oracle(some, per_mille)
            held = covers / printed if printed else 1.0
            yield Cell(
                system.name, load, quantity, jobs, per_mille,
                false_pass, false_fail, passes, oracle[0], fails, oracle[1], printed, held,
            )  # fmt: skip


def _judge(run: Array, per_mille: int, truth_ms: float) -> tuple[bool, ...]:
    measured = Times(run, run, np.zeros(len(run), np.int32))
    at, half, twice = (measured.count(limit_ms) for limit_ms in (truth_ms, 2 * truth_ms, truth_ms / 2))
    passes = (measured.holds(truth_ms, per_mille, at), measured.holds(2 * truth_ms, per_mille, half))
    fails = (refuted(each.over, each.n, 1 - per_mille / 1000, each.worth) for each in (at, twice))
    false_fail, failed = fails
    ends = measured.percentile_ms(per_mille)[1]
    return (
        passes[0],
        false_fail,
        passes[1],
        failed,
        ends is not None,
        ends is not None and ends[0] <= truth_ms <= ends[1],
    )


def _oracle(runs: Array, per_mille: int) -> tuple[float, float]:
    """Return how often a rule with 2 % false passes (4 % false fails) on the sample percentile would decide."""
    rank = nearest_rank(runs.shape[1], per_mille) - 1
    found = np.partition(runs, rank, axis=1)[:, rank]
    low, high = np.quantile(found, [0.02, 0.96])
    return float(np.mean(found / 2 < low)), float(np.mean(found * 2 > high))


def table(systems: Sequence[System], runs: int, pool: Executor) -> Iterator[str]:
    """Yield the lines of a Markdown table, in percent."""
    heads = (
        "system | load | time | n | p | false pass | false fail | pass at ½ (oracle) | fail at 2 × (oracle) | printed"
    )
    yield f"| {heads} | covers |"
    yield f"|---|{'--:|' * (heads.count('|') + 1)}"
    places = [
        (system, load) for system in systems for load in (LOADS if system.workers or system.correlated else LOADS[:1])
    ]
    for found in pool.map(partial(cells, runs=runs), *zip(*places, strict=True)):
        yield from map(_line, found)


def _line(cell: Cell) -> str:
    shares = [cell.false_pass, cell.false_fail, cell.passes, cell.oracle_passes, cell.fails, cell.oracle_fails]
    name = cell.quantity.replace("_", "-")
    texts = [f"{100 * share:.1f}" for share in shares[:2]] + [f"{100 * share:.0f}" for share in shares[2:]]
    return (
        f"| {cell.system} | {cell.load:g} | {name} | {cell.jobs} | p{cell.per_mille // 10}"
        f" | {texts[0]} | {texts[1]} | {texts[2]} ({texts[3]}) | {texts[4]} ({texts[5]})"
        f" | {100 * cell.printed:.0f} | {100 * cell.covers:.1f} |"
    )
