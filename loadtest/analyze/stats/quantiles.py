"""Exact percentiles: the nearest rank of all samples, with intervals by order statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, log

import numpy as np

from loadtest.analyze.stats.effective_number import Effective, effective_times, independent
from loadtest.analyze.stats.percentile_bounds import lower_rank, ranks_needed, upper_end, upper_ranks
from loadtest.analyze.summary import Quantiles
from loadtest.arrays import Floats
from loadtest.units import nearest_rank

PER_MILLE = {"p50": 500, "p70": 700, "p90": 900, "p95": 950, "p98": 980, "p99": 990, "p99_9": 999}
"""The percentiles of a `Quantiles`; in thousandths, so that a rank is exact where p·n is not in floats."""

TAIL = 0.025
"""The probability on each side of a 95 % interval."""


def interval_ranks(n: int, per_mille: int) -> tuple[int, int] | None:
    """Return ranks (from 1) that hold the true percentile of independent values with 95 %; None if n is too small.

    Order statistics: with B ~ Binomial(n, p), the l-th value is above the percentile with probability
    P(B < l) and the u-th below it with P(B ≥ u); l is the largest and u the smallest for which that is at
    most 2.5 %. Both exist when pⁿ ≤ 0.025 and (1−p)ⁿ ≤ 0.025: from n = 36, 72, 368, 3688 for p90, p95, p99, p99.9.
    """
    worth = independent(n)
    low, high = lower_rank(n, per_mille, worth, TAIL), upper_ranks(n, per_mille, worth, TAIL).ordered
    return None if low is None or high is None or low < 1 else (low, high)


def is_supported(n: int, per_mille: int) -> bool:
    """Return whether n values support a percentile."""
    return interval_ranks(n, per_mille) is not None


def min_samples(per_mille: int) -> int:
    """Return the fewest values that support a percentile: both pⁿ and (1−p)ⁿ are at most 2.5 %."""
    p = per_mille / 1000
    return ceil(log(TAIL) / log(max(p, 1 - p)))


@dataclass(frozen=True)
class Percentile:
    """One percentile of n values: the nearest rank and its 95 % interval, None if n cannot support them.

    `effective_n` is the number of independent values that show as much as these.
    """

    value: float | None
    ci95: tuple[float, float] | None
    n: int
    effective_n: float | None


def percentile(values: Floats, per_mille: int) -> Percentile:
    """Return one percentile of values in the order of time, NaNs left out, as `quantiles` gives it."""
    known = _known(values)
    if len(known) == 0:
        return Percentile(None, None, 0, None)
    worth = effective_times(known)
    value, interval = _nearest_ranks(known, worth, [per_mille]).get(per_mille, (None, None))
    return Percentile(value, interval, len(known), worth.n)


def quantiles(values: Floats, pooled: Effective | None = None) -> Quantiles:
    """Return the distribution of values in the order of time, NaNs left out.

    `pooled` is what values are worth of which a job has several, none of them NaN: then the number of jobs has to
    support a percentile.

    A percentile that their number cannot support is None. Its interval is left out if they resemble each other so
    much that nothing can be said (`stats.percentile_bounds`).
    """
    known = _known(values)
    n = len(known)
    if n == 0:
        return Quantiles(n=0)
    worth = pooled or effective_times(known)
    least, mean, most = float(known.min()), float(known.mean()), float(known.max())
    jobs = n if pooled is None else min(n, int(pooled.most))
    found = _nearest_ranks(known, worth, [each for each in PER_MILLE.values() if is_supported(jobs, each)])
    named = {name: found[per_mille] for name, per_mille in PER_MILLE.items() if per_mille in found}
    return Quantiles(
        n=n,
        effective_n=worth.n,
        min=least,
        mean=mean,
        max=most,
        ci95={name: interval for name, (_, interval) in named.items() if interval is not None},
        **{name: value for name, (value, _) in named.items()},
    )


def _known(values: Floats) -> Floats:
    """Return a copy of the values that are not NaN."""
    unknown = np.isnan(values)
    return values[~unknown] if unknown.any() else values.copy()


def _nearest_ranks(
    known: Floats, worth: Effective, per_milles: Sequence[int]
) -> dict[int, tuple[float, tuple[float, float] | None]]:
    """Return each percentile that the number of values supports, with its interval; the values are reordered."""
    n = len(known)
    supported = [per_mille for per_mille in per_milles if is_supported(n, per_mille)]
    lower = {per_mille: lower_rank(n, per_mille, worth, TAIL) for per_mille in supported}
    upper = {per_mille: upper_ranks(n, per_mille, worth, TAIL) for per_mille in supported}
    read = {nearest_rank(n, per_mille) for per_mille in supported} | {rank for rank in lower.values() if rank}
    for per_mille in supported:
        read.update(ranks_needed(n, per_mille, upper[per_mille]))
    # The values at these ranks are those of a full sort, which takes five times as long.
    known.partition(sorted(rank - 1 for rank in read) or [0])
    found: dict[int, tuple[float, tuple[float, float] | None]] = {}
    for per_mille in supported:
        low, high = lower[per_mille], upper_end(known, per_mille, upper[per_mille])
        interval = (float(known[low - 1]), high) if low and high < inf else None
        found[per_mille] = float(known[nearest_rank(n, per_mille) - 1]), interval
    return found
