"""Several runs as one table: a row per run, with its verdict and the figures of its summary."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from loadtest.analyze.summary import FlowSummary, Quantiles, Summary
from loadtest.errors import RunDirectoryError, UsageError
from loadtest.frames.columns import FIGURES, NUMBER, RUNS, Column
from loadtest.frames.convert import frame
from loadtest.frames.run import Run
from loadtest.record.directory import RunDirectory
from loadtest.scenario.flows import FLOWS


def read_many(runs: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Return one row per run, for a pattern like "reports/*", or for paths; in the order of their start.

    Paths that are not run directories are left out. Raises UsageError if none is one.
    """
    paths = _matching(Path(runs)) if isinstance(runs, str | Path) else [Path(path) for path in runs]
    found = [path for path in paths if RunDirectory(path).exists()]
    if not found:
        named = runs if isinstance(runs, str | Path) else ", ".join(map(str, paths))
        raise UsageError(f"{named}: no run directory; name the directories that hold a run.json")
    rows = [_row(path) for path in found]
    present = [flow for flow in FLOWS if any(f"{flow}_throughput_per_s" in row for row in rows)]
    columns = [*RUNS, *(Column(name, NUMBER, "") for flow in present for name in _flow_columns(flow))]
    table = frame(columns, {column.name: [row.get(column.name) for row in rows] for column in columns})
    return table.sort_values("started_at", kind="stable", ignore_index=True)


def _matching(pattern: Path) -> list[Path]:
    absolute = pattern.expanduser()
    return sorted(Path(absolute.anchor or ".").glob(str(absolute.relative_to(absolute.anchor))))


def _row(path: Path) -> dict[str, Any]:
    """Return the figures of one run; of one that cannot be read, why."""
    try:
        run = Run(path)
        summary = run.summary
    except RunDirectoryError as error:
        return {"path": str(path), "problem": str(error)}
    figures = {name: value for flow, each in summary.flows.items() for name, value in _flow_figures(flow, each)}
    return {"path": str(path)} | _run_figures(summary) | figures


def _run_figures(summary: Summary) -> dict[str, Any]:
    run = summary.run
    return {
        "id": run.id,
        "scenario": run.scenario,
        "target": run.target,
        "seed": run.seed,
        "started_at": run.started_at,
        "duration_s": run.duration_s,
        "verdict": str(summary.verdict),
        "reason": summary.reason,
        "valid": summary.validity.valid,
        "offered_per_s": summary.arrivals.offered_per_s,
        "achieved_per_s": summary.arrivals.achieved_per_s,
        "submitted": summary.jobs["submitted"],
        "completed": summary.jobs["completed"],
        "cost_per_1000_jobs": None if summary.cost is None else summary.cost.per_1000_jobs,
    }


def _flow_figures(flow: str, summary: FlowSummary) -> list[tuple[str, float | None]]:
    found: list[float | None] = [summary.throughput_per_s]
    for figure in FIGURES:
        times: Quantiles = getattr(summary, f"{figure}_ms")
        low, high = times.ci95.get("p95", (None, None))
        found += [times.p50, times.p95, low, high, times.p99]
    return list(zip(_flow_columns(flow), found, strict=True))


def _flow_columns(flow: str) -> list[str]:
    figures = ("p50_ms", "p95_ms", "p95_low_ms", "p95_high_ms", "p99_ms")
    return [f"{flow}_throughput_per_s", *(f"{flow}_{name}_{figure}" for name in FIGURES for figure in figures)]
