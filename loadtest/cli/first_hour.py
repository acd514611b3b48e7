"""The commands of the first hour: scenarios that come with loadtest, a starter, a look at this machine, tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from loadtest.cli.shared_options import RunDirectoryPath, folder
from loadtest.errors import ExitCode

NEXT = """
next    loadtest init        writes a scenario for an endpoint or a handler of yours
        loadtest scenarios   lists the scenarios that come with loadtest
"""
"""What `loadtest run` prints after a run that named no scenario."""


def scenarios(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print the file of this scenario.", show_default=False)
    ] = None,
) -> None:
    """List the scenarios that come with loadtest, or print one."""
    from loadtest.scenario.loading.shipped import shipped_scenario, shipped_scenarios
    from loadtest.scenario.loading.yaml_document import parse_yaml

    if name is not None:
        sys.stdout.write(shipped_scenario(name).read_text())
        return
    for each, path in shipped_scenarios().items():
        sys.stdout.write(f"{each:12}{parse_yaml(path.read_text(), each).data['question']}\n")
    sys.stdout.write("\nloadtest run NAME runs one, loadtest scenarios NAME > my.yaml copies it.\n")


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to write; this directory without it.", show_default=False)
    ] = Path(),
    target: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help='"embedded", a handler\'s file, or a URL; ask no questions.', show_default=False
        ),
    ] = None,
    job_input: Annotated[
        str | None, typer.Option("--input", metavar="JSON", help="The input of each job.", show_default=False)
    ] = None,
    price: Annotated[
        float | None, typer.Option(metavar="USD", help="US dollars per worker-second.", show_default=False, min=0)
    ] = None,
    probe: Annotated[bool, typer.Option("--probe", help="Send one job, and fill in timeouts and rate.")] = False,
    ci: Annotated[
        str, typer.Option(metavar="SYSTEM", help='Write a file for "github", "gitlab", or "none".')
    ] = "github",
    force: Annotated[bool, typer.Option("--force", help="Write over files that exist.")] = False,
) -> None:
    """Write a starter scenario, a .gitignore and a file for CI."""
    from loadtest.commands.init import InitRequest
    from loadtest.commands.init import init as write
    from loadtest.commands.starter import Ci
    from loadtest.errors import UsageError

    if ci not in [*Ci]:
        raise UsageError(f"--ci {ci}: not known; write one of: {', '.join(Ci)}")

    def ask(question: str, default: str) -> str:
        return str(typer.prompt(question, default=default))

    request = InitRequest(directory, target, job_input, price, probe, Ci(ci), force)
    write(request, ask if sys.stdin.isatty() else None, typer.echo)


def doctor() -> None:
    """Look at this machine: versions, limits, CPU, clock, ports."""
    from loadtest.commands.doctor import State, doctor_lines, findings, read_facts

    found = findings(read_facts())
    for line in doctor_lines(found):
        sys.stdout.write(f"{line}\n")
    if any(each.state is State.BAD for each in found):
        raise typer.Exit(ExitCode.USAGE)


def export(
    run: RunDirectoryPath,
    csv: Annotated[bool, typer.Option("--csv", help="Write a CSV file for each table.")] = False,
    xlsx: Annotated[bool, typer.Option("--xlsx", help="Write one Excel workbook; needs loadtest[xlsx].")] = False,
    out: Annotated[Path | None, folder(help="Write here, not into the run directory.")] = None,
) -> None:
    """Write the tables of a run as CSV or for Excel."""
    from loadtest.frames import export as exports

    for path in exports.export(exports.ExportRequest(run, csv, xlsx, out)):
        sys.stdout.write(f"{path}\n")
