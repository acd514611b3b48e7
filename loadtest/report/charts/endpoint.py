"""The charts of what went on at the endpoint: jobs in flight, requests and their limits, workers and their starts."""

from __future__ import annotations

from bisect import bisect_left

import altair as alt

from loadtest.analyze.summary import Summary
from loadtest.report.charts.base import (
    ACCENT,
    BAD,
    GREY,
    INK,
    PALE,
    WARNING,
    Chart,
    LegendEntry,
    Row,
    line,
    rows_chart,
)
from loadtest.report.charts.timeline import (
    ChartData,
    ChartText,
    Timeline,
    bin_rows,
    count_y,
    filled_bins,
    rate_y,
    stacked_bars,
)
from loadtest.report.formatting import duration, share

_OPERATION_COLOURS = {"run": ACCENT, "runsync": INK, "stream": GREY, "status": WARNING, "cancel": BAD}
_LOW = 120
"""The height of a chart that needs less."""
_STATES = {"running": ("running", ACCENT), "idle": ("idle", PALE), "initializing": ("initializing", INK)}
_STARTS = {"warm": ("warm", PALE), "revived": ("revived", INK), "cold": ("cold", ACCENT)}


def endpoint_charts(summary: Summary, frame: Timeline) -> list[Chart]:
    """Jobs in flight; requests, use of the limits, workers and starts where there is something to tell of them."""
    series = frame.series
    charts = [_in_flight(frame)]
    if series.rates.requests:
        charts.append(_requests(summary, frame))
    if series.rates.limit_use:
        charts.append(_limit_use(frame))
    if series.health is not None:
        charts.append(_workers(frame))
    if series.starts is not None and any(series.starts.revived + series.starts.cold):
        charts.append(_starts(summary, frame))
    return charts


def _in_flight(frame: Timeline) -> Chart:
    rates, health = frame.series.rates, frame.series.health
    rows = bin_rows(rates.at_s, rates.bin_s, in_flight=rates.in_flight)
    keys, fields = [LegendEntry("in flight, as the client counts", ACCENT)], {"in_flight": "in flight"}
    layers = [line(rows, "in_flight", ACCENT, count_y("in_flight"), step=True, width=1.8)]
    if health is not None:
        asked: list[Row] = [{"s": s, "queue": n} for s, n in zip(health.at_s, health.in_queue, strict=True)]
        layers.append(line(asked, "queue", INK, count_y("queue"), step=True, width=1.2))
        keys.append(LegendEntry("in the queue, as the endpoint says", INK))
        fields["queue"] = "in the queue"
        for row in rows:
            last = bisect_left(health.at_s, row["s2"]) - 1
            row["queue"] = health.in_queue[last] if last >= 0 else None
    words = f"At most {max(rates.in_flight, default=0)} jobs were in flight at the end of a bin."
    text = ChartText("in-flight", "Jobs in flight", "jobs sent and not yet ended", words, "in-flight")
    return frame.chart(text, keys, ChartData(layers, rows, fields, ",.0f"))


def _requests(summary: Summary, frame: Timeline) -> Chart:
    rates = frame.series.rates
    # Field names with a dash would be read as a subtraction.
    fields = {name: f"op{i}" for i, name in enumerate(rates.requests)}
    refused = {name: f"refused{i}" for i, name in enumerate(rates.throttled)}
    columns = {field: rates.requests[name] for name, field in fields.items()}
    columns |= {field: rates.throttled[name] for name, field in refused.items()}
    rows = bin_rows(rates.at_s, rates.bin_s, **columns)
    colours = {name: _OPERATION_COLOURS.get(name, PALE) for name in fields}
    layers = [filled_bins(rows, field, BAD, 0.8) for field in refused.values()]
    layers += [line(rows, field, colours[name], rate_y(field), step=True) for name, field in fields.items()]
    keys = [LegendEntry(name, colour) for name, colour in colours.items()]
    keys += [LegendEntry(f"{name} answered 429", BAD, "box") for name in refused]
    counts = ", ".join(f"{each.requests} of {name}" for name, each in summary.operations.items())
    unit = f"answered per second by operation, in bins of {duration(rates.bin_s)}"
    text = ChartText("requests", "Requests", unit, f"Requests sent in the whole run: {counts}.", "operation")
    labels = {field: f"{name}, /s" for name, field in fields.items()}
    labels |= {field: f"{name} 429, /s" for name, field in refused.items()}
    return frame.chart(text, keys, ChartData(layers, rows, labels, ",.1f"))


