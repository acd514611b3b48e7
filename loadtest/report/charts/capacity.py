"""The charts of a capacity plan: the objective's figure and the cost, against workers and against the rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from loadtest.capacity.planning.objective import EvaluatedSetting
from loadtest.capacity.planning.plan import Plan
from loadtest.report.charts.base import (
    ACCENT,
    BAD,
    GREY,
    INK,
    Chart,
    LegendEntry,
    Row,
    data_table,
    log_domain,
    log_ms_y,
    rows_chart,
    styled_spec,
)
from loadtest.report.formatting import rate
from loadtest.scenario.gates import Gate, limit_text

HEIGHT = 230
DASHED = [4, 3]
RATE_LABEL = "format(datum.value, '~g') + '/s'"


@dataclass(frozen=True)
class _Axis:
    """The horizontal axis of a chart: its points, its end, its marks, and the range in which no queue settles."""

    name: str
    points: Sequence[tuple[float, EvaluatedSetting]]
    end: float
    unstable: tuple[float, float]
    marks: Sequence[tuple[float, LegendEntry]]
    label: str

    def x(self, field: str) -> alt.X:
        """Return the encoding of a field on this axis."""
        return from_zero_x(field, self.end, self.label, 1 if self.name == "workers" else 0)

    @property
    def has_unstable(self) -> bool:
        """Return whether any part of the axis has no steady state."""
        return self.unstable[0] < self.unstable[1]


def capacity_charts(plan: Plan, slo: Gate) -> list[Chart]:
    """Return the objective's figure and, if there is a price, the cost, against workers and against the rate."""
    axes = (_workers(plan), _rates(plan))
    charts = [_objective(plan, slo, each) for each in axes]
    if plan.price is not None:
        charts += [_cost(each) for each in axes]
    return charts


def _workers(plan: Plan) -> _Axis:
    points = [(float(each.prediction.setting.max_workers), each) for each in plan.curves.by_workers]
    stable = [x for x, each in points if each.prediction.settles]
    answer = plan.answer.prediction.setting.max_workers
    marks = [
        (float(plan.analytic.vendor_workers), LegendEntry("the vendor’s rule", GREY, "dashed")),
        (float(answer), LegendEntry(f"these {answer}" if answer > 1 else "this one", INK, "dashed")),
    ]
    end = max(x for x, _ in points)
    unstable = (0.0, min(stable, default=end + 1.0) - 0.5)
    return _Axis("workers", points, end + 0.5, unstable, marks, "format(datum.value, 'd')")


def _rates(plan: Plan) -> _Axis:
    points = [(each.prediction.rate_per_s, each) for each in plan.curves.by_rate]
    limit_per_s = plan.curves.limit_per_s
    end = 1.08 * max(limit_per_s, plan.rate_per_s)
    marks = [(plan.rate_per_s, LegendEntry(f"asked for, {rate(plan.rate_per_s)}", INK, "dashed"))]
    return _Axis("rate", points, end, (limit_per_s, end), marks, RATE_LABEL)


def _objective(plan: Plan, slo: Gate, axis: _Axis) -> Chart:
    """Return the figure of the objective with the interval of each point, and the limit."""
    drawn = [(x, each.observed) for x, each in axis.points if each.observed is not None]
    scale = 1.0 if slo.metric.is_share else 1000.0
    rows = [objective_row(slo, x, each.value * scale, each.low * scale, each.high * scale) for x, each in drawn]
    y = objective_y(slo, rows, plan.limit * scale)
    text = ", ".join(f"{x:g} {limit_text(slo, float(f'{each.value:.3g}'))}" for x, each in drawn)
    figure = f"{slo.metric} {slo.statistic}".strip()
    title = {"workers": "against workers", "rate": "against the rate"}[axis.name]
    fixed = {"workers": f"at {rate(plan.rate_per_s)}", "rate": "with the same workers"}[axis.name]
    form = ".2%" if slo.metric.is_share else ",.4g"
    columns = {"x": (axis.name, ".4g"), "y": ("predicted", form), "low": ("from", form), "high": ("to", form)}
    return Chart(
        name=f"slo-{axis.name}",
        title=f"{figure[0].upper()}{figure[1:]} {title}",
        unit=f"{fixed}; each point with its 95 % interval",
        alt_text=f"{figure} {title}, {fixed}: {text or 'no queue settles'}.",
        keys=[*_keys(axis), LegendEntry(plan.slo, BAD)],
        spec=styled_spec([*_marks(axis), limit_rule(plan.limit * scale, y), *_curve(axis, rows, y)], HEIGHT),
        table=data_table(rows, columns),
    )


def from_zero_x(field: str, end: float, label: str, min_step: float = 0) -> alt.X:
    """Return a horizontal axis from zero to `end`; `label` is the expression of its labels."""
    axis = alt.Axis(tickCount=6, tickMinStep=min_step, labelExpr=label, labelOverlap="greedy", labelSeparation=8)
    return alt.X(f"{field}:Q", title=None, scale=alt.Scale(domain=[0, end], nice=False), axis=axis)


