"""The trend of one figure of a scenario: a point for each run, and a level between changes."""

from __future__ import annotations

import altair as alt

from loadtest.report.charts.base import ACCENT, BAD, INK, Chart, LegendEntry, Row, rows_chart, styled_spec
from loadtest.report.formatting import milliseconds, rate, signed_share, timestamp
from loadtest.report.runs_index import Trend

_HEIGHT = 160


def figure_text(trend: Trend, value: float) -> str:
    """Return a value of a trend with its unit."""
    return rate(value) if trend.figure == "throughput" else milliseconds(value)


def change_text(trend: Trend, index: int) -> str:
    """Return how a figure changed at a run."""
    levels = trend.levels()
    before, after = levels[index - 1], levels[index]
    share = f" ({signed_share(after / before - 1)})" if before > 0 else ""
    return f"{trend.figure} from {figure_text(trend, before)} to {figure_text(trend, after)}{share}"


def trend_chart(trend: Trend, number: int) -> Chart:
    """Return the chart of a trend; runs are as far apart as their order, not their time."""
    changes = {each.place for each in trend.changes}
    rows: list[Row] = [
        {
            "n": index,
            "y": value,
            "level": level,
            "run": run.folder,
            "started": timestamp(run.summary.run.started_at),
            "value": figure_text(trend, value),
        }
        for index, (run, value, level) in enumerate(zip(trend.runs, trend.values, trend.levels(), strict=True))
    ]
    x = alt.X("n:Q", title=None, axis=None, scale=alt.Scale(domain=[-0.5, len(rows) - 0.5], nice=False))
    y = alt.Y("y:Q", title=None, scale=alt.Scale(zero=False, nice=5), axis=alt.Axis(tickCount=4))
    tips = [alt.Tooltip(f"{field}:N", title=field) for field in ("run", "started", "value")]
    points = rows_chart(rows).mark_point(filled=True, size=36, color=ACCENT).encode(x=x, y=y, tooltip=tips)
    levels = rows_chart(rows).mark_line(interpolate="step", stroke=INK, strokeWidth=1.2)
    levels = levels.encode(x=x, y=alt.Y("level:Q", title=None))
    marks = rows_chart([{"n": index - 0.5} for index in sorted(changes)])
    rules = marks.mark_rule(stroke=BAD, strokeDash=[4, 3]).encode(x=x)
    legend = [LegendEntry("a run", ACCENT, "dot"), LegendEntry("median between changes", INK)]
    if changes:
        legend.append(LegendEntry("a change", BAD, "dashed"))
    what = "; ".join(change_text(trend, each.place) for each in trend.changes) or "no change"
    unit = "jobs per second" if trend.figure == "throughput" else "milliseconds"
    return Chart(
        name=f"trend-{number}",
        title=trend.figure,
        unit=f"{unit}, flow {trend.flow}, runs in order of time",
        alt_text=f"{trend.figure} of {len(rows)} runs of {trend.scenario}: {what}.",
        keys=legend,
        spec=styled_spec([rules, levels, points], _HEIGHT),
    )
