"""How a verdict is explained, in one or two sentences."""

from __future__ import annotations

from loadtest.analyze.summary import Verdict
from loadtest.gate.early_stopping import allowed_over, more_jobs
from loadtest.gate.measures import Count
from loadtest.scenario.gates import Gate, limit_text

NO_JOBS = "There is no job to judge by."


def format_value(gate: Gate, value: float) -> str:
    """A value in the gate's unit, with three digits that count."""
    return limit_text(gate, float(f"{max(value, 0.0):.3g}"))


def share_text(share: float) -> str:
    """A share in percent, with three digits that count."""
    return f"{100 * share:.3g} %"


def explain(gate: Gate, count: Count, share: float, verdict: Verdict, of: str = "") -> str:
    """Why a count of jobs over the limit, of which `share` may be, gives this verdict; `of` names the jobs."""
    text, may, are = _describe_count(gate, count, of), "may", "do"
    if gate.metric.is_time:
        may, are = "may be", "are"
    unsure = f", and {count.undecided:,} unfinished {may}" if count.undecided else ""
    if verdict is Verdict.PASS:
        return f"{text}{unsure}; up to {allowed_over(count.n, share):,} {may}."
    if verdict is Verdict.FAIL:
        return f"{text}{unsure}; {share_text(share)} {may}, and chance does not explain so many."
    # The undecided count against a gate that is to pass.
    worst = count.over + count.undecided
    more = more_jobs(worst, count.n, share)
    if more is None:
        needed = f"While {share_text(worst / count.n)} {are}, no number of jobs would do: "
        return f"{text}{unsure}. {needed}less than {share_text(share)} {may}."
    return f"{text}{unsure}. About {more:,} more jobs{of} would tell, if the share stays as it is."


def _describe_count(gate: Gate, count: Count, of: str) -> str:
    """How many jobs are over: of a time those that took so long, of a share those that it counts."""
    jobs = f"{count.over:,} of {count.n:,} job{'' if count.n == 1 else 's'}"
    if gate.metric.is_time:
        metric = gate.metric.value
        return f"{metric[0].upper()}{metric[1:]}{of} was {limit_text(gate)} or more for {jobs}"
    return f"{jobs} {gate.metric.spec.clause}"
