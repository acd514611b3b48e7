"""Only comparable runs are compared, in the metrics that all of them have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from loadtest.analyze.compare.comparable_run import ComparableRun, JobCount
from loadtest.analyze.compare.result import ComparisonVerdict, MetricComparison, MetricKey
from loadtest.analyze.summary import Check, CheckId, Verdict
from loadtest.errors import UsageError
from loadtest.gate.baseline import as_gate_result, metrics_of, require_comparable
from loadtest.record.run import Ending, RunRecord
from loadtest.scenario.metrics import Metric, Unit
from tests.unit.analyze.rows import run, scenario


def of(**changes: Any) -> RunRecord:
    return run(scenario(**changes))


def refusal(baseline: RunRecord, candidate: RunRecord) -> str:
    with pytest.raises(UsageError) as refused:
        require_comparable("v1", baseline, candidate, [])
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_runs_of_one_scenario_are_compared() -> None:
    require_comparable("v1", of(), of(), [])
    require_comparable("v1", of(gates=["errors < 1 %"], question="Why?"), of(target="http://127.0.0.1:1/v2/x"), [])
    require_comparable("v1", of(), of(endpoint={"service": "1s"}), [])


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
def test_an_incomplete_baseline_is_refused(ending: Ending | None, said: str) -> None:
    assert said in refusal(run(ending=ending), run())


def test_a_baseline_whose_measurement_is_not_valid_is_refused_with_the_first_reason() -> None:
    late = Check(CheckId.SEND_LAG, False, 300.0, 25.0, "Jobs were sent 300 ms late.")
    with pytest.raises(UsageError, match="--baseline v1: its measurement is not valid: Jobs were sent 300 ms late"):
        require_comparable("v1", of(), of(), [late])


def one_run(**quantities: float) -> ComparableRun:
    return ComparableRun(
        {("run", Metric[name]): np.array([value]) for name, value in quantities.items()},
        np.ones(60),
        {"run": JobCount(1, 0)},
    )


def test_metrics_that_any_run_has_are_compared() -> None:
    whole = one_run(END_TO_END=5.0, DELAY=1.0, EXECUTION=3.0, FIRST_CHUNK=np.nan)
    partly = one_run(END_TO_END=5.0, EXECUTION=3.0)
    assert [each.name for each in metrics_of([whole], whole)] == [
        "throughput",
        "run errors",
        "run end_to_end_ms p50",
        "run end_to_end_ms p95",
        "run delay_ms p95",
        "run execution_ms p95",
    ]
    assert metrics_of([partly], whole) == metrics_of([whole], partly) == metrics_of([whole], whole)
    other = replace(partly, times_ms={}, counts={"stream": JobCount(5, 5)})
    assert [each.name for each in metrics_of([other], partly)][-1] == "stream errors"


@pytest.mark.parametrize(
    ("standing", "no_worse", "verdict"),
    [
        (ComparisonVerdict.BETTER, True, Verdict.PASS),
        (ComparisonVerdict.CANNOT_TELL, True, Verdict.PASS),
        (ComparisonVerdict.CANNOT_TELL, False, Verdict.INCONCLUSIVE),
        (ComparisonVerdict.WORSE, False, Verdict.FAIL),
    ],
)
def test_a_comparison_reads_as_a_gate(standing: ComparisonVerdict, no_worse: bool, verdict: Verdict) -> None:
    key = MetricKey("run", Metric.DELAY, "p95")
    found = MetricComparison(key, 9.0, 9.0, 1.0, None, None, None, 812.4, standing, "So it is.", 1.05, no_worse)
    result = as_gate_result(found)
    assert (result.gate, result.observed, result.n) == ("run delay_ms p95 against the baseline", 1.0, 812)
    assert (result.metric, result.unit) == (Metric.DELAY, Unit.RATIO)
    share = as_gate_result(msgspec.structs.replace(found, metric=MetricKey("run", Metric.ERRORS), candidate=0.02))
    assert (share.gate, share.observed, share.unit) == ("run errors against the baseline", 0.02, Unit.SHARE)
    assert (result.limit, result.verdict, result.detail) == (1.05, verdict, "So it is.")
