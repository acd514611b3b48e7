"""The sentences of a capacity plan and of a backtest, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loadtest.capacity.backtest.backtest import BacktestResult, FigureCheck
from loadtest.capacity.calibration.calibrate import Calibration
from loadtest.capacity.calibration.concurrency import Concurrency
from loadtest.capacity.calibration.measurements import MissingMeasurement
from loadtest.capacity.calibration.scalability import Scalability
from loadtest.capacity.calibration.start_times import StartTime
from loadtest.capacity.calibration.take_pattern import Source, TakePattern
from loadtest.capacity.planning.objective import ObjectiveStatus
from loadtest.capacity.planning.plan import Plan
from loadtest.capacity.simulation.workload import WorkerConfig, fixed
from loadtest.report.formatting import (
    DASH,
    count,
    dollars,
    duration,
    milliseconds,
    rate,
    share,
    signed_share,
    significant,
)
from loadtest.scenario.gates import Gate

FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "delay_p50_ms": ("delay p50", milliseconds),
    "delay_p95_ms": ("delay p95", milliseconds),
    "throughput_per_s": ("throughput", rate),
    "worker_s": ("worker time", lambda worker_s: f"{significant(worker_s)} s"),
}
"""The name of each figure of a backtest, and its format."""


def answer_text(plan: Plan) -> str:
    """Return the answer in a sentence, with its cost if there is a price."""
    answer = plan.answer
    setting = answer.prediction.setting
    meets, does, are = ("meets", "does", "is") if setting == fixed(1) else ("meet", "do", "are")
    verbs = {ObjectiveStatus.MET: f"{meets} {plan.slo}", ObjectiveStatus.NOT_MET: f"{does} not meet {plan.slo}"}
    verb = verbs.get(answer.standing, f"{are} too close to {plan.slo} for a verdict")
    text = f"{workers(setting)} {verb} at {rate(plan.rate_per_s)}"
    if not answer.prediction.settles:
        peak_load = answer.prediction.peak_load
        load, when = (answer.prediction.offered_load, "") if peak_load is None else (peak_load, " at the peak")
        return f"{text}: the offered load is {significant(load)} workers{when}."
    per_hour, per_1000 = answer.prediction.cost_per_hour, answer.prediction.cost_per_1000_jobs
    if per_hour is None or per_1000 is None:
        return f"{text}."
    return f"{text}: {dollars(per_hour.value)} an hour, {dollars(per_1000.value)} per 1000 jobs."


def failures_text(plan: Plan) -> str:
    """Return the share of jobs that are not predicted to complete, and of what; "" if all do."""
    found, calibration = plan.answer.prediction, plan.calibration
    if found.failed is None or found.timed_out is None or found.failed.value == 0:
        return ""
    low, high = share(found.failed.low), share(found.failed.high)
    text = f"{share(found.failed.value)} of the jobs ({low} to {high}) do not complete"
    if found.timed_out.value > 0:
        text += f", {share(found.timed_out.value)} because they pass their execution timeout or time to live"
    rate_text = f"; workers die in {share(calibration.crashes.rate)} of the tries" if calibration.crashes.rate else ""
    return f"{text}{rate_text}."


def crashes_text(calibration: Calibration) -> str:
    """Return how often jobs lose their worker, and how that is known; "" if none did."""
    crashes = calibration.crashes
    if crashes.rate == 0:
        return ""
    seen = f"seen {significant(crashes.seen)} times in {count(round(crashes.of))} tries"
    how = "by the endpoint's settings" if crashes.of == 0 else seen
    return f"Workers die in {share(crashes.rate)} of the tries ({how}); a job is tried {crashes.tries} times."


def billing_text(plan: Plan) -> str:
    """Return how many workers are billed, and how many of these are initializing."""
    found = plan.answer.prediction
    if found.billed_workers is None or found.initializing_workers is None:
        return "Nothing is billed of a queue that never settles."
    billed, initializing = found.billed_workers.value, found.initializing_workers.value
    if initializing == 0:
        return f"{significant(billed)} workers are billed on average, none of them initializing."
    return (
        f"{significant(billed)} workers are billed on average if initializing is, "
        f"{significant(billed - initializing)} if it is not."
    )


def workers(setting: WorkerConfig) -> str:
    """Return the workers of a setting, such as "2 active of 8 workers"."""
    if setting.fixed:
        return "1 active worker" if setting.active == 1 else f"{setting.active} active workers"
    return f"{setting.active} active of {setting.max_workers} workers"


def range_text(setting: WorkerConfig) -> str:
    """Return the workers of a setting for a cell, such as "2 to 8"."""
    return str(setting.active) if setting.fixed else f"{setting.active} to {setting.max_workers}"


def sensitivity_text(plan: Plan) -> str:
    """Return how close the answer is to the rate from which delays grow without bound."""
    answer = plan.answer.prediction
    doubt = _may_never_settle(plan, answer.setting.max_workers) if answer.settles else ""
    limit = "at no rate" if plan.highest_rate_per_s is None else f"up to {rate(plan.highest_rate_per_s)}"
    return f"{plan.cliff.detail} These workers meet it {limit}.{doubt}"


def vendor_text(plan: Plan, slo: Gate) -> str:
    """Return the number of workers by the vendor's rule, and how they would do."""
    analytic, vendor = plan.analytic, plan.curves.vendor
    load = significant(analytic.vendor_load)
    rule = f"The vendor's rule gives {analytic.vendor_workers}, the bare offered load of {load} rounded up"
    if analytic.peak > 1:
        rule += f", as the average of a day; it leaves out the peak of {analytic.peak:.3g} times that"
    if plan.calibration.pattern.pause_s > 0:
        with_pause = significant(analytic.offered_load / analytic.peak)
        rule += f"; it leaves out the pause after each take, with which the load is {with_pause}"
    if not vendor.prediction.settles:
        always = "always busy, they never catch up, and the queue never settles"
        return f"{rule}: {'at the peak they never catch up' if analytic.peak > 1 else always}."
    doubt = _may_never_settle(plan, analytic.vendor_workers)
    if vendor.observed is None:
        return (
            f"{rule}: they are busy for so large a share of the time that the simulation is too short for it.{doubt}"
        )
    verbs = {ObjectiveStatus.MET: "meets it too", ObjectiveStatus.NOT_MET: "does not meet it"}
    verb = verbs.get(vendor.standing, "is too close for a verdict")
    return f"{rule}; that {verb}, at {figure_text(slo, vendor.observed.value)}.{doubt}"


