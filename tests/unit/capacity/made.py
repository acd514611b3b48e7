"""Runs made by the endpoint model, whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from loadtest.analyze.jobs import LoadWindow, jobs_of
from loadtest.analyze.workers import WorkerUptime
from loadtest.capacity.backtest.backtest import HeldOut
from loadtest.capacity.calibration.measurements import MeasuredRun
from loadtest.capacity.simulation.simulated_run import up_intervals
from loadtest.capacity.simulation.workload import setting_of
from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.fleet import Worker
from loadtest.endpoint.job import Job
from loadtest.protocol.operations import Op
from loadtest.scenario.model import Scenario
from loadtest.traffic.arrivals import draw_schedule
from loadtest.traffic.settings import OpenLoad
from tests.unit.analyze.rows import START_AT, job, samples, scenario

COLD_AND_REVIVED = {
    "workers": {"active": 0, "max": 3},
    "scaler": {"request_count": 1},
    "idle_timeout": "5s",
    "cold_start": ["8s", "10s"],
    "revival": {"duration": "500ms", "within": "60s"},
    "service": ["1s", "1500ms", "2s"],
}


def table_of(asked: Scenario, at_s: list[float], seed: int = 1) -> pa.Table:
    """Return the samples of a client with 50 ms of overhead for this scenario's endpoint."""
    return _observed(at_s, _carried_out(asked, at_s, seed)[0])


def _carried_out(asked: Scenario, at_s: list[float], seed: int) -> tuple[list[Job], list[Worker]]:
    model = Endpoint(asked.endpoint, seed, START_AT)
    jobs = [model.submit(Op.RUN, START_AT + at) for at in at_s]
    model.advance(START_AT + at_s[-1] + 1000)
    return jobs, model.workers


def _observed(at_s: list[float], jobs: list[Job]) -> pa.Table:
    rows = []
    for seq, (at, done) in enumerate(zip(at_s, jobs, strict=True)):
        delay_s, execution_s = (
            (done.taken_at or 0) - done.submitted_at,
            (done.finished_at or 0) - (done.taken_at or 0),
        )
        rows.append(
            job(
                seq,
                at,
                sent_at=START_AT + at,
                accepted_at=START_AT + at,
                finished_at=START_AT + at + delay_s + execution_s + 0.05,
                delay_ms=round(delay_s * 1000),
                execution_ms=round(execution_s * 1000),
                worker_id=done.worker_id,
                outcome="failed" if done.fails else "completed",
            )
        )
    return samples(*rows)


def measured_run(asked: Scenario, at_s: list[float]) -> MeasuredRun:
    return MeasuredRun("made", asked, jobs_of(table_of(asked, at_s)))


def held_out(asked: Scenario, seed: int, **changes: Any) -> HeldOut:
    """Return a run of a scenario as this seed gives it, with a health check each second."""
    assert isinstance(asked.load, OpenLoad)
    asked_at_s = np.arange(0.5, asked.load.duration_s)
    at_s = draw_schedule(asked.load, {"run": 1.0}, seed).at_s.tolist()
    jobs, workers = _carried_out(asked, at_s, seed)
    end_at = START_AT + asked.load.duration_s
    plain = {
        "name": f"made-{seed}",
        "scenario": asked,
        "setting": setting_of(asked.endpoint),
        "jobs": jobs_of(_observed(at_s, jobs)),
        "window": LoadWindow(START_AT, end_at),
        "complete": True,
        "workers": WorkerUptime(asked_at_s, up_intervals(workers).count_at(START_AT + asked_at_s), end_at - START_AT),
    }
    return HeldOut(**plain | changes)


def bursts(count: int) -> list[float]:
    """Return arrivals alternately within reach of a revival and far beyond it, each with a second job 13 s later."""
    starts = np.cumsum([30.0 if index % 2 else 300.0 for index in range(count)])
    return [float(at) for start in starts for at in (start, start + 13)]


def flexible(**changes: object) -> Scenario:
    return scenario(endpoint=COLD_AND_REVIVED | changes)
