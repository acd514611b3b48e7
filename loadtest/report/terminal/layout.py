"""The parts that the printed results share: tables and paths."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text


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
