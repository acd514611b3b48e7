"""`loadtest gate`: judges a finished run, writes the formats of CI, ends with the verdict's exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console

from loadtest.analyze.compare.comparable_run import comparable
from loadtest.analyze.compare.comparison import compare
from loadtest.analyze.run_data import RunData
from loadtest.analyze.summarize import failed_checks
from loadtest.analyze.summary import GateResult
from loadtest.commands.read_run import read_run
from loadtest.commands.results import summarize_and_judge
from loadtest.errors import RecordingError, UsageError
from loadtest.gate.baseline import as_gate_result, metrics_of, require_comparable
from loadtest.record.atomic_file import write_atomic
from loadtest.record.directory import run_directory
from loadtest.report.ci.junit import junit
from loadtest.report.ci.markdown import markdown
from loadtest.report.terminal.run import print_gates
from loadtest.scenario.gates import Gate, parse_gate
from loadtest.scenario.loading.feasibility import unknown_reference
from loadtest.scenario.model import Scenario
from loadtest.units import fraction, seconds

STEP_SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file that GitHub shows on the page of a CI job."""


@dataclass(frozen=True)
class GateRequest:
    """The arguments of `loadtest gate`."""

    run: Path
    gates: list[str] = field(default_factory=list)
    baselines: list[Path] = field(default_factory=list)
    tolerance: str = "5 %"
    min_difference: str = "2ms"
    junit: Path | None = None
    markdown: Path | None = None


def gate(request: GateRequest, environment: Mapping[str, str], console: Console) -> int:
    """Judge a run by its scenario's gates and those of the request, and return the exit code.

    Raises UsageError for text that is not a gate, a baseline that is not comparable, or a file that cannot be
    written, and RunDirectoryError for a bad run.
    """
    directory = run_directory(request.run)
    data = read_run(directory)
    requested = _parse_gates(request.gates, data.scenario)
    compared = _compare(request, data) if request.baselines else []
    summary = summarize_and_judge(data, list(dict.fromkeys([*data.scenario.gates, *requested])), compared)
    print_gates(summary, console)
    try:
        write_atomic(directory.gate, junit(summary))
    except RecordingError as error:  # the verdict of a run that can only be read is still its verdict
        sys.stderr.write(f"loadtest: {error}\n")
    if request.junit is not None:
        write_output(request.junit, junit(summary), "--junit")
    if request.markdown is not None:
        write_output(request.markdown, markdown(summary).encode(), "--markdown")
    if step_summary := environment.get(STEP_SUMMARY_VARIABLE):
        write_output(Path(step_summary), markdown(summary).encode(), STEP_SUMMARY_VARIABLE, "ab", "unset it")
    return summary.verdict.exit_code


def _compare(request: GateRequest, data: RunData) -> list[GateResult]:
    """Compare the run with its baselines; of each, the record and the samples are enough."""
    tolerance, min_difference_ms = parse_differences(request.tolerance, request.min_difference)
    baselines = [_read_baseline(named) for named in request.baselines]
    for named, each in zip(request.baselines, baselines, strict=True):
        require_comparable(str(named), each.run, data.run, failed_checks(each))
    *before, now = [comparable(each) for each in (*baselines, data)]
    found = compare(before, now, metrics_of(before, now), tolerance, min_difference_ms)
    return [as_gate_result(each) for each in found]


def _read_baseline(named: Path) -> RunData:
    """Return what a comparison reads of a baseline, as far as it was kept; validity checks read the requests."""
    directory = run_directory(named)
    return read_run(
        directory, [name for name in ("requests", "chunks") if (directory.path / f"{name}.parquet").exists()]
    )


def parse_differences(tolerance: str, min_difference: str) -> tuple[float, float]:
    """Return the share of --tolerance and the milliseconds of --min-difference; UsageError for any other text."""
    option = f"--tolerance {tolerance}"
    try:
        share, option = fraction(tolerance), f"--min-difference {min_difference}"
        return share, seconds(min_difference) * 1000
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _parse_gates(texts: Sequence[str], scenario: Scenario) -> list[Gate]:
    gates = []
    for text in texts:
        label = f'--gate "{" ".join(text.split())}"'
        try:
            found = parse_gate(text)
        except ValueError as error:
            raise UsageError(f"{label}: {error}") from None
        if unknown := unknown_reference(scenario, found):
            raise UsageError(f"{label}: {unknown}")
        gates.append(found)
    return gates


def write_output(
    path: Path, content: bytes, option: str, mode: Literal["wb", "ab"] = "wb", remedy: str = "name another path"
) -> None:
    """Write a file that an option names, or append to it; UsageError, with the remedy, if that fails."""
    try:
        with path.open(mode) as file:
            file.write(content)
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be written: {error.strerror}; {remedy}") from None
