"""The charts of the endpoint: jobs in flight, requests, use of limits, workers and starts, execution by worker."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import altair as alt

from loadtest.analyze.series import Series
from loadtest.analyze.summary import Summary, WorkerSummary
from loadtest.report.charts.base import (
    ACCENT,
    BAD,
    GOOD,
    GREY,
    INK,
    PALE,
    WARNING,
    Chart,
    LegendEntry,
    Row,
    rows_chart,
    styled_spec,
)
from loadtest.report.charts.timeline import (
    Bins,
    LineStyle,
    bin_rows,
    count_y,
    filled_bins,
    line,
    rate_y,
    stacked_bars,
    timeline_of,
)
from loadtest.report.formatting import duration, milliseconds, share

_OPERATION_COLOURS = {
    "run": ACCENT,
    "runsync": INK,
    "stream": GREY,
    "status": WARNING,
    "cancel": BAD,
    "openai": GOOD,
}
_LOW_HEIGHT = 120
_WORKER_HEIGHT = 17
_COUNTS = alt.Axis(tickCount=4, tickMinStep=1)
_MAX_DRAWN_WORKERS = 30
_MAX_NAMED_WORKERS = 5
_STATES = {
    "running": ("running", ACCENT),
    "idle": ("idle", PALE),
    "initializing": ("initializing", INK),
}
_STARTS = {"warm": ("warm", PALE), "revived": ("revived", INK), "cold": ("cold", ACCENT)}


def in_flight_chart(summary: Summary, series: Series) -> Chart:
    """Return the jobs in flight by the client's count, and the queue by the endpoint's."""
    rates, health = series.rates, series.health
    rows = bin_rows(rates.at_s, rates.bin_s, in_flight=rates.in_flight)
    keys, titles = [LegendEntry("in flight, as the client counts", ACCENT)], {"in_flight": "in flight"}
    layers = [line(rows, count_y("in_flight"), LineStyle(ACCENT, 1.8, step=True))]
    if health is not None:
        queue: list[Row] = [{"s": s, "queue": n} for s, n in zip(health.at_s, health.in_queue, strict=True)]
        layers.append(line(queue, count_y("queue"), LineStyle(INK, 1.2, step=True)))
        keys.append(LegendEntry("in the queue, as the endpoint reports", INK))
        titles["queue"] = "in the queue"
        for row in rows:
            last = bisect_left(health.at_s, row["s2"]) - 1
            row["queue"] = health.in_queue[last] if last >= 0 else None
    bins = Bins(rows, titles, ",.0f")
    return Chart(
        name="in-flight",
        title="Jobs in flight",
        unit="jobs sent and not yet ended",
        alt_text=f"At most {max(rates.in_flight, default=0)} jobs were in flight at the end of a bin.",
        keys=keys,
        spec=timeline_of(summary, series).spec(layers, bins),
        term="in-flight",
        table=bins.table(),
    )


def requests_chart(summary: Summary, series: Series) -> Chart | None:
    """Return the requests of each operation, and those answered 429; None if no request was recorded."""
    rates = series.rates
    if not rates.requests:
        return None
    # A dash in a field name would be read as a subtraction.
    fields = {name: f"op{i}" for i, name in enumerate(rates.requests)}
    refused = {name: f"refused{i}" for i, name in enumerate(rates.throttled)}
    columns = {field: rates.requests[name] for name, field in fields.items()}
    columns |= {field: rates.throttled[name] for name, field in refused.items()}
    rows = bin_rows(rates.at_s, rates.bin_s, **columns)
    colours = {name: _OPERATION_COLOURS.get(name, PALE) for name in fields}
    layers = [filled_bins(rows, field, BAD, 0.8) for field in refused.values()]
    layers += [line(rows, rate_y(field), LineStyle(colours[name], step=True)) for name, field in fields.items()]
    keys = [LegendEntry(name, colour) for name, colour in colours.items()]
    keys += [LegendEntry(f"{name} answered 429", BAD, "box") for name in refused]
    counts = ", ".join(f"{each.requests} of {name}" for name, each in summary.operations.items())
    titles = {field: f"{name}, /s" for name, field in fields.items()}
    bins = Bins(rows, titles | {field: f"{name} 429, /s" for name, field in refused.items()}, ",.1f")
    return Chart(
        name="requests",
        title="Requests",
        unit=f"answered per second by operation, in bins of {duration(rates.bin_s)}",
        alt_text=f"Requests sent in the whole run: {counts}.",
        keys=keys,
        spec=timeline_of(summary, series).spec(layers, bins),
        term="operation",
        table=bins.table(),
    )


def limit_use_chart(summary: Summary, series: Series) -> Chart | None:
    """Return the share of each rate limit in use; None if no operation has a limit."""
    rates = series.rates
    if not rates.limit_use:
        return None
    fields = {name: f"use{i}" for i, name in enumerate(rates.limit_use)}
    rows = bin_rows(rates.at_s, rates.bin_s, **{fields[name]: use for name, use in rates.limit_use.items()})
    highest = {name: max(use, default=0.0) for name, use in rates.limit_use.items()}
    top = max(1.05, *highest.values())

    def y(field: str) -> alt.Y:
        axis = alt.Axis(values=[0, 0.5, 1] if top < 2 else alt.Undefined, labelExpr="round(datum.value * 100) + ' %'")
        return alt.Y(field, title=None, scale=alt.Scale(domain=[0, top], nice=False), axis=axis)

    limit = rows_chart([{"full": 1}]).mark_rule(stroke=BAD, strokeDash=[3, 3]).encode(y=y("full:Q"))
    colours = {name: _OPERATION_COLOURS.get(name, PALE) for name in fields}
    lines = [line(rows, y(f"{field}:Q"), LineStyle(colours[name], step=True)) for name, field in fields.items()]
    bins = Bins(rows, {field: name for name, field in fields.items()}, ".0%")
    return Chart(
        name="limit-use",
        title="Use of the rate limits",
        unit="requests answered in the last 10 s over what the limit allows, by whole seconds",
        alt_text="The fullest 10 seconds used "
        f"{', '.join(f'{share(use)} of the limit of {name}' for name, use in highest.items())}.",
        keys=[LegendEntry(name, colour) for name, colour in colours.items()] + [LegendEntry("the limit", BAD)],
        spec=timeline_of(summary, series).spec([limit, *lines], bins, _LOW_HEIGHT),
        term="limit",
        table=bins.table(),
    )


def workers_chart(summary: Summary, series: Series) -> Chart | None:
    """Return the workers by state, by the endpoint's count; None if its health is unknown."""
    health = series.health
    if health is None:
        return None
    ends_s = [*health.at_s[1:], series.end_s]
    states = zip(health.at_s, ends_s, *(getattr(health, state) for state in _STATES), strict=True)
    rows: list[Row] = [dict(zip(("s", "s2", *_STATES), each, strict=True)) for each in states]
    bins = Bins(rows, {name: name for name in _STATES}, ",.0f")
    return Chart(
        name="workers",
        title="Workers",
        unit="as the endpoint's health operation counts them",
        alt_text=f"At most {max(health.running)} workers were running at once, as the endpoint counts them.",
        keys=[LegendEntry(label, colour, "box") for label, colour in _STATES.values()],
        spec=timeline_of(summary, series).spec([stacked_bars(rows, _STATES, _COUNTS)], bins),
        term="worker",
        table=bins.table(),
    )


