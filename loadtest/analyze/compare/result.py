"""What a comparison finds: a metric, both values, their ratio, and better, worse or inconclusive."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from loadtest.scenario.metrics import Metric


class ComparisonVerdict(StrEnum):
    """The result of a comparison of the candidate with the baseline in one metric."""

    BETTER = "better"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class MetricKey:
    """A compared figure: a percentile (such as "p95") of one metric's times in one flow, or throughput."""

    flow: str
    metric: Metric
    percentile: str = ""

    @property
    def name(self) -> str:
        """Return the key as text, such as "run end_to_end_ms p95"."""
        parts = (self.flow, self.metric.spec.column or self.metric, self.percentile.replace("_", "."))
        return " ".join(filter(None, parts))


THROUGHPUT = MetricKey("", Metric.THROUGHPUT)


class MetricComparison(msgspec.Struct, frozen=True):
    """One metric of the candidate and the baseline; figures are None if n is too small, or if there is no such value.

    `ratio` is candidate over baseline and `ci95` its 95 % interval. `bounds` decide: each is exceeded by chance in
    at most 1 % of comparisons, all metrics of the comparison together (Holm). A time is WORSE if the lower bound is
    above 1 + tolerance, and that of the difference above the minimum difference; throughput if the upper bound is
    below 1 / (1 + tolerance). BETTER is the same with the runs exchanged. `limit` is the ratio beyond which the
    candidate would be worse if both values were known exactly; `non_inferior` if the bounds rule that out.
    `detectable` is the ratio that would have been found worse 8 times in 10. `effective_n` is the number of
    independent jobs (for throughput, seconds) with as much information as those of the smaller side. Shares of jobs
    have no ratio: their `limit` is the candidate's highest share that is not worse.
    """

    metric: MetricKey
    baseline: float | None
    candidate: float | None
    ratio: float | None
    ci95: tuple[float, float] | None
    bounds: tuple[float, float] | None
    detectable: float | None
    effective_n: float | None
    standing: ComparisonVerdict
    detail: str
    limit: float
    non_inferior: bool = False
