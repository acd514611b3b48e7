"""A cached replication equals a simulated one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from loadtest.capacity.planning.optimizer import Alternatives, Problem, flexible_option, flexible_options
from loadtest.capacity.simulation.predict import ReplicationCache, SimulationBudget
from loadtest.capacity.simulation.simulate import replication
from loadtest.capacity.simulation.workload import WorkerConfig, Workload, constant, measured, revival
from loadtest.endpoint.settings import QueueDelay, RequestCount
from loadtest.scenario.gates import parse_gate

EXPONENTIAL = measured(-np.log1p(-(np.arange(2000) + 0.5) / 2000))
WORK = Workload("poisson", EXPONENTIAL, constant(3.0), revival(constant(0.5), 60.0))
ONE = RequestCount(request_count=1)
JOBS = 20_000


def test_equal_replications_are_simulated_once_and_different_ones_are_not_shared() -> None:
    cache = ReplicationCache()
    known = cache.replication(WORK, WorkerConfig(1, 8), 3.0, JOBS, 1)
    assert cache.replication(WORK, WorkerConfig(1, 8), 3.0, JOBS, 1) is known
    others = [
        (WorkerConfig(0, 8), 3.0, JOBS, 1),
        (WorkerConfig(1, 8), 3.1, JOBS, 1),
        (WorkerConfig(1, 8), 3.0, JOBS + 1, 1),
    ]
    for other in (*others, (WorkerConfig(1, 8), 3.0, JOBS, 2), (WorkerConfig(1, 8, ONE), 3.0, JOBS, 1)):
        assert cache.replication(WORK, *other) is not known
    assert cache.replication(Workload("constant", EXPONENTIAL), WorkerConfig(8, 8), 3.0, JOBS, 1) is not known
    assert pickle.loads(pickle.dumps(cache)).replication(WORK, WorkerConfig(1, 8), 3.0, JOBS, 1) is not known


@pytest.mark.parametrize(("idle_s", "stops"), [(2.0, True), (1000.0, False)])
def test_a_longer_idle_timeout_shares_a_replication_unless_a_worker_stopped(idle_s: float, stops: bool) -> None:
    cache = ReplicationCache()
    shorter, longer, jobs = WorkerConfig(0, 6, ONE, idle_s), WorkerConfig(0, 6, ONE, idle_s + 1), JOBS
    known = cache.replication(WORK, shorter, 3.0, jobs, 1)
    found = cache.replication(WORK, longer, 3.0, jobs, 1)
    assert known.stops is stops
    assert (found is known) is not stops
    simulated = replication(WORK, longer, 3.0, jobs, 1)
    assert np.array_equal(found.wait_s, simulated.wait_s)
    assert (found.up_s, found.billed_s) == (simulated.up_s, simulated.billed_s)
    assert cache.replication(WORK, WorkerConfig(0, 6, ONE, idle_s - 1), 3.0, jobs, 1) is not known


def test_options_with_a_shared_cache_equal_those_found_alone() -> None:
    def problem() -> Problem:
        return Problem(
            parse_gate("delay p95 < 5s"), WORK, 0.001, SimulationBudget(2, 1500), SimulationBudget(2, 1500)
        )

    alternatives = Alternatives((QueueDelay(queue_delay="1s"), ONE), (60.0, 5.0, 50.0), 8)
    alone = [flexible_option(problem(), 2.0, alternatives.max_workers, pair) for pair in alternatives.pairs()]
    assert list(flexible_options(problem(), 2.0, alternatives)) == alone
