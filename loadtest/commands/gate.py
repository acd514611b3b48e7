"""`loadtest gate`: judges a run that is over, tells CI in its own formats, and ends with the verdict's exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from loadtest.analyze.compare.comparison import ComparableRun, compare, run_series
from loadtest.analyze.jobs import load_window
from loadtest.analyze.summary import GateResult
from loadtest.commands.results import RecordedRun, read_run, summarize_and_judge
from loadtest.errors import UsageError
from loadtest.gate.baseline import as_gate_results, metrics_of, require_comparable
from loadtest.record.directory import RunDirectory
from loadtest.report.ci.junit import junit
from loadtest.report.ci.markdown import markdown
from loadtest.report.terminal.run import print_gates
from loadtest.scenario.gates import Gate, parse_gate
from loadtest.scenario.loading.feasibility import unknown_reference
from loadtest.scenario.model import Scenario
from loadtest.units import fraction, seconds

BASELINES = Path("reports", "baselines")
STEP_SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""The file that GitHub shows on the page of a job."""


@dataclass(frozen=True)
class GateRequest:
    """What `loadtest gate` was asked for."""

    run: Path
    gates: list[str] = field(default_factory=list)
    baselines: list[Path] = field(default_factory=list)
    tolerance: str = "5 %"
    min_difference: str = "2ms"
    junit: Path | None = None
    markdown: Path | None = None


def gate(request: GateRequest, environment: Mapping[str, str], console: Console) -> int:
    """Judge a run by its scenario's gates and those of the request; the exit code of the contract.

    Raises UsageError for a gate that is none, a baseline of another kind, or a file that cannot be written, and
    RunDirectoryError for a bad run.
    """
    directory = run_directory(request.run)
    recorded = read_run(directory)
    asked = _asked(request.gates, recorded.scenario)
    compared = _compared(request, recorded) if request.baselines else []
    summary = summarize_and_judge(recorded, list(dict.fromkeys([*recorded.scenario.gates, *asked])), compared)
    write_output(directory.gate, junit(summary), "RUN")
    if request.junit is not None:
        write_output(request.junit, junit(summary), "--junit")
    if request.markdown is not None:
        write_output(request.markdown, markdown(summary).encode(), "--markdown")
    if step_summary := environment.get(STEP_SUMMARY_VARIABLE):
        _append(Path(step_summary), markdown(summary))
    print_gates(summary, console)
    return summary.verdict.exit_code


def run_directory(named: Path) -> RunDirectory:
    """The run directory of this path, or the baseline of this name."""
    saved = BASELINES / named
    return RunDirectory(saved if not named.exists() and saved.exists() else named)


def _compared(request: GateRequest, recorded: RecordedRun) -> list[GateResult]:
    """The run against its baselines, of which only the record and the samples are read."""
    tolerance, min_difference_ms = parse_tolerance(request.tolerance), parse_min_difference(request.min_difference)
    baselines = [read_run(run_directory(named), ()) for named in request.baselines]
    for named, each in zip(request.baselines, baselines, strict=True):
        require_comparable(str(named), each.run, recorded.run)
    before, now = [comparable_run(each) for each in baselines], comparable_run(recorded)
    found = compare(before, now, metrics_of(before, now), tolerance, recorded.run.seed, min_difference_ms)
    return as_gate_results(found)


def parse_tolerance(text: str) -> float:
    """The share after --tolerance; UsageError where it is none."""
    try:
        return fraction(text)
    except ValueError as error:
        raise UsageError(f"--tolerance {text}: {error}") from None


def parse_min_difference(text: str) -> float:
    """The time after --floor, in milliseconds; UsageError where it is none."""
    try:
        return seconds(text) * 1000
    except ValueError as error:
        raise UsageError(f"--floor {text}: {error}") from None


def comparable_run(recorded: RecordedRun) -> ComparableRun:
    """What is compared of a run that was read."""
    jobs = recorded.samples.jobs
    return run_series(jobs, load_window(recorded.run, jobs))


def _asked(texts: Sequence[str], scenario: Scenario) -> list[Gate]:
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


def write_output(path: Path, content: bytes, option: str) -> None:
    """Write a file that an option names; UsageError where that cannot be."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be written: {error.strerror}; name another place") from None


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as summary:
            summary.write(text)
    except OSError as error:
        raise UsageError(f"{STEP_SUMMARY_VARIABLE} {path}: cannot be written: {error.strerror}; unset it") from None
