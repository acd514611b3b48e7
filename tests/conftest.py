"""Made-up runs, drawn from a seed: arrivals, a queue with cold workers, and a few failures."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings

from loadtest.record.run import Audit, Ending, ProcessInfo, RunRecord, StageSpan
from loadtest.record.sample import HEALTH, REQUESTS, SAMPLES
from loadtest.scenario.model import Scenario

START_AT = 1_767_225_600.0
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")


@dataclass(frozen=True)
class MadeUpRun:
    run: RunRecord
    samples: pa.Table
    requests: pa.Table
    health: pa.Table


def made_up_run(
    jobs: int = 2400, rate: float = 20.0, seed: int = 1, workers: int = 14, first_worker_at: float = 8.0
) -> MadeUpRun:
    rng = np.random.default_rng(seed)
    intended = np.cumsum(rng.exponential(1 / rate, jobs))
    duration = float(np.ceil(intended[-1]))
    free = [first_worker_at * (1 + 0.1875 * w) if w else first_worker_at / 16 for w in range(workers)]
    heap = [(at, w) for w, at in enumerate(free)]
    heapq.heapify(heap)
    rows = []
    for seq, at in enumerate(intended):
        sent = at + 0.0002 + rng.exponential(0.0008)
        free_at, worker = heapq.heappop(heap)
        taken = max(sent + 0.08 + rng.exponential(0.02), free_at)
        execution = rng.lognormal(np.log(0.4), 0.35) * (1.6 if worker == 3 else 1.0)
        heapq.heappush(heap, (taken + execution, worker))
        rows.append(_row(seq, at, sent, taken - sent, execution, worker, rng))
    samples = pa.Table.from_pylist(rows, SAMPLES)
    stages = [StageSpan("warm-up", duration / 4), StageSpan("steady", duration * 3 / 4)]
    scenario = Scenario.model_validate(
        {
            "name": "steady",
            "question": "How long do jobs wait at 20 a second, and is <b>that</b> stable?",
            "load": {"stages": [{"rate": f"{rate}/s", "for": f"{duration}s"}]},
            "flows": {"run": {"weight": 3}, "runsync": {"weight": 1}},
            "price": 0.00031,
        }
    )
    flow = np.array([row["flow"] for row in rows])
    run = RunRecord(
        id=f"steady-{seed}",
        scenario=scenario.resolved(),
        scenario_hash=scenario.hash(),
        seed=seed,
        target="http://127.0.0.1:8000/v2/embedded",
        command="loadtest run scenarios/steady.yaml --seed 1",
        versions={"loadtest": "0.1.0", "python": "3.11.9", "locust": "2.47.0"},
        started_at=START_AT - 1,
        processes=[ProcessInfo(0, 4242, "generator-1")],
        audit=[Audit(0, jobs, jobs)],
        stages=stages,
        offered={
            name: np.bincount(intended[flow == name].astype(int), minlength=int(duration)).tolist()
            for name in ("run", "runsync")
        },
        load_started_at=START_AT,
        load_ended_at=START_AT + duration,
        ended_at=START_AT + duration + 3,
        ending=Ending.COMPLETE,
    )
    return MadeUpRun(run, samples, _requests(rows), _health(rows, duration, free))


def _row(
    seq: int, at: float, sent: float, delay: float, execution: float, worker: int, rng: np.random.Generator
) -> dict:
    flow = "runsync" if rng.random() < 0.25 else "run"
    overhead = 0.004 + (rng.uniform(0, 0.2) if flow == "run" else 0.0)
    row = {
        "seq": seq, "process": 0, "stage": 0, "flow": flow,
        "polls": int((delay + execution) / max(0.2, delay / 4)) if flow == "run" else 0,
        "throttled": 0, "request_bytes": 40, "response_bytes": 180, "http_status": 200, "job_id": f"job-{seq}",
        "intended_at": START_AT + at, "sent_at": START_AT + sent, "accepted_at": START_AT + sent + 0.003,
        "finished_at": START_AT + sent + delay + execution + overhead, "outcome": "completed",
        "worker_id": f"w{worker:02d}k3jx9qpmzd2", "delay_ms": round(delay * 1000),
        "execution_ms": round(execution * 1000),
    }  # fmt: skip
    chance = rng.random()
    if chance < 0.010:
        return row | {"outcome": "failed", "error": "CUDA out of memory. Tried to allocate 2.00 GiB </script>"}
    if chance < 0.013:
        return row | {"outcome": "unreachable", "http_status": None, "job_id": None, "worker_id": None,
                      "delay_ms": None, "execution_ms": None, "accepted_at": None,
                      "error": "connection reset by peer"}  # fmt: skip
    if chance < 0.015:
        return row | {"outcome": "censored", "finished_at": None, "delay_ms": None, "execution_ms": None}
    return row


def _requests(rows: list[dict]) -> pa.Table:
    counts: dict[tuple[float, str], int] = {}
    for row in rows:
        second = row["sent_at"] // 1
        counts[second, row["flow"]] = counts.get((second, row["flow"]), 0) + 1
        for poll in range(row["polls"]):
            at = (row["sent_at"] + max(0.2, (row["delay_ms"] or 0) / 4000) * (poll + 1)) // 1
            counts[at, "status"] = counts.get((at, "status"), 0) + 1
    made = []
    for (second, operation), n in sorted(counts.items()):
        peak = max(sum(counts.get((s + k, operation), 0) for k in range(10)) for s in (second - 9, second))
        made.append({"second": second, "process": 0, "operation": operation, "status": 200, "requests": n,
                     "latency_ms_mean": 2.1, "latency_ms_p50": 2.0, "latency_ms_p95": 3.5, "latency_ms_max": 9.0,
                     "most_in_10_s": peak})  # fmt: skip
    return pa.Table.from_pylist(made, REQUESTS)


def _health(rows: list[dict], duration: float, free: list[float]) -> pa.Table:
    made = []
    for at in np.arange(0, duration, 2.0):
        taken = [row["sent_at"] + (row["delay_ms"] or 0) / 1000 - START_AT for row in rows]
        over = [start + (row["execution_ms"] or 0) / 1000 for start, row in zip(taken, rows, strict=True)]
        sent = [row["sent_at"] - START_AT for row in rows]
        busy = sum(t <= at < o for t, o in zip(taken, over, strict=True))
        warm = sum(f <= at for f in free)
        made.append({"at": START_AT + at, "in_queue": sum(s <= at < t for s, t in zip(sent, taken, strict=True)),
                     "in_progress": busy, "completed": 0, "failed": 0, "retried": 0, "idle": max(0, warm - busy),
                     "running": busy, "initializing": len(free) - warm, "ready": warm, "throttled": 0,
                     "unhealthy": 0})  # fmt: skip
    return pa.Table.from_pylist(made, HEALTH)


@pytest.fixture(scope="session")
def make_run() -> Callable[..., MadeUpRun]:
    return made_up_run


@pytest.fixture(scope="session")
def steady() -> MadeUpRun:
    return made_up_run()
