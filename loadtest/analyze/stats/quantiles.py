"""Exact percentiles: the nearest rank of all samples, with intervals by order statistics."""

from __future__ import annotations

from math import ceil, inf, log

import numpy as np

from loadtest.analyze.stats.effective_number import Effective, effective_times, independent
from loadtest.analyze.stats.percentile_bounds import (
    lower_rank,
    ranks_needed,
    upper_end,
    upper_ranks,
)
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


def quantiles(values: Floats, pooled: Effective | None = None) -> Quantiles:
    """Return the distribution of values in the order of time, NaNs left out.

    `pooled` is what values are worth of which a job has several, none of them NaN: then the number of jobs has to
    support a percentile.

    A percentile that their number cannot support is None. Its interval is left out if they resemble each other so
    much that nothing can be said (`stats.percentile_bounds`).
    """
    unknown = np.isnan(values)
    known = values[~unknown] if unknown.any() else values.copy()
    n = len(known)
    if n == 0:
        return Quantiles(n=0)
    worth = pooled or effective_times(known)
    least, mean, most = float(known.min()), float(known.mean()), float(known.max())
    jobs = n if pooled is None else min(n, int(pooled.most))
    supported = [(name, per_mille) for name, per_mille in PER_MILLE.items() if is_supported(jobs, per_mille)]
    lower = {name: lower_rank(n, per_mille, worth, TAIL) for name, per_mille in supported}
    upper = {name: upper_ranks(n, per_mille, worth, TAIL) for name, per_mille in supported}
    read = {nearest_rank(n, per_mille) for _, per_mille in supported} | {rank for rank in lower.values() if rank}
    for name, per_mille in supported:
        read.update(ranks_needed(n, per_mille, upper[name]))
    # The values at these ranks are those of a full sort, which takes five times as long.
    known.partition(sorted(rank - 1 for rank in read) or [0])
    ends = {name: (lower[name], upper_end(known, per_mille, upper[name])) for name, per_mille in supported}
    return Quantiles(
        n=n,
        effective_n=worth.n,
        min=least,
        mean=mean,
        max=most,
        ci95={name: (float(known[low - 1]), high) for name, (low, high) in ends.items() if low and high < inf},
        **{name: float(known[nearest_rank(n, per_mille) - 1]) for name, per_mille in supported},
    )
