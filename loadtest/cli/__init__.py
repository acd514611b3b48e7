"""The command line; each command imports what it needs only when it runs, so that help is immediate."""

from __future__ import annotations

import errno
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from loadtest.cli import first_hour, results
from loadtest.cli.shared_options import (
    Changes,
    OpenPage,
    ScenarioFile,
    ScenarioOrSmoke,
    Seed,
    TargetUrl,
    file,
    folder,
    given_only,
    number,
    optional,
)
from loadtest.errors import ExitCode, LoadtestError, internal_error, reason_and_remedy
from loadtest.process import (
    ForgivingStream,
    exit_at_signals,
    forgive,
    ignore_signals,
    leave,
    refuse_too_few_files,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    # The name of an option in an earlier version is accepted, but not shown.
    context_settings={"token_normalize_func": lambda name: {"floor": "min-difference"}.get(name, name)},
)


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
    scenario: ScenarioOrSmoke = None,
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
    note: Annotated[str | None, optional(metavar="TEXT", help="A note for the report and the index of runs.")] = None,
    open_report: OpenPage = False,
    metrics: Annotated[
        str | None, optional(metavar="ADDR[:PORT]", help="Serve live metrics for Prometheus on this address.")
    ] = None,
    overrides: Changes = None,
) -> None:
    """Run a scenario and write its measurements and a report."""
    given = given_only(locals())
    from loadtest.commands.driver import Driver

    with Driver() as driver:
        from loadtest.commands import run as runs
        from loadtest.scenario.loading.shipped import SMOKE, scenario_file, shipped_scenario

        file = shipped_scenario(SMOKE) if scenario is None else scenario_file(scenario)
        request = runs.RunRequest(**given | {"scenario": file})
        loaded = runs.scenario_of(request)
        if loaded.search is None:
            code = runs.run(request, loaded, driver)
            if scenario is None:
                sys.stdout.write(first_hour.NEXT)
            raise typer.Exit(code)
    # Slow to import, and an ordinary run does not need it.
    from loadtest.commands.search import search

    raise typer.Exit(search(request, loaded))


app.command()(first_hour.init)
app.command()(first_hour.scenarios)


@app.command()
def worker(
    master: Annotated[str, typer.Option(metavar="HOST[:PORT]", help="The address of `loadtest run`.")],
    keep: Annotated[Path | None, folder(help="Keep this worker's records here, and send copies.")] = None,
) -> None:
    """Send load for a `loadtest run` on another machine."""
    from loadtest.commands.worker import run_worker

    run_worker(master, keep)


app.command()(results.report)
app.command("recover", help="Build the results of a run that died, from what it recorded.")(results.report)
app.command()(results.reports)
app.command()(results.gate)
app.command()(results.compare)
app.command()(results.trace)
app.command()(results.capacity)
app.command()(first_hour.export)


@app.command()
def check(scenario: ScenarioFile, overrides: Changes = None, seed: Seed = None, target: TargetUrl = None) -> None:
    """Show what a scenario would send, and send nothing."""
    import os

    from loadtest.process import raise_limit
    from loadtest.report.terminal.preview import preview_lines
    from loadtest.scenario.loading.load import load_scenario
    from loadtest.scenario.loading.shipped import scenario_file
    from loadtest.scenario.preview import preview

    known = preview(load_scenario(scenario_file(scenario), overrides or (), seed, target))
    for line in preview_lines(known, os.environ, raise_limit()):
        sys.stdout.write(f"{line}\n")


@app.command()
def schema() -> None:
    """Print the JSON Schema of scenarios, for editors."""
    import json

    from loadtest.scenario.schema import json_schema

    sys.stdout.write(f"{json.dumps(json_schema(), indent=2)}\n")


app.command()(first_hour.doctor)


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
    given = given_only(locals())
    from loadtest.serve.server import ServeOptions, serve

    serve(ServeOptions(**given))


RESULT_IN_FILES = {"run", "report", "recover", "reports", "gate", "compare", "trace", "capacity", "export", "init"}
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


def command() -> None:
    """Run the command line, and end without first freeing memory piece by piece, which takes a sixth of a second."""
    try:
        main()
    except SystemExit as end:
        leave(int(end.code or 0))


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
