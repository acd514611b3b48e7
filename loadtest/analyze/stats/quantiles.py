"""Exact percentiles: the nearest rank of all samples, with intervals that assume no distribution."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from loadtest.analyze.summary import Quantiles
from loadtest.units import nearest_rank

PER_MILLE = {"p50": 500, "p70": 700, "p90": 900, "p95": 950, "p98": 980, "p99": 990, "p99_9": 999}
"""The percentiles of a `Quantiles`; in thousandths, so that a rank is exact where p·n is not in floats."""

TAIL = 0.025
"""The probability on each side of a 95 % interval."""


def interval_ranks(n: int, per_mille: int) -> tuple[int, int] | None:
    """Return ranks (from 1) that hold the true percentile with 95 % confidence; None if n is too small.

    Order statistics: with B ~ Binomial(n, p), the l-th value is above the percentile with probability
    P(B < l) and the u-th below it with P(B ≥ u); l is the largest and u the smallest for which that is at
    most 2.5 %. Both exist when pⁿ ≤ 0.025 and (1−p)ⁿ ≤ 0.025: from n = 36, 72, 368, 3688 for p90, p95, p99, p99.9.
    """
    if n == 0:
        return None
    p = per_mille / 1000
    low, high = binomial_quantile(TAIL, n, p), binomial_quantile(1 - TAIL, n, p) + 1
    return (low, high) if low >= 1 and high <= n else None


def is_supported(n: int, per_mille: int) -> bool:
    """Return whether n values support a percentile."""
    return interval_ranks(n, per_mille) is not None


def min_samples(per_mille: int) -> int:
    """Return the fewest values that support a percentile: both pⁿ and (1−p)ⁿ are at most 2.5 %."""
    p = per_mille / 1000
    return math.ceil(math.log(TAIL) / math.log(max(p, 1 - p)))


def binomial_quantile(q: float, n: int, p: float) -> int:
    """Return the least k with P(B ≤ k) ≥ q, for B ~ Binomial(n, p)."""
    k = math.ceil(special.bdtrik(q, n, p))
    # bdtrik is exact only to its last digits, which a value at an integer's edge would turn into a whole rank.
    return k - 1 if k > 0 and special.bdtr(k - 1, n, p) >= q * (1 - 1e-12) else k


@lru_cache(maxsize=4096)
def _ranks(n: int) -> tuple[tuple[str, int, int, int], ...]:
    """Return the name, the rank and the interval's ranks of each percentile that n supports."""
    ranks = ((name, nearest_rank(n, pm), interval_ranks(n, pm)) for name, pm in PER_MILLE.items())
    return tuple((name, rank, *interval) for name, rank, interval in ranks if interval is not None)


def quantiles(values: NDArray[np.float64]) -> Quantiles:
    """Return the distribution of values, NaNs left out; None for percentiles that their number cannot support."""
    unknown = np.isnan(values)
    known = values[~unknown] if unknown.any() else values.copy()
    n = len(known)
    if n == 0:
        return Quantiles(n=0)
    ranks = _ranks(n)
    least, mean, most = float(known.min()), float(known.mean()), float(known.max())
    # The values at these ranks are those of a full sort, which takes five times as long.
    known.partition(sorted({rank - 1 for _, *three in ranks for rank in three} or {0}))
    return Quantiles(
        n=n,
        min=least,
        mean=mean,
        max=most,
        ci95={name: (float(known[low - 1]), float(known[high - 1])) for name, _, low, high in ranks},
        **{name: float(known[rank - 1]) for name, rank, _, _ in ranks},
    )
