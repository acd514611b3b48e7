"""A capacity plan on a terminal: the answer in a sentence, a table of settings, the cliff, and what was not known."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.capacity.calibrate import Calibration
from loadtest.capacity.objective import Judged, Standing
from loadtest.capacity.plan import Plan
from loadtest.capacity.setting import Setting
from loadtest.capacity.values import Estimate
from loadtest.report.words import NOTHING, count, dollars, milliseconds, rate, share, three_digits

_COLOURS = {Standing.MET: "green", Standing.NOT_MET: "red", Standing.CANNOT_TELL: "yellow"}


def print_plan(plan: Plan, console: Console) -> None:
    """Write the plan in 80 columns; colours only where the console is a terminal."""
    console.print(Text(_answer(plan)))
    console.print()
    console.print(_table(plan))
    console.print()
    console.print(Text(_near(plan)))
    console.print(Text(_quick(plan)))
    console.print(Text(_calibrated(plan.calibration)))
    for missing in plan.calibration.missing:
        console.print(Text(f"Not known: {missing.what}. To measure it: {missing.measure}."))
    for note in plan.calibration.notes:
        console.print(Text(note))


def _answer(plan: Plan) -> str:
    answer = plan.answer
    words = {
        Standing.MET: f"meet {plan.slo}",
        Standing.NOT_MET: f"do not meet {plan.slo}",
        Standing.CANNOT_TELL: f"are too close to {plan.slo} to tell",
    }
    said = f"{_workers(answer.prediction.setting)} {words[answer.standing]} at {rate(plan.rate_per_s)}"
    if not answer.prediction.settles:
        return f"{said}: {three_digits(answer.prediction.offered_load)} are offered work all the time."
    per_hour, per_1000 = answer.prediction.cost_per_hour, answer.prediction.cost_per_1000_jobs
    if per_hour is None or per_1000 is None:
        return f"{said}."
    return f"{said}: {dollars(per_hour.value)} an hour, {dollars(per_1000.value)} per 1000 jobs."


def _workers(setting: Setting) -> str:
    if setting.fixed:
        return "1 active worker" if setting.active == 1 else f"{setting.active} active workers"
    return f"{setting.active} active of {setting.most} workers"


def _table(plan: Plan) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("workers", no_wrap=True)
    for header in ("rate", "delay p50", "p95", "busy", "cold", "$/hour", "$/1000"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    rows = [plan.fewer, plan.answer, plan.cliff.less, plan.cliff.more, *plan.options]
    for row in rows:
        if row is not None:
            table.add_row(*_cells(row), Text(row.standing.value, style=_COLOURS[row.standing]))
    return table


def _cells(row: Judged) -> list[str]:
    found = row.prediction
    setting = found.setting
    workers = str(setting.active) if setting.fixed else f"{setting.active} to {setting.most}"
    if not setting.fixed:
        workers += f"\n  {setting.scaling}\n  idle {three_digits(setting.idle_timeout_s)} s"
    delay = found.delay_ms
    return [
        workers,
        rate(found.rate_per_s),
        NOTHING if delay is None else milliseconds(delay.p50.value),
        NOTHING if delay is None else milliseconds(delay.p95.value),
        _share(found.utilisation),
        _share(found.cold),
        NOTHING if found.cost_per_hour is None else dollars(round(found.cost_per_hour.value, 4)),
        NOTHING if found.cost_per_1000_jobs is None else dollars(round(found.cost_per_1000_jobs.value, 6)),
    ]


def _share(value: Estimate | None) -> str:
    return NOTHING if value is None else share(value.value)


def _near(plan: Plan) -> str:
    if plan.highest_rate_per_s is None:
        return f"{plan.cliff.detail} These workers meet it at no rate."
    return f"{plan.cliff.detail} These workers meet it up to {rate(plan.highest_rate_per_s)}."


def _quick(plan: Plan) -> str:
    quick = plan.quick
    load = three_digits(quick.offered_load)
    rule = f"The vendor's rule gives {quick.vendor_workers}, the bare offered load of {load}."
    if quick.p95_delay_ms is None:
        return f"{rule} By formula the queue never settles."
    return (
        f"{rule} By formula (Erlang C, Allen–Cunneen) {share(quick.waits)} of jobs wait and delay p95 is "
        f"{milliseconds(quick.p95_delay_ms)}, without {quick.leaves_out[0]}."
    )


def _calibrated(calibration: Calibration) -> str:
    mean = calibration.execution_mean_ms
    return (
        f"Calibrated from {count(calibration.jobs)} jobs: execution {milliseconds(mean.value)} on average "
        f"({milliseconds(mean.low)} to {milliseconds(mean.high)}), CV {calibration.execution_variation:.2f}, "
        f"each to the next {calibration.execution_autocorrelation:.2f} correlated; arrivals {calibration.arrivals}."
    )
