"""The validity checks: did the generator send the load as the scenario says, and do the data describe the endpoint?

Each is a function and an entry in CHECKS; the first that fails gives the verdict's reason.
"""

from __future__ import annotations

from collections.abc import Callable

from loadtest.analyze.accounting import jobs_text
from loadtest.analyze.checks.inputs import CheckInputs, highest_supported
from loadtest.analyze.checks.users import users_at_work
from loadtest.analyze.stats.quantiles import PER_MILLE, min_samples
from loadtest.analyze.summary import Arrivals, Check, CheckId, Validity
from loadtest.record.run import Ending, RunRecord
from loadtest.record.sample import Outcome
from loadtest.scenario.warnings import fixed_inputs

MIN_JOBS_AT_RAMP_END = 20
"""With fewer jobs due at its end, it cannot be decided whether a ramp reached its rate."""
MAX_IMPOSSIBLE = 0.01
"""The share of jobs with impossible times above which there is a warning."""
MIN_JOBS_PER_PART = 100
"""In a part of the load with fewer jobs, a single late job is more than 1 %; the whole load counts it."""


def run_complete(inputs: CheckInputs) -> Check:
    """Check that the load was sent to its end."""
    ending = inputs.run.ending
    ok = ending is Ending.COMPLETE
    if ok:
        detail = "The load was sent to its end."
    elif ending is None:
        detail = "The run has no end on record: its master process died."
    else:
        detail = f"The run was {ending.value} before its load had ended."
    return Check(CheckId.RUN_COMPLETE, ok, None, None, detail)


def enough_resources(inputs: CheckInputs) -> Check:
    """Check that the machines that send had what each request needs: if not, it is they that failed."""
    count = sum(inputs.run.shortages.values())
    return Check(CheckId.LOCAL_RESOURCES, count == 0, count, 0, shortage(inputs.run))


def shortage(run: RunRecord) -> str:
    """Return the most frequent cause for which a machine that sends could not send; empty if there was none."""
    if not run.shortages:
        return ""
    cause = max(run.shortages, key=lambda each: run.shortages[each])
    return f"{sum(run.shortages.values())} requests could not be sent: {cause}."


def tasks_ended_well(inputs: CheckInputs) -> Check:
    """Check that no exception ended a task of a locustfile: what the task would still have sent is missing."""
    errors = inputs.run.task_errors
    count = sum(errors.values())
    most = max(errors, key=lambda each: errors[each], default="none")
    return Check(CheckId.TASK_ERRORS, count == 0, count, 0, f"{count} tasks ended with an exception: {most}.")


def no_process_lost(inputs: CheckInputs) -> Check:
    """Check that no generator process fell silent during the run."""
    lost = sorted(set(inputs.run.lost))
    named = ", ".join(str(process) for process in lost)
    plural = "es" if len(lost) > 1 else ""
    detail = f"Process{plural} {named} fell silent during the run." if lost else "No process was lost."
    return Check(CheckId.PROCESSES_LOST, not lost, len(lost), 0, detail)


def samples_recorded(inputs: CheckInputs) -> Check:
    """Check that every job that was sent has a row of its own; jobs with one id describe the same job.

    Without a count of the jobs that were sent it is not known, and not valid.
    """
    missing = {each.process: each.sent - each.recorded for each in inputs.run.audit if each.sent > each.recorded}
    sent = sum(each.sent for each in inputs.run.audit)
    if missing:
        per_process = ", ".join(f"{count} of process {process}" for process, count in missing.items())
        detail = f"Of {sent} jobs that were sent, these have no row: {per_process}."
    elif inputs.repeated_ids:
        detail = f"{jobs_text(inputs.repeated_ids)} got the id of another from the endpoint, so rows share a job."
    elif not inputs.run.audit:
        detail = "No process recorded how many jobs it sent."
    else:
        detail = f"Each of the {sent} jobs that were sent has its row."
    wrong = sum(missing.values()) + inputs.repeated_ids
    return Check(CheckId.SAMPLES_RECORDED, bool(inputs.run.audit) and wrong == 0, wrong, 0, detail)


