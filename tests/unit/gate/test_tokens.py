"""Gates on the pace of tokens and on goodput, on small runs whose results can be counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.analyze.summary import GateResult, Verdict
from loadtest.gate.inputs import GateInputs, gate_inputs
from loadtest.gate.judge import judge
from loadtest.gate.measures import Times
from loadtest.record.sample import ChunkSeen
from loadtest.scenario.gates import parse_gate
from tests.unit.analyze.rows import START_AT, chunks, job, run, run_data, samples, scenario

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
FIVE = (20, 20, 20, 20)
"""The gaps of an answer of five tokens, in milliseconds."""
FAILED: dict[str, Any] = {"outcome": "failed"}
UNFINISHED: dict[str, Any] = {"outcome": "censored", "finished_at": None}


def streamed(gaps_ms: tuple[float, ...] = FIVE, ttft_ms: float = 100, **changes: Any) -> dict[str, Any]:
    """Return a job by its times, as `judged` takes it."""
    return {"gaps_ms": gaps_ms, "ttft_ms": ttft_ms, **changes}


def judged(gate: str, *groups: tuple[int, dict[str, Any]]) -> GateResult:
    """Judge groups of equal jobs, all spread evenly over 100 s."""
    placed = [((k + 0.5) / count, g) for g, (count, _) in enumerate(groups) for k in range(count)]
    return judge(parse_gate(gate), inputs_of([groups[group][1] for _, group in sorted(placed)]))


def inputs_of(jobs: list[dict[str, Any]]) -> GateInputs:
    rows, seen = [], []
    for seq, described in enumerate(jobs):
        made, due_s = dict(described), 100 * seq / len(jobs)
        at = START_AT + due_s + (made.pop("ttft_ms") + np.concatenate([[0.0], np.cumsum(made.pop("gaps_ms"))])) / 1000
        content = {"first_content_at": float(at[0]), "last_content_at": float(at[-1]), "output_tokens": len(at)}
        whole = content | {"finished_at": float(at[-1]), "delay_ms": None, "execution_ms": None} | made
        rows.append(job(seq, due_s, flow="openai", **whole))
        seen += [(seq, ChunkSeen(float(each), 1)) for each in at]
    record = run(scenario(flows={"openai": {}}), load_ended_at=START_AT + 100, ended_at=START_AT + 120)
    return gate_inputs(run_data(record, samples(*rows), chunks=chunks(*seen)))


SLOW = (20, 20, 20, 90)


@pytest.mark.parametrize(
    ("gate", "over", "jobs", "word"),
    [
        ("itl p90 < 80ms", 0, 44, PASS),
        ("itl p90 < 80ms", 0, 43, INCONCLUSIVE),
        ("itl p99 < 80ms", 0, 459, PASS),
        ("itl p99 < 80ms", 0, 458, INCONCLUSIVE),
        ("itl p95 < 80ms", 20, 1000, PASS),
        ("itl p95 < 80ms", 200, 1000, INCONCLUSIVE),
        ("itl p95 < 80ms", 500, 1000, FAIL),
        ("itl p95 < 80ms of openai", 500, 1000, FAIL),
    ],
)
def test_gaps_of_all_jobs_are_judged_as_if_each_job_had_one(gate: str, over: int, jobs: int, word: Verdict) -> None:
    groups = [(jobs - over, streamed()), *([(over, streamed(SLOW))] if over else [])]
    assert judged(gate, *groups).verdict is word


def test_a_result_counts_gaps_and_their_jobs() -> None:
    few = judged("itl p99 < 80ms", (50, streamed()))
    assert (few.n, few.effective_n, few.observed) == (200, pytest.approx(50), None)
    assert few.detail == (
        "ITL was 80ms or more for 0 of 200 gaps of 50 jobs. About 409 more jobs would decide it, a load of 918 s in "
        "all, if the times stay the same."
    )
    many = judged("itl p95 < 80ms", (900, streamed()), (100, streamed(SLOW)))
    assert many.observed == pytest.approx(20, abs=0.01)
    assert many.detail.startswith("ITL was 80ms or more for 100 of 4,000 gaps of 1,000 jobs; up to ")
    assert many.ci95 == pytest.approx((20, 20), abs=0.01)


def test_a_target_at_the_limit_hardly_ever_passes_however_many_tokens_its_jobs_have() -> None:
    """A tenth of the jobs is slow in every token, and the others in none."""
    passes = 0
    for seed in range(150):
        slow = np.random.default_rng(seed).random(200) < 0.1
        gaps_ms = np.where(np.repeat(slow, 50), 90.0, 20.0)
        found = Times(gaps_ms, np.zeros(10_000), np.full(10_000, -1, np.int32), counts=np.full(200, 50))
        passes += found.holds(80.0, 900, found.count(80.0))
    assert passes <= 4


def test_long_answers_have_more_weight_than_short_ones() -> None:
    """Ten jobs of a hundred hold nine tenths of all gaps."""
    long, short = streamed((90,) * 90), streamed((20,))
    assert judged("itl p50 < 80ms", (10, long), (90, short)).verdict is not PASS
    assert judged("ttft p50 < 1s", (10, long), (90, short)).verdict is PASS


@pytest.mark.parametrize(
    ("lost", "word"),
    [
        (streamed((20,), finished_at=START_AT, **FAILED), INCONCLUSIVE),
        (streamed((20,), **UNFINISHED), INCONCLUSIVE),
        (streamed((20,), output_tokens=5, last_content_at=START_AT + 500), INCONCLUSIVE),
        (streamed((20,), output_tokens=2), PASS),
    ],
    ids=["failed", "unfinished", "a chunk is missing", "short"],
)
def test_gaps_that_are_not_known_do_not_help(lost: dict[str, Any], word: Verdict) -> None:
    assert judged("itl p95 < 80ms", (900, streamed()), (100, lost)).verdict is word


def test_gaps_that_are_not_known_make_no_gate_fail() -> None:
    failed = streamed((20,), **FAILED)
    assert judged("itl p95 < 80ms", (500, streamed()), (500, failed)).verdict is INCONCLUSIVE
    assert judged("itl mean < 80ms", (500, streamed()), (500, failed)).verdict is INCONCLUSIVE
    assert judged("itl max < 80ms", (500, streamed()), (500, failed)).verdict is INCONCLUSIVE


def test_a_stream_that_went_silent_for_longer_than_the_limit_is_over_it() -> None:
    silent = streamed((20,), **UNFINISHED)
    assert judged("itl max < 80ms", (500, streamed()), (1, silent)).verdict is FAIL
    assert judged("itl p50 < 80ms", (100, streamed((20,))), (900, streamed((), **UNFINISHED))).verdict is FAIL


@pytest.mark.parametrize(
    ("gate", "word", "observed"),
    [("itl mean < 40ms", PASS, 37.5), ("itl mean < 37.5ms", INCONCLUSIVE, 37.5), ("itl mean < 30ms", FAIL, 37.5)],
)
def test_a_mean_is_that_of_all_gaps_with_the_error_of_their_jobs(gate: str, word: Verdict, observed: float) -> None:
    result = judged(gate, (500, streamed()), (500, streamed((20, 90, 20, 90))))
    assert result.verdict is word
    assert result.observed == pytest.approx(observed, abs=0.01)
    assert judged("itl mean < 40ms", (99, streamed())).detail == (
        "99 jobs are too few for the interval of a mean; 1 more are needed."
    )


def test_the_longest_gap_is_a_fact() -> None:
    over = judged("itl max < 80ms", (99, streamed()), (1, streamed(SLOW)))
    assert (over.verdict, over.observed) == (FAIL, pytest.approx(90, abs=0.01))
    assert over.detail == "1 of 400 gaps of 100 jobs took 80ms or more."
    assert judged("itl max < 80ms", (9, streamed())).detail == "Each of 36 gaps of 9 jobs took less."


def test_a_job_of_one_token_has_no_pace() -> None:
    single = streamed((), output_tokens=1)
    for gate in ("itl p90 < 80ms", "tpot p90 < 80ms"):
        result = judged(gate, (44, streamed()), (500, single))
        assert result.verdict is PASS
        assert result.effective_n == pytest.approx(44)
        assert judged(gate, (500, single)).detail == "No job to judge by was found."


@pytest.mark.parametrize(
    ("over", "jobs", "word"), [(0, 90, PASS), (0, 89, INCONCLUSIVE), (34, 1000, PASS), (65, 1000, FAIL)]
)
def test_time_per_token_is_judged_as_any_time(over: int, jobs: int, word: Verdict) -> None:
    groups = [(jobs - over, streamed()), *([(over, streamed((20, 20, 20, 150)))] if over else [])]
    assert judged("tpot p95 < 50ms", *groups).verdict is word


def test_a_failed_job_has_no_time_per_token_however_long_it_took() -> None:
    """Its last tokens could have come at any pace: it counts as over for a pass, and as under for a fail."""
    late = streamed(FIVE, finished_at=START_AT + 1000, **FAILED)
    result = judged("tpot p95 < 50ms", (900, streamed()), (100, late))
    assert result.verdict is INCONCLUSIVE
    assert "for 0 of 1,000 jobs, and is not known for 100" in result.detail
    assert judged("tpot p95 < 50ms", (500, streamed()), (500, streamed(**UNFINISHED))).verdict is INCONCLUSIVE
    assert judged("tpot p95 < 50ms", (980, streamed()), (20, late)).verdict is PASS


GOODPUT = "goodput > 95 % where ttft < 1s and itl < 50ms"
MISSES = [
    streamed(ttft_ms=1000),
    streamed((20, 20, 20, 150)),
    streamed(**FAILED),
    streamed(outcome="wrong"),
    streamed(outcome="rate_limited"),
    streamed(outcome="censored", finished_at=None, ttft_ms=2000),
]


@pytest.mark.parametrize("missing", MISSES)
def test_goodput_passes_and_fails_by_the_share_of_jobs_that_miss_a_limit(missing: dict[str, Any]) -> None:
    assert judged(GOODPUT, (90, streamed())).verdict is PASS
    assert judged(GOODPUT, (89, streamed())).verdict is INCONCLUSIVE
    result = judged(GOODPUT, (966, streamed()), (34, missing))
    assert (result.verdict, result.observed, result.n) == (PASS, pytest.approx(0.966), 1000)
    assert judged(GOODPUT, (965, streamed()), (35, missing)).verdict is INCONCLUSIVE
    result = judged(GOODPUT, (900, streamed()), (100, missing))
    assert (result.verdict, result.observed) == (FAIL, pytest.approx(0.9))
    assert result.ci95 is not None
    assert result.ci95[0] < 0.9 < result.ci95[1] < 0.95


@pytest.mark.parametrize(
    "unknown",
    [
        streamed(**UNFINISHED),
        streamed(first_content_at=None, last_content_at=None, finished_at=START_AT),
        streamed(last_content_at=START_AT + 500, output_tokens=None),
    ],
    ids=["unfinished", "without content", "a chunk is missing"],
)
def test_jobs_of_which_it_is_not_known_neither_meet_the_limits_nor_make_goodput_fail(unknown: dict[str, Any]) -> None:
    result = judged(GOODPUT, (900, streamed()), (100, unknown))
    assert (result.verdict, result.observed) == (INCONCLUSIVE, pytest.approx(0.9))
    assert "100 whose times are not known may" in result.detail


def test_a_job_that_misses_several_limits_counts_once_and_the_reasons_are_named() -> None:
    both = streamed((140, 140), ttft_ms=2000)
    result = judged(GOODPUT, (900, streamed()), (60, both), (30, streamed(**FAILED)), (10, streamed(SLOW, 2000)))
    assert result.detail == (
        "100 of 1,000 jobs missed a limit; at most 5 % may. 30 did not complete, 70 missed ttft < 1s, "
        "60 missed itl < 50ms. 9 jobs/s met all limits."
    )


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ("itl < 40ms", PASS),
        ("itl < 37ms", FAIL),
        ("itl p50 < 21ms", PASS),
        ("itl p75 < 21ms", PASS),
        ("itl p76 < 21ms", FAIL),
        ("itl max < 91ms", PASS),
        ("itl max < 89ms", FAIL),
        ("tpot < 40ms", PASS),
        ("end-to-end < 1s", PASS),
        ("end-to-end < 200ms", FAIL),
        ("tpot < 40ms and end-to-end < 200ms", FAIL),
    ],
)
def test_every_time_of_a_job_can_be_limited(limits: str, word: Verdict) -> None:
    assert judged(f"goodput > 95 % where {limits}", (300, streamed(SLOW))).verdict is word


def test_a_job_of_one_token_meets_a_limit_on_the_pace() -> None:
    single = streamed((), output_tokens=1)
    assert judged("goodput > 95 % where itl < 50ms and tpot < 50ms", (300, single)).verdict is PASS


def test_no_data_never_passes() -> None:
    for gate in (
        GOODPUT,
        "itl p99 < 80ms",
        "itl mean < 80ms",
        "itl max < 80ms",
        "tpot p95 < 1s",
        "input tokens > 1/s",
    ):
        result = judged(gate)
        assert (result.verdict, result.n) == (INCONCLUSIVE, 0)


@pytest.mark.parametrize(("limit", "word"), [(20, PASS), (40, FAIL)])
def test_input_tokens_per_second_are_a_rate(limit: int, word: Verdict) -> None:
    assert judged(f"input tokens > {limit}/s", (300, streamed(input_tokens=10))).verdict is word


@pytest.mark.parametrize("limit", [20, 40])
def test_input_tokens_that_jobs_do_not_report_decide_nothing(limit: int) -> None:
    groups = [(150, streamed(input_tokens=10)), (150, streamed(input_tokens=None))]
    assert judged(f"input tokens > {limit}/s", *groups).verdict is INCONCLUSIVE
    assert judged("input tokens > 10/s", *groups).verdict is PASS


@settings(max_examples=40)
@given(
    gate=st.sampled_from(
        [
            "itl p90 < 40ms",
            "itl mean < 30ms",
            "tpot p90 < 40ms",
            "ttft p90 < 1s",
            GOODPUT,
            "goodput > 80 % where tpot < 40ms",
        ]
    ),
    seed=st.integers(0, 99),
    lost=st.sampled_from([1, 10, 40, 150]),
    how=st.sampled_from(
        [FAILED, UNFINISHED, {"outcome": "wrong"}, {"outcome": "unreachable", "output_tokens": None}]
    ),
    seen=st.integers(0, 4),
)
def test_no_loss_of_the_worst_jobs_makes_a_run_pass(
    gate: str, seed: int, lost: int, how: dict[str, Any], seen: int
) -> None:
    rng = np.random.default_rng(seed)
    pace = rng.gamma(rng.uniform(2, 9), rng.uniform(2, 6), (150, 4))
    jobs = [streamed(tuple(gaps), float(ttft_ms)) for gaps, ttft_ms in zip(pace, rng.gamma(3, 150, 150), strict=True)]
    worst = np.argsort([-sum(each["gaps_ms"]) for each in jobs])[:lost]
    before = judge(parse_gate(gate), inputs_of(jobs)).verdict
    for index in worst:
        jobs[index] = jobs[index] | {"gaps_ms": jobs[index]["gaps_ms"][:seen]} | how
    after = judge(parse_gate(gate), inputs_of(jobs)).verdict
    assert after is not PASS or before is PASS
