"""A prediction and what was measured, side by side on a terminal: one table over all runs that were held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from loadtest.capacity.backtest.backtest import BacktestResult, FigureCheck
from loadtest.capacity.planning.plan import BacktestReport
from loadtest.report.formatting import DASH, count, duration, milliseconds, rate, signed_share, significant
from loadtest.report.terminal.capacity import calibration_text, columns, missing_measurements, pattern_text, workers

FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "delay_p50_ms": ("delay p50", milliseconds),
    "delay_p95_ms": ("delay p95", milliseconds),
    "throughput_per_s": ("throughput", rate),
    "worker_s": ("worker time", lambda worker_s: f"{significant(worker_s)} s"),
}
"""What each figure is called, and how it is written."""


def print_backtest_report(checked: BacktestReport, console: Console) -> None:
    """Write what was predicted and measured, and what it was predicted from; 80 columns."""
    print_backtests(checked.checks, console)
    console.print()
    console.print(Text(calibration_text(checked.calibration)))
    console.print(Text(pattern_text(checked.calibration.pattern)))
    for sentence in missing_measurements(checked.calibration):
        console.print(Text(sentence))


def print_backtests(checks: Sequence[BacktestResult], console: Console) -> None:
    """Write the table, and under it what each run was; nothing where none was held out."""
    if not checks:
        return
    table = columns("held out", "figure", "predicted", "95 % of such runs", "measured", "error")
    table.columns[1].justify = "left"
    for check in checks:
        for place, figure in enumerate(check.figures):
            table.add_row(check.scenario if place == 0 else "", *_cells(figure))
    console.print(table)
    console.print()
    for check in checks:
        console.print(Text(run_text(check)))
        for note in (*check.notes, *cause_texts(check)):
            console.print(Text(note))


def _cells(figure: FigureCheck) -> tuple[str | Text, ...]:
    name, words = FIGURES[figure.name]
    predicted = figure.predicted
    return (
        name,
        words(predicted.value),
        f"{words(predicted.low)} to {words(predicted.high)}",
        DASH if figure.measured is None else words(figure.measured),
        Text(error_text(figure), style="red" if figure.in_interval is False else ""),
    )


def error_text(figure: FigureCheck) -> str:
    """How far a prediction is off: a share of what was measured, or where that is 0 in the figure's own unit."""
    if figure.error is not None:
        return signed_share(figure.error)
    return DASH if figure.measured is None else f"+{FIGURES[figure.name][1](figure.predicted.value)}"


def cause_texts(check: BacktestResult) -> tuple[str, ...]:
    """Why the figure that is furthest off is so, in a sentence; none where all are near what was measured."""
    cause = check.cause
    if cause is None:
        return ()
    name, left, error = FIGURES[cause.figure][0], signed_share(cause.remaining_error), signed_share(cause.error)
    chance = any(each.name == cause.figure and each.in_interval for each in check.figures)
    beside = " (within what such runs differ by)" if chance else ""
    own = ", ".join(cause.own)
    if cause.what is None:
        return (f"Why {name} is {error} off{beside} is not known: with the run's own {own} it is {left}.",)
    return (f"Main cause of the error of {name}{beside}: {cause.what}. With the run's own {own} it is {left}.",)


def run_text(check: BacktestResult) -> str:
    """What a run that was held out was."""
    setting = check.setting
    flexible = "" if setting.fixed else f", {setting.scaler}, idle {milliseconds(setting.idle_timeout_s * 1000)}"
    return (
        f"{check.run}: {workers(setting)}{flexible}; {count(check.jobs)} jobs in {duration(check.duration_s)}, "
        f"{count(check.replicas)} replicas."
    )
