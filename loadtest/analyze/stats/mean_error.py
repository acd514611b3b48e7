"""The error of a mean of values that resemble their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from loadtest.analyze.stats.effective_number import Effective, autocorrelations
from loadtest.arrays import Floats

_MIN_DEGREES = 30
"""Fewer degrees of freedom, and the values' own autocorrelations are too uncertain to be summed."""
_LEAST = 1 / 3
"""The least of the effective number's variance that a sum of autocorrelations is taken for, by simulation
(`benchmarks/truth_comparison.py`)."""


@dataclass(frozen=True)
class MeanError:
    """The standard error of a mean, and the degrees of freedom with which it is known (Student's t)."""

    error: float
    degrees: float


def mean_error(deviations: Floats, worths: list[Effective]) -> MeanError:
    """Return the error of the mean of deviations from zero in the order of time.

    `worths` are those of the times that the deviations come from. They say up to which lag m neighbours resemble
    each other, since an indicator such as "over the percentile" hides it. If a run of n values has enough degrees of
    freedom, n / (2m + 1), the variance is that of the deviations times 1 + 2 Σ ρ of their own autocorrelations up to
    lag m, corrected for the bias of an estimated mean (Anderson 1971, The Statistical Analysis of Time Series,
    section 8.2). In a shorter run that sum is too uncertain, and the worst τ of the times takes its place, which is
    more.
    """
    n = len(deviations)
    tau, degrees = max(each.tau for each in worths), min(each.degrees for each in worths)
    variance = float(np.mean(deviations**2)) / max(1, n)
    if degrees >= _MIN_DEGREES and variance > 0:
        reach = round((n / degrees - 1) / 2)
        rho = autocorrelations(deviations, reach)[1:]
        tau = max((1 + 2 * float(rho.sum())) / (1 - 1 / degrees), tau * _LEAST)
    return MeanError(sqrt(variance * tau), max(1.0, degrees))
