"""Calibrations drawn again vary as real ones of the same size do, and their spread is in every interval of a plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loadtest.capacity.estimates import estimate, estimate_redrawn, estimate_shifted
from loadtest.capacity.planning.objective import ObjectiveStatus
from loadtest.capacity.planning.optimizer import Problem
from loadtest.capacity.simulation.predict import SimulationBudget
from loadtest.capacity.simulation.resampling import pessimistic, resampled
from loadtest.capacity.simulation.workload import Evidence, Workload, constant, fixed, measured, revival
from loadtest.scenario.gates import parse_gate

RNG = np.random.default_rng(1)
WORK = Workload(
    "poisson",
    measured(np.sort(RNG.exponential(1.0, 400))),
    measured(np.sort(RNG.uniform(8.0, 12.0, 30))),
    revival(measured(np.sort(RNG.uniform(0.4, 0.6, 20))), 60.0),
    failure_rate=0.1,
    concurrency=4,
    slowdown=((1, 1.0), (4, 2.0)),
    crash_rate=0.05,
    evidence=Evidence(100.0, (0.0, 0.1), crashes=20.0, tries=400.0),
)
DRAWN = [resampled(WORK, seed) for seed in range(400)]
BUDGET = SimulationBudget(5, 2000)


@pytest.mark.parametrize(
    ("figure", "center", "deviation"),
    [
        (lambda work: work.service.mean_s(), WORK.service.mean_s(), np.std(WORK.service.values) / 99**0.5),
        (lambda work: work.cold_start.mean_s(), 10.0, np.std(WORK.cold_start.values) / 29**0.5),
        (lambda work: work.revival.duration.mean_s(), 0.5, np.std(WORK.revival.duration.values) / 19**0.5),
        (lambda work: work.failure_rate, 0.1, (0.1 * 0.9 / 100) ** 0.5),
        (lambda work: work.crash_rate, 0.05, (0.05 * 0.95 / 400) ** 0.5),
        (lambda work: np.log(work.slowdown[1][1]), np.log(2.0), 0.1),
    ],
)
def test_what_was_measured_varies_as_its_evidence_allows(figure, center: float, deviation: float) -> None:  # type: ignore[no-untyped-def]
    found = np.array([figure(work) for work in DRAWN])
    assert found.std() == pytest.approx(deviation, rel=0.15)
    assert found.mean() == pytest.approx(center, abs=max(deviation, 0.02 * abs(center)))
    worse = figure(pessimistic(WORK))
    assert np.mean(found > worse) < 0.03
    assert worse == pytest.approx(figure(WORK) + 2.4 * deviation, rel=0.05)


def test_settings_and_exact_workloads_do_not_vary() -> None:
    exact = replace(WORK, evidence=None)
    assert resampled(exact, 1) is exact
    assert pessimistic(exact) is exact
    known = replace(WORK, evidence=Evidence(100.0, (0.0, 0.1)), service=constant(1.0), failure_rate=0.0)
    again = resampled(known, 1)
    assert (again.crash_rate, again.service, again.failure_rate) == (0.05, constant(1.0), 0.0)
    assert again.policy is known.policy


def test_the_same_seed_draws_the_same_calibration() -> None:
    assert resampled(WORK, 3) == DRAWN[3] != DRAWN[4]


def test_an_interval_joins_the_errors_of_simulation_and_calibration() -> None:
    values = [1.0, 1.1, 0.9, 1.0]
    simulated = estimate(values)
    assert estimate_redrawn(values, []) == simulated
    same = estimate_redrawn(values, values)
    assert (same.low, same.high) == pytest.approx((simulated.low, simulated.high))
    wide = estimate_redrawn(values, [0.5, 2.2, 1.8, 0.5])
    assert wide.value == simulated.value
    assert 0 <= wide.low < simulated.low < simulated.high < wide.high
    assert wide.high - wide.value > wide.value - wide.low  # times in a queue multiply
    assert estimate_redrawn([0.0] * 4, [0.0] * 4) == estimate([0.0] * 4)
    assert estimate_redrawn(values, [1.0, np.inf, 1.0, 1.0]).high == np.inf
    assert estimate_shifted(values, [each * 2 for each in values]).high == pytest.approx(2.0, rel=0.1)


def test_a_short_calibration_needs_more_workers_than_a_long_one() -> None:
    """The execution times are the same; what differs is what they are worth."""
    service = measured(np.sort(RNG.exponential(1.0, 4000)))
    found = {}
    for executions in (100.0, 4000.0):
        work = Workload("poisson", service, evidence=Evidence(executions))
        problem = Problem(parse_gate("delay p95 < 1s"), work, None, BUDGET, BUDGET)
        found[executions] = next(
            workers
            for workers in range(5, 40)
            if problem.evaluate(fixed(workers), 4.0).standing is ObjectiveStatus.MET
        )
        assert problem.glance(fixed(found[executions] + 2), 4.0).standing is ObjectiveStatus.MET
        assert problem.meets(fixed(found[executions] + 2), 4.0)
    assert found[100.0] > found[4000.0]
