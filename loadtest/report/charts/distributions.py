"""The charts of how times are distributed: a histogram and a percentile curve for each quantity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log10

import altair as alt

from loadtest.analyze.series import Series
from loadtest.analyze.stats.histograms import Distribution
from loadtest.report.charts.base import (
    FLOW_COLOURS,
    Chart,
    LegendEntry,
    log_domain,
    log_ms_x,
    log_ms_y,
    rows_chart,
    styled_spec,
)
from loadtest.report.charts.data_table import DataTable, data_table
from loadtest.report.formatting import milliseconds

_HEIGHT = 170
TITLES = {"delay_ms": "Delay", "execution_ms": "Execution", "end_to_end_ms": "End-to-end"}
"""The quantities that have a chart, and what they are called."""
_TERMS = {"delay_ms": "delay", "execution_ms": "execution", "end_to_end_ms": "end-to-end"}
_NINES = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)


def distribution_charts(series: Series) -> list[Chart]:
    """For delay, execution and end-to-end time a histogram, then for each a percentile curve where n supports one."""
    known = {
        quantity: {flow: each for flow, each in by_flow.items() if each.n}
        for quantity, by_flow in series.distributions.items()
    }
    histograms = [_histogram(quantity, by_flow) for quantity, by_flow in known.items() if by_flow]
    curves = {
        quantity: {flow: each for flow, each in by_flow.items() if each.value_ms}
        for quantity, by_flow in known.items()
    }
    return histograms + [_percentiles(quantity, by_flow) for quantity, by_flow in curves.items() if by_flow]


def _histogram(quantity: str, by_flow: dict[str, Distribution]) -> Chart:
    domain = log_domain([edge for each in by_flow.values() for edge in each.edges_ms], room=1.02)
    layers = []
    for flow, each in by_flow.items():
        edges = zip(each.edges_ms, each.edges_ms[1:], strict=False)
        rows = [{"ms": low, "ms2": high, "jobs": n} for (low, high), n in zip(edges, each.counts, strict=True) if n]
        bars = rows_chart(rows).mark_rect(
            fill=FLOW_COLOURS[flow], opacity=0.75, stroke="var(--paper)", strokeWidth=0.5
        )
        tips = [alt.Tooltip("ms:Q", title="from, ms"), alt.Tooltip("ms2:Q", title="to, ms"), alt.Tooltip("jobs:Q")]
        y = alt.Y("jobs:Q", title=None, axis=alt.Axis(tickCount=4, tickMinStep=1))
        layers.append(bars.encode(x=log_ms_x("ms", domain), x2="ms2:Q", y=y, y2=alt.datum(0), tooltip=tips))
    ranges = [
        f"{flow} from {milliseconds(each.edges_ms[0])} to {milliseconds(each.edges_ms[-1])}"
        for flow, each in by_flow.items()
    ]
    return Chart(
        name=f"{_name(quantity)}-histogram",
        title=TITLES[quantity],
        unit="jobs per bar, time on a logarithmic axis",
        alt_text=f"{TITLES[quantity]} of completed jobs: {'; '.join(ranges)}.",
        keys=[LegendEntry(f"{flow}, n = {each.n:,}", FLOW_COLOURS[flow], "box") for flow, each in by_flow.items()],
        spec=styled_spec(layers, _HEIGHT),
        term=_TERMS[quantity],
        table=_bars_table(by_flow),
    )


def _bars_table(by_flow: dict[str, Distribution]) -> DataTable:
    """The bars of all flows, which share their edges."""
    edges = next(iter(by_flow.values())).edges_ms
    rows = [
        {"ms": low, "ms2": high} | {flow: each.counts[i] for flow, each in by_flow.items()}
        for i, (low, high) in enumerate(pairwise(edges))
    ]
    columns = {"ms": ("from, ms", ",.6g"), "ms2": ("to, ms", ",.6g")}
    return data_table(rows, columns | {flow: (f"{flow}, jobs", ",d") for flow in by_flow})


@dataclass(frozen=True)
class Curve:
    """One line of a percentile chart: what it is of, its colour, and a distribution that has percentiles."""

    label: str
    colour: str
    of: Distribution


def _percentiles(quantity: str, by_flow: dict[str, Distribution]) -> Chart:
    curves = [Curve(flow, FLOW_COLOURS[flow], each) for flow, each in by_flow.items()]
    return percentile_chart(_name(quantity), TITLES[quantity], curves)


def _name(quantity: str) -> str:
    return quantity.removesuffix("_ms").replace("_", "-")


def percentile_chart(name: str, title: str, curves: Sequence[Curve]) -> Chart:
    """Percentile curves over each other, each as far as its n supports it."""
    domain = log_domain([value for each in curves for value in each.of.value_ms])
    furthest = max(each.of.percent[-1] for each in curves) / 100
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
    layers = []
    for each in curves:
        rows = [
            {"nines": _nines(percent / 100), "percent": percent, "ms": max(1.0, ms)}
            for percent, ms in zip(each.of.percent, each.of.value_ms, strict=True)
        ]
        curve = rows_chart(rows).mark_line(stroke=each.colour, strokeWidth=1.8)
        y = log_ms_y("ms", domain)
        layers.append(curve.encode(x=x, y=y))
        dots = rows_chart(rows).mark_point(size=30, opacity=0, fill=each.colour, stroke=None)
        tips = [alt.Tooltip("percent:Q", title="percentile", format=".6~f"), alt.Tooltip("ms:Q", format=",.1f")]
        layers.append(dots.encode(x=x, y=y, tooltip=tips))
    tops = [f"{each.label} p{each.of.percent[-1]:.6g} {milliseconds(each.of.value_ms[-1])}" for each in curves]
    return Chart(
        name=f"{name}-percentiles",
        title=title,
        unit="by percentile, as far as n supports one",
        alt_text=f"{title} by percentile, up to {'; '.join(tops)}.",
        keys=[LegendEntry(f"{each.label}, n = {each.of.n:,}", each.colour) for each in curves],
        spec=styled_spec(layers, _HEIGHT),
        term="percentile",
        table=_curve_table(curves),
    )


def _nines(p: float) -> float:
    """Where a percentile stands on an axis on which 90, 99 and 99.9 % are evenly spaced."""
    return -log10(1 - min(p, 1 - 1e-9))


def _curve_table(curves: Sequence[Curve]) -> DataTable:
    rows = [
        {"of": each.label, "percent": percent, "ms": ms}
        for each in curves
        for percent, ms in zip(each.of.percent, each.of.value_ms, strict=True)
    ]
    return data_table(rows, {"of": ("of", ""), "percent": ("percentile", ".6g"), "ms": ("ms", ",.1f")})
