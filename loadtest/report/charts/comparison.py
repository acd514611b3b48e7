"""The charts of several runs over each other, each run in its colour, from the start of its load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

import altair as alt

from loadtest.analyze.series import Series
from loadtest.analyze.stats.time_bins import BinnedPercentiles
from loadtest.analyze.summary import Summary
from loadtest.report.charts.base import (
    PALE,
    Chart,
    LegendEntry,
    Row,
    hover_bins,
    line,
    log_domain,
    log_ms_y,
    over_time_spec,
    stage_rules,
)
from loadtest.report.charts.distributions import TITLES, Curve, percentile_chart
from loadtest.report.comparison import ComparedRun, Comparison
from loadtest.report.formatting import duration, milliseconds, rate

_HEIGHT = 200
_DASHED = (4, 3)
_NAMES = {"delay_ms": "delay", "execution_ms": "execution", "end_to_end_ms": "end-to-end"}


def overlaid_over_time(comparison: Comparison) -> list[Chart]:
    """Throughput beside what was offered, p50 and p95 of each quantity, jobs in flight; none without any job."""
    if not any(each.series.outcomes for each in comparison.runs):
        return []
    charts = [_throughput(comparison)]
    charts += [chart for quantity in TITLES if (chart := _latency(comparison, quantity)) is not None]
    return [*charts, _in_flight(comparison)]


def overlaid_percentiles(comparison: Comparison) -> list[Chart]:
    """A percentile chart for each quantity and flow of which any run supports a percentile."""
    flows = dict.fromkeys(flow for each in comparison.runs for flow in each.summary.flows)
    several = len(flows) > 1
    charts = []
    for flow in flows:
        for quantity, title in TITLES.items():
            curves = [
                Curve(each.label, colour, known)
                for each, colour in comparison.with_colours()
                if (known := each.series.distributions[quantity].get(flow)) is not None and known.value_ms
            ]
            if curves:
                named = f"{title} · {flow}" if several else title
                charts.append(percentile_chart(f"{_NAMES[quantity]}-{flow}", named, curves))
    return charts


def _spec(comparison: Comparison, layers: Sequence[alt.Chart], under_pointer: alt.Chart) -> Row:
    """Layers over the longest run's time; stages are told where all runs have the same ones."""
    all_series = [each.series for each in comparison.runs]
    end_s = max(each.end_s for each in all_series)
    alike = all(each.stages == all_series[0].stages for each in all_series)
    stages = [(stage.name, stage.start_s) for stage in all_series[0].stages] if alike else []
    load_s = max(each.load_s for each in all_series)
    return over_time_spec([*stage_rules(stages, end_s), *layers], under_pointer, end_s, load_s, _HEIGHT)


def _rows(at_s: Sequence[float], width_s: float, values: Sequence[float | None] | Sequence[int]) -> list[Row]:
    return [{"s": s, "s2": s + width_s, "y": value} for s, value in zip(at_s, values, strict=True)]


def _under_pointer(drawn: Sequence[tuple[str, Sequence[Row]]], unit: str, form: str) -> alt.Chart:
    """A bin as wide as the finest run's, with what each run has at its middle."""
    width_s = min(row["s2"] - row["s"] for _, rows in drawn for row in rows)
    end_s = max(row["s2"] for _, rows in drawn for row in rows)
    bins: list[Row] = [{"s": n * width_s, "s2": (n + 1) * width_s} for n in range(ceil(end_s / width_s))]
    for run, (_, rows) in enumerate(drawn):
        own_width_s = rows[0]["s2"] - rows[0]["s"]
        for each in bins:
            place = int((each["s"] + width_s / 2) // own_width_s)
            if place < len(rows):
                each[f"run{run}"] = rows[place]["y"]
    titles = {f"run{run}": f"{label}, {unit}" if unit else label for run, (label, _) in enumerate(drawn)}
    return hover_bins(bins, titles, form)


def _keys(comparison: Comparison) -> list[LegendEntry]:
    return [LegendEntry(each.label, colour) for each, colour in comparison.with_colours()]


def _width(comparison: Comparison, first: bool) -> float:
    """The baseline's line is a little heavier; with many runs all are finer."""
    return (2.2 if first else 1.6) if len(comparison.runs) <= 4 else (1.8 if first else 1.2)


def _per_run_text(comparison: Comparison, text: Callable[[Summary, Series], str]) -> str:
    return "; ".join(f"{each.label} {text(each.summary, each.series)}" for each in comparison.runs)


def _counts_y() -> alt.Y:
    return alt.Y("y:Q", title=None, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5))


