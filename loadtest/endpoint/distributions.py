"""Times sampled from a distribution, in blocks, since one call per value costs more than the value."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loadtest.endpoint.settings import Constant, Distribution, Empirical, LogNormal

BLOCK = 4096
"""The number of values that are drawn at once."""


def sample(distribution: Distribution, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return `count` times in seconds: constant, median · exp(sigma · Z) with Z standard normal, or drawn from
    values.
    """
    match distribution:
        case Constant():
            return np.full(count, distribution.constant)
        case LogNormal():
            return distribution.median * np.exp(distribution.sigma * rng.standard_normal(count))
        case Empirical():
            return np.array(distribution.values)[rng.integers(len(distribution.values), size=count)]


def sample_stream(distribution: Distribution, rng: np.random.Generator) -> Iterator[float]:
    """Yield times in seconds; the sequence depends on nothing but the generator."""
    while True:
        yield from sample(distribution, BLOCK, rng).tolist()
