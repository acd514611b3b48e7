"""The charts of a capacity plan: the objective's figure and the cost, against workers and against the rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from loadtest.capacity.estimates import Estimate
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
    log_domain,
    log_ms_y,
    rows_chart,
    styled_spec,
)
from loadtest.report.charts.data_table import data_table
from loadtest.report.formatting import rate
from loadtest.scenario.gates import Gate, limit_text, parse_gate

_HEIGHT = 230
_DASHED = [4, 3]


@dataclass(frozen=True)
class _Along:
    """What a chart runs along: its points and their places, what is marked, and where no queue settles."""

    name: str
    points: Sequence[tuple[float, EvaluatedSetting]]
    end: float
    never: tuple[float, float]
    marks: Sequence[tuple[float, LegendEntry]]
    label: str

    def x(self, field: str) -> alt.X:
        """The axis, from zero."""
        step = 1 if self.name == "workers" else 0
        axis = alt.Axis(tickCount=6, tickMinStep=step, labelExpr=self.label, labelOverlap="greedy", labelSeparation=8)
        return alt.X(f"{field}:Q", title=None, scale=alt.Scale(domain=[0, self.end], nice=False), axis=axis)


def capacity_charts(plan: Plan) -> list[Chart]:
    """The objective's figure along both, and where there is a price what it costs along both."""
    along = (_workers(plan), _rates(plan))
    charts = [_objective(plan, each) for each in along]
    if plan.price is not None:
        charts += [_cost(each) for each in along]
    return charts


def _workers(plan: Plan) -> _Along:
    points = [(float(each.prediction.setting.max_workers), each) for each in plan.curves.by_workers]
    settling = [place for place, each in points if each.prediction.settles]
    most = plan.answer.prediction.setting.max_workers
    marks = [
        (float(plan.analytic.vendor_workers), LegendEntry("the vendor’s rule", GREY, "dashed")),
        (float(most), LegendEntry(f"these {most}" if most > 1 else "this one", INK, "dashed")),
    ]
    end = max(place for place, _ in points)
    never = (0.0, min(settling, default=end + 1.0) - 0.5)
    return _Along("workers", points, end + 0.5, never, marks, "format(datum.value, 'd')")


def _rates(plan: Plan) -> _Along:
    points = [(each.prediction.rate_per_s, each) for each in plan.curves.by_rate]
    limit_per_s = plan.curves.limit_per_s
    end = 1.08 * max(limit_per_s, plan.rate_per_s)
    marks = [(plan.rate_per_s, LegendEntry(f"asked for, {rate(plan.rate_per_s)}", INK, "dashed"))]
    return _Along("rate", points, end, (limit_per_s, end), marks, "format(datum.value, '~g') + '/s'")


def _objective(plan: Plan, along: _Along) -> Chart:
    """The figure that the objective speaks of, with the interval of each point, and the limit across."""
    slo = parse_gate(plan.slo)
    drawn = [(place, each.observed) for place, each in along.points if each.observed is not None]
    rows = [_row(slo, place, each) for place, each in drawn]
    limit = plan.limit if slo.metric.is_share else plan.limit * 1000
    y = objective_y(slo, rows, limit)
    across = rows_chart([{"y": limit}]).mark_rule(stroke=BAD, strokeWidth=1.4).encode(y=y)
    text = ", ".join(f"{place:g} {limit_text(slo, float(f'{each.value:.3g}'))}" for place, each in drawn)
    figure = f"{slo.metric} {slo.statistic}".strip()
    title = {"workers": "against workers", "rate": "against the rate"}[along.name]
    held = {"workers": f"at {rate(plan.rate_per_s)}", "rate": "with the same workers"}[along.name]
    form = ".2%" if slo.metric.is_share else ",.4g"
    columns = {"x": (along.name, ".4g"), "y": ("predicted", form), "low": ("from", form), "high": ("to", form)}
    return Chart(
        name=f"slo-{along.name}",
        title=f"{figure[0].upper()}{figure[1:]} {title}",
        unit=f"{held}; each point with its 95 % interval",
        alt_text=f"{figure} {title}, {held}: {text or 'the queue settles nowhere'}.",
        keys=[*_keys(along), LegendEntry(plan.slo, BAD)],
        spec=styled_spec([*_marked(along), across, *_curve(along, rows, y)], _HEIGHT),
        table=data_table(rows, columns),
    )


def _row(slo: Gate, place: float, each: Estimate) -> Row:
    scale = 1.0 if slo.metric.is_share else 1000.0
    return drawn_row(slo, place, each.value * scale, each.low * scale, each.high * scale)


