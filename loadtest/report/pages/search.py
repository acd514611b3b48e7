"""A measured search in one HTML file that needs nothing else; it leads to each probe's own report."""

from __future__ import annotations

import altair as alt
from altair.utils import schemapi

from loadtest.analyze.summary import GateResult, Verdict
from loadtest.capacity.breakpoint.bisection import ProbeOutcome
from loadtest.capacity.breakpoint.result import BreakpointResult, ProbeResult
from loadtest.report.charts.base import BAD, GREY, WARNING, Chart, LegendEntry, Row, rows_chart, styled_spec
from loadtest.report.charts.capacity import drawn_row, objective_y, same_axis
from loadtest.report.charts.data_table import data_table
from loadtest.report.gate_text import interval_texts, limit_text, observed_text
from loadtest.report.pages.glossary import Glossary
from loadtest.report.pages.page import page_html
from loadtest.report.pages.run import VERDICT_WORDS
from loadtest.scenario.gates import parse_gate

GOOD = "var(--good)"
OUTCOME_CLASSES = {ProbeOutcome.PASSES: "pass", ProbeOutcome.FAILS: "fail"}
_COLOURS = {ProbeOutcome.PASSES: GOOD, ProbeOutcome.FAILS: BAD}
_HEIGHT = 230


def search_html(found: BreakpointResult) -> str:
    """The whole page. Every figure is the search's."""
    with schemapi.debug_mode(False):  # as in `html`
        charts = [chart for place, gate in enumerate(found.slo) if (chart := _chart(found, place, gate)) is not None]
    return page_html(
        "search.html",
        Glossary(),
        charts,
        found=found,
        verdict_word=VERDICT_WORDS[found.verdict],
        odd=[each for each in found.probes if not _gate_questions(each)],
        tones=OUTCOME_CLASSES,
        observed_text=observed_text,
        limit_text=limit_text,
        interval_texts=interval_texts,
    )


def _gate_questions(probe: ProbeResult) -> bool:
    """Whether what the gates observed says all; else the reason must be told."""
    verdicts = {gate.verdict for gate in probe.gates}
    shown = {
        ProbeOutcome.PASSES: {Verdict.PASS},
        ProbeOutcome.FAILS: {Verdict.FAIL},
        ProbeOutcome.INCONCLUSIVE: {Verdict.INCONCLUSIVE},
    }
    return bool(shown.get(probe.outcome, set()) & verdicts)


def _chart(found: BreakpointResult, place: int, text: str) -> Chart | None:
    """What a gate observed at each rate that was tried, with the limit across; None where it observed nothing."""
    slo = parse_gate(text)
    rows = [
        _row(each.rate_per_s, each.outcome, gate)
        for each in found.probes
        for gate in each.gates
        if gate.gate == text and gate.observed is not None
    ]
    if not rows:
        return None
    limit = slo.limit if slo.metric.is_share else slo.limit * 1000
    y = objective_y(slo, rows, limit)
    end = 1.06 * max(row["x"] for row in rows)
    axis = alt.Axis(
        tickCount=6, labelExpr="format(datum.value, '~g') + '/s'", labelOverlap="greedy", labelSeparation=8
    )
    x = alt.X("x:Q", title=None, scale=alt.Scale(domain=[0, end], nice=False), axis=axis)
    across = rows_chart([{"y": limit}]).mark_rule(stroke=BAD, strokeWidth=1.4).encode(y=y)
    layers = [across]
    if found.highest_passing_per_s is not None:
        edge = rows_chart([{"x": found.highest_passing_per_s}]).mark_rule(stroke=GREY, strokeDash=[4, 3], clip=True)
        layers.append(edge.encode(x=x))
    for outcome in ProbeOutcome:
        colour = _COLOURS.get(outcome, WARNING)
        some = rows_chart([row for row in rows if row["outcome"] == outcome.value])
        reach = some.mark_rule(stroke=colour, strokeWidth=2.5, opacity=0.45, clip=True)
        dots = some.mark_point(size=30, fill=colour, stroke=None, opacity=1, clip=True)
        tips = [
            alt.Tooltip("x:Q", title="rate, /s", format=".4~g"),
            alt.Tooltip("y:Q", title="observed", format=",.4~g"),
        ]
        layers += [reach.encode(x=x, y=same_axis(y, "low"), y2="high:Q"), dots.encode(x=x, y=y, tooltip=tips)]
    form = ".2%" if slo.metric.is_share else ",.4g"
    columns = {"x": ("rate, /s", ".4g"), "y": ("observed", form), "low": ("from", form), "high": ("to", form)}
    points = ", ".join(f"{row['outcome']} at {row['x']:.4g}/s" for row in rows)
    return Chart(
        name=f"gate-{place}",
        title=f"{text.partition(' <')[0].capitalize()} against the rate",
        unit="of each probe, with its 95 % interval",
        alt_text=f"{text}: {points}.",
        keys=_keys(found, text),
        spec=styled_spec(layers, _HEIGHT),
        table=data_table(rows, columns | {"outcome": ("the probe", "")}),
    )


def _row(rate_per_s: float, outcome: ProbeOutcome, gate: GateResult) -> Row:
    assert gate.observed is not None
    low, high = gate.ci95 or (gate.observed, gate.observed)
    row = drawn_row(parse_gate(gate.gate), rate_per_s, gate.observed, low, high)
    return row | {"outcome": outcome.value}


def _keys(found: BreakpointResult, gate: str) -> list[LegendEntry]:
    there = {each.outcome for each in found.probes if each.gates}
    keys = [LegendEntry(each.value, _COLOURS.get(each, WARNING), "dot") for each in ProbeOutcome if each in there]
    edge = [] if found.highest_passing_per_s is None else [LegendEntry("highest passing", GREY, "dashed")]
    return [*keys, *edge, LegendEntry(gate, BAD)]