def stages_reached(inputs: CheckInputs) -> Check:
    """Check that the load lasted as long as its stages, and that each ramp reached its final rate."""
    planned_s = inputs.scenario.load.duration_s
    # Clocks and the end of the last job differ by less than a second.
    whole = inputs.load_s >= planned_s - max(1.0, 0.01 * planned_s) and inputs.load_s > 0
    short = [name for name, end in inputs.ramp_ends.items() if _missed(end, inputs.limits.started)]
    detail = f"Load was offered for {inputs.load_s:.3g} s of the {planned_s:.3g} s that the stages last"
    if not whole:
        detail = f"{detail}, so their end was never reached"
    elif short:
        rates = _rates(inputs.ramp_ends[short[0]], inputs)
        detail = f"{short[0][0].upper()}{short[0][1:]} did not reach it: at its end {rates}"
    return Check(CheckId.STAGES_REACHED, whole and not short, inputs.load_s, planned_s, f"{detail}.")


def _missed(part: Arrivals, minimum: float) -> bool:
    """Return whether a short part of the load missed more of its jobs than one late job explains."""
    return part.offered >= MIN_JOBS_AT_RAMP_END and part.delivered + 1 < minimum * part.offered


def _rates(part: Arrivals, inputs: CheckInputs) -> str:
    """Return the offered and the achieved rate as text, with the bound that limited it if it is known."""
    cap = f", with {inputs.concurrency_cap}" if inputs.concurrency_cap else ""
    return f"{part.offered_per_s:.3g}/s was offered and {part.achieved_per_s:.3g}/s achieved{cap}"


def load_delivered(inputs: CheckInputs) -> Check:
    """Check that nearly all due jobs were sent while load was offered; sends during the drain are not load."""
    arrivals, minimum = inputs.arrivals, inputs.limits.started
    if arrivals.offered == 0:
        return Check(CheckId.LOAD_DELIVERED, False, None, minimum, "No job was due, so nothing was measured.")
    offered, delivered = arrivals.offered, arrivals.delivered
    share = delivered / offered
    detail = f"{delivered} of {offered} due jobs were sent; the minimum is {100 * minimum:g} %."
    if share < minimum:
        detail = f"{_rates(arrivals, inputs)}: {detail}"
    return Check(CheckId.LOAD_DELIVERED, share >= minimum, share, minimum, detail)


def rate_achieved(inputs: CheckInputs) -> Check:
    """Check that in each stage, and in the steady window, nearly all due jobs were sent within it."""
    minimum = inputs.limits.started
    shares = {
        name: each.delivered / each.offered
        for name, each in inputs.parts.items()
        if each.offered >= MIN_JOBS_PER_PART
    }
    if not shares:
        detail = f"No stage had {MIN_JOBS_PER_PART} due jobs, too few to judge it by itself."
        return Check(CheckId.RATE_ACHIEVED, True, None, minimum, detail)
    worst = min(shares, key=lambda name: shares[name])
    part = inputs.parts[worst]
    detail = (
        f"In {worst}, {part.delivered} of {part.offered} due jobs were sent by its end "
        f"({part.offered_per_s:.3g}/s was offered, {part.achieved_per_s:.3g}/s achieved)."
    )
    return Check(CheckId.RATE_ACHIEVED, shares[worst] >= minimum, shares[worst], minimum, detail)


def sent_on_time(inputs: CheckInputs) -> Check:
    """Check that send lag is small compared with the measured times.

    It judges the highest of p50, p90, p95 and p99 that the number of sends supports.
    """
    name, value = highest_supported(inputs.arrivals.send_lag_ms)
    limit = inputs.tolerance_ms(inputs.limits.send_lag)
    if value is None:
        return Check(CheckId.SEND_LAG, False, None, limit, "No job was sent.")
    detail = f"Jobs were sent within {value:.1f} ms ({name}) of their intended start; the limit is {limit:.0f} ms."
    return Check(CheckId.SEND_LAG, value <= limit, value, limit, detail)


