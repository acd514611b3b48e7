"""Missing data do not look good: jobs that failed, never ended, name no worker, or have impossible times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.analyze.start_kinds import CLASSES, UNKNOWN
from loadtest.analyze.summary import Verdict
from loadtest.gate.early_stopping import refuted
from loadtest.gate.inputs import gate_inputs
from loadtest.gate.judge import judge_all
from loadtest.gate.measures import Times
from loadtest.record.sample import Outcome
from loadtest.scenario.gates import DEFAULT_ERRORS, default_gates, parse_gate
from tests.unit.analyze.noise import autoregressive
from tests.unit.analyze.rows import START_AT, run, run_data
from tests.unit.gate.test_judge import FAIL, INCONCLUSIVE, PASS, UNFINISHED, jobs, judged

NOT_COMPLETED = [outcome.value for outcome in Outcome if outcome is not Outcome.COMPLETED]
UNKNOWN_TIMES: dict[str, Any] = {"delay_ms": None, "execution_ms": None, "worker_id": None}


@pytest.mark.parametrize("outcome", [outcome for outcome in NOT_COMPLETED if outcome != "censored"])
@pytest.mark.parametrize("metric", ["end-to-end", "response"])
def test_a_job_that_ended_otherwise_after_the_limit_is_over_it(outcome: str, metric: str) -> None:
    late = {"outcome": outcome, "finished_at": START_AT + 200, **UNKNOWN_TIMES}
    assert judged(f"{metric} p95 < 2s", jobs((900, {}), (100, late))).verdict is FAIL


@pytest.mark.parametrize("outcome", NOT_COMPLETED)
@pytest.mark.parametrize("gate", ["delay p95 < 2s", "execution p95 < 2s", "overhead p95 < 2s", "end-to-end p95 < 2h"])
def test_a_job_that_did_not_complete_is_undecided_if_its_time_is_not_known(outcome: str, gate: str) -> None:
    few, many = (jobs((1000 - n, {}), (n, {"outcome": outcome, **UNKNOWN_TIMES})) for n in (30, 60))
    assert judged(gate, few).verdict is PASS
    assert judged(gate, many).verdict is INCONCLUSIVE
    assert "is not known for 60" in judged(gate, many).detail


def test_a_time_that_ended_before_the_job_failed_is_known() -> None:
    failed = jobs((900, {}), (100, {"outcome": "failed"}))
    for gate in ("delay p95 < 2s", "submit p95 < 1s", "send lag p95 < 1s", "delay mean < 2s", "delay max < 2s"):
        result = judged(gate, failed)
        assert (result.verdict, result.n) == (PASS, 1000)
    assert judged("delay p95 < 100ms", failed).verdict is FAIL


@pytest.mark.parametrize("gate", ["response mean < 2s", "response max < 2s", "execution mean < 2s"])
def test_a_mean_and_the_longest_time_do_not_pass_with_a_job_that_did_not_complete(gate: str) -> None:
    result = judged(gate, jobs((999, {}), (1, {"outcome": "failed"})))
    assert (result.verdict, result.observed) == (INCONCLUSIVE, None)
    assert result.detail.endswith(" is not known for 1 of 1,000 jobs.")


def test_a_stream_without_a_chunk_waited_for_one_until_its_end() -> None:
    stream = {"flow": "stream", "first_chunk_at": None, "finished_at": START_AT + 200}
    assert judged("first chunk p95 < 2s", jobs((100, stream))).verdict is FAIL


@pytest.mark.parametrize(
    ("gate", "impossible"),
    [
        ("overhead p95 < 1s", {"delay_ms": 5000}),
        ("delay p95 < 1s", {"delay_ms": -5000}),
        ("response p95 < 1s", {"sent_at": START_AT + 150}),
    ],
)
def test_an_impossible_time_is_undecided(gate: str, impossible: dict[str, Any]) -> None:
    result = judged(gate, jobs((900, {}), (100, impossible)))
    assert (result.verdict, result.n) == (INCONCLUSIVE, 1000)


def test_a_start_that_is_not_known_may_have_been_cold() -> None:
    kinds = np.where(np.arange(1000) % 50 == 25, UNKNOWN, CLASSES.index("warm")).astype(np.int8)
    assert judged("cold starts < 5 %", jobs((1000, {})), start_kind=kinds).verdict is PASS
    kinds = np.array([CLASSES.index("cold")] * 20 + [UNKNOWN] * 980, np.int8)
    result = judged("cold starts < 5 %", jobs((1000, {})), start_kind=kinds)
    assert result.verdict is INCONCLUSIVE
    assert result.detail.startswith("20 of 1,000 jobs met a cold start, and 980 whose start is not known may.")


def test_slow_jobs_that_name_no_worker_may_be_of_any() -> None:
    gate = "execution p95 < 8s per worker"
    slow = {"worker_id": None, "execution_ms": 9000}
    most = judged(gate, jobs((100, {}), (900, slow)))
    assert most.verdict is FAIL
    assert most.detail.startswith("All jobs together fail it, so one worker must. 900 jobs name no worker")
    some = judged(gate, jobs((10, slow), *((100, {"worker_id": f"w{n}"}) for n in range(20))))
    assert some.verdict is INCONCLUSIVE
    assert "10 jobs name no worker and may be of any." in some.detail
    assert judged(gate, jobs((100, {}), (900, {"worker_id": None}))).verdict is PASS


@pytest.mark.parametrize("worker_id", ["w2", None])
def test_a_worker_whose_jobs_all_failed_is_not_left_out(worker_id: str | None) -> None:
    failed = {"outcome": "failed", "worker_id": worker_id, "execution_ms": None}
    result = judged("execution p95 < 8s per worker", jobs((300, {"worker_id": "w1"}), (100, failed)))
    assert result.verdict is INCONCLUSIVE


@pytest.mark.parametrize(
    ("gates", "lacks"),
    [
        ((), False),
        (("throughput > 1/s", "cold starts < 5 %"), False),
        (("delay p95 < 2s",), True),
        (("delay p95 < 2s", "errors < 20 %"), False),
        (("delay p95 < 2s", "errors < 20 % of run"), True),
        (("delay p95 < 2s of run", "errors < 20 % of run"), False),
        (("delay p95 < 2s during peak", "errors < 20 % during peak"), False),
        (("delay p95 < 2s", "errors < 20 % during peak"), True),
    ],
)
def test_gates_on_times_lack_one_on_errors_unless_one_counts_their_jobs(gates: tuple[str, ...], lacks: bool) -> None:
    assert default_gates([parse_gate(gate) for gate in gates]) == ((DEFAULT_ERRORS,) if lacks else ())


@pytest.mark.parametrize(
    ("completed", "failed", "unfinished", "word"),
    [
        (20, 0, 0, PASS),
        (44, 1, 0, INCONCLUSIVE),
        (44, 4, 0, FAIL),
        (995, 5, 0, PASS),
        (988, 12, 0, INCONCLUSIVE),
        (988, 0, 12, INCONCLUSIVE),
        (183, 301, 0, FAIL),
        (0, 0, 0, INCONCLUSIVE),
    ],
)
def test_errors_are_judged_by_default(completed: int, failed: int, unfinished: int, word: Verdict) -> None:
    table = jobs((completed, {}), (failed, {"outcome": "failed"}), (unfinished, UNFINISHED))
    *own, default = judge_all([parse_gate("delay p50 < 2s")], gate_inputs(run_data(run(), table)))
    assert [each.gate for each in own] == ["delay p50 < 2s"]
    assert (default.gate, default.verdict, default.limit, default.default) == ("errors < 1 %", word, 0.01, True)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10_000),
    rho=st.sampled_from([0.0, 0.5, 0.8, 0.95]),
    per_mille=st.sampled_from([500, 900, 950, 990]),
    factor=st.sampled_from([0.5, 0.7, 0.95, 1.0, 1.3, 2.0, 4.0]),
    worst=st.floats(0.005, 0.7),
    chosen=st.sampled_from([0.1, 0.3, 0.9, 1.0]),
)
def test_jobs_that_fail_after_as_long_never_improve_the_verdict_on_a_percentile(
    seed: int, rho: float, per_mille: int, factor: float, worst: float, chosen: float
) -> None:
    # Such failures look random: they must not make the jobs count as more independent than they are.
    rng = np.random.default_rng(seed)
    times_ms = np.exp(autoregressive(rng, 300, rho)) * 100
    limit_ms = float(np.quantile(times_ms, per_mille / 1000)) * factor
    failed = (times_ms >= np.quantile(times_ms, 1 - worst)) & (rng.random(300) < chosen)
    before, after = (
        verdict_of(Times(known_ms, times_ms, np.zeros(300, np.int32)), limit_ms, per_mille)
        for known_ms in (times_ms, np.where(failed, np.nan, times_ms))
    )
    assert after <= before


def verdict_of(times: Times, limit_ms: float, per_mille: int) -> int:
    """Return 0 for fail, 1 for inconclusive, 2 for pass."""
    count = times.count(limit_ms)
    if times.holds(limit_ms, per_mille, count):
        return 2
    return 0 if refuted(count.over, count.n, 1 - per_mille / 1000, count.worth) else 1
