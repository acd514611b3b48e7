"""The ends of a percentile's interval, for jobs that may resemble their neighbours.

By order statistics: with B ~ Binomial(m, p) for an effective number of m, and counts of n jobs scaled by m/n. This
assumes no distribution. An upper end needs pᵐ to be small, so at least 72 effective jobs for the interval of a p95. A
run of a busy queue has fewer, and its longest time may well be below the percentile.

If jobs depend on each other, the upper end may then be extrapolated. The jobs show up to which share s of all jobs is
above the observed percentile (Clopper and Pearson 1934, for m jobs). The tail continues as a Weibull
distribution does: the end is the observed one times (log(1 − p) / log s)^k. The exponent k is measured over the
factor e of shares below the percentile, and at least 1, that of an exponential distribution. The end is never below
the value that has the extrapolated share of jobs above it, so a second mode that the run has seen counts in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, e, floor, inf, isinf, log

import numpy as np
from scipy import special

from loadtest.analyze.stats.effective_number import Effective
from loadtest.arrays import Floats
from loadtest.units import nearest_rank

_LARGEST_FACTOR = 1000.0
"""An upper end further from the percentile than this factor says nothing."""


@dataclass(frozen=True)
class Tail:
    """An extrapolation: the ranks (from 1) whose values it reads, and by what it multiplies the percentile if k is 1.

    `below` is the rank at e times the share above the percentile, None if there is none; `log_distance` is the
    distance from there on the scale of log(−log share).
    """

    below: int | None
    log_distance: float
    above: int
    factor: float


@dataclass(frozen=True)
class UpperRanks:
    """Where to find an upper end: the rank (from 1) by order statistics, and the extrapolation, if there are any."""

    ordered: int | None
    tail: Tail | None = None


def binomial_quantile(q: float, n: int, p: float) -> int:
    """Return the least k with P(B ≤ k) ≥ q, for B ~ Binomial(n, p)."""
    k = ceil(special.bdtrik(q, n, p))
    # bdtrik is exact only to its last digits, which a value at an integer's edge would turn into a whole rank.
    return k - 1 if k > 0 and special.bdtr(k - 1, n, p) >= q * (1 - 1e-12) else k


def share_at_most(over: float, m: float, share: float) -> float:
    """Return P(B ≤ over) for B ~ Binomial(m, share), continued to real numbers by the beta distribution."""
    return float(special.betainc(m - over, over + 1, 1 - share)) if over < m else 1.0


def lower_rank(n: int, per_mille: int, worth: Effective, tail: float) -> int | None:
    """Return the largest rank (from 1) whose value is above the true percentile with at most probability `tail`."""
    p, m = per_mille / 1000, worth.for_lower()
    if n == 0 or (1 - p) ** m > tail:
        return None
    if m == n:
        return binomial_quantile(tail, n, p)
    return max(1, min(n, floor(1 + float(special.bdtrik(tail, m, p)) * n / m)))


@lru_cache(maxsize=4096)
def upper_ranks(n: int, per_mille: int, worth: Effective, tail: float, size: int | None = None) -> UpperRanks:
    """Return where to find the value that is below the true percentile with at most probability `tail`.

    With a `size`: where it would be, if that many jobs had times like these n. Nothing is extrapolated from values
    that depend on each other only because they are of one job (`effective_pooled`).
    """
    p, jobs = per_mille / 1000, n if size is None else size
    m = worth.for_upper(jobs)
    if n == 0 or p**jobs > tail:
        return UpperRanks(None)
    if m == n == jobs:
        rank = binomial_quantile(1 - tail, n, p) + 1
        return UpperRanks(rank if rank <= n else None)
    ordered = n - floor(float(special.bdtrik(tail, m, 1 - p)) * n / m) if p**m <= tail else None
    return UpperRanks(ordered, None if m == jobs or isinf(worth.degrees) else _tail(n, p, m, tail))


def _tail(n: int, p: float, m: float, tail: float) -> Tail | None:
    share, log_share = float(special.betaincinv((1 - p) * m + 1, p * m, 1 - tail)), log(1 - p)
    if share >= 1:
        return None
    measured = log_share < -1
    below = max(1, ceil((1 - (1 - p) * e) * n)) if measured and (1 - p) * e < 1 else None
    distance = log(log_share / (log_share + 1)) if below is not None else 0.0
    return Tail(below, distance, min(n, ceil((1 - (1 - p) ** 2 / share) * n)), log_share / log(share))


def ranks_needed(n: int, per_mille: int, ranks: UpperRanks) -> list[int]:
    """Return the ranks whose values `upper_end` reads."""
    found = [] if ranks.ordered is None else [ranks.ordered]
    if ranks.tail is None:
        return found
    below = [] if ranks.tail.below is None else [ranks.tail.below]
    return [*found, *below, ranks.tail.above, nearest_rank(n, per_mille)]


def upper_end(ordered: Floats, per_mille: int, ranks: UpperRanks) -> float:
    """Return the upper end; infinite if there is none. `ordered` has the `ranks_needed` in their places."""
    found = inf if ranks.ordered is None else float(ordered[ranks.ordered - 1])
    return found if ranks.tail is None else min(found, _extrapolated(ordered, per_mille, ranks.tail))


def _extrapolated(ordered: Floats, per_mille: int, tail: Tail) -> float:
    """Return the observed percentile times the factor to the power of k; infinite if it is too far or unknown."""
    at, least = float(ordered[nearest_rank(len(ordered), per_mille) - 1]), float(ordered[tail.above - 1])
    k = 1.0
    if tail.below is not None:
        lower = float(ordered[tail.below - 1])
        if not 0 < lower <= at < inf:
            return inf
        k = max(k, log(at / lower) / tail.log_distance)
    if k * log(tail.factor) > log(_LARGEST_FACTOR):
        return inf
    return max(at * float(tail.factor**k), least)


def upper_bound(values: Floats, per_mille: int, worth: Effective, tail: float) -> float:
    """Return the upper end for values in any order; unknown ones are infinite."""
    ranks = upper_ranks(len(values), per_mille, worth, tail)
    needed = ranks_needed(len(values), per_mille, ranks)
    return upper_end(np.partition(values, [rank - 1 for rank in needed]), per_mille, ranks) if needed else inf
