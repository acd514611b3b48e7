"""The charts of a capacity plan, against workers and against the rate, and of a measured search, against the rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from loadtest.capacity.breakpoint.bisection import ProbeOutcome
from loadtest.capacity.breakpoint.result import BreakpointResult
from loadtest.capacity.planning.objective import EvaluatedSetting
from loadtest.capacity.planning.plan import Plan
from loadtest.report.charts.base import (
    ACCENT,
    BAD,
    GOOD,
    GREY,
    INK,
    WARNING,
    Chart,
    LegendEntry,
    Row,
    data_table,
    log_domain,
    log_ms_y,
    rows_chart,
    styled_spec,
)
from loadtest.report.formatting import rate, status, verdict
from loadtest.scenario.gates import Gate, limit_text, parse_gate

_HEIGHT = 230
_DASHED = [4, 3]
_RATE_LABEL = "format(datum.value, '~g') + '/s'"


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
        return _from_zero_x(field, self.end, self.label, 1 if self.name == "workers" else 0)

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
    return _Axis("rate", points, end, (limit_per_s, end), marks, _RATE_LABEL)


def _objective(plan: Plan, slo: Gate, axis: _Axis) -> Chart:
    """Return the figure of the objective with the interval of each point, and the limit."""
    drawn = [(x, each.observed) for x, each in axis.points if each.observed is not None]
    scale = 1.0 if slo.metric.is_share else 1000.0
    rows = [_objective_row(slo, x, each.value * scale, each.low * scale, each.high * scale) for x, each in drawn]
    y = _objective_y(slo, rows, plan.limit * scale)
    text = ", ".join(f"{x:g} {limit_text(slo, float(f'{each.value:.3g}'))}" for x, each in drawn)
    figure = f"{slo.metric} {slo.statistic}".strip()
    title = {"workers": "against workers", "rate": "against the rate"}[axis.name]
    fixed = {"workers": f"at {rate(plan.rate_per_s)}", "rate": "with the same workers"}[axis.name]
    return Chart(
        name=f"slo-{axis.name}",
        title=f"{figure[0].upper()}{figure[1:]} {title}",
        unit=f"{fixed}; each point with its 95 % interval",
        alt_text=f"{figure} {title}, {fixed}: {text or 'no queue settles'}.",
        keys=[*_keys(axis), LegendEntry(plan.slo, BAD)],
        spec=styled_spec([*_marks(axis), _limit_rule(plan.limit * scale, y), *_curve(axis, rows, y)], _HEIGHT),
        table=data_table(rows, _columns(axis.name, "predicted", ".2%" if slo.metric.is_share else ",.4g")),
    )


def _from_zero_x(field: str, end: float, label: str, min_step: float = 0) -> alt.X:
    """Return a horizontal axis from zero to `end`; `label` is the expression of its labels."""
    axis = alt.Axis(tickCount=6, tickMinStep=min_step, labelExpr=label, labelOverlap="greedy", labelSeparation=8)
    return alt.X(f"{field}:Q", title=None, scale=alt.Scale(domain=[0, end], nice=False), axis=axis)


def _objective_row(slo: Gate, x: float, value: float, low: float, high: float) -> Row:
    """Return a point in milliseconds or as a share, not below the smallest value of the axis."""
    smallest = 0.0 if slo.metric.is_share else 1.0
    return {"x": x, "y": max(smallest, value), "low": max(smallest, low), "high": max(smallest, high)}


def _objective_y(slo: Gate, rows: Sequence[Row], limit: float) -> alt.Y:
    """Return an axis over the limit and every interval: logarithmic milliseconds, or a share from zero."""
    if not slo.metric.is_share:
        return log_ms_y("y", log_domain([limit, *(row[end] for row in rows for end in ("low", "high"))]))
    return _from_zero_y(max([limit, *(row["high"] for row in rows)]), "format(datum.value * 100, '~g') + ' %'")


def _from_zero_y(top: float, label: str) -> alt.Y:
    axis = alt.Axis(tickCount=5, labelExpr=label)
    return alt.Y("y:Q", title=None, scale=alt.Scale(domain=[0, top * 1.1], nice=False), axis=axis)


def _columns(x: str, y: str, form: str) -> dict[str, tuple[str, str]]:
    """Return the title and number format of each field of a data table."""
    return {"x": (x, ".4g"), "y": (y, form), "low": ("from", form), "high": ("to", form)}


def _limit_rule(limit: float, y: alt.Y) -> alt.Chart:
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
    y = _from_zero_y(max((row["high"] for row in rows), default=1.0), "'$' + format(datum.value, '~g')")
    text = ", ".join(f"{row['x']:g} ${row['y']:.3g}" for row in rows)
    return Chart(
        name=f"cost-{axis.name}",
        title=title,
        unit="US dollars, idle time and starts included",
        alt_text=f"{title}: {text or 'no queue settles'}.",
        keys=_keys(axis),
        spec=styled_spec([*_marks(axis), *_curve(axis, rows, y)], _HEIGHT),
        table=data_table(rows, _columns(axis.name, "dollars", ".4g")),
    )


def _keys(axis: _Axis) -> list[LegendEntry]:
    unstable = [LegendEntry("never settles", "var(--wash)", "box")] if axis.has_unstable else []
    return [*(key for _, key in axis.marks), *unstable]


def _marks(axis: _Axis) -> list[alt.Chart]:
    """Return the shaded range in which no queue settles, and a line at each mark."""
    layers = []
    if axis.has_unstable:
        shade = rows_chart([{"x": axis.unstable[0], "x2": axis.unstable[1]}])
        layers.append(shade.mark_rect(fill="var(--wash)", clip=True).encode(x=axis.x("x"), x2=alt.X2("x2:Q")))
    for x, key in axis.marks:
        rule = rows_chart([{"x": x}]).mark_rule(stroke=key.colour, strokeDash=_DASHED, clip=True)
        layers.append(rule.encode(x=axis.x("x")))
    return layers


def _curve(axis: _Axis, rows: Sequence[Row], y: alt.Y) -> list[alt.Chart]:
    """Return a line through the points, and the points with their intervals."""
    x = axis.x("x")
    line = rows_chart(rows).mark_line(stroke=ACCENT, strokeWidth=1.4, clip=True).encode(x=x, y=y)
    titles = {"x": "workers" if axis.name == "workers" else "rate, /s", "y": "predicted", "low": "from", "high": "to"}
    tips = [alt.Tooltip(f"{field}:Q", title=title, format=",.4~g") for field, title in titles.items()]
    return [line, *_points_with_intervals(rows_chart(rows), ACCENT, x, y, tips)]


def _points_with_intervals(
    rows: alt.Chart, colour: str, x: alt.X, y: alt.Y, tips: Sequence[alt.Tooltip]
) -> tuple[alt.Chart, alt.Chart]:
    """Return a vertical bar from `low` to `high` and a point for each row."""
    low: alt.Y = y.copy()
    low.shorthand = "low:Q"
    bars = rows.mark_rule(stroke=colour, strokeWidth=2.5, opacity=0.45, clip=True).encode(
        x=x, y=low, y2=alt.Y2("high:Q")
    )
    points = rows.mark_point(size=28, fill=colour, stroke=None, opacity=1, clip=True)
    return bars, points.encode(x=x, y=y, tooltip=list(tips))


def gate_chart(found: BreakpointResult, name: str, text: str) -> Chart | None:
    """Return the figure of a gate at each probed rate, with the limit; None if no probe has one."""
    slo = parse_gate(text)
    rows = [
        _objective_row(slo, each.rate_per_s, gate.observed, *(gate.ci95 or (gate.observed, gate.observed)))
        | {"outcome": verdict(each.outcome)}
        for each in found.probes
        for gate in each.gates
        if gate.gate == text and gate.observed is not None
    ]
    if not rows:
        return None
    limit = slo.limit if slo.metric.is_share else slo.limit * 1000
    y = _objective_y(slo, rows, limit)
    x = _from_zero_x("x", 1.06 * max(row["x"] for row in rows), _RATE_LABEL)
    layers = [_limit_rule(limit, y)]
    if found.highest_passing_per_s is not None:
        edge = rows_chart([{"x": found.highest_passing_per_s}]).mark_rule(stroke=GREY, strokeDash=_DASHED, clip=True)
        layers.append(edge.encode(x=x))
    tips = [alt.Tooltip("x:Q", title="rate, /s", format=".4~g"), alt.Tooltip("y:Q", title="observed", format=",.4~g")]
    for outcome in ProbeOutcome:
        some = rows_chart([row for row in rows if row["outcome"] == verdict(outcome)])
        layers += _points_with_intervals(some, _colour(outcome), x, y, tips)
    columns = _columns("rate, /s", "observed", ".2%" if slo.metric.is_share else ",.4g")
    points = ", ".join(f"{row['outcome']} at {row['x']:.4g}/s" for row in rows)
    return Chart(
        name=name,
        title=f"{text.partition(' <')[0].capitalize()} against the rate",
        unit="of each probe, with its 95 % interval",
        alt_text=f"{text}: {points}.",
        keys=_gate_keys(found, text),
        spec=styled_spec(layers, _HEIGHT),
        table=data_table(rows, columns | {"outcome": ("outcome", "")}),
    )


def _gate_keys(found: BreakpointResult, gate: str) -> list[LegendEntry]:
    used = {each.outcome for each in found.probes if each.gates}
    keys = [LegendEntry(verdict(each), _colour(each), "dot") for each in ProbeOutcome if each in used]
    edge = [] if found.highest_passing_per_s is None else [LegendEntry("highest passing", GREY, "dashed")]
    return [*keys, *edge, LegendEntry(gate, BAD)]


def _colour(outcome: ProbeOutcome) -> str:
    return {"pass": GOOD, "fail": BAD}.get(status(outcome), WARNING)
