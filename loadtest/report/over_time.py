"""The charts that run along the time of the run."""

from __future__ import annotations

import altair as alt

from loadtest.analyze.bins import OverTime
from loadtest.analyze.series import Series
from loadtest.analyze.summary import Summary
from loadtest.report.charts import (
    ACCENT,
    BAD,
    DOUBT,
    GREY,
    INK,
    PALE,
    Chart,
    Key,
    Row,
    hover_bins,
    line,
    log_domain,
    log_ms_y,
    over_time_spec,
    rows_chart,
    stage_rules,
    time_x,
)
from loadtest.report.words import milliseconds, rate, span

_HEIGHT = 190
_PARTS = {"send_lag": ("send lag", BAD), "delay": ("delay", ACCENT), "execution": ("execution", INK)}
_PARTS |= {"overhead": ("overhead", GREY)}
_OPERATION_COLOURS = {"run": ACCENT, "runsync": INK, "stream": GREY, "status": DOUBT, "cancel": BAD}


def over_time_charts(summary: Summary, series: Series) -> list[Chart]:
    """Load, delay, execution, end-to-end and its parts, jobs in flight, requests, workers; none without a job."""
    if not series.outcomes:
        return []
    charts = [_load(summary, series)]
    if any(series.latencies.jobs):
        for quantity, title in (
            ("delay_ms", "Delay"),
            ("execution_ms", "Execution"),
            ("end_to_end_ms", "End-to-end"),
        ):
            charts.append(_latency(summary, series, quantity, title))
        charts.append(_where_time_goes(series))
    charts.append(_in_flight(series))
    if series.rates.requests:
        charts.append(_requests(summary, series))
    if series.health is not None:
        charts.append(_workers(series))
    return charts


def _spec(series: Series, layers: list[alt.Chart], hover: alt.Chart) -> Row:
    stages = stage_rules([(stage.name, stage.start_s) for stage in series.stages], series.end_s)
    return over_time_spec([*stages, *layers], hover, series.end_s, series.load_s, _HEIGHT)


def _bins(at_s: list[float], width_s: float, **columns: list[float] | list[float | None] | list[int]) -> list[Row]:
    """One row a bin, from `s` to `s2`; a column that is empty is left out."""
    known = {name: values for name, values in columns.items() if values}
    return [
        {"s": s, "s2": s + width_s, **{name: values[i] for name, values in known.items()}} for i, s in enumerate(at_s)
    ]


def _load(summary: Summary, series: Series) -> Chart:
    rates = series.rates
    rows = _bins(
        rates.at_s,
        rates.bin_s,
        offered=rates.offered,
        sent=rates.sent,
        completed=rates.completed,
        failed=rates.failed,
    )
    drawn = {"sent": ("sent", INK), "completed": ("completed", ACCENT)}
    layers = [
        line(rows, "sent", INK, _rate_y("sent"), step=True, width=1.0),
        line(rows, "completed", ACCENT, _rate_y("completed"), step=True, width=1.8),
    ]
    if rates.offered:
        drawn = {"offered": ("offered", PALE)} | drawn
        layers.insert(0, _blocks(rows, "offered", PALE, 0.55))
    if any(rates.failed):
        drawn["failed"] = ("ended otherwise", BAD)
        layers.append(_blocks(rows, "failed", BAD, 1.0))
    hover = hover_bins(rows, {name: f"{label}, /s" for name, (label, _) in drawn.items()}, ",.2f")
    arrivals = summary.arrivals
    return Chart(
        name="load",
        title="Load and throughput",
        unit=f"jobs per second, in bins of {span(rates.bin_s)}",
        words=(
            f"Over {span(series.load_s)}, {rate(arrivals.offered_per_s)} were offered, "
            f"{rate(arrivals.achieved_per_s)} sent and {rate(series.throughput_per_s)} completed."
        ),
        keys=[
            Key(label, colour, "box" if name in ("offered", "failed") else "line")
            for name, (label, colour) in drawn.items()
        ],
        spec=_spec(series, layers, hover),
        over_time=True,
    )


def _blocks(rows: list[Row], field: str, colour: str, opacity: float) -> alt.Chart:
    blocks = rows_chart(rows).mark_rect(fill=colour, opacity=opacity, clip=True)
    chart: alt.Chart = blocks.encode(x=time_x(), x2="s2:Q", y=_rate_y(field), y2=alt.datum(0))
    return chart


def _rate_y(field: str) -> alt.Y:
    return alt.Y(f"{field}:Q", title=None, axis=alt.Axis(tickCount=5, format="~s", tickMinStep=0.1))


def _latency(summary: Summary, series: Series, quantity: str, title: str) -> Chart:
    latencies = series.latencies
    lines: OverTime = getattr(latencies, quantity)
    points = [
        {"s": s, "ms": max(1.0, ms)}
        for s, ms in zip(series.points.at_s, getattr(series.points, quantity), strict=True)
    ]
    drawn = {"p50": (lines.p50, ACCENT), "p95": (lines.p95, INK), "p99": (lines.p99, GREY)}
    drawn = {name: pair for name, pair in drawn.items() if any(value is not None for value in pair[0])}
    columns = {name: [None if v is None else max(1.0, v) for v in values] for name, (values, _) in drawn.items()}
    rows = _bins(latencies.at_s, latencies.bin_s, jobs=latencies.jobs, **columns)
    middle = [row | {"s": row["s"] + latencies.bin_s / 2} for row in rows]
    values = [v for column in columns.values() for v in column if v is not None] + [point["ms"] for point in points]
    domain = log_domain(values)
    dots = rows_chart(points).mark_circle(size=9 if len(points) > 200 else 24, color=GREY, opacity=0.5, clip=True)
    layers = [dots.encode(x=time_x(), y=log_ms_y("ms", domain))]
    layers += [line(middle, name, colour, log_ms_y(name, domain)) for name, (_, colour) in reversed(drawn.items())]
    hover = hover_bins(rows, {"jobs": "jobs"} | {name: f"{name}, ms" for name in drawn}, ",.0f")
    return Chart(
        name=quantity.removesuffix("_ms").replace("_", "-") + "-over-time",
        title=title,
        unit=f"of completed jobs by intended start, in bins of {span(latencies.bin_s)}; a dot is one job",
        words=_flow_words(summary, quantity, title),
        keys=[Key(name, colour) for name, (_, colour) in drawn.items()] + [Key("one job", GREY, "dot")],
        spec=_spec(series, layers, hover),
        over_time=True,
    )


