"""Whether positive values are of one group or of two, and where the two divide.

Least squares (Otsu) always find a division. Here two log-normal groups of one width must be much more likely than one
group of any usual shape, and there must be a valley between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from loadtest.arrays import Floats

MIN_VALUES = 5
MIN_RATIO = 2.0
"""The least ratio of the groups' medians: a smaller one is the spread of one group."""
_OVER_NORMAL, _OVER_ANY = 6.0, 2.8
"""By how much the logarithm of the likelihood must exceed that of one log-normal group, and of the likeliest one.

Of one group (log-normal, gamma, Weibull or Fréchet, 5 to 1000 values) fewer than 5 % then divide.
"""
_VALLEY = 0.4  # the density between the groups, at most, as a share of the lower peak
_MIN_VARIANCE = 1e-6
_MAX_VALUES = 1000
_FIRST_SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
_STEPS, _PRECISION = 60, 1e-3


@dataclass(frozen=True)
class _Mixture:
    """Two normal groups of one variance; `upper` is the share of the second."""

    log_likelihood: float
    upper: float
    means: tuple[float, float]
    variance: float

    @property
    def valley(self) -> float:
        """Return the least density between the means, over the lower of the densities at them."""
        at = np.linspace(*self.means, 41)
        low, high = (np.exp(-((at - mean) ** 2) / (2 * self.variance)) for mean in self.means)
        density = (1 - self.upper) * low + self.upper * high
        return float(np.min(density) / min(density[0], density[-1]))


def division(values: Floats) -> float | None:
    """Return the value that divides shorter from longer ones; None if they are one group, or fewer than five.

    The likelihood of the mixture is found by the EM algorithm (McLachlan and Peel 2000, Finite Mixture Models,
    section 3.2) from nine first divisions. Of many values, a thousand at evenly spaced ranks are used.
    """
    if len(values) < MIN_VALUES:
        return None
    logs = np.log(np.sort(values))
    ordered = logs
    if len(logs) > _MAX_VALUES:
        ordered = logs[((np.arange(_MAX_VALUES) + 0.5) / _MAX_VALUES * len(logs)).astype(np.int64)]
    if ordered[-1] - ordered[0] < np.log(MIN_RATIO):
        return None
    found = _fit(ordered, _first_divisions(ordered))
    low, high = found.means
    if high - low < np.log(MIN_RATIO) or not _two(ordered, found):
        return None
    equal = (low + high) / 2 + found.variance * np.log((1 - found.upper) / found.upper) / (high - low)
    cut = int(np.clip(np.searchsorted(logs, equal), 1, len(logs) - 1))
    return float(np.exp((logs[cut - 1] + logs[cut]) / 2))


def _two(logs: Floats, found: _Mixture) -> bool:
    one = _normal(logs)
    if found.log_likelihood - one <= _OVER_NORMAL or found.valley >= _VALLEY:
        return False
    likeliest = max(one, _gamma(logs), _gumbel(logs), _gumbel(-logs))
    return found.log_likelihood - likeliest > _OVER_ANY


def _first_divisions(logs: Floats) -> list[int]:
    """Return into how many lower values to divide first: some shares, the least squares, and the widest gap."""
    n = len(logs)
    sums, left = np.cumsum(logs), np.arange(1, n)
    apart = sums[:-1] / left - (sums[-1] - sums[:-1]) / (n - left)
    cuts = {round(share * n) for share in _FIRST_SHARES}
    cuts |= {int(np.argmax(left * (n - left) * apart**2)) + 1, int(np.argmax(np.diff(logs))) + 1}
    return sorted(cut for cut in cuts if 0 < cut < n)


def _fit(logs: Floats, cuts: list[int]) -> _Mixture:
    """Return the likeliest mixture that the EM algorithm finds from these first divisions."""
    upper = (np.arange(len(logs)) >= np.array(cuts)[:, None]).astype(float)
    before = np.zeros(len(cuts))
    for _ in range(_STEPS):
        share = np.clip(upper.mean(axis=1), 1e-9, 1 - 1e-9)
        sums = upper @ logs
        high, low = sums / (share * len(logs)), (logs.sum() - sums) / ((1 - share) * len(logs))
        from_low, from_high = (logs - low[:, None]) ** 2, (logs - high[:, None]) ** 2
        variance = np.maximum((upper * (from_high - from_low) + from_low).mean(axis=1), _MIN_VARIANCE)[:, None]
        of_low = np.log1p(-share)[:, None] - from_low / (2 * variance)
        of_high = np.log(share)[:, None] - from_high / (2 * variance)
        both = np.logaddexp(of_low, of_high)
        upper = np.exp(of_high - both)
        likelihood = both.sum(axis=1) - len(logs) / 2 * np.log(2 * np.pi * variance[:, 0])
        if np.abs(likelihood - before).max() < _PRECISION:
            break
        before = likelihood
    best = int(np.argmax(likelihood))
    return _Mixture(
        float(likelihood[best]), float(share[best]), (float(low[best]), float(high[best])), float(variance[best, 0])
    )


def _normal(logs: Floats) -> float:
    """Return the logarithm of the greatest likelihood of one log-normal group."""
    return -len(logs) / 2 * float(np.log(2 * np.pi * max(float(logs.var()), _MIN_VARIANCE)) + 1)


def _gumbel(logs: Floats) -> float:
    """Return the same of a Weibull group; of the negative logarithms, that is of a Fréchet group."""
    top, mean = float(logs.max()), float(logs.mean())

    def likelihood(log_scale: float) -> float:
        scale = float(np.exp(log_scale))
        mode = top + scale * float(np.log(np.mean(np.exp((logs - top) / scale))))
        return (mean - mode) / scale - 1 - log_scale

    return len(logs) * _highest(likelihood)


def _gamma(logs: Floats) -> float:
    """Return the same of a gamma group."""
    centred = logs - logs.mean()
    log_mean = float(np.log(np.mean(np.exp(centred))))

    def likelihood(log_shape: float) -> float:
        shape = float(np.exp(log_shape))
        return -shape - shape * (log_mean - log_shape) - float(special.gammaln(shape))

    return len(logs) * _highest(likelihood)


def _highest(likelihood: Callable[[float], float]) -> float:
    # Slow to import, and few runs have starts to divide.
    from scipy import optimize

    found = optimize.minimize_scalar(lambda at: -likelihood(at), bounds=(-7.0, 14.0), method="bounded")
    return -float(found.fun)
