"""What the harness reports, held against what the server's journal says happened."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from loadtest.traffic.arrivals import draw_schedule, max_in_window
from loadtest.traffic.settings import OpenLoad
from tests.integration.run.conftest import Finished, Journal, Started, read_journal, open_load

FAST = {"workers": {"active": 40, "max": 40}, "service": {"median": "60ms", "sigma": 0.5}}


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


@dataclass(frozen=True)
class Watched:
    finished: Finished
    journal: Journal


@pytest.fixture(scope="module")
def watched(start_module: Callable[..., Started], serve_module: Callable[..., Any]) -> Watched:
    """A run of all that polls, waits and streams, and what its server says of it."""
    chunks = {"count": 4, "first": "30ms", "gap": "20ms", "tokens": 2}
    server = serve_module({"workers": FAST["workers"], "chunks": chunks, "failure_rate": "10 %"})
    flows = {"run": {}, "runsync": {}, "stream": {"polling": {"every": "10ms"}}}
    finished = start_module(open_load("50/s", "7s", flows=flows), "--target", server.url).finish()
    server.stop()
    return Watched(finished, read_journal(server.journal))


@pytest.mark.alone
def test_every_job_is_a_row_with_the_servers_own_times(watched: Watched) -> None:
    finished, journal = watched.finished, watched.journal
    agree(finished, journal)
    summary = finished.summary
    assert summary["jobs"]["accepted"] == len(journal.jobs) > 180
    assert summary["jobs"]["failed"] == sum(job["status"] == "FAILED" for job in journal.jobs.values()) > 0
    for op in ("run", "runsync", "status", "stream"):
        at = np.sort([each["at"] for each in journal.requests if each["op"] == op])
        assert summary["operations"][op]["requests"] == len(at)
        assert summary["operations"][op]["most_in_10_s"] == pytest.approx(max_in_window(at, 10.0), abs=3)
    streamed = [row for row in finished.samples if row["flow"] == "stream" and row["outcome"] == "completed"]
    assert {row["chunks"] for row in streamed} == {4}
    assert {row["output_tokens"] for row in streamed} == {8}
    late_ms = [
        (seen_at - came_at) * 1000
        for row in streamed
        for seen_at, came_at in zip(finished.chunks_of(row), journal.jobs[row["job_id"]]["chunks_at"], strict=True)
    ]
    assert min(late_ms) > -1
    assert np.median(late_ms) < 5
    assert summary["flows"]["stream"]["chunk_gap_ms"]["p50"] == pytest.approx(20, abs=8)


@pytest.mark.alone
def test_open_arrivals_start_when_they_should(watched: Watched) -> None:
    finished = watched.finished
    arrivals = finished.summary["arrivals"]
    assert arrivals["started"] / arrivals["offered"] >= 0.99
    sent_at = np.sort([row["sent_at"] for row in finished.samples])
    intended_at = np.sort([row["intended_at"] for row in finished.samples])
    assert np.median(sent_at - intended_at) < 0.005
    gaps = np.diff(sent_at)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.15)


def test_the_same_seed_gives_the_same_schedule(run: Callable[..., Finished], serve: Callable[..., Any]) -> None:
    finished = run(open_load("20/s", "2s"), "--target", serve(FAST).url, "--seed", "5")
    start = finished.run["load_started_at"]
    sent = sorted(row["intended_at"] - start for row in finished.samples)
    load = OpenLoad.model_validate(finished.run["scenario"]["load"])
    assert sent == pytest.approx(draw_schedule(load, {"run": 1.0}, 5).at_s, abs=1e-5)
    assert len(sent) != len(draw_schedule(load, {"run": 1.0}, 6))


@pytest.mark.alone
def test_users_who_push_stay_within_the_documented_limits(
    run: Callable[..., Finished], serve: Callable[..., Any]
) -> None:
    server = serve({"workers": {"active": 60, "max": 60}, "service": "10ms"})
    load = {"model": "closed", "stages": [{"users": 60, "for": "13s"}]}
    run({"load": load, "flows": {"run": {"weight": 2}, "runsync": {"weight": 1}}}, "--target", server.url)
    server.stop()
    journal = read_journal(server.journal)
    assert not [each for each in journal.requests if each["status"] == 429]
    for op, limit in (("run", 1000), ("runsync", 2000)):
        at = np.sort([each["at"] for each in journal.requests if each["op"] == op])
        assert 0.97 * limit <= max_in_window(at, 10.0) <= limit


def test_a_stall_of_the_server_shows_from_the_intended_start(
    start: Callable[..., Any], serve: Callable[..., Any], stall: Callable[..., None]
) -> None:
    server = serve(FAST)
    load = {"arrivals": "constant", "stages": [{"rate": "100/s", "for": "7s"}]}
    begun = start({"load": load, "flows": {"runsync": {}}}, "--target", server.url)
    stall(server, begun, 1.4)
    finished = begun.finish()
    assert finished.summary["flows"]["runsync"]["end_to_end_ms"]["p99"] > 1000


def test_429s_of_a_stricter_server_are_waited_out_and_counted(
    run: Callable[..., Finished], serve: Callable[..., Any]
) -> None:
    server = serve({**FAST, "limits": {"run": "20 per 2 s"}})
    finished = run(open_load("20/s", "4s"), "--target", server.url)
    server.stop()
    journal = read_journal(server.journal)
    refused = [each for each in journal.requests if each["status"] == 429]
    assert refused
    assert finished.summary["operations"]["run"]["throttled"] == len(refused)
    assert sum(row["throttled"] for row in finished.samples) == len(refused)
    agree(finished, journal)
