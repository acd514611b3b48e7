"""The figures of a report in the order of the page: chosen here, computed in `analyze`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadtest.analyze.series import Series
from loadtest.analyze.stats.quantiles import PER_MILLE, min_samples
from loadtest.analyze.summary import FlowSummary, Quantiles, Summary
from loadtest.report import formatting

PERCENTILES = ("p50", "p70", "p90", "p95", "p98", "p99", "p99_9")

QUANTITIES = {
    "end_to_end_ms": ("End-to-end", "end-to-end"),
    "response_ms": ("Response", "response"),
    "delay_ms": ("Delay", "delay"),
    "execution_ms": ("Execution", "execution"),
    "overhead_ms": ("Overhead", "overhead"),
    "lag_ms": ("Lag", "lag"),
    "submit_ms": ("Submission", "submission"),
    "first_chunk_ms": ("First chunk", "first-chunk"),
    "chunk_gap_ms": ("Chunk gap", "chunk-gap"),
}
"""The times of a job: title and glossary entry."""
CHARTED = ("delay_ms", "execution_ms", "end_to_end_ms")
"""The times with a chart."""
_IN_STEADY_TABLE = ("end_to_end_ms", "delay_ms", "execution_ms", "first_chunk_ms")
_KEY_PERCENTILES = ("p50", "p95", "p99")


@dataclass(frozen=True)
class Figure:
    """One figure: its label, its exact value, and its text."""

    label: str
    value: float | None
    text: str


@dataclass(frozen=True)
class Tile:
    """A key figure in large type with secondary figures; `term` is the glossary entry to which its title links."""

    title: str
    term: str
    main: Figure
    secondary: Sequence[Figure]


def tiles(summary: Summary, series: Series) -> list[Tile]:
    """Return the key figures; times are those of the flow with the most jobs."""
    offered, achieved = summary.arrivals.offered_per_s, summary.arrivals.achieved_per_s
    shown = [
        Tile(
            "Throughput",
            "throughput",
            _rate("completed", series.throughput_per_s),
            [_rate("offered", offered), _rate("sent", achieved)],
        ),
        Tile(
            "Completed jobs",
            "completed",
            _count("completed", summary.jobs["completed"]),
            [_count("submitted", summary.jobs["submitted"])],
        ),
    ]
    if summary.flows:
        name, flow = max(summary.flows.items(), key=lambda entry: entry[1].jobs)
        of = f" · {name}" if len(summary.flows) > 1 else ""
        for quantity in CHARTED:
            title, term = QUANTITIES[quantity]
            shown.append(_time_tile(f"{title} p50{of}", term, getattr(flow, quantity)))
    if summary.cost is not None:
        cost = summary.cost
        billed = Figure("execution", cost.billed_s, formatting.duration(cost.billed_s))
        per_1000 = Figure("per 1000 jobs", cost.per_1000_jobs, formatting.dollars(cost.per_1000_jobs))
        shown.append(Tile("Cost of 1000 jobs", "cost", per_1000, [billed]))
    return shown


def _rate(label: str, per_s: float) -> Figure:
    return Figure(label, per_s, formatting.rate(per_s))


def _count(label: str, n: int) -> Figure:
    return Figure(label, n, formatting.count(n))


def _ms(label: str, value_ms: float | None) -> Figure:
    return Figure(label, value_ms, formatting.milliseconds(value_ms))


def _time_tile(title: str, term: str, q: Quantiles) -> Tile:
    return Tile(title, term, _ms("p50", q.p50), [_supported_ms("p95", q), _supported_ms("p99", q)])


def _supported_ms(name: str, q: Quantiles) -> Figure:
    """Return a percentile, or the number of jobs it needs if there are too few."""
    value = getattr(q, name)
    return Figure(name, None, f"needs {_min_jobs(name)} jobs") if value is None and q.n else _ms(name, value)


def missing_percentiles(flows: Iterable[FlowSummary], names: Sequence[str]) -> str:
    """Return which of these percentiles some flow has too few jobs for, and how many they need; "" if none."""
    times = [q for flow in flows for q in (flow.delay_ms, flow.execution_ms, flow.end_to_end_ms) if q.n]
    missing = [name for name in names if any(getattr(q, name) is None for q in times)]
    return ", ".join(f"{name} needs {_min_jobs(name)} jobs" for name in missing)


def _min_jobs(name: str) -> str:
    return formatting.count(min_samples(PER_MILLE[name]))


def min_sample_sizes() -> str:
    """Return the number of jobs that each of the higher percentiles needs."""
    return ", ".join(f"{name.replace('_', '.')} {_min_jobs(name)}" for name in ("p90", "p95", "p98", "p99", "p99_9"))


@dataclass(frozen=True)
class Cell:
    """A percentile and its interval, if it has one."""

    figure: Figure
    interval: tuple[Figure, Figure] | None = None


@dataclass(frozen=True)
class QuantileRow:
    """The row of a quantity in a flow's table."""

    label: str
    term: str
    n: int
    cells: Sequence[Cell]


def quantile_rows(flow: FlowSummary) -> list[QuantileRow]:
    """Return a row for each of a flow's quantities that any job has."""
    return [
        quantile_row(label, term, q) for name, (label, term) in QUANTITIES.items() if (q := getattr(flow, name)).n
    ]


def quantile_row(label: str, term: str, q: Quantiles) -> QuantileRow:
    """Return the row of one quantity: mean, every percentile with its interval, maximum."""
    cells = [Cell(_ms("mean", q.mean))]
    for name in PERCENTILES:
        low_high = q.ci95.get(name)
        interval = (_ms("low", low_high[0]), _ms("high", low_high[1])) if low_high else None
        cells.append(Cell(_ms(name, getattr(q, name)), interval))
    return QuantileRow(label, term, q.n, [*cells, Cell(_ms("max", q.max))])


@dataclass(frozen=True)
class SteadyComparisonRow:
    """A quantity of the whole run and of the steady window: n and the key percentiles of each."""

    label: str
    term: str
    whole: Sequence[Figure]
    steady: Sequence[Figure]


def steady_comparison(whole: FlowSummary, steady: FlowSummary) -> list[SteadyComparisonRow]:
    """Return one flow's key percentiles over the whole run and in the steady window."""
    rows = []
    for name in _IN_STEADY_TABLE:
        label, term = QUANTITIES[name]
        if getattr(whole, name).n:
            both = [_key_figures(getattr(flow, name)) for flow in (whole, steady)]
            rows.append(SteadyComparisonRow(label, term, *both))
    return rows


def _key_figures(q: Quantiles) -> list[Figure]:
    return [_count("n", q.n), *(_ms(name, getattr(q, name)) for name in _KEY_PERCENTILES)]