def _flow_words(summary: Summary, quantity: str, title: str) -> str:
    told = []
    for flow, each in summary.flows.items():
        q = getattr(each, quantity)
        told.append(f"{flow} p50 {milliseconds(q.p50)}, p95 {milliseconds(q.p95)}, at most {milliseconds(q.max)}")
    return f"{title} over the whole run: {'; '.join(told)}."


def _where_time_goes(series: Series) -> Chart:
    latencies = series.latencies
    bins = _bins(latencies.at_s, latencies.bin_s, **latencies.mean)
    axis = alt.Axis(tickCount=5, labelExpr="format(datum.value / 1000, '~r') + ' s'")
    hover = hover_bins(bins, {part: f"{label}, ms" for part, (label, _) in _PARTS.items()}, ",.1f")
    return Chart(
        name="where-time-goes",
        title="Where the time goes",
        unit=f"mean end-to-end time of completed jobs by intended start, in bins of {span(latencies.bin_s)}",
        words="The mean end-to-end time over the run, split into send lag, delay, execution and overhead.",
        keys=[Key(label, colour, "box") for label, colour in _PARTS.values()],
        spec=_spec(series, [_stack(bins, _PARTS, axis)], hover),
        over_time=True,
    )


def _stack(bins: list[Row], parts: dict[str, tuple[str, str]], axis: alt.Axis) -> alt.Chart:
    """In each bin its parts one upon the other; `parts` are the bins' fields with label and colour."""
    rows = []
    for row in bins:
        high = 0.0
        for part, (label, _) in parts.items():
            low, high = high, high + (row[part] or 0)
            rows.append({"s": row["s"], "s2": row["s2"], "part": label, "low": low, "high": high})
    labels, colours = zip(*parts.values(), strict=True)
    stack: alt.Chart = (
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
    return stack


def _in_flight(series: Series) -> Chart:
    rates = series.rates
    rows = _bins(rates.at_s, rates.bin_s, in_flight=rates.in_flight)
    keys = [Key("in flight, as the client counts", ACCENT)]
    y = alt.Y("in_flight:Q", title=None, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5, tickMinStep=1))
    layers = [line(rows, "in_flight", ACCENT, y, step=True, width=1.8)]
    if series.health is not None:
        told = series.health
        asked = [{"s": s, "queue": n} for s, n in zip(told.at_s, told.in_queue, strict=True)]
        y = alt.Y("queue:Q", title=None, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5, tickMinStep=1))
        layers.append(line(asked, "queue", INK, y, step=True, width=1.2))
        keys.append(Key("in the queue, as the endpoint says", INK))
    return Chart(
        name="in-flight",
        title="Jobs in flight",
        unit="jobs sent and not yet ended",
        words=f"At most {max(rates.in_flight, default=0)} jobs were in flight at the end of a bin.",
        keys=keys,
        spec=_spec(series, layers, hover_bins(rows, {"in_flight": "in flight"}, ",.0f")),
        over_time=True,
    )


def _requests(summary: Summary, series: Series) -> Chart:
    rates = series.rates
    # Field names with a dash would be read as a subtraction.
    fields = {name: f"op{i}" for i, name in enumerate(rates.requests)}
    rows = _bins(rates.at_s, rates.bin_s, **{fields[name]: values for name, values in rates.requests.items()})
    colours = {name: _OPERATION_COLOURS.get(name, PALE) for name in fields}
    layers = [line(rows, field, colours[name], _rate_y(field), step=True) for name, field in fields.items()]
    hover = hover_bins(rows, {field: f"{name}, /s" for name, field in fields.items()}, ",.1f")
    told = ", ".join(f"{each.requests} of {name}" for name, each in summary.operations.items())
    return Chart(
        name="requests",
        title="Requests",
        unit=f"answered per second by operation, in bins of {span(rates.bin_s)}",
        words=f"Requests sent in the whole run: {told}.",
        keys=[Key(name, colour) for name, colour in colours.items()],
        spec=_spec(series, layers, hover),
        over_time=True,
    )


def _workers(series: Series) -> Chart:
    health = series.health
    assert health is not None
    ends_s = [*health.at_s[1:], series.end_s]
    rows: list[Row] = [
        {"s": s, "s2": end_s, "running": running, "idle": idle, "initializing": initializing}
        for s, end_s, running, idle, initializing in zip(
            health.at_s, ends_s, health.running, health.idle, health.initializing, strict=True
        )
    ]
    states = {"running": ("running", ACCENT), "idle": ("idle", PALE), "initializing": ("initializing", INK)}
    hover = hover_bins(rows, {name: name for name in states}, ",.0f")
    stack = _stack(rows, states, alt.Axis(tickCount=4, tickMinStep=1))
    return Chart(
        name="workers",
        title="Workers",
        unit="as the endpoint's health operation counts them",
        words=f"At most {max(health.running)} workers were running at once, as the endpoint counts them.",
        keys=[Key(label, colour, "box") for label, colour in states.values()],
        spec=_spec(series, [stack], hover),
        over_time=True,
    )
