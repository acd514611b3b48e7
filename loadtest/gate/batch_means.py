"""Intervals of a mean and of a rate by batch means.

Neighbouring jobs resemble each other, so single jobs would give too narrow an interval. The means of long
batches hardly depend on each other: of k of them with mean m and standard deviation s the true mean lies in
m ± t·s/√k, t of Student's distribution with k − 1 degrees of freedom (Law, Simulation Modeling and Analysis, 9.5.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import special

from loadtest.analyze.stats.quantiles import TAIL
from loadtest.arrays import Floats
from loadtest.gate.early_stopping import ALPHA
from loadtest.gate.inputs import Window

BATCHES = 20
MIN_IN_BATCH = 5
MIN_BATCH_S = 0.5
MIN_JOBS = BATCHES * MIN_IN_BATCH
MIN_S = BATCHES * MIN_BATCH_S


@dataclass(frozen=True)
class BatchMeans:
    """The mean of the batches and its standard error, both in the unit of the values."""

    mean: float
    error: float

    def below(self, limit: float) -> bool:
        """Return whether the true mean is below the limit with 99 % confidence."""
        return self.mean + _student(1 - ALPHA) * self.error < limit

    def above(self, limit: float) -> bool:
        """Return whether the true mean is above the limit with 99 % confidence."""
        return self.mean - _student(1 - ALPHA) * self.error > limit

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the true mean."""
        half = _student(1 - TAIL) * self.error
        return self.mean - half, self.mean + half

    def sample_size_factor(self, limit: float) -> float:
        """Return how many times as much data would separate the mean from the limit, if the mean stays the same."""
        return (_student(1 - ALPHA) * self.error / (self.mean - limit)) ** 2 if self.mean != limit else np.inf


def _student(p: float) -> float:
    return float(special.stdtrit(BATCHES - 1, p))


def _of_batches(means: Floats) -> BatchMeans:
    return BatchMeans(float(means.mean()), float(means.std(ddof=1)) / sqrt(len(means)))


def mean_of(values: Floats) -> BatchMeans | None:
    """Return the mean of values in the order of time; None for fewer than 100."""
    if len(values) < MIN_JOBS:
        return None
    whole = _of_batches(np.array([batch.mean() for batch in np.array_split(values, BATCHES)]))
    return BatchMeans(float(values.mean()), whole.error)


def rate_of(at_s: Floats, within: Sequence[Window]) -> BatchMeans | None:
    """Return the events per second in these windows, one after the other; None if shorter than 10 s together."""
    lengths_s = np.array([each.end_s - each.start_s for each in within])
    total_s = float(lengths_s.sum())
    if total_s < MIN_S:
        return None
    before_s = np.concatenate([[0.0], np.cumsum(lengths_s)])
    inside = [
        at_s[(at_s >= each.start_s) & (at_s < each.end_s)] - each.start_s + start_s
        for each, start_s in zip(within, before_s[:-1].tolist(), strict=True)
    ]
    counts, _ = np.histogram(np.concatenate(inside), BATCHES, (0.0, total_s))
    return _of_batches(counts * (BATCHES / total_s))
