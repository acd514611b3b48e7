"""Intervals of plans hold the truth of a system that shares no code; `benchmarks.capacity_intervals` does more."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.capacity_intervals import Answer, answer, cases
from loadtest.capacity.simulation.predict import SimulationBudget
from tests.independent.endpoint import Simulation
from tests.independent.recorded import arrivals

CASES = {case.name: case for case in cases()}
BUDGET = SimulationBudget(5, 1000)


@pytest.mark.parametrize(("name", "calibrations"), [("fixed", 12), ("request count", 3)])
def test_intervals_of_plans_from_few_jobs_hold_the_true_delay(name: str, calibrations: int) -> None:
    case = CASES[name]
    done = Simulation(case.planned, arrivals(case.rate_per_s, 10_000, 1), 1).run().jobs
    true_s = float(np.quantile([job.taken - job.at for job in done[1000:]], 0.95))
    found: list[Answer] = [answer(case, BUDGET, seed) for seed in range(calibrations)]
    inside = [each.observed.low <= true_s <= each.observed.high for each in found]
    assert sum(inside) >= calibrations - 2
    assert sum(each.observed.high < true_s / 1.1 for each in found) <= 1
    assert all(each.observed.high < 4 * each.observed.value for each in found)
