"""The report as one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

from io import StringIO
from typing import Any

from altair.utils import schemapi
from ruamel.yaml import YAML

from loadtest.analyze.error_groups import MAX_GROUPS
from loadtest.analyze.series import Series
from loadtest.analyze.summary import Summary, Verdict
from loadtest.record.run import RunRecord
from loadtest.report.charts.distributions import distribution_charts
from loadtest.report.charts.load_and_latency import over_time_charts
from loadtest.report.charts.workers import workers_chart, workers_words
from loadtest.report.gate_text import interval_texts, limit_text, observed_text
from loadtest.report.pages.glossary import Glossary
from loadtest.report.pages.page import page_html
from loadtest.report.tables import PERCENTILES, min_sample_sizes, quantile_rows, steady_comparison, tiles

MAX_WORKERS = 50
MAX_INPUTS = 5

SECTIONS = {
    "over-time": "Over time",
    "steady": "Steady window",
    "distributions": "Distributions",
    "outcomes": "Outcomes",
    "operations": "Requests",
    "gates": "Gates",
    "validity": "Soundness",
    "flows": "Times by flow",
    "starts": "Starts",
    "by-worker": "Workers",
    "errors": "What went wrong",
    "cost": "Cost",
    "facts": "The run",
    "definitions": "Words",
}

VERDICT_WORDS = {
    Verdict.PASS: "Pass",
    Verdict.FAIL: "Fail",
    Verdict.INCONCLUSIVE: "Inconclusive",
    Verdict.INVALID: "Invalid",
    Verdict.ABORTED: "Aborted",
}


def report_html(run: RunRecord, summary: Summary, series: Series) -> str:
    """The whole report. Every figure is the summary's, every chart the series'."""
    # Altair checks each part of a chart as it is made, which takes longer than all else; the tests check the whole.
    with schemapi.debug_mode(False):
        over_time = over_time_charts(summary, series)
        distributions = distribution_charts(series)
        by_worker = workers_chart(summary.workers)
    charts = [*over_time, *distributions, *([by_worker] if by_worker else [])]
    return page_html(
        "report.html",
        Glossary(),
        charts,
        run=run,
        summary=summary,
        series=series,
        verdict_word=VERDICT_WORDS[summary.verdict],
        tiles=tiles(summary, series),
        contents=_contents(summary),
        quantile_rows=quantile_rows,
        beside_rows=steady_comparison,
        percentiles=PERCENTILES,
        workers_words=workers_words(summary.workers),
        workers_chart=by_worker,
        observed_text=observed_text,
        limit_text=limit_text,
        interval_texts=interval_texts,
        most_workers=MAX_WORKERS,
        most_faults=MAX_GROUPS,
        needs=min_sample_sizes(),
        over_time={chart.name: chart for chart in over_time},
        distributions=distributions,
        scenario_yaml=_yaml(_shortened(run.scenario)),
    )


def _contents(summary: Summary) -> list[tuple[str, str]]:
    """The sections of this report, by their identifiers."""
    there = {"gates": summary.gates, "starts": summary.starts, "by-worker": summary.workers, "cost": summary.cost}
    return [(place, title) for place, title in SECTIONS.items() if there.get(place, True)]


def _shortened(scenario: dict[str, Any]) -> dict[str, Any]:
    """The scenario with no more than the first of many inputs; all are in `run.json`."""
    flows = {name: {**flow, "inputs": _first(flow.get("inputs"))} for name, flow in scenario["flows"].items()}
    return {**scenario, "flows": flows}


def _first(inputs: dict[str, Any] | None) -> dict[str, Any] | None:
    lines = (inputs or {}).get("lines", [])
    if inputs is None or len(lines) <= MAX_INPUTS:
        return inputs
    return {**inputs, "lines": [*lines[:MAX_INPUTS], f"and {len(lines) - MAX_INPUTS} more"]}


def _yaml(value: dict[str, Any]) -> str:
    text = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.width = 100
    yaml.dump(value, text)
    return text.getvalue()
