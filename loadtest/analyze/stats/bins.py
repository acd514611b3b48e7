"""Bins of a run's time with counts, rates and percentiles; and distributions of times with their histograms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.analyze.stats.quantiles import TAIL
from loadtest.arrays import Floats
from loadtest.units import nearest_rank

_WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_MIN_IN_BIN = {500: 2, 950: 20, 990: 100}


class BinnedPercentiles(msgspec.Struct, frozen=True):
    """Percentiles per bin; null if the bin holds fewer than 2, 20 or 100 jobs for p50, p95 or p99.

    They describe the jobs of the bin; unlike the run's own percentiles they are not estimates with intervals.
    """

    p50: list[float | None]
    p95: list[float | None]
    p99: list[float | None]


@dataclass(frozen=True)
class Bins:
    """`count` bins of `width_s` seconds from `start_at`; events outside belong to the first or the last.

    The last one may be cut short by the end of the span, `span_s` after the start.
    """

    start_at: float
    width_s: float
    count: int
    span_s: float

    @property
    def starts_s(self) -> Floats:
        """Return the start of each bin, in seconds from `start_at`."""
        starts: Floats = np.arange(self.count, dtype=np.float64) * self.width_s
        return starts

    @property
    def lengths_s(self) -> Floats:
        """Return the length of each bin; the last counts as a quarter at least, lest one event look like a rush."""
        lengths = np.full(self.count, self.width_s)
        lengths[-1] = np.clip(self.span_s - self.starts_s[-1], self.width_s / 4, self.width_s)
        return lengths

    def index(self, at: Floats) -> NDArray[np.int64]:
        """Return the bin of each moment (epoch seconds, no NaN)."""
        return np.clip(((at - self.start_at) // self.width_s).astype(np.int64), 0, self.count - 1)

    def per_second(self, at: Floats, weights: Floats | None = None) -> list[float]:
        """Return events per second in each bin, each weighted; NaN for events that did not happen."""
        known = ~np.isnan(at)
        counts = np.bincount(self.index(at[known]), None if weights is None else weights[known], self.count)
        return rounded(counts / self.lengths_s)

    def concurrency(self, began_at: Floats, ended_at: Floats) -> list[int]:
        """Return how many had begun and not ended at each bin's end; NaN for events that did not happen."""
        edges_at = self.start_at + self.starts_s + self.width_s
        began = np.searchsorted(np.sort(began_at), edges_at, side="right")
        ended = np.searchsorted(np.sort(np.where(np.isnan(began_at), np.nan, ended_at)), edges_at, side="right")
        counts: list[int] = (began - ended).tolist()
        return counts

    def means(self, at: Floats, values: Floats) -> list[float | None]:
        """Return the mean of the values in each bin, None in an empty one."""
        index = self.index(at)
        sums, sizes = np.bincount(index, values, self.count), np.bincount(index, minlength=self.count)
        return [round(float(total / n), 3) if n else None for total, n in zip(sums, sizes, strict=True)]

    def percentiles(self, at: Floats, values: Floats) -> BinnedPercentiles:
        """Return nearest-rank percentiles of the values in each bin; NaNs are left out."""
        known = ~np.isnan(values)
        values, index = values[known], self.index(at[known])
        # Small numbers are sorted by counting; then each bin is a slice.
        grouped = values[np.argsort(index.astype(np.min_scalar_type(self.count)), kind="stable")]
        parts = np.split(grouped, np.cumsum(np.bincount(index, minlength=self.count))[:-1])
        lines = [_in_bin(part) for part in parts]
        p50, p95, p99 = ([line[index] for line in lines] for index in range(3))
        return BinnedPercentiles(p50=p50, p95=p95, p99=p99)


def _in_bin(values: Floats) -> list[float | None]:
    """Return the percentiles of one bin's values, None if there are too few."""
    n = len(values)
    ranks = {per_mille: nearest_rank(n, per_mille) for per_mille, least in _MIN_IN_BIN.items() if n >= least}
    if ranks:
        values = np.partition(values, sorted({rank - 1 for rank in ranks.values()}))
    return [round(float(values[ranks[each] - 1]), 3) if each in ranks else None for each in _MIN_IN_BIN]


def bins_over(start_at: float, span_s: float, max_bins: int) -> Bins:
    """Return at most `max_bins` bins of the least round width, from one second, that cover the span."""
    width_s = next(
        (float(width) for width in _WIDTHS_S if span_s <= width * max_bins), float(math.ceil(span_s / max_bins))
    )
    # A span slightly longer than whole bins, by the error of clocks, gets no further bin.
    return Bins(start_at, width_s, max(1, math.ceil(span_s / width_s - 0.01)), span_s)


def rounded(values: Floats) -> list[float]:
    """Return the values rounded to a thousandth, finer than any chart shows."""
    plain: list[float] = np.round(values, 3).tolist()
    return plain


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
