"""Distributions of times: the whole percentile curve as far as n supports it, and a histogram."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from loadtest.analyze.stats.quantiles import TAIL
from loadtest.arrays import Floats

MAX_POINTS = 200
MAX_BARS = 40
MIN_BARS = 6
_FINEST_MS = 1.0


class Distribution(msgspec.Struct, frozen=True):
    """The times of n jobs, in milliseconds.

    `value_ms` are nearest-rank percentiles at `percent`, evenly spaced in nines (0, 90, 99, 99.9 …) up to the
    highest that n supports; empty where n < 6 supports not even the median. `counts[i]` jobs lie in
    [`edges_ms[i]`, `edges_ms[i+1]`), the last edge included; edges grow by a ratio and are whole milliseconds.
    """

    n: int
    percent: list[float]
    value_ms: list[float]
    edges_ms: list[float]
    counts: list[int]


def highest_supported(n: int) -> float:
    """Return the highest p (0 to 1) with pⁿ ≤ 0.025: n samples still bound its 95 % interval from above."""
    return math.exp(math.log(TAIL) / n) if n else 0.0


def distribution(values_ms: Floats, edges_ms: Floats) -> Distribution:
    """Return the distribution of values, NaNs left out, with a histogram between these edges."""
    known = np.sort(values_ms[~np.isnan(values_ms)])
    if len(known) == 0:
        return Distribution(0, [], [], [], [])
    percent, value_ms = _percentile_curve(known)
    # The values are in order, so the bars are searched; values outside belong to the first or the last.
    inner = np.searchsorted(known, edges_ms[1:-1], side="left")
    counts = np.diff(inner, prepend=0, append=len(known))
    return Distribution(len(known), percent, value_ms, edges_ms.tolist(), counts.tolist())


def _percentile_curve(known: Floats) -> tuple[list[float], list[float]]:
    n = len(known)
    highest = highest_supported(n)
    if highest < 0.5:
        return [], []
    p = 1 - np.geomspace(1, 1 - highest, MAX_POINTS)
    ranks = np.unique(np.clip(np.ceil(p * n - 1e-9), 1, n).astype(np.int64))
    # One point per rank: its own percentile is the highest p that has this rank.
    shares = np.minimum(ranks / n, highest)
    return np.round(shares * 100, 6).tolist(), np.round(known[ranks - 1], 3).tolist()


def histogram_edges_ms(values_ms: Floats) -> Floats:
    """Return edges that suit these values (NaNs left out): 6 to 40 bars whose widths grow by one ratio."""
    known = values_ms[~np.isnan(values_ms)]
    if len(known) == 0:
        return np.array([_FINEST_MS, _FINEST_MS + 1])
    low, high = max(_FINEST_MS, math.floor(known.min())), max(_FINEST_MS, math.ceil(known.max()))
    # Rice's rule: as many bars as the number of values can fill.
    bars = min(MAX_BARS, max(MIN_BARS, round(2 * len(known) ** (1 / 3))))
    # Servers report whole milliseconds; an edge between two of them would leave every other bar empty.
    edges: Floats = np.unique(np.round(np.geomspace(low, high, bars + 1)))
    return edges if len(edges) > 1 else np.array([max(_FINEST_MS, low - 1.0), low + 1.0])