def objective_row(slo: Gate, x: float, value: float, low: float, high: float) -> Row:
    """Return a point in milliseconds or as a share, not below the smallest value of the axis."""
    smallest = 0.0 if slo.metric.is_share else 1.0
    return {"x": x, "y": max(smallest, value), "low": max(smallest, low), "high": max(smallest, high)}


def objective_y(slo: Gate, rows: Sequence[Row], limit: float) -> alt.Y:
    """Return an axis over the limit and every interval: logarithmic milliseconds, or a share from zero."""
    if not slo.metric.is_share:
        return log_ms_y("y", log_domain([limit, *(row[end] for row in rows for end in ("low", "high"))]))
    top = max([limit, *(row["high"] for row in rows)])
    axis = alt.Axis(tickCount=5, labelExpr="format(datum.value * 100, '~g') + ' %'")
    return alt.Y("y:Q", title=None, scale=alt.Scale(domain=[0, top * 1.1], nice=False), axis=axis)


def limit_rule(limit: float, y: alt.Y) -> alt.Chart:
    """Return a line across the chart at the objective's limit."""
    rule: alt.Chart = rows_chart([{"y": limit}]).mark_rule(stroke=BAD, strokeWidth=1.4).encode(y=y)
    return rule


def _cost(axis: _Axis) -> Chart:
    """Return dollars per hour against workers, or dollars per 1000 jobs against the rate."""
    per_hour = axis.name == "workers"
    title = "Cost per hour against workers" if per_hour else "Cost per 1000 jobs against the rate"
    known = [
        (x, each.prediction.cost_per_hour if per_hour else each.prediction.cost_per_1000_jobs)
        for x, each in axis.points
    ]
    rows = [{"x": x, "y": cost.value, "low": cost.low, "high": cost.high} for x, cost in known if cost is not None]
    top = max((row["high"] for row in rows), default=1.0)
    y_axis = alt.Axis(tickCount=5, labelExpr="'$' + format(datum.value, '~g')")
    y = alt.Y("y:Q", title=None, scale=alt.Scale(domain=[0, top * 1.1], nice=False), axis=y_axis)
    text = ", ".join(f"{row['x']:g} ${row['y']:.3g}" for row in rows)
    columns = {"x": axis.name, "y": "dollars", "low": "from", "high": "to"}
    return Chart(
        name=f"cost-{axis.name}",
        title=title,
        unit="US dollars, idle time and starts included",
        alt_text=f"{title}: {text or 'no queue settles'}.",
        keys=_keys(axis),
        spec=styled_spec([*_marks(axis), *_curve(axis, rows, y)], HEIGHT),
        table=data_table(rows, {name: (title, ".4g") for name, title in columns.items()}),
    )


def _keys(axis: _Axis) -> list[LegendEntry]:
    unstable = [LegendEntry("never settles", "var(--wash)", "box")] if axis.has_unstable else []
    return [*(key for _, key in axis.marks), *unstable]


def _marks(axis: _Axis) -> list[alt.Chart]:
    """Return the shaded range in which no queue settles, and a line at each mark."""
    layers = []
    if axis.has_unstable:
        shade = rows_chart([{"x": axis.unstable[0], "x2": axis.unstable[1]}])
        layers.append(shade.mark_rect(fill="var(--wash)", clip=True).encode(x=axis.x("x"), x2="x2:Q"))
    for x, key in axis.marks:
        rule = rows_chart([{"x": x}]).mark_rule(stroke=key.colour, strokeDash=DASHED, clip=True)
        layers.append(rule.encode(x=axis.x("x")))
    return layers


def _curve(axis: _Axis, rows: Sequence[Row], y: alt.Y) -> list[alt.Chart]:
    """Return a line through the points, and the points with their intervals."""
    x = axis.x("x")
    line = rows_chart(rows).mark_line(stroke=ACCENT, strokeWidth=1.4, clip=True).encode(x=x, y=y)
    titles = {"x": "workers" if axis.name == "workers" else "rate, /s", "y": "predicted", "low": "from", "high": "to"}
    tips = [alt.Tooltip(f"{field}:Q", title=title, format=",.4~g") for field, title in titles.items()]
    return [line, *points_with_intervals(rows_chart(rows), ACCENT, x, y, tips)]


def points_with_intervals(
    rows: alt.Chart, colour: str, x: alt.X, y: alt.Y, tips: Sequence[alt.Tooltip]
) -> tuple[alt.Chart, alt.Chart]:
    """Return a vertical bar from `low` to `high` and a point for each row."""
    low: alt.Y = y.copy()
    low.shorthand = "low:Q"
    bars = rows.mark_rule(stroke=colour, strokeWidth=2.5, opacity=0.45, clip=True).encode(x=x, y=low, y2="high:Q")
    points = rows.mark_point(size=28, fill=colour, stroke=None, opacity=1, clip=True)
    return bars, points.encode(x=x, y=y, tooltip=list(tips))
