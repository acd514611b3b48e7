"""The report as one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

from altair.utils import schemapi
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from ruamel.yaml import YAML

from loadtest.analyze.faults import MOST_GROUPS
from loadtest.analyze.series import Series
from loadtest.analyze.summary import Summary, Verdict
from loadtest.record.run import Run
from loadtest.report import words
from loadtest.report.bundle import charting_script
from loadtest.report.charts import Chart
from loadtest.report.distributions import distribution_charts
from loadtest.report.gates import limit_text, observed_text
from loadtest.report.over_time import over_time_charts
from loadtest.report.tables import PERCENTILES, beside_rows, needs, quantile_rows, tiles
from loadtest.report.terms import Terms
from loadtest.report.workers import workers_chart, workers_words

MOST_WORKERS = 50

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


def report_html(run: Run, summary: Summary, series: Series) -> str:
    """The whole report. Every figure is the summary's, every chart the series'."""
    # Altair checks each part of a chart as it is made, which takes longer than all else; the tests check the whole.
    with schemapi.debug_mode(False):
        over_time = over_time_charts(summary, series)
        distributions = distribution_charts(series)
        by_worker = workers_chart(summary.workers)
    charts = [*over_time, *distributions, *([by_worker] if by_worker else [])]
    terms = Terms()
    return (
        _environment(terms)
        .get_template("report.html")
        .render(
            run=run,
            summary=summary,
            series=series,
            verdict_word=VERDICT_WORDS[summary.verdict],
            tiles=tiles(summary, series),
            contents=_contents(summary),
            quantile_rows=quantile_rows,
            beside_rows=beside_rows,
            percentiles=PERCENTILES,
            workers_words=workers_words(summary.workers),
            workers_chart=by_worker,
            terms=terms,
            observed_text=observed_text,
            limit_text=limit_text,
            most_workers=MOST_WORKERS,
            most_faults=MOST_GROUPS,
            needs=needs(),
            over_time={chart.name: chart for chart in over_time},
            distributions=distributions,
            scenario_yaml=_yaml(run.scenario),
            specs=_json_in_html(charts),
            javascript=_javascript(),
        )
    )


def _contents(summary: Summary) -> list[tuple[str, str]]:
    """The sections of this report, by their identifiers."""
    there = {"gates": summary.gates, "starts": summary.starts, "by-worker": summary.workers, "cost": summary.cost}
    return [(place, title) for place, title in SECTIONS.items() if there.get(place, True)]


def _environment(terms: Terms) -> Environment:
    environment = Environment(
        loader=PackageLoader("loadtest.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["term"] = terms.link
    for filter_ in (
        words.count,
        words.dollars,
        words.milliseconds,
        words.moment,
        words.number,
        words.rate,
        words.share,
        words.signed_share,
        words.span,
    ):
        environment.filters[filter_.__name__] = filter_
    return environment


def _json_in_html(charts: list[Chart]) -> Markup:
    """The charts' specifications as JSON that no text inside can end early: `<` is written as an escape."""
    specs = {chart.name: {"spec": chart.spec, "over_time": chart.over_time} for chart in charts}
    text = json.dumps(specs, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _javascript() -> Markup:
    """The charting library, which no text inside can end early."""
    return Markup(charting_script().replace("</script", "<\\/script"))


def _yaml(value: dict[str, Any]) -> str:
    text = StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 100
    yaml.dump(value, text)
    return text.getvalue()
