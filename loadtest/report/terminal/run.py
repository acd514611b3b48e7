"""The result of a run on a terminal: the verdict, its gates, one table, warnings, the path of the report."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.analyze.stats.effective_number import NEARLY_ALL
from loadtest.analyze.summary import FlowSummary, GateResult, Summary, Verdict
from loadtest.report.formatting import milliseconds, printable, significant
from loadtest.report.summary_text import (
    cause_texts,
    missing_percentiles,
    observed_text,
    pace_text,
    repeats_text,
    tokens_text,
)
from loadtest.report.terminal.layout import colour, plain_table, print_page, status_text

_TIME_WIDTH = 7


def print_result(summary: Summary, report: Path, console: Console) -> None:
    """Write the result in 80 columns; with colours only if the console is a terminal."""
    print_verdict(summary, console)
    if any(flow.jobs for flow in summary.flows.values()):
        console.print()
        console.print(_table(summary.flows))
        if short := missing_percentiles(summary.flows.values(), ("p50", "p95")):
            console.print(Text(short, style="dim"))
        for name, flow in summary.flows.items():
            for text in (pace_text(flow), "" if flow.tokens is None else tokens_text(flow.tokens)):
                if text:
                    console.print(Text(f"{name}: {text}", style="dim"))
        for name, audit in summary.cache_audit.items():
            console.print(Text(f"{name}: {repeats_text(audit)}"))
        if summary.faults.responses:
            text = (
                f"{summary.faults.responses:,} responses to {summary.faults.jobs:,} jobs were of no use, and repeated"
            )
            console.print(Text(text, style="dim"))
    _print_warnings(summary, console)
    print_page(report, console)


def print_gates(summary: Summary, console: Console) -> None:
    """Write the verdict, every gate's result and the warnings."""
    print_verdict(summary, console)
    _print_warnings(summary, console)


def print_verdict(summary: Summary, console: Console) -> None:
    """Write the verdict, its reason, the most frequent causes of jobs that did not complete, and each gate."""
    title = Text(summary.verdict.value.upper(), style=f"bold {colour(summary.verdict)}")
    console.print(Text.assemble(title, "  ", printable(summary.reason)))
    _print_causes(summary, console)
    if summary.gates:
        console.print()
        console.print(_gates(summary.gates))


def _print_causes(summary: Summary, console: Console) -> None:
    if summary.causes:
        console.print()
    for text in cause_texts(summary):
        console.print(Text(text))


def _gates(gates: list[GateResult]) -> Table:
    table = plain_table("gate", "observed", "n")
    table.add_column("", no_wrap=True)
    for gate in gates:
        table.add_row(Text(gate.gate), observed_text(gate), _n_text(gate), status_text(gate.verdict))
    return table


def _n_text(gate: GateResult) -> str:
    """Return the number of jobs, with the effective number if that is clearly less."""
    if gate.effective_n is None or gate.effective_n > NEARLY_ALL * gate.n:
        return f"{gate.n:,}"
    return f"{gate.n:,} ({gate.effective_n:,.0f} effective)"


def _print_warnings(summary: Summary, console: Console) -> None:
    """Write the failed and inconclusive gates and the failed checks that the reason does not name, and warnings."""
    decisive = summary.decisive  # the reason describes it already
    open_ = [gate for gate in summary.gates if gate.verdict is not Verdict.PASS and gate is not decisive]
    if open_:
        console.print()
        for gate in open_:
            console.print(Text.assemble(status_text(gate.verdict), ": ", f"{gate.gate}. {gate.detail}"))
    doubtful = [
        check for check in summary.validity.checks if check.warning or (not check.ok and check is not decisive)
    ]
    if doubtful:
        console.print()
        for check in doubtful:
            word = "warning: " if check.ok else "not valid: "
            console.print(Text.assemble((word, "yellow"), check.detail))


def _table(flows: dict[str, FlowSummary]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("\nflow", no_wrap=True)
    for header in ("\njobs", "\ncompleted", "\nper s"):
        table.add_column(header, justify="right", no_wrap=True)
    for title in ("delay", "execution", "end-to-end"):
        table.add_column(f"{title}\n{_pair('p50', 'p95')}", justify="right", no_wrap=True)
    for name, flow in flows.items():
        table.add_row(
            name,
            str(flow.jobs),
            str(flow.completed),
            significant(flow.throughput_per_s),
            *(
                _pair(milliseconds(q.p50), milliseconds(q.p95))
                for q in (flow.delay_ms, flow.execution_ms, flow.end_to_end_ms)
            ),
        )
    return table


def _pair(first: str, second: str) -> str:
    return f"{first:>{_TIME_WIDTH}} {second:>{_TIME_WIDTH}}"
