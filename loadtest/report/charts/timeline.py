"""What all charts along the time of the run have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from loadtest.analyze.series import Series
from loadtest.analyze.summary import Summary
from loadtest.report.charts.base import (
    Chart,
    LegendEntry,
    Row,
    hover_bins,
    over_time_spec,
    rows_chart,
    stage_rules,
    time_x,
)
from loadtest.report.charts.data_table import data_table

HEIGHT = 190


@dataclass(frozen=True)
class ChartData:
    """What one chart shows: its layers, and its bins as rows with the fields that are told of each."""

    layers: Sequence[alt.Chart]
    rows: Sequence[Row]
    fields: Mapping[str, str]
    form: str
    height: int = HEIGHT


@dataclass(frozen=True)
class ChartText:
    """How one chart is named and told; `term` is the definition its title leads to."""

    name: str
    title: str
    unit: str
    words: str
    term: str


@dataclass(frozen=True)
class Timeline:
    """The time that all charts share: stages, drain, steady window."""

    series: Series
    steady_s: tuple[float, float] | None

    def chart(self, text: ChartText, keys: Sequence[LegendEntry], content: ChartData) -> Chart:
        """A chart in this frame, with its data as a table."""
        series = self.series
        stages = stage_rules([(stage.name, stage.start_s) for stage in series.stages], series.end_s)
        hover = hover_bins(content.rows, dict(content.fields), content.form)
        layers = [*stages, *content.layers]
        columns = {"s": ("from, s", ",.6g")} | {
            field: (title, content.form) for field, title in content.fields.items()
        }
        return Chart(
            name=text.name,
            title=text.title,
            unit=text.unit,
            alt_text=text.words,
            keys=keys,
            spec=over_time_spec(layers, hover, series.end_s, series.load_s, content.height, self.steady_s),
            over_time=True,
            term=text.term,
            table=data_table(content.rows, columns),
        )


def frame_of(summary: Summary, series: Series) -> Timeline:
    """The frame of a run's charts."""
    start_s, end_s = summary.steady.start_s, summary.steady.end_s
    return Timeline(series, None if start_s is None or end_s is None else (start_s, end_s))


def bin_rows(at_s: list[float], width_s: float, **columns: Sequence[float | None]) -> list[Row]:
    """One row a bin, from `s` to `s2`; a column that is empty is left out."""
    known = {name: values for name, values in columns.items() if values}
    return [
        {"s": s, "s2": s + width_s, **{name: values[i] for name, values in known.items()}} for i, s in enumerate(at_s)
    ]


def stacked_bars(bins: Sequence[Row], parts: Mapping[str, tuple[str, str]], axis: alt.Axis) -> alt.Chart:
    """In each bin its parts one upon the other; `parts` are the bins' fields with label and colour."""
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
            x2="s2:Q",
            y=alt.Y("low:Q", title=None, axis=axis),
            y2="high:Q",
            fill=alt.Fill("part:N", scale=alt.Scale(domain=list(labels), range=list(colours)), legend=None),
        )
    )
    return bars


def filled_bins(rows: Sequence[Row], field: str, colour: str, opacity: float) -> alt.Chart:
    """A filled block for each bin, from zero."""
    filled = rows_chart(rows).mark_rect(fill=colour, opacity=opacity, clip=True)
    chart: alt.Chart = filled.encode(x=time_x(), x2="s2:Q", y=rate_y(field), y2=alt.datum(0))
    return chart


def rate_y(field: str) -> alt.Y:
    """Events per second."""
    return alt.Y(f"{field}:Q", title=None, axis=alt.Axis(tickCount=5, format="~s", tickMinStep=0.1))


def count_y(field: str) -> alt.Y:
    """Whole numbers, from zero."""
    axis = alt.Axis(tickCount=5, tickMinStep=1)
    return alt.Y(f"{field}:Q", title=None, scale=alt.Scale(zero=True), axis=axis)
