"""The command line; each command imports what it needs only when it runs, so that help is immediate."""

from __future__ import annotations

import errno
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtest.errors import ExitCode, LoadtestError, internal_error, reason_and_remedy
from loadtest.process import ForgivingStream, exit_at_signals, forgive, ignore_signals, refuse_too_few_files

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    # The name of an option in an earlier version is accepted, but not shown.
    context_settings={"token_normalize_func": lambda name: {"floor": "min-difference"}.get(name, name)},
)

optional = partial(typer.Option, show_default=False)
"""An option without a default."""
number = partial(typer.Option, metavar="N")
file = partial(optional, metavar="FILE")
folder = partial(optional, metavar="DIR")

ScenarioFile = Annotated[
    Path, typer.Argument(metavar="SCENARIO", help="The scenario's YAML file.", show_default=False)
]
RunDirectoryPath = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.", show_default=False)]
Changes = Annotated[
    list[str] | None,
    optional("--set", metavar="KEY=VALUE", help="Change one value of the scenario; KEY is a dotted path."),
]
Seed = Annotated[int | None, optional(metavar="N", help="Draw the schedule from this seed.")]
TargetUrl = Annotated[
    str | None, optional(metavar="URL", help="Send to this endpoint instead of the scenario's target.")
]
Tolerance = Annotated[str, typer.Option(metavar="SHARE", help="How much worse is accepted.")]
MinDifference = Annotated[
    str, typer.Option(metavar="TIME", help="The smallest difference in time that can be worse.")
]


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that are not None, so that a request keeps its own default for the others."""
    return {name: value for name, value in parameters.items() if value is not None}


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"loadtest {version('loadtest')}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Load tests and benchmarks for inference endpoints with a job queue."""


@app.command()
def run(
    scenario: ScenarioFile,
    target: TargetUrl = None,
    out: Annotated[Path | None, folder(help="The run directory, which must not exist yet.")] = None,
    seed: Seed = None,
    processes: Annotated[int, number(help="Send from this many processes on this machine.", min=1, max=256)] = 1,
    expect_workers: Annotated[
        int, number(help="Wait for this many `loadtest worker`, here or elsewhere.", min=0)
    ] = 0,
    bind: Annotated[
        str, typer.Option(metavar="ADDR[:PORT]", help="Listen to workers on this address.")
    ] = "127.0.0.1",
    metrics: Annotated[
        str | None, optional(metavar="ADDR[:PORT]", help="Serve live metrics for Prometheus on this address.")
    ] = None,
    overrides: Changes = None,
) -> None:
    """Run a scenario and write its measurements and a report."""
    given = _given(locals())
    from loadtest.commands import run as runs

    request = runs.RunRequest(**given)
    loaded = runs.scenario_of(request)
    if loaded.search is None:
        raise typer.Exit(runs.run(request, loaded))
    # Slow to import, and an ordinary run does not need it.
    from loadtest.commands.search import search

    raise typer.Exit(search(request, loaded))


@app.command()
def worker(
    master: Annotated[str, typer.Option(metavar="HOST[:PORT]", help="The address of `loadtest run`.")],
    keep: Annotated[Path | None, folder(help="Keep this worker's records here, and send copies.")] = None,
) -> None:
    """Send load for a `loadtest run` on another machine."""
    from loadtest.commands.worker import run_worker

    run_worker(master, keep)


@app.command()
@app.command("recover", help="Build the results of a run that died, from what it recorded.")
def report(directory: RunDirectoryPath) -> None:
    """Build the summary and the report of a run again."""
    from rich.console import Console

    from loadtest.commands.results import build_results
    from loadtest.record.directory import RunDirectory
    from loadtest.report.terminal.run import print_result

    recorded = RunDirectory(directory)
    damaged = recorded.damaged_shards()
    print_result(build_results(recorded), recorded.report, Console())
    raise typer.Exit(ExitCode.INVALID if damaged else ExitCode.PASS)


@app.command()
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
    given = _given(locals())
    import os

    from rich.console import Console

    from loadtest.commands.gate import GateRequest, gate

    raise typer.Exit(gate(GateRequest(**given), os.environ, Console()))


@app.command()
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
    given = _given(locals())
    from rich.console import Console

    from loadtest.commands.compare import CompareRequest, compare_runs

    compare_runs(CompareRequest(**given), Console())