def _limit_use(frame: Timeline) -> Chart:
    rates = frame.series.rates
    fields = {name: f"use{i}" for i, name in enumerate(rates.limit_use)}
    rows = bin_rows(rates.at_s, rates.bin_s, **{fields[name]: use for name, use in rates.limit_use.items()})
    highest = {name: max(use, default=0.0) for name, use in rates.limit_use.items()}
    top = max(1.05, *highest.values())

    def y(field: str) -> alt.Y:
        axis = alt.Axis(values=[0, 0.5, 1] if top < 2 else alt.Undefined, labelExpr="round(datum.value * 100) + ' %'")
        return alt.Y(field, title=None, scale=alt.Scale(domain=[0, top], nice=False), axis=axis)

    full = rows_chart([{"full": 1}]).mark_rule(stroke=BAD, strokeDash=[3, 3]).encode(y=y("full:Q"))
    colours = {name: _OPERATION_COLOURS.get(name, PALE) for name in fields}
    lines = [line(rows, field, colours[name], y(f"{field}:Q"), step=True) for name, field in fields.items()]
    counts = ", ".join(f"{share(use)} of that of {name}" for name, use in highest.items())
    text = ChartText(
        "limit-use",
        "Use of the rate limits",
        "requests answered in the last 10 s over what the limit allows, by whole seconds",
        f"The fullest 10 seconds took of the limit: {counts}.",
        "limit",
    )
    keys = [LegendEntry(name, colour) for name, colour in colours.items()] + [LegendEntry("the limit", BAD)]
    content = ChartData([full, *lines], rows, {field: name for name, field in fields.items()}, ".0%", _LOW)
    return frame.chart(text, keys, content)


def _workers(frame: Timeline) -> Chart:
    health = frame.series.health
    assert health is not None
    ends_s = [*health.at_s[1:], frame.series.end_s]
    states = zip(health.at_s, ends_s, *(getattr(health, state) for state in _STATES), strict=True)
    rows: list[Row] = [dict(zip(("s", "s2", *_STATES), each, strict=True)) for each in states]
    text = ChartText(
        "workers",
        "Workers",
        "as the endpoint's health operation counts them",
        f"At most {max(health.running)} workers were running at once, as the endpoint counts them.",
        "worker",
    )
    bars = stacked_bars(rows, _STATES, alt.Axis(tickCount=4, tickMinStep=1))
    keys = [LegendEntry(label, colour, "box") for label, colour in _STATES.values()]
    return frame.chart(text, keys, ChartData([bars], rows, {name: name for name in _STATES}, ",.0f"))


def _starts(summary: Summary, frame: Timeline) -> Chart:
    starts = frame.series.starts
    assert starts is not None
    columns = {name: getattr(starts, name) for name in _STARTS}
    rows = bin_rows(starts.at_s, starts.bin_s, **columns)
    text = ChartText(
        "starts",
        "Warm, revived, cold",
        f"completed jobs by intended start, in bins of {duration(starts.bin_s)}",
        summary.starts.detail if summary.starts else "Jobs by the state of the worker that they met.",
        "start",
    )
    bars = stacked_bars(rows, _STARTS, alt.Axis(tickCount=4, tickMinStep=1))
    keys = [LegendEntry(label, colour, "box") for label, colour in _STARTS.values()]
    return frame.chart(text, keys, ChartData([bars], rows, {name: name for name in _STARTS}, ",.0f", _LOW))
