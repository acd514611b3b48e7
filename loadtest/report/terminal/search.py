"""A measured search on a terminal: the answer in a sentence and a row for each probe with its run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.analyze.summary import Verdict
from loadtest.capacity.breakpoint.bisection import ProbeOutcome
from loadtest.capacity.breakpoint.result import BreakpointResult, ProbeResult
from loadtest.report.formatting import DASH, count, rate
from loadtest.report.summary_text import observed_text
from loadtest.report.terminal.layout import colour, plain_table, print_page, status_text


def print_probe(number: int, probe: ProbeResult, console: Console) -> None:
    """Write the outcome of one probe."""
    rate_text = f"probe {number}: {rate(probe.rate_per_s)} "
    console.print(Text.assemble(rate_text, status_text(probe.outcome), _describe(probe)), soft_wrap=True)


def print_search(found: BreakpointResult, page: Path, console: Console) -> None:
    """Write the result in 80 columns; with colours only if the console is a terminal."""
    console.print(Text.assemble((found.verdict.upper(), f"bold {colour(found.verdict)}"), "  ", found.reason))
    console.print()
    console.print(_probes(found.probes))
    for gate in found.broken:
        console.print()
        console.print(Text.assemble("broken: ", gate.gate, ". ", gate.detail))
    print_page(page, console)


def _probes(probes: Sequence[ProbeResult]) -> Table:
    table = plain_table("rate", "achieved", "jobs")
    table.columns[0].justify = "right"
    table.add_column("", no_wrap=True)
    table.add_column("observed")
    table.add_column("run", no_wrap=True)
    for probe in probes:
        table.add_row(
            rate(probe.rate_per_s),
            rate(probe.achieved_per_s),
            count(probe.jobs) if probe.run else DASH,
            status_text(probe.outcome),
            Text(", ".join(map(observed_text, probe.gates)) or DASH),
            probe.run or DASH,
        )
    return table


def _describe(probe: ProbeResult) -> str:
    """Return the observed figures, or the reason if the probe shows nothing of the endpoint."""
    if probe.overloaded and not any(gate.verdict is Verdict.FAIL for gate in probe.gates):
        return f": {probe.reason}"
    if probe.outcome in (ProbeOutcome.PASSES, ProbeOutcome.FAILS, ProbeOutcome.INCONCLUSIVE) and probe.gates:
        return f"; {', '.join(f'{gate.gate}: {observed_text(gate)}' for gate in probe.gates)}"
    return f": {probe.reason}"
