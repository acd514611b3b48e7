"""The charts of tokens: when they came, how many at once, and how long requests and answers were."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import altair as alt

from loadtest.analyze.series import Series
from loadtest.analyze.summary import Summary
from loadtest.analyze.token_series import TokenTimes
from loadtest.report.charts.base import (
    ACCENT,
    FLOW_COLOURS,
    Chart,
    LegendEntry,
    Row,
    data_table,
    log_ticks,
    rows_chart,
    styled_spec,
)
from loadtest.report.charts.load_and_latency import TimesOverTime, percentiles_text, times_chart
from loadtest.report.charts.timeline import Bins, bin_rows, filled_bins, timeline_of
from loadtest.report.formatting import duration, significant

_HEIGHT = 170
_MIN_TICKS = 3
_LENGTHS = {"input_tokens": "Input tokens", "output_tokens": "Output tokens"}
_SECONDS = alt.Axis(grid=True, tickCount=5, labelExpr="format(datum.value / 1000, '~r') + ' s'")


def ttft_chart(summary: Summary, series: Series) -> Chart | None:
    """Return the time to first token over the run; None if no streamed job has one, or none reports tokens."""
    tokens = series.tokens
    if tokens is None or tokens.ttft_ms is None:
        return None
    times = _over_time(tokens.at_s, tokens.bin_s, tokens.ttft_ms, {"n": "jobs"}, ",.0f")
    unit = f"of completed jobs by intended start, in bins of {duration(tokens.bin_s)}; a dot is one job"
    text = percentiles_text(summary, "ttft_ms")
    return times_chart(timeline_of(summary, series), times, ("Time to first token", unit, "ttft"), text)


def gap_chart(summary: Summary, series: Series) -> Chart | None:
    """Return the gaps between neighbouring arrivals of content over the run; None if the run has no such times."""
    tokens = series.tokens
    if tokens is None or tokens.gap_ms is None:
        return None
    unit = f"between arrivals of content, by the later one, in bins of {duration(tokens.bin_s)}"
    times = _over_time(tokens.at_s, tokens.bin_s, tokens.gap_ms, {}, ",.1f")
    text = f"{sum(tokens.gap_ms.counts):,} gaps between arrivals of content, over the run."
    head = ("Gaps between tokens", unit, "chunk-gap")
    return times_chart(timeline_of(summary, series), times, head, text)


def _over_time(
    at_s: list[float], bin_s: float, times: TokenTimes, titles: dict[str, str], form: str
) -> TimesOverTime:
    dots = list(zip(times.points_at_s, times.points_ms, strict=True))
    return TimesOverTime(at_s, bin_s, times.counts, titles, times.percentiles, dots, form)


def rate_chart(summary: Summary, series: Series) -> Chart | None:
    """Return the output tokens per second over the run; None if no job reports output tokens."""
    tokens, rates = series.tokens, series.rates
    if tokens is None or not any(tokens.output_per_s):
        return None
    rows = bin_rows(rates.at_s, rates.bin_s, output=tokens.output_per_s, in_flight=rates.in_flight)
    bins = Bins(rows, {"output": "output tokens, /s", "in_flight": "jobs in flight"}, ",.0f")
    return Chart(
        name="tokens-over-time",
        title="Output tokens per second",
        unit=f"of completed jobs, when the content came, in bins of {duration(rates.bin_s)}",
        alt_text=f"At most {significant(max(tokens.output_per_s))} output tokens per second in a bin.",
        keys=[LegendEntry("output tokens", ACCENT, "box")],
        spec=timeline_of(summary, series).spec([filled_bins(rows, "output", ACCENT, 0.75)], bins),
        term="tokens",
        table=bins.table(),
    )


def rate_by_jobs_chart(_: Summary, series: Series) -> Chart | None:
    """Return the output tokens per second by the jobs in flight, a dot per bin of the load; None without tokens."""
    tokens, rates = series.tokens, series.rates
    if tokens is None or not any(tokens.output_per_s):
        return None
    bins = zip(rates.at_s, rates.in_flight, tokens.output_per_s, strict=True)
    rows: list[Row] = [{"jobs": jobs, "tokens": per_s} for s, jobs, per_s in bins if s + rates.bin_s <= series.load_s]
    if not rows:
        return None
    tips = [alt.Tooltip("jobs:Q", title="in flight"), alt.Tooltip("tokens:Q", title="tokens/s", format=",.0f")]
    most = max(rows, key=lambda row: float(row["tokens"]))
    return Chart(
        name="tokens-by-jobs",
        title="Tokens per second with jobs in flight",
        unit=f"a dot is a bin of {duration(rates.bin_s)} of the load",
        alt_text=f"At most {significant(most['tokens'])} output tokens/s, with {most['jobs']} jobs in flight.",
        keys=[LegendEntry("output tokens per second", ACCENT, "dot")],
        spec=styled_spec([_dots(rows, "jobs", "tokens", ACCENT, tips, alt.Axis(tickCount=5, format="~s"))], _HEIGHT),
        term="in-flight",
        table=data_table(rows, {"jobs": ("jobs in flight", ",d"), "tokens": ("output tokens/s", ",.1f")}),
    )


def answers_chart(_: Summary, series: Series) -> Chart | None:
    """Return the end-to-end time by the length of the answer, a dot per job; None if no job reports output tokens."""
    tokens = series.tokens
    if tokens is None or not tokens.answers:
        return None
    layers, table_rows = [], []
    tips = [
        alt.Tooltip("tokens:Q", title="output tokens"),
        alt.Tooltip("ms:Q", title="end-to-end, ms", format=",.0f"),
    ]
    for flow, each in tokens.answers.items():
        pairs = zip(each.output_tokens, each.end_to_end_ms, strict=True)
        rows: list[Row] = [{"of": flow, "tokens": length, "ms": ms} for length, ms in pairs]
        layers.append(_dots(rows, "tokens", "ms", FLOW_COLOURS[flow], tips, _SECONDS))
        table_rows += rows
    longest = max(row["tokens"] for row in table_rows)
    columns = {"of": ("flow", ""), "tokens": ("output tokens", ",.0f"), "ms": ("end-to-end, ms", ",.1f")}
    return Chart(
        name="latency-by-length",
        title="End-to-end time by length",
        unit="by output tokens; a dot is one completed job",
        alt_text=f"End-to-end time of completed jobs by their output tokens, of which the most are {longest:,.0f}.",
        keys=[LegendEntry(flow, FLOW_COLOURS[flow], "dot") for flow in tokens.answers],
        spec=styled_spec(layers, _HEIGHT),
        term="end-to-end",
        table=data_table(table_rows, columns),
    )


def _dots(rows: list[Row], x: str, y: str, colour: str, tips: list[alt.Tooltip], axis: alt.Axis) -> alt.Chart:
    marks = rows_chart(rows).mark_circle(size=14 if len(rows) > 200 else 24, fill=colour, opacity=0.6)
    across = alt.X(f"{x}:Q", title=None, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5, format="~s"))
    chart: alt.Chart = marks.encode(x=across, y=alt.Y(f"{y}:Q", title=None, axis=axis), tooltip=tips)
    return chart


def lengths_chart(_: Summary, series: Series, quantity: str) -> Chart | None:
    """Return the histogram of lengths in tokens, on a logarithmic axis; None if no job reports them."""
    by_flow = {} if series.tokens is None else getattr(series.tokens, quantity)
    if not by_flow:
        return None
    edges = [edge for each in by_flow.values() for edge in each.edges_ms]
    x = _log_tokens((min(edges) / 1.02, max(edges) * 1.02))
    layers, table_rows = [], []
    for flow, each in by_flow.items():
        bars = zip(pairwise(each.edges_ms), each.counts, strict=True)
        rows: list[Row] = [{"of": flow, "from": low, "to": high, "jobs": n} for (low, high), n in bars if n]
        mark = rows_chart(rows).mark_rect(
            fill=FLOW_COLOURS[flow], opacity=0.75, stroke="var(--paper)", strokeWidth=0.5
        )
        tips = [alt.Tooltip("from:Q"), alt.Tooltip("to:Q"), alt.Tooltip("jobs:Q")]
        y = alt.Y("jobs:Q", title=None, axis=alt.Axis(tickCount=4, tickMinStep=1))
        layers.append(mark.encode(x=alt.X("from:Q", **x), x2=alt.X2("to:Q"), y=y, y2=alt.datum(0), tooltip=tips))
        table_rows += rows
    ranges = (f"{flow} from {each.edges_ms[0]:,.0f} to {each.edges_ms[-1]:,.0f}" for flow, each in by_flow.items())
    title = _LENGTHS[quantity]
    columns = {"of": ("flow", ""), "from": ("from", ",.0f"), "to": ("to", ",.0f"), "jobs": ("jobs", ",d")}
    return Chart(
        name=f"{quantity.replace('_', '-')}-histogram",
        title=title,
        unit="jobs per bar, length on a logarithmic axis",
        alt_text=f"{title} of completed jobs: {'; '.join(ranges)}.",
        keys=[LegendEntry(f"{flow}, n = {each.n:,}", FLOW_COLOURS[flow], "box") for flow, each in by_flow.items()],
        spec=styled_spec(layers, _HEIGHT),
        term="tokens",
        table=data_table(table_rows, columns),
    )


def _log_tokens(domain: tuple[float, float]) -> dict[str, Any]:
    ticks = log_ticks(domain)
    if len(ticks) < _MIN_TICKS:
        step = (domain[1] / domain[0]) ** (1 / (_MIN_TICKS + 1))
        ticks = [float(f"{domain[0] * step**number:.2g}") for number in range(1, _MIN_TICKS + 1)]
    axis = alt.Axis(values=ticks, format="~s", labelOverlap="greedy", labelSeparation=6)
    return {"title": None, "scale": alt.Scale(type="log", domain=list(domain), nice=False), "axis": axis}
