"""Noise of which the truth is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter


def autoregressive(rng: np.random.Generator, n: int, rho: float) -> NDArray[np.float64]:
    """Standard normal values of which neighbours correlate by `rho`: an AR(1)."""
    settling = 200
    innovations = rng.normal(0, np.sqrt(1 - rho * rho), n + settling)
    values: NDArray[np.float64] = lfilter([1.0], [1.0, -rho], innovations)[settling:]
    return values
