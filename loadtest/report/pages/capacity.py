"""The pages of a capacity plan and of a backtest, each in one HTML file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from loadtest.capacity.backtest.backtest import BacktestResult
from loadtest.capacity.calibration.calibrate import Calibration
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.planning.objective import EvaluatedSetting
from loadtest.capacity.planning.plan import BacktestReport, Plan
from loadtest.report import capacity_text as texts
from loadtest.report.charts.base import unchecked
from loadtest.report.charts.capacity import capacity_charts
from loadtest.report.formatting import DASH, dollars, milliseconds, rate, share
from loadtest.report.pages.glossary import PLAN_TERMS, Glossary
from loadtest.report.pages.page import page_html
from loadtest.scenario.gates import Gate, parse_gate


@dataclass(frozen=True)
class Cell:
    """A figure and its text, and both ends of its interval, if it has one."""

    value: float | None
    text: str
    interval: tuple[tuple[float, str], tuple[float, str]] | None = None


@unchecked
def capacity_html(plan: Plan) -> str:
    """Return the page of a plan; every figure is the plan's."""
    slo = parse_gate(plan.slo)
    return page_html(
        "capacity.html",
        Glossary(PLAN_TERMS),
        capacity_charts(plan, slo),
        plan=plan,
        vendor_text=texts.vendor_text(plan, slo),
        slo=f"{slo.metric} {slo.statistic}".strip(),
        tiles=_tiles(plan, slo),
        settings=_settings(plan),
        figures=partial(_figures, slo),
        **_shared(plan.calibration, (*plan.backtests, *plan.checks)),
    )


def backtest_html(report: BacktestReport) -> str:
    """Return the page of a prediction compared with runs, without a plan."""
    return page_html("backtest.html", Glossary(PLAN_TERMS), [], **_shared(report.calibration, report.checks))


def _shared(calibration: Calibration, checks: Sequence[BacktestResult]) -> dict[str, Any]:
    """Return the variables of `calibration.html` and `backtest_table.html`."""
    return {
        "texts": texts,
        "calibration": calibration,
        "mean": _cell(calibration.execution_mean_ms, milliseconds),
        "estimate": _cell,
        "backtests": checks,
    }


def _tiles(plan: Plan, slo: Gate) -> list[tuple[str, str, Cell]]:
    """Return glossary entry, title and figure of each key figure."""
    found = plan.answer.prediction
    highest = plan.highest_rate_per_s
    tiles = [
        ("slo", f"{slo.metric} {slo.statistic}".strip().capitalize(), _observed(slo, plan.answer)),
        ("utilisation", "Busy", _cell(found.utilisation, share)),
        ("cliff", "Meets it up to", Cell(highest, rate(highest))),
    ]
    if plan.price is not None:
        tiles.append(("billed", "Cost per hour", _cell(found.cost_per_hour, _dollars)))
        tiles.append(("billed", "Per 1000 jobs", _cell(found.cost_per_1000_jobs, _dollars)))
    return tiles


def _settings(plan: Plan) -> list[tuple[str, EvaluatedSetting]]:
    """Return the vendor's rule, one fewer, the answer, and 10 % less and more; equal neighbours as one row."""
    named = [("Vendor’s rule", plan.curves.vendor), ("One fewer", plan.one_fewer), ("The answer", plan.answer)]
    named += [("10 % less", plan.cliff.less), ("10 % more", plan.cliff.more)]
    rows: list[tuple[str, EvaluatedSetting]] = []
    for label, evaluated in named:
        if evaluated is None:
            continue
        if rows and rows[-1][1] == evaluated:
            rows[-1] = (f"{rows[-1][0]}, {label.lower()}", evaluated)
        else:
            rows.append((label, evaluated))
    return rows


def _figures(slo: Gate, evaluated: EvaluatedSetting) -> list[Cell]:
    """Return the objective's figure, delay p50 and p99, busy, waits, cold, failed, dollars per hour and 1000 jobs."""
    found = evaluated.prediction
    delay_ms = found.delay_ms
    return [
        _observed(slo, evaluated),
        _cell(None if delay_ms is None else delay_ms.p50, milliseconds),
        _cell(None if delay_ms is None else delay_ms.p99, milliseconds),
        _cell(found.utilisation, share),
        _cell(found.waits, share),
        _cell(found.cold, share),
        _cell(found.failed, share),
        _cell(found.cost_per_hour, _dollars),
        _cell(found.cost_per_1000_jobs, _dollars),
    ]


def _observed(slo: Gate, evaluated: EvaluatedSetting) -> Cell:
    return _cell(evaluated.observed, lambda value: texts.figure_text(slo, value))


def _cell(estimate: Estimate | None, text: Callable[[float], str]) -> Cell:
    """Return a figure with its interval, cut off at 0; without it if both ends read like the figure."""
    if estimate is None:
        return Cell(None, DASH)
    low, high = ((end, text(max(0.0, end))) for end in (estimate.low, estimate.high))
    shown = text(estimate.value)
    return Cell(estimate.value, shown, None if low[1] == high[1] == shown else (low, high))


def _dollars(amount: float) -> str:
    return dollars(float(f"{amount:.3g}"))
