"""The comparison of one run with others: ratios, their intervals, and better, worse or inconclusive.

Neighbouring jobs wait in the same queue, so a percentile of n jobs is known less well than n suggests. A circular
block bootstrap of below or not below (`stats.block_bootstrap`) draws the number of jobs below the percentile in other
runs like this one; the values at those ranks are the percentile's bootstrap distribution. For independent jobs this
is the interval of order statistics that `stats.quantiles` gives, and nothing is sorted twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from scipy import special

from loadtest.analyze.compare.comparable_run import NEVER_MS, ComparableRun
from loadtest.analyze.compare.error_shares import compare_errors
from loadtest.analyze.compare.margin import MIN_DIFFERENCE_MS, TOLERANCE, NonInferiorityMargin
from loadtest.analyze.compare.result import ComparisonVerdict, MetricComparison, MetricKey
from loadtest.analyze.stats.block_bootstrap import below_rank, bootstrap_p_value, bootstrap_sums, serial_dependence
from loadtest.analyze.stats.hypothesis_tests import holm_levels
from loadtest.analyze.stats.quantiles import PER_MILLE, TAIL, is_supported, min_samples
from loadtest.arrays import Floats
from loadtest.scenario.metrics import Metric
from loadtest.units import nearest_rank

ERROR_RATE = 0.01
"""The highest probability that any time or rate of a run that is only just within the tolerance is called worse."""
POWER = 0.8
"""The probability that a run that is worse by the minimum detectable effect is called worse."""
MIN_S = 10
"""The fewest seconds of load that give a throughput an interval."""
RESOLUTION_MS = 1.0
"""Servers report whole milliseconds: shorter times count as 1 ms, or 1 ms would be infinitely more than 0 ms."""
_MIN_DRAWS = 4000
_DRAWS_EACH = 500
"""Draws per metric: Holm's first level is ERROR_RATE over their number, and some draws must lie beyond it."""
_MAX_LOG_RATIO = 20.0
"""Ratios are cut off at e²⁰, which no two times reach unless one of them is NEVER_MS."""
UNBOUNDED = 1e6
"""A ratio from here on says that jobs may never complete."""


@dataclass(frozen=True)
class _Resampler:
    """A source of random numbers, and the number of draws of a distribution."""

    rng: np.random.Generator
    draws: int


@dataclass(frozen=True)
class _Estimate:
    """A metric of one run: its value, and draws of the logarithm of value* over value in other runs like it."""

    value: float
    noise: Floats
    effective_n: float


@dataclass(frozen=True)
class _Ratio:
    """Draws of log(candidate / baseline), and the excess over the margin: `worse_by` up, `better_by` down."""

    baseline: float
    candidate: float
    log_draws: Floats
    worse_by: Floats
    better_by: Floats
    effective_n: float
    limit: float


def compare(
    baseline: Sequence[ComparableRun],
    candidate: ComparableRun,
    metrics: Sequence[MetricKey],
    tolerance: float = TOLERANCE,
    seed: int = 0,
    min_difference_ms: float = MIN_DIFFERENCE_MS,
) -> list[MetricComparison]:
    """Return the comparison of the candidate with the baseline's runs, metric by metric; reproducible by its seed.

    Several runs of the baseline count as one value each. Their spread beyond each run's own noise widens the
    interval: the candidate may differ by as much. A time that the candidate's server did not report counts as over
    if it would make the candidate good, and not at all if it would make it worse. Raises ValueError without a
    baseline run.
    """
    if not baseline:
        raise ValueError("there is no baseline run to compare with")
    errors = [each for each in metrics if each.metric is Metric.ERRORS]
    level = ERROR_RATE / max(1, len(errors))
    found = {each: compare_errors(baseline, candidate, each, level) for each in errors}
    others = [each for each in metrics if each not in found]
    options = (tolerance, seed, min_difference_ms)
    found |= zip(others, _compare_ratios(baseline, _never_if_unknown(candidate), others, *options), strict=True)
    worse = [each for each in others if found[each].standing is ComparisonVerdict.WORSE]
    if worse and any(np.isnan(times_ms).any() for times_ms in candidate.times_ms.values()):
        known = _compare_ratios(baseline, candidate, worse, *options)
        found |= {each.metric: _undecided(each) for each in known if each.standing is not ComparisonVerdict.WORSE}
    return [found[each] for each in metrics]


