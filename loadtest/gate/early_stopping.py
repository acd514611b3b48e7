"""Early stopping: how many jobs may lie over a limit, and how many jobs are needed to decide.

The rule is MLPerf's early stopping. With t of n jobs over the limit, a percentile p is under it with
confidence c when P(B ≤ t) ≤ 1 − c, where B ~ Binomial(n, 1 − p): if just 1 − p of all jobs were over, t or fewer of n
would hardly ever be. It assumes no distribution of the times, but independent jobs.
A share, such as that of errors, is judged in the same way: the share that may be over takes the place of 1 − p.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable

from scipy import special

from loadtest.analyze.stats.quantiles import TAIL

ALPHA = 0.01
"""1 − c, for MLPerf's c of 0.99: a target whose true figure is the limit passes in at most one of 100 runs."""
MAX_JOBS = 100_000_000
"""If not even this many jobs would decide, no number is given."""


def holds(over: int, n: int, share: float) -> bool:
    """Return whether `over` of n jobs show that less than `share` (0 to 1) of all jobs are over; no jobs never do."""
    return n > 0 and over < n and float(special.bdtr(over, n, share)) <= ALPHA


def refutation(over: int, n: int, share: float) -> float:
    """Return P(B ≥ over), the probability of this many over if only `share` of all jobs are; 1 with none over."""
    return 1.0 if over == 0 else float(special.bdtrc(over - 1, n, share))


def refuted(over: int, n: int, share: float) -> bool:
    """Return whether `over` of n jobs show that more than `share` are over: the 95 % interval is beyond the limit."""
    return refutation(over, n, share) <= TAIL


def allowed_over(n: int, share: float) -> int | None:
    """Return the most of n jobs that may be over for `holds`; None if n is too small even with none over."""
    first_refused = bisect_left(range(n), True, key=lambda over: not holds(over, n, share))
    return first_refused - 1 if first_refused else None


def min_jobs(over: int, share: float) -> int:
    """Return the fewest jobs for which `holds` is true with `over` of them over."""
    return _least(over, lambda n: holds(over, n, share))


def more_jobs(over: int, n: int, share: float) -> int | None:
    """Return how many more jobs would hold if the share over stays the same; None if no number would."""
    if over == 0:
        return max(0, min_jobs(0, share) - n)
    if over >= share * n or not holds(math.ceil(over * MAX_JOBS / n), MAX_JOBS, share):
        return None
    return _least(n, lambda jobs: holds(math.ceil(over * jobs / n), jobs, share)) - n


def _least(low: int, enough: Callable[[int], bool]) -> int:
    """Return the least number from `low` on that is enough, by doubling, then halving."""
    high = max(1, low)
    while not enough(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
