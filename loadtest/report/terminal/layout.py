"""The parts that the printed results share: colours, tables and paths."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.report.formatting import status, verdict


def colour(value: str) -> str:
    """Return the colour of a verdict, of the outcome of a probe, or of the standing of a metric."""
    return {"pass": "green", "fail": "red"}.get(status(value), "yellow")


def status_text(value: str) -> Text:
    """Return a verdict, an outcome or a standing in its colour."""
    return Text(verdict(value), style=colour(value))


def plain_table(first: str, *others: str) -> Table:
    """Return a table without lines and rows, the first column aligned left and the others right."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(first)
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def print_page(page: Path, console: Console, label: str = "report") -> None:
    """Write the path of a page, unbroken so that it can be copied."""
    console.print()
    console.print(Text.assemble(f"{label}  ", str(page)), soft_wrap=True)