def starts_chart(summary: Summary, series: Series) -> Chart | None:
    """Return the jobs by the start of their worker; None if all workers were warm."""
    starts = series.starts
    if starts is None or not any(starts.revived + starts.cold):
        return None
    rows = bin_rows(starts.at_s, starts.bin_s, **{name: getattr(starts, name) for name in _STARTS})
    bins = Bins(rows, {name: name for name in _STARTS}, ",.0f")
    return Chart(
        name="starts",
        title="Warm, revived, cold",
        unit=f"completed jobs by intended start, in bins of {duration(starts.bin_s)}",
        alt_text=summary.starts.detail if summary.starts else "Jobs by the start of their worker.",
        keys=[LegendEntry(label, colour, "box") for label, colour in _STARTS.values()],
        spec=timeline_of(summary, series).spec([stacked_bars(rows, _STARTS, _COUNTS)], bins, _LOW_HEIGHT),
        term="start",
        table=bins.table(),
    )


_CORRECTED = "This allows for the number of workers, and for jobs of a worker that resemble their neighbours."


def workers_text(workers: Sequence[WorkerSummary]) -> str:
    """Return which workers differ from the others in a sentence, the largest difference first."""
    compared = [(each.worker_id, each.compared) for each in workers if each.compared]
    if not compared:
        return "No worker had enough jobs to be compared with the others."
    found = [(worker, each) for worker, each in compared if each.differs]
    if not found:
        return f"None of {len(compared)} workers differs from the others in its median execution time. {_CORRECTED}"
    found.sort(key=lambda pair: max(pair[1].ratio, 1 / pair[1].ratio), reverse=True)
    named = [
        f"{worker} takes {each.ratio:.2f} times that of the others ({each.interval[0]:.2f} to {each.interval[1]:.2f})"
        for worker, each in found[:_MAX_NAMED_WORKERS]
    ]
    if len(found) > _MAX_NAMED_WORKERS:
        named.append(f"and {len(found) - _MAX_NAMED_WORKERS} more")
    verb = "differs" if len(found) == 1 else "differ"
    return (
        f"{len(found)} of {len(compared)} workers {verb} in median execution time: {'; '.join(named)}. {_CORRECTED}"
    )


