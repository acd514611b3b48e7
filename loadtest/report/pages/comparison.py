"""The page of several runs compared with the first, in one HTML file."""

from __future__ import annotations

from loadtest.analyze.summary import Quantiles
from loadtest.report import comparison as texts
from loadtest.report.charts.base import unchecked
from loadtest.report.charts.comparison import overlaid_over_time, overlaid_percentiles
from loadtest.report.comparison import Comparison
from loadtest.report.pages.glossary import Glossary
from loadtest.report.pages.page import page_html
from loadtest.report.summary_text import QUANTITIES


@unchecked
def compare_html(comparison: Comparison) -> str:
    """Return the whole page; every figure is one of a summary, a series or a comparison."""
    over_time, distributions = overlaid_over_time(comparison), overlaid_percentiles(comparison)
    return page_html(
        "compare.html",
        Glossary(),
        [*over_time, *distributions],
        comparison=comparison,
        times=_times_by_run(comparison),
        texts=texts,
        over_time=over_time,
        distributions=distributions,
    )


def _times_by_run(comparison: Comparison) -> dict[str, dict[str, list[tuple[str, str, Quantiles]]]]:
    """Return, by flow and quantity, the label, colour and percentiles of each run."""
    found: dict[str, dict[str, list[tuple[str, str, Quantiles]]]] = {}
    for candidate, colour in comparison.with_colours():
        for flow, figures in candidate.summary.flows.items():
            for quantity, (label, _) in QUANTITIES.items():
                if (q := getattr(figures, quantity)).n:
                    found.setdefault(flow, {}).setdefault(label, []).append((candidate.label, colour, q))
    return found
