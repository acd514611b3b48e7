"""The charts of several runs over each other, each run in its colour, from the start of its load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

import altair as alt

from loadtest.analyze.series import Series
from loadtest.analyze.stats.bins import BinnedPercentiles
from loadtest.analyze.summary import Summary
from loadtest.report.charts.base import PALE, Chart, LegendEntry, Row, log_domain, log_ms_y
from loadtest.report.charts.distributions import Curve, curves_chart
from loadtest.report.charts.timeline import Bins, LineStyle, Timeline, bin_rows, line
from loadtest.report.comparison import ComparedRun, Comparison
from loadtest.report.formatting import duration, milliseconds, rate
from loadtest.report.summary_text import CHARTED, QUANTITIES

_HEIGHT = 200
_DASHED = (4, 3)


def overlaid_over_time(comparison: Comparison) -> list[Chart]:
    """Return throughput, each time and jobs in flight over time; nothing if no run has a job."""
    if not any(each.series.outcomes for each in comparison.runs):
        return []
    charts = [_throughput(comparison)]
    charts += [chart for quantity in CHARTED if (chart := _latency(comparison, quantity)) is not None]
    return [*charts, _in_flight(comparison)]


def overlaid_percentiles(comparison: Comparison) -> list[Chart]:
    """Return the percentile curves of each flow and time for which any run supports a percentile."""
    flows = dict.fromkeys(flow for each in comparison.runs for flow in each.summary.flows)
    charts = []
    for flow in flows:
        for quantity in CHARTED:
            title, term = QUANTITIES[quantity]
            curves = [
                Curve(each.label, colour, known)
                for each, colour in comparison.with_colours()
                if (known := each.series.distributions[quantity].get(flow)) is not None and known.value_ms
            ]
            if curves:
                charts.append(
                    curves_chart(f"{term}-{flow}", f"{title} · {flow}" if len(flows) > 1 else title, curves)
                )
    return charts


def _spec(comparison: Comparison, layers: Sequence[alt.Chart], bins: Bins) -> Row:
    """Return layers over the time of the longest run, with the stages if all runs have the same ones."""
    runs = [each.series for each in comparison.runs]
    stages = runs[0].stages if all(each.stages == runs[0].stages for each in runs) else []
    timeline = Timeline(max(each.load_s for each in runs), max(each.end_s for each in runs), stages)
    return timeline.spec(layers, bins, _HEIGHT)


def _common_bins(drawn: Sequence[tuple[str, Sequence[Row]]], unit: str, form: str) -> Bins:
    """Return bins as wide as the finest of the runs', each with every run's value at its middle."""
    width_s = min(row["s2"] - row["s"] for _, rows in drawn for row in rows)
    end_s = max(row["s2"] for _, rows in drawn for row in rows)
    bins: list[Row] = [{"s": n * width_s, "s2": (n + 1) * width_s} for n in range(ceil(end_s / width_s))]
    for run, (_, rows) in enumerate(drawn):
        own_width_s = rows[0]["s2"] - rows[0]["s"]
        for each in bins:
            index = int((each["s"] + width_s / 2) // own_width_s)
            if index < len(rows):
                each[f"run{run}"] = rows[index]["y"]
    titles = {f"run{run}": f"{label}, {unit}" if unit else label for run, (label, _) in enumerate(drawn)}
    return Bins(bins, titles, form)


def _keys(comparison: Comparison) -> list[LegendEntry]:
    return [LegendEntry(each.label, colour) for each, colour in comparison.with_colours()]


def _width(comparison: Comparison, run: ComparedRun) -> float:
    """Return the width of a run's line: the baseline's is a little heavier, and many runs have finer lines."""
    baseline, other = (2.2, 1.6) if len(comparison.runs) <= 4 else (1.8, 1.2)
    return baseline if run is comparison.first else other


def _per_run_text(comparison: Comparison, text: Callable[[Summary, Series], str]) -> str:
    return "; ".join(f"{each.label} {text(each.summary, each.series)}" for each in comparison.runs)


def _counts_y() -> alt.Y:
    return alt.Y("y:Q", title=None, scale=alt.Scale(zero=True, nice=5), axis=alt.Axis(tickCount=5))


def _steps(comparison: Comparison, field: str) -> tuple[list[alt.Chart], list[tuple[str, list[Row]]]]:
    """Return a step line of a rate or count for each run, and its label and rows."""
    layers, drawn = [], []
    for each, colour in comparison.with_colours():
        rates = each.series.rates
        rows = bin_rows(rates.at_s, rates.bin_s, y=getattr(rates, field))
        layers.append(line(rows, _counts_y(), LineStyle(colour, _width(comparison, each), step=True)))
        drawn.append((each.label, rows))
    return layers, drawn


def _throughput(comparison: Comparison) -> Chart:
    layers, drawn = _steps(comparison, "completed")
    keys = _keys(comparison)
    offered = [each.series.rates.offered for each in comparison.runs]
    same_offer = all(each == offered[0] for each in offered)
    dashed = []
    for each, colour in comparison.with_colours()[: 1 if same_offer else None]:
        rates = each.series.rates
        if rates.offered:
            due = [*rates.offered, *[0.0] * (len(rates.at_s) - len(rates.offered))]
            style = LineStyle(PALE if same_offer else colour, step=True, dash=_DASHED)
            dashed.append(line(bin_rows(rates.at_s, rates.bin_s, y=due), _counts_y(), style))
    if any(offered):
        keys.append(LegendEntry("offered" if same_offer else "offered: dashed", PALE))
    text = _per_run_text(
        comparison,
        lambda summary, series: f"{rate(series.throughput_per_s)} of {rate(summary.arrivals.offered_per_s)} offered",
    )
    return Chart(
        name="throughput",
        title="Throughput",
        unit=f"jobs completed per second, in bins of {_widths(comparison, lambda series: series.rates.bin_s)}",
        alt_text=f"Jobs completed per second while load was offered: {text}.",
        keys=keys,
        spec=_spec(comparison, [*dashed, *layers], _common_bins(drawn, "/s", ",.1f")),
    )


def _widths(comparison: Comparison, width_s: Callable[[Series], float]) -> str:
    """Return the different widths of the runs' bins."""
    return ", ".join(dict.fromkeys(duration(width_s(each.series)) for each in comparison.runs))


