"""The parts of every chart: a Vega-Lite specification in the page's style, its legend, its text and its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import Any

import altair as alt
from altair.utils import schemapi

from loadtest.report.formatting import DASH

Row = dict[str, Any]

unchecked = schemapi.debug_mode(False)
"""A decorator without Altair's check of each part of a chart, which takes most of the time; tests check the whole."""

ACCENT, INK, GREY, PALE = "var(--accent)", "var(--ink-2)", "var(--grey)", "var(--pale)"
GOOD, BAD, WARNING, STEADY = "var(--good)", "var(--bad)", "var(--warning)", "var(--steady)"
"""Colours are the page's own variables, so that a chart follows the page into dark mode and into print."""

FLOW_COLOURS = {"run": ACCENT, "runsync": INK, "stream": GREY, "webhook": WARNING, "openai": GOOD}
MAX_ROWS = 60

_MAX_LOG_TICKS = 7


@dataclass(frozen=True)
class LegendEntry:
    """One entry of a chart's legend."""

    label: str
    colour: str
    shape: str = "line"


@dataclass(frozen=True)
class DataTable:
    """The data of a chart as text; `note` says which rows were left out, if any."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart: its title, its text for a screen reader, its legend, its specification and its data.

    `term` is the glossary entry to which its title links.
    """

    name: str
    title: str
    unit: str
    alt_text: str
    keys: Sequence[LegendEntry]
    spec: Row
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
    """Return layers as one specification in the page's style, as wide as its container."""
    datasets: Row = {}
    # Each by itself: a layered chart of Altair copies all of its layers several times, which takes half of the time.
    context = {"datasets": datasets, "top_level": False}
    drawn: list[Row] = [layer.to_dict(validate=False, context=context) for layer in layers]
    params = [param for layer in drawn for param in layer.pop("params", ())]
    size = {"width": "container", "height": height}
    return {
        "$schema": alt.SCHEMA_URL,
        **size,
        "config": _CONFIG,
        "datasets": datasets,
        "layer": drawn,
        "params": params,
    }


def rows_chart(rows: Sequence[Row]) -> alt.Chart:
    """Return a chart that contains these rows, as a tuple: Altair copies each row of a list for each layer."""
    return alt.Chart(alt.InlineData(values=tuple(rows)))


def data_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, str]]) -> DataTable:
    """Return at most MAX_ROWS rows, evenly picked; `columns` has the title and number format of each field."""
    stride = max(1, ceil(len(rows) / MAX_ROWS))
    note = f"Every {_ordinal(stride)} of {len(rows)} rows." if stride > 1 else ""
    texts = [[number(row.get(field), form) for field, (_, form) in columns.items()] for row in rows[::stride]]
    return DataTable([title for title, _ in columns.values()], texts, note)


def number(value: float | str | None, form: str) -> str:
    """Return a value in a number format; a dash for None, text unchanged."""
    if value is None:
        return DASH
    return value if isinstance(value, str) else format(value, form).replace("%", " %")


def _ordinal(n: int) -> str:
    """Return 2nd, 3rd, 4th …"""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def log_ms_y(field: str, domain: tuple[float, float]) -> alt.Y:
    """Return a vertical logarithmic axis in milliseconds, labelled 1, 2, 5."""
    return alt.Y(f"{field}:Q", title=None, **_log_ms(domain))


def log_ms_x(field: str, domain: tuple[float, float]) -> alt.X:
    """Return a horizontal logarithmic axis in milliseconds, labelled 1, 2, 5."""
    return alt.X(f"{field}:Q", title=None, **_log_ms(domain))


def log_domain(values_ms: Sequence[float], room: float = 1.25) -> tuple[float, float]:
    """Return both ends of a logarithmic axis; it has no zero, and the protocol's resolution is 1 ms."""
    drawn = [max(1.0, value) for value in values_ms]
    return (min(drawn) / room, max(drawn) * room) if drawn else (1.0, 1000.0)


def _log_ms(domain: tuple[float, float]) -> dict[str, Any]:
    """Return a logarithmic scale in milliseconds, and its axis."""
    axis = alt.Axis(
        values=log_ticks(domain),
        labelExpr=(
            "datum.value >= 3600000 ? format(datum.value / 3600000, '.3~r') + ' h' : "
            "datum.value >= 600000 ? format(datum.value / 60000, '.3~r') + ' min' : "
            "datum.value >= 1000 ? datum.value / 1000 + ' s' : "
            # Shorter times are drawn at 1 ms, the protocol's resolution.
            "(datum.value == 1 ? '≤ ' : '') + datum.value + ' ms'"
        ),
        labelOverlap="greedy",
        labelSeparation=6,
    )
    return {"scale": alt.Scale(type="log", domain=list(domain), nice=False), "axis": axis}


def log_ticks(domain: tuple[float, float]) -> list[float]:
    """Return 1, 2, 5, 10 … within the ends of a logarithmic axis, or only powers of ten if those are too many."""
    ticks = [digit * 10.0**power for power in range(8) for digit in (1, 2, 5)]
    ticks = [tick for tick in ticks if domain[0] <= tick <= domain[1]]
    return [tick for tick in ticks if log10(tick).is_integer()] if len(ticks) > _MAX_LOG_TICKS else ticks
