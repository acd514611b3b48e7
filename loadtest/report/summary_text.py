"""The figures of a summary in words: gates in their unit, and percentiles that need more jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loadtest.analyze.stats.quantiles import PER_MILLE, min_samples
from loadtest.analyze.summary import (
    Cause,
    FlowSummary,
    GateResult,
    RepeatAudit,
    RepeatTimes,
    Summary,
    TokenSummary,
)
from loadtest.record.sample import Outcome
from loadtest.report import formatting
from loadtest.report.pages.glossary import OUTCOMES, TERMS
from loadtest.scenario.metrics import Metric, Unit

PERCENTILES = ("p50", "p70", "p90", "p95", "p98", "p99", "p99_9")

QUANTITIES = {
    name: (TERMS[key][0], key)
    for name in FlowSummary.__struct_fields__
    if name.endswith("_ms") and (key := name.removesuffix("_ms").replace("_", "-"))
}
"""The times of a flow: title, and the glossary entry, which has the name of the time."""
SHOWN_CAUSES = 3
EXAMPLE_LENGTH = 300
"""The most characters of the text of an example."""
CHARTED = ("delay_ms", "execution_ms", "end_to_end_ms")
"""The times with a chart."""


def observed_text(result: GateResult) -> str:
    """Return the observed figure of a gate."""
    return _figure(result, result.observed)


def limit_text(result: GateResult) -> str:
    """Return the limit of a gate."""
    return _figure(result, result.limit)


def interval_texts(result: GateResult) -> tuple[str, str] | None:
    """Return both ends of the interval of the observed figure; None if it has none."""
    return None if result.ci95 is None else (_figure(result, result.ci95[0]), _figure(result, result.ci95[1]))


def _figure(result: GateResult, value: float | None) -> str:
    match result.unit:
        case Unit.MILLISECONDS:
            return formatting.milliseconds(value)
        case Unit.SHARE:
            return formatting.share(value)
        case Unit.PER_SECOND:
            return formatting.rate(value)
        case Unit.RATIO:
            return formatting.ratio(value)


def cause_texts(summary: Summary) -> list[str]:
    """Return the most frequent causes of jobs that did not complete, each on one line."""
    jobs = sum(summary.jobs.get(outcome, 0) for outcome in Outcome)
    texts = [_cause(cause, jobs) for cause in summary.causes[:SHOWN_CAUSES]]
    more = len(summary.causes) - SHOWN_CAUSES
    return texts if more <= 0 else [*texts, f"{more} more cause{'' if more == 1 else 's'} in the report"]


def _cause(cause: Cause, jobs: int) -> str:
    status = "" if cause.http_status is None else f" (HTTP {cause.http_status})"
    example = formatting.one_line(cause.error, EXAMPLE_LENGTH) or OUTCOMES[cause.outcome]
    return (
        f"{formatting.count(cause.jobs)} of {formatting.count(jobs)} jobs ended as "
        f"{cause.outcome.replace('_', ' ')}{status}: {example}"
    )


def min_jobs(percentile: str) -> str:
    """Return the number of jobs that a percentile needs."""
    return formatting.count(min_samples(PER_MILLE[percentile]))


def min_sample_sizes() -> str:
    """Return the number of jobs that each of the higher percentiles needs."""
    return ", ".join(f"{name.replace('_', '.')} {min_jobs(name)}" for name in PERCENTILES[2:])


def missing_percentiles(flows: Iterable[FlowSummary], names: Sequence[str]) -> str:
    """Return which of these percentiles some flow has too few jobs for, and how many they need; "" if none."""
    times = [q for flow in flows for q in (flow.delay_ms, flow.execution_ms, flow.end_to_end_ms) if q.n]
    missing = [name for name in names if any(getattr(q, name) is None for q in times)]
    return ", ".join(f"{name} needs {min_jobs(name)} jobs" for name in missing)


def pace_text(flow: FlowSummary) -> str:
    """Return how fast a flow's tokens came; empty if it has no streamed content."""
    times = ((Metric.TTFT, flow.ttft_ms), (Metric.TPOT, flow.tpot_ms), (Metric.ITL, flow.itl_ms))
    parts = [
        f"{metric} p50 {formatting.milliseconds(q.p50)}, p95 {formatting.milliseconds(q.p95)}"
        for metric, q in times
        if q.n
    ]
    return "; ".join(parts)


def tokens_text(tokens: TokenSummary) -> str:
    """Return the rates of a flow's tokens, and how many jobs report none."""
    rates = (
        ("output", tokens.output_per_s, tokens.output_per_job),
        ("input", tokens.input_per_s, tokens.input_per_job),
    )
    parts = [
        f"{formatting.significant(per_s)} {kind} tokens/s ({formatting.significant(per_job)} a job)"
        for kind, per_s, per_job in rates
        if per_s is not None and per_job is not None
    ]
    silent = tokens.completed - tokens.jobs
    return ", ".join(parts) + (f"; {silent:,} of {tokens.completed:,} jobs report none" if silent else "")


def repeats_text(audit: RepeatAudit) -> str:
    """Return whether repeated inputs are answered faster, by the time in which that shows most."""
    early = f" ({audit.too_early:,} more were sent too early)" if audit.too_early else ""
    begin = f"{audit.repeats:,} repeats of earlier inputs{early}"
    judged = {column: each for column, each in audit.times.items() if each.faster_share_interval is not None}
    if not judged:
        return f"{begin}, too few to compare"
    column, most = max(judged.items(), key=lambda item: _evidence(item[1]))
    title = QUANTITIES[column][0].lower()
    texts = []
    if most.faster_share_interval is not None:
        low, high = map(formatting.share, most.faster_share_interval)
        texts.append(f"{formatting.share(most.faster_share)} ({low} to {high}) are faster than new ones by {title}")
    if most.ratio is not None and most.ratio_interval is not None:
        low, high = (f"{end:.2f}" for end in most.ratio_interval)
        texts.append(f"their median is {most.ratio:.2f} ({low} to {high}) times that of new ones")
    return f"{begin}: {', '.join(texts)}; {'a cache answers them' if most.faster else 'no cache shows'}"


def _evidence(times: RepeatTimes) -> tuple[bool, float, float]:
    """Return how clearly repeats are faster, to compare times."""
    low = 0.0 if times.faster_share_interval is None else times.faster_share_interval[0]
    return times.faster, low, -(1.0 if times.ratio is None else times.ratio)
