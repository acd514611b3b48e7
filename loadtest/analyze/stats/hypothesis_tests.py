"""Hypothesis tests: whether a series rises or falls (Mann–Kendall), and Holm's levels for several tests at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from loadtest.arrays import Floats

_LAGS = 3
_SIGNIFICANT = float(special.ndtri(0.975))


@dataclass(frozen=True)
class Trend:
    """The two-sided p-value of "no trend", and the change from the first value to the last, as a share of it."""

    p_value: float
    change: float


def trend(logs: Floats, dependence: float = 1.0, degrees: float = math.inf) -> Trend:
    """Return the trend of logarithms in the order of time; at most some hundred of them.

    Mann–Kendall with the variance of Hamed and Rao (1998, Journal of Hydrology 204, p. 182), which allows for
    significant autocorrelation of the ranks at lags 1 to 3, and is never less than that of independent
    values, nor less than `dependence` times it, if more is known of the values than their ranks do. The score is
    compared with Student's t, with the `degrees` of freedom with which that is known. The change is along the
    Theil–Sen slope.
    """
    n = len(logs)
    earlier, later = np.triu_indices(n, 1)
    rises = logs[later] - logs[earlier]
    score = float(np.sign(rises).sum())
    slope = float(np.median(rises / (later - earlier)))
    inflation = max(dependence, _inflation(logs - slope * np.arange(n)))
    z = (score - np.sign(score)) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18 * inflation)
    p_value = 2 * (special.ndtr(-abs(z)) if math.isinf(degrees) else special.stdtr(degrees, -abs(z)))
    return Trend(float(p_value), math.expm1(slope * (n - 1)))


def _inflation(detrended: Floats) -> float:
    n = len(detrended)
    ranks = mean_ranks(detrended) - (n + 1) / 2
    if not ranks.any():
        return 1.0
    lags = np.arange(1, _LAGS + 1)
    rho = np.array([ranks[lag:] @ ranks[:-lag] for lag in lags]) / (ranks @ ranks)
    rho[np.abs(rho) < _SIGNIFICANT / math.sqrt(n)] = 0.0
    weights = (n - lags) * (n - lags - 1) * (n - lags - 2)
    return max(1.0, 1 + 2 / (n * (n - 1) * (n - 2)) * float(weights @ rho))


def mean_ranks(values: Floats) -> Floats:
    """Return ranks from 1; equal values get the mean of their ranks."""
    _, indices, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[indices]
    return ranks


def holm_levels(p_values: Sequence[float], error_rate: float) -> list[float]:
    """Return the level at which each p-value is tested, so that `error_rate` bounds any wrong rejection.

    Holm (1979, Scandinavian Journal of Statistics 6, p. 65): the least of m at error_rate/m, the next at
    error_rate/(m−1) and so on; from the first that is above its level, all others are tested at that level.
    """
    levels = [0.0] * len(p_values)
    left, stopped = len(p_values), False
    for index in sorted(range(len(p_values)), key=lambda index: p_values[index]):
        levels[index] = error_rate / left
        stopped = stopped or p_values[index] > levels[index]
        left -= 0 if stopped else 1
    return levels


def rejected(p_values: Sequence[float], error_rate: float) -> list[int]:
    """Return the indices of the p-values that lie at or below the level at which Holm tests them."""
    levels = holm_levels(p_values, error_rate)
    return [index for index, (p, level) in enumerate(zip(p_values, levels, strict=True)) if p <= level]
