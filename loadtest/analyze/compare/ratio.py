"""The ratio of two runs in one metric, and how far from the truth it may be.

A percentile's interval is Woodruff's (1952, Journal of the American Statistical Association 47, p. 635): the share of
jobs below it has an error, and the values at the shares that far below and above it are the ends. Of two runs, the
error is that of the difference between their shares. Jobs with the same number in runs of one schedule are pairs:
what both runs have in common, such as a rush, leaves their difference, and a run differs from itself by nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from loadtest.analyze.compare.comparable_run import NEVER_MS, NO_TIME_MS, TOKEN_RATES, ComparableRun
from loadtest.analyze.compare.result import MetricKey
from loadtest.analyze.stats.effective_number import Effective, effective, effective_times, scores
from loadtest.analyze.stats.mean_error import MeanError, mean_error
from loadtest.analyze.stats.quantiles import PER_MILLE, is_supported, min_samples
from loadtest.arrays import Floats
from loadtest.units import nearest_rank

_STEP, _MAX_STEPS = 1.1, 120
_MAX_LOG = 20.0
MIN_S = 10
"""The fewest seconds of load that give a throughput an interval."""
RESOLUTION_MS = 1.0
"""Servers report whole milliseconds: shorter times count as 1 ms, or 1 ms would be infinitely more than 0 ms."""


class Ends(NamedTuple):
    """The lowest and the highest value of the candidate (`here`) and of the baseline (`there`), at one confidence."""

    here_low: float
    here_high: float
    there_low: float
    there_high: float

    @property
    def low(self) -> float:
        """Return the lowest ratio."""
        return self.here_low / self.there_high

    @property
    def high(self) -> float:
        """Return the highest ratio."""
        return self.here_high / self.there_low


@dataclass(frozen=True)
class Estimate:
    """A metric of one run: its `value`, `at` a deviation of what it is estimated from, and that deviation's terms.

    `deviations` are what each job (or second) adds to the deviation, times their number, and `worth` is that of the
    `values` that they come from. One job changes the deviation by the `resolution`.
    """

    values: Floats
    value: float
    at: Callable[[float], float]
    deviations: Floats
    worth: Effective
    resolution: float

    @property
    def error(self) -> MeanError:
        """Return the error of the deviation."""
        return mean_error(self.deviations, [self.worth])

    @property
    def log_error(self) -> float:
        """Return the standard error of the value's logarithm."""
        error = self.error.error
        return math.log(self.at(error) / self.at(-error)) / 2


@dataclass(frozen=True)
class Ratio:
    """The candidate's value over the mean of the baseline's, `here` over `there`.

    `errors` are the parts of the candidate and of the baseline in the standard error of the difference between their
    deviations. `between` is the standard deviation of the ratio's logarithm from run to run beyond the errors.
    """

    before: Sequence[Estimate]
    after: Estimate
    errors: tuple[float, float]
    degrees: float
    between: float

    @property
    def there(self) -> float:
        """Return the baseline's value."""
        return self._there_at(0.0)

    @property
    def here(self) -> float:
        """Return the candidate's value."""
        return self.after.value

    @property
    def effective_n(self) -> float:
        """Return the number of independent jobs, or seconds, of the smaller side."""
        return min(sum(each.worth.n for each in self.before), self.after.worth.n)

    def ends(self, z: float) -> Ends:
        """Return the ends that are beyond the truth with the probability of a normal value beyond z, 0 or more."""
        here, there = (_student(z, self.degrees) * error for error in self.errors)
        ends = Ends(self.after.at(-here), self.after.at(here), self._there_at(-there), self._there_at(there))
        if not self.between or ends.low == 0 or math.isinf(ends.high):
            return ends
        within = math.log(ends.high / ends.low) / 2
        between = _student(z, len(self.before) - 1) * self.between
        wider = math.exp(min(math.hypot(within, between) - within, _MAX_LOG))
        return ends._replace(there_low=ends.there_low / wider, there_high=ends.there_high * wider)

    def jobs_needed(self, z: float) -> int | None:
        """Return about how many jobs like these have values at both ends, to two digits; None if no number has."""
        for power in range(_MAX_STEPS):
            times = _STEP**power
            here, there = (error / math.sqrt(times) for error in self.errors)
            longer = replace(self, errors=(here, there), degrees=self.degrees * times)
            ends = longer.ends(z)
            if math.isfinite(ends.here_high) and math.isfinite(ends.there_high):
                return int(float(f"{len(self.after.deviations) * times:.1e}"))
        return None

    def _there_at(self, deviation: float) -> float:
        values = [each.at(deviation) for each in self.before]
        return values[0] if len(values) == 1 else math.exp(math.fsum(map(math.log, values)) / len(values))


def _student(z: float, degrees: float) -> float:
    """Return the value that a Student t exceeds as rarely as a normal value exceeds z."""
    return -float(special.stdtrit(degrees, float(special.ndtr(-z))))


