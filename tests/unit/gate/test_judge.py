"""Gates on small made-up runs whose results can be counted by hand, and on many random ones."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from loadtest.analyze.start_kinds import CLASSES, UNKNOWN
from loadtest.analyze.summary import GateResult, Verdict
from loadtest.gate.batch_means import mean_of, rate_of
from loadtest.gate.inputs import GateInputs, Window, gate_inputs
from loadtest.gate.judge import judge
from loadtest.record.run import StageSpan
from loadtest.scenario.gates import parse_gate
from tests.unit.analyze.rows import START_AT, job, run, run_data, samples, scenario

COLD, WARM = CLASSES.index("cold"), CLASSES.index("warm")
PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def judged(gate: str, table: pa.Table, job_timeout: str = "600s", **more: Any) -> GateResult:
    seconds = 100
    asked = scenario(job_timeout=job_timeout, load={"stages": [{"rate": "1/s", "for": f"{seconds}s"}]})
    stages = [StageSpan("warm-up", seconds / 4), StageSpan("stage 2", seconds * 3 / 4)]
    record = run(asked, stages=stages, load_ended_at=START_AT + seconds, ended_at=START_AT + seconds + 20)
    return judge(parse_gate(gate), replace(gate_inputs(run_data(record, table)), **{"steady": None} | more))


def jobs(*groups: tuple[int, dict[str, Any]]) -> pa.Table:
    """Return groups of equal jobs, by their counts, all spread evenly over 100 s, so that no group is a burst."""
    placed = [((k + 0.5) / count, g) for g, (count, _) in enumerate(groups) for k in range(count)]
    rows = [groups[g][1] for _, g in sorted(placed)]
    return samples(*(job(seq, 100 * seq / len(rows), **changes) for seq, changes in enumerate(rows)))


def in_turn(*groups: tuple[int, int]) -> pa.Table:
    """Return groups of equal delays, one group after the other, spread evenly over 100 s."""
    delays_ms = [delay_ms for count, delay_ms in groups for _ in range(count)]
    return samples(*(job(seq, 100 * seq / len(delays_ms), delay_ms=each) for seq, each in enumerate(delays_ms)))


def delays(*groups: tuple[int, int]) -> pa.Table:
    return jobs(*((count, {"delay_ms": delay_ms}) for count, delay_ms in groups))


UNFINISHED: dict[str, Any] = {"outcome": "censored", "finished_at": None, "delay_ms": None, "execution_ms": None}


@pytest.mark.parametrize(
    ("gate", "over", "n", "word"),
    [
        ("delay p90 < 2s", 0, 44, PASS),
        ("delay p90 < 2s", 0, 43, INCONCLUSIVE),
        ("delay p95 < 2s", 0, 90, PASS),
        ("delay p95 < 2s", 1, 130, PASS),
        ("delay p95 < 2s", 1, 129, INCONCLUSIVE),
        ("delay p99 < 2s", 0, 459, PASS),
        ("delay p99 < 2s", 0, 458, INCONCLUSIVE),
        ("delay p99 < 2s", 1, 662, PASS),
        ("delay p99 < 2s", 2, 1000, PASS),
        ("delay p99 < 2s", 3, 1000, INCONCLUSIVE),
        ("delay p95 < 2s", 34, 1000, PASS),
        ("delay p95 < 2s", 35, 1000, INCONCLUSIVE),
        ("delay p95 < 2s", 64, 1000, INCONCLUSIVE),
        ("delay p95 < 2s", 65, 1000, FAIL),
        ("errors < 5 %", 34, 1000, PASS),
    ],
)
def test_early_stopping_decides(gate: str, over: int, n: int, word: Verdict) -> None:
    failed = {"outcome": "failed"} if gate.startswith("errors") else {"delay_ms": 2000}
    assert judged(gate, jobs((n - over, {}), (over, failed))).verdict is word


def test_the_percentile_is_a_measured_value() -> None:
    result = judged("delay p95 < 2s", delays((96, 7), (6, 1502)))
    assert (result.observed, result.limit, result.n) == (1502, 2000, 102)
    assert result.verdict is PASS
    assert judged("delay p95 < 1s", delays((96, 7), (6, 1502))).verdict is INCONCLUSIVE


def test_twenty_jobs_have_no_p99() -> None:
    result = judged("delay p99 < 2s", delays((20, 7)))
    assert (result.observed, result.verdict) == (None, INCONCLUSIVE)
    assert result.detail == (
        "Delay was 2s or more for 0 of 20 jobs. About 439 more jobs would decide it, a load of 2,295 s in all, "
        "if the times stay the same."
    )


@pytest.mark.parametrize(
    "gate",
    [
        "delay p95 < 2s",
        "delay mean < 2s",
        "delay max < 2s",
        "send lag p50 < 1s",
        "errors < 1 %",
        "censored < 1 %",
        "cold starts < 1 %",
        "throughput > 1/s",
        "execution p95 < 8s per worker",
        "delay p95 < 2s during warm-up",
        "delay p95 < 2s during steady",
    ],
)
def test_no_data_never_passes(gate: str) -> None:
    result = judged(gate, samples(), start_kind=np.zeros(0, np.int8), steady=Window(0, 50))
    assert (result.verdict, result.n, result.observed) == (INCONCLUSIVE, 0, None)


def test_a_fail_says_how_many_were_over_and_how_many_may_be() -> None:
    result = judged("delay p95 < 2s", delays((900, 7), (100, 2000)))
    assert result.verdict is FAIL
    assert result.detail == "Delay was 2s or more for 100 of 1,000 jobs; at most 5 % may be."
    inconclusive = judged("delay p95 < 2s", delays((945, 7), (55, 2000)))
    assert "While 5.5 % are, no number of jobs would be enough: less than 5 % may be." in inconclusive.detail


def test_an_unfinished_job_that_waited_past_the_limit_is_over_it() -> None:
    table = jobs((900, {}), (100, UNFINISHED))
    # The last of them was meant to start at 99.9 s and followed until 120 s.
    assert judged("end-to-end p95 < 20s", table).verdict is FAIL
    assert judged("response p95 < 20s", table).verdict is FAIL


def test_an_unfinished_job_that_waited_less_than_the_limit_counts_as_undecided() -> None:
    table = jobs((900, {}), (100, UNFINISHED))
    for gate in ("end-to-end p95 < 200s", "delay p95 < 2s", "execution p95 < 2s"):
        result = judged(gate, table)
        assert (result.verdict, result.n, result.observed) == (INCONCLUSIVE, 1000, None)
        assert "and is not known for 100." in result.detail
    few = jobs((995, {}), (5, UNFINISHED))
    assert judged("delay p95 < 2s", few).verdict is PASS
    assert judged("errors < 5 %", few).verdict is PASS


def test_the_job_timeout_ends_the_wait_of_an_unfinished_job() -> None:
    table = jobs((900, {}), (100, UNFINISHED))
    assert judged("end-to-end p95 < 20s", table, job_timeout="15s").verdict is INCONCLUSIVE
    assert judged("end-to-end p95 < 15s", table, job_timeout="15s").verdict is FAIL


def test_censored_jobs_are_a_share_of_their_own() -> None:
    result = judged("censored < 1 %", jobs((990, {}), (10, UNFINISHED)))
    assert (result.observed, result.verdict) == (0.01, INCONCLUSIVE)
    assert judged("censored < 1 %", jobs((700, {}))).verdict is PASS


def test_cold_starts_are_judged_if_they_are_known() -> None:
    table = jobs((1000, {}))
    nothing = np.full(1000, UNKNOWN, np.int8)
    assert judged("cold starts < 5 %", table, start_kind=nothing).detail == "The share of cold starts is not known."
    kinds = np.where(np.arange(1000) % 33 == 16, COLD, WARM)
    result = judged("cold starts < 5 %", table, start_kind=kinds)
    assert (result.verdict, result.observed) == (PASS, 0.03)
    assert judged("cold starts < 1 %", table, start_kind=kinds).verdict is FAIL


def test_a_share_has_its_own_wording() -> None:
    said = judged("errors < 5 %", jobs((995, {}), (5, UNFINISHED))).detail
    assert said == "0 of 1,000 jobs failed, and 5 unfinished may; up to 34 may."
    assert judged("censored < 1 %", jobs((900, {}), (100, UNFINISHED))).detail == (
        "100 of 1,000 jobs were unfinished at the end; at most 1 % may."
    )


def test_the_longest_time_is_judged_without_inference() -> None:
    assert judged("delay max < 2s", delays((99, 7), (1, 1999))).verdict is PASS
    failed = judged("delay max < 2s", delays((99, 7), (1, 2000)))
    assert (failed.verdict, failed.observed) == (FAIL, 2000)
    assert judged("delay max < 2s", jobs((99, {}), (1, UNFINISHED))).verdict is INCONCLUSIVE


def test_a_flow_is_judged_by_its_own_jobs() -> None:
    table = jobs((500, {"flow": "run", "delay_ms": 7}), (500, {"flow": "runsync", "delay_ms": 5000}))
    assert judged("delay p95 < 2s of run", table).verdict is PASS
    assert judged("delay p95 < 2s of runsync", table).verdict is FAIL
    assert judged("delay p95 < 2s", table).verdict is FAIL
    submitted = judged("submit p95 < 1s", table)
    assert (submitted.n, submitted.observed) == (500, pytest.approx(5, abs=1e-3))


def test_a_stage_is_judged_by_the_jobs_that_were_meant_to_start_in_it() -> None:
    table = in_turn((250, 7), (750, 5000))
    assert judged("delay p95 < 2s during warm-up", table).verdict is PASS
    assert judged("delay p95 < 2s during warm-up", table).n == 250
    assert judged("delay p95 < 2s during stage 2", table).verdict is FAIL


def test_a_gate_on_the_steady_window_needs_one() -> None:
    table = in_turn((250, 7), (750, 5000))
    unknown = judged("delay p95 < 2s during steady", table)
    assert (unknown.verdict, unknown.detail) == (INCONCLUSIVE, "No steady state was found.")
    found = judged("delay p95 < 2s during steady", table, steady=Window(0, 25))
    assert (found.verdict, found.n) == (PASS, 250)


def test_one_burst_says_less_than_as_many_jobs_that_are_spread() -> None:
    burst = judged("delay p95 < 2s", in_turn((490, 7), (20, 5000), (490, 7)))
    assert judged("delay p95 < 2s", delays((980, 7), (20, 5000))).verdict is PASS
    assert burst.verdict is INCONCLUSIVE
    assert "They resemble their neighbours and count as " in burst.detail
    assert " more jobs would decide it, a load of " in burst.detail


def test_more_jobs_with_the_same_times_decide_as_the_detail_says() -> None:
    # One job in 30 is over, in bursts of three: too few bursts so far.
    bursts = [(87, 7), (3, 5000)]
    short = judged("delay p95 < 2s", in_turn(*bursts * 6))
    assert short.verdict is INCONCLUSIVE
    found = re.search(r"About ([\d,]+) more jobs would decide it, a load of ([\d,]+) s in all", short.detail)
    assert found
    more, length_s = (int(each.replace(",", "")) for each in found.groups())
    assert length_s == pytest.approx(100 * (540 + more) / 540, abs=0.5)
    assert judged("delay p95 < 2s", in_turn(*bursts * (6 * (540 + 2 * more) // 540))).verdict is PASS


def test_a_result_says_what_its_jobs_are_worth() -> None:
    spread = judged("delay p95 < 2s", delays((980, 7), (20, 5000)))
    burst = judged("delay p95 < 2s", in_turn((490, 7), (20, 5000), (490, 7)))
    assert spread.effective_n == 1000
    assert burst.effective_n is not None
    assert burst.effective_n < 100
    assert judged("delay mean < 2s", delays((980, 7))).effective_n is None


def test_a_slow_worker_does_not_hide_among_many() -> None:
    slow = [(100, {"worker_id": f"w{n}", "execution_ms": 9000 if n == 3 else 100}) for n in range(20)]
    result = judged("execution p90 < 8s per worker", jobs(*slow))
    assert (result.verdict, result.observed, result.n) == (FAIL, 9000, 2000)
    assert result.detail.startswith("1 of 20 workers fails it. Execution on w3 was 8s or more for 100 of 100")
    assert judged("execution p90 < 8s", jobs(*slow)).verdict is PASS


def test_a_worker_with_few_jobs_is_inconclusive() -> None:
    table = jobs((100, {"worker_id": "busy"}), (3, {"worker_id": "late"}))
    result = judged("execution p95 < 8s per worker", table)
    assert result.verdict is INCONCLUSIVE
    assert result.detail.startswith("1 of 2 workers is inconclusive. Execution on late was 8s or more for 0 of 3")
    assert judged("execution p95 < 8s per worker", jobs((100, {}))).verdict is PASS
    unnamed = jobs((100, {"worker_id": None}))
    assert judged("execution p95 < 8s per worker", unnamed).verdict is INCONCLUSIVE


def test_of_many_good_workers_the_unlucky_one_does_not_fail_the_gate() -> None:
    # 20 workers at the limit: by itself the one with 11 of 100 over (p = 0.011) would fail.
    table = jobs(
        *((11 if n == 0 else 5, {"worker_id": f"w{n}", "execution_ms": 9000}) for n in range(20)),
        *((89 if n == 0 else 95, {"worker_id": f"w{n}"}) for n in range(20)),
    )
    assert judged("execution p95 < 8s per worker", table).verdict is INCONCLUSIVE


def test_throughput_is_judged_over_the_load() -> None:
    table = jobs((2000, {}))
    assert judged("throughput > 19/s", table).verdict is PASS
    assert judged("throughput > 19/s", table).observed == pytest.approx(20, rel=0.01)
    assert judged("throughput > 21/s", table).verdict is FAIL
    assert judged("throughput > 19/s of runsync", table).verdict is INCONCLUSIVE
    assert judged("throughput > 15/s during warm-up", table).verdict is PASS
    short = judged("throughput > 1/s during steady", table, steady=Window(3, 8))
    assert (short.verdict, short.detail) == (
        INCONCLUSIVE,
        "5 s are too short for the interval of a rate; 10 s are needed.",
    )


@pytest.mark.parametrize(
    ("limit", "unknown", "word"),
    [(190, 0, PASS), (210, 0, FAIL), (190, 2000, INCONCLUSIVE), (90, 1000, PASS), (210, 1, INCONCLUSIVE)],
)
def test_tokens_are_judged_over_the_load_and_unknown_ones_count_for_nothing(
    limit: int, unknown: int, word: Verdict
) -> None:
    table = jobs((2000 - unknown, {"output_tokens": 10}), (unknown, {"output_tokens": None}))
    assert judged(f"tokens > {limit}/s", table).verdict is word
    if not unknown:
        assert judged(f"tokens > {limit}/s", table).observed == pytest.approx(200, rel=0.01)


def test_a_rate_that_wavers_says_how_much_longer_is_needed() -> None:
    rng = np.random.default_rng(3)
    at = np.sort(rng.uniform(0, 100, 500))
    table = samples(*(job(seq, float(t)) for seq, t in enumerate(at)))
    result = judged("throughput > 4.8/s", table)
    assert result.verdict is INCONCLUSIVE
    assert "s more would decide it" in result.detail


def test_a_mean_has_an_interval_by_batches() -> None:
    table = delays(*[(1, 100 + 7 * (n % 13)) for n in range(400)])
    assert judged("delay mean < 200ms", table).verdict is PASS
    assert judged("delay mean < 100ms", table).verdict is FAIL
    assert judged("delay mean < 142ms", table).verdict is INCONCLUSIVE
    few = judged("delay mean < 200ms", delays((30, 7)))
    assert (few.verdict, few.detail) == (
        INCONCLUSIVE,
        "30 jobs are too few for the interval of a mean; 70 more are needed.",
    )
    assert judged("delay mean < 200ms", jobs((399, {}), (1, UNFINISHED))).verdict is INCONCLUSIVE


def test_results_do_not_depend_on_the_order_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    table = delays(*[(1, int(each)) for each in np.repeat(rng.integers(50, 400, 40), 10)])
    shuffled = table.take(pa.array(rng.permutation(len(table))))
    for gate in ("delay mean < 200ms", "delay p95 < 300ms", "throughput > 3/s", "errors < 1 %"):
        assert judged(gate, table) == judged(gate, shuffled)


def test_a_mean_or_a_rate_at_its_limit_passes_once_in_a_hundred_runs() -> None:
    rng = np.random.default_rng(11)
    runs = 4000
    rates = [rate_of(rng.uniform(0, 100, rng.poisson(1000)), [Window(0, 100)]) for _ in range(runs)]
    means = [mean_of(rng.exponential(100, 400)) for _ in range(runs)]
    most = runs * 0.01 + 3 * np.sqrt(runs * 0.01)
    assert sum(each is not None and each.above(10.0) for each in rates) <= most
    assert sum(each is not None and each.below(100.0) for each in means) <= 2 * most  # exponential times are skewed


def test_a_percentile_at_its_limit_passes_once_in_a_hundred_runs() -> None:
    limit_ms, runs, n = 1000.0, 300, 1000
    delay_ms = np.random.default_rng(5).exponential(limit_ms / np.log(20), (runs, n))
    table = jobs((n, {}))
    base = gate_inputs(run_data(run(), table))
    gate = parse_gate("delay p95 < 1s")
    passed = sum(judge(gate, with_delays(base, each)).verdict is PASS for each in delay_ms)
    assert passed / runs <= 0.01 + 3 * np.sqrt(0.01 / runs)


def with_delays(base: GateInputs, delay_ms: Any) -> GateInputs:
    return replace(base, jobs=replace(base.jobs, delay_ms=delay_ms))


@pytest.mark.parametrize(
    "gate", ["delay p95 < 2s", "delay mean < 2s", "delay max < 2s", "errors < 5 %", "throughput > 1/s"]
)
def test_every_result_explains_itself_in_whole_sentences(gate: str) -> None:
    for table in (jobs((5, {})), jobs((1000, {})), jobs((500, UNFINISHED)), jobs((500, {"outcome": "failed"}))):
        detail = judged(gate, table).detail
        assert detail[0].isupper() or detail[0].isdigit()
        assert detail.endswith(".")
        assert "\n" not in detail


def test_workers_at_their_limit_fail_a_gate_at_most_as_often_as_one_would() -> None:
    rng = np.random.default_rng(13)
    runs, workers, each = 200, 20, 100
    table = jobs(*((each, {"worker_id": f"w{n}"}) for n in range(workers)))
    base = gate_inputs(run_data(run(), table))
    gate = parse_gate("delay p95 < 1s per worker")
    drawn = rng.exponential(1000 / np.log(20), (runs, workers * each))
    words = [judge(gate, with_delays(base, delay_ms)).verdict for delay_ms in drawn]
    assert words.count(FAIL) / runs <= 0.025 + 3 * np.sqrt(0.025 / runs)
    assert words.count(PASS) == 0


def test_the_missing_jobs_of_a_worker_are_its_own() -> None:
    table = jobs((100, {"worker_id": "busy"}), (3, {"worker_id": "late"}))
    assert "About 87 more jobs on late would decide it" in judged("execution p95 < 8s per worker", table).detail


def test_the_observed_figure_has_its_interval() -> None:
    table = jobs((950, {"delay_ms": 100}), (50, {"delay_ms": 300}))
    found = judged("delay p95 < 400ms", table)
    assert (found.observed, found.ci95) == (100, (100, 300))
    share = judged("errors < 10 %", jobs((980, {}), (20, {"outcome": "failed"})))
    assert share.observed == 0.02
    assert share.ci95 == pytest.approx((0.01226, 0.03072), abs=5e-5)
    assert judged("errors < 10 %", jobs((10, {}))).ci95 == pytest.approx((0, 0.30850), abs=5e-5)
    rate = judged("throughput > 9/s", jobs((1000, {})))
    assert rate.ci95 is not None
    assert rate.ci95[0] <= rate.observed <= rate.ci95[1]
