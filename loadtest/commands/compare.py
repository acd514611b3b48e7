"""`loadtest compare`: several runs compared with the first, on one page and in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from loadtest.analyze.compare.comparable_run import ComparableRun, comparable
from loadtest.analyze.compare.comparison import compare
from loadtest.analyze.compare.differences import differences
from loadtest.analyze.compare.margin import MIN_DIFFERENCE_MS
from loadtest.analyze.series import series
from loadtest.commands.gate import parse_differences, write_output
from loadtest.commands.read_run import read_run
from loadtest.commands.results import summarize_and_judge
from loadtest.errors import UsageError
from loadtest.gate.baseline import incomparable_reason, metrics_of
from loadtest.record.directory import run_directory
from loadtest.report.comparison import MAX_RUNS, ComparedRun, Comparison
from loadtest.report.pages.comparison import compare_html
from loadtest.report.terminal.comparison import print_comparison

PAGE = Path("compare.html")
"""The default path of the page, in the current directory: a comparison belongs to none of its runs."""


@dataclass(frozen=True)
class CompareRequest:
    """The options of `loadtest compare`."""

    runs: list[Path]
    out: Path = PAGE
    tolerance: str = "5 %"
    min_difference: str = "2ms"


def compare_runs(request: CompareRequest, console: Console) -> None:
    """Write the page and print the tables, whatever the result.

    Raises UsageError for too few or too many runs or a file that cannot be written, RunDirectoryError for a bad run.
    """
    if not 2 <= len(request.runs) <= MAX_RUNS:
        raise UsageError(f"{len(request.runs)} runs cannot be compared; name 2 to {MAX_RUNS}, the baseline first")
    comparison = comparison_of(request.runs, *parse_differences(request.tolerance, request.min_difference))
    write_output(request.out, compare_html(comparison).encode(), "--out")
    print_comparison(comparison, request.out, console)


def comparison_of(
    paths: Sequence[Path], tolerance: float, min_difference_ms: float = MIN_DIFFERENCE_MS
) -> Comparison:
    """Return the runs compared with the first; only one of them is in memory as a whole at a time."""
    runs: list[ComparedRun] = []
    baseline: ComparableRun | None = None
    for path, label in zip(paths, _labels(paths), strict=True):
        run, times = _read(path, label)
        if baseline is None:
            baseline = times
        else:
            metrics = metrics_of([baseline], times)
            compared = compare([baseline], times, metrics, tolerance, min_difference_ms)
            run = replace(run, compared=compared, no_verdict=_incomparable_reason(runs[0], run))
        runs.append(run)
    return Comparison(runs, differences([each.run for each in runs]), tolerance, min_difference_ms)


def _read(path: Path, label: str) -> tuple[ComparedRun, ComparableRun]:
    data = read_run(run_directory(path))
    summary = summarize_and_judge(data, data.scenario.gates)
    return ComparedRun(label, data.run, summary, series(data)), comparable(data)


def _labels(paths: Sequence[Path]) -> list[str]:
    """Return the last part of each path, or the whole path if several have the same last part."""
    short = [path.resolve().name for path in paths]
    counts = Counter(short)
    return [name if counts[name] == 1 else str(path) for path, name in zip(paths, short, strict=True)]


def _incomparable_reason(baseline: ComparedRun, run: ComparedRun) -> str | None:
    """Return why a run has no verdict against the baseline; None if it has one."""
    if (reason := incomparable_reason(baseline.run, run.run)) is not None:
        return f"{baseline.label} cannot be its baseline: {reason}"
    for each in (baseline, run):
        if not each.summary.validity.valid:
            return f"the measurement of {each.label} is not valid"
    return None
