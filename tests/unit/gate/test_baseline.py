"""Runs are compared only where they are of one kind; what is compared is laid out run by run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loadtest.analyze.comparison import MetricComparison, RunSeries, Standing
from loadtest.analyze.summary import Verdict
from loadtest.errors import UsageError
from loadtest.gate.baseline import metrics_of, refuse_unlike, results_of
from loadtest.record.run import Ending, Run
from tests.unit.analyze.rows import run, scenario


def of(**changes: Any) -> Run:
    return run(scenario(**changes))


def refusal(baseline: Run, candidate: Run) -> str:
    with pytest.raises(UsageError) as refused:
        refuse_unlike("v1", baseline, candidate)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_runs_of_one_kind_are_compared() -> None:
    refuse_unlike("v1", of(), of())
    refuse_unlike("v1", of(gates=["errors < 1 %"], question="Why?"), of(target="http://127.0.0.1:1/v2/x"))
    refuse_unlike("v1", of(), of(endpoint={"service": "1s"}))


def test_another_scenario_is_refused_with_both_hashes_and_what_differs() -> None:
    faster = of(load={"stages": [{"rate": "2/s", "for": "10s"}]})
    said = refusal(of(), faster)
    assert f"its scenario is {of().scenario_hash}, that of the run {faster.scenario_hash}" in said
    assert 'load.stages.0.rate is "1/s" there and "2/s" here' in said


def test_other_payloads_are_refused_with_both_hashes() -> None:
    said = refusal(of(flows={"run": {"input": 1}}), of(flows={"run": {"input": 2}}))
    assert "--baseline v1: its payloads are " in said
    assert said.endswith("; send the same inputs")


def test_another_seed_is_refused_with_both_seeds() -> None:
    asked = scenario()
    said = refusal(run(asked, seed=1), run(asked, seed=2))
    assert said == "--baseline v1: its seed is 1, that of the run 2; run with --seed 1"


@pytest.mark.parametrize(
    ("ending", "said"), [(Ending.ABORTED, "was aborted"), (Ending.INTERRUPTED, "was interrupted"), (None, "no end")]
)
def test_a_baseline_that_did_not_come_to_its_end_is_refused(ending: Ending | None, said: str) -> None:
    assert said in refusal(run(ending=ending), run())


def one_run(**quantities: float) -> RunSeries:
    return RunSeries({f"run {name}": np.array([value]) for name, value in quantities.items()}, np.ones(60))


def test_what_all_runs_have_is_compared() -> None:
    whole = one_run(end_to_end_ms=5.0, delay_ms=1.0, execution_ms=3.0, first_chunk_ms=np.nan)
    partly = one_run(end_to_end_ms=5.0, execution_ms=3.0)
    assert [each.name for each in metrics_of([whole], whole)] == [
        "throughput",
        "run end_to_end_ms p50",
        "run end_to_end_ms p95",
        "run delay_ms p95",
        "run execution_ms p95",
    ]
    assert [each.name for each in metrics_of([whole, partly], whole)][1:] == [
        "run end_to_end_ms p50",
        "run end_to_end_ms p95",
        "run execution_ms p95",
    ]


@pytest.mark.parametrize(
    ("metric", "standing", "bounds", "verdict"),
    [
        ("run delay_ms p95", Standing.BETTER, (0.7, 0.9), Verdict.PASS),
        ("run delay_ms p95", Standing.CANNOT_TELL, (0.98, 1.04), Verdict.PASS),
        ("run delay_ms p95", Standing.CANNOT_TELL, (0.98, 1.06), Verdict.INCONCLUSIVE),
        ("run delay_ms p95", Standing.CANNOT_TELL, None, Verdict.INCONCLUSIVE),
        ("run delay_ms p95", Standing.WORSE, (1.06, 1.3), Verdict.FAIL),
        ("throughput", Standing.CANNOT_TELL, (0.96, 1.2), Verdict.PASS),
        ("throughput", Standing.CANNOT_TELL, (0.94, 1.0), Verdict.INCONCLUSIVE),
        ("throughput", Standing.WORSE, (0.5, 0.6), Verdict.FAIL),
    ],
)
def test_a_comparison_reads_as_a_gate(
    metric: str, standing: Standing, bounds: tuple[float, float] | None, verdict: Verdict
) -> None:
    found = MetricComparison(metric, 9.0, 9.0, 1.0, None, bounds, None, 812.4, standing, "So it is.")
    (result,) = results_of([found], 0.05)
    assert (result.gate, result.observed, result.n) == (f"{metric} against the baseline", 1.0, 812)
    assert result.limit == pytest.approx(1 / 1.05 if metric == "throughput" else 1.05)
    assert (result.verdict, result.detail) == (verdict, "So it is.")
