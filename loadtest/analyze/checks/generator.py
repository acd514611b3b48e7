"""Was the measurement sound: did the processes that sent the load do what they were asked to?"""

from __future__ import annotations

from loadtest.analyze.checks.inputs import CheckInputs, highest_supported
from loadtest.analyze.summary import Arrivals, Check
from loadtest.record.run import Ending

MIN_JOBS_AT_RAMP_END = 20
"""With fewer jobs due at its end than this, nobody can say whether a ramp came to its rate."""
MIN_JOBS_PER_PART = 100
"""In a part of the load with fewer jobs than this, a single late one is more than 1 %; the whole load counts it."""


def run_complete(inputs: CheckInputs) -> Check:
    """The load was sent to its end."""
    ending = inputs.run.ending
    ok = ending is Ending.COMPLETE
    if ok:
        detail = "The load was sent to its end."
    elif ending is None:
        detail = "The run has no end on record: the process that led it died."
    else:
        detail = f"The run was {ending.value} before its load had ended."
    return Check("run complete", ok, None, None, detail)


def no_process_lost(inputs: CheckInputs) -> Check:
    """No generator process fell silent while the run went on."""
    lost = sorted(set(inputs.run.lost))
    named = ", ".join(str(process) for process in lost)
    plural = "es" if len(lost) > 1 else ""
    detail = f"Process{plural} {named} fell silent while the run went on." if lost else "Every process stayed."
    return Check("processes lost", not lost, len(lost), 0, detail)


def samples_recorded(inputs: CheckInputs) -> Check:
    """Every job that was sent has its row."""
    missing = {each.process: each.sent - each.recorded for each in inputs.run.audit if each.sent > each.recorded}
    sent = sum(each.sent for each in inputs.run.audit)
    if not inputs.run.audit:
        detail = "No process left a count of what it sent."
    elif missing:
        of_each = ", ".join(f"{count} of process {process}" for process, count in missing.items())
        detail = f"Of {sent} jobs that were sent, these have no row: {of_each}."
    else:
        detail = f"Each of the {sent} jobs that were sent has its row."
    return Check("samples recorded", not missing, sum(missing.values()), 0, detail)


def stages_reached(inputs: CheckInputs) -> Check:
    """The load went on for as long as its stages, and each ramp came to the rate where it was to end."""
    asked_s = inputs.scenario.load.duration_s
    # A second is more than clocks and the end of a last job make of it.
    whole = inputs.load_s >= asked_s - max(1.0, 0.01 * asked_s) and inputs.load_s > 0
    short = [name for name, end in inputs.ramp_ends.items() if _missed(end, inputs.limits.started)]
    detail = f"Load was offered for {inputs.load_s:.3g} s of the {asked_s:.3g} s that the stages last."
    if not whole:
        detail = f"{detail[:-1]}, so what they were to reach was never reached."
    elif short:
        rates = _rates(inputs.ramp_ends[short[0]], inputs)
        detail = f"{short[0][0].upper()}{short[0][1:]} never came to it: at its end {rates}."
    return Check("stages reached", whole and not short, inputs.load_s, asked_s, detail)


def _missed(part: Arrivals, least: float) -> bool:
    """Whether a short part of the load missed more of its jobs than one late one explains."""
    return part.offered >= MIN_JOBS_AT_RAMP_END and part.delivered + 1 < least * part.offered


def _rates(part: Arrivals, inputs: CheckInputs) -> str:
    """The rate that was asked for and the one that was made of it, with what kept it down where that is known."""
    held = f", with {inputs.concurrency_cap}" if inputs.concurrency_cap else ""
    return f"{part.offered_per_s:.3g}/s was offered and {part.achieved_per_s:.3g}/s achieved{held}"


