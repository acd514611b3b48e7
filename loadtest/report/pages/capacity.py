"""A capacity plan in one HTML file that needs nothing else, as a report has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from altair.utils import schemapi

from loadtest.capacity.backtest.backtest import BacktestResult
from loadtest.capacity.backtest.backtest import FigureCheck as CheckedFigure
from loadtest.capacity.calibration.calibrate import Calibration
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.planning.objective import EvaluatedSetting, ObjectiveStatus
from loadtest.capacity.planning.plan import BacktestReport, Plan
from loadtest.report.charts.capacity import capacity_charts
from loadtest.report.formatting import DASH, dollars, milliseconds, rate, share
from loadtest.report.pages.glossary import PLAN_TERMS, Glossary
from loadtest.report.pages.page import page_html
from loadtest.report.tables import Cell, Figure, QuantileRow, min_sample_sizes, quantile_row
from loadtest.report.terminal import capacity as texts
from loadtest.report.terminal.backtest import FIGURES, cause_texts, error_text, run_text
from loadtest.scenario.gates import Gate, parse_gate

STANDING_CLASSES = {
    ObjectiveStatus.MET: "pass",
    ObjectiveStatus.NOT_MET: "fail",
    ObjectiveStatus.CANNOT_TELL: "inconclusive",
}
"""How the page's style calls what a setting comes to."""


@dataclass(frozen=True)
class SettingRow:
    """A setting in a table: why it stands there, what it is, its figures in order, and what it comes to."""

    label: str
    judged: EvaluatedSetting
    cells: Sequence[Cell]


@dataclass(frozen=True)
class HeldOutRow:
    """A figure that was predicted and measured; `inside` whether within the interval, where both are known."""

    name: str
    predicted: Cell
    measured: Cell
    error: Figure
    inside: bool | None


def capacity_html(plan: Plan) -> str:
    """The whole page. Every figure is the plan's."""
    slo = parse_gate(plan.slo)
    with schemapi.debug_mode(False):  # as in `html`
        charts = capacity_charts(plan)
    return page_html(
        "capacity.html",
        Glossary(PLAN_TERMS),
        charts,
        plan=plan,
        texts=texts,
        slo=f"{slo.metric} {slo.statistic}".strip(),
        tone=STANDING_CLASSES[plan.answer.standing],
        tones=STANDING_CLASSES,
        tiles=_tiles(plan, slo),
        settings=_settings(plan, slo),
        options=[SettingRow(str(n), each, _figures(slo, each)) for n, each in enumerate(plan.options, 1)],
        **_calibration_shown(plan.calibration),
        **_checks_shown(plan.checks),
    )


def checked_html(checked: BacktestReport) -> str:
    """The page where nothing was planned: a prediction held against runs, and what it was predicted from."""
    return page_html(
        "checked.html",
        Glossary(PLAN_TERMS),
        [],
        **_calibration_shown(checked.calibration),
        **_checks_shown(checked.checks),
    )


def _calibration_shown(calibration: Calibration) -> dict[str, Any]:
    """What `calibration.html` takes."""
    return {
        "calibration": calibration,
        "calibrated": _calibrated(calibration),
        "mean": _cell(calibration.execution_mean_ms, milliseconds),
        "law": calibration.scalability.law,
        "needs": min_sample_sizes(),
        "takes_text": texts.pattern_text,
    }


def _checks_shown(checks: Sequence[BacktestResult]) -> dict[str, Any]:
    """What `held_out.html` takes."""
    return {
        "held_out": [(check, [_held_out(each) for each in check.figures]) for check in checks],
        "run_text": run_text,
        "cause_texts": cause_texts,
    }


def _held_out(figure: CheckedFigure) -> HeldOutRow:
    name, text = FIGURES[figure.name]
    measured = Figure("", figure.measured, DASH if figure.measured is None else text(figure.measured))
    off = figure.predicted.value if figure.error is None and figure.measured is not None else figure.error
    error = Figure("", off, error_text(figure))
    return HeldOutRow(name, _cell(figure.predicted, text), Cell(measured), error, figure.in_interval)


def _tiles(plan: Plan, slo: Gate) -> list[tuple[str, str, Cell]]:
    """Term, title and figure of what is asked first."""
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
    """The vendor's rule, one fewer, the answer, and the answer at a tenth less and more; the same one said once."""
    named = [("Vendor’s rule", plan.curves.vendor), ("One fewer", plan.one_fewer), ("The answer", plan.answer)]
    named += [("10 % less", plan.cliff.less), ("10 % more", plan.cliff.more)]
    rows: list[SettingRow] = []
    for label, judged in named:
        if judged is None:
            continue
        if rows and rows[-1].judged == judged:
            rows[-1] = SettingRow(f"{rows[-1].label}, {label.lower()}", judged, rows[-1].cells)
        else:
            rows.append(SettingRow(label, judged, _figures(slo, judged)))
    return rows


def _figures(slo: Gate, judged: EvaluatedSetting) -> list[Cell]:
    """The objective's figure, delay p50 and p99, busy, waits, cold, and dollars per hour and per 1000 jobs."""
    found = judged.prediction
    delay_ms = found.delay_ms
    return [
        _observed(slo, judged),
        _cell(None if delay_ms is None else delay_ms.p50, milliseconds),
        _cell(None if delay_ms is None else delay_ms.p99, milliseconds),
        _cell(found.utilisation, share),
        _cell(found.waits, share),
        _cell(found.cold, share),
        _cell(found.cost_per_hour, _dollars),
        _cell(found.cost_per_1000_jobs, _dollars),
    ]


def _observed(slo: Gate, judged: EvaluatedSetting) -> Cell:
    return _cell(judged.observed, lambda value: texts.figure_text(slo, value))


def _cell(estimate: Estimate | None, text: Callable[[float], str]) -> Cell:
    """A figure between the ends of its interval; nothing here is less than nothing, whatever a mean's error says."""
    if estimate is None:
        return Cell(Figure("", None, DASH))
    low, high = (Figure("", end, text(max(0.0, end))) for end in (estimate.low, estimate.high))
    shown = Figure("", estimate.value, text(estimate.value))
    return Cell(shown, None if low.text == high.text == shown.text else (low, high))


def _dollars(amount: float) -> str:
    return dollars(float(f"{amount:.3g}"))


def _calibrated(calibration: Calibration) -> list[QuantileRow]:
    """What was measured, each kind of time that was seen at all."""
    times = [
        ("Execution", "execution", calibration.execution_ms),
        ("Cold start", "start", calibration.cold_start_ms),
        ("Revival", "start", calibration.revival_ms),
        ("Dispatch", "dispatch", calibration.dispatch_ms),
        ("Overhead", "overhead", calibration.overhead_ms),
    ]
    return [quantile_row(label, term, q) for label, term, q in times if q.n]
