"""A capacity plan and a backtest on a terminal, in tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.capacity.backtest.backtest import BacktestResult, FigureCheck
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.planning.objective import EvaluatedSetting
from loadtest.capacity.planning.plan import BacktestReport, Plan
from loadtest.report.capacity_text import (
    FIGURES,
    analytic_text,
    answer_text,
    backtest_texts,
    billing_text,
    calibration_texts,
    cause_texts,
    error_text,
    failures_text,
    range_text,
    run_text,
    scalability_text,
    sensitivity_text,
)
from loadtest.report.formatting import DASH, dollars, milliseconds, rate, share
from loadtest.report.terminal.layout import plain_table, status_text
from loadtest.scenario.gates import parse_gate


def print_plan(plan: Plan, console: Console) -> None:
    """Write the plan in 80 columns; with colours only if the console is a terminal."""
    failures = [text for text in [failures_text(plan)] if text]
    _print_lines([answer_text(plan), *failures, *backtest_texts(plan), ""], console)
    rows = (plan.one_fewer, plan.answer, plan.cliff.less, plan.cliff.more)
    console.print(_settings([row for row in rows if row is not None]))
    console.print()
    if plan.options:
        console.print(_options(plan.options))
        console.print()
    lines = [f"{each.scaler}, idle {milliseconds(each.idle_timeout_s * 1000)}: {each.why}." for each in plan.left_out]
    lines += [sensitivity_text(plan), analytic_text(plan, parse_gate(plan.slo))]
    if not plan.answer.prediction.setting.fixed:
        lines.append(billing_text(plan))
    lines += [scalability_text(plan.calibration.scalability), *calibration_texts(plan.calibration)]
    _print_lines(lines, console)
    if plan.backtests:
        _print_lines(["", "The runs that the plan is calibrated from, as it predicts them:"], console)
        print_backtests(plan.backtests, console)


def print_backtest_report(checked: BacktestReport, console: Console) -> None:
    """Write the predicted and the measured figures, and the calibration, in 80 columns."""
    print_backtests(checked.checks, console)
    _print_lines(["", *calibration_texts(checked.calibration)], console)


def print_backtests(checks: Sequence[BacktestResult], console: Console) -> None:
    """Write the table of all backtests and a sentence on each run; nothing if there are none."""
    if not checks:
        return
    table = plain_table("run", "figure", "predicted", "95 % of such runs", "measured", "error")
    table.columns[1].justify = "left"
    for check in checks:
        for row, figure in enumerate(check.figures):
            table.add_row(check.scenario if row == 0 else "", *_backtest_cells(figure))
    console.print(table)
    console.print()
    for check in checks:
        _print_lines([run_text(check), *check.notes, *cause_texts(check)], console)


def _print_lines(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(Text(line))


def _backtest_cells(figure: FigureCheck) -> tuple[str | Text, ...]:
    name, text = FIGURES[figure.name]
    predicted = figure.predicted
    return (
        name,
        text(predicted.value),
        f"{text(predicted.low)} to {text(predicted.high)}",
        DASH if figure.measured is None else text(figure.measured),
        Text(error_text(figure), style="red" if figure.in_interval is False else ""),
    )


def _settings(rows: Sequence[EvaluatedSetting]) -> Table:
    table = plain_table("workers", "rate", "delay p50", "p95", "busy", "$/hour", "$/1000")
    table.add_column("", no_wrap=True)
    for row in rows:
        found = row.prediction
        table.add_row(
            range_text(found.setting),
            rate(found.rate_per_s),
            DASH if found.delay_ms is None else milliseconds(found.delay_ms.p50.value),
            _p95(row),
            _share(found.utilisation),
            *_money(row),
            status_text(row.standing),
        )
    return table


def _options(rows: Sequence[EvaluatedSetting]) -> Table:
    table = plain_table("flex workers", "scaler", "idle", "p95", "cold", "$/hour", "$/1000")
    for row in rows:
        setting = row.prediction.setting
        flexible = (str(setting.scaler), milliseconds(setting.idle_timeout_s * 1000))
        table.add_row(range_text(setting), *flexible, _p95(row), _share(row.prediction.cold), *_money(row))
    return table


def _p95(row: EvaluatedSetting) -> str:
    delay_ms = row.prediction.delay_ms
    return DASH if delay_ms is None else milliseconds(delay_ms.p95.value)


def _money(row: EvaluatedSetting) -> tuple[str, str]:
    return _dollars(row.prediction.cost_per_hour), _dollars(row.prediction.cost_per_1000_jobs)


def _dollars(amount: Estimate | None) -> str:
    return dollars(None if amount is None else float(f"{amount.value:.3g}"))


def _share(value: Estimate | None) -> str:
    return DASH if value is None else share(value.value)