def execution_by_worker_chart(summary: Summary, _: Series) -> Chart | None:
    """Return each worker's median execution time with its interval; None if fewer than two workers have one."""
    workers = summary.workers
    drawn = [each for each in workers if each.execution_ms.p50 is not None][:_MAX_DRAWN_WORKERS]
    if len(drawn) < 2:
        return None
    rows: list[Row] = []
    for each in drawn:
        q, differs = each.execution_ms, "yes" if each.compared and each.compared.differs else "no"
        low, high = q.ci95.get("p50", (q.p50, q.p50))
        rows.append({"worker": each.worker_id, "p50": q.p50, "low": low, "high": high, "differs": differs})
    y = alt.Y("worker:N", title=None, sort=None, axis=alt.Axis(domain=False, minExtent=120, maxExtent=120))
    label = "datum.value >= 1000 ? datum.value / 1000 + ' s' : datum.value + ' ms'"
    x_axis = alt.Axis(grid=True, tickCount=6, labelExpr=label)
    x = alt.X("p50:Q", title=None, scale=alt.Scale(zero=False, padding=8), axis=x_axis)
    tips = [alt.Tooltip("worker:N"), *(alt.Tooltip(f"{name}:Q", format=",.0f") for name in ("low", "p50", "high"))]
    colour = alt.Color("differs:N", scale=alt.Scale(domain=["no", "yes"], range=[INK, ACCENT]), legend=None)
    intervals = (
        rows_chart(rows).mark_rule(strokeWidth=1.4).encode(y=y, x=alt.X("low:Q"), x2=alt.X2("high:Q"), color=colour)
    )
    dots = rows_chart(rows).mark_circle(size=42, opacity=1).encode(y=y, x=x, color=colour, tooltip=tips)
    medians = [row["p50"] for row in rows]
    who = f"the busiest {len(drawn)} of {len(workers)}" if len(drawn) < len(workers) else f"{len(drawn)}"
    keys = [LegendEntry("as the others", INK, "dot")]
    if any(row["differs"] == "yes" for row in rows):
        keys.append(LegendEntry("differs", ACCENT, "dot"))
    return Chart(
        name="by-worker",
        title="Execution p50 by worker",
        unit="with its 95 % interval; the figures are in the table below",
        alt_text=f"Median execution times of {who} workers, from {milliseconds(min(medians))} "
        f"to {milliseconds(max(medians))}.",
        keys=keys,
        spec=styled_spec([intervals, dots], _WORKER_HEIGHT * len(rows)),
        term="worker",
    )
