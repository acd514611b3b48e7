"""Times drawn from a spread: in blocks, since one call per value costs more than the value."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loadtest.endpoint.settings import Constant, LogNormal, Measured

BLOCK = 4096
"""How many values are drawn at once."""


def draws(spread: Constant | LogNormal | Measured, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`count` times in seconds: constant, median · exp(sigma · Z) with Z standard normal, or picked from values."""
    match spread:
        case Constant():
            return np.full(count, spread.constant)
        case LogNormal():
            return spread.median * np.exp(spread.sigma * rng.standard_normal(count))
        case Measured():
            return np.array(spread.values)[rng.integers(len(spread.values), size=count)]


def endless(spread: Constant | LogNormal | Measured, rng: np.random.Generator) -> Iterator[float]:
    """Times in seconds, one after the other; the sequence depends on nothing but the generator."""
    while True:
        yield from draws(spread, BLOCK, rng).tolist()
