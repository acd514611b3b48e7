"""The plan: its answer is the fewest workers that the confirmation budget agrees to."""

from __future__ import annotations

import pytest

from loadtest.capacity.calibration.calibrate import calibrate
from loadtest.capacity.planning.objective import ObjectiveStatus
from loadtest.capacity.planning.optimizer import Problem
from loadtest.capacity.planning.plan import plan
from loadtest.capacity.simulation.predict import SimulationBudget
from loadtest.capacity.simulation.workload import Workload, constant, fixed
from loadtest.scenario.gates import parse_gate
from tests.unit.capacity.made import bursts, flexible, measured_run

CALIBRATION, WORK = calibrate([measured_run(flexible(), bursts(60))])
CONFIRM = SimulationBudget(4, 1500)


@pytest.mark.parametrize("look", [SimulationBudget(2, 30), SimulationBudget(2, 200), CONFIRM])
@pytest.mark.parametrize("rate_per_s", [0.05, 2.0])
def test_the_answer_does_not_depend_on_the_search_budget(look: SimulationBudget, rate_per_s: float) -> None:
    problem = Problem(parse_gate("delay p95 < 2s"), WORK, None, look, CONFIRM)
    found = plan(problem, CALIBRATION, rate_per_s)
    workers = found.answer.prediction.setting.active
    tried = next(n for n in range(1, 20) if problem.evaluate(fixed(n), rate_per_s).standing is ObjectiveStatus.MET)
    assert workers == tried
    assert (found.one_fewer is None) == (workers == 1)
    if found.one_fewer is not None:
        assert found.one_fewer.prediction.setting == fixed(workers - 1)
        assert found.one_fewer.standing is not ObjectiveStatus.MET


def test_the_highest_rate_agrees_with_the_cliff() -> None:
    problem = Problem(parse_gate("delay p95 < 2s"), WORK, None, SimulationBudget(2, 100), CONFIRM)
    found = plan(problem, CALIBRATION, 2.0)
    assert found.highest_rate_per_s is not None
    assert (found.highest_rate_per_s >= 2.2 * 0.99) == (found.cliff.more.standing is ObjectiveStatus.MET)
    assert found.highest_rate_per_s >= 2.0


def test_an_objective_below_the_delay_at_idle_workers_is_unreachable() -> None:
    work = Workload("poisson", constant(1.0), dispatch=constant(0.1))
    with pytest.raises(ValueError, match="where no job waits at all it is 100ms"):
        plan(Problem(parse_gate("delay p95 < 50ms"), work), CALIBRATION, 1.0)
