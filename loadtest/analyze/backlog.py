"""Whether the backlog, the jobs that arrived and did not end yet, grows within a window of open load."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import special

from loadtest.analyze.jobs import LoadWindow
from loadtest.arrays import Floats

SIGNIFICANT = 0.05
"""The highest probability of taking a backlog that only fluctuates for one that grows."""


@dataclass(frozen=True)
class Backlog:
    """Jobs that arrived in a window and jobs that ended in it, and the one-sided p-value of "it does not grow"."""

    arrived: int
    ended: int
    p_value: float

    @property
    def grows(self) -> bool:
        """Return whether more jobs arrived than ended, by more than chance explains."""
        return self.p_value < SIGNIFICANT


def backlog_in(arrived_at: Floats, ended_at: Floats, window: LoadWindow) -> Backlog:
    """Compare jobs that ended in a window with those that arrived in it; times in seconds, NaN for not ended.

    Without a limit of its own the difference of two Poisson counts A and E has a variance of A + E (Przyborowski and
    Wilenski 1940, Biometrika 31, p. 313, in its normal form). The backlog of a stationary queue comes back to its
    mean, so that its change over a window varies by less, and the test errs less often than its level. The jobs that
    were in flight at the start end within the window in place of those in flight at its end. A window that starts
    with an empty endpoint must leave out the time in which the first jobs run.
    """
    arrived = int(np.count_nonzero(window.contains(arrived_at)))
    ended = int(np.count_nonzero(window.contains(ended_at)))
    if arrived + ended == 0:
        return Backlog(0, 0, 1.0)
    return Backlog(arrived, ended, float(special.ndtr((ended - arrived) / sqrt(arrived + ended))))
