"""Simulated jobs that fail, time out, expire or lose their worker, and what that does to all others."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from loadtest.capacity.planning.objective import ObjectiveStatus, best_possible
from loadtest.capacity.planning.optimizer import Problem
from loadtest.capacity.simulation.predict import Prediction, SimulationBudget, predict, replications
from loadtest.capacity.simulation.simulated_run import COMPLETED, EXPIRED, FAILED, TIMED_OUT, simulate_run
from loadtest.capacity.simulation.workload import NO_DEADLINES, WorkerConfig, Workload, constant, fixed, measured
from loadtest.endpoint.settings import Policy, RequestCount
from loadtest.scenario.gates import parse_gate

BUDGET = SimulationBudget(4, 2000)
SHORT_OR_LONG = measured(np.array([1.0] * 9 + [50.0]))


def deadlines(**settings: object) -> Policy:
    return NO_DEADLINES.model_copy(update=settings)


def predicted(work: Workload, setting: WorkerConfig, rate_per_s: float, price: float | None = None) -> Prediction:
    return predict(work, setting, rate_per_s, replications(work, setting, rate_per_s, BUDGET), price)


def test_jobs_take_as_long_as_they_take_unless_a_deadline_ends_them() -> None:
    at_s = np.array([0.0, 1000.0, 2000.0])
    long = Workload("constant", constant(900.0))
    assert simulate_run(long, fixed(1), at_s, 1).execution_s.tolist() == [900.0] * 3
    timed_out = simulate_run(replace(long, policy=deadlines(execution_timeout=600.0)), fixed(1), at_s, 1)
    assert timed_out.execution_s.tolist() == [600.0] * 3
    assert timed_out.outcome.tolist() == [TIMED_OUT] * 3


@pytest.mark.parametrize("setting", [fixed(1), WorkerConfig(0, 1, RequestCount(request_count=1), 1e9)])
@pytest.mark.parametrize("stops", [False, True])
def test_a_timeout_frees_its_worker_or_stops_it_until_another_has_started(setting: WorkerConfig, stops: bool) -> None:
    policy = deadlines(execution_timeout=10.0, timeout_stops_worker=stops)
    work = Workload("constant", constant(20.0), constant(3.0), policy=policy)
    run = simulate_run(work, setting, np.array([5.0, 5.5]), 1)
    first, second = run.taken_at.tolist()
    assert first == 5.0 + 3.0 * (not setting.fixed)
    assert second == first + 10.0 + 3.0 * stops
    assert run.up.any_stop is stops


@pytest.mark.parametrize("slowdown", [(), ((1, 1.0), (2, 1.0))])  # a queue alone, and the endpoint's model
def test_a_job_expires_in_the_queue_or_at_work_and_leaves_its_place_to_the_next(
    slowdown: tuple[tuple[int, float], ...],
) -> None:
    work = Workload("constant", constant(10.0), slowdown=slowdown, policy=deadlines(ttl=15.0))
    run = simulate_run(work, fixed(1), np.array([0.0, 1.0, 2.0, 18.0]), 1)
    assert run.outcome.tolist() == [COMPLETED, EXPIRED, EXPIRED, COMPLETED]
    assert run.taken_at.tolist() == [0.0, 10.0, 16.0, 18.0]
    assert run.execution_s.tolist() == [10.0, 6.0, 1.0, 10.0]


def test_both_ways_to_simulate_fixed_workers_agree_on_failures_and_timeouts() -> None:
    at_s = np.cumsum(np.random.default_rng(1).exponential(1.0, 2000))
    policy = deadlines(execution_timeout=5.0, timeout_stops_worker=False)
    work = Workload("poisson", SHORT_OR_LONG, failure_rate=0.2, policy=policy)
    quick, whole = (simulate_run(each, fixed(3), at_s, 1) for each in (work, replace(work, crash_rate=1e-300)))
    assert quick.outcome.tolist() == whole.outcome.tolist()
    assert quick.taken_at == pytest.approx(whole.taken_at)
    assert {COMPLETED, FAILED, TIMED_OUT} == set(quick.outcome.tolist())


def test_a_plan_counts_the_jobs_that_complete_and_shows_the_share_that_does_not() -> None:
    policy = deadlines(execution_timeout=5.0, timeout_stops_worker=False)
    work = Workload("poisson", SHORT_OR_LONG, failure_rate=0.2, policy=policy)
    found = predicted(work, fixed(4), 1.0, price=1.0)
    assert found.failed is not None
    assert found.timed_out is not None
    assert found.cost_per_1000_jobs is not None
    assert found.timed_out.value == pytest.approx(0.1, abs=0.01)
    assert found.failed.value == pytest.approx(0.1 + 0.9 * 0.2, abs=0.015)
    assert found.cost_per_1000_jobs.value == pytest.approx(4 * 1000 / (1 - found.failed.value), rel=0.02)
    assert found.end_to_end_ms is not None
    assert found.end_to_end_ms.p50.value < 5000


def test_workers_that_die_count_in_the_load_and_a_queue_that_they_overload_never_settles() -> None:
    work = Workload("poisson", constant(1.0), constant(10.0))
    assert predicted(work, fixed(4), 3.0).settles
    assert not predicted(replace(work, crash_rate=0.1), fixed(4), 3.0).settles
    assert predicted(replace(work, crash_rate=0.1), fixed(12), 3.0).settles


@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_load_of_workers_that_die_is_that_of_workers_kept_busy(concurrency: int) -> None:
    work = Workload("constant", constant(1.0), constant(2.0), concurrency=concurrency, crash_rate=0.1, tries=1000)
    run = simulate_run(work, fixed(2), np.zeros(8000), 1)
    ended_at = float((run.taken_at + run.execution_s).max())
    assert 2 * ended_at / 8000 == pytest.approx(work.load_s, rel=0.1)


def test_an_objective_on_errors_is_judged() -> None:
    policy = deadlines(ttl=3.0)
    problem = Problem(parse_gate("errors < 10 %"), Workload("poisson", constant(1.0), policy=policy), None)
    few, many = (problem.evaluate(fixed(workers), 3.5) for workers in (4, 8))
    assert many.standing is ObjectiveStatus.MET
    assert few.observed is not None
    assert few.observed.value > 0.005
    failing = replace(problem.workload, failure_rate=0.2)
    assert best_possible(problem.slo, failing, 1) == pytest.approx(0.2, abs=0.01)


def test_too_many_failures_meet_no_percentile_of_a_time_until_completion() -> None:
    work = Workload("poisson", constant(1.0), failure_rate=0.2)
    problem = Problem(parse_gate("end-to-end p95 < 100s"), work, None, BUDGET, BUDGET)
    assert problem.evaluate(fixed(8), 1.0).standing is ObjectiveStatus.NOT_MET
    assert not problem.meets(fixed(8), 1.0)
    assert best_possible(problem.slo, work, 1) == math.inf


def test_initializing_workers_are_counted_apart_and_within_the_bill() -> None:
    work = Workload("constant", constant(1.0), constant(3.0))
    found = predicted(work, WorkerConfig(0, 1, RequestCount(request_count=1), 2.0), 0.1)
    assert found.initializing_workers is not None
    assert found.billed_workers is not None
    assert found.initializing_workers.value == pytest.approx(0.1 * 3.0, rel=0.02)
    assert found.billed_workers.value == pytest.approx(0.1 * (3.0 + 1.0 + 2.0), rel=0.02)
