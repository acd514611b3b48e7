"""The comparison of one run with others: ratios, their intervals, and better, worse or inconclusive."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from scipy import special

from loadtest.analyze.compare.comparable_run import TOKEN_RATES, ComparableRun, paired, share_a_schedule
from loadtest.analyze.compare.decision import RatioTest
from loadtest.analyze.compare.error_shares import compare_errors
from loadtest.analyze.compare.margin import MIN_DIFFERENCE_MS, TOLERANCE, NonInferiorityMargin
from loadtest.analyze.compare.ratio import Ratio, ratio
from loadtest.analyze.compare.result import ComparisonVerdict, MetricComparison, MetricKey
from loadtest.analyze.stats.hypothesis_tests import holm_levels
from loadtest.scenario.metrics import Metric

ERROR_RATE = 0.01
"""The highest probability that any time or rate of a run that is only just within the tolerance is called worse."""
_MAX_Z = 8.0
"""No p-value is less than that of a normal value of 8."""
_HALVINGS = 30


def compare(
    baseline: Sequence[ComparableRun],
    candidate: ComparableRun,
    metrics: Sequence[MetricKey],
    tolerance: float = TOLERANCE,
    min_difference_ms: float = MIN_DIFFERENCE_MS,
) -> list[MetricComparison]:
    """Return the comparison of the candidate with the baseline's runs, metric by metric.

    Several runs of the baseline count as one value each. Their spread beyond each run's own noise widens the
    interval: the candidate may differ by as much. Jobs of runs that share a schedule are compared in pairs. A time
    that the candidate's server did not report counts as over if it would make the candidate good, and not at all if
    it would make it worse. Raises ValueError without a baseline run.
    """
    if not baseline:
        raise ValueError("there is no baseline run to compare with")
    pairs = share_a_schedule([*baseline, candidate])
    *before, after = paired(baseline, candidate) if pairs else [*baseline, candidate]
    errors = [each for each in metrics if each.metric is Metric.ERRORS]
    level = ERROR_RATE / max(1, len(errors))
    found = {each: compare_errors(before, after, each, level) for each in errors}
    others = [each for each in metrics if each not in found]
    options = (pairs, tolerance, min_difference_ms)
    found |= zip(others, _compare_ratios(before, after.without_unknown(), others, *options), strict=True)
    worse = [each for each in others if found[each].standing is ComparisonVerdict.WORSE]
    known = _compare_ratios(before, after, worse, *options) if worse and after.lacks_times() else []
    doubtful = [each for each in known if each.standing is not ComparisonVerdict.WORSE]
    # Jobs that do not report their tokens have none in a rate, which is then the least that it can be.
    doubtful += [
        found[each] for each in worse if each.metric in TOKEN_RATES and after.tokens[each.flow, each.metric].silent
    ]
    found |= {each.metric: _undecided(each) for each in doubtful}
    return [found[each] for each in metrics]


def _undecided(found: MetricComparison) -> MetricComparison:
    """Return the comparison of a metric that is worse only by times or tokens that were not reported."""
    detail = f"{found.detail} Too many jobs do not report it to tell."
    standing = ComparisonVerdict.CANNOT_TELL
    return msgspec.structs.replace(found, standing=standing, non_inferior=False, detail=detail)


def _compare_ratios(
    baseline: Sequence[ComparableRun],
    candidate: ComparableRun,
    metrics: Sequence[MetricKey],
    pairs: bool,
    tolerance: float,
    min_difference_ms: float,
) -> list[MetricComparison]:
    """Return the comparison of times and rates."""
    ratios = {each: ratio(baseline, candidate, each, pairs) for each in metrics}
    for_times, for_rates = (NonInferiorityMargin(tolerance, least) for least in (min_difference_ms, 0.0))
    tests = [
        RatioTest(metric, each, for_times if metric.percentile else for_rates)
        for metric, each in ratios.items()
        if isinstance(each, Ratio)
    ]
    more = holm_levels([_p_value(each.is_more) for each in tests], ERROR_RATE)
    less = holm_levels([_p_value(each.is_less) for each in tests], ERROR_RATE)
    decided = {
        each.metric: each.decide(*map(_normal, levels)) for each, *levels in zip(tests, more, less, strict=True)
    }
    return [
        _not_comparable(metric, each, 1 + tolerance) if isinstance(each, str) else decided[metric]
        for metric, each in ratios.items()
    ]


def _p_value(holds: Callable[[float], bool]) -> float:
    """Return the probability of a normal value beyond the highest z at which a test still holds."""
    low, high = 0.0, _MAX_Z
    if not holds(low):
        return 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return float(special.ndtr(-low))


def _normal(level: float) -> float:
    """Return the z beyond which a normal value is with this probability."""
    return -float(special.ndtri(level))


def _not_comparable(metric: MetricKey, why: str, limit: float) -> MetricComparison:
    nothing = (None,) * 7
    limit = limit if metric.percentile else 1 / limit
    return MetricComparison(metric, *nothing, ComparisonVerdict.CANNOT_TELL, why, limit)
