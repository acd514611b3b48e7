"""The explanation of a verdict, in one or two sentences."""

from __future__ import annotations

from loadtest.analyze.summary import Verdict
from loadtest.gate.early_stopping import allowed_over, more_jobs
from loadtest.gate.measures import Count
from loadtest.scenario.gates import Gate, limit_text

NO_JOBS = "No job to judge by was found."


def format_value(gate: Gate, value: float) -> str:
    """Return a value in the gate's unit, with three significant digits."""
    return limit_text(gate, float(f"{max(value, 0.0):.3g}"))


def share_text(share: float) -> str:
    """Return a share in percent, with three significant digits."""
    return f"{100 * share:.3g} %"


def explain(gate: Gate, count: Count, share: float, verdict: Verdict, of: str = "") -> str:
    """Return why a count of jobs gives this verdict, if `share` may be over the limit; `of` names the jobs."""
    text, may, are = _describe_count(gate, count, of), "may", "do"
    if gate.metric.is_time:
        may, are = "may be", "are"
    unsure = f", and {count.undecided:,} unfinished {may}" if count.undecided else ""
    if verdict is Verdict.PASS:
        return f"{text}{unsure}; up to {allowed_over(count.n, share):,} {may}."
    if verdict is Verdict.FAIL:
        return f"{text}{unsure}; at most {share_text(share)} {may}."
    # Undecided jobs count against the gate.
    worst = count.over + count.undecided
    more = more_jobs(worst, count.n, share)
    if more is None:
        needed = f"While {share_text(worst / count.n)} {are}, no number of jobs would be enough: "
        return f"{text}{unsure}. {needed}less than {share_text(share)} {may}."
    return f"{text}{unsure}. About {more:,} more jobs{of} would decide it, if the share stays the same."


def _describe_count(gate: Gate, count: Count, of: str) -> str:
    """Return the count of jobs over the limit, or of those that a share counts, as text."""
    jobs = f"{count.over:,} of {count.n:,} job{'' if count.n == 1 else 's'}"
    if gate.metric.is_time:
        metric = gate.metric.value
        return f"{metric[0].upper()}{metric[1:]}{of} was {limit_text(gate)} or more for {jobs}"
    return f"{jobs} {gate.metric.spec.clause}"
