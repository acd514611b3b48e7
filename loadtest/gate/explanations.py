"""The explanation of a verdict, in one or two sentences."""

from __future__ import annotations

from dataclasses import dataclass

from loadtest.analyze.stats.effective_number import NEARLY_ALL
from loadtest.analyze.summary import Verdict
from loadtest.gate.early_stopping import allowed_over
from loadtest.gate.measures import Count
from loadtest.scenario.gates import Gate, limit_text
from loadtest.scenario.metrics import Metric

NO_JOBS = "No job to judge by was found."


@dataclass(frozen=True)
class More:
    """What would decide a gate: this many more jobs, and with them a load of `length_s` in all."""

    jobs: int
    length_s: float


def format_value(gate: Gate, value: float) -> str:
    """Return a value in the gate's unit, with three significant digits."""
    return limit_text(gate, float(f"{max(value, 0.0):.3g}"))


def share_text(share: float) -> str:
    """Return a share in percent, with three significant digits."""
    return f"{100 * share:.3g} %"


def explain(gate: Gate, count: Count, share: float, verdict: Verdict, more: More | None = None, of: str = "") -> str:
    """Return why a count of jobs gives this verdict, if `share` may be over the limit; `of` names the jobs.

    `more` is what an inconclusive gate lacks, None if no number of jobs would be enough.
    """
    text, may, are = _describe_count(gate, count, of), "may", "do"
    if gate.metric.is_time:
        may, are = "may be", "are"
    unsure = _describe_undecided(gate.metric, count.undecided) if count.undecided else ""
    alike = _describe_worth(count)
    # Undecided jobs count against the gate.
    worst = count.over + count.undecided
    if verdict is Verdict.PASS:
        most = allowed_over(count.n, share, count.worth)
        if most is None or most < worst:
            return f"{text}{unsure}.{alike} The times that this run saw show that it stays below the limit."
        return f"{text}{unsure}; up to {most:,} {may}.{alike}"
    if verdict is Verdict.FAIL:
        return f"{text}{unsure}; at most {share_text(share)} {may}.{alike}"
    if more is None:
        needed = f"While {share_text(worst / count.n)} {are}, no number of jobs would be enough: "
        return f"{text}{unsure}. {needed}less than {share_text(share)} {may}.{alike}"
    same = "times stay" if gate.metric.is_time else "share stays"
    return (
        f"{text}{unsure}.{alike} About {more.jobs:,} more jobs{of} would decide it, a load of {more.length_s:,.0f} s "
        f"in all, if the {same} the same."
    )


def explain_default(gate: Gate, count: Count) -> str:
    """Return the count of the default gate on errors as text, and how to replace the gate."""
    unsure = _describe_undecided(gate.metric, count.undecided) if count.undecided else ""
    return (
        f"{_describe_count(gate, count, '')}{unsure}. The gates on times lack one on errors, so less than "
        f'{share_text(gate.limit)} may; write a gate such as "errors < 5 %" to allow more.'
    )


def explain_workers(word: Verdict, failing: int, workers: int, unnamed: int) -> str:
    """Return how many of the workers fail or are inconclusive, and how many jobs name no worker."""
    if word is Verdict.PASS:
        detail = f"Each of {workers} workers passes it."
    elif word is Verdict.INCONCLUSIVE:
        detail = f"{failing} of {workers} workers {'is' if failing == 1 else 'are'} inconclusive."
    elif failing:
        detail = f"{failing} of {workers} workers {'fails' if failing == 1 else 'fail'} it."
    else:
        detail = "All jobs together fail it, so one worker must."
    return f"{detail} {unnamed:,} jobs name no worker and may be of any." if unnamed else detail


def counted(n: int, pooled_of: int | None) -> str:
    """Return the number of jobs as text, or of the gaps between tokens of this many jobs."""
    if pooled_of is not None:
        return f"{n:,} gap{'' if n == 1 else 's'} of {counted(pooled_of, None)}"
    return f"{n:,} job{'' if n == 1 else 's'}"


def not_known(gate: Gate, unknown: int, of: str) -> str:
    """Return for how many of all jobs the time of a gate is not known."""
    verb = "are" if gate.metric.endswith("s") else "is"
    return f"{gate.metric.heading} {verb} not known for {unknown:,} of {of}."


def _describe_worth(count: Count) -> str:
    """Return how many independent jobs these count as, if clearly fewer, as text that follows a sentence."""
    if count.worth.n > count.jobs * NEARLY_ALL:
        return ""
    if count.pooled_of is not None:
        return f" They count as {count.worth.n:,.0f} independent jobs."
    return f" They resemble their neighbours and count as {count.worth.n:,.0f} independent jobs."


def _describe_undecided(metric: Metric, undecided: int) -> str:
    """Return how many jobs may be over the limit, or may be those that a share counts, as text."""
    if metric.is_time:
        return f", and is not known for {undecided:,}"
    which = {Metric.COLD_STARTS: "whose start is not known", Metric.GOODPUT: "whose times are not known"}
    return f", and {undecided:,} {which.get(metric, 'unfinished')} may"


def _describe_count(gate: Gate, count: Count, of: str) -> str:
    """Return the count of jobs over the limit, or of those that a share counts, as text."""
    jobs = f"{count.over:,} of {counted(count.n, count.pooled_of)}"
    if gate.metric.is_time:
        return f"{gate.metric.heading}{of} was {limit_text(gate)} or more for {jobs}"
    return f"{jobs} {gate.metric.spec.clause}"
