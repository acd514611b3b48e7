"""The charts of a report, each a Vega-Lite specification with words beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

import altair as alt

from loadtest.report.charts.data_table import DataTable

Row = dict[str, Any]

ACCENT, INK, GREY, PALE = "var(--accent)", "var(--ink-2)", "var(--grey)", "var(--pale)"
BAD, WARNING, STEADY = "var(--bad)", "var(--doubt)", "var(--steady)"
"""Colours are the page's own variables, so that a chart follows the page into the dark and onto paper."""

FLOW_COLOURS = {"run": ACCENT, "runsync": INK, "stream": GREY, "webhook": WARNING}

_MAX_LOG_TICKS = 7
_NAME_ROOM = 0.12
_TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)


@dataclass(frozen=True)
class LegendEntry:
    """One entry of a chart's legend."""

    label: str
    colour: str
    shape: str = "line"


@dataclass(frozen=True)
class Chart:
    """A chart: its title, what it shows in words for those who do not see it, its legend, its specification.

    `term` is the definition its title leads to, `table` what it draws in numbers.
    """

    name: str
    title: str
    unit: str
    alt_text: str
    keys: Sequence[LegendEntry]
    spec: Row
    over_time: bool = False
    term: str = ""
    table: DataTable | None = None


_TEXT = {"labelColor": "var(--soft)", "labelFontSize": 11, "labelPadding": 6}
_RULES = {"gridColor": "var(--line)", "domainColor": "var(--rule)", "ticks": False}
_CONFIG: Row = {
    "aria": False,
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "padding": {"left": 0, "right": 12, "top": 6, "bottom": 2},
    "view": {"stroke": None},
    "axis": _TEXT | _RULES,
    "axisX": {"grid": False},
    "axisY": {"domain": False, "minExtent": 52, "maxExtent": 52},
}


def styled_spec(layers: Sequence[alt.Chart], height: int) -> Row:
    """Layers as one specification in the page's style, as wide as its place."""
    spec: Row = alt.layer(*layers).properties(width="container", height=height).to_dict(validate=False)
    return spec | {"config": _CONFIG}


def time_x(field: str = "s") -> alt.X:
    """Seconds of the run, within the part that is looked at: `from_s` to `to_s`."""
    step = "".join(f"(to_s - from_s) / {step} <= 9 ? {step} : " for step in _TIME_STEPS_S) + "86400"
    return alt.X(
        f"{field}:Q",
        title=None,
        scale=alt.Scale(domainMin=alt.ExprRef("from_s"), domainMax=alt.ExprRef("to_s"), nice=False, zero=False),
        axis=alt.Axis(
            values=alt.ExprRef(f"sequence(ceil(from_s / ({step})) * ({step}), to_s + 0.001, {step})"),
            labelExpr=(
                "to_s < 120 ? datum.value + ' s' : to_s < 7200 ? floor(datum.value / 60) + ':' + "
                "pad(datum.value % 60, 2, '0', 'left') : floor(datum.value / 3600) + ':' + "
                "pad(floor(datum.value % 3600 / 60), 2, '0', 'left') + ' h'"
            ),
            labelFlush=True,
        ),
    )


def over_time_spec(
    layers: Sequence[alt.Chart],
    hover: alt.Chart,
    end_s: float,
    load_s: float,
    height: int,
    steady_s: tuple[float, float] | None = None,
) -> Row:
    """Layers over the run's time, drain and steady window shaded, with a bin's figures under the pointer."""
    under = [_shade(load_s, end_s, "var(--wash)")] if end_s - load_s > 0.01 * end_s else []
    if steady_s is not None:
        under.append(_shade(*steady_s, STEADY))
    looked_at = [alt.param(name="from_s", value=0), alt.param(name="to_s", value=max(end_s, 0.001))]
    return styled_spec([*under, *layers, hover.add_params(*looked_at)], height)


def _shade(from_s: float, to_s: float, colour: str) -> alt.Chart:
    shade: alt.Chart = rows_chart([{"s": from_s, "s2": to_s}]).mark_rect(fill=colour, clip=True)
    return shade.encode(x=time_x(), x2="s2:Q")


def hover_bins(rows: Sequence[Row], tooltips: dict[str, str], form: str) -> alt.Chart:
    """An invisible column over each bin that answers to the pointer; rows have `s` and `s2`."""
    tips = [alt.Tooltip("s:Q", title="from, s"), alt.Tooltip("s2:Q", title="to, s")]
    tips += [alt.Tooltip(f"{field}:Q", title=title, format=form) for field, title in tooltips.items()]
    columns = rows_chart(rows).mark_rect(fill=INK, opacity=0, clip=True).properties(name="hover")
    hover: alt.Chart = columns.encode(x=time_x(), x2="s2:Q", tooltip=tips)
    return hover


