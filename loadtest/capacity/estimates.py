"""Estimates with their intervals as plain values, and the type of a function that maps work over items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from scipy import special

MapFn = Callable[..., Iterable[Any]]
"""`map`, or the `map` of a process pool, which sends the function and the items to other processes."""


class Estimate(msgspec.Struct, frozen=True):
    """A figure and its interval, at 95 % confidence unless stated otherwise."""

    value: float
    low: float
    high: float


def estimate(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Return the mean of R independent replications ± t · s / √R, R − 1 degrees of freedom; infinite for R = 1."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, -np.inf, np.inf)
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    reach = float(special.stdtrit(len(values) - 1, (1 + level) / 2)) * error
    return Estimate(mean, mean - reach, mean + reach)


def min_upper_bound(observed: Sequence[float], total: int, level: float = 0.95) -> float:
    """Return the lowest upper end that the interval of `estimate` can reach after R = `total` figures, none below 0.

    Let n figures be observed, with mean a and sum of squared deviations S. The end is lowest if the r = R − n figures
    still to come are equal, at a − d. It is then a − r d / R + c √((S + n r d² / R) / (R − 1)) with c = t / √R, and
    is lowest at d² = (R − 1) S / (c² n² − (R − 1) n r / R); at d = a if that gives more, or no d at all.
    """
    n, rest = len(observed), total - len(observed)
    if total < 2:
        return np.inf
    mean = float(np.mean(observed))
    deviations = float(np.square(np.asarray(observed) - mean).sum())
    c = float(special.stdtrit(total - 1, (1 + level) / 2)) / total**0.5
    curve = c**2 * n**2 - (total - 1) * n * rest / total
    best = ((total - 1) * deviations / curve) ** 0.5 if curve > 0 else np.inf
    distance = min(mean, best) if rest else 0.0
    variance = (deviations + n * rest / total * distance**2) / (total - 1)
    return float(mean - rest * distance / total + c * variance**0.5)
