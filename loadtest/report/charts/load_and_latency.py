"""The charts of load and times over the time of a run."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt

from loadtest.analyze.series import Series
from loadtest.analyze.stats.bins import BinnedPercentiles
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
    log_domain,
    log_ms_y,
    rows_chart,
)
from loadtest.report.charts.timeline import (
    Bins,
    LineStyle,
    Timeline,
    bin_rows,
    count_y,
    filled_bins,
    line,
    rate_y,
    stacked_bars,
    time_x,
    timeline_of,
)
from loadtest.report.formatting import duration, milliseconds, rate
from loadtest.report.summary_text import QUANTITIES

_PARTS = {
    "send_lag": ("send lag", BAD),
    "delay": ("delay", ACCENT),
    "execution": ("execution", INK),
    "overhead": ("overhead", GREY),
}


def load_chart(summary: Summary, series: Series) -> Chart:
    """Return the rates at which jobs were offered, sent and ended."""
    rates, arrivals, timeline = series.rates, summary.arrivals, timeline_of(summary, series)
    columns = {name: getattr(rates, name) for name in ("offered", "sent", "completed", "failed")}
    rows = bin_rows(rates.at_s, rates.bin_s, **columns)
    keys = {"sent": LegendEntry("sent", INK), "completed": LegendEntry("completed", ACCENT)}
    layers = [
        line(rows, rate_y("sent"), LineStyle(INK, 1.0, step=True)),
        line(rows, rate_y("completed"), LineStyle(ACCENT, 1.8, step=True)),
    ]
    if rates.offered:
        keys = {"offered": LegendEntry("offered", PALE, "box")} | keys
        layers.insert(0, filled_bins(rows, "offered", PALE, 0.55))
    if any(rates.failed):
        keys["failed"] = LegendEntry("ended otherwise", BAD, "box")
        layers.append(filled_bins(rows, "failed", BAD, 1.0))
    steady = [] if timeline.steady_s is None else [LegendEntry("steady window", STEADY, "box")]
    bins = Bins(rows, {name: f"{key.label}, /s" for name, key in keys.items()}, ",.2f")
    return Chart(
        name="load",
        title="Load and throughput",
        unit=f"jobs per second, in bins of {duration(rates.bin_s)}",
        alt_text=f"Over {duration(series.load_s)}, {rate(arrivals.offered_per_s)} were offered, "
        f"{rate(arrivals.achieved_per_s)} sent and {rate(series.throughput_per_s)} completed.",
        keys=[*keys.values(), *steady],
        spec=timeline.spec(layers, bins),
        term="throughput",
        table=bins.table(),
    )


def users_chart(summary: Summary, series: Series) -> Chart | None:
    """Return the users of a closed load: wanted, at work and held back; None if the load is open."""
    users = series.users
    if users is None:
        return None
    columns = {"wanted": users.wanted, "at_work": users.at_work, "held_back": users.held_back}
    rows = bin_rows(users.at_s, users.bin_s, **columns)
    keys = {
        "wanted": LegendEntry("wanted", PALE, "box"),
        "at_work": LegendEntry("at work", ACCENT),
        "held_back": LegendEntry("held back", BAD),
    }
    layers = [
        filled_bins(rows, "wanted", PALE, 0.55),
        line(rows, count_y("at_work"), LineStyle(ACCENT, 1.8, step=True)),
        line(rows, count_y("held_back"), LineStyle(BAD, 1.2, step=True)),
    ]
    bins = Bins(rows, {name: key.label for name, key in keys.items()}, ",.1f")
    stages = "; ".join(
        f"{name}: {part.wanted:.3g} wanted, {part.at_work:.3g} at work" for name, part in summary.users.items()
    )
    return Chart(
        name="users",
        title="Users",
        unit=f"of the closed load, on average over bins of {duration(users.bin_s)}",
        alt_text=f"Users on average: {stages}.",
        keys=list(keys.values()),
        spec=timeline_of(summary, series).spec(layers, bins),
        term="users",
        table=bins.table(),
    )


def latency_chart(summary: Summary, series: Series, quantity: str) -> Chart | None:
    """Return the percentiles of a time in each bin, over dots for single jobs; None if no completed job has it."""
    latencies, points = series.latencies, series.points
    title, term = QUANTITIES[quantity]
    lines: BinnedPercentiles = getattr(latencies, quantity)
    dots = [(s, ms) for s, ms in zip(points.at_s, getattr(points, quantity), strict=True) if ms is not None]
    if not dots and all(value is None for value in lines.p50):
        return None
    drawn = TimesOverTime(latencies.at_s, latencies.bin_s, latencies.jobs, {"n": "jobs"}, lines, dots)
    unit = f"of completed jobs by intended start, in bins of {duration(latencies.bin_s)}; a dot is one job"
    return times_chart(timeline_of(summary, series), drawn, (title, unit, term), percentiles_text(summary, quantity))


@dataclass(frozen=True)
class TimesOverTime:
    """Percentiles of a time per bin, over how many (with their title, if it is shown), and single ones at moments."""

    at_s: list[float]
    bin_s: float
    counts: list[int]
    titles: dict[str, str]
    lines: BinnedPercentiles
    dots: list[tuple[float, float]]
    form: str = ",.0f"


def times_chart(timeline: Timeline, times: TimesOverTime, head: tuple[str, str, str], alt_text: str) -> Chart:
    """Return the lines of percentiles over the dots of single jobs; `head` is title, unit and glossary entry."""
    title, unit, term = head
    lines = times.lines
    dots = [{"s": s, "ms": max(1.0, ms)} for s, ms in times.dots]
    drawn = {"p50": (lines.p50, ACCENT), "p95": (lines.p95, INK), "p99": (lines.p99, GREY)}
    drawn = {name: pair for name, pair in drawn.items() if any(value is not None for value in pair[0])}
    columns = {name: values for name, (values, _) in drawn.items()}
    rows = bin_rows(times.at_s, times.bin_s, n=times.counts, **columns)
    # A time under 1 ms is drawn at 1 ms; its figure stays exact.
    middle = [{"s": row["s"] + times.bin_s / 2, **{name: _drawn_ms(row[name]) for name in drawn}} for row in rows]
    values = [row[name] for row in middle for name in drawn if row[name] is not None]
    domain = log_domain(values + [dot["ms"] for dot in dots])
    layers = []
    if dots:
        marks = rows_chart(dots).mark_circle(size=9 if len(dots) > 200 else 24, color=GREY, opacity=0.5, clip=True)
        layers = [marks.encode(x=time_x(), y=log_ms_y("ms", domain))]
    layers += [
        line(middle, log_ms_y(name, domain), LineStyle(colour)) for name, (_, colour) in reversed(drawn.items())
    ]
    bins = Bins(rows, times.titles | {name: f"{name}, ms" for name in drawn}, times.form)
    return Chart(
        name=f"{term}-over-time",
        title=title,
        unit=unit,
        alt_text=alt_text,
        keys=[LegendEntry(name, colour) for name, (_, colour) in drawn.items()]
        + ([LegendEntry("one job", GREY, "dot")] if dots else []),
        spec=timeline.spec(layers, bins),
        term=term,
        table=bins.table(),
    )


def _drawn_ms(value_ms: float | None) -> float | None:
    return None if value_ms is None else max(1.0, value_ms)


def percentiles_text(summary: Summary, quantity: str) -> str:
    """Return the percentiles of a time over the whole run, by flow."""
    title = QUANTITIES[quantity][0]
    text = []
    for flow, each in summary.flows.items():
        q = getattr(each, quantity)
        text.append(f"{flow} p50 {milliseconds(q.p50)}, p95 {milliseconds(q.p95)}, at most {milliseconds(q.max)}")
    return f"{title} over the whole run: {'; '.join(text)}."


def parts_chart(summary: Summary, series: Series) -> Chart | None:
    """Return the mean end-to-end time in each bin, split into its parts; None if no completed job has them all."""
    latencies = series.latencies
    if all(value is None for values in latencies.mean.values() for value in values):
        return None
    rows = bin_rows(latencies.at_s, latencies.bin_s, **latencies.mean)
    axis = alt.Axis(tickCount=5, labelExpr="format(datum.value / 1000, '~r') + ' s'")
    bins = Bins(rows, {part: f"{label}, ms" for part, (label, _) in _PARTS.items()}, ",.1f")
    return Chart(
        name="where-time-goes",
        title="Where the time goes",
        unit=f"mean end-to-end time of completed jobs by intended start, in bins of {duration(latencies.bin_s)}",
        alt_text="The mean end-to-end time over the run, split into send lag, delay, execution and overhead.",
        keys=[LegendEntry(label, colour, "box") for label, colour in _PARTS.values()],
        spec=timeline_of(summary, series).spec([stacked_bars(rows, _PARTS, axis)], bins),
        term="overhead",
        table=bins.table(),
    )
