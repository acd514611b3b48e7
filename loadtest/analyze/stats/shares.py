"""Shares of values with their intervals, and by how much one share exceeds another."""

from __future__ import annotations

from math import hypot

from scipy import special


def share_interval(count: float, n: float, tail: float) -> tuple[float, float]:
    """Return the interval of the share of `count` among n independent values, with this probability on each side.

    Clopper and Pearson (1934, Biometrika 26, p. 404), continued to real numbers, for effective numbers of values.
    """
    low = float(special.betaincinv(count, n - count + 1, tail)) if count > 0 else 0.0
    high = float(special.betaincinv(count + 1, n - count, 1 - tail)) if count < n else 1.0
    return low, high


def excess(
    share: float, interval: tuple[float, float], base: float, base_interval: tuple[float, float]
) -> tuple[float, tuple[float, float]]:
    """Return the part c of values in a class apart, where `share` = base + (1 − base) · c, and its interval.

    That of the difference is Newcombe's, from the intervals of both shares (1998, Statistics in Medicine 17, p. 873,
    method 10). No end is below 0 or above 1.
    """
    difference, rest = share - base, max(1e-9, 1 - base)
    low = difference - hypot(share - interval[0], base_interval[1] - base)
    high = difference + hypot(interval[1] - share, base - base_interval[0])
    part, first, last = (min(1.0, max(0.0, each / rest)) for each in (difference, low, high))
    return part, (first, last)
