"""What is told of several runs beside each other: who they are, how each compares with the first, their times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.analyze.compare.comparison import MetricComparison, MetricKey
from loadtest.analyze.compare.differences import Difference
from loadtest.analyze.series import Series
from loadtest.analyze.summary import Summary
from loadtest.record.run import RunRecord
from loadtest.report import formatting
from loadtest.report.tables import QuantileRow, quantile_rows

COLOURS = tuple(f"var(--run-{number})" for number in range(1, 9))
"""One a run; the page says what they are by day, by night and on paper."""
MAX_RUNS = len(COLOURS)


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs: what it is called here, its record, its figures, and how it compares with the first.

    `no_verdict` says why its ratios are told without better or worse; None where they have it, and of the first run.
    """

    label: str
    run: RunRecord
    summary: Summary
    series: Series
    compared: Sequence[MetricComparison] = ()
    no_verdict: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Several runs, the first of which is the baseline, in what they differ, and how much worse is not worse."""

    runs: Sequence[ComparedRun]
    differences: Sequence[Difference]
    tolerance: float
    min_difference_ms: float

    @property
    def first(self) -> ComparedRun:
        """The baseline."""
        return self.runs[0]

    @property
    def others(self) -> Sequence[ComparedRun]:
        """All but the baseline."""
        return self.runs[1:]

    def with_colours(self) -> list[tuple[ComparedRun, str]]:
        """Each run with its colour."""
        return list(zip(self.runs, COLOURS, strict=False))


def metric_text(key: MetricKey) -> str:
    """A metric in words, such as "run end-to-end p95"."""
    return " ".join(filter(None, (key.flow, key.metric, key.percentile.replace("_", "."))))


def value_text(found: MetricComparison, value: float | None) -> str:
    """What a metric was in one run, in its unit."""
    return formatting.milliseconds(value) if found.metric.metric.is_time else formatting.rate(value)


def ratio_text(found: MetricComparison) -> str:
    """Candidate over baseline."""
    return formatting.DASH if found.ratio is None else f"{found.ratio:.3f}×"


def interval_text(found: MetricComparison) -> str:
    """The ratio's 95 % interval."""
    return formatting.DASH if found.ci95 is None else f"{found.ci95[0]:.3f} to {found.ci95[1]:.3f}"


def detectable_text(found: MetricComparison) -> str:
    """The ratio that would have been found worse 8 times in 10."""
    return formatting.DASH if found.detectable is None else f"{found.detectable:.3f}×"


def standing_text(beside: ComparedRun, found: MetricComparison) -> str:
    """Better, worse or cannot tell; no verdict where the runs are not of one kind, whatever the figures."""
    if found.ratio is None:
        return "n too small"
    return "no verdict" if beside.no_verdict is not None else found.standing.value


def times_by_run(comparison: Comparison) -> dict[str, dict[str, list[tuple[str, str, QuantileRow]]]]:
    """By flow, then by quantity, each run's line: its label, its colour, its percentiles."""
    found: dict[str, dict[str, list[tuple[str, str, QuantileRow]]]] = {}
    for beside, colour in comparison.with_colours():
        for flow, figures in beside.summary.flows.items():
            for row in quantile_rows(figures):
                found.setdefault(flow, {}).setdefault(row.label, []).append((beside.label, colour, row))
    return found
