"""What the room hands on, estimates with their intervals as plain values, and how work that is long is shared out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import msgspec
import numpy as np
from scipy import special

A = TypeVar("A")
T = TypeVar("T")


class MapFn(Protocol):
    """`map`, or one that shares the items out among processes: work and items are then sent there."""

    def __call__(self, work: Callable[[A], T], items: Iterable[A], /) -> Iterable[T]:
        """What the work gives for each item, in their order."""
        ...


class Estimate(msgspec.Struct, frozen=True):
    """A figure and between what it lies, with 95 % confidence where nothing else is said."""

    value: float
    low: float
    high: float


def estimate(values: Sequence[float], level: float = 0.95) -> Estimate:
    """The mean of independent replications and its interval: mean ± t · s / √R with R − 1 degrees of freedom.

    One replication tells nothing of its error: its interval is infinite.
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, -np.inf, np.inf)
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    reach = float(special.stdtrit(len(values) - 1, (1 + level) / 2)) * error
    return Estimate(mean, mean - reach, mean + reach)


def min_upper_bound(observed: Sequence[float], total: int, level: float = 0.95) -> float:
    """The least upper end that the interval of `estimate` can have once there are `total` figures, none below 0.

    With n seen, of mean a and squared deviations S, the rest r are best alike, at a − d: the end is then
    a − r d / R + c √((S + n r d² / R) / (R − 1)) with c = t / √R. It is least at
    d² = (R − 1) S / (c² n² − (R − 1) n r / R), or at d = a where that is more, or none.
    """
    n, rest = len(observed), total - len(observed)
    if total < 2:
        return np.inf
    mean = float(np.mean(observed))
    deviations = float(np.square(np.asarray(observed) - mean).sum())
    c = float(special.stdtrit(total - 1, (1 + level) / 2)) / total**0.5
    curve = c**2 * n**2 - (total - 1) * n * rest / total
    best = ((total - 1) * deviations / curve) ** 0.5 if curve > 0 else np.inf
    apart = min(mean, best) if rest else 0.0
    spread = (deviations + n * rest / total * apart**2) / (total - 1)
    return float(mean - rest * apart / total + c * spread**0.5)
