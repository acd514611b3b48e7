"""Runs are compared only where they are of one kind; what is compared is laid out run by run."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.analyze.comparison import Answer, MetricComparison
from loadtest.analyze.summary import Verdict
from loadtest.errors import UsageError
from loadtest.gate.baseline import refuse_unlike, results_of, series_of
from loadtest.record.run import Ending, Run
from tests.unit.analyze.rows import START_AT, job, run, samples, scenario


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


def test_what_is_compared_stands_in_the_order_of_the_intended_starts() -> None:
    table = samples(
        job(2, 2.0, delay_ms=30),
        job(0, 0.0, delay_ms=10),
        job(1, 1.0, delay_ms=20, outcome="failed"),
        job(3, 3.0, delay_ms=40, flow="runsync"),
        job(4, 4.0, delay_ms=None),
    )
    series = series_of(run(), table)
    assert {name: len(values) for name, values in series.times.items()} == {
        "run delay": 2,
        "run execution": 3,
        "run end-to-end": 3,
        "runsync delay": 1,
        "runsync execution": 1,
        "runsync end-to-end": 1,
    }
    assert series.times["run delay"].tolist() == [10, 30]
    assert (series.finished_at - START_AT).round(2).tolist() == [0.36, 2.36, 3.36, 4.36]
    assert series.duration_s == 10


@pytest.mark.parametrize(
    ("metric", "answer", "limit", "verdict"),
    [
        ("run delay p95", "better", 1.05, Verdict.PASS),
        ("run delay p95", "same within tolerance", 1.05, Verdict.PASS),
        ("run delay p95", "cannot tell", 1.05, Verdict.INCONCLUSIVE),
        ("run delay p95", "worse", 1.05, Verdict.FAIL),
        ("throughput", "worse", 0.95, Verdict.FAIL),
    ],
)
def test_a_comparison_reads_as_a_gate(metric: str, answer: Answer, limit: float, verdict: Verdict) -> None:
    found = MetricComparison(metric, 1.2, 1.1, 1.3, 0.001, 0.04, answer, 900, 1000, "By a fifth.")
    (result,) = results_of([found], 0.05)
    assert (result.gate, result.observed, result.n) == (f"{metric} against the baseline", 1.2, 1000)
    assert (result.limit, result.verdict, result.detail) == (limit, verdict, "By a fifth.")