def _latency(comparison: Comparison, quantity: str) -> Chart | None:
    """Return p50 and p95 of every run; None if no bin of any run has enough jobs."""
    layers, drawn = [], []
    for each, colour in comparison.with_colours():
        latencies = each.series.latencies
        lines: BinnedPercentiles = getattr(latencies, quantity)
        width = _width(comparison, each)
        for name, values, dash in (("p50", lines.p50, _DASHED), ("p95", lines.p95, ())):
            floored = [None if value is None else max(1.0, value) for value in values]
            if any(value is not None for value in values):
                rows = bin_rows(latencies.at_s, latencies.bin_s, y=floored)
                drawn.append((f"{each.label} {name}", rows))
                layers.append((rows, LineStyle(colour, width, dash=dash)))
    if not drawn:
        return None
    y = log_ms_y("y", log_domain([row["y"] for _, rows in drawn for row in rows if row["y"] is not None]))
    lines_over_time = [
        line([row | {"s": (row["s"] + row["s2"]) / 2} for row in rows], y, style) for rows, style in layers
    ]
    title, term = QUANTITIES[quantity]
    return Chart(
        name=f"{term}-over-time",
        title=title,
        unit=(
            f"p95 solid, p50 dashed; completed jobs of all flows by intended start, in bins of "
            f"{_widths(comparison, lambda series: series.latencies.bin_s)}"
        ),
        alt_text=f"{title} over the whole run: "
        f"{_per_run_text(comparison, lambda summary, _: _percentiles_text(summary, quantity))}.",
        keys=_keys(comparison),
        spec=_spec(comparison, lines_over_time, _common_bins(drawn, "ms", ",.0f")),
    )


def _percentiles_text(summary: Summary, quantity: str) -> str:
    text = []
    for flow, each in summary.flows.items():
        q = getattr(each, quantity)
        text.append(f"{flow} p50 {milliseconds(q.p50)}, p95 {milliseconds(q.p95)}")
    return " and ".join(text)


def _in_flight(comparison: Comparison) -> Chart:
    layers, drawn = _steps(comparison, "in_flight")
    text = _per_run_text(comparison, lambda _, series: f"{max(series.rates.in_flight, default=0)}")
    return Chart(
        name="in-flight",
        title="Jobs in flight",
        unit="jobs sent and not yet ended, as the client counts",
        alt_text=f"The most jobs in flight at the end of a bin: {text}.",
        keys=_keys(comparison),
        spec=_spec(comparison, layers, _common_bins(drawn, "", ",.0f")),
    )
