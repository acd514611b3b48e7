"""A run's figures compared with the journal of the server that it was sent to."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loadtest.traffic.arrivals import draw_schedule, max_in_window
from loadtest.traffic.settings import OpenLoad
from tests.integration.conftest import Serve
from tests.integration.run.conftest import (
    FAST,
    LATE_IS_SOUND,
    Finished,
    Journal,
    Run,
    Start,
    journal_of,
    open_load,
    sending,
    stall,
)


def nearest_rank(values: list[int], per_mille: int) -> int:
    ordered = sorted(values)
    return ordered[math.ceil(per_mille * len(ordered) / 1000) - 1]


def milliseconds(later: float, earlier: float) -> int:
    return round(later * 1000) - round(earlier * 1000)


def agree(finished: Finished, journal: Journal) -> None:
    """Every accepted job is a row; times and outcomes are the journal's; percentiles are nearest rank."""
    rows = {row["job_id"]: row for row in finished.samples}
    assert rows.keys() == journal.jobs.keys()
    for job_id, job in journal.jobs.items():
        row = rows[job_id]
        assert row["outcome"] == job["status"].lower()
        assert row["delay_ms"] == milliseconds(job["taken_at"], job["submitted_at"])
        assert row["execution_ms"] == milliseconds(job["finished_at"], job["taken_at"])
        assert row["worker_id"] == job["worker"]
    for flow, figures in finished.summary["flows"].items():
        ids = [job_id for job_id, row in rows.items() if row["flow"] == flow and row["outcome"] == "completed"]
        jobs = [journal.jobs[job_id] for job_id in ids]
        assert figures["completed"] == len(jobs)
        delays = [milliseconds(job["taken_at"], job["submitted_at"]) for job in jobs]
        executions = [milliseconds(job["finished_at"], job["taken_at"]) for job in jobs]
        for name, values in (("delay_ms", delays), ("execution_ms", executions)):
            quantiles = figures[name]
            assert quantiles["n"] == len(values)
            supported = {key: value for key, value in quantiles.items() if key[0] == "p" and value is not None}
            assert {"p50", "p90"} <= supported.keys()
            for key, value in supported.items():
                assert value == nearest_rank(values, {"p99_9": 999}.get(key, int(key[1:3]) * 10)), (name, key)


@pytest.mark.alone
def test_every_job_is_sent_when_it_is_due_and_is_a_row_with_the_times_of_the_server(run: Run, serve: Serve) -> None:
    chunks = {"count": 4, "first": "30ms", "gap": "20ms", "tokens": 2}
    server = serve({"workers": {"active": 40, "max": 40}, "chunks": chunks, "failure_rate": "10 %"})
    flows = {"run": {}, "runsync": {}, "stream": {"polling": {"every": "10ms"}}, "webhook": {}}
    finished = run(open_load("60/s", "4.5s", flows=flows), "--target", server.url, "--seed", "5")
    journal, summary = journal_of(server), finished.summary
    agree(finished, journal)
    assert summary["jobs"]["accepted"] == len(journal.jobs) > 180
    assert summary["jobs"]["failed"] == sum(job["status"] == "FAILED" for job in journal.jobs.values()) > 0
    for op in ("run", "runsync", "status", "stream"):
        at = np.sort([each["at"] for each in journal.requests if each["op"] == op])
        assert summary["operations"][op]["requests"] == len(at)
        assert summary["operations"][op]["most_in_10_s"] == pytest.approx(max_in_window(at, 10.0), abs=3)
    chunks_are_seen_when_they_are_posted(finished, journal)
    jobs_are_sent_when_they_are_due(finished)
    flows = summary["flows"]
    assert flows["webhook"]["lag_ms"]["p50"] < flows["run"]["lag_ms"]["p50"]


def chunks_are_seen_when_they_are_posted(finished: Finished, journal: Journal) -> None:
    streamed = [row for row in finished.samples if row["flow"] == "stream" and row["outcome"] == "completed"]
    assert {row["chunks"] for row in streamed} == {4}
    assert {row["output_tokens"] for row in streamed} == {8}
    late_ms = [
        (seen_at - posted_at) * 1000
        for row in streamed
        for seen_at, posted_at in zip(finished.chunks_of(row), journal.jobs[row["job_id"]]["chunks_at"], strict=True)
    ]
    assert min(late_ms) > -1
    assert np.median(late_ms) < 5
    assert finished.summary["flows"]["stream"]["chunk_gap_ms"]["p50"] == pytest.approx(20, abs=8)


def jobs_are_sent_when_they_are_due(finished: Finished) -> None:
    arrivals = finished.summary["arrivals"]
    assert arrivals["started"] / arrivals["offered"] >= 0.99
    sent_at = np.sort([row["sent_at"] for row in finished.samples])
    intended_at = np.sort([row["intended_at"] for row in finished.samples])
    assert np.median(sent_at - intended_at) < 0.005
    gaps = np.diff(sent_at)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.15)
    load, weights = (
        OpenLoad.model_validate(finished.run["scenario"]["load"]),
        dict.fromkeys(("run", "runsync", "stream", "webhook"), 1.0),
    )
    due = draw_schedule(load, weights, finished.run["seed"]).at_s
    assert list(intended_at - finished.run["load_started_at"]) == pytest.approx(due, abs=1e-5)


def test_stall_of_the_server_counts_from_the_intended_start(start: Start, serve: Serve) -> None:
    server = serve(FAST)
    scenario = open_load("60/s", "4s", arrivals="constant", flows={"runsync": {}}, **LATE_IS_SOUND)
    begun = start(scenario, "--target", server.url)
    sending(begun)
    stall(server, 1.4)
    assert begun.finish().summary["flows"]["runsync"]["end_to_end_ms"]["p95"] > 1000


def test_429s_of_a_stricter_server_are_waited_out_counted_and_named(run: Run, serve: Serve) -> None:
    server = serve({**FAST, "limits": {"run": "20 per 2 s"}})
    finished = run(open_load("30/s", "2s"), "--target", server.url)
    journal = journal_of(server)
    throttled = [each for each in journal.requests if each["status"] == 429]
    assert throttled
    assert finished.summary["operations"]["run"]["throttled"] == len(throttled)
    assert sum(row["throttled"] for row in finished.samples) == len(throttled)
    assert {row["outcome"] for row in finished.samples} == {"completed"}
    assert (finished.status, "429" in finished.summary["reason"]) == (3, True)
    agree(finished, journal)
