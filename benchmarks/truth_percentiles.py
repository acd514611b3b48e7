"""How often gates and intervals of percentiles are right, on queues whose percentiles are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.queues import SYSTEMS, Array, System, simulate, true_percentile_ms
from loadtest.analyze.stats.effective_number import Effective, effective_times
from loadtest.analyze.stats.percentile_bounds import lower_rank, upper_bound
from loadtest.analyze.stats.quantiles import TAIL
from loadtest.gate.early_stopping import ALPHA, holds, refuted
from loadtest.units import nearest_rank

LOADS = (0.5, 0.7, 0.8, 0.9, 0.95)
JOBS = (1000, 5000)
RUNS = 300
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


def cells() -> Iterator[Cell]:
    """Yield the cells, each of `RUNS` runs; those of 1000 jobs are the starts of those of 5000."""
    for system in SYSTEMS:
        for load in LOADS if system.workers or system.correlated else LOADS[:1]:
            runs = simulate(system, load, RUNS, max(JOBS), SEED)
            for quantity in ("delay", "end_to_end") if system.workers else ("delay",):
                times_ms = runs.delay_ms if quantity == "delay" else runs.end_to_end_ms
                yield from _cells_of(system, load, quantity, times_ms)


def _cells_of(system: System, load: float, quantity: str, times_ms: Array) -> Iterator[Cell]:
    for jobs in JOBS:
        some = times_ms[:, :jobs]
        worths = [effective_times(run) for run in some]
        for per_mille in (950, 990):
            truth_ms = true_percentile_ms(system, load, quantity, per_mille / 1000)
            judged = np.array([_judge(*each, per_mille, truth_ms) for each in zip(some, worths, strict=True)])
            false_pass, false_fail, passes, fails, printed, covers = judged.mean(axis=0).tolist()
            oracle = _oracle(some, per_mille)
            held = covers / printed if printed else 1.0
            yield Cell(
                system.name, load, quantity, jobs, per_mille,
                false_pass, false_fail, passes, oracle[0], fails, oracle[1], printed, held,
            )  # fmt: skip


def _judge(run: Array, worth: Effective, per_mille: int, truth_ms: float) -> tuple[bool, ...]:
    n, share = len(run), (1000 - per_mille) / 1000

    def over(limit_ms: float) -> int:
        return int(np.count_nonzero(run >= limit_ms))

    most_ms = upper_bound(run, per_mille, worth, ALPHA)
    at, half = (most_ms < limit_ms or holds(over(limit_ms), n, share, worth) for limit_ms in (truth_ms, 2 * truth_ms))
    false_fail, fails = (refuted(over(limit_ms), n, share, worth) for limit_ms in (truth_ms, truth_ms / 2))
    rank, high_ms = lower_rank(n, per_mille, worth, TAIL), upper_bound(run, per_mille, worth, TAIL)
    printed = rank is not None and bool(np.isfinite(high_ms))
    covers = rank is not None and printed and bool(np.partition(run, rank - 1)[rank - 1] <= truth_ms <= high_ms)
    return at, false_fail, half, fails, printed, covers


def _oracle(runs: Array, per_mille: int) -> tuple[float, float]:
    """Return how often a rule with 2 % false passes (4 % false fails) on the sample percentile would decide."""
    rank = nearest_rank(runs.shape[1], per_mille) - 1
    found = np.partition(runs, rank, axis=1)[:, rank]
    low, high = np.quantile(found, [0.02, 0.96])
    return float(np.mean(found / 2 < low)), float(np.mean(found * 2 > high))


def table(found: list[Cell]) -> list[str]:
    """Return the cells as a Markdown table, in percent."""
    heads = (
        "system | load | time | n | p | false pass | false fail | pass at ½ (oracle) | fail at 2 × (oracle) | printed"
    )
    lines = [f"| {heads} | covers |", f"|---|{'--:|' * (heads.count('|') + 1)}"]
    for each in found:
        shares = [each.false_pass, each.false_fail, each.passes, each.oracle_passes, each.fails, each.oracle_fails]
        name = each.quantity.replace("_", "-")
        texts = [f"{100 * share:.1f}" for share in shares[:2]] + [f"{100 * share:.0f}" for share in shares[2:]]
        lines.append(
            f"| {each.system} | {each.load:g} | {name} | {each.jobs} | p{each.per_mille // 10}"
            f" | {texts[0]} | {texts[1]} | {texts[2]} ({texts[3]}) | {texts[4]} ({texts[5]})"
            f" | {100 * each.printed:.0f} | {100 * each.covers:.1f} |"
        )
    return lines
