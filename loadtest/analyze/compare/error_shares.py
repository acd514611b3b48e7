"""The comparison of the shares of jobs that did not complete."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import special

from loadtest.analyze.compare.comparable_run import ComparableRun, JobCount
from loadtest.analyze.compare.result import ComparisonVerdict, MetricComparison, MetricKey

ERROR_MARGIN = 0.01
"""How much larger the share may be, in terms of all jobs, without being worse."""


def compare_errors(
    baseline: Sequence[ComparableRun], candidate: ComparableRun, metric: MetricKey, level: float
) -> MetricComparison:
    """Return the comparison of the shares of one flow's jobs that did not complete, unfinished ones included.

    The share is worse, or better, if the interval of the difference at this level lies beyond the margin (Newcombe
    1998, Statistics in Medicine 17, p. 873, method 10). It is non-inferior while the shares themselves differ by less
    than the margin, so that a small run passes.
    """
    before = [run.counts.get(metric.flow, JobCount(0, 0)) for run in baseline]
    then = JobCount(sum(each.jobs for each in before), sum(each.not_completed for each in before))
    now = candidate.counts.get(metric.flow, JobCount(0, 0))
    if not then.jobs or not now.jobs:
        side = "baseline" if not then.jobs else "candidate"
        return _result(metric, None, None, now.jobs, ComparisonVerdict.CANNOT_TELL, f"The {side} has no such jobs.")
    there, here = then.not_completed / then.jobs, now.not_completed / now.jobs
    (there_low, there_high), (here_low, here_high) = _wilson(then, level), _wilson(now, level)
    least = here - there - math.hypot(here - here_low, there_high - there)
    most = here - there + math.hypot(here_high - here, there - there_low)
    standing = ComparisonVerdict.CANNOT_TELL
    if least > ERROR_MARGIN:
        standing = ComparisonVerdict.WORSE
    elif most < -ERROR_MARGIN:
        standing = ComparisonVerdict.BETTER
    detail = (
        f"{100 * here:.3g} % of {now.jobs:,} jobs did not complete, {100 * there:.3g} % of {then.jobs:,} in the "
        f"baseline; {standing.value}, {100 * ERROR_MARGIN:g} % of all jobs more may."
    )
    return _result(metric, there, here, now.jobs, standing, detail)


def _result(
    metric: MetricKey, there: float | None, here: float | None, n: int, standing: ComparisonVerdict, detail: str
) -> MetricComparison:
    limit = (there or 0.0) + ERROR_MARGIN
    return MetricComparison(
        metric=metric,
        baseline=there,
        candidate=here,
        ratio=None,
        ci95=None,
        bounds=None,
        detectable=None,
        effective_n=float(n),
        standing=standing,
        detail=detail,
        limit=limit,
        non_inferior=here is not None and standing is not ComparisonVerdict.WORSE and here < limit,
    )


def _wilson(count: JobCount, level: float) -> tuple[float, float]:
    """Return the interval of a share whose bounds are each wrong at this level (Wilson 1927)."""
    n, share = count.jobs, count.not_completed / count.jobs
    z = float(-special.ndtri(level))
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n))
