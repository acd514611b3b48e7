"""A run held against runs before it: refused where they are not of one kind, else one result a metric."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from loadtest.analyze.comparison import MetricComparison, RunSeries
from loadtest.analyze.jobs import FLOWS, Floats, jobs_of, load_window
from loadtest.analyze.summary import GateResult, Verdict
from loadtest.errors import UsageError
from loadtest.record.run import Ending, Run
from loadtest.scenario.model import NOT_COMPARED

VERDICTS = {
    "better": Verdict.PASS,
    "same within tolerance": Verdict.PASS,
    "cannot tell": Verdict.INCONCLUSIVE,
    "worse": Verdict.FAIL,
}
_THROUGHPUT = "throughput"
_DIGITS = 16


def refuse_unlike(name: str, baseline: Run, candidate: Run) -> None:
    """UsageError, with both values, where payloads, scenario or seed differ, or the baseline was cut short."""
    if baseline.ending is not Ending.COMPLETE:
        how = "has no end on record" if baseline.ending is None else f"was {baseline.ending.value}"
        raise UsageError(f"--baseline {name}: that run {how}; compare with one that came to its end")
    there, here = _payload_hash(baseline), _payload_hash(candidate)
    if there != here and baseline.scenario["flows"].keys() == candidate.scenario["flows"].keys():
        raise UsageError(
            f"--baseline {name}: its payloads are {there}, those of the run {here}; send the same inputs"
        )
    if baseline.scenario_hash != candidate.scenario_hash:
        different = next(_differences(baseline.scenario, candidate.scenario), "")
        raise UsageError(
            f"--baseline {name}: its scenario is {baseline.scenario_hash}, that of the run "
            f"{candidate.scenario_hash}{different}; compare runs of one scenario"
        )
    if baseline.seed != candidate.seed:
        raise UsageError(
            f"--baseline {name}: its seed is {baseline.seed}, that of the run {candidate.seed}; "
            f"run with --seed {baseline.seed}"
        )


def _payload_hash(run: Run) -> str:
    inputs = {name: flow.get("input") for name, flow in run.scenario["flows"].items()}
    return hashlib.sha256(msgspec.json.encode(inputs, order="deterministic")).hexdigest()[:_DIGITS]


def _differences(there: Any, here: Any, path: str = "") -> Iterator[str]:
    """Where two scenarios differ, with both values."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in (key for key in {**there, **here} if path or key not in NOT_COMPARED):
            yield from _differences(there.get(key), here.get(key), f"{path}.{key}" if path else key)
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for index, (one, other) in enumerate(zip(there, here, strict=True)):
            yield from _differences(one, other, f"{path}.{index}")
    elif there != here:
        one, other = (msgspec.json.encode(value).decode()[:60] for value in (there, here))
        yield f" ({path} is {one} there and {other} here)"


def series_of(run: Run, samples: pa.Table) -> RunSeries:
    """What is compared of a run; samples in the schema of `samples.parquet`."""
    jobs = jobs_of(samples)
    done = jobs.where(jobs.completed)
    done = done.taken(np.argsort(done.intended_at, kind="stable"))
    times: dict[str, Floats] = {}
    for flow in (flow for flow in FLOWS if done.of(flow).any()):
        own = done.of_flow(flow)
        columns = {"delay": own.delay_ms, "execution": own.execution_ms, "end-to-end": own.end_to_end_ms}
        times |= {f"{flow} {name}": values[~np.isnan(values)] for name, values in columns.items()}
    return RunSeries(times, np.sort(done.finished_at), load_window(run, jobs).duration_s)


def results_of(comparisons: Sequence[MetricComparison], tolerance: float) -> list[GateResult]:
    """Each comparison as the result of a gate: `observed` and `limit` are ratios to the baseline."""
    return [
        GateResult(
            gate=f"{each.metric} against the baseline",
            observed=each.ratio,
            limit=1 - tolerance if each.metric == _THROUGHPUT else 1 + tolerance,
            n=each.n_candidate,
            verdict=VERDICTS[each.answer],
            detail=each.detail,
        )
        for each in comparisons
    ]
