"""The effective number of jobs: how many independent jobs would tell as much as these, which resemble each other.

All values are in the order of time. Only their ranks count, so that a heavy tail does not hide the dependence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from loadtest.arrays import Floats

_MAX_VALUES = 2**18
"""Of more values only as many from the middle are used, which is quick and still far longer than any dependence."""
_LONGEST = 4
"""Autocorrelations are summed up to at most n divided by this."""


@dataclass(frozen=True)
class Effective:
    """The worth of values in independent ones, and the degrees of freedom with which it is known."""

    n: float
    degrees: float


def effective_number(values: Floats) -> float:
    """Return the number of independent values that tell as much as these; at most their number, which ties reach."""
    return effective(values).n


def effective(values: Floats) -> Effective:
    """Return n / τ with τ = 1 + 2 Σ ρ, for autocorrelations ρ of the ranks, and how well τ is known.

    The sum ends at lag m by Geyer's initial positive sequence (1992, Statistical Science 7, section 3.3). Each sample
    autocorrelation is too low by about τ/n, because the mean is estimated as well (Anderson 1971, The Statistical
    Analysis of Time Series, 8.2.3), so τ = (1 + 2 Σ ρ) / (1 − (2m + 1)/n). The variance of the estimate is
    2 (2m + 1)/n τ² (Madras and Sokal 1988, J. Stat. Phys. 50, p. 109), that of a variance with n / (2m + 1) degrees
    of freedom.
    """
    n = len(values)
    if n < 2:
        return Effective(float(n), 1.0)
    spare = max(0, n - _MAX_VALUES) // 2
    used = values[spare : n - spare]
    total, reach = _initial_positive_sum(autocorrelations(average_ranks(used), len(used) // _LONGEST))
    share = (2 * reach + 1) / len(used)
    tau = max(1.0, total / (1 - share)) if share < 1 else float(n)
    return Effective(n / tau, max(1.0, n / (2 * reach + 1)))


def average_ranks(values: Floats) -> Floats:
    """Return the rank of each value, from 0; equal values share the middle of their ranks."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(np.append(first, len(values)))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(first + (counts - 1) / 2, counts)
    return ranks


def autocorrelations(values: Floats, most: int) -> Floats:
    """Return the autocorrelations at lags 0 to `most`; zeros but for the first if the values do not vary."""
    centred = values - values.mean()
    size = fft.next_fast_len(len(values) + most, real=True)
    spectrum = fft.rfft(centred, size)
    covariances = fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[: most + 1]
    if np.ptp(values) == 0:
        return np.concatenate([[1.0], np.zeros(most)])
    rho: Floats = covariances / covariances[0]
    return rho


def _initial_positive_sum(rho: Floats) -> tuple[float, int]:
    """Return 1 + 2 Σ ρ over the pairs of lags before the first whose sum is not positive, and the last lag summed."""
    pairs = rho[: len(rho) // 2 * 2].reshape(-1, 2).sum(axis=1)
    ended = np.flatnonzero(pairs <= 0)
    kept = int(ended[0]) if len(ended) else len(pairs)
    if kept == 0:
        return 1.0, 0
    falling = np.minimum.accumulate(pairs[:kept])
    return max(1.0, 2 * float(falling.sum()) - 1), 2 * kept - 1
