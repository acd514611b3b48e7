"""How a verdict is explained, in one or two sentences."""

from __future__ import annotations

from loadtest.analyze.summary import Verdict
from loadtest.gate.early_stopping import allowed_over, more_jobs
from loadtest.gate.measures import Count
from loadtest.scenario.gates import Gate, Metric, limit_text

NO_JOBS = "There is no job to judge by."


def figure(gate: Gate, value: float) -> str:
    """A value in the gate's unit, with three digits that count."""
    return limit_text(gate, float(f"{max(value, 0.0):.3g}"))


def share_text(share: float) -> str:
    """A share in percent, with three digits that count."""
    return f"{100 * share:.3g} %"


def why(gate: Gate, count: Count, share: float, verdict: Verdict, of: str = "") -> str:
    """Why a count of jobs over the limit, of which `share` may be, gives this verdict; `of` names the jobs."""
    told = (
        f"{_subject(gate, of)} for {count.over:,} of {_jobs(count.n)}"
        if gate.metric.is_time
        else _shared(gate, count)
    )
    unsure = f", and {count.undecided:,} unfinished may be" if count.undecided else ""
    if verdict is Verdict.PASS:
        allowed = allowed_over(count.n, share)
        return f"{told}{unsure}; up to {allowed:,} may be."
    if verdict is Verdict.FAIL:
        return f"{told}{unsure}; {share_text(share)} may be, and chance does not explain so many."
    return f"{told}{unsure}. {_needed(count, share)}"


def _subject(gate: Gate, of: str) -> str:
    metric = gate.metric.value
    return f"{metric[0].upper()}{metric[1:]}{of} was {limit_text(gate)} or more"


def _jobs(n: int) -> str:
    return f"{n:,} job{'' if n == 1 else 's'}"


def _shared(gate: Gate, count: Count) -> str:
    """What a share counts: the jobs themselves, not their times."""
    what = {
        Metric.ERRORS: "failed",
        Metric.COLD_STARTS: "met a cold start",
        Metric.CENSORED: "had not ended",
    }[gate.metric]
    return f"{count.over:,} of {_jobs(count.n)} {what}"


def _needed(count: Count, share: float) -> str:
    """How many more jobs it would take; those that nobody can decide count against the gate."""
    worst = count.over + count.undecided
    more = more_jobs(worst, count.n, share)
    if more is None:
        now, most = share_text(worst / count.n), share_text(share)
        return f"While {now} are, no number of jobs would do: less than {most} may be."
    return f"About {more:,} more jobs would tell, if the share stays as it is."