def _may_never_settle(plan: Plan, workers: int) -> str:
    """Return a sentence if the true mean execution may be too long for this number of workers, else ""."""
    longest_ms = plan.calibration.execution_mean_ms.high
    if plan.rate_per_s * plan.analytic.peak * longest_ms / 1000 < workers:
        return ""
    return f" The mean execution may be up to {milliseconds(longest_ms)}; then their queue never settles."


def figure_text(slo: Gate, value: float) -> str:
    """Return a figure of the objective: seconds as a time, a fraction in percent."""
    return share(value) if slo.metric.is_share else milliseconds(value * 1000)


def analytic_text(plan: Plan, slo: Gate) -> str:
    """Return the vendor's rule and the result of the formulas, each in a sentence."""
    analytic = plan.analytic
    formula = "By formula at the peak" if analytic.peak > 1 else "By formula"
    if analytic.p95_delay_ms is None:
        return f"{vendor_text(plan, slo)} {formula} the queue never settles."
    return (
        f"{vendor_text(plan, slo)} {formula} (Erlang C, Allen–Cunneen) {share(analytic.wait_probability)} of jobs "
        f"wait and delay p95 is {milliseconds(analytic.p95_delay_ms)}, without {analytic.leaves_out[0]}."
    )


def scalability_text(found: Scalability) -> str:
    """Return the fitted scalability law, or the measurement that a fit needs."""
    law = found.law
    if law is None:
        return f"The scalability law (USL) needs {found.missing}."
    alpha, beta = (f"{each.value:.2g} ({each.low:.2g} to {each.high:.2g})" for each in (law.alpha, law.beta))
    text = f"By the scalability law (USL) through {len(found.points)} runs contention is {alpha}, coherency {beta}"
    if law.peak_n is None or law.peak is None:
        return f"{text}; throughput has no maximum."
    return f"{text}; throughput is greatest, {rate(law.peak)}, with {law.peak_n:.0f} busy workers."


def pattern_text(pattern: TakePattern) -> str:
    """Return how workers pace their takes, and the evidence for it."""
    if pattern.evidence is Source.NONE_SEEN:
        return "No pause of workers between takes was observed; too few jobs waited for a worker to show one."
    evidence = {
        Source.SETTINGS: "by the endpoint's settings",
        Source.SEEN: f"observed in {count(pattern.waited_for)} takes for which jobs waited",
        Source.ASSUMED: "assumed, because too few jobs waited: the vendor's SDK does so at a concurrency of 1",
    }[pattern.evidence]
    if pattern.pause_s <= 0 and pattern.after_job_s > 0:
        after = milliseconds(pattern.after_job_s * 1000)
        return f"Workers take the next job {after} after the end of one ({evidence})."
    if pattern.pause_s <= 0:
        return f"Workers take the next job immediately, {evidence}."
    longer = ""
    if pattern.occupied_mean_ms > pattern.pause_s * 1000:
        at = "as long again after its end" if pattern.blocked else "at the next multiple of the pause"
        longer = f", after a longer job {at}"
    return (
        f"Workers take at most one job per {pattern.pause_s:.2f} s{longer} ({evidence}): a job occupies a worker for "
        f"{milliseconds(pattern.occupied_mean_ms)} on average."
    )