def drawn_row(slo: Gate, place: float, value: float, low: float, high: float) -> Row:
    """A point in milliseconds or as a share, none under what an axis can show."""
    least = 0.0 if slo.metric.is_share else 1.0
    return {"x": place, "y": max(least, value), "low": max(least, low), "high": max(least, high)}


def objective_y(slo: Gate, rows: Sequence[Row], limit: float) -> alt.Y:
    """An axis that holds the limit and every interval: milliseconds on a logarithm, or a share from zero."""
    if not slo.metric.is_share:
        return log_ms_y("y", log_domain([limit, *(row[end] for row in rows for end in ("low", "high"))]))
    top = max([limit, *(row["high"] for row in rows)])
    axis = alt.Axis(tickCount=5, labelExpr="format(datum.value * 100, '~g') + ' %'")
    return alt.Y("y:Q", title=None, scale=alt.Scale(domain=[0, top * 1.1], nice=False), axis=axis)


def _cost(along: _Along) -> Chart:
    """Dollars an hour against workers, dollars per 1000 jobs against the rate."""
    per_hour = along.name == "workers"
    named = "Cost per hour against workers" if per_hour else "Cost per 1000 jobs against the rate"
    known = [
        (place, each.prediction.cost_per_hour if per_hour else each.prediction.cost_per_1000_jobs)
        for place, each in along.points
    ]
    rows = [
        {"x": place, "y": cost.value, "low": cost.low, "high": cost.high} for place, cost in known if cost is not None
    ]
    top = max((row["high"] for row in rows), default=1.0)
    axis = alt.Axis(tickCount=5, labelExpr="'$' + format(datum.value, '~g')")
    y = alt.Y("y:Q", title=None, scale=alt.Scale(domain=[0, top * 1.1], nice=False), axis=axis)
    text = ", ".join(f"{row['x']:g} ${row['y']:.3g}" for row in rows)
    columns = {
        name: (title, ".4g") for name, title in {"x": along.name, "y": "dollars", "low": "from", "high": "to"}.items()
    }
    return Chart(
        name=f"cost-{along.name}",
        title=named,
        unit="US dollars, idle time and starts included",
        alt_text=f"{named}: {text or 'no queue settles'}.",
        keys=_keys(along),
        spec=styled_spec([*_marked(along), *_curve(along, rows, y)], _HEIGHT),
        table=data_table(rows, columns),
    )


def _keys(along: _Along) -> list[LegendEntry]:
    never = [LegendEntry("never settles", "var(--wash)", "box")] if along.never[0] < along.never[1] else []
    return [*(key for _, key in along.marks), *never]


def _marked(along: _Along) -> list[alt.Chart]:
    """The part where no queue settles, and a rule at each mark."""
    layers = []
    if along.never[0] < along.never[1]:
        shade = rows_chart([{"x": along.never[0], "x2": along.never[1]}])
        layers.append(shade.mark_rect(fill="var(--wash)", clip=True).encode(x=along.x("x"), x2="x2:Q"))
    for place, key in along.marks:
        rule = rows_chart([{"x": place}]).mark_rule(stroke=key.colour, strokeDash=_DASHED, clip=True)
        layers.append(rule.encode(x=along.x("x")))
    return layers


def _curve(along: _Along, rows: Sequence[Row], y: alt.Y) -> list[alt.Chart]:
    """A line through the points, each with its interval as a stroke through it."""
    of_workers = along.name == "workers"
    x = along.x("x")
    line = rows_chart(rows).mark_line(stroke=ACCENT, strokeWidth=1.4, clip=True).encode(x=x, y=y)
    reach = rows_chart(rows).mark_rule(stroke=ACCENT, strokeWidth=2.5, opacity=0.45, clip=True)
    tips = [
        alt.Tooltip("x:Q", title="workers" if of_workers else "rate, /s", format=".4~g"),
        alt.Tooltip("y:Q", title="predicted", format=",.4~g"),
        alt.Tooltip("low:Q", title="from", format=",.4~g"),
        alt.Tooltip("high:Q", title="to", format=",.4~g"),
    ]
    dots = rows_chart(rows).mark_point(size=26, fill=ACCENT, stroke=None, opacity=1, clip=True)
    return [line, reach.encode(x=x, y=same_axis(y, "low"), y2="high:Q"), dots.encode(x=x, y=y, tooltip=tips)]


def same_axis(y: alt.Y, field: str) -> alt.Y:
    """The same axis for another field."""
    moved: alt.Y = y.copy()
    moved.shorthand = f"{field}:Q"
    return moved
