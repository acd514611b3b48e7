"""The dependence of neighbouring jobs: the length of blocks to resample, and the effective number of jobs.

All values are in the order of time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import fft

from loadtest.arrays import Floats

_MAX_VALUES = 2**20
_SIGNIFICANT = 2.0


@dataclass(frozen=True)
class SerialDependence:
    """`length` of the blocks to resample; `effective_n`, the number of equally informative independent values."""

    length: int
    effective_n: float


def serial_dependence(values: Floats) -> SerialDependence:
    """Return how far values depend on their neighbours.

    Block length for a circular block bootstrap: Politis and White (2004, Econometric Reviews 23, section 3.2) with
    the correction of Patton, Politis and White (2009, ibid. 28, p. 374): (2 G² / D)^(1/3) n^(1/3), doubled, since
    blocks too short understate a variance and blocks twice as long only make it noisier. `effective_n` is
    n / (1 + 2 Σ ρ), which for a lag-1 autocorrelation of ρ is n (1−ρ)/(1+ρ), and never more than n.
    If there are more than 2²⁰ values, only the middle 2²⁰ are used.
    """
    n = len(values)
    if n < 2:
        return SerialDependence(1, float(n))
    spare = max(0, n - _MAX_VALUES) // 2
    rho = autocorrelations(values[spare : n - spare])
    reach = _reach(rho, n - 2 * spare)
    lags = np.arange(1, min(2 * reach, len(rho)) + 1)
    # The flat-top kernel: full weight up to half the reach, then falling to none.
    weights = np.clip(2 * (1 - lags / (2 * reach)), 0, 1) * rho[: len(lags)] if reach else np.zeros(0)
    long_run = max(1.0, 1 + 2 * float(weights.sum()))
    slope = 2 * float((lags[: len(weights)] * weights).sum())
    length = 2 * (1.5 * slope**2 / long_run**2 * n) ** (1 / 3)
    return SerialDependence(max(1, min(math.ceil(length), n // 3, math.ceil(3 * math.sqrt(n)))), n / long_run)


def autocorrelations(values: Floats) -> Floats:
    """Return autocorrelations at lags 1, 2 … up to about √n; zeros if the values do not vary."""
    n = len(values)
    most = min(n - 1, math.ceil(math.sqrt(n)) + _span(n))
    centred = values - values.mean()
    size = fft.next_fast_len(n + most, real=True)
    spectrum = fft.rfft(centred, size)
    covariances = fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[: most + 1]
    if covariances[0] <= 1e-12 * n * max(1.0, float(np.abs(values).max()) ** 2):
        return np.zeros(most)
    rho: Floats = covariances[1:] / covariances[0]
    return rho


def _span(n: int) -> int:
    """Return Politis and White's K, the number of consecutive autocorrelations that must be insignificant."""
    return max(5, math.ceil(math.sqrt(math.log10(n))))


def _reach(rho: Floats, n: int) -> int:
    """Return the last lag before K autocorrelations that all lie within noise; the last significant one if none."""
    large = np.abs(rho) > _SIGNIFICANT * math.sqrt(math.log10(n) / n)
    span = min(_span(n), len(rho))
    in_a_row = np.convolve(large, np.ones(span), mode="valid")
    quiet = np.flatnonzero(in_a_row == 0)
    if len(quiet):
        return int(quiet[0])
    return int(np.flatnonzero(large)[-1]) + 1