def ratio(baseline: Sequence[ComparableRun], candidate: ComparableRun, metric: MetricKey, pairs: bool) -> Ratio | str:
    """Return the ratio of the candidate to the baseline's runs, or why there is none.

    `pairs` if the jobs in the same places of all runs are pairs.
    """
    found: list[Estimate] = []
    for each in (*baseline, candidate):
        estimate = _percentile(each, metric) if metric.percentile else _rate(each, metric)
        if isinstance(estimate, str):
            return f"n too small: {estimate}."
        if each is not candidate and metric.metric in TOKEN_RATES and each.tokens[metric.flow, metric.metric].silent:
            return f"The baseline's {metric.name} are not known: not all of its jobs report them."
        if each is not candidate and estimate.value >= NEVER_MS:
            return f"The baseline has no {metric.name}: too many of its jobs did not complete."
        found.append(estimate)
    *before, after = found
    if pairs and len({len(each.deviations) for each in found}) == 1:
        mean = np.mean([each.deviations for each in before], axis=0)
        whole = mean_error(mean - after.deviations, [each.worth for each in found])
        # That no job changed sides does not show that none would; that every time is the same does.
        same = all(np.array_equal(each.values, after.values, equal_nan=True) for each in before)
        half = 0.0 if same else math.hypot(whole.error, after.resolution) / 2
        return Ratio(before, after, (half, half), whole.degrees, _between_runs(before))
    *errors, last = (each.error for each in found)
    there = math.hypot(*(each.error for each in errors)) / len(errors)
    both = math.hypot(last.error, there)
    parts = (last.error**2 / both, there**2 / both) if both else (0.0, 0.0)
    degrees = min(each.degrees for each in (*errors, last))
    return Ratio(before, after, parts, degrees, _between_runs(before))


def _percentile(run: ComparableRun, metric: MetricKey) -> Estimate | str:
    """Return a percentile of one run, or which number is too small for it."""
    name, values_ms = metric.percentile, run.values_ms(metric.flow, metric.metric)
    known = ~np.isnan(values_ms) & (values_ms > NO_TIME_MS)
    known_ms, per_mille = np.maximum(values_ms[known], RESOLUTION_MS), PER_MILLE[name]
    gaps = run.gaps.get(metric.flow) if metric.metric.is_pooled else None
    of_job = None if gaps is None else np.repeat(np.arange(len(gaps.counts)), gaps.counts)
    n, jobs = len(known_ms), len(known_ms) if of_job is None else len(np.unique(of_job[known]))
    if not is_supported(jobs, per_mille):
        return f"{jobs} jobs, {name.replace('_', '.')} needs {min_samples(per_mille)}"
    ordered, rank = np.sort(known_ms), nearest_rank(n, per_mille)
    # A job whose times are not known keeps its place, and adds nothing.
    deviations = np.zeros(len(values_ms))
    deviations[known] = _below(known_ms, ordered, rank) - rank / n
    worth = effective_times(known_ms) if of_job is None else effective(_sums(of_job[known], scores(known_ms)))
    if of_job is not None and gaps is not None:
        deviations = np.bincount(of_job, deviations, len(gaps.counts)).astype(np.float64)
    deviations *= len(deviations) / n
    at = partial(_value_at, ordered, rank)
    return Estimate(values_ms, float(ordered[rank - 1]), at, deviations, worth, 1 / jobs)


def _sums(of_job: NDArray[np.int64], values: Floats) -> Floats:
    """Return the sum of the values of each job that has any; those of a job follow each other."""
    return np.add.reduceat(values, np.flatnonzero(np.diff(of_job, prepend=-1)))


def _value_at(ordered: Floats, rank: int, deviation: float) -> float:
    """Return the value at a rank that is off by a share of all; infinite beyond the last."""
    off = deviation * len(ordered)
    at = rank + (math.ceil(off) if off > 0 else math.floor(off))
    if at > len(ordered):
        return math.inf
    return RESOLUTION_MS if at < 1 else float(ordered[at - 1])


def _below(values: Floats, ordered: Floats, rank: int) -> Floats:
    """Return 1 for each of the `rank` lowest values, else 0; values equal to the highest of them share its ranks."""
    edge = ordered[rank - 1]
    below: Floats = (values < edge).astype(np.float64)
    equal = values == edge
    below[equal] = (rank - below.sum()) / np.count_nonzero(equal)
    return below


def _rate(run: ComparableRun, metric: MetricKey) -> Estimate | str:
    """Return the throughput of one run, or the rate of its tokens."""
    if metric.metric not in TOKEN_RATES:
        per_s, what, jobs = run.completed_per_s, "throughput", float(run.completed_per_s.sum())
    elif (metric.flow, metric.metric) in run.tokens:
        tokens = run.tokens[metric.flow, metric.metric]
        per_s, what, jobs = tokens.per_s, metric.name, float(tokens.jobs)
    else:
        return f"no jobs of {metric.flow} completed"
    seconds, total = len(per_s), float(per_s.sum())
    if seconds < MIN_S or total == 0:
        return f"{jobs:.0f} jobs completed in {seconds} s, {what} needs some in {MIN_S} s"
    mean = total / seconds
    deviations, worth = per_s / mean - 1, effective(per_s)
    return Estimate(per_s, mean, partial(_scaled, mean), deviations, worth, 1 / jobs)


def _scaled(mean: float, deviation: float) -> float:
    return mean * math.exp(min(max(deviation, -_MAX_LOG), _MAX_LOG))


def _between_runs(before: Sequence[Estimate]) -> float:
    """Return the standard deviation between runs beyond their own errors that the ratio has; 0 for a single run.

    The variance between R runs is that of their logarithms less the mean of the squared errors (method of moments).
    The baseline's mean has a share 1/R of it, the candidate all. Two runs that happen to be alike hide it; from four
    on, the error rate is kept whatever the variance.
    """
    runs = len(before)
    if runs < 2:
        return 0.0
    within = float(np.mean([each.log_error**2 for each in before]))
    variance = float(np.var([math.log(each.value) for each in before], ddof=1))
    return math.sqrt(max(0.0, variance - within) * (1 + 1 / runs))
