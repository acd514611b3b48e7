"""Samples of a run against the independent endpoint, as a client at some distance would record them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadtest.analyze.jobs import JobColumns, jobs_of
from tests.independent.endpoint import Simulation, System
from tests.unit.analyze.rows import START_AT, job, samples


def arrivals(rate_per_s: float, jobs: int, seed: int) -> list[float]:
    """Return Poisson arrivals in seconds."""
    at_s: list[float] = np.cumsum(np.random.default_rng(seed).exponential(1 / rate_per_s, jobs)).tolist()
    return at_s


def observed(system: System, at_s: Sequence[float], seed: int, trip_s: float = 0.004) -> JobColumns:
    """Return the jobs of a run, each entering the endpoint somewhere within a round trip of its submission."""
    rng = np.random.default_rng(seed)
    rows = []
    for each in Simulation(system, at_s, seed).run().jobs:
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
    return jobs_of(samples(*rows))
