"""Runs against the independent endpoint, as a client at some distance would record them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loadtest.analyze.jobs import JobColumns, jobs_of
from loadtest.record.atomic_file import readable_json
from loadtest.record.run import Audit, StageSpan
from loadtest.record.sample import HEALTH, REQUESTS
from loadtest.scenario.model import Scenario
from tests.independent.endpoint import Simulation, System
from tests.unit.analyze.rows import START_AT, job, run, samples

_PROBE_S = 1.0


def arrivals(rate_per_s: float, jobs: int, seed: int) -> list[float]:
    """Return Poisson arrivals in seconds."""
    at_s: list[float] = np.cumsum(np.random.default_rng(seed).exponential(1 / rate_per_s, jobs)).tolist()
    return at_s


def observed(system: System, at_s: Sequence[float], seed: int, trip_s: float = 0.004) -> JobColumns:
    """Return the jobs of a run, each entering the endpoint somewhere within a round trip of its submission."""
    return jobs_of(_table(Simulation(system, at_s, seed).run(), seed, trip_s))


def write_run(directory: Path, asked: Scenario, system: System, rate_per_s: float, seed: int) -> Simulation:
    """Write the run directory of a scenario of one stage against this system; return the simulation behind it."""
    duration_s = asked.load.duration_s
    at_s = [at for at in arrivals(rate_per_s, math.ceil(rate_per_s * duration_s * 2) + 20, seed) if at < duration_s]
    simulation = Simulation(system, at_s, seed).run()
    ended_at = START_AT + max(duration_s, simulation.now) + 1
    offered = np.bincount(np.array(at_s).astype(int), minlength=math.ceil(duration_s)).tolist()
    record = run(
        asked,
        id=directory.name,
        seed=seed,
        audit=[Audit(0, len(at_s), len(at_s))],
        stages=[StageSpan("stage 1", duration_s)],
        offered={"run": offered},
        load_ended_at=START_AT + duration_s,
        ended_at=ended_at,
    )
    directory.mkdir(parents=True)
    (directory / "run.json").write_bytes(readable_json(record))
    pq.write_table(_table(simulation, seed), directory / "samples.parquet")
    pq.write_table(REQUESTS.empty_table(), directory / "requests.parquet")
    pq.write_table(_health(simulation, duration_s), directory / "health.parquet")
    return simulation


def _table(simulation: Simulation, seed: int, trip_s: float = 0.004) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = []
    for each in simulation.jobs:
        there, back = rng.uniform(0, trip_s, 2)
        rows.append(
            job(
                each.number,
                each.at,
                sent_at=START_AT + each.at - there,
                accepted_at=START_AT + each.at + back,
                finished_at=START_AT + each.ended + 0.05,
                delay_ms=round((each.taken - each.at) * 1000),
                execution_ms=round((each.ended - each.taken) * 1000),
                worker_id=f"w{each.worker}",
                outcome="failed" if each.failed else "completed",
            )
        )
    return samples(*rows)


def _health(simulation: Simulation, duration_s: float) -> pa.Table:
    """Return probes each second: workers are initializing until ready, then running until they stop."""
    at_s = np.arange(_PROBE_S / 2, duration_s, _PROBE_S)
    shifts = [
        (start, min(stop, ready), stop)
        for worker in simulation.workers
        for (start, stop), ready in zip(worker.spans, [*worker.ready_at, math.inf], strict=False)
    ]
    started, ready, stopped = (np.sort(np.array(each, float)) for each in zip(*shifts, strict=True))
    jobs = simulation.jobs
    arrived, taken, ended = (
        np.sort(np.array(each)) for each in zip(*((one.at, one.taken, one.ended) for one in jobs), strict=True)
    )

    def until(times: np.typing.NDArray[np.float64]) -> np.typing.NDArray[np.int64]:
        return np.searchsorted(times, at_s, side="right")

    columns: dict[str, Any] = {
        "at": START_AT + at_s,
        "in_queue": until(arrived) - until(taken),
        "in_progress": until(taken) - until(ended),
        "completed": until(ended),
        "retried": until(np.array(simulation.given_back)),
        "initializing": until(started) - until(ready),
        "running": until(ready) - until(stopped),
    }
    none = dict.fromkeys(HEALTH.names, np.zeros(len(at_s)))
    return pa.table(
        {name: pa.array(values).cast(HEALTH.field(name).type) for name, values in (none | columns).items()}
    )
