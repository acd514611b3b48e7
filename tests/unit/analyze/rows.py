"""Small tables and runs, written out so that every expected figure can be counted by hand."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from loadtest.analyze.run_data import RunData, read_job_table
from loadtest.record.run import Audit, Ending, ProcessInfo, RunRecord, StageSpan
from loadtest.record.sample import CANCELS, CHUNKS, HEALTH, REQUESTS, SAMPLES, ChunkSeen
from loadtest.scenario.model import Scenario

START_AT = 1000.0
NO_REQUESTS, NO_CHUNKS, NO_HEALTH, NO_CANCELS = (
    schema.empty_table() for schema in (REQUESTS, CHUNKS, HEALTH, CANCELS)
)


def scenario(**changes: Any) -> Scenario:
    plain = {"name": "made", "load": {"stages": [{"rate": "1/s", "for": "10s"}]}} | changes
    return Scenario.model_validate(plain)


def run(asked: Scenario | None = None, **changes: Any) -> RunRecord:
    asked = asked or scenario()
    plain: dict[str, Any] = {
        "id": "made-1",
        "scenario": asked.resolved(),
        "scenario_hash": asked.hash(),
        "seed": 1,
        "target": "http://127.0.0.1:1/v2/e",
        "command": "loadtest run made.yaml",
        "versions": {},
        "started_at": START_AT - 2,
        "processes": [ProcessInfo(0, 1, "here")],
        "audit": [Audit(0, 10, 10)],
        "stages": [StageSpan("stage 1", 10)],
        "offered": {"run": [1] * 10},
        "load_started_at": START_AT,
        "load_ended_at": START_AT + 10,
        "ended_at": START_AT + 15,
        "ending": Ending.COMPLETE,
    }
    return RunRecord(**plain | changes)


def job(seq: int, at: float, **changes: Any) -> dict[str, Any]:
    """Return a completed job: sent 10 ms late, accepted 5 ms on; 100 ms delay, 200 ms execution, 50 ms overhead."""
    return {
        "seq": seq,
        "process": 0,
        "stage": 0,
        "flow": "run",
        "job_id": f"id-{seq}",
        "worker_id": "w1",
        "outcome": "completed",
        "http_status": 200,
        "intended_at": START_AT + at,
        "sent_at": START_AT + at + 0.010,
        "accepted_at": START_AT + at + 0.015,
        "finished_at": START_AT + at + 0.360,
        "delay_ms": 100,
        "execution_ms": 200,
        "polls": 2,
        "throttled": 0,
    } | changes


def samples(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SAMPLES)


def chunks(*rows: tuple[int, ChunkSeen]) -> pa.Table:
    """Return chunks of process 0, by the number of their job."""
    return pa.Table.from_pylist([{"seq": seq, "process": 0, **each._asdict()} for seq, each in rows], CHUNKS)


def ten_jobs() -> pa.Table:
    return samples(*(job(seq, float(seq)) for seq in range(10)))


def requests(*rows: tuple[float, int, str, int, int, int]) -> pa.Table:
    names = ("second", "process", "operation", "status", "requests", "most_in_10_s")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], REQUESTS)


def run_data(
    run: RunRecord,
    samples: pa.Table,
    requests: pa.Table = NO_REQUESTS,
    chunks: pa.Table = NO_CHUNKS,
    health: pa.Table = NO_HEALTH,
    cancels: pa.Table = NO_CANCELS,
) -> RunData:
    table = read_job_table([samples], len(samples))
    return RunData(run, Scenario.model_validate(run.scenario), table, requests, chunks, health, cancels)
