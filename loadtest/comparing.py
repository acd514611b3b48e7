"""`loadtest compare`: several runs over each other on one page, each held against the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from loadtest.analyze.comparison import RunSeries, compare
from loadtest.analyze.margin import FLOOR_MS
from loadtest.analyze.series import series
from loadtest.analyze.unlike import differences
from loadtest.errors import UsageError
from loadtest.gate.baseline import metrics_of, unlike
from loadtest.gating import floor_of, run_directory, series_of, tolerance_of, write_named
from loadtest.report.compare_page import compare_html
from loadtest.report.compare_terminal import print_contrast
from loadtest.report.contrast import MOST_RUNS, Beside, Contrast
from loadtest.results import judged_summary, read

PAGE = Path("compare.html")
"""Where the page is written where no other place is named: what several runs say belongs to none of them."""


@dataclass(frozen=True)
class CompareRequest:
    """What `loadtest compare` was asked for."""

    runs: list[Path]
    out: Path = PAGE
    tolerance: str = "5 %"
    floor: str = "2ms"


def compare_runs(request: CompareRequest, console: Console) -> None:
    """Write the page and print the tables; nothing that it finds is an error.

    Raises UsageError for too few or too many runs, or a file that cannot be written, RunDirectoryError for a bad run.
    """
    if not 2 <= len(request.runs) <= MOST_RUNS:
        raise UsageError(f"{len(request.runs)} runs cannot be compared; name 2 to {MOST_RUNS}, the baseline first")
    contrast = contrast_of(request.runs, tolerance_of(request.tolerance), floor_of(request.floor))
    write_named(request.out, compare_html(contrast).encode(), "--out")
    print_contrast(contrast, request.out, console)


def contrast_of(named: Sequence[Path], tolerance: float, floor_ms: float = FLOOR_MS) -> Contrast:
    """These runs beside each other, one of them in memory at a time; of all others only what is compared is kept."""
    beside: list[Beside] = []
    first: RunSeries | None = None
    for path, label in zip(named, _labels(named), strict=True):
        one, times = _read(path, label)
        if first is None:
            first = times
        else:
            found = compare([first], times, metrics_of([first], times), tolerance, one.run.seed, floor_ms)
            one = Beside(label, one.run, one.summary, one.series, found, _no_verdict(beside[0], one))
        beside.append(one)
    return Contrast(beside, differences([each.run for each in beside]), tolerance, floor_ms)


def _read(path: Path, label: str) -> tuple[Beside, RunSeries]:
    recorded = read(run_directory(path))
    summary = judged_summary(recorded, recorded.scenario.gates)
    tables = recorded.tables
    drawn = series(recorded.run, recorded.samples, tables["requests"], tables["health"])
    return Beside(label, recorded.run, summary, drawn), series_of(recorded)


def _labels(named: Sequence[Path]) -> list[str]:
    """The last part of each path, or the whole where several end alike."""
    short = [path.resolve().name for path in named]
    seen = Counter(short)
    return [name if seen[name] == 1 else str(path) for path, name in zip(named, short, strict=True)]


def _no_verdict(first: Beside, one: Beside) -> str | None:
    """Why the ratios of a run to the first say nothing of better or worse; None where they do."""
    if (why := unlike(first.run, one.run)) is not None:
        return f"{first.label} cannot be its baseline: {why}"
    for each in (first, one):
        if not each.summary.validity.valid:
            return f"the measurement of {each.label} is not sound"
    return None
