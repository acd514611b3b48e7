"""The effective number of jobs: how many independent jobs would show as much as these, which resemble each other.

All values are in the order of time. Only their ranks count, so that a heavy tail does not hide the dependence.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, sqrt

import numpy as np
from numpy.typing import NDArray

from loadtest.arrays import Floats

NEARLY_ALL = 0.9
"""An effective number above this share of all is not worth a word."""
_MAX_VALUES = 2**18
"""Of more values only as many from the middle are used, which is quick and still far longer than any dependence."""
_LONGEST = 4
"""Autocorrelations are summed up to at most n divided by this."""
_DECIMALS = 2
"""Of a time in milliseconds; epoch seconds in floats resolve 0.0002 ms."""
_CHANCE = 1.5
"""Standard errors of log τ up to which chance explains a dependence of values that have none."""
_CAUTION = 2.0
"""Standard errors of log τ added for an upper end, by simulation (`benchmarks/truth_percentiles.py`)."""
_UPPER_BIAS, _LOWER_BIAS = 4.0, 1.0
"""The bias of log τ is these over the degrees of freedom, for an upper end and a lower one, by simulation."""
_HIDDEN = 0.2
"""The part of a slow dependence, hidden under quick noise, in the geometric mean of both, by simulation."""
_LAGS_OF_TAU = 3.0
"""A sum of autocorrelations that decay at one pace ends after about this many τ of lags, of both signs."""


@dataclass(frozen=True)
class Effective:
    """What n values are worth in independent ones: n / `tau`, known with some `degrees` of freedom.

    A run that is too short to show how slowly its queue changes also looks better than it is. So an upper end of an
    interval, which lets a gate pass, counts on fewer jobs than a lower end, which lets it fail. Both count on fewer
    if quick noise hides a slow dependence, so that the sum of autocorrelations is small and yet ends late: the long
    times depend on each other more than most do. Values are never worth more than `most`, if it is given.
    """

    size: int
    tau: float
    degrees: float
    most: float = inf

    @property
    def n(self) -> float:
        """Return the best estimate."""
        return min(self.size / self.tau, self.most)

    def for_upper(self, size: int | None = None) -> float:
        """Return the number for an upper end; of `size` values of the same kind, if given."""
        return self._reduced(_CAUTION, _UPPER_BIAS, size)

    def for_lower(self) -> float:
        """Return the number for a lower end."""
        return self._reduced(0.0, _LOWER_BIAS, None)

    def _reduced(self, errors: float, bias: float, size: int | None) -> float:
        n = self.size if size is None else size
        if n == 0:
            return 0.0
        most = self.most * (n / self.size)
        if self.tau == 1:
            return min(float(n), most)
        slow = self.size / self.degrees / _LAGS_OF_TAU
        tau = self.tau * float(max(1.0, slow / self.tau) ** _HIDDEN)
        degrees = self.degrees * n / self.size
        return min(n / tau * exp(-errors * sqrt(2 / degrees) - bias / degrees), most)


def independent(n: int) -> Effective:
    """Return the worth of n values that do not depend on each other."""
    return Effective(n, 1.0, float(max(1, n)))


def effective_number(values: Floats) -> float:
    """Return the number of independent values that show as much as these, at most their number."""
    return effective(values).n


def effective(values: Floats) -> Effective:
    """Return what values are worth, with τ = 1 + 2 Σ ρ for autocorrelations ρ of their exponential scores.

    A score is −log(1 − rank/n) (Savage 1956, Annals of Mathematical Statistics 27, p. 590). It weighs the long times,
    which stay together longer than the short ones in a queue, and hardly depends on single values as an indicator of
    a percentile does. The sum ends at lag m by Geyer's initial monotone sequence (1992, Statistical Science 7,
    section 3.3). Each sample autocorrelation is too low by about τ/n, because the mean is estimated as well, so
    τ = (1 + 2 Σ ρ) / (1 − (2m + 1)/n). The estimate varies as one of a variance with n / (2m + 1) degrees of freedom
    (Madras and Sokal 1988, Journal of Statistical Physics 50, p. 109). A log τ within `_CHANCE` of its standard
    errors counts as none: jobs that do not depend on each other show as much.
    """
    spare = max(0, len(values) - _MAX_VALUES) // 2
    used = values[spare : len(values) - spare]
    return _effective(len(values), -np.log1p(-(average_ranks(used) + 0.5) / max(1, len(used))))


def effective_for_mean(values: Floats) -> Effective:
    """Return what values are worth for their mean, by the autocorrelations of the values themselves.

    A mean varies with the slow part of its values however small that is, so none of it is taken for chance.
    """
    spare = max(0, len(values) - _MAX_VALUES) // 2
    return _effective(len(values), values[spare : len(values) - spare], 0.0)


def _effective(n: int, scores: Floats, chance: float = _CHANCE) -> Effective:
    if n < 2:
        return independent(n)
    total, reach = _initial_monotone_sum(autocorrelations(scores, len(scores) // _LONGEST))
    degrees = len(scores) / (2 * reach + 1)
    if total <= exp(chance * sqrt(2 / degrees)):
        return independent(n)
    return Effective(n, min(float(n), total / (1 - 1 / degrees)), degrees * n / len(scores))


def effective_times(values_ms: Floats) -> Effective:
    """Return what times in milliseconds are worth; those that differ by less than a clock resolves count as equal."""
    return effective(np.round(values_ms, _DECIMALS))


def effective_pooled(values: Floats, counts: NDArray[np.int64]) -> Effective:
    """Return what values are worth of which a job has several; `counts` has the number of each job's, in their order.

    At most as many as their J jobs, which are the independent ones: if a whole job is slow, all of its values are,
    and no number of values of other jobs shows how often that is. Fewer if jobs resemble their neighbours, or if long
    jobs decide: n / (d τ), with the design effect d of clusters (Kish 1965, Survey Sampling, 5.4), the mean square of
    a job's sum of scores over that of independent scores, and the τ of these sums.
    """
    n, own = len(values), counts[counts > 0]
    if n == 0:
        return independent(0)
    centred = scores(values)
    sums, spread = np.add.reduceat(centred, np.cumsum(own) - own), float(centred @ centred)
    jobs, design = effective(sums), float(sums @ sums) / spread if spread > 0 else 1.0
    tau = min(float(n), max(1.0, design * jobs.tau))
    return Effective(n, tau, jobs.degrees if jobs.tau > 1 else inf, float(len(own)))


def scores(values_ms: Floats) -> Floats:
    """Return the exponential scores of times in milliseconds, less their mean."""
    found: Floats = -np.log1p(-(average_ranks(np.round(values_ms, _DECIMALS)) + 0.5) / max(1, len(values_ms)))
    found -= found.mean() if len(found) else 0.0
    return found


def average_ranks(values: Floats) -> Floats:
    """Return the rank of each value, from 0; equal values share the middle of their ranks."""
    order = np.argsort(values)
    ordered = values[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(np.append(first, len(values)))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(first + (counts - 1) / 2, counts)
    return ranks


def autocorrelations(values: Floats, most: int) -> Floats:
    """Return the autocorrelations at lags 0 to `most`; zeros but for the first if the values do not vary."""
    if np.ptp(values) == 0:
        return np.concatenate([[1.0], np.zeros(most)])
    size = 1 << (len(values) + most - 1).bit_length()
    spectrum = np.fft.rfft(values - values.mean(), size)
    covariances = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[: most + 1]
    rho: Floats = covariances / covariances[0]
    return rho


def _initial_monotone_sum(rho: Floats) -> tuple[float, int]:
    """Return 1 + 2 Σ ρ over the pairs of lags before the first whose sum is not positive, and the last lag summed."""
    pairs = rho[: len(rho) // 2 * 2].reshape(-1, 2).sum(axis=1)
    ended = np.flatnonzero(pairs <= 0)
    kept = int(ended[0]) if len(ended) else len(pairs)
    falling = np.minimum.accumulate(pairs[:kept])
    return 2 * float(falling.sum()) - 1, max(0, 2 * kept - 1)
