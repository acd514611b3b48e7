"""The report of a run in one HTML file, without any request to a network or another file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import BaseRepresenter

from loadtest.analyze.causes import MAX_CAUSES
from loadtest.analyze.series import Series
from loadtest.analyze.summary import Summary
from loadtest.protocol.json_values import WrittenNumber
from loadtest.record.run import RunRecord
from loadtest.report.charts.base import Chart, unchecked
from loadtest.report.charts.distributions import histogram_chart, percentiles_chart
from loadtest.report.charts.endpoint import (
    execution_by_worker_chart,
    in_flight_chart,
    limit_use_chart,
    requests_chart,
    starts_chart,
    workers_chart,
    workers_text,
)
from loadtest.report.charts.load_and_latency import latency_chart, load_chart, parts_chart, users_chart
from loadtest.report.charts.tokens import (
    answers_chart,
    gap_chart,
    lengths_chart,
    rate_by_jobs_chart,
    rate_chart,
    ttft_chart,
)
from loadtest.report.ci.markdown import markdown
from loadtest.report.pages.glossary import Glossary
from loadtest.report.pages.page import page_html
from loadtest.report.summary_text import CHARTED
from loadtest.traffic.inputs import Template

MAX_WORKERS = 50
MAX_INPUTS = 5

CHARTS: Mapping[str, Sequence[Callable[[Summary, Series], Chart | None]]] = {
    "over-time": (
        load_chart,
        users_chart,
        *(partial(latency_chart, quantity=quantity) for quantity in CHARTED),
        ttft_chart,
        gap_chart,
        parts_chart,
        in_flight_chart,
        rate_chart,
        requests_chart,
        limit_use_chart,
        workers_chart,
        starts_chart,
    ),
    "distributions": (
        *(partial(histogram_chart, quantity=quantity) for quantity in CHARTED),
        *(partial(percentiles_chart, quantity=quantity) for quantity in CHARTED),
    ),
    "tokens": (
        rate_by_jobs_chart,
        answers_chart,
        *(partial(lengths_chart, quantity=quantity) for quantity in ("input_tokens", "output_tokens")),
    ),
    "by-worker": (execution_by_worker_chart,),
}
"""The charts of each section, in order; a function returns None if the run has no data for its chart."""

SECTIONS = {
    "over-time": "Over time",
    "steady": "Steady window",
    "distributions": "Distributions",
    "tokens": "Tokens",
    "outcomes": "Outcomes",
    "operations": "Requests",
    "gates": "Gates",
    "validity": "Validity",
    "flows": "Times by flow",
    "repeats": "Repeated inputs",
    "starts": "Starts",
    "by-worker": "Workers",
    "errors": "What went wrong",
    "cost": "Cost",
    "facts": "The run",
    "definitions": "Glossary",
}


@unchecked
def report_html(run: RunRecord, summary: Summary, series: Series) -> str:
    """Return the whole report; every figure is the summary's, every chart the series'."""
    charts = {
        section: [chart for draw in functions if series.outcomes and (chart := draw(summary, series))]
        for section, functions in CHARTS.items()
    }
    return page_html(
        "report.html",
        Glossary(),
        [chart for each in charts.values() for chart in each],
        run=run,
        summary=summary,
        series=series,
        section_charts=charts,
        contents=_contents(summary, series),
        workers_text=workers_text(summary.workers),
        max_workers=MAX_WORKERS,
        max_causes=MAX_CAUSES,
        markdown=markdown(summary),
        scenario_yaml=_yaml(_shortened(run.scenario)),
        length_texts=_length_texts(run.scenario),
    )


def _length_texts(scenario: dict[str, Any]) -> dict[str, str]:
    """Return which lengths the inputs of each flow have, and what they are counted in, if a template has lengths."""
    texts = {}
    for name, flow in scenario["flows"].items():
        inputs = flow.get("inputs")
        if inputs is not None and "template" in inputs and (text := Template.model_validate(inputs).length_text):
            texts[name] = text
    return texts


def _contents(summary: Summary, series: Series) -> list[tuple[str, str]]:
    """Return the identifier and the title of each section of this report."""
    optional = {
        "tokens": series.tokens,
        "gates": summary.gates,
        "repeats": summary.cache_audit,
        "starts": summary.starts,
        "by-worker": summary.workers,
        "cost": summary.cost,
    }
    return [(section, title) for section, title in SECTIONS.items() if optional.get(section, True)]


def _shortened(scenario: dict[str, Any]) -> dict[str, Any]:
    """Return the scenario with only the first of many inputs; `run.json` has all of them."""
    flows = {name: {**flow, "inputs": _first(flow.get("inputs"))} for name, flow in scenario["flows"].items()}
    return {**scenario, "flows": flows}


def _first(inputs: dict[str, Any] | None) -> dict[str, Any] | None:
    if inputs is None:
        return None
    shown: dict[str, Any] = {key: _few(inputs[key]) for key in ("lines", "words") if key in inputs}
    if inputs.get("prompts"):
        shown["prompts"] = {
            key: _few(each) if isinstance(each, list) else each for key, each in inputs["prompts"].items()
        }
    return {**inputs, **shown}


def _few(values: list[Any]) -> list[Any]:
    if len(values) <= MAX_INPUTS:
        return values
    return [*values[:MAX_INPUTS], f"and {len(values) - MAX_INPUTS} more"]


def _written(representer: BaseRepresenter, number: WrittenNumber) -> ScalarNode:
    return representer.represent_scalar("tag:yaml.org,2002:float", number.text)


def _yaml(value: dict[str, Any]) -> str:
    text = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.representer.sort_base_mapping_type_on_output = False
    yaml.representer.add_representer(WrittenNumber, _written)
    yaml.width = 100
    yaml.dump(value, text)
    return text.getvalue()
