"""The parts of every chart over the time of a run: its axes, its bins, its lines and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from loadtest.analyze.series import Series, Stage
from loadtest.analyze.summary import Summary
from loadtest.report.charts.base import INK, STEADY, DataTable, Row, data_table, rows_chart, styled_spec

HEIGHT = 190

_NAME_ROOM = 0.12
_TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)


@dataclass(frozen=True)
class Bins:
    """The bins of one chart: rows from `s` to `s2`, the titles of the fields to show, and their number format."""

    rows: Sequence[Row]
    titles: Mapping[str, str]
    form: str

    def table(self) -> DataTable:
        """Return the bins as a table."""
        columns = {"s": ("from, s", ",.6g")} | {field: (title, self.form) for field, title in self.titles.items()}
        return data_table(self.rows, columns)

    def hover(self) -> alt.Chart:
        """Return an invisible column over each bin, from which the page's script reads the figures of the bin."""
        tips = [alt.Tooltip("s:Q", title="from, s"), alt.Tooltip("s2:Q", title="to, s")]
        tips += [alt.Tooltip(f"{field}:Q", title=title, format=self.form) for field, title in self.titles.items()]
        columns = rows_chart(self.rows).mark_rect(fill=INK, opacity=0, clip=True).properties(name="hover")
        hover: alt.Chart = columns.encode(x=time_x(), x2=alt.X2("s2:Q"), tooltip=tips)
        return hover


@dataclass(frozen=True)
class Timeline:
    """The time that all charts of a page share: the end of the load and of the run, stages, steady window."""

    load_s: float
    end_s: float
    stages: Sequence[Stage]
    steady_s: tuple[float, float] | None = None

    def spec(self, layers: Sequence[alt.Chart], bins: Bins, height: int = HEIGHT) -> Row:
        """Return a specification of layers over this time, with the drain and the steady window shaded."""
        under = (
            [_shade(self.load_s, self.end_s, "var(--wash)")] if self.end_s - self.load_s > 0.01 * self.end_s else []
        )
        if self.steady_s is not None:
            under.append(_shade(*self.steady_s, STEADY))
        view = [alt.param(name="from_s", value=0), alt.param(name="to_s", value=max(self.end_s, 0.001))]
        return styled_spec([*under, *self._stage_rules(), *layers, bins.hover().add_params(*view)], height)

    def _stage_rules(self) -> list[alt.Chart]:
        """Return a rule at the start of each of several stages, and its name if there is room for it."""
        if len(self.stages) < 2:
            return []
        named, free_s = [], 0.0
        for stage in self.stages:
            if stage.start_s >= free_s:
                named.append({"s": stage.start_s, "stage": stage.name})
                free_s = stage.start_s + _NAME_ROOM * self.end_s
        rule = rows_chart([{"s": stage.start_s} for stage in self.stages])
        rule = rule.mark_rule(stroke="var(--rule)", strokeDash=[2, 3], clip=True).encode(x=time_x())
        visible = rows_chart(named).transform_filter("datum.s >= from_s && datum.s < to_s")
        text = visible.mark_text(align="left", baseline="bottom", dx=1, dy=-5, fontSize=11, fill="var(--soft)")
        return [rule, text.encode(x=time_x(), y=alt.value(0), text=alt.Text("stage:N"))]


def timeline_of(summary: Summary, series: Series) -> Timeline:
    """Return the timeline of a run."""
    start_s, end_s = summary.steady.start_s, summary.steady.end_s
    steady_s = None if start_s is None or end_s is None else (start_s, end_s)
    return Timeline(series.load_s, series.end_s, series.stages, steady_s)


def time_x(field: str = "s") -> alt.X:
    """Return the time axis, in seconds of the run, over the part in view: `from_s` to `to_s`."""
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


def _shade(from_s: float, to_s: float, colour: str) -> alt.Chart:
    shade: alt.Chart = rows_chart([{"s": from_s, "s2": to_s}]).mark_rect(fill=colour, clip=True)
    return shade.encode(x=time_x(), x2=alt.X2("s2:Q"))


@dataclass(frozen=True)
class LineStyle:
    """The colour and the form of a line; a step line holds its value until the next row."""

    colour: str
    width: float = 1.6
    step: bool = False
    dash: Sequence[int] = ()


def line(rows: Sequence[Row], y: alt.Y, style: LineStyle) -> alt.Chart:
    """Return one line over time, broken at nulls; a single point is drawn as a dot."""
    if style.step and rows and "s2" in rows[-1]:
        rows = [*rows, rows[-1] | {"s": rows[-1]["s2"]}]
    point = alt.OverlayMarkDef(size=10, fill=style.colour, stroke=None)
    mark = rows_chart(rows).mark_line(
        stroke=style.colour,
        strokeWidth=style.width,
        strokeDash=list(style.dash),
        clip=True,
        interpolate="step-after" if style.step else "linear",
        point=point if len(rows) <= 60 and not style.step else False,
    )
    chart: alt.Chart = mark.encode(x=time_x(), y=y)
    return chart


def bin_rows(at_s: list[float], width_s: float, **columns: Sequence[float | None]) -> list[Row]:
    """Return one row per bin, from `s` to `s2`, without the columns that are empty."""
    known = {name: values for name, values in columns.items() if values}
    return [
        {"s": s, "s2": s + width_s, **{name: values[i] for name, values in known.items()}} for i, s in enumerate(at_s)
    ]


def stacked_bars(bins: Sequence[Row], parts: Mapping[str, tuple[str, str]], axis: alt.Axis) -> alt.Chart:
    """Return a stack of parts for each bin; `parts` has the label and the colour of each field."""
    rows = []
    for row in bins:
        high = 0.0
        for part, (label, _) in parts.items():
            low, high = high, high + (row[part] or 0)
            if high > low:
                rows.append({"s": row["s"], "s2": row["s2"], "part": label, "low": low, "high": high})
    labels, colours = zip(*parts.values(), strict=True)
    bars: alt.Chart = (
        rows_chart(rows)
        .mark_rect(clip=True, stroke="var(--paper)", strokeWidth=0.4)
        .encode(
            x=time_x(),
            x2=alt.X2("s2:Q"),
            y=alt.Y("low:Q", title=None, axis=axis),
            y2=alt.Y2("high:Q"),
            fill=alt.Fill("part:N", scale=alt.Scale(domain=list(labels), range=list(colours)), legend=None),
        )
    )
    return bars


def filled_bins(rows: Sequence[Row], field: str, colour: str, opacity: float) -> alt.Chart:
    """Return a filled block for each bin, from zero."""
    filled = rows_chart(rows).mark_rect(fill=colour, opacity=opacity, clip=True)
    chart: alt.Chart = filled.encode(x=time_x(), x2=alt.X2("s2:Q"), y=rate_y(field), y2=alt.datum(0))
    return chart


def rate_y(field: str) -> alt.Y:
    """Return a vertical axis for events per second."""
    return alt.Y(f"{field}:Q", title=None, axis=alt.Axis(tickCount=5, format="~s", tickMinStep=0.1))


def count_y(field: str) -> alt.Y:
    """Return a vertical axis for whole numbers, from zero."""
    axis = alt.Axis(tickCount=5, tickMinStep=1)
    return alt.Y(f"{field}:Q", title=None, scale=alt.Scale(zero=True, nice=5), axis=axis)
