from __future__ import annotations

import numpy as np
import pytest

from loadtest.analyze.flows import censored_bounds
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import FlowSummary
from loadtest.record.run import RunRecord
from loadtest.record.sample import REQUESTS, ChunkSeen
from loadtest.report.summary_text import pace_text, tokens_text
from tests.unit.analyze.rows import START_AT, chunks, job, run, run_data, samples, scenario, ten_jobs

ms = pytest.approx


def flow(*rows: dict[str, object], of: RunRecord | None = None) -> FlowSummary:
    return summarize(run_data(of or run(), samples(*rows), REQUESTS.empty_table())).flows["run"]


def test_each_outcome_has_its_jobs_and_their_times() -> None:
    seen = flow(
        job(0, 0.0),
        job(1, 1.0, outcome="failed", finished_at=START_AT + 1.5),
        job(2, 2.0, outcome="failed", finished_at=START_AT + 3.5),
        job(3, 3.0, outcome="censored", finished_at=None),
    ).outcomes
    assert {word: each.jobs for word, each in seen.items()} == {"completed": 1, "failed": 2, "censored": 1}
    assert (seen["failed"].end_to_end_ms.min, seen["failed"].end_to_end_ms.max) == (ms(500), ms(1500))
    assert (seen["completed"].end_to_end_ms.mean, seen["censored"].end_to_end_ms.n) == (ms(360), 0)


def test_unfinished_jobs_bound_a_percentile_from_both_sides() -> None:
    bounds = censored_bounds(np.arange(1.0, 91.0), np.full(10, 50.0))
    # Of 100 jobs the 50th: with the ten at 50 it is 50, with the ten at the far end it is 50 as well.
    assert bounds["p50"] == (50.0, 50.0)
    # The 90th is 80 or 90, and the 95th may be any time from 85 on.
    assert bounds["p90"] == (80.0, 90.0)
    assert bounds["p95"] == (85.0, None)
    assert "p99" not in bounds


def test_without_unfinished_jobs_nothing_is_left_open() -> None:
    seen = flow(*(job(seq, seq / 10) for seq in range(100)))
    assert (seen.censored.jobs, seen.censored.end_to_end_ms_bounds) == (0, {})


def test_a_job_is_followed_until_its_timeout_or_the_end_of_the_run() -> None:
    unfinished = {"outcome": "censored", "finished_at": None}
    rows = [job(seq, 0.0, **unfinished) for seq in range(80)]
    ends = {None: 15_000, "4s": 4000, "60s": 15_000}
    for patience, low_ms in ends.items():
        asked = scenario(**({} if patience is None else {"job_timeout": patience}))
        bounds = flow(*rows, of=run(asked)).censored.end_to_end_ms_bounds
        assert bounds["p95"] == (ms(low_ms), None)


def test_the_bounds_hold_the_percentile_of_the_run_that_was_not_cut() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        truth = rng.exponential(1000, 500)
        followed = rng.uniform(500, 6000, 500)
        done = truth <= followed
        for name, p in (("p50", 0.5), ("p95", 0.95)):
            low, high = censored_bounds(truth[done], followed[~done])[name]
            value = np.sort(truth)[int(np.ceil(p * 500)) - 1]
            assert low <= value <= (np.inf if high is None else high)


def test_tokens_are_those_of_the_jobs_that_completed_and_report_them() -> None:
    counted = {"input_tokens": 100, "output_tokens": 20}
    rows = [job(seq, float(seq), **(counted if seq < 8 else {})) for seq in range(10)]
    rows[0]["outcome"] = "failed"
    found = summarize(run_data(run(), samples(*rows))).flows["run"].tokens
    assert found is not None
    assert (found.jobs, found.completed) == (7, 9)
    assert (found.output_per_job, found.input_per_job) == (20, 100)
    assert (found.output_per_s, found.input_per_s) == (pytest.approx(14), pytest.approx(70))
    assert tokens_text(found) == (
        "14.0 output tokens/s (20.0 a job), 70.0 input tokens/s (100 a job); 2 of 9 jobs report none"
    )
    assert summarize(run_data(run(), ten_jobs())).flows["run"].tokens is None


def test_the_pace_of_tokens_is_that_of_the_jobs_that_completed() -> None:
    rows, seen = [], []
    for seq in range(40):
        at = [START_AT + seq + 0.1, *(START_AT + seq + 0.2 + k / 50 for k in range(4))]
        content = {"first_content_at": at[0], "last_content_at": at[-1], "output_tokens": 5}
        rows.append(job(seq, float(seq), flow="openai", outcome="failed" if seq == 39 else "completed", **content))
        seen += [(seq, ChunkSeen(each, 1)) for each in at]
    found = summarize(run_data(run(), samples(*rows), chunks=chunks(*seen))).flows["openai"]
    assert (found.itl_ms.n, found.itl_ms.effective_n) == (156, pytest.approx(39))
    assert (found.itl_ms.mean, found.itl_ms.max) == (pytest.approx(40), pytest.approx(100))
    assert found.itl_ms.ci95["p50"] == pytest.approx((20, 20), abs=0.01)
    assert found.itl_ms.p95 is None
    assert pace_text(found) == ("ttft p50 100 ms, p95 –; tpot p50 40.0 ms, p95 –; itl p50 20.0 ms, p95 –")
    assert pace_text(summarize(run_data(run(), ten_jobs())).flows["run"]) == ""