def stage_rules(starts_s: Sequence[tuple[str, float]], end_s: float) -> list[alt.Chart]:
    """A rule where each stage begins, if there are several, and its name where there is room for it."""
    if len(starts_s) < 2:
        return []
    named, free_s = [], 0.0
    for name, start_s in starts_s:
        if start_s >= free_s:
            named.append({"s": start_s, "stage": name})
            free_s = start_s + _NAME_ROOM * end_s
    rule = (
        rows_chart([{"s": start_s} for _, start_s in starts_s])
        .mark_rule(stroke="var(--rule)", strokeDash=[2, 3], clip=True)
        .encode(x=time_x())
    )
    seen = rows_chart(named).transform_filter("datum.s >= from_s && datum.s < to_s")
    text = seen.mark_text(align="left", baseline="bottom", dx=1, dy=-5, fontSize=11, fill="var(--soft)")
    return [rule, text.encode(x=time_x(), y=alt.value(0), text="stage:N")]


def line(
    rows: Sequence[Row],
    field: str,
    colour: str,
    y: alt.Y,
    *,
    step: bool = False,
    width: float = 1.6,
    dash: Sequence[int] = (),
) -> alt.Chart:
    """One line over time, broken where the field is null; a lone point shows as a dot."""
    if step and rows and "s2" in rows[-1]:
        rows = [*rows, rows[-1] | {"s": rows[-1]["s2"]}]
    mark = rows_chart(rows).mark_line(
        stroke=colour,
        strokeWidth=width,
        strokeDash=list(dash),
        clip=True,
        interpolate="step-after" if step else "linear",
        point=alt.OverlayMarkDef(size=10, fill=colour, stroke=None) if len(rows) <= 60 and not step else False,
    )
    chart: alt.Chart = mark.encode(x=time_x(), y=y)
    return chart


def log_ms_y(field: str, domain: tuple[float, float]) -> alt.Y:
    """Milliseconds on a logarithmic axis, labelled 1, 2, 5."""
    return alt.Y(f"{field}:Q", title=None, scale=_log_scale(domain), axis=_log_ms_axis(domain))


def log_ms_x(field: str, domain: tuple[float, float]) -> alt.X:
    """Milliseconds on a logarithmic axis, from left to right."""
    return alt.X(f"{field}:Q", title=None, scale=_log_scale(domain), axis=_log_ms_axis(domain))


def _log_scale(domain: tuple[float, float]) -> alt.Scale:
    return alt.Scale(type="log", domain=list(domain), nice=False)


def _log_ticks(domain: tuple[float, float]) -> list[float]:
    """1, 2, 5, 10, 20 … within the domain, or the powers of ten alone where those would be many."""
    ticks = [digit * 10.0**power for power in range(8) for digit in (1, 2, 5)]
    ticks = [tick for tick in ticks if domain[0] <= tick <= domain[1]]
    return ticks if len(ticks) <= _MAX_LOG_TICKS else [tick for tick in ticks if log10(tick).is_integer()]


def _log_ms_axis(domain: tuple[float, float]) -> alt.Axis:
    return alt.Axis(
        values=_log_ticks(domain),
        labelExpr=(
            "datum.value >= 3600000 ? format(datum.value / 3600000, '.3~r') + ' h' : "
            "datum.value >= 600000 ? format(datum.value / 60000, '.3~r') + ' min' : "
            "datum.value >= 1000 ? datum.value / 1000 + ' s' : "
            # What is shorter is drawn here: the wire knows nothing finer.
            "(datum.value == 1 ? '≤ ' : '') + datum.value + ' ms'"
        ),
        labelOverlap="greedy",
        labelSeparation=6,
    )


def log_domain(values_ms: Sequence[float], room: float = 1.25) -> tuple[float, float]:
    """Where a logarithmic axis begins and ends; it has no zero, and the wire knows nothing finer than 1 ms."""
    drawn = [max(1.0, value) for value in values_ms]
    return (min(drawn) / room, max(drawn) * room) if drawn else (1.0, 1000.0)


def rows_chart(rows: Sequence[Row]) -> alt.Chart:
    """A chart over rows that it carries with it."""
    return alt.Chart(alt.InlineData(values=list(rows)))
