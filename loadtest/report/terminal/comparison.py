"""Several runs on a terminal: their differences, then a table for each that compares it with the first."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.report.comparison import (
    ComparedRun,
    Comparison,
    interval_text,
    metric_text,
    standing_text,
    value_text,
)
from loadtest.report.formatting import ratio
from loadtest.report.terminal.layout import plain_table, print_page, status_text

_MAX_DIFFERENCES = 12


def print_comparison(comparison: Comparison, page: Path, console: Console) -> None:
    """Write the comparison, in 80 columns if names are short; with colours only if the console is a terminal."""
    for each in comparison.runs:
        status = f"{each.summary.verdict.value}, {each.summary.jobs['completed']:,} jobs completed"
        console.print(Text.assemble((each.label, "bold"), f"  {status}"))
    _print_differences(comparison, console)
    for each in comparison.others:
        console.print()
        console.print(Text.assemble((each.label, "bold"), " against ", (comparison.first.label, "bold")))
        if each.no_verdict is not None:
            console.print(Text.assemble(("no verdict: ", "yellow"), each.no_verdict))
        console.print(_table(each))
    print_page(page, console, "compared")


def _print_differences(comparison: Comparison, console: Console) -> None:
    shown = comparison.differences[:_MAX_DIFFERENCES]
    if shown:
        console.print()
    for each in shown:
        values = " | ".join("–" if value is None else value for value in each.values)
        console.print(Text.assemble(("differs: ", "yellow"), f"{each.what}: {values}"))
    if len(comparison.differences) > len(shown):
        console.print(f"and {len(comparison.differences) - len(shown)} more differences; the page has all")


def _table(candidate: ComparedRun) -> Table:
    table = plain_table("metric", "first", "this", "ratio", "95 % interval")
    table.add_column("", no_wrap=True)
    for found in candidate.compared:
        table.add_row(
            Text(metric_text(found.metric)),
            value_text(found, found.baseline),
            value_text(found, found.candidate),
            ratio(found.ratio),
            interval_text(found),
            status_text(standing_text(candidate, found)),
        )
    return table
