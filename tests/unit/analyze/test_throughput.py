"""Rates of completed jobs count over the span in which these jobs could complete."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loadtest.analyze.compare.comparable_run import run_series
from loadtest.analyze.jobs import LoadWindow, jobs_of
from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import Verdict
from loadtest.analyze.throughput import completion_window
from loadtest.gate.inputs import gate_inputs
from loadtest.gate.judge import judge
from loadtest.record.run import StageSpan
from loadtest.scenario.gates import parse_gate
from tests.unit.analyze.rows import START_AT, job, run, run_data, samples, scenario

LOAD_S, RATE = 60, 5
LOAD = LoadWindow(START_AT, START_AT + LOAD_S)


def jobs(execution_s: float, workers: int | None = None, **changes: Any) -> list[dict[str, Any]]:
    """Return the jobs of 5/s for 60 s of a constant execution, on this many workers if they are bounded."""
    free = [0.0] * (workers or 10_000)
    made = []
    for seq in range(LOAD_S * RATE):
        at = seq / RATE + 0.1
        taken = max(at, min(free))
        free[free.index(min(free))] = taken + execution_s
        made.append(job(seq, at, sent_at=START_AT + at, accepted_at=START_AT + at,
                        finished_at=START_AT + taken + execution_s, delay_ms=round(1000 * (taken - at)),
                        execution_ms=round(1000 * execution_s)) | changes)  # fmt: skip
    return made


def gated(rows: list[dict[str, Any]], gate: str) -> Verdict:
    asked = scenario(load={"stages": [{"rate": f"{RATE}/s", "for": f"{LOAD_S}s"}]})
    record = run(asked, load_ended_at=LOAD.end_at, ended_at=LOAD.end_at + 300, stages=[StageSpan("all", LOAD_S)])
    return judge(parse_gate(gate), gate_inputs(run_data(record, samples(*rows)))).verdict


@pytest.mark.parametrize("execution_s", [0.1, 1.0, 10.0, 30.0])
@pytest.mark.parametrize("reported", [True, False])
def test_an_endpoint_that_keeps_up_completes_what_is_offered(execution_s: float, reported: bool) -> None:
    rows = jobs(execution_s, **({} if reported else {"execution_ms": None, "delay_ms": None}))
    record = run(load_ended_at=LOAD.end_at, ended_at=LOAD.end_at + 60, offered={"run": [RATE] * LOAD_S})
    data = run_data(record, samples(*rows))
    assert summarize(data).flows["run"].throughput_per_s == pytest.approx(RATE, rel=0.01)
    assert series(data).throughput_per_s == pytest.approx(RATE, rel=0.01)
    per_s = run_series(data.jobs, LOAD).completed_per_s
    assert per_s.mean() == pytest.approx(RATE, rel=0.02)
    assert gated(rows, "throughput > 4.6/s") is Verdict.PASS


def test_an_endpoint_that_does_not_keep_up_does_not_look_as_if_it_did() -> None:
    rows = jobs(2.0, workers=5)  # 2.5/s
    assert gated(rows, "throughput > 3.5/s") is Verdict.FAIL
    record = run(load_ended_at=LOAD.end_at, ended_at=LOAD.end_at + 90, offered={"run": [RATE] * LOAD_S})
    assert summarize(run_data(record, samples(*rows))).flows["run"].throughput_per_s == pytest.approx(2.5, rel=0.03)


def test_the_window_ends_with_the_run_if_jobs_were_unfinished_and_never_before_the_load() -> None:
    one = job(0, 0.5, execution_ms=5000, finished_at=START_AT + 6)
    unfinished = job(1, 59.0, outcome="censored", finished_at=None, delay_ms=None, execution_ms=None)
    for rows, end_at in (([one], LOAD.end_at + 5), ([one, unfinished], LOAD.end_at)):
        table = jobs_of(samples(*rows))
        window = completion_window(table, table.completed, LOAD)
        assert (window.start_at, window.end_at) == (START_AT + 5, end_at)
    failed = jobs_of(samples(job(0, 0.5, outcome="failed")))
    assert completion_window(failed, failed.completed, LOAD) == LOAD
    endless = jobs_of(samples(job(0, 0.5, execution_ms=90_000_000), unfinished))
    assert completion_window(endless, np.ones(2, bool), LOAD).duration_s == 0
