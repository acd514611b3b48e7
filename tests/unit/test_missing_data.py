"""Deleting, failing, censoring or anonymising any subset of the worst jobs of a run never improves its verdict."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.analyze.compare.comparable_run import run_series, schedule_of
from loadtest.analyze.compare.comparison import compare
from loadtest.analyze.run_data import RunData, read_job_table
from loadtest.analyze.summary import Summary, Verdict
from loadtest.commands.results import summarize_and_judge
from loadtest.gate.baseline import as_gate_result, metrics_of
from loadtest.gate.inputs import gate_inputs
from loadtest.gate.judge import judge
from loadtest.record.run import Audit
from loadtest.record.sample import SAMPLES, Outcome
from loadtest.scenario.gates import Gate, parse_gate
from loadtest.scenario.model import Scenario
from tests.conftest import made_up_run

Row = dict[str, Any]
RANK = {Verdict.INVALID: 0, Verdict.ABORTED: 0, Verdict.FAIL: 0, Verdict.INCONCLUSIVE: 1, Verdict.PASS: 2}
JOBS = 1200
NOT_COMPLETED = [each.value for each in Outcome if each not in (Outcome.COMPLETED, Outcome.CENSORED)]


@lru_cache
def recorded(seed: int) -> tuple[RunData, list[Row]]:
    """Return a valid run whose jobs name their workers and completed but for a few, and its rows, the worst first."""
    made = made_up_run(jobs=JOBS, rate=12.0, seed=seed, workers=14, first_worker_at=0.0)
    record = msgspec.structs.replace(made.run, audit=[Audit(0, JOBS, JOBS)])
    rows = made.samples.to_pylist()
    scenario = Scenario.model_validate(record.scenario)
    data = RunData(record, scenario, read_job_table([made.samples], JOBS), made.requests, health=made.health)
    return data, sorted(rows, key=lasted_s, reverse=True)


def lasted_s(row: Row) -> float:
    return np.inf if row["outcome"] != "completed" else float(row["finished_at"] - row["intended_at"])


def changed(data: RunData, rows: list[Row]) -> RunData:
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: int(row["seq"])), SAMPLES)
    audit = [Audit(0, JOBS, len(rows))]
    run = msgspec.structs.replace(data.run, audit=audit)
    return RunData(run, data.scenario, read_job_table([table], len(rows)), data.requests, health=data.health)


def deleted(_row: Row, _outcome: str) -> Row | None:
    return None


def failed(row: Row, outcome: str) -> Row:
    """Return the job as it ended otherwise at the same time, with nothing reported of it."""
    return row | {"outcome": outcome, "delay_ms": None, "execution_ms": None}


def failed_at_once(row: Row, outcome: str) -> Row:
    return failed(row, outcome) | {"finished_at": row["sent_at"] + 0.01, "worker_id": None}


def censored(row: Row, _outcome: str) -> Row:
    return failed(row, "censored") | {"finished_at": None}


def never_sent(row: Row, outcome: str) -> Row:
    nothing = ("job_id", "worker_id", "sent_at", "accepted_at", "finished_at")
    return failed(row, outcome) | dict.fromkeys(nothing)


def anonymised(row: Row, outcome: str) -> Row:
    return row | {"worker_id": None if outcome == "failed" else ""}


NOT_KNOWN = [failed, failed_at_once, censored, never_sent, anonymised]
CHANGES: list[Callable[[Row, str], Row | None]] = [deleted, *NOT_KNOWN]
LIMITS = st.sampled_from([0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.5, 5.0])
STATISTICS = st.sampled_from(["p50", "p90", "p95", "p99", "mean", "max"])
TIMES = ("delay", "execution", "end-to-end", "response", "overhead")
SEEN_BY_CLIENT = ("end-to-end", "response")


@st.composite
def gates(draw: st.DrawFn) -> list[Gate]:
    """Return gates on times, one per worker, and often wide gates on errors and on cold starts."""
    texts = [f"{draw(st.sampled_from(TIMES))} {draw(STATISTICS)} < {draw(LIMITS)}s" for _ in range(2)]
    texts.append(f"execution p50 < {draw(LIMITS)}s per worker")
    texts += draw(
        st.lists(
            st.sampled_from(["errors < 50 %", "cold starts < 5 %", "censored < 20 %", "throughput > 10/s"]),
            unique=True,
        )
    )
    return [parse_gate(text) for text in texts]


@st.composite
def worst_changed(
    draw: st.DrawFn, changes: list[Callable[[Row, str], Row | None]] = CHANGES
) -> tuple[RunData, RunData]:
    """Return a run, and the same run with some of its worst jobs changed."""
    data, rows = recorded(draw(st.integers(1, 3)))
    worst = draw(st.sampled_from([1, 5, 12, 40, 70, 200, 700]))
    chosen = np.random.default_rng(draw(st.integers(0, 99))).random(worst) < draw(st.sampled_from([0.3, 0.9, 1.0]))
    change, outcome = draw(st.sampled_from(changes)), draw(st.sampled_from(NOT_COMPLETED))
    after = [change(row, outcome) if n < worst and chosen[n] else row for n, row in enumerate(rows)]
    return data, changed(data, [row for row in after if row is not None])


def judged(data: RunData, asked: list[Gate]) -> Summary:
    return summarize_and_judge(data, asked)


@settings(max_examples=40)
@given(runs=worst_changed(), asked=gates())
def test_no_change_of_the_worst_jobs_makes_a_run_pass(runs: tuple[RunData, RunData], asked: list[Gate]) -> None:
    before, after = (judged(data, asked) for data in runs)
    if before.verdict is not Verdict.PASS:
        assert after.verdict is not Verdict.PASS
    for one, other in zip(before.gates, after.gates, strict=True):
        if one.verdict is not Verdict.PASS and after.validity.valid:
            assert other.verdict is not Verdict.PASS, (one, other)


@settings(max_examples=30)
@given(
    runs=worst_changed([deleted, failed, censored, anonymised]),
    metric=st.sampled_from(SEEN_BY_CLIENT),
    percentile=st.sampled_from(["p50", "p90", "p95", "p99"]),
    limit_s=LIMITS,
)
def test_a_verdict_on_times_that_the_client_sees_never_improves(
    runs: tuple[RunData, RunData], metric: str, percentile: str, limit_s: float
) -> None:
    asked = [parse_gate(f"{metric} {percentile} < {limit_s}s"), parse_gate("errors < 99 %")]
    before, after = (judged(data, asked) for data in runs)
    assert RANK[after.verdict] <= RANK[before.verdict]


@settings(max_examples=30)
@given(runs=worst_changed(NOT_KNOWN), limit=st.sampled_from([1, 2, 5, 10, 30, 60]))
def test_errors_that_are_not_known_leave_a_gate_on_errors_inconclusive_at_best(
    runs: tuple[RunData, RunData], limit: int
) -> None:
    before, after = (judge(parse_gate(f"errors < {limit} %"), gate_inputs(data)) for data in runs)
    unfinished = bool(runs[1].jobs.ended(Outcome.CENSORED).any())
    assert after.n == before.n
    assert RANK[after.verdict] <= max(RANK[before.verdict], RANK[Verdict.INCONCLUSIVE] if unfinished else 0)


@settings(max_examples=30)
@given(runs=worst_changed([anonymised, failed_at_once]), limit_s=st.floats(0.45, 0.8))
def test_jobs_that_name_no_worker_make_no_worker_pass(runs: tuple[RunData, RunData], limit_s: float) -> None:
    gates = [parse_gate(f"execution p50 < {limit_s:.2f}s per worker"), parse_gate("errors < 90 %")]
    before, after = (judged(data, gates).gates[0].verdict for data in runs)
    assert after is not Verdict.PASS or before is Verdict.PASS


@settings(max_examples=25)
@given(
    compared=worst_changed(NOT_KNOWN).map(lambda runs: (runs, False)) | worst_changed().map(lambda runs: (runs, True))
)
def test_no_change_of_the_worst_jobs_makes_a_candidate_better(compared: tuple[tuple[RunData, RunData], bool]) -> None:
    runs, pairs = compared
    baseline, candidate = (run_series(each.jobs, each.load, schedule_of(each.run) if pairs else "") for each in runs)
    for each in compare([baseline], candidate, metrics_of([baseline], candidate)):
        assert each.standing.value != "better"
        assert (
            as_gate_result(each).verdict is not Verdict.PASS
            or each.metric.metric.value != "errors"
            or (each.candidate is not None and each.candidate < each.limit)
        )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_runs_are_valid_so_that_their_gates_decide(seed: int) -> None:
    summary = judged(recorded(seed)[0], [parse_gate("end-to-end p50 < 5s"), parse_gate("errors < 50 %")])
    assert summary.verdict is Verdict.PASS
