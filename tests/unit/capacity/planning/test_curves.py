"""The curves around an answer go through it, rise towards the cliff, and leave out points without a figure."""

from __future__ import annotations

import pytest

from loadtest.capacity.planning.curves import curves
from loadtest.capacity.planning.objective import ObjectiveStatus
from loadtest.capacity.planning.optimizer import Problem
from loadtest.capacity.simulation.predict import SimulationBudget
from loadtest.capacity.simulation.workload import WorkerConfig, Workload, constant, fixed
from loadtest.endpoint.settings import RequestCount
from loadtest.scenario.gates import parse_gate

WORK = Workload("poisson", constant(1.0), cold_start=constant(5.0))
PROBLEM = Problem(parse_gate("delay p95 < 2s"), WORK, 0.001, SimulationBudget(3, 400), SimulationBudget(3, 800))


@pytest.mark.parametrize("setting", [fixed(5), WorkerConfig(1, 5, RequestCount(request_count=1), 5.0)])
def test_both_curves_go_through_the_answer_to_the_cliff(setting: WorkerConfig) -> None:
    answer = PROBLEM.evaluate(setting, 3.0)
    found = curves(PROBLEM, 3.0, 3, [answer])
    assert answer in found.by_workers
    assert answer in found.by_rate
    most = [each.prediction.setting.max_workers for each in found.by_workers]
    assert (most, most[-1]) == (sorted(most), 10)
    rates = [each.prediction.rate_per_s for each in found.by_rate]
    assert rates == sorted(rates)
    assert 0.9 * found.limit_per_s < rates[-1] < found.limit_per_s == 5.0
    assert all(each.prediction.setting == setting for each in found.by_rate)
    observed = [each.observed.value for each in found.by_workers if each.observed is not None]
    assert observed[0] > observed[-1]
    assert found.vendor.prediction.setting == fixed(3)
    assert not found.vendor.prediction.settles


def test_a_queue_that_settles_too_slowly_has_no_figure_but_counts_as_settling() -> None:
    answer = PROBLEM.evaluate(fixed(5), 2.97)
    found = curves(PROBLEM, 2.97, 3, [answer])
    assert found.vendor.prediction.settles
    assert (found.vendor.observed, found.vendor.standing) == (None, ObjectiveStatus.CANNOT_TELL)
    assert 3 not in [each.prediction.setting.max_workers for each in found.by_workers]