def cpu_headroom(inputs: CheckInputs) -> Check:
    """Check that no generator process was short of CPU, by its own work or others': it would send and read late."""
    limit = inputs.limits.cpu
    known = {each.process: each.cpu_share for each in inputs.run.processes if each.cpu_share is not None}
    if not known:
        return Check(CheckId.CPU, True, None, limit, "The CPU use of the generator processes is not known.")
    busiest = max(known, key=lambda process: known[process])
    share = known[busiest]
    detail = (
        f"Process {busiest} used, or waited for, {100 * share:.0f} % of a core in its busiest 5 s; "
        f"the limit is {100 * limit:g} %."
    )
    return Check(CheckId.CPU, share <= limit, share, limit, detail)


def clocks_agree(inputs: CheckInputs) -> Check:
    """Check that the processes' clocks are known precisely compared with the measured times."""
    limit = inputs.tolerance_ms(inputs.limits.clock)
    known = {
        each.process: (each.clock_error_s, abs(each.clock_drift_s or 0.0))
        for each in inputs.run.processes
        if each.clock_error_s is not None
    }
    if not known:
        return Check(CheckId.CLOCKS, True, None, limit, "The clock error of the generator processes is not known.")
    worst = max(known, key=lambda process: sum(known[process]))
    error_s, drift_s = known[worst]
    value = 1000 * (error_s + drift_s)
    moved = f", and the clock of process {worst} moved by {1000 * drift_s:.2g} ms during the run" if drift_s else ""
    detail = f"Clocks are known to {1000 * error_s:.2g} ms{moved}; the limit is {limit:.0f} ms."
    return Check(CheckId.CLOCKS, value <= limit, value, limit, detail)


def within_budgets(inputs: CheckInputs) -> Check:
    """Check that the fullest 10 seconds of each operation were within its limit."""
    limited = [(name, each, each.limit) for name, each in inputs.operations.items() if each.limit is not None]
    if not limited:
        detail = "No request was sent to an operation with a limit."
        return Check(CheckId.REQUEST_BUDGETS, True, None, None, detail)
    name, peak, limit = max(limited, key=lambda entry: entry[1].most_in_10_s / entry[2])
    detail = f"At most {peak.most_in_10_s} requests of {name} in any 10 s, of {limit} allowed."
    return Check(CheckId.REQUEST_BUDGETS, peak.most_in_10_s <= limit, peak.most_in_10_s, limit, detail)


def jobs_completed(inputs: CheckInputs) -> Check:
    """Check that enough jobs completed; at least one: no data never passes."""
    completed, submitted = inputs.jobs[Outcome.COMPLETED], inputs.jobs["submitted"]
    minimum, needed = inputs.limits.completed, min_samples(PER_MILLE["p95"])
    more = ""
    if 0 < completed < max(minimum, needed):
        more = f"; {minimum} must" if completed < minimum else f"; p95 needs {needed}"
    detail = f"{completed} of {submitted} submitted jobs completed{more}." if submitted else "No job was submitted."
    return Check(CheckId.JOBS_COMPLETED, completed >= minimum, completed, minimum, detail)


def few_censored(inputs: CheckInputs) -> Check:
    """Check that nearly all jobs were followed to their end; beyond the limit p95 would rest on unknown times."""
    censored, submitted, limit = inputs.jobs[Outcome.CENSORED], inputs.jobs["submitted"], inputs.limits.censored
    share = censored / submitted if submitted else 0.0
    detail = (
        f"{censored} of {submitted} submitted jobs were unfinished at the end of the run or of their job_timeout; "
        f"the limit is {100 * limit:g} %."
    )
    return Check(CheckId.CENSORED_JOBS, share <= limit, share, limit, detail)


def few_throttled(inputs: CheckInputs) -> Check:
    """Check that hardly any request got a 429; beyond the limit the figures describe the target's limiter."""
    throttled = sum(each.throttled for each in inputs.operations.values())
    requests = sum(each.requests for each in inputs.operations.values())
    share, limit = throttled / requests if requests else 0.0, inputs.limits.throttled
    detail = f"{throttled} of {requests} requests were answered 429; the limit is {100 * limit:g} %."
    return Check(CheckId.RATE_LIMITED, share <= limit, share, limit, detail)


