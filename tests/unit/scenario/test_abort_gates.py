"""Gates that end a run while it goes on: jobs that end, and an evaluation now and then."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from loadtest.record.sample import ChunkSeen, Sample
from loadtest.scenario.abort import MIN_SURPRISE_NATS, StopKind, StopReason, StopRules, _Recent, chernoff_bound
from loadtest.scenario.loading.feasibility import find_issues
from loadtest.scenario.model import Scenario
from loadtest.traffic.limit_shares import Share


def scenario(*gates: str, flows: dict[str, Any] | None = None, **rule: Any) -> Scenario:
    load = {"stages": [{"rate": "1/s", "for": "1s"}]}
    abort = {"errors": "100 %", "over": "10s", "jobs": 20, "gates": gates, **rule}
    return Scenario.model_validate({"name": "s", "load": load, "abort": abort, "flows": flows or {"run": {}}})


def job(at: float, **changes: Any) -> Sample:
    """A completed job: meant for 1 s ago, sent 100 ms late, delay 300 ms, execution 500 ms."""
    whole: dict[str, Any] = {
        "seq": 1,
        "flow": "run",
        "intended_at": at - 1,
        "sent_at": at - 0.9,
        "accepted_at": at - 0.85,
        "first_chunk_at": at - 0.5,
        "finished_at": at,
        "delay_ms": 300,
        "execution_ms": 500,
        "outcome": "completed",
    }
    return Sample(**{**whole, **changes})


def reason_after(stops: StopRules, *jobs: Sample, evaluate_at: float) -> str | None:
    assert stops.watch is not None
    for each in jobs:
        assert each.finished_at is not None
        stops.watch.ended(each, each.finished_at)
    stops.evaluate(evaluate_at)
    assert stops.reason is None or stops.reason.kind is StopKind.ABORT_GATES
    return None if stops.reason is None else stops.reason.detail


def test_without_gates_no_job_is_counted() -> None:
    assert StopRules(scenario()).watch is None


@pytest.mark.parametrize("outcome", ["timed_out", "unreachable", "censored"])
@pytest.mark.parametrize("gate", ["end-to-end p95 < 500ms", "response p95 < 500ms", "execution p95 < 500ms"])
def test_jobs_that_lasted_past_the_limit_without_completing_end_the_run(outcome: str, gate: str) -> None:
    lasted = [job(100 + n / 10, outcome=outcome) for n in range(40)]
    assert reason_after(StopRules(scenario(gate)), *lasted, evaluate_at=105) is not None


@pytest.mark.parametrize(
    "gate", ["end-to-end p95 < 2s", "execution p95 < 2s", "overhead max < 1ms", "delay p95 < 2s"]
)
def test_jobs_that_failed_early_do_not_end_the_run_by_their_times(gate: str) -> None:
    unknown = {"delay_ms": None, "execution_ms": None, "outcome": "failed"}
    early = [job(100 + n / 10, **unknown) for n in range(40)]
    assert reason_after(StopRules(scenario(gate)), *early, evaluate_at=105) is None


def test_a_percentile_that_clearly_fails_ends_the_run_with_its_figure() -> None:
    stops = StopRules(scenario("delay p95 < 2s"))
    jobs = [job(100 + n / 10, delay_ms=2000 if n % 3 == 0 else 7) for n in range(60)]
    assert reason_after(stops, *jobs, evaluate_at=106) == (
        'abort.gates: "delay p95 < 2s" does not hold: 20 of the 60 jobs that ended in the last 10 s took 2s or more'
    )


def test_a_figure_that_chance_explains_does_not_end_a_run() -> None:
    stops = StopRules(scenario("delay p95 < 2s"))
    jobs = [job(100 + n / 10, delay_ms=2000 if n % 12 == 0 else 7) for n in range(60)]
    assert reason_after(stops, *jobs, evaluate_at=106) is None  # 5 of 60


def test_a_gate_is_not_judged_on_few_jobs() -> None:
    slow = [job(100 + n / 10, delay_ms=9000) for n in range(20)]
    assert reason_after(StopRules(scenario("delay p95 < 2s")), *slow[:19], evaluate_at=102) is None
    assert reason_after(StopRules(scenario("delay p95 < 2s")), *slow, evaluate_at=102) is not None


def test_jobs_before_the_window_do_not_count() -> None:
    stops = StopRules(scenario("delay p95 < 2s"))
    slow = [job(100 + n / 100, delay_ms=9000) for n in range(60)]
    quick = [job(111 + n / 100) for n in range(30)]
    assert reason_after(stops, *slow, *quick, evaluate_at=112) is None


@pytest.mark.parametrize(
    ("gate", "changes", "figure"),
    [
        ("delay mean < 1s", {"delay_ms": 1500}, "the mean of the 40 jobs that ended in the last 10 s is 1.5s"),
        ("delay max < 1s", {"delay_ms": 1000}, "40 of the 40 jobs that ended in the last 10 s took 1s or more"),
        ("execution p50 < 500ms", {}, "40 of the 40 jobs"),
        ("end-to-end p50 < 1s", {"intended_at": 0.0}, "40 of the 40 jobs"),
        ("response p50 < 800ms", {}, "40 of the 40 jobs"),
        ("overhead p50 < 90ms", {}, "40 of the 40 jobs"),
        ("submit p50 < 40ms", {}, "40 of the 40 jobs"),
        ("send lag p50 < 90ms", {}, "40 of the 40 jobs"),
        ("errors < 20 %", {"outcome": "failed"}, "40 of the 40 jobs that ended in the last 10 s failed"),
        ("delay p50 < 100ms of run", {}, "40 of the 40 jobs"),
        ("delay p50 < 100ms of runsync", {}, None),
        ("delay p50 < 100ms", {"outcome": "failed"}, None),
        ("delay p50 < 100ms", {"delay_ms": None}, None),
        ("submit p50 < 1ms", {"flow": "runsync"}, None),
        ("delay p50 < 400ms", {}, None),
        ("delay max < 400ms", {}, None),
        ("delay mean < 400ms", {}, None),
    ],
)
def test_each_metric_is_read_from_the_jobs_that_it_concerns(
    gate: str, changes: dict[str, Any], figure: str | None
) -> None:
    reason = reason_after(
        StopRules(scenario(gate)), *(job(100 + n / 10, **changes) for n in range(40)), evaluate_at=104
    )
    assert reason is None if figure is None else reason is not None and figure in reason


def test_throughput_is_judged_once_a_whole_window_has_passed_and_needs_no_job_to_end() -> None:
    stops = StopRules(scenario("throughput > 2/s"))
    for now in range(100, 110):
        assert reason_after(stops, job(float(now)), evaluate_at=now) is None
    stops.evaluate(110)
    assert stops.reason == StopReason(
        StopKind.ABORT_GATES,
        'abort.gates: "throughput > 2/s" does not hold: 10 jobs completed in the last 10 s, 1/s',
    )
    silent = StopRules(scenario("throughput > 2/s"))
    assert reason_after(silent, evaluate_at=100) is None
    assert reason_after(silent, evaluate_at=110) is not None


def test_processes_reach_a_throughput_together() -> None:
    stops = StopRules(scenario("throughput > 2/s"))
    stops.set_share(Share(1, 4))
    for now in range(100, 111):
        assert reason_after(stops, job(float(now)), evaluate_at=now) is None
    stops.evaluate(116)
    assert stops.reason is not None
    assert stops.reason.detail.endswith(
        "5 jobs completed in the last 10 s, 2/s if each of 4 processes does as this one"
    )


def test_memory_does_not_grow_with_the_jobs() -> None:
    stops = StopRules(scenario("delay p95 < 2s", "throughput > 2/s", over="30s"))
    assert reason_after(stops, *(job(100 + n / 1000) for n in range(60_000)), evaluate_at=160) is None
    for _, recent in stops.watch._counted:  # type: ignore[union-attr]
        assert len(recent._buckets) <= 22
        assert recent.n == pytest.approx(30_000, rel=0.06)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.001, 0.9))
def test_the_bound_is_never_above_the_exact_surprise(counted: tuple[int, int], share: float) -> None:
    over, n = counted
    truth = -stats.binom.logsf(over - 1, n, share)
    assume(truth < 700)  # beyond, the probability that scipy takes the logarithm of has hardly a digit left
    assert chernoff_bound(over, n, share) <= truth * (1 + 1e-6) + 1e-9


def test_a_target_at_its_limit_hardly_ever_ends_a_run() -> None:
    counts = np.random.default_rng(1).binomial(200, 0.05, 20_000)
    assert sum(chernoff_bound(int(over), 200, 0.05) >= MIN_SURPRISE_NATS for over in counts) <= 20
    assert math.isinf(chernoff_bound(1, 10, 0.0))


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("cold starts < 5 %", "is known only after the run"),
        ("delay p95 < 2s during steady", 'judges recent jobs of all workers; write "delay p95 < 2s"'),
        ("delay p95 < 2s per worker", 'write "delay p95 < 2s"'),
        ("dealy p95 < 2s", "is not a metric"),
    ],
)
def test_a_gate_that_needs_the_whole_run_is_refused(gate: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        scenario(gate)


def test_a_gate_of_a_flow_that_the_scenario_lacks_is_refused_with_its_place() -> None:
    issues = list(find_issues(scenario("delay p95 < 2s of runsync")))
    assert [error.path for error in issues] == [("abort", "gates", 0)]


def streamed(at: float, gaps_ms: tuple[float, ...], **changes: Any) -> tuple[Sample, list[ChunkSeen]]:
    """Return a job of `openai` that ends at this time, as its last token comes, and its chunks."""
    seen = [at - sum(gaps_ms[index:]) / 1000 for index in range(len(gaps_ms) + 1)]
    content = {"first_content_at": seen[0], "last_content_at": seen[-1], "output_tokens": len(seen)}
    return job(at, flow="openai", **content | changes), [ChunkSeen(each, 1) for each in seen]


def reason_of(gate: str, *jobs: tuple[Sample, list[ChunkSeen]], at: float = 104) -> str | None:
    stops = StopRules(scenario(gate, flows={"openai": {}}))
    for sample, chunks in jobs:
        stops.ended(sample, sample.finished_at or at, chunks)
    stops.evaluate(at)
    return None if stops.reason is None else stops.reason.detail


def test_gaps_between_tokens_end_a_run_if_too_many_jobs_have_long_ones() -> None:
    slow = [streamed(100 + n / 10, (20, 20, 90) if n % 2 else (20, 20, 20)) for n in range(40)]
    assert reason_of("itl p99 < 80ms", *slow) == (
        'abort.gates: "itl p99 < 80ms" does not hold: 20 of the 120 gaps of jobs that ended in the last 10 s took '
        "80ms or more"
    )
    assert reason_of("itl p99 < 80ms", *slow[:19]) is None
    assert reason_of("itl p90 < 91ms", *slow) is None
    assert reason_of("itl mean < 31ms", *slow) == (
        'abort.gates: "itl mean < 31ms" does not hold: the mean of the 120 gaps of jobs that ended in the last 10 s '
        "is 31.7ms"
    )
    assert reason_of("itl max < 80ms", *slow[:2]) is not None


def test_one_job_with_many_long_gaps_ends_no_run() -> None:
    quick = [streamed(100 + n / 10, (20, 20)) for n in range(39)]
    assert reason_of("itl p99 < 80ms", *quick, streamed(103, (90,) * 50)) is None


def test_a_stream_that_broke_off_counts_the_gap_before_the_token_that_never_came() -> None:
    broken = [streamed(100 + n / 10, (20, 20), outcome="unreachable") for n in range(40)]
    assert reason_of("itl p90 < 80ms", *broken) is None
    for sample, _ in broken:
        assert sample.finished_at is not None
        sample.finished_at += 0.1
    assert reason_of("itl p90 < 80ms", *broken) is not None


@pytest.mark.parametrize(
    ("changes", "stops"),
    [
        ({"outcome": "failed"}, True),
        ({"outcome": "wrong"}, True),
        ({"first_content_at": 0.0, "intended_at": -5.0}, True),
        ({"outcome": "censored"}, False),
        ({"outcome": "censored", "intended_at": 0.0}, True),
        ({"first_content_at": None}, False),
        ({}, False),
    ],
)
def test_goodput_ends_a_run_if_jobs_surely_miss_a_limit(changes: dict[str, Any], stops: bool) -> None:
    jobs = [streamed(100 + n / 10, (20, 20), **changes if n % 2 else {}) for n in range(40)]
    gate = "goodput > 95 % where ttft < 1s and itl < 30ms and end-to-end < 10s"
    found = reason_of(gate, *jobs)
    said = f'abort.gates: "{gate}" does not hold: 20 of the 40 jobs that ended in the last 10 s missed a limit'
    assert found == (said if stops else None)


@pytest.mark.parametrize(
    ("limits", "stops"),
    [
        ("itl < 43ms", True),
        ("itl < 44ms", False),
        ("itl p50 < 21ms", False),
        ("itl p99 < 89ms", True),
        ("itl max < 91ms", False),
        ("tpot < 43ms", True),
        ("tpot < 44ms", False),
        ("ttft < 100s and itl max < 80ms", True),
    ],
)
def test_goodput_has_the_times_of_each_job(limits: str, stops: bool) -> None:
    jobs = [streamed(100 + n / 10, (20, 20, 90)) for n in range(40)]
    assert (reason_of(f"goodput > 95 % where {limits}", *jobs) is not None) is stops
    single = [streamed(100 + n / 10, (), output_tokens=1) for n in range(40)]
    assert reason_of(f"goodput > 95 % where {limits.replace('100s', '1000s')}", *single) is None


def test_chunks_are_read_only_for_gates_on_gaps() -> None:
    class Unread(list[ChunkSeen]):
        def __iter__(self) -> Iterator[ChunkSeen]:
            raise AssertionError

    sample, chunks = streamed(100, (20,))
    stops = StopRules(scenario("delay p95 < 2s", "goodput > 95 % where ttft < 1s", flows={"openai": {}, "run": {}}))
    stops.ended(sample, 100, Unread(chunks))
    with pytest.raises(AssertionError):
        StopRules(scenario("itl p95 < 2s", flows={"openai": {}})).ended(sample, 100, Unread(chunks))


@given(st.lists(st.tuples(st.integers(1, 30), st.floats(0, 1)), min_size=1, max_size=60), st.floats(0.01, 0.5))
def test_the_surprise_of_gaps_is_at_most_that_of_independent_ones(
    jobs: list[tuple[int, float]], share: float
) -> None:
    recent = _Recent(10)
    for n, part in jobs:
        recent.add(100, round(n * part), 0.0, n)
    independent = chernoff_bound(recent.over, recent.n, share)
    assert recent.surprise_nats(share) <= independent + 1e-6
