"""Several runs in one HTML file that needs nothing else, as a report has it."""

from __future__ import annotations

from altair.utils import schemapi

from loadtest.report import contrast as told
from loadtest.report.contrast import Contrast
from loadtest.report.overlaid import overlaid_over_time, overlaid_percentiles
from loadtest.report.page import page_html
from loadtest.report.tables import needs
from loadtest.report.terms import Terms


def compare_html(contrast: Contrast) -> str:
    """The whole page. Every figure is a summary's, a series' or a comparison's."""
    with schemapi.debug_mode(False):  # as in `html`
        over_time, percentiles = overlaid_over_time(contrast), overlaid_percentiles(contrast)
    return page_html(
        "compare.html",
        Terms(),
        [*over_time, *percentiles],
        contrast=contrast,
        times=told.times_beside(contrast),
        told=told,
        needs=needs(),
        over_time=over_time,
        percentiles=percentiles,
    )
