"""What the room hands on, estimates with their intervals as plain values, and how work that is long is shared out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import msgspec
import numpy as np
from scipy import special

A = TypeVar("A")
T = TypeVar("T")


class Each(Protocol):
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
