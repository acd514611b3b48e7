"""The decision on one ratio: better, worse or inconclusive, with its bounds, its interval and the reason."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from scipy import special

from loadtest.analyze.compare.comparable_run import NEVER_MS
from loadtest.analyze.compare.margin import NonInferiorityMargin
from loadtest.analyze.compare.ratio import Ratio
from loadtest.analyze.compare.result import ComparisonVerdict, MetricComparison, MetricKey
from loadtest.analyze.stats.quantiles import TAIL

POWER = 0.8
"""The probability that a run that is worse by the minimum detectable effect is called worse."""
UNBOUNDED = 1e6
"""A ratio from here on says that jobs may never complete."""
_Z95 = -float(special.ndtri(TAIL))
_Z_POWER = float(special.ndtri(POWER))


@dataclass(frozen=True)
class RatioTest:
    """The tests of one ratio against its margin; a confidence is given as the value z of a normal distribution."""

    metric: MetricKey
    ratio: Ratio
    margin: NonInferiorityMargin

    def is_more(self, z: float) -> bool:
        """Return whether the candidate's value is higher by more than the margin."""
        ends = self.ratio.ends(z)
        return self.margin.exceeded(ends.there_high, ends.here_low)

    def is_less(self, z: float) -> bool:
        """Return whether the baseline's value is higher by more than the margin."""
        ends = self.ratio.ends(z)
        return self.margin.exceeded(ends.here_high, ends.there_low)

    def decide(self, z_more: float, z_less: float) -> MetricComparison:
        """Return the comparison, for the z of either test."""
        here, there, falling = self.ratio.here, self.ratio.there, not self.metric.percentile
        more, less = self.is_more(z_more), self.is_less(z_less)
        worse, better = (less, more) if falling else (more, less)
        standing = ComparisonVerdict.BETTER if better else ComparisonVerdict.CANNOT_TELL
        standing = ComparisonVerdict.WORSE if worse else standing
        never, ends, limit = here >= NEVER_MS, self.ratio.ends(_Z95), self.margin.as_ratio(there)
        found = MetricComparison(
            metric=self.metric,
            baseline=there,
            candidate=None if never else here,
            ratio=None if never else here / there,
            ci95=None if never or ends.high >= UNBOUNDED else (ends.low, ends.high),
            bounds=(self.ratio.ends(z_more).low, self.ratio.ends(z_less).high),
            detectable=None if never else self._detectable(z_less if falling else z_more),
            effective_n=self.ratio.effective_n,
            standing=standing,
            detail="",
            limit=1 / limit if falling else limit,
            non_inferior=self._is_non_inferior(z_more if falling else z_less),
        )
        return msgspec.structs.replace(found, detail=self._detail(found, z_less if falling else z_more))

    def _is_non_inferior(self, z: float) -> bool:
        """Return whether the worst end lies within the margin."""
        ends = self.ratio.ends(z)
        if self.metric.percentile:
            return not self.margin.exceeded(ends.there_low, ends.here_high)
        return not self.margin.exceeded(ends.here_low, ends.there_high)

    def _detectable(self, z: float) -> float | None:
        """Return the ratio that is found worse in POWER of all runs whose times vary as here; None if none is."""
        ends = self.ratio.ends(z + _Z_POWER)
        limit, ratio = self.margin.as_ratio(self.ratio.there), self.ratio.here / self.ratio.there
        if not self.metric.percentile:
            return ratio / ends.high / limit
        return ratio / ends.low * limit if ends.low > 0 else None

    def _detail(self, found: MetricComparison, z: float) -> str:
        """Return the comparison in words."""
        standing = found.standing.value
        if found.ratio is None:
            return f"It has no {self.metric.name}: too many of its jobs did not complete; {standing}."
        if found.detectable is None and found.standing is ComparisonVerdict.CANNOT_TELL:
            jobs = self.ratio.jobs_needed(z + _Z_POWER)
            needed = "" if jobs is None else f" About {jobs:,} jobs would do."
            return (
                f"{found.ratio:.3g} times the baseline; {standing}, since these jobs resemble their neighbours and "
                f"count as {found.effective_n:.0f} that do not.{needed}"
            )
        ends = self.ratio.ends(_Z95)
        to = "and more" if ends.high >= UNBOUNDED else f"to {ends.high:.3g}"
        text = f"{found.ratio:.3g} times the baseline ({ends.low:.3g} {to}); {standing}"
        return (
            f"{text}." if found.detectable is None else f"{text}, {found.detectable:.3g} times would have been found."
        )
