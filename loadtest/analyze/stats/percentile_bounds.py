"""The ends of a percentile's interval, for jobs that may resemble their neighbours.

By order statistics: with B ~ Binomial(m, p) for an effective number of m, and counts of n jobs scaled by m/n. This
assumes no distribution. An upper end needs pᵐ to be small, so at least 72 effective jobs for the interval of a p95. A
run of a busy queue has fewer, and its longest time may well be below the percentile.

Then, if jobs clearly depend on each other, the upper end is extrapolated on a logarithmic scale: the share above the
percentile has a relative standard error of √(p / ((1 − p) m)), and log q moves by `slope` for each unit of
−log(1 − p). The slope is measured over the factor e of shares below the percentile, and taken as at least that of an
exponential distribution. Student's t allows for the estimate of m. The end is never below the value that has the
extrapolated share of jobs above it, so a second mode that the run has seen counts in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, floor, inf, log, sqrt

import numpy as np
from scipy import special

from loadtest.analyze.stats.effective_number import Effective
from loadtest.arrays import Floats
from loadtest.units import nearest_rank

_CLEARLY = 2.0
"""Jobs may clearly depend on each other if they count for less than their number divided by this."""
_LARGEST_FACTOR = 1000.0
"""An upper end further from the percentile than this factor says nothing."""


@dataclass(frozen=True)
class UpperRanks:
    """Where to find an upper end: the rank by order statistics (from 1), and the parts of the extrapolation.

    `below` and `above` are ranks, `steps` is the distance in units of −log(1 − p); None for what does not exist.
    """

    ordered: int | None
    extrapolated: tuple[int, int, float] | None


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
def upper_ranks(n: int, per_mille: int, worth: Effective, tail: float) -> UpperRanks:
    """Return where to find the value that is below the true percentile with at most probability `tail`."""
    p, m = per_mille / 1000, worth.for_upper()
    if n == 0 or p**n > tail:
        return UpperRanks(None, None)
    if m == n:
        rank = binomial_quantile(1 - tail, n, p) + 1
        return UpperRanks(rank if rank <= n else None, None)
    ordered = n - floor(float(special.bdtrik(tail, m, 1 - p)) * n / m) if p**m <= tail else None
    if n / m < _CLEARLY:
        return UpperRanks(ordered, None)
    steps = float(special.stdtrit(worth.degrees / 2, 1 - tail)) * sqrt(p / ((1 - p) * m))
    below = ceil((1 - min(1.0, (1 - p) * exp(1))) * n)
    above = max(nearest_rank(n, per_mille), ceil((1 - (1 - p) * exp(-steps)) * n))
    return UpperRanks(ordered, (max(1, below), above, steps))


def ranks_needed(n: int, per_mille: int, ranks: UpperRanks) -> list[int]:
    """Return the ranks whose values `upper_end` reads."""
    found = [] if ranks.ordered is None else [ranks.ordered]
    return found if ranks.extrapolated is None else [*found, *ranks.extrapolated[:2], nearest_rank(n, per_mille)]


def upper_end(ordered: Floats, per_mille: int, ranks: UpperRanks) -> float:
    """Return the upper end; infinite if there is none. `ordered` has the `ranks_needed` in their places."""
    found = inf if ranks.ordered is None else float(ordered[ranks.ordered - 1])
    if ranks.extrapolated is None:
        return found
    below, above, steps = ranks.extrapolated
    at, lower, least = (float(ordered[rank - 1]) for rank in (nearest_rank(len(ordered), per_mille), below, above))
    if not 0 < lower <= at < inf:
        return found
    slope = max(log(at / lower), -1 / log(1 - per_mille / 1000))
    factor = exp(min(slope * steps, 700.0))
    return min(found, max(at * factor, least)) if factor <= _LARGEST_FACTOR else found


def upper_bound(values: Floats, per_mille: int, worth: Effective, tail: float) -> float:
    """Return the upper end for values in any order; unknown ones are infinite."""
    ranks = upper_ranks(len(values), per_mille, worth, tail)
    needed = ranks_needed(len(values), per_mille, ranks)
    return upper_end(np.partition(values, [rank - 1 for rank in needed]), per_mille, ranks) if needed else inf
