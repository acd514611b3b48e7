"""The charts along the time of the run: load and times here, what the endpoint did in `over_time_endpoint`."""

from __future__ import annotations

import altair as alt

from loadtest.analyze.series import Series
from loadtest.analyze.stats.time_bins import BinnedPercentiles
from loadtest.analyze.summary import Summary
from loadtest.report.charts.base import (
    ACCENT,
    BAD,
    GREY,
    INK,
    PALE,
    STEADY,
    Chart,
    LegendEntry,
    line,
    log_domain,
    log_ms_y,
    rows_chart,
    time_x,
)
from loadtest.report.charts.endpoint import endpoint_charts
from loadtest.report.charts.timeline import (
    ChartData,
    ChartText,
    Timeline,
    bin_rows,
    filled_bins,
    frame_of,
    rate_y,
    stacked_bars,
)
from loadtest.report.formatting import duration, milliseconds, rate

_PARTS = {"send_lag": ("send lag", BAD), "delay": ("delay", ACCENT), "execution": ("execution", INK)}
_PARTS |= {"overhead": ("overhead", GREY)}
_TIMES = {
    "delay_ms": ("Delay", "delay"),
    "execution_ms": ("Execution", "execution"),
    "end_to_end_ms": ("End-to-end", "end-to-end"),
}


def over_time_charts(summary: Summary, series: Series) -> list[Chart]:
    """Load, delay, execution, end-to-end and its parts, then what the endpoint did; none without a job."""
    if not series.outcomes:
        return []
    frame = frame_of(summary, series)
    charts = [_load(summary, frame)]
    if any(series.latencies.jobs):
        charts += [_latency(summary, frame, quantity) for quantity in _TIMES]
        charts.append(_where_time_goes(frame))
    return charts + endpoint_charts(summary, frame)


def _load(summary: Summary, frame: Timeline) -> Chart:
    rates, arrivals = frame.series.rates, summary.arrivals
    columns = {name: getattr(rates, name) for name in ("offered", "sent", "completed", "failed")}
    rows = bin_rows(rates.at_s, rates.bin_s, **columns)
    drawn = {"sent": ("sent", INK, "line"), "completed": ("completed", ACCENT, "line")}
    layers = [
        line(rows, "sent", INK, rate_y("sent"), step=True, width=1.0),
        line(rows, "completed", ACCENT, rate_y("completed"), step=True, width=1.8),
    ]
    if rates.offered:
        drawn = {"offered": ("offered", PALE, "box")} | drawn
        layers.insert(0, filled_bins(rows, "offered", PALE, 0.55))
    if any(rates.failed):
        drawn["failed"] = ("ended otherwise", BAD, "box")
        layers.append(filled_bins(rows, "failed", BAD, 1.0))
    words = (
        f"Over {duration(frame.series.load_s)}, {rate(arrivals.offered_per_s)} were offered, "
        f"{rate(arrivals.achieved_per_s)} sent and {rate(frame.series.throughput_per_s)} completed."
    )
    unit = f"jobs per second, in bins of {duration(rates.bin_s)}"
    keys = [LegendEntry(*each) for each in drawn.values()]
    if frame.steady_s is not None:
        keys.append(LegendEntry("steady window", STEADY, "box"))
    fields = {name: f"{label}, /s" for name, (label, _, _) in drawn.items()}
    text = ChartText("load", "Load and throughput", unit, words, "throughput")
    return frame.chart(text, keys, ChartData(layers, rows, fields, ",.2f"))


def _latency(summary: Summary, frame: Timeline, quantity: str) -> Chart:
    title, term = _TIMES[quantity]
    latencies, points = frame.series.latencies, frame.series.points
    lines: BinnedPercentiles = getattr(latencies, quantity)
    dots = [{"s": s, "ms": max(1.0, ms)} for s, ms in zip(points.at_s, getattr(points, quantity), strict=True)]
    drawn = {"p50": (lines.p50, ACCENT), "p95": (lines.p95, INK), "p99": (lines.p99, GREY)}
    drawn = {name: pair for name, pair in drawn.items() if any(value is not None for value in pair[0])}
    columns = {name: values for name, (values, _) in drawn.items()}
    rows = bin_rows(latencies.at_s, latencies.bin_s, jobs=latencies.jobs, **columns)
    # What is shorter than 1 ms is drawn there, and told as it is.
    middle = [{"s": row["s"] + latencies.bin_s / 2, **{name: _drawn_ms(row[name]) for name in drawn}} for row in rows]
    values = [row[name] for row in middle for name in drawn if row[name] is not None]
    domain = log_domain(values + [dot["ms"] for dot in dots])
    marks = rows_chart(dots).mark_circle(size=9 if len(dots) > 200 else 24, color=GREY, opacity=0.5, clip=True)
    layers = [marks.encode(x=time_x(), y=log_ms_y("ms", domain))]
    layers += [line(middle, name, colour, log_ms_y(name, domain)) for name, (_, colour) in reversed(drawn.items())]
    keys = [LegendEntry(name, colour) for name, (_, colour) in drawn.items()] + [LegendEntry("one job", GREY, "dot")]
    unit = f"of completed jobs by intended start, in bins of {duration(latencies.bin_s)}; a dot is one job"
    name = quantity.removesuffix("_ms").replace("_", "-") + "-over-time"
    text = ChartText(name, title, unit, _flow_words(summary, quantity, title), term)
    fields = {"jobs": "jobs"} | {name: f"{name}, ms" for name in drawn}
    return frame.chart(text, keys, ChartData(layers, rows, fields, ",.0f"))


def _drawn_ms(value_ms: float | None) -> float | None:
    return None if value_ms is None else max(1.0, value_ms)


def _flow_words(summary: Summary, quantity: str, title: str) -> str:
    text = []
    for flow, each in summary.flows.items():
        q = getattr(each, quantity)
        text.append(f"{flow} p50 {milliseconds(q.p50)}, p95 {milliseconds(q.p95)}, at most {milliseconds(q.max)}")
    return f"{title} over the whole run: {'; '.join(text)}."


def _where_time_goes(frame: Timeline) -> Chart:
    latencies = frame.series.latencies
    rows = bin_rows(latencies.at_s, latencies.bin_s, **latencies.mean)
    axis = alt.Axis(tickCount=5, labelExpr="format(datum.value / 1000, '~r') + ' s'")
    text = ChartText(
        "where-time-goes",
        "Where the time goes",
        f"mean end-to-end time of completed jobs by intended start, in bins of {duration(latencies.bin_s)}",
        "The mean end-to-end time over the run, split into send lag, delay, execution and overhead.",
        "overhead",
    )
    keys = [LegendEntry(label, colour, "box") for label, colour in _PARTS.values()]
    fields = {part: f"{label}, ms" for part, (label, _) in _PARTS.items()}
    return frame.chart(text, keys, ChartData([stacked_bars(rows, _PARTS, axis)], rows, fields, ",.1f"))
