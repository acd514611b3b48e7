"""Several runs in one HTML file that needs nothing else, as a report has it."""

from __future__ import annotations

from altair.utils import schemapi

from loadtest.report import comparison as texts
from loadtest.report.charts.comparison import overlaid_over_time, overlaid_percentiles
from loadtest.report.comparison import Comparison
from loadtest.report.pages.glossary import Glossary
from loadtest.report.pages.page import page_html
from loadtest.report.tables import min_sample_sizes


def compare_html(comparison: Comparison) -> str:
    """The whole page. Every figure is a summary's, a series' or a comparison's."""
    with schemapi.debug_mode(False):  # as in `html`
        over_time, percentiles = overlaid_over_time(comparison), overlaid_percentiles(comparison)
    return page_html(
        "compare.html",
        Glossary(),
        [*over_time, *percentiles],
        contrast=comparison,
        times=texts.times_by_run(comparison),
        texts=texts,
        needs=min_sample_sizes(),
        over_time=over_time,
        percentiles=percentiles,
    )
