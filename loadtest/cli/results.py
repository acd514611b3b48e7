"""The commands that read recorded runs: reports, gates, comparisons, traces and plans."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from loadtest.cli.shared_options import (
    MinDifference,
    OpenPage,
    RunDirectoryPath,
    Tolerance,
    file,
    given_only,
    number,
    optional,
)
from loadtest.errors import ExitCode
from loadtest.process import open_page


def report(directory: RunDirectoryPath, open_report: OpenPage = False) -> None:
    """Build the summary and the report of a run again."""
    from rich.console import Console

    from loadtest.commands.results import build_results
    from loadtest.record.directory import RunDirectory
    from loadtest.report.terminal.run import print_result

    recorded = RunDirectory(directory)
    print_result(build_results(recorded), recorded.report, Console())
    if open_report:
        open_page(recorded.report)
    raise typer.Exit(ExitCode.INVALID if recorded.read_run().unread_bytes else ExitCode.PASS)


def reports(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds your runs.")] = Path("reports"),
    open_report: OpenPage = False,
) -> None:
    """Write an index of all runs in a folder, and show what changed."""
    from loadtest.commands.runs_index import write_index

    page, runs = write_index(folder)
    sys.stdout.write(f"{runs} run{'' if runs == 1 else 's'}\nindex  {page}\n")
    if open_report:
        open_page(page)


def gate(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run directory, or a name in reports/baselines.", show_default=False),
    ],
    gates: Annotated[
        list[str] | None, optional("--gate", metavar="TEXT", help='One more gate, like "delay p95 < 2s".')
    ] = None,
    baselines: Annotated[
        list[Path] | None, optional("--baseline", metavar="RUN", help="Compare with this earlier run.")
    ] = None,
    tolerance: Tolerance = "5 %",
    min_difference: MinDifference = "2ms",
    junit: Annotated[Path | None, file(help="Write JUnit XML here too.")] = None,
    markdown: Annotated[Path | None, file(help="Write a Markdown summary here.")] = None,
) -> None:
    """Judge a run by gates, for a release or for CI."""
    given = given_only(locals())
    import os

    from rich.console import Console

    from loadtest.commands.gate import GateRequest, gate

    raise typer.Exit(gate(GateRequest(**given), os.environ, Console()))


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN…", help="Run directories, the baseline first.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page to write.")] = Path("compare.html"),
    tolerance: Tolerance = "5 %",
    min_difference: MinDifference = "2ms",
) -> None:
    """Compare several runs with the first, on one page."""
    given = given_only(locals())
    from rich.console import Console

    from loadtest.commands.compare import CompareRequest, compare_runs

    compare_runs(CompareRequest(**given), Console())


def trace(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run directory, or a name in reports/baselines.", show_default=False),
    ],
    form: Annotated[
        str, typer.Option("--format", metavar="FORM", help="azure-llm, mooncake or burstgpt.")
    ] = "azure-llm",
    out: Annotated[Path | None, file(help="The trace to write, else trace.csv, or trace.jsonl for mooncake.")] = None,
) -> None:
    """Write a run's arrivals and lengths as a trace to send again."""
    from loadtest.commands.trace import TraceRequest, write_trace

    write_trace(TraceRequest(run, form, out))


def capacity(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run directories to calibrate from.", show_default=False)
    ],
    rate: Annotated[str | None, optional(metavar="RATE", help='Jobs to plan for, like "20/s".')] = None,
    slo: Annotated[str | None, optional(metavar="TEXT", help='The objective, like "delay p95 < 2s".')] = None,
    checks: Annotated[
        list[Path] | None,
        optional("--check", metavar="RUN", help="Predict this run from its scenario, and compare."),
    ] = None,
    workers: Annotated[
        str | None, optional(metavar="N", help='Judge these, "8" or "2 to 8"; else find the fewest.')
    ] = None,
    scalers: Annotated[
        list[str] | None,
        optional("--scaler", metavar="TEXT", help='Try flex workers by this scaler, like "queue delay 4s".'),
    ] = None,
    idle_timeouts: Annotated[
        list[str] | None,
        optional("--idle-timeout", metavar="TIME", help="Try flex workers with this idle timeout."),
    ] = None,
    max_workers: Annotated[int, number(help="Active and flex workers together, at most.", min=1, max=10_000)] = 64,
    arrivals: Annotated[
        str | None,
        optional(
            metavar="KIND", help='"constant", "poisson", "gamma 2", "trace FILE", "profile FILE"; else the run\'s.'
        ),
    ] = None,
    price: Annotated[float | None, optional(metavar="USD", help="US dollars per worker-second.")] = None,
    seed: Annotated[int, number(help="Draw the simulation from this seed.", min=0)] = 1,
    allow_invalid: Annotated[
        bool,
        typer.Option("--allow-invalid", help="Calibrate from invalid, aborted or mostly failed runs too."),
    ] = False,
    out: Annotated[Path | None, file(help="Write capacity.json here.")] = None,
) -> None:
    """Find how many workers an objective needs, and their cost."""
    given = given_only(locals())
    import os

    from rich.console import Console

    from loadtest.commands.capacity import CapacityRequest, capacity

    raise typer.Exit(capacity(CapacityRequest(**given, processes=os.cpu_count() or 1), Console()))