@app.command()
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
    given = _given(locals())
    import os

    from rich.console import Console

    from loadtest.commands.capacity import CapacityRequest, capacity

    raise typer.Exit(capacity(CapacityRequest(**given, processes=os.cpu_count() or 1), Console()))


@app.command()
def check(scenario: ScenarioFile, overrides: Changes = None, seed: Seed = None, target: TargetUrl = None) -> None:
    """Show what a scenario would send, and send nothing."""
    import os

    from loadtest.process import raise_limit
    from loadtest.report.terminal.preview import preview_lines
    from loadtest.scenario.loading.load import load_scenario
    from loadtest.scenario.preview import preview

    known = preview(load_scenario(scenario, overrides or (), seed, target))
    for line in preview_lines(known, os.environ, raise_limit()):
        sys.stdout.write(f"{line}\n")


@app.command()
def schema() -> None:
    """Print the JSON Schema of scenarios, for editors."""
    import json

    from loadtest.scenario.schema import json_schema

    sys.stdout.write(f"{json.dumps(json_schema(), indent=2)}\n")


@app.command()
def serve(
    host: Annotated[str, typer.Option(metavar="ADDR", help="Listen on this address.")] = "127.0.0.1",
    port: Annotated[int, number(help="Listen on this port; 0 takes a free one.", min=0, max=65535)] = 8000,
    endpoint_id: Annotated[
        str, typer.Option("--endpoint", metavar="ID", help="The endpoint's id, a part of its URL.")
    ] = "local",
    config: Annotated[Path | None, file(help="YAML file of the endpoint's settings.")] = None,
    seed: Annotated[
        int | None, optional(metavar="N", help="Draw service times, failures and job ids from this seed.", min=0)
    ] = None,
    journal: Annotated[Path | None, file(help="Append one JSON line per request and one per job.")] = None,
    active: Annotated[int | None, optional(metavar="N", help="Workers that are always on.", min=0)] = None,
    max_workers: Annotated[
        int | None, optional("--max", metavar="N", help="Workers at most, flex ones included.", min=1)
    ] = None,
    scaler: Annotated[str | None, optional(metavar="TEXT", help='The scaler, like "queue delay 4s".')] = None,
    idle_timeout: Annotated[
        str | None, optional(metavar="TIME", help="Stop a flex worker that is idle for this time.")
    ] = None,
    handler: Annotated[Path | None, file(help="Run this handler in real workers of the vendor's SDK.")] = None,
    concurrency: Annotated[int, number(help="Jobs that a real worker takes at once.", min=1, max=1000)] = 1,
    logs: Annotated[Path | None, folder(help="Keep the logs of real workers here, not in reports.")] = None,
    until_stdin_closes: Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)] = False,
) -> None:
    """Serve a local endpoint with simulated or real workers."""
    given = _given(locals())
    from loadtest.serve.server import ServeOptions, serve

    serve(ServeOptions(**given))


RESULT_IN_FILES = {"run", "report", "recover", "gate", "compare", "capacity"}
"""The commands whose result is in files: what they print may be lost, and the exit code is still the result's."""


def main() -> None:
    """Run the command line; an error becomes one line on standard error and its exit code."""
    out, err = forgive()
    code = _run_command(err)
    out.flush()
    # A reader that closes the pipe has seen enough.
    if out.error is not None and out.error.errno != errno.EPIPE:
        err.write(f"loadtest: standard output: cannot be written: {reason_and_remedy(out.error)}\n")
        if code == ExitCode.PASS and not RESULT_IN_FILES.intersection(sys.argv[1:2]):
            code = ExitCode.USAGE
    err.flush()
    if sys.argv[1:2] == ["run"]:
        ignore_signals()
    sys.exit(code)


def _run_command(err: ForgivingStream) -> int:
    """Run the command line, and return its exit code; an exception that nothing expected is an internal error."""
    try:
        if sys.platform == "win32":
            raise LoadtestError("Windows is not supported; use Linux or macOS, or run it inside WSL")
        if sys.argv[1:2] in (["run"], ["worker"]):
            exit_at_signals()
        refuse_too_few_files()
        app(prog_name="loadtest")
    except SystemExit as end:
        return int(end.code or 0)
    except LoadtestError as error:
        err.write(f"loadtest: {' '.join(str(error).splitlines())}\n")
        return error.exit_code
    except Exception as error:  # noqa: BLE001
        err.write("".join(traceback.format_exception(error)))
        err.write(f"loadtest: {internal_error(error)}\n")
        return ExitCode.INTERNAL
    return ExitCode.PASS
