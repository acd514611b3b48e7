"""The comparison with a baseline as a gate: refused if the runs are not comparable, else one result per metric."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from loadtest.analyze.compare.comparable_run import ComparableRun
from loadtest.analyze.compare.result import THROUGHPUT, ComparisonVerdict, MetricComparison, MetricKey
from loadtest.analyze.summary import Check, GateResult, Verdict
from loadtest.errors import UsageError
from loadtest.protocol.json_values import canonical_json, encode_json
from loadtest.record.run import Ending, RunRecord
from loadtest.scenario.flows import FLOWS
from loadtest.scenario.metrics import Metric, Unit
from loadtest.scenario.model import HASH_EXCLUDED

COMPARED = (
    (Metric.END_TO_END, "p50"),
    (Metric.END_TO_END, "p95"),
    (Metric.DELAY, "p95"),
    (Metric.EXECUTION, "p95"),
    (Metric.FIRST_CHUNK, "p95"),
)
"""The percentiles compared in each flow; each additional one needs more jobs, since all share one error rate."""
OF_TOKENS = (
    MetricKey("", Metric.TTFT, "p95"),
    MetricKey("", Metric.TPOT, "p95"),
    MetricKey("", Metric.ITL, "p95"),
    MetricKey("", Metric.TOKENS),
    MetricKey("", Metric.INPUT_TOKENS),
)
"""The figures compared if every baseline has them, so that those of older versions stay of use."""
_DIGITS = 16


def require_comparable(name: str, baseline: RunRecord, candidate: RunRecord, failed: Sequence[Check]) -> None:
    """Raise UsageError, with both values, if payloads, scenario or seed differ, or if the baseline is no measure.

    It is none if it was cut short, or if it `failed` validity checks.
    """
    if (why := incomparable_reason(baseline, candidate)) is not None:
        raise UsageError(f"--baseline {name}: {why}")
    if failed:
        raise UsageError(f"--baseline {name}: its measurement is not valid: {failed[0].detail} Name a valid run")


def incomparable_reason(baseline: RunRecord, candidate: RunRecord) -> str | None:
    """Return why one run cannot be the other's baseline, with both values; None if it can."""
    if baseline.ending is not Ending.COMPLETE:
        how = "has no end on record" if baseline.ending is None else f"was {baseline.ending.value}"
        return f"that run {how}; compare with a complete one"
    there, here = _payload_hash(baseline), _payload_hash(candidate)
    if there != here and baseline.scenario["flows"].keys() == candidate.scenario["flows"].keys():
        return f"its payloads are {there}, those of the run {here}; send the same inputs"
    if baseline.scenario_hash != candidate.scenario_hash:
        different = next(_differences(baseline.scenario, candidate.scenario), "")
        return (
            f"its scenario is {baseline.scenario_hash}, that of the run {candidate.scenario_hash}{different}; "
            f"compare runs of one scenario"
        )
    if baseline.seed != candidate.seed:
        return f"its seed is {baseline.seed}, that of the run {candidate.seed}; run with --seed {baseline.seed}"
    return None


def _payload_hash(run: RunRecord) -> str:
    inputs: dict[str, Any] = {}
    for name, flow in run.scenario["flows"].items():
        drawn = flow.get("inputs")
        inputs[name] = flow.get("input") if drawn is None else {**drawn, "file": None}
    return hashlib.sha256(canonical_json(inputs)).hexdigest()[:_DIGITS]


def _differences(there: Any, here: Any, path: str = "") -> Iterator[str]:
    """Yield the paths at which two scenarios differ, with both values."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [key for key in {**there, **here} if path or key not in HASH_EXCLUDED]:
            yield from _differences(there.get(key), here.get(key), f"{path}.{key}" if path else key)
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for index, (one, other) in enumerate(zip(there, here, strict=True)):
            yield from _differences(one, other, f"{path}.{index}")
    elif there != here:
        one, other = (encode_json(value).decode()[:60] for value in (there, here))
        yield f" ({path} is {one} there and {other} here)"


def metrics_of(baselines: Sequence[ComparableRun], candidate: ComparableRun) -> list[MetricKey]:
    """Return throughput, and of every flow errors and the percentiles of COMPARED, as far as any run has them.

    A flow or a time that one run lacks is compared too, so that its loss shows. Of streams it is the first token, or
    the first chunk if a run is of a version that knew no tokens; then its rates of tokens are not compared either.
    """
    runs = [*baselines, candidate]
    found = [THROUGHPUT]
    for flow in [flow for flow in FLOWS if any(flow in run.counts for run in runs)]:
        times = [key for key in COMPARED if any(run.has(flow, key[0]) for run in runs)]
        if all(run.has(flow, Metric.TTFT) for run in runs):
            times = [key for key in times if key[0] is not Metric.FIRST_CHUNK]
        found += [MetricKey(flow, Metric.ERRORS), *(MetricKey(flow, *key) for key in times)]
        if flow not in Metric.TTFT.spec.flows or all(run.has(flow, Metric.TTFT) for run in baselines):
            known = [key for key in OF_TOKENS if all(run.has(flow, key.metric) for run in baselines)]
            found += [replace(key, flow=flow) for key in known]
    return found


def as_gate_result(found: MetricComparison) -> GateResult:
    """Return a comparison as the result of a gate: `observed` and `limit` are ratios to the baseline, or shares.

    A worse metric fails. Any other passes if the bounds rule out that it is worse by more than the tolerance, and is
    inconclusive if they do not.
    """
    if found.standing is ComparisonVerdict.WORSE:
        verdict = Verdict.FAIL
    else:
        verdict = Verdict.PASS if found.non_inferior else Verdict.INCONCLUSIVE
    return GateResult(
        gate=f"{found.metric.name} against the baseline",
        observed=found.candidate if found.metric.metric.is_share else found.ratio,
        limit=found.limit,
        n=round(found.effective_n or 0),
        verdict=verdict,
        detail=found.detail,
        metric=found.metric.metric,
        unit=Unit.SHARE if found.metric.metric.is_share else Unit.RATIO,
        ci95=found.ci95,
    )
