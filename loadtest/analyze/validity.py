"""Was the measurement sound? Each check is one function and one entry in CHECKS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loadtest.analyze.quantiles import PER_MILLE
from loadtest.analyze.summary import Arrivals, Check, FlowSummary, OperationSummary, Quantiles, Validity
from loadtest.record.run import Ending, Run
from loadtest.record.sample import Outcome

LEAST_STARTED = 0.99
"""Of the jobs offered, the share that must have been sent."""
MOST_CENSORED = 0.05
"""Of the jobs sent, the share that may be unfinished: beyond it p95 would rest on times that nobody saw."""
MOST_THROTTLED = 0.01
"""Of all requests, the share that may be answered 429: beyond it the figures describe the target's limiter."""
SEND_LAG_FLOOR_MS = 25.0
"""A send within this of its intended start is on time, as k6 (24 ms) has it; shorter jobs ask for no more."""
SEND_LAG_SHARE = 0.05
"""Of the median end-to-end time, the share that send lag may take."""


@dataclass(frozen=True)
class Evidence:
    """What the checks look at."""

    run: Run
    arrivals: Arrivals
    jobs: dict[str, int]
    flows: dict[str, FlowSummary]
    operations: dict[str, OperationSummary]


def run_complete(seen: Evidence) -> Check:
    """The load was sent to its end."""
    ending = seen.run.ending
    ok = ending is Ending.COMPLETE
    if ok:
        detail = "The load was sent to its end."
    elif ending is None:
        detail = "The run has no end on record: the process that led it died."
    else:
        detail = f"The run was {ending.value} before its load had ended."
    return Check("run complete", ok, None, None, detail)


def jobs_completed(seen: Evidence) -> Check:
    """At least one job completed: no data never passes."""
    completed, submitted = seen.jobs[Outcome.COMPLETED], seen.jobs["submitted"]
    detail = f"{completed} of {submitted} submitted jobs completed." if submitted else "No job was submitted."
    return Check("jobs completed", completed > 0, completed, 1, detail)


def load_delivered(seen: Evidence) -> Check:
    """Nearly all jobs that were due were sent."""
    offered, started = seen.arrivals.offered, seen.arrivals.started
    if offered == 0:
        return Check("load delivered", False, None, LEAST_STARTED, "No job was due, so nothing was measured.")
    share = started / offered
    detail = f"{started} of {offered} jobs that were due were sent; from {100 * LEAST_STARTED:g} % on is sound."
    return Check("load delivered", share >= LEAST_STARTED, share, LEAST_STARTED, detail)


def sent_on_time(seen: Evidence) -> Check:
    """Send lag is small beside what is measured.

    Looked at is the highest of p50, p90, p95 and p99 that the number of sends supports. It may be 25 ms or 5 % of
    the shortest flow's median end-to-end time, whichever is more.
    """
    lag = seen.arrivals.send_lag_ms
    name, value = _highest_supported(lag)
    medians = [flow.end_to_end_ms.p50 for flow in seen.flows.values() if flow.end_to_end_ms.p50 is not None]
    limit = max(SEND_LAG_FLOOR_MS, SEND_LAG_SHARE * min(medians, default=0.0))
    if value is None:
        return Check("send lag", False, None, limit, "No job was sent.")
    detail = f"Jobs were sent within {value:.1f} ms ({name}) of their intended start; up to {limit:.0f} ms is sound."
    return Check("send lag", value <= limit, value, limit, detail)


def _highest_supported(lag: Quantiles) -> tuple[str, float | None]:
    for name in ("p99", "p95", "p90", "p50"):
        value: float | None = getattr(lag, name)
        if value is not None:
            return f"p{PER_MILLE[name] / 10:g}", value
    return "the latest", lag.max


def within_budgets(seen: Evidence) -> Check:
    """The fullest 10 seconds of each operation were within what the scenario keeps to."""
    limited = [(name, each, each.limit) for name, each in seen.operations.items() if each.limit is not None]
    if not limited:
        return Check("request budgets", True, None, None, "No request was sent to an operation that has a limit.")
    name, fullest, limit = max(limited, key=lambda entry: entry[1].most_in_10_s / entry[2])
    detail = f"At most {fullest.most_in_10_s} requests of {name} in any 10 s, of {limit} allowed."
    return Check("request budgets", fullest.most_in_10_s <= limit, fullest.most_in_10_s, limit, detail)


def processes_kept(seen: Evidence) -> Check:
    """No generator process fell silent while the run went on."""
    lost = sorted(set(seen.run.lost))
    named = ", ".join(str(process) for process in lost)
    plural = "es" if len(lost) > 1 else ""
    detail = f"Process{plural} {named} fell silent while the run went on." if lost else "Every process stayed."
    return Check("processes lost", not lost, len(lost), 0, detail)


def samples_recorded(seen: Evidence) -> Check:
    """Every job that was sent has its row."""
    missing = {each.process: each.sent - each.recorded for each in seen.run.audit if each.sent > each.recorded}
    sent = sum(each.sent for each in seen.run.audit)
    if not seen.run.audit:
        detail = "No process left a count of what it sent."
    elif missing:
        of_each = ", ".join(f"{count} of process {process}" for process, count in missing.items())
        detail = f"Of {sent} jobs that were sent, these have no row: {of_each}."
    else:
        detail = f"Each of the {sent} jobs that were sent has its row."
    return Check("samples recorded", not missing, sum(missing.values()), 0, detail)


def few_censored(seen: Evidence) -> Check:
    """Nearly all jobs were followed to their end."""
    censored, submitted = seen.jobs[Outcome.CENSORED], seen.jobs["submitted"]
    share = censored / submitted if submitted else 0.0
    detail = (
        f"{censored} of {submitted} submitted jobs were unfinished when the run, or the client's patience, ended; "
        f"up to {100 * MOST_CENSORED:g} % is sound."
    )
    return Check("censored jobs", share <= MOST_CENSORED, share, MOST_CENSORED, detail)


def few_throttled(seen: Evidence) -> Check:
    """Hardly any request was answered 429."""
    throttled = sum(each.throttled for each in seen.operations.values())
    requests = sum(each.requests for each in seen.operations.values())
    share = throttled / requests if requests else 0.0
    detail = f"{throttled} of {requests} requests were answered 429; up to {100 * MOST_THROTTLED:g} % is sound."
    return Check("rate limited", share <= MOST_THROTTLED, share, MOST_THROTTLED, detail)


CHECKS: tuple[Callable[[Evidence], Check], ...] = (
    run_complete,
    processes_kept,
    samples_recorded,
    jobs_completed,
    load_delivered,
    sent_on_time,
    within_budgets,
    few_censored,
    few_throttled,
)


def validity(seen: Evidence) -> Validity:
    """Every check's answer; valid when all are well."""
    checks = [check(seen) for check in CHECKS]
    return Validity(valid=all(check.ok for check in checks), checks=checks)