def _throughput(comparison: Comparison) -> Chart:
    layers, keys, drawn = [], _keys(comparison), []
    offered = [each.series.rates.offered for each in comparison.runs]
    one_offer = all(each == offered[0] for each in offered)
    for number, (each, colour) in enumerate(comparison.with_colours()):
        rates = each.series.rates
        if rates.offered and (number == 0 or not one_offer):
            due = _rows(rates.at_s, rates.bin_s, [*rates.offered, *[0.0] * (len(rates.at_s) - len(rates.offered))])
            layers.append(line(due, "y", PALE if one_offer else colour, _counts_y(), step=True, dash=_DASHED))
        rows = _rows(rates.at_s, rates.bin_s, rates.completed)
        layers.append(line(rows, "y", colour, _counts_y(), step=True, width=_width(comparison, number == 0)))
        drawn.append((each.label, rows))
    if any(offered):
        keys.append(LegendEntry("offered", PALE) if one_offer else LegendEntry("offered: dashed", PALE))
    text = _per_run_text(
        comparison,
        lambda summary, series: (
            f"{rate(series.throughput_per_s)} of {rate(summary.arrivals.offered_per_s)} that were offered"
        ),
    )
    return Chart(
        name="throughput",
        title="Throughput",
        unit=f"jobs completed per second, in bins of {_bins(comparison, lambda series: series.rates.bin_s)}",
        alt_text=f"Jobs completed per second while load was offered: {text}.",
        keys=keys,
        spec=_spec(comparison, layers, _under_pointer(drawn, "/s", ",.1f")),
        over_time=True,
    )


def _bins(comparison: Comparison, width_s: Callable[[Series], float]) -> str:
    """The widths of the runs' bins, the same one said once."""
    return ", ".join(dict.fromkeys(duration(width_s(each.series)) for each in comparison.runs))


def _latency(comparison: Comparison, quantity: str) -> Chart | None:
    """Both percentiles of every run; None where no bin of any run has the jobs for one."""
    drawn: list[tuple[ComparedRun, str, str, list[Row]]] = []
    for each, colour in comparison.with_colours():
        latencies = each.series.latencies
        lines: BinnedPercentiles = getattr(latencies, quantity)
        for name, values in (("p50", lines.p50), ("p95", lines.p95)):
            floored = [None if value is None else max(1.0, value) for value in values]
            if any(value is not None for value in values):
                drawn.append((each, colour, name, _rows(latencies.at_s, latencies.bin_s, floored)))
    if not drawn:
        return None
    y = log_ms_y("y", log_domain([row["y"] for *_, rows in drawn for row in rows if row["y"] is not None]))
    text = _per_run_text(comparison, lambda summary, _: _flows(summary, quantity))
    under = _under_pointer([(f"{each.label} {name}", rows) for each, _, name, rows in drawn], "ms", ",.0f")
    layers = []
    for each, colour, name, rows in drawn:
        middle = [row | {"s": (row["s"] + row["s2"]) / 2} for row in rows]
        width = _width(comparison, each is comparison.first)
        layers.append(line(middle, "y", colour, y, width=width, dash=_DASHED if name == "p50" else ()))
    return Chart(
        name=f"{_NAMES[quantity]}-over-time",
        title=TITLES[quantity],
        unit=(
            f"p95 solid, p50 dashed; completed jobs of all flows by intended start, in bins of "
            f"{_bins(comparison, lambda series: series.latencies.bin_s)}"
        ),
        alt_text=f"{TITLES[quantity]} over the whole run: {text}.",
        keys=_keys(comparison),
        spec=_spec(comparison, layers, under),
        over_time=True,
    )


def _flows(summary: Summary, quantity: str) -> str:
    text = []
    for flow, each in summary.flows.items():
        q = getattr(each, quantity)
        text.append(f"{flow} p50 {milliseconds(q.p50)}, p95 {milliseconds(q.p95)}")
    return " and ".join(text)


def _in_flight(comparison: Comparison) -> Chart:
    layers, drawn = [], []
    for number, (each, colour) in enumerate(comparison.with_colours()):
        rates = each.series.rates
        rows = _rows(rates.at_s, rates.bin_s, rates.in_flight)
        layers.append(line(rows, "y", colour, _counts_y(), step=True, width=_width(comparison, number == 0)))
        drawn.append((each.label, rows))
    text = _per_run_text(comparison, lambda _, series: f"{max(series.rates.in_flight, default=0)}")
    return Chart(
        name="in-flight",
        title="Jobs in flight",
        unit="jobs sent and not yet ended, as the client counts",
        alt_text=f"The most jobs in flight at the end of a bin: {text}.",
        keys=_keys(comparison),
        spec=_spec(comparison, layers, _under_pointer(drawn, "", ",.0f")),
        over_time=True,
    )
