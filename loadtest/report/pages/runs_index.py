"""The index of a folder of runs: one HTML file with a table of all runs, and their trends."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.report.charts.base import unchecked
from loadtest.report.charts.trend import change_text, trend_chart
from loadtest.report.pages.glossary import Glossary
from loadtest.report.pages.page import page_html
from loadtest.report.runs_index import IndexedRun, trends


@unchecked
def index_html(folder: str, runs: Sequence[IndexedRun], unreadable: Sequence[tuple[str, str]]) -> str:
    """Return the page; `unreadable` are folders that look like runs, and why they could not be read."""
    found = trends(runs)
    charts = [trend_chart(trend, number) for number, trend in enumerate(found)]
    by_scenario: dict[str, list[int]] = {}
    for number, trend in enumerate(found):
        by_scenario.setdefault(trend.scenario, []).append(number)
    changes = [(trend, each, change_text(trend, each.place)) for trend in found for each in trend.changes]
    return page_html(
        "runs_index.html",
        Glossary(),
        charts,
        folder=folder,
        runs=sorted(runs, key=lambda run: run.summary.run.started_at, reverse=True),
        unreadable=unreadable,
        changes=changes,
        charts_by_scenario={name: [charts[n] for n in numbers] for name, numbers in by_scenario.items()},
    )