def _undecided(found: MetricComparison) -> MetricComparison:
    """Return the comparison of a metric that is worse only if the times that were not reported are long."""
    detail = f"{found.detail} Too many jobs do not report it to tell."
    standing = ComparisonVerdict.CANNOT_TELL
    return msgspec.structs.replace(found, standing=standing, non_inferior=False, detail=detail)


def _never_if_unknown(run: ComparableRun) -> ComparableRun:
    return replace(run, times_ms={key: np.nan_to_num(times, nan=NEVER_MS) for key, times in run.times_ms.items()})


def _compare_ratios(
    baseline: Sequence[ComparableRun],
    candidate: ComparableRun,
    metrics: Sequence[MetricKey],
    tolerance: float,
    seed: int,
    min_difference_ms: float,
) -> list[MetricComparison]:
    """Return the comparison of times and rates."""
    noise = _Resampler(np.random.default_rng(seed), max(_MIN_DRAWS, _DRAWS_EACH * len(metrics)))
    for_times, for_rates = (NonInferiorityMargin(tolerance, least) for least in (min_difference_ms, 0.0))
    ratios = [
        _ratio(baseline, candidate, each, for_times if each.percentile else for_rates, noise) for each in metrics
    ]
    known = [each for each in ratios if isinstance(each, _Ratio)]
    lower = iter(holm_levels([bootstrap_p_value(each.worse_by <= 0) for each in known], ERROR_RATE))
    upper = iter(holm_levels([bootstrap_p_value(each.better_by <= 0) for each in known], ERROR_RATE))
    return [
        _not_comparable(metric, each, 1 + tolerance)
        if isinstance(each, str)
        else _compare_metric(metric, each, next(lower), next(upper))
        for metric, each in zip(metrics, ratios, strict=True)
    ]


def _ratio(
    baseline: Sequence[ComparableRun],
    candidate: ComparableRun,
    metric: MetricKey,
    margin: NonInferiorityMargin,
    noise: _Resampler,
) -> _Ratio | str:
    """Return draws of the logarithm of candidate over baseline, or why there are none."""
    runs = []
    for each in (*baseline, candidate):
        estimate = _estimate(each, metric, noise)
        if isinstance(estimate, str):
            return f"n too small: {estimate}."
        if each is not candidate and estimate.value >= NEVER_MS:
            return f"The baseline has no {metric.name}: too many of its jobs did not complete."
        runs.append(estimate)
    *before, after = runs
    middle = math.exp(math.fsum(math.log(each.value) for each in before) / len(before))
    log_ratio = math.log(after.value) - math.log(middle)
    middle_noise: Floats = np.mean([each.noise for each in before], axis=0)
    draws: Floats = np.clip(
        log_ratio + after.noise - middle_noise + _between_runs(before, noise), -_MAX_LOG_RATIO, _MAX_LOG_RATIO
    )
    least = min(sum(each.effective_n for each in before), after.effective_n)
    there = middle * np.exp(middle_noise)
    more, less = margin.excess(draws, there), margin.excess(-draws, there * np.exp(draws))
    return _Ratio(middle, after.value, draws, more, less, least, margin.as_ratio(middle))


def _estimate(run: ComparableRun, metric: MetricKey, noise: _Resampler) -> _Estimate | str:
    """Return a metric of one run, or which number is too small for it."""
    if not metric.percentile:
        return _throughput(run.completed_per_s, noise)
    name, values_ms = metric.percentile, run.times_ms.get((metric.flow, metric.metric), np.empty(0))
    values_ms = np.maximum(values_ms[~np.isnan(values_ms)], RESOLUTION_MS)
    n, per_mille = len(values_ms), PER_MILLE[name]
    needed = f"{name.replace('_', '.')} needs {min_samples(per_mille)}"
    if not is_supported(n, per_mille):
        return f"{n} jobs, {needed}"
    ordered, rank = np.sort(values_ms), nearest_rank(n, per_mille)
    below = below_rank(values_ms, ordered, rank, noise.rng)
    found = serial_dependence(below)
    if not is_supported(int(found.effective_n), per_mille):
        return f"{n} jobs so alike that they count as {found.effective_n:.0f}, {needed}"
    ranks = bootstrap_sums(below, found.length, noise.draws, noise.rng) + noise.rng.random(noise.draws)
    value = float(ordered[rank - 1])
    drawn: Floats = np.interp(ranks, np.arange(1, n + 1), np.log(ordered))
    return _Estimate(value, drawn - math.log(value), found.effective_n)


