"""The page of several runs compared with the first, in one HTML file."""

from __future__ import annotations

from altair.utils import schemapi

from loadtest.report import comparison as texts
from loadtest.report.charts.comparison import overlaid_over_time, overlaid_percentiles
from loadtest.report.comparison import Comparison
from loadtest.report.pages.glossary import Glossary
from loadtest.report.pages.page import page_html
from loadtest.report.tables import QuantileRow, min_sample_sizes, quantile_rows


def compare_html(comparison: Comparison) -> str:
    """Return the whole page; every figure is one of a summary, a series or a comparison."""
    with schemapi.debug_mode(False):  # as in `run`
        over_time, percentiles = overlaid_over_time(comparison), overlaid_percentiles(comparison)
    return page_html(
        "compare.html",
        Glossary(),
        [*over_time, *percentiles],
        comparison=comparison,
        times=_times_by_run(comparison),
        texts=texts,
        min_sizes=min_sample_sizes(),
        over_time=over_time,
        percentiles=percentiles,
    )


def _times_by_run(comparison: Comparison) -> dict[str, dict[str, list[tuple[str, str, QuantileRow]]]]:
    """Return, by flow and quantity, the label, colour and percentiles of each run."""
    found: dict[str, dict[str, list[tuple[str, str, QuantileRow]]]] = {}
    for candidate, colour in comparison.with_colours():
        for flow, figures in candidate.summary.flows.items():
            for row in quantile_rows(figures):
                found.setdefault(flow, {}).setdefault(row.label, []).append((candidate.label, colour, row))
    return found
