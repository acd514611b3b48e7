"""A capacity plan on a terminal: the answer in a sentence, a table of settings, the cliff, and what was not known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.capacity.calibration.calibrate import Calibration
from loadtest.capacity.calibration.scalability import Scalability
from loadtest.capacity.calibration.take_pattern import Source, TakePattern
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.planning.objective import EvaluatedSetting, ObjectiveStatus
from loadtest.capacity.planning.plan import Plan
from loadtest.capacity.simulation.workload import WorkerConfig, fixed
from loadtest.report.formatting import DASH, count, dollars, milliseconds, rate, share, significant
from loadtest.scenario.gates import Gate, parse_gate

_COLOURS = {ObjectiveStatus.MET: "green", ObjectiveStatus.NOT_MET: "red", ObjectiveStatus.CANNOT_TELL: "yellow"}


def print_plan(plan: Plan, console: Console) -> None:
    """Write the plan in 80 columns; colours only where the console is a terminal."""
    console.print(Text(answer_text(plan)))
    console.print()
    rows = (plan.one_fewer, plan.answer, plan.cliff.less, plan.cliff.more)
    console.print(_settings([row for row in rows if row is not None]))
    console.print()
    if plan.options:
        console.print(_options(plan.options))
        console.print()
    for left in plan.left_out:
        console.print(Text(f"{left.scaler}, idle {milliseconds(left.idle_timeout_s * 1000)}: {left.why}."))
    console.print(Text(sensitivity_text(plan)))
    console.print(Text(quick_text(plan)))
    console.print(Text(scalability_text(plan.calibration.scalability)))
    console.print(Text(calibration_text(plan.calibration)))
    console.print(Text(pattern_text(plan.calibration.pattern)))
    for sentence in missing_measurements(plan.calibration):
        console.print(Text(sentence))


def print_page(page: Path, console: Console) -> None:
    """Write where the page is."""
    console.print()
    # As in `terminal`: a path is for copying.
    console.print(Text.assemble("report  ", str(page)), soft_wrap=True)


def missing_measurements(calibration: Calibration) -> list[str]:
    """What no run showed, with what would measure it, and what was assumed."""
    missing = [f"Not known: {each.what}. To measure it: {each.measure}." for each in calibration.missing]
    return [*missing, *calibration.notes]


def answer_text(plan: Plan) -> str:
    """The answer in a sentence, with what it costs where there is a price."""
    answer = plan.answer
    meets, does, are = ("meets", "does", "is") if answer.prediction.setting == fixed(1) else ("meet", "do", "are")
    words = {
        ObjectiveStatus.MET: f"{meets} {plan.slo}",
        ObjectiveStatus.NOT_MET: f"{does} not meet {plan.slo}",
        ObjectiveStatus.CANNOT_TELL: f"{are} too close to {plan.slo} to tell",
    }
    said = f"{workers(answer.prediction.setting)} {words[answer.standing]} at {rate(plan.rate_per_s)}"
    if not answer.prediction.settles:
        peak_load = answer.prediction.peak_load
        load, when = (
            (answer.prediction.offered_load, "all the time") if peak_load is None else (peak_load, "at the peak")
        )
        return f"{said}: {significant(load)} are offered work {when}."
    per_hour, per_1000 = answer.prediction.cost_per_hour, answer.prediction.cost_per_1000_jobs
    if per_hour is None or per_1000 is None:
        return f"{said}."
    return f"{said}: {dollars(per_hour.value)} an hour, {dollars(per_1000.value)} per 1000 jobs."


def workers(setting: WorkerConfig) -> str:
    """The workers of a setting, in words."""
    if setting.fixed:
        return "1 active worker" if setting.active == 1 else f"{setting.active} active workers"
    return f"{setting.active} active of {setting.max_workers} workers"


def _settings(rows: Sequence[EvaluatedSetting]) -> Table:
    table = columns("workers", "rate", "delay p50", "p95", "busy", "$/hour", "$/1000")
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
            Text(row.standing.value, style=_COLOURS[row.standing]),
        )
    return table


def _options(rows: Sequence[EvaluatedSetting]) -> Table:
    table = columns("flex workers", "scaler", "idle", "p95", "cold", "$/hour", "$/1000")
    for row in rows:
        setting = row.prediction.setting
        idle = milliseconds(setting.idle_timeout_s * 1000)
        cells = [
            range_text(setting),
            str(setting.scaler),
            idle,
            _p95(row),
            _share(row.prediction.cold),
            *_money(row),
        ]
        table.add_row(*cells)
    return table


def columns(first: str, *others: str) -> Table:
    """A table without rows; all columns but the first stand to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(first, no_wrap=True)
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def range_text(setting: WorkerConfig) -> str:
    """The workers of a setting in a cell."""
    return str(setting.active) if setting.fixed else f"{setting.active} to {setting.max_workers}"


def _p95(row: EvaluatedSetting) -> str:
    delay_ms = row.prediction.delay_ms
    return DASH if delay_ms is None else milliseconds(delay_ms.p95.value)


def _money(row: EvaluatedSetting) -> tuple[str, str]:
    return _dollars(row.prediction.cost_per_hour), _dollars(row.prediction.cost_per_1000_jobs)


def _dollars(amount: Estimate | None) -> str:
    return dollars(None if amount is None else float(f"{amount.value:.3g}"))


def _share(value: Estimate | None) -> str:
    return DASH if value is None else share(value.value)


