"""The pages of a capacity plan and of a backtest, each in one HTML file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from altair.utils import schemapi

from loadtest.capacity.backtest.backtest import BacktestResult, FigureCheck
from loadtest.capacity.calibration.calibrate import Calibration
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.planning.objective import EvaluatedSetting, ObjectiveStatus
from loadtest.capacity.planning.plan import BacktestReport, Plan
from loadtest.report import capacity_text as texts
from loadtest.report.charts.capacity import capacity_charts
from loadtest.report.formatting import DASH, dollars, milliseconds, rate, share
from loadtest.report.pages.glossary import PLAN_TERMS, Glossary
from loadtest.report.pages.page import page_html
from loadtest.report.tables import Cell, Figure, QuantileRow, min_sample_sizes, quantile_row
from loadtest.scenario.gates import Gate, parse_gate

_STATUS_CLASSES = {ObjectiveStatus.MET: "pass", ObjectiveStatus.NOT_MET: "fail"}


@dataclass(frozen=True)
class SettingRow:
    """A setting in a table: its label, its CSS class by the objective, and its figures in order."""

    label: str
    evaluated: EvaluatedSetting
    cells: Sequence[Cell]

    @property
    def css_class(self) -> str:
        """Return pass, fail or inconclusive."""
        return _STATUS_CLASSES.get(self.evaluated.standing, "inconclusive")


@dataclass(frozen=True)
class BacktestRow:
    """A predicted and a measured figure; `in_interval` is None if one of them is unknown."""

    name: str
    predicted: Cell
    measured: Cell
    error: Figure
    in_interval: bool | None


def capacity_html(plan: Plan) -> str:
    """Return the page of a plan; every figure is the plan's."""
    slo = parse_gate(plan.slo)
    with schemapi.debug_mode(False):  # as in `run`
        charts = capacity_charts(plan, slo)
    return page_html(
        "capacity.html",
        Glossary(PLAN_TERMS),
        charts,
        plan=plan,
        vendor_text=texts.vendor_text(plan, slo),
        slo=f"{slo.metric} {slo.statistic}".strip(),
        css_class=SettingRow("", plan.answer, ()).css_class,
        tiles=_tiles(plan, slo),
        settings=_settings(plan, slo),
        options=[SettingRow(str(n), each, _figures(slo, each)) for n, each in enumerate(plan.options, 1)],
        **_shared(plan.calibration, plan.checks),
    )


def backtest_html(report: BacktestReport) -> str:
    """Return the page of a prediction compared with runs, without a plan."""
    return page_html("backtest.html", Glossary(PLAN_TERMS), [], **_shared(report.calibration, report.checks))


def _shared(calibration: Calibration, checks: Sequence[BacktestResult]) -> dict[str, Any]:
    """Return the variables of `calibration.html` and `backtest_table.html`."""
    return {
        "texts": texts,
        "calibration": calibration,
        "measured_times": _measured_times(calibration),
        "mean": _cell(calibration.execution_mean_ms, milliseconds),
        "min_sizes": min_sample_sizes(),
        "backtests": [(check, [_backtest_row(each) for each in check.figures]) for check in checks],
    }


def _backtest_row(figure: FigureCheck) -> BacktestRow:
    name, text = texts.FIGURES[figure.name]
    measured = Figure("", figure.measured, DASH if figure.measured is None else text(figure.measured))
    off = figure.predicted.value if figure.error is None and figure.measured is not None else figure.error
    error = Figure("", off, texts.error_text(figure))
    return BacktestRow(name, _cell(figure.predicted, text), Cell(measured), error, figure.in_interval)


def _tiles(plan: Plan, slo: Gate) -> list[tuple[str, str, Cell]]:
    """Return glossary entry, title and figure of each key figure."""
    found = plan.answer.prediction
    highest = plan.highest_rate_per_s
    tiles = [
        ("slo", f"{slo.metric} {slo.statistic}".strip().capitalize(), _observed(slo, plan.answer)),
        ("utilisation", "Busy", _cell(found.utilisation, share)),
        ("cliff", "Meets it up to", Cell(Figure("", highest, DASH if highest is None else rate(highest)))),
    ]
    if plan.price is not None:
        tiles.append(("billed", "Cost per hour", _cell(found.cost_per_hour, _dollars)))
        tiles.append(("billed", "Per 1000 jobs", _cell(found.cost_per_1000_jobs, _dollars)))
    return tiles


def _settings(plan: Plan, slo: Gate) -> list[SettingRow]:
    """Return the vendor's rule, one fewer, the answer, and 10 % less and more; equal neighbours as one row."""
    named = [("Vendor’s rule", plan.curves.vendor), ("One fewer", plan.one_fewer), ("The answer", plan.answer)]
    named += [("10 % less", plan.cliff.less), ("10 % more", plan.cliff.more)]
    rows: list[SettingRow] = []
    for label, evaluated in named:
        if evaluated is None:
            continue
        if rows and rows[-1].evaluated == evaluated:
            rows[-1] = SettingRow(f"{rows[-1].label}, {label.lower()}", evaluated, rows[-1].cells)
        else:
            rows.append(SettingRow(label, evaluated, _figures(slo, evaluated)))
    return rows


def _figures(slo: Gate, evaluated: EvaluatedSetting) -> list[Cell]:
    """Return the objective's figure, delay p50 and p99, busy, waits, cold, and dollars per hour and per 1000 jobs."""
    found = evaluated.prediction
    delay_ms = found.delay_ms
    return [
        _observed(slo, evaluated),
        _cell(None if delay_ms is None else delay_ms.p50, milliseconds),
        _cell(None if delay_ms is None else delay_ms.p99, milliseconds),
        _cell(found.utilisation, share),
        _cell(found.waits, share),
        _cell(found.cold, share),
        _cell(found.cost_per_hour, _dollars),
        _cell(found.cost_per_1000_jobs, _dollars),
    ]


def _observed(slo: Gate, evaluated: EvaluatedSetting) -> Cell:
    return _cell(evaluated.observed, lambda value: texts.figure_text(slo, value))


def _cell(estimate: Estimate | None, text: Callable[[float], str]) -> Cell:
    """Return a figure with its interval, cut off at 0; without it if both ends read like the figure."""
    if estimate is None:
        return Cell(Figure("", None, DASH))
    low, high = (Figure("", end, text(max(0.0, end))) for end in (estimate.low, estimate.high))
    shown = Figure("", estimate.value, text(estimate.value))
    return Cell(shown, None if low.text == high.text == shown.text else (low, high))


def _dollars(amount: float) -> str:
    return dollars(float(f"{amount:.3g}"))


def _measured_times(calibration: Calibration) -> list[QuantileRow]:
    """Return a row for each kind of time that was measured."""
    times = [
        ("Execution", "execution", calibration.execution_ms),
        ("Cold start", "start", calibration.cold_start_ms),
        ("Revival", "start", calibration.revival_ms),
        ("Dispatch", "dispatch", calibration.dispatch_ms),
        ("Overhead", "overhead", calibration.overhead_ms),
    ]
    return [quantile_row(label, term, q) for label, term, q in times if q.n]
