"""Tokens are compared by the rules of any time and rate; a job that lacks them does not make a run look good."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.analyze.compare.comparable_run import NEVER_MS, ComparableRun, run_series
from loadtest.analyze.compare.comparison import compare
from loadtest.analyze.compare.result import ComparisonVerdict, MetricComparison
from loadtest.analyze.gaps import token_gaps
from loadtest.analyze.jobs import LoadWindow, jobs_of
from loadtest.analyze.summary import Verdict
from loadtest.gate.baseline import as_gate_result, metrics_of
from loadtest.record.sample import ChunkSeen
from tests.unit.analyze.rows import START_AT, chunks, job, samples

JOBS, LENGTH_S, TOKENS = 600, 60.0, 11
WORSE, CANNOT_TELL, BETTER = ComparisonVerdict.WORSE, ComparisonVerdict.CANNOT_TELL, ComparisonVerdict.BETTER
PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
OF_TOKENS = ("ttft_ms p95", "tpot_ms p95", "itl_ms p95", "tokens", "input tokens")


def one_run(
    pace: float = 1.0, wait: float = 1.0, tokens: int = TOKENS, seed: int = 1, some_see: int = TOKENS, **of_some: Any
) -> ComparableRun:
    """Return a run of jobs of about 200 ms to the first token and 20 ms to each other; `of_some` is of every tenth.

    Of those, only the first chunks are seen if `some_see` so.
    """
    rng, rows, seen = np.random.default_rng(1), [], []
    other = np.random.default_rng(seed)
    for seq in range(JOBS):
        at = START_AT + LENGTH_S * seq / JOBS
        gaps_s = pace * rng.uniform(0.01, 0.03, TOKENS)[: tokens - 1] * other.uniform(0.99, 1.01)
        arrivals = at + wait * rng.uniform(0.1, 0.3) * other.uniform(0.99, 1.01) + np.cumsum([0.0, *gaps_s])
        content = {"first_content_at": arrivals[0], "last_content_at": arrivals[-1], "first_chunk_at": arrivals[0]}
        made = {"finished_at": arrivals[-1], "output_tokens": tokens, "input_tokens": 50, **content}
        made |= {"delay_ms": None, "execution_ms": None} | (of_some if seq % 10 == 5 else {})
        rows.append(job(seq, LENGTH_S * seq / JOBS, flow="openai", **made))
        seen += [(seq, ChunkSeen(float(each), 1)) for each in arrivals[: some_see if seq % 10 == 5 else None]]
    jobs = jobs_of(samples(*rows))
    return run_series(jobs, LoadWindow(START_AT, START_AT + LENGTH_S), "one", token_gaps(jobs, chunks(*seen)))


BASE = one_run()
APART = replace(BASE, schedule="")


def found(baseline: ComparableRun, candidate: ComparableRun) -> dict[str, MetricComparison]:
    compared = compare([baseline], candidate, metrics_of([baseline], candidate), min_difference_ms=0.5)
    return {each.metric.name.removeprefix("openai "): each for each in compared}


@pytest.mark.parametrize("baseline", [BASE, APART], ids=["pairs", "apart"])
def test_a_run_that_is_as_good_passes_in_every_figure_of_tokens(baseline: ComparableRun) -> None:
    as_good = found(baseline, one_run(seed=2))
    assert set(OF_TOKENS) < set(as_good)
    assert "first_chunk_ms p95" not in as_good
    for name in OF_TOKENS:
        assert as_good[name].standing is CANNOT_TELL, as_good[name]
        assert as_good[name].non_inferior or baseline is APART, as_good[name]


def test_a_run_does_not_differ_from_itself() -> None:
    for each in found(BASE, BASE).values():
        assert each.ratio in (1.0, None)
        assert each.non_inferior


@pytest.mark.parametrize(
    ("changes", "worse"),
    [
        ({"pace": 1.5}, {"tpot_ms p95", "itl_ms p95"}),
        ({"wait": 1.5}, {"ttft_ms p95"}),
        ({"tokens": 6}, {"tokens"}),
    ],
)
@pytest.mark.parametrize("baseline", [BASE, APART], ids=["pairs", "apart"])
def test_a_run_is_worse_in_what_became_worse(
    baseline: ComparableRun, changes: dict[str, Any], worse: set[str]
) -> None:
    candidate = one_run(seed=2, **changes)
    after, back = found(baseline, candidate), found(candidate, baseline)
    assert {name for name in OF_TOKENS if after[name].standing is WORSE} == worse
    assert {name for name in OF_TOKENS if back[name].standing is BETTER} == worse
    assert {as_gate_result(after[name]).verdict for name in worse} == {FAIL}


@pytest.mark.parametrize("outcome", ["failed", "wrong", "unreachable", "censored"])
def test_jobs_that_did_not_complete_are_slower_than_any_other(outcome: str) -> None:
    failed = {"outcome": outcome, "output_tokens": 3, "finished_at": None if outcome == "censored" else START_AT + 70}
    after = found(BASE, one_run(some_see=2, **failed))
    for name in ("tpot_ms p95", "itl_ms p95", "tokens"):
        assert after[name].standing is WORSE, name
    assert after["tpot_ms p95"].candidate is None
    assert after["ttft_ms p95"].non_inferior


@pytest.mark.parametrize("silent", [{"output_tokens": None}, {"input_tokens": None}])
def test_tokens_that_jobs_do_not_report_decide_nothing(silent: dict[str, Any]) -> None:
    names = ("tpot_ms p95", "tokens") if "output_tokens" in silent else ("input tokens",)
    for baseline, candidate in ((BASE, one_run(**silent)), (one_run(**silent), BASE)):
        after = found(baseline, candidate)
        for name in names[0 if candidate is not BASE else -1 :]:
            assert (after[name].standing, after[name].non_inferior) == (CANNOT_TELL, False), (name, after[name])
    assert "not known" in found(one_run(**silent), BASE)[names[-1]].detail


def test_a_job_with_missing_chunks_is_not_known_to_be_quick_or_slow() -> None:
    after = found(BASE, one_run(some_see=2))["itl_ms p95"]
    assert (after.standing, after.non_inferior) == (CANNOT_TELL, False)
    assert "Too many jobs do not report it to tell." in after.detail


def test_jobs_of_one_token_have_no_time_per_token_and_no_gap() -> None:
    single = {"output_tokens": 1, "last_content_at": None, "first_content_at": START_AT}
    after = found(BASE, one_run(**single))
    assert after["tpot_ms p95"].non_inferior
    assert after["tpot_ms p95"].effective_n == pytest.approx(540)


def some_of(run: ComparableRun, places: NDArray[np.int64]) -> ComparableRun:
    return replace(
        run,
        seq={"openai": run.seq["openai"][places]},
        times_ms={key: times_ms[places] for key, times_ms in run.times_ms.items()},
        gaps={"openai": run.gaps["openai"].take(places)},
    )


def test_a_job_that_the_candidate_lacks_counts_as_slow_in_its_gaps() -> None:
    few = some_of(BASE, np.flatnonzero(np.arange(JOBS) % 10 != 5))
    assert found(BASE, few)["itl_ms p95"].standing is WORSE
    assert found(few, BASE)["itl_ms p95"].standing is CANNOT_TELL
    in_other_order = some_of(BASE, np.random.default_rng(1).permutation(JOBS))
    assert found(BASE, in_other_order)["itl_ms p95"].ci95 == (1.0, 1.0)


def test_only_what_every_baseline_has_is_asked_of_a_run() -> None:
    older = replace(
        BASE, gaps={}, tokens={}, times_ms={key: t for key, t in BASE.times_ms.items() if "t_ms" not in key}
    )
    bare = replace(older, times_ms={key: t for key, t in BASE.times_ms.items() if key[1].value[:1] != "t"})
    assert not set(OF_TOKENS) & set(found(bare, BASE))
    assert "first_chunk_ms p95" in found(bare, BASE)
    lost = found(BASE, bare)
    assert set(OF_TOKENS) < set(lost)
    assert {as_gate_result(lost[name]).verdict for name in OF_TOKENS} == {INCONCLUSIVE}
    assert BASE.gaps["openai"].values_ms.max() < NEVER_MS
