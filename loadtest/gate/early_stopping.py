"""Early stopping: how many jobs may lie over a limit, and how many jobs are needed to decide.

The rule is MLPerf's early stopping. With t of n jobs over the limit, a percentile p is under it with
confidence c when P(B ≤ t) ≤ 1 − c, where B ~ Binomial(n, 1 − p): if just 1 − p of all jobs were over, t or fewer of n
would hardly ever be. It assumes no distribution of the times. Jobs that resemble their neighbours count as fewer:
`worth` scales t and n to the effective number of independent jobs; without it, jobs are independent.
A share, such as that of errors, is judged in the same way: the share that may be over takes the place of 1 − p.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from math import ceil

from scipy import special

from loadtest.analyze.stats.effective_number import Effective, independent
from loadtest.analyze.stats.percentile_bounds import share_at_most
from loadtest.analyze.stats.quantiles import TAIL

ALPHA = 0.01
"""1 − c, for MLPerf's c of 0.99: a target whose true figure is the limit passes in at most one of 100 runs."""
MAX_JOBS = 100_000_000
"""If not even this many jobs would decide, no number is given."""


def holds(over: int, n: int, share: float, worth: Effective | None = None) -> bool:
    """Return whether `over` of n jobs show that less than `share` (0 to 1) of all jobs are over; no jobs never do."""
    if n == 0 or over >= n:
        return False
    m = (worth or independent(n)).for_upper(n)
    return (float(special.bdtr(over, n, share)) if m == n else share_at_most(over * m / n, m, share)) <= ALPHA


def refutation(over: int, n: int, share: float, worth: Effective | None = None) -> float:
    """Return P(B ≥ over), the probability of this many over if only `share` of all jobs are; 1 with none over."""
    if over == 0:
        return 1.0
    m = (worth or independent(n)).for_lower()
    if m == n:
        return float(special.bdtrc(over - 1, n, share))
    return float(special.betainc(over * m / n, m - over * m / n + 1, share))


def refuted(over: int, n: int, share: float, worth: Effective | None = None) -> bool:
    """Return whether `over` of n jobs show that more than `share` are over: the 95 % interval is beyond the limit."""
    return refutation(over, n, share, worth) <= TAIL


def allowed_over(n: int, share: float, worth: Effective | None = None) -> int | None:
    """Return the most of n jobs that may be over for `holds`; None if n is too small even with none over."""
    first_refused = bisect_left(range(n), True, key=lambda over: not holds(over, n, share, worth))
    return first_refused - 1 if first_refused else None


def min_jobs(over: int, share: float) -> int:
    """Return the fewest jobs for which `holds` is true with `over` of them over."""
    return _least(over, lambda n: holds(over, n, share))


def more_jobs(over: int, n: int, share: float, worth: Effective | None = None) -> int | None:
    """Return how many more jobs would hold if the share over stays the same; None if no number would."""
    return more_until(n, lambda jobs: holds(ceil(over * jobs / n), jobs, share, worth)) if over < share * n else None


def more_until(n: int, enough: Callable[[int], bool]) -> int | None:
    """Return how many more than n jobs are enough; None if no number is."""
    return _least(n, enough) - n if enough(MAX_JOBS) else None


def _least(low: int, enough: Callable[[int], bool]) -> int:
    """Return the least number from `low` on that is enough, by doubling, then halving."""
    high = max(1, low)
    while not enough(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
