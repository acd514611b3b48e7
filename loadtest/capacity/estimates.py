"""Estimates with their intervals as plain values, and the type of a function that maps work over items."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from scipy import special

from loadtest.arrays import Floats

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


def estimate_redrawn(values: Sequence[float], redrawn: Sequence[float]) -> Estimate:
    """Return the mean of R replications, with a 95 % interval that includes the error of their calibration.

    `redrawn` are the same replications (arrivals, draws) of R other calibrations. How far their logarithms differ
    from those of `values` is the calibration's error: ± t · s · √(1 + 1/R).
    """
    n = len(redrawn)
    return _with_error(values, redrawn, lambda logs: float(np.std(logs, ddof=1)) * redrawn_reach(n))


def estimate_shifted(values: Sequence[float], worse: Sequence[float]) -> Estimate:
    """Return the same from replications of the workload at the end of its calibration's interval (`pessimistic`)."""
    return _with_error(values, worse, lambda logs: abs(float(np.mean(logs))))


def redrawn_reach(n: int) -> float:
    """Return t · √(1 + 1/n), how many standard deviations the next of n + 1 draws may be from the mean of n."""
    return float(special.stdtrit(n - 1, 0.975)) * math.sqrt(1 + 1 / n)


def _with_error(values: Sequence[float], others: Sequence[float], reach_of: Callable[[Floats], float]) -> Estimate:
    """Return the mean of `values`, its interval joined with another one for the logarithm, which is ± `reach_of`.

    Times in a queue multiply; of figures near 0 the logarithm is of these plus a tenth of the mean. The intervals are
    joined by MOVER (Zou and Donner 2008, Statistics in Medicine 27, p. 1693). No end is below 0.
    """
    simulated = estimate(values)
    every = np.concatenate([values, others])
    offset = float(every.mean()) / 10
    if len(others) == 0 or offset == 0:
        return simulated
    if not np.isfinite(offset):
        return Estimate(simulated.value, float(every.min()), np.inf)
    reach = reach_of(np.log(np.asarray(others) + offset) - np.log(np.asarray(values) + offset))
    value = simulated.value
    above, below = (value + offset) * math.expm1(reach), -(value + offset) * math.expm1(-reach)
    low = value - math.hypot(value - simulated.low, below)
    return Estimate(value, max(0.0, low), value + math.hypot(simulated.high - value, above))


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
