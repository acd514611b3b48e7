"""Intervals of a mean, by the effective number of jobs, and of a rate, by batch means.

Neighbouring jobs resemble each other, so single jobs would give too narrow an interval. The true mean lies in
m ± t·s/√k, with the standard deviation s of the jobs and their effective number k, t of Student's distribution. That
holds if the times are not too skewed for k: Cochran's rule asks for k above 25 times the squared skewness (Sampling
Techniques, 3rd ed. 1977, section 2.15). Otherwise the longest times decide the mean and may not have been seen: no
mean is then below a limit.

The rates of long batches hardly depend on each other: there, m and s are those of 20 batches (Law, Simulation
Modeling and Analysis, 9.5.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import special

from loadtest.analyze.stats.effective_number import effective_for_mean, effective_times
from loadtest.analyze.stats.mean_error import mean_error
from loadtest.analyze.stats.quantiles import TAIL
from loadtest.arrays import Floats
from loadtest.gate.early_stopping import ALPHA
from loadtest.gate.inputs import Window

BATCHES = 20
MIN_IN_BATCH = 5
MIN_BATCH_S = 0.5
MIN_JOBS = BATCHES * MIN_IN_BATCH
MIN_S = BATCHES * MIN_BATCH_S
_COCHRAN = 25.0
_COARSER = (8, 16)
_DEGREES = 3.0
"""At most, if jobs depend on each other: a run with a low mean also shows less of how it varies (by simulation)."""


@dataclass(frozen=True)
class MeanEstimate:
    """A mean and its standard errors, in the unit of the values: for the lower end of an interval and for the upper.

    `too_skewed` is whether the longest values decide the mean.
    """

    mean: float
    lower_error: float
    upper_error: float
    degrees: float = BATCHES - 1
    too_skewed: bool = False

    def below(self, limit: float) -> bool:
        """Return whether the true mean is below the limit with 99 % confidence."""
        return not self.too_skewed and self.mean + self._student(1 - ALPHA) * self.upper_error < limit

    def above(self, limit: float) -> bool:
        """Return whether the true mean is above the limit with 99 % confidence."""
        return self.mean - self._student(1 - ALPHA) * self.lower_error > limit

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the true mean."""
        t = self._student(1 - TAIL)
        return self.mean - t * self.lower_error, self.mean + t * self.upper_error

    def sample_size_factor(self, limit: float) -> float:
        """Return how many times as much data would separate the mean from the limit, if the mean stays the same."""
        if self.mean == limit:
            return np.inf
        return (self._student(1 - ALPHA) * self.upper_error / (self.mean - limit)) ** 2

    def _student(self, p: float) -> float:
        return float(special.stdtrit(self.degrees, p))


def _of_batches(means: Floats) -> MeanEstimate:
    error = float(means.std(ddof=1)) / sqrt(len(means))
    return MeanEstimate(float(means.mean()), error, error)


def mean_of(values: Floats) -> MeanEstimate | None:
    """Return the mean of values in the order of time; None for fewer than 100."""
    if len(values) < MIN_JOBS:
        return None
    mean, worths = float(values.mean()), [effective_times(values), effective_for_mean(values)]
    found, deviation = mean_error(values - mean, worths), float(values.std(ddof=1))
    skewness = float(np.mean(((values - mean) / deviation) ** 3)) if deviation > 0 else 0.0
    by_batches = max(_of_batches(_batched(values, batches)).upper_error for batches in _COARSER)
    return MeanEstimate(
        mean,
        found.error,
        max(by_batches, found.error),
        max(1.0, min(found.degrees / 2, _DEGREES)) if found.degrees < len(values) else len(values) - 1.0,
        too_skewed=min(each.for_upper() for each in worths) < max(MIN_JOBS, _COCHRAN * skewness**2),
    )


def _batched(values: Floats, batches: int) -> Floats:
    return np.array([batch.mean() for batch in np.array_split(values, batches)])


def rate_of(at_s: Floats, within: Sequence[Window], amounts: Floats | None = None) -> MeanEstimate | None:
    """Return the events per second in these windows, one after the other, or what they amount to.

    None if the windows are shorter than 10 s together.
    """
    lengths_s = np.array([each.end_s - each.start_s for each in within])
    total_s = float(lengths_s.sum())
    if total_s < MIN_S:
        return None
    before_s = np.concatenate([[0.0], np.cumsum(lengths_s)])
    chosen = [np.flatnonzero((at_s >= each.start_s) & (at_s < each.end_s)) for each in within]
    inside = [
        at_s[events] - each.start_s + start_s
        for events, each, start_s in zip(chosen, within, before_s[:-1].tolist(), strict=True)
    ]
    weights = None if amounts is None else amounts[np.concatenate(chosen)]
    counts, _ = np.histogram(np.concatenate(inside), BATCHES, (0.0, total_s), weights=weights)
    return _of_batches(counts * (BATCHES / total_s))
