"""The charts of how times are distributed: a histogram and a percentile curve for each quantity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log10

import altair as alt

from loadtest.analyze.series import Series
from loadtest.analyze.stats.bins import Distribution
from loadtest.analyze.summary import Summary
from loadtest.report.charts.base import (
    FLOW_COLOURS,
    Chart,
    DataTable,
    LegendEntry,
    data_table,
    log_domain,
    log_ms_x,
    log_ms_y,
    rows_chart,
    styled_spec,
)
from loadtest.report.formatting import milliseconds
from loadtest.report.summary_text import QUANTITIES

_HEIGHT = 170
_NINES = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)


def histogram_chart(_: Summary, series: Series, quantity: str) -> Chart | None:
    """Return the histogram of a time of completed jobs, on a logarithmic axis; None if no job completed."""
    by_flow = {flow: each for flow, each in series.distributions[quantity].items() if each.n}
    if not by_flow:
        return None
    domain = log_domain([edge for each in by_flow.values() for edge in each.edges_ms], room=1.02)
    layers = []
    for flow, each in by_flow.items():
        edges = pairwise(each.edges_ms)
        rows = [{"ms": low, "ms2": high, "jobs": n} for (low, high), n in zip(edges, each.counts, strict=True) if n]
        bars = rows_chart(rows).mark_rect(
            fill=FLOW_COLOURS[flow], opacity=0.75, stroke="var(--paper)", strokeWidth=0.5
        )
        tips = [alt.Tooltip("ms:Q", title="from, ms"), alt.Tooltip("ms2:Q", title="to, ms"), alt.Tooltip("jobs:Q")]
        y = alt.Y("jobs:Q", title=None, axis=alt.Axis(tickCount=4, tickMinStep=1))
        layers.append(bars.encode(x=log_ms_x("ms", domain), x2=alt.X2("ms2:Q"), y=y, y2=alt.datum(0), tooltip=tips))
    ranges = [
        f"{flow} from {milliseconds(each.edges_ms[0])} to {milliseconds(each.edges_ms[-1])}"
        for flow, each in by_flow.items()
    ]
    title, term = QUANTITIES[quantity]
    return Chart(
        name=f"{term}-histogram",
        title=title,
        unit="jobs per bar, time on a logarithmic axis",
        alt_text=f"{title} of completed jobs: {'; '.join(ranges)}.",
        keys=[LegendEntry(f"{flow}, n = {each.n:,}", FLOW_COLOURS[flow], "box") for flow, each in by_flow.items()],
        spec=styled_spec(layers, _HEIGHT),
        term=term,
        table=_bars_table(by_flow),
    )


def _bars_table(by_flow: dict[str, Distribution]) -> DataTable:
    """Return the bars of all flows, which share their edges."""
    edges = next(iter(by_flow.values())).edges_ms
    rows = [
        {"ms": low, "ms2": high} | {flow: each.counts[i] for flow, each in by_flow.items()}
        for i, (low, high) in enumerate(pairwise(edges))
    ]
    columns = {"ms": ("from, ms", ",.6g"), "ms2": ("to, ms", ",.6g")}
    return data_table(rows, columns | {flow: (f"{flow}, jobs", ",d") for flow in by_flow})


@dataclass(frozen=True)
class Curve:
    """One line of a percentile chart: its label, its colour, and a distribution that has percentiles."""

    label: str
    colour: str
    distribution: Distribution


def percentiles_chart(_: Summary, series: Series, quantity: str) -> Chart | None:
    """Return the percentile curves of a time of completed jobs; None if n supports no percentile."""
    by_flow = series.distributions[quantity].items()
    curves = [Curve(flow, FLOW_COLOURS[flow], each) for flow, each in by_flow if each.value_ms]
    title, term = QUANTITIES[quantity]
    return curves_chart(term, title, curves) if curves else None


def curves_chart(name: str, title: str, curves: Sequence[Curve]) -> Chart:
    """Return percentile curves, each as far as its n supports it."""
    domain = log_domain([value for each in curves for value in each.distribution.value_ms])
    furthest = max(each.distribution.percent[-1] for each in curves) / 100
    x = alt.X(
        "nines:Q",
        title=None,
        scale=alt.Scale(domain=[0, _nines(furthest) * 1.02], nice=False),
        axis=alt.Axis(
            grid=True,
            values=[_nines(p) for p in _NINES if p <= furthest],
            labelExpr="'p' + format(100 - 100 * pow(10, -datum.value), '.6~f')",
            labelFlush=True,
        ),
    )
    y = log_ms_y("drawn_ms", domain)
    layers, table_rows = [], []
    for each in curves:
        rows = [
            {"of": each.label, "nines": _nines(percent / 100), "percent": percent, "ms": ms, "drawn_ms": max(1.0, ms)}
            for percent, ms in zip(each.distribution.percent, each.distribution.value_ms, strict=True)
        ]
        table_rows += rows
        layers.append(rows_chart(rows).mark_line(stroke=each.colour, strokeWidth=1.8).encode(x=x, y=y))
        dots = rows_chart(rows).mark_point(size=30, opacity=0, fill=each.colour, stroke=None)
        tips = [alt.Tooltip("percent:Q", title="percentile", format=".6~f"), alt.Tooltip("ms:Q", format=",.1f")]
        layers.append(dots.encode(x=x, y=y, tooltip=tips))
    ends = ((each.label, each.distribution.percent[-1], each.distribution.value_ms[-1]) for each in curves)
    tops = [f"{label} p{percent:.6g} {milliseconds(value_ms)}" for label, percent, value_ms in ends]
    return Chart(
        name=f"{name}-percentiles",
        title=title,
        unit="by percentile, as far as n supports one",
        alt_text=f"{title} by percentile, up to {'; '.join(tops)}.",
        keys=[LegendEntry(f"{each.label}, n = {each.distribution.n:,}", each.colour) for each in curves],
        spec=styled_spec(layers, _HEIGHT),
        term="percentile",
        table=data_table(table_rows, {"of": ("of", ""), "percent": ("percentile", ".6g"), "ms": ("ms", ",.1f")}),
    )


def _nines(p: float) -> float:
    """Return the place of a percentile on an axis on which 90, 99 and 99.9 % are evenly spaced."""
    return -log10(1 - min(p, 1 - 1e-9))
