"""Several runs compared with the first: the runs, their metrics in words, their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.analyze.compare.differences import Difference
from loadtest.analyze.compare.result import MetricComparison, MetricKey
from loadtest.analyze.series import Series
from loadtest.analyze.summary import Summary
from loadtest.record.run import RunRecord
from loadtest.report import formatting

COLOURS = tuple(f"var(--run-{number})" for number in range(1, 9))
"""One colour per run; the page defines them for light mode, dark mode and print."""
MAX_RUNS = len(COLOURS)


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs: its label, its record, its figures, and how each metric compares with the first run's.

    `no_verdict` is the reason why its ratios have no verdict; None if they have one, and for the first run.
    """

    label: str
    run: RunRecord
    summary: Summary
    series: Series
    compared: Sequence[MetricComparison] = ()
    no_verdict: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Several runs, the baseline first, their differences, and the margin within which a metric is not worse."""

    runs: Sequence[ComparedRun]
    differences: Sequence[Difference]
    tolerance: float
    min_difference_ms: float

    @property
    def first(self) -> ComparedRun:
        """Return the baseline."""
        return self.runs[0]

    @property
    def others(self) -> Sequence[ComparedRun]:
        """Return all runs but the baseline."""
        return self.runs[1:]

    def with_colours(self) -> list[tuple[ComparedRun, str]]:
        """Return each run with its colour."""
        return list(zip(self.runs, COLOURS, strict=False))


def metric_text(key: MetricKey) -> str:
    """Return a metric in words, such as "run end-to-end p95"."""
    return " ".join(filter(None, (key.flow, key.metric, key.percentile.replace("_", "."))))


def value_text(found: MetricComparison, value: float | None) -> str:
    """Return the value of a metric in its unit."""
    if found.metric.metric.is_share:
        return formatting.share(value)
    return formatting.milliseconds(value) if found.metric.metric.is_time else formatting.rate(value)


def interval_text(found: MetricComparison) -> str:
    """Return the 95 % interval of the ratio."""
    return formatting.DASH if found.ci95 is None else f"{found.ci95[0]:.3f} to {found.ci95[1]:.3f}"


def standing_text(candidate: ComparedRun, found: MetricComparison) -> str:
    """Return better, worse or inconclusive; "no verdict" if the runs cannot be compared, whatever the figures."""
    if found.baseline is None:
        return "n too small"
    return "no verdict" if candidate.no_verdict is not None else formatting.verdict(found.standing)