def _throughput(completed_per_s: Floats, noise: _Resampler) -> _Estimate | str:
    seconds, total = len(completed_per_s), float(completed_per_s.sum())
    if seconds < MIN_S or total == 0:
        return f"{total:.0f} jobs completed in {seconds} s, throughput needs some in {MIN_S} s"
    found = serial_dependence(completed_per_s)
    drawn = np.maximum(bootstrap_sums(completed_per_s, found.length, noise.draws, noise.rng), 0.5)
    return _Estimate(total / seconds, np.log(drawn / total), found.effective_n)


def _between_runs(before: Sequence[_Estimate], noise: _Resampler) -> Floats:
    """Return draws of the differences between runs beyond the noise within them; zeros for a single run.

    The variance between R runs is that of their logarithms less the mean variance within (method of moments), and
    what it adds is a Student t of R − 1 degrees of freedom: the baseline's mean has a share 1/R of it, the candidate
    all. Two runs that happen to be alike hide it; from four on, the error rate is kept whatever the variance.
    """
    runs = len(before)
    if runs < 2:
        return np.zeros(noise.draws)
    within = float(np.mean([each.noise.var() for each in before]))
    between = max(0.0, float(np.var([math.log(each.value) for each in before], ddof=1)) - within)
    draws: Floats = math.sqrt(between * (1 + 1 / runs)) * noise.rng.standard_t(runs - 1, noise.draws)
    return draws


def _not_comparable(metric: MetricKey, why: str, limit: float) -> MetricComparison:
    nothing = (None,) * 7
    limit = limit if metric.percentile else 1 / limit
    return MetricComparison(metric, *nothing, ComparisonVerdict.CANNOT_TELL, why, limit)


def _compare_metric(metric: MetricKey, ratio: _Ratio, lower: float, upper: float) -> MetricComparison:
    draws = ratio.log_draws
    low, high, *ci95 = np.exp(np.quantile(draws, [lower, 1 - upper, TAIL, 1 - TAIL])).tolist()
    more, less = np.quantile(ratio.worse_by, lower) > 0, np.quantile(ratio.better_by, upper) > 0
    falling = not metric.percentile
    worse, better = (less, more) if falling else (more, less)
    most_lost = np.quantile(ratio.better_by, 1 - lower) if falling else np.quantile(ratio.worse_by, 1 - upper)
    standing = (
        ComparisonVerdict.WORSE if worse else ComparisonVerdict.BETTER if better else ComparisonVerdict.CANNOT_TELL
    )
    never, unbounded = ratio.candidate >= NEVER_MS, ci95[1] >= UNBOUNDED
    times = ratio.candidate / ratio.baseline
    detectable = None if never else _detectable(ratio, math.log(high if falling else low))
    if detectable is None:
        detail = f"It has no {metric.name}: too many of its jobs did not complete; {standing.value}."
    else:
        to = "and more" if unbounded else f"to {ci95[1]:.3g}"
        detail = f"{times:.3g} times the baseline ({ci95[0]:.3g} {to}); "
        detail += f"{standing.value}, {detectable:.3g} times would have been found."
    return MetricComparison(
        metric=metric,
        baseline=ratio.baseline,
        candidate=None if never else ratio.candidate,
        ratio=None if never else times,
        ci95=None if never or unbounded else (ci95[0], ci95[1]),
        bounds=(low, high),
        detectable=detectable,
        effective_n=ratio.effective_n,
        standing=standing,
        detail=detail,
        limit=1 / ratio.limit if falling else ratio.limit,
        non_inferior=bool(most_lost <= 0),
    )


def _detectable(ratio: _Ratio, log_bound: float) -> float:
    """Return the ratio whose bound lies beyond the limit in POWER of all runs, at the distances observed here."""
    centre = math.log(ratio.candidate / ratio.baseline)
    # Half the span of the middle 68 %: a standard deviation that a few extreme draws cannot inflate.
    deviation = float(np.subtract(*np.quantile(ratio.log_draws, [0.84, 0.16]))) / 2
    step = math.log(ratio.limit) + abs(centre - log_bound) + float(special.ndtri(POWER)) * deviation
    return math.exp(step if log_bound <= centre else -step)