def concurrency_text(found: Concurrency) -> str:
    """Return how many jobs a worker has at once, how much they slow each other down, and what was not reached."""
    if found.most == 1:
        return "Workers take one job at a time."
    limit = f"Workers have up to {found.most} jobs at once" + ("" if found.known else " as far as the run reached")
    if not found.slowdown:
        return f"{limit}; how much these slow each other down is not known, because the run had one at a time."
    points = ", ".join(
        f"{each.factor.value:.2f} ({each.factor.low:.2f} to {each.factor.high:.2f}) times with {each.jobs}"
        for each in found.slowdown[1:]
    )
    alone = "alone" if found.fewest == 1 else f"with {found.fewest}, the fewest seen"
    return f"{limit}; a job takes {points} as long as {alone}."


def calibration_texts(calibration: Calibration) -> Sequence[str]:
    """Return the calibration in sentences: the jobs, the takes, what is unknown and how to measure it, the notes."""
    mean = calibration.execution_mean_ms
    jobs = (
        f"Calibrated from {count(calibration.jobs)} jobs: execution {milliseconds(mean.value)} on average "
        f"({milliseconds(mean.low)} to {milliseconds(mean.high)}), CV {calibration.execution_variation:.2f}, "
        f"autocorrelation {calibration.execution_autocorrelation:.2f}; arrivals {calibration.arrivals}."
    )
    unknown = [f"Not known: {unknown_text(each)}. To measure it: {each.measure}." for each in calibration.missing]
    workers_texts = pattern_text(calibration.pattern), concurrency_text(calibration.concurrency)
    starts = [
        start_text(name, found)
        for name, found in (("cold start", calibration.cold_start), ("revival", calibration.revival))
        if found.mean_ms is not None
    ]
    died = [text for text in [crashes_text(calibration)] if text]
    return jobs, *workers_texts, *starts, *died, *unknown, *calibration.notes


def unknown_text(missing: MissingMeasurement) -> str:
    """Return what no run shows, and why not if a run has such jobs."""
    return f"{missing.what} ({missing.why})" if missing.why else missing.what


def start_text(name: str, found: StartTime) -> str:
    """Return how long a start takes, how sure that is, and what it was estimated from."""
    mean = found.mean_ms
    if mean is None:
        return f"How long a {name} takes is not known."
    interval = f" ({milliseconds(mean.low)} to {milliseconds(mean.high)})" if mean.high > mean.low else ""
    return (
        f"A {name} takes {milliseconds(mean.value)} on average{interval}, estimated from {found.source}; "
        f"{count(found.n)} seen."
    )


def backtest_texts(plan: Plan) -> Sequence[str]:
    """Return a warning for each run of the calibration that the plan predicts wrongly, or that it cannot predict."""
    wrong = [
        f"Warning: the plan does not predict its own calibration run {each.run}: "
        f"{', '.join(_wrong_text(figure) for figure in each.figures if figure.missed)}. {' '.join(cause_texts(each))}"
        for each in plan.backtests
        if each.missed
    ]
    return *wrong, *(f"Not compared with a run of the calibration: {reason}." for reason in plan.not_backtested)


def _wrong_text(figure: FigureCheck) -> str:
    name, text = FIGURES[figure.name]
    measured = DASH if figure.measured is None else text(figure.measured)
    low, high = text(figure.predicted.low), text(figure.predicted.high)
    return f"{name} predicted {text(figure.predicted.value)} ({low} to {high}), measured {measured}"


def error_text(figure: FigureCheck) -> str:
    """Return the error of a prediction: a share of the measured value, or the difference if that value is 0."""
    if figure.error is not None:
        return signed_share(figure.error)
    return DASH if figure.measured is None else f"+{FIGURES[figure.name][1](figure.predicted.value)}"


def run_text(check: BacktestResult) -> str:
    """Return the name, workers and size of a run that a prediction was compared with."""
    setting = check.setting
    flexible = "" if setting.fixed else f", {setting.scaler}, idle {milliseconds(setting.idle_timeout_s * 1000)}"
    return (
        f"{check.run}: {workers(setting)}{flexible}; {count(check.jobs)} jobs in {duration(check.duration_s)}, "
        f"{count(check.replicas)} replicas."
    )


def cause_texts(check: BacktestResult) -> tuple[str, ...]:
    """Return the main cause of the largest error in a sentence; empty if all errors are small."""
    cause = check.cause
    if cause is None:
        return ()
    name, left, error = FIGURES[cause.figure][0], signed_share(cause.remaining_error), signed_share(cause.error)
    chance = any(each.name == cause.figure and each.in_interval for each in check.figures)
    within = " (within the spread of such runs)" if chance else ""
    own = ", ".join(cause.own)
    if cause.what is None:
        return (
            f"The cause of the error of {name}, {error}{within}, is unknown: with the run's own {own} it is {left}.",
        )
    return (f"Main cause of the error of {name}{within}: {cause.what}. With the run's own {own} it is {left}.",)
