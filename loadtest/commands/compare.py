"""`loadtest compare`: several runs over each other on one page, each held against the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from loadtest.analyze.compare.comparison import ComparableRun, compare, run_series
from loadtest.analyze.compare.differences import differences
from loadtest.analyze.compare.margin import MIN_DIFFERENCE_MS
from loadtest.analyze.series import series
from loadtest.commands.gate import parse_min_difference, parse_tolerance, write_output
from loadtest.commands.results import read_run, summarize_and_judge
from loadtest.errors import UsageError
from loadtest.gate.baseline import incomparable_reason, metrics_of
from loadtest.record.directory import run_directory
from loadtest.report.comparison import MAX_RUNS, ComparedRun, Comparison
from loadtest.report.pages.comparison import compare_html
from loadtest.report.terminal.comparison import print_comparison

PAGE = Path("compare.html")
"""Where the page is written where no other place is named: what several runs say belongs to none of them."""


@dataclass(frozen=True)
class CompareRequest:
    """What `loadtest compare` was asked for."""

    runs: list[Path]
    out: Path = PAGE
    tolerance: str = "5 %"
    min_difference: str = "2ms"


def compare_runs(request: CompareRequest, console: Console) -> None:
    """Write the page and print the tables; nothing that it finds is an error.

    Raises UsageError for too few or too many runs, or a file that cannot be written, RunDirectoryError for a bad run.
    """
    if not 2 <= len(request.runs) <= MAX_RUNS:
        raise UsageError(f"{len(request.runs)} runs cannot be compared; name 2 to {MAX_RUNS}, the baseline first")
    comparison = comparison_of(
        request.runs, parse_tolerance(request.tolerance), parse_min_difference(request.min_difference)
    )
    write_output(request.out, compare_html(comparison).encode(), "--out")
    print_comparison(comparison, request.out, console)


def comparison_of(
    named: Sequence[Path], tolerance: float, min_difference_ms: float = MIN_DIFFERENCE_MS
) -> Comparison:
    """These runs beside each other, one of them in memory at a time; of all others only what is compared is kept."""
    beside: list[ComparedRun] = []
    first: ComparableRun | None = None
    for path, label in zip(named, _labels(named), strict=True):
        one, times = _read(path, label)
        if first is None:
            first = times
        else:
            found = compare([first], times, metrics_of([first], times), tolerance, one.run.seed, min_difference_ms)
            one = ComparedRun(label, one.run, one.summary, one.series, found, _incomparable_reason(beside[0], one))
        beside.append(one)
    return Comparison(beside, differences([each.run for each in beside]), tolerance, min_difference_ms)


def _read(path: Path, label: str) -> tuple[ComparedRun, ComparableRun]:
    data = read_run(run_directory(path))
    summary = summarize_and_judge(data, data.scenario.gates)
    return ComparedRun(label, data.run, summary, series(data)), run_series(data.jobs, data.load)


def _labels(named: Sequence[Path]) -> list[str]:
    """The last part of each path, or the whole where several end alike."""
    short = [path.resolve().name for path in named]
    seen = Counter(short)
    return [name if seen[name] == 1 else str(path) for path, name in zip(named, short, strict=True)]


def _incomparable_reason(first: ComparedRun, one: ComparedRun) -> str | None:
    """Why the ratios of a run to the first say nothing of better or worse; None where they do."""
    if (why := incomparable_reason(first.run, one.run)) is not None:
        return f"{first.label} cannot be its baseline: {why}"
    for each in (first, one):
        if not each.summary.validity.valid:
            return f"the measurement of {each.label} is not sound"
    return None
