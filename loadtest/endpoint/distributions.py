"""Times drawn from a spread: in blocks, since one call per value costs more than the value."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loadtest.endpoint.settings import Constant, Empirical, LogNormal

BLOCK = 4096
"""How many values are drawn at once."""


def sample(
    distribution: Constant | LogNormal | Empirical, count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """`count` times in seconds: constant, median · exp(sigma · Z) with Z standard normal, or picked from values."""
    match distribution:
        case Constant():
            return np.full(count, distribution.constant)
        case LogNormal():
            return distribution.median * np.exp(distribution.sigma * rng.standard_normal(count))
        case Empirical():
            return np.array(distribution.values)[rng.integers(len(distribution.values), size=count)]


def sample_stream(distribution: Constant | LogNormal | Empirical, rng: np.random.Generator) -> Iterator[float]:
    """Times in seconds, one after the other; the sequence depends on nothing but the generator."""
    while True:
        yield from sample(distribution, BLOCK, rng).tolist()
