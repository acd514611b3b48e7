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
from loadtest.report.tables import needs, quantile_rows, tiles

MOST_WORKERS = 50

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
    return (
        _environment()
        .get_template("report.html")
        .render(
            run=run,
            summary=summary,
            series=series,
            verdict_word=VERDICT_WORDS[summary.verdict],
            tiles=tiles(summary, series),
            quantile_rows=quantile_rows,
            observed_text=observed_text,
            limit_text=limit_text,
            most_workers=MOST_WORKERS,
            most_faults=MOST_GROUPS,
            needs=needs(),
            over_time={chart.name: chart for chart in over_time},
            distributions=distributions,
            scenario_yaml=_yaml(run.scenario),
            specs=_json_in_html(over_time + distributions),
            javascript=_javascript(),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("loadtest.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for filter_ in (
        words.count,
        words.dollars,
        words.milliseconds,
        words.moment,
        words.rate,
        words.share,
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