def load_delivered(inputs: CheckInputs) -> Check:
    """Nearly all jobs that were due were sent while load was offered; what came in the drain was no load."""
    arrivals, least = inputs.arrivals, inputs.limits.started
    if arrivals.offered == 0:
        return Check("load delivered", False, None, least, "No job was due, so nothing was measured.")
    offered, delivered = arrivals.offered, arrivals.delivered
    share = delivered / offered
    detail = f"{delivered} of {offered} jobs that were due were sent; from {100 * least:g} % on is sound."
    if share < least:
        detail = f"{_rates(arrivals, inputs)}: {detail}"
    return Check("load delivered", share >= least, share, least, detail)


def rate_achieved(inputs: CheckInputs) -> Check:
    """In no stage, nor in the steady window, was much of the load sent later than in it."""
    least = inputs.limits.started
    shares = {
        name: each.delivered / each.offered
        for name, each in inputs.parts.items()
        if each.offered >= MIN_JOBS_PER_PART
    }
    if not shares:
        detail = f"No stage had {MIN_JOBS_PER_PART} jobs due, too few to judge it by itself."
        return Check("rate achieved", True, None, least, detail)
    worst = min(shares, key=lambda name: shares[name])
    part = inputs.parts[worst]
    detail = (
        f"In {worst}, {part.delivered} of {part.offered} jobs that were due were sent by its end "
        f"({part.offered_per_s:.3g}/s was offered, {part.achieved_per_s:.3g}/s achieved)."
    )
    return Check("rate achieved", shares[worst] >= least, shares[worst], least, detail)


def sent_on_time(inputs: CheckInputs) -> Check:
    """Send lag is small beside what is measured.

    Looked at is the highest of p50, p90, p95 and p99 that the number of sends supports.
    """
    name, value = highest_supported(inputs.arrivals.send_lag_ms)
    limit = inputs.tolerance_ms(inputs.limits.send_lag)
    if value is None:
        return Check("send lag", False, None, limit, "No job was sent.")
    detail = f"Jobs were sent within {value:.1f} ms ({name}) of their intended start; up to {limit:.0f} ms is sound."
    return Check("send lag", value <= limit, value, limit, detail)


def cpu_headroom(inputs: CheckInputs) -> Check:
    """No generator process was short of CPU, by its own work or others': it would send late and see answers late."""
    limit = inputs.limits.cpu
    known = {each.process: each.cpu_share for each in inputs.run.processes if each.cpu_share is not None}
    if not known:
        return Check("cpu", True, None, limit, "How much CPU the sending processes used is not known.")
    busiest = max(known, key=lambda process: known[process])
    share = known[busiest]
    detail = (
        f"Process {busiest} used, or waited for, {100 * share:.0f} % of a core in its busiest 5 s; "
        f"up to {100 * limit:g} % is sound."
    )
    return Check("cpu", share <= limit, share, limit, detail)


def clocks_agree(inputs: CheckInputs) -> Check:
    """The processes' clocks are known well enough beside what is measured."""
    limit = inputs.tolerance_ms(inputs.limits.clock)
    known = [each.clock_error_s for each in inputs.run.processes if each.clock_error_s is not None]
    if not known:
        return Check("clocks", True, None, limit, "How well the sending processes' clocks agree is not known.")
    value = 1000 * max(known)
    detail = f"Clocks are known to {value:.2g} ms; up to {limit:.0f} ms is sound."
    return Check("clocks", value <= limit, value, limit, detail)


def within_budgets(inputs: CheckInputs) -> Check:
    """The fullest 10 seconds of each operation were within what the scenario keeps to."""
    limited = [(name, each, each.limit) for name, each in inputs.operations.items() if each.limit is not None]
    if not limited:
        return Check("request budgets", True, None, None, "No request was sent to an operation that has a limit.")
    name, peak, limit = max(limited, key=lambda entry: entry[1].most_in_10_s / entry[2])
    detail = f"At most {peak.most_in_10_s} requests of {name} in any 10 s, of {limit} allowed."
    return Check("request budgets", peak.most_in_10_s <= limit, peak.most_in_10_s, limit, detail)