def times_possible(inputs: CheckInputs) -> Check:
    """Warn if too many jobs have times that cannot be; gates take such a time as not known."""
    found, limit = inputs.impossible_times, MAX_IMPOSSIBLE
    named = ", ".join(f"{count} {kind}" for kind, count in found.by_kind.items() if count)
    detail = f"{found.impossible} of {found.jobs} jobs have impossible times: {named or 'none'}."
    return Check(CheckId.POSSIBLE_TIMES, True, found.share, limit, detail, warning=found.share > limit)


def inputs_vary(inputs: CheckInputs) -> Check:
    """Warn if a flow sent one input again and again to an endpoint that may keep what it has answered."""
    fixed = fixed_inputs(inputs.scenario)
    detail = "Each flow sends inputs that differ."
    if fixed:
        detail = f"All jobs of {', '.join(fixed)} had the same input: with a cache on the endpoint they are too fast."
    return Check(CheckId.INPUTS_VARY, True, len(fixed), 0, detail, warning=bool(fixed))


def littles_law_holds(inputs: CheckInputs) -> Check:
    """Warn if the endpoint and the samples differ in the jobs in flight by more than chance allows.

    `/health` is the endpoint's word about itself: it can be wrong, and the measurement right.
    """
    law, limit = inputs.littles_law, inputs.limits.littles_law
    if law.residual is None or law.noise is None:
        return Check(CheckId.LITTLES_LAW, True, None, limit, law.detail)
    detail, differs = f"{law.detail} They may differ by {100 * limit:g} %.", abs(law.residual) - law.noise > limit
    if differs:
        more, fewer = "another client may be using the endpoint", "its count may be stale, cached or wrong"
        detail = f"{detail} The endpoint has {f'more: {more}' if law.residual > 0 else f'fewer: {fewer}'}."
    return Check(CheckId.LITTLES_LAW, True, law.residual, limit, detail, warning=differs)


def steady_state(inputs: CheckInputs) -> Check:
    """Report whether there is a steady window; without one a run is still valid, and a gate on it inconclusive."""
    return Check(CheckId.STEADY_STATE, True, float(inputs.steady.found), None, inputs.steady.detail)


def no_cold_start_wave(inputs: CheckInputs) -> Check:
    """Check that no wave of starting workers falls into the steady window; evenly spread starts are normal."""
    wave, limit = inputs.cold_start_wave, inputs.limits.cold_start_wave
    if wave is None:
        why = "Too few jobs" if inputs.steady.found else "There is no steady window in which jobs could have"
        return Check(CheckId.COLD_STARTS, True, None, limit, f"{why} waited for a worker to start.")
    detail = (
        f"In the worst tenth of the steady window, {100 * wave:.1f} % more of the jobs than usual waited for a "
        f"worker to start; the limit is {100 * limit:g} %."
    )
    return Check(CheckId.COLD_STARTS, wave <= limit, wave, limit, detail)


CHECKS: tuple[Callable[[CheckInputs], Check], ...] = (
    run_complete,
    enough_resources,
    tasks_ended_well,
    no_process_lost,
    samples_recorded,
    jobs_completed,
    cpu_headroom,
    clocks_agree,
    within_budgets,
    few_throttled,
    stages_reached,
    load_delivered,
    rate_achieved,
    users_at_work,
    sent_on_time,
    few_censored,
    times_possible,
    inputs_vary,
    littles_law_holds,
    steady_state,
    no_cold_start_wave,
)
"""In order from cause to effect, since the first that fails is the reason."""


def validity(inputs: CheckInputs) -> Validity:
    """Run every check that applies; the measurement is valid if all pass.

    Those of resources and of tasks do if they fail, that of inputs if it warns, and that of users if the samples name
    them: those of an open load do not, nor those of an older version.
    """
    others = set()
    if not inputs.run.shortages:
        others.add(enough_resources)
    if not inputs.run.task_errors:
        others.add(tasks_ended_well)
    if not inputs.users:
        others.add(users_at_work)
    if not fixed_inputs(inputs.scenario):
        others.add(inputs_vary)
    checks = [check(inputs) for check in CHECKS if check not in others]
    return Validity(valid=all(check.ok for check in checks), checks=checks)
