"""Searches, compared with trying every number."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from loadtest.capacity.estimates import estimate, min_upper_bound
from loadtest.capacity.planning.objective import ObjectiveStatus, billed_workers, cheapest_first, validate_objective
from loadtest.capacity.planning.optimizer import (
    Alternatives,
    Problem,
    flex_workers,
    flexible_option,
    flexible_options,
    highest_rate,
    min_active_workers,
    smallest_true,
)
from loadtest.capacity.queueing_formulas import QueueModel
from loadtest.capacity.simulation.predict import SimulationBudget
from loadtest.capacity.simulation.workload import (
    WorkerConfig,
    Workload,
    constant,
    fixed,
    measured,
    revival,
)
from loadtest.endpoint.settings import QueueDelay, RequestCount
from loadtest.scenario.gates import parse_gate

EXPONENTIAL = measured(-np.log1p(-(np.arange(2000) + 0.5) / 2000))
WORK = Workload("poisson", EXPONENTIAL, constant(3.0), revival(constant(0.5), 60.0))


def problem_for(slo: str, work: Workload = WORK) -> Problem:
    return Problem(parse_gate(slo), work, 0.001, SimulationBudget(4, 1000), SimulationBudget(4, 1500))


@pytest.mark.parametrize("truth", [1, 2, 3, 7, 8, 9, 33, 64])
def test_smallest_true_finds_the_least_in_few_steps(truth: int) -> None:
    problem: list[int] = []

    def holds(n: int) -> bool:
        problem.append(n)
        return n >= truth

    assert smallest_true(holds, 1, 64) == truth
    assert len(problem) == len(set(problem)) <= 13
    assert smallest_true(lambda n: False, 1, 64) is None
    assert smallest_true(lambda n: True, 5, 4) is None


@pytest.mark.parametrize(("slo", "rate_per_s"), [("delay p95 < 500ms", 3.0), ("delay p95 < 3s", 5.0)])
def test_the_fewest_workers_are_those_found_by_trying_each_number(slo: str, rate_per_s: float) -> None:
    problem = problem_for(slo)
    tried = next(workers for workers in range(1, 64) if problem.meets(fixed(workers), rate_per_s))
    assert min_active_workers(problem, rate_per_s) == tried > rate_per_s


@pytest.mark.parametrize("seen", [[3.0], [0.5, 0.7], [1.0, 1.0], [2.0, 0.1, 0.4], [0.1, 0.2, 0.3, 0.4, 0.6]])
def test_the_lowest_upper_bound_is_that_found_by_trying_all_rests(seen: list[float]) -> None:
    rest = 5 - len(seen)
    tried = min(estimate([*seen, *([each] * rest)]).high for each in np.linspace(0, 3, 3001))
    assert min_upper_bound(seen, 5) == pytest.approx(tried, abs=1e-3)
    drawn = np.random.default_rng(1).uniform(0, 3, (200, rest))
    assert all(estimate([*seen, *each]).high >= min_upper_bound(seen, 5) - 1e-9 for each in drawn)


def test_flex_workers_replace_active_ones_if_a_start_is_quick() -> None:
    problem = problem_for("delay p95 < 5s")
    found = next(flex_workers(problem, 3.0, RequestCount(request_count=1), 5.0, 16))
    assert found.active < 4 <= found.max_workers
    assert problem.meets(found, 3.0)


def test_active_workers_are_needed_if_flex_ones_start_too_slowly() -> None:
    slow = Workload("poisson", EXPONENTIAL, constant(60.0))
    problem = problem_for("delay p99 < 1s", slow)
    found = next(flex_workers(problem, 0.02, QueueDelay(), 1.0, 8))
    assert found.active >= 1


def test_a_worker_that_always_runs_is_offered_where_flex_workers_cost_more() -> None:
    """At 0.3 Erlangs flex workers that idle for a minute after each job bill more than the one that is enough."""
    option = flexible_option(problem_for("delay p95 < 5s"), 0.3, 8, (RequestCount(request_count=1), 60.0))
    assert option is not None
    assert option.prediction.setting.fixed
    assert billed_workers(option) == 1.0


def test_options_are_ordered_by_billed_workers() -> None:
    alternatives = Alternatives((QueueDelay(queue_delay="1s"),), (1.0, 60.0), 8)
    options = flexible_options(problem_for("delay p95 < 5s"), 2.0, alternatives)
    found = cheapest_first([option for option in options if option is not None])
    billed = [each.prediction.billed_workers.value for each in found if each.prediction.billed_workers]
    assert len(billed) == 2
    assert billed == sorted(billed)
    assert all(each.standing is ObjectiveStatus.MET for each in found)


def test_the_highest_rate_is_met_and_1_percent_more_is_not() -> None:
    problem = problem_for("delay p95 < 1s")
    rate_per_s = highest_rate(problem, fixed(4))
    assert rate_per_s is not None
    confirmed = msgspec.structs.replace(problem, look=problem.confirm)
    assert confirmed.meets(fixed(4), rate_per_s)
    assert not confirmed.meets(fixed(4), rate_per_s * 1.01)
    assert highest_rate(problem_for("delay p95 < 1ms", always_cold(WORK)), WorkerConfig(0, 4)) is None


def always_cold(work: Workload) -> Workload:
    """Return the same work without revivals, so that each start is cold."""
    return Workload(work.arrivals, work.service, work.cold_start)


@pytest.mark.parametrize(
    ("slo", "message"),
    [
        ("execution p95 < 2s", "does not depend on the number of workers"),
        ("delay max < 2s", "write p99.9 for max"),
        ("delay p95 < 2s of runsync", "leave out what follows the limit"),
    ],
)
def test_an_objective_that_cannot_be_simulated_is_refused(slo: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate_objective(parse_gate(slo))


def test_close_to_the_cliff_the_delay_is_that_of_the_settled_queue() -> None:
    problem = Problem(parse_gate("delay p95 < 1h"), WORK, None, SimulationBudget(2, 100), SimulationBudget(10, 100))
    found = problem.evaluate(fixed(4), 3.7).prediction.delay_ms
    assert found is not None
    assert found.p95.low <= QueueModel(4, 3.7, 1.0).wait_percentile_s(0.95) * 1000 <= found.p95.high


def test_more_load_than_all_workers_can_do_has_no_option() -> None:
    alternatives = Alternatives((QueueDelay(queue_delay="1s"),), (1.0, 60.0), 3)
    assert list(flexible_options(problem_for("delay p95 < 5s"), 4.0, alternatives)) == [None, None]


def test_a_queue_that_settles_too_slowly_has_no_verdict() -> None:
    problem = Problem(parse_gate("delay p95 < 1h"), WORK, None, SimulationBudget(2, 100), SimulationBudget(2, 100))
    almost_full = problem.evaluate(fixed(1), 0.995)
    assert almost_full.standing is ObjectiveStatus.CANNOT_TELL
    assert not problem.meets(fixed(1), 0.995)
    assert problem.evaluate(fixed(1), 0.5).standing is ObjectiveStatus.MET