def sensitivity_text(plan: Plan) -> str:
    """How near the answer stands to where delays run away."""
    answer = plan.answer.prediction
    unsure = _may_never_settle(plan, answer.setting.max_workers) if answer.settles else ""
    if plan.highest_rate_per_s is None:
        return f"{plan.cliff.detail} These workers meet it at no rate.{unsure}"
    return f"{plan.cliff.detail} These workers meet it up to {rate(plan.highest_rate_per_s)}.{unsure}"


def vendor_text(plan: Plan) -> str:
    """What the vendor's rule gives, and what would come of it."""
    workers, vendor = plan.analytic.vendor_workers, plan.curves.vendor
    load = significant(plan.analytic.vendor_load)
    rule = f"The vendor's rule gives {workers}, the bare offered load of {load} rounded up"
    if plan.analytic.peak > 1:
        rule += f", on average over a day whose peak of {plan.analytic.peak:.3g} times that it leaves out"
    if plan.calibration.pattern.pause_s > 0:
        with_pause = significant(plan.analytic.offered_load / plan.analytic.peak)
        rule += f"; it leaves out the pause after each take, with which the load is {with_pause}"
    if not vendor.prediction.settles and plan.analytic.peak > 1:
        return f"{rule}: at the peak they never catch up."
    if not vendor.prediction.settles:
        return f"{rule}: always at work, they never catch up, and the queue never settles."
    unsure = _may_never_settle(plan, workers)
    if vendor.observed is None:
        nearly = "so nearly always at work that their queue takes longer to settle than can be simulated"
        return f"{rule}: {nearly}.{unsure}"
    found = figure_text(parse_gate(plan.slo), vendor.observed.value)
    words = {
        ObjectiveStatus.MET: "meets it too",
        ObjectiveStatus.NOT_MET: "does not meet it",
        ObjectiveStatus.CANNOT_TELL: "is too close",
    }
    return f"{rule}; that {words[vendor.standing]}, at {found}.{unsure}"


def _may_never_settle(plan: Plan, workers: int) -> str:
    """A sentence where the jobs' true mean may be so long that so many workers never catch up; else nothing."""
    longest_ms = plan.calibration.execution_mean_ms.high
    if plan.rate_per_s * plan.analytic.peak * longest_ms / 1000 < workers:
        return ""
    return f" The mean execution may be up to {milliseconds(longest_ms)}; then their queue never settles."


def figure_text(slo: Gate, value: float) -> str:
    """A figure of the objective for people: seconds as a time, a share in percent."""
    return share(value) if slo.metric.is_share else milliseconds(value * 1000)


def quick_text(plan: Plan) -> str:
    """The vendor's rule and the formulas, each in a sentence."""
    quick = plan.analytic
    where = "By formula at the peak" if quick.peak > 1 else "By formula"
    if quick.p95_delay_ms is None:
        return f"{vendor_text(plan)} {where} the queue never settles."
    return (
        f"{vendor_text(plan)} {where} (Erlang C, Allen–Cunneen) {share(quick.wait_probability)} of jobs wait and "
        f"delay p95 "
        f"is {milliseconds(quick.p95_delay_ms)}, without {quick.leaves_out[0]}."
    )


def scalability_text(found: Scalability) -> str:
    """What the scalability law says, or what it would take."""
    if found.law is None:
        return f"For the scalability law (USL) it takes {found.missing}."
    law = found.law
    alpha, beta = (f"{each.value:.2g} ({each.low:.2g} to {each.high:.2g})" for each in (law.alpha, law.beta))
    said = f"By the scalability law (USL) through {len(found.points)} runs contention is {alpha}, coherency {beta}"
    if law.peak_n is None or law.peak is None:
        return f"{said}; nothing shows that throughput turns back."
    return f"{said}; throughput is greatest, {rate(law.peak)}, with {law.peak_n:.0f} workers at work."


def pattern_text(pattern: TakePattern) -> str:
    """How workers pace their takes, and from where that is known."""
    known = {
        Source.SETTINGS: "as the endpoint's settings say",
        Source.SEEN: f"seen in {count(pattern.waited_for)} takes that jobs waited for",
        Source.ASSUMED: "not seen, since too few jobs waited: so does the vendor's SDK at a concurrency of 1",
        Source.NONE_SEEN: "too few jobs waited for a worker to tell",
    }[pattern.evidence]
    if pattern.evidence is Source.NONE_SEEN:
        return f"No pause of workers between takes was seen; {known}."
    if pattern.pause_s <= 0:
        return f"Workers take the next job at once, {known}."
    longer = ""
    if pattern.occupied_mean_ms > pattern.pause_s * 1000:
        longer = ", after a longer one " + (
            "so long after its end" if pattern.blocked else "at the next multiple of that"
        )
    return (
        f"Workers take a job each {pattern.pause_s:.2f} s at most{longer} ({known}): one occupies a worker for "
        f"{milliseconds(pattern.occupied_mean_ms)} on average."
    )


def calibration_text(calibration: Calibration) -> str:
    """What was calibrated from, in a sentence."""
    mean = calibration.execution_mean_ms
    return (
        f"Calibrated from {count(calibration.jobs)} jobs: execution {milliseconds(mean.value)} on average "
        f"({milliseconds(mean.low)} to {milliseconds(mean.high)}), CV {calibration.execution_variation:.2f}, "
        f"each to the next {calibration.execution_autocorrelation:.2f} correlated; arrivals {calibration.arrivals}."
    )
