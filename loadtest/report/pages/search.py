"""The page of a measured search: one HTML file that links to the report of each probe."""

from __future__ import annotations

import altair as alt
from altair.utils import schemapi

from loadtest.analyze.summary import Verdict
from loadtest.capacity.breakpoint.bisection import ProbeOutcome
from loadtest.capacity.breakpoint.result import BreakpointResult, ProbeResult
from loadtest.report.charts.base import (
    BAD,
    GOOD,
    GREY,
    WARNING,
    Chart,
    LegendEntry,
    data_table,
    rows_chart,
    styled_spec,
)
from loadtest.report.charts.capacity import (
    DASHED,
    HEIGHT,
    RATE_LABEL,
    from_zero_x,
    limit_rule,
    objective_row,
    objective_y,
    points_with_intervals,
)
from loadtest.report.formatting import verdict
from loadtest.report.gate_text import interval_texts, limit_text, observed_text
from loadtest.report.pages.glossary import Glossary
from loadtest.report.pages.page import page_html
from loadtest.report.pages.run import VERDICT_TITLES
from loadtest.scenario.gates import parse_gate

_COLOURS = {ProbeOutcome.PASSES: GOOD, ProbeOutcome.FAILS: BAD}
OUTCOME_CLASSES = {ProbeOutcome.PASSES: "pass", ProbeOutcome.FAILS: "fail"}
_GATE_VERDICTS = {
    ProbeOutcome.PASSES: Verdict.PASS,
    ProbeOutcome.FAILS: Verdict.FAIL,
    ProbeOutcome.INCONCLUSIVE: Verdict.INCONCLUSIVE,
}


def search_html(found: BreakpointResult) -> str:
    """Return the whole page; every figure is one of `search.json`."""
    with schemapi.debug_mode(False):  # as in `run`
        charts = [
            chart for n, gate in enumerate(found.slo) if (chart := _chart(found, f"gate-{n}", gate)) is not None
        ]
    return page_html(
        "search.html",
        Glossary(),
        charts,
        found=found,
        verdict_title=VERDICT_TITLES[found.verdict],
        unexplained=[each for each in found.probes if not _explained_by_gates(each)],
        classes=OUTCOME_CLASSES,
        observed_text=observed_text,
        limit_text=limit_text,
        interval_texts=interval_texts,
    )


def _explained_by_gates(probe: ProbeResult) -> bool:
    """Return whether the gates' verdicts explain the outcome of a probe, so that it needs no reason."""
    return _GATE_VERDICTS.get(probe.outcome) in {gate.verdict for gate in probe.gates}


def _chart(found: BreakpointResult, name: str, text: str) -> Chart | None:
    """Return the figure of a gate at each probed rate, with the limit; None if there is no figure."""
    slo = parse_gate(text)
    rows = [
        objective_row(slo, each.rate_per_s, gate.observed, *(gate.ci95 or (gate.observed, gate.observed)))
        | {"outcome": verdict(each.outcome)}
        for each in found.probes
        for gate in each.gates
        if gate.gate == text and gate.observed is not None
    ]
    if not rows:
        return None
    limit = slo.limit if slo.metric.is_share else slo.limit * 1000
    y = objective_y(slo, rows, limit)
    x = from_zero_x("x", 1.06 * max(row["x"] for row in rows), RATE_LABEL)
    layers = [limit_rule(limit, y)]
    if found.highest_passing_per_s is not None:
        edge = rows_chart([{"x": found.highest_passing_per_s}]).mark_rule(stroke=GREY, strokeDash=DASHED, clip=True)
        layers.append(edge.encode(x=x))
    tips = [alt.Tooltip("x:Q", title="rate, /s", format=".4~g"), alt.Tooltip("y:Q", title="observed", format=",.4~g")]
    for outcome in ProbeOutcome:
        some = rows_chart([row for row in rows if row["outcome"] == verdict(outcome)])
        layers += points_with_intervals(some, _COLOURS.get(outcome, WARNING), x, y, tips)
    form = ".2%" if slo.metric.is_share else ",.4g"
    columns = {"x": ("rate, /s", ".4g"), "y": ("observed", form), "low": ("from", form), "high": ("to", form)}
    points = ", ".join(f"{row['outcome']} at {row['x']:.4g}/s" for row in rows)
    return Chart(
        name=name,
        title=f"{text.partition(' <')[0].capitalize()} against the rate",
        unit="of each probe, with its 95 % interval",
        alt_text=f"{text}: {points}.",
        keys=_keys(found, text),
        spec=styled_spec(layers, HEIGHT),
        table=data_table(rows, columns | {"outcome": ("outcome", "")}),
    )


def _keys(found: BreakpointResult, gate: str) -> list[LegendEntry]:
    used = {each.outcome for each in found.probes if each.gates}
    keys = [LegendEntry(verdict(each), _COLOURS.get(each, WARNING), "dot") for each in ProbeOutcome if each in used]
    edge = [] if found.highest_passing_per_s is None else [LegendEntry("highest passing", GREY, "dashed")]
    return [*keys, *edge, LegendEntry(gate, BAD)]
