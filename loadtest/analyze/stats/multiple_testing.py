"""Tests of several hypotheses on the same data."""

from __future__ import annotations

from collections.abc import Sequence


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
