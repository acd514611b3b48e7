"""The charts of how times are distributed: a histogram and a percentile curve for each quantity."""

from __future__ import annotations

from itertools import pairwise
from math import log10

import altair as alt

from loadtest.analyze.distributions import Distribution
from loadtest.analyze.series import Series
from loadtest.report.charts import (
    FLOW_COLOURS,
    Chart,
    Key,
    log_domain,
    log_ms_x,
    log_ms_y,
    rows_chart,
    styled,
)
from loadtest.report.data_tables import DataTable, data_table
from loadtest.report.words import milliseconds

_HEIGHT = 170
_TITLES = {"delay_ms": "Delay", "execution_ms": "Execution", "end_to_end_ms": "End-to-end"}
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


def _keys(by_flow: dict[str, Distribution], shape: str) -> list[Key]:
    return [Key(f"{flow}, n = {each.n:,}", FLOW_COLOURS[flow], shape) for flow, each in by_flow.items()]


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
        name=quantity.removesuffix("_ms").replace("_", "-") + "-histogram",
        title=_TITLES[quantity],
        unit="jobs per bar, time on a logarithmic axis",
        words=f"{_TITLES[quantity]} of completed jobs: {'; '.join(ranges)}.",
        keys=_keys(by_flow, "box"),
        spec=styled(layers, _HEIGHT),
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


def _curve_table(by_flow: dict[str, Distribution]) -> DataTable:
    rows = [
        {"flow": flow, "percent": percent, "ms": ms}
        for flow, each in by_flow.items()
        for percent, ms in zip(each.percent, each.value_ms, strict=True)
    ]
    return data_table(rows, {"flow": ("flow", ""), "percent": ("percentile", ".6g"), "ms": ("ms", ",.1f")})


def _percentiles(quantity: str, by_flow: dict[str, Distribution]) -> Chart:
    domain = log_domain([value for each in by_flow.values() for value in each.value_ms])
    furthest = max(each.percent[-1] for each in by_flow.values()) / 100
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
    for flow, each in by_flow.items():
        rows = [
            {"nines": _nines(percent / 100), "percent": percent, "ms": max(1.0, ms)}
            for percent, ms in zip(each.percent, each.value_ms, strict=True)
        ]
        curve = rows_chart(rows).mark_line(stroke=FLOW_COLOURS[flow], strokeWidth=1.8)
        y = log_ms_y("ms", domain)
        layers.append(curve.encode(x=x, y=y))
        dots = rows_chart(rows).mark_point(size=30, opacity=0, fill=FLOW_COLOURS[flow], stroke=None)
        tips = [alt.Tooltip("percent:Q", title="percentile", format=".6~f"), alt.Tooltip("ms:Q", format=",.1f")]
        layers.append(dots.encode(x=x, y=y, tooltip=tips))
    tops = [f"{flow} p{each.percent[-1]:.6g} {milliseconds(each.value_ms[-1])}" for flow, each in by_flow.items()]
    return Chart(
        name=quantity.removesuffix("_ms").replace("_", "-") + "-percentiles",
        title=_TITLES[quantity],
        unit="by percentile, as far as n supports one",
        words=f"{_TITLES[quantity]} by percentile, up to {'; '.join(tops)}.",
        keys=_keys(by_flow, "line"),
        spec=styled(layers, _HEIGHT),
        term="percentile",
        table=_curve_table(by_flow),
    )


def _nines(p: float) -> float:
    """Where a percentile stands on an axis on which 90, 99 and 99.9 % are evenly spaced."""
    return -log10(1 - min(p, 1 - 1e-9))
