"""The main cause of an error, for runs with one known difference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from loadtest.capacity.backtest.attribution import Cause
from loadtest.capacity.backtest.backtest import HeldOut, backtest
from loadtest.capacity.simulation.workload import WorkerConfig, Workload, constant, fixed, measured
from loadtest.endpoint.distributions import Empirical
from loadtest.scenario.model import Scenario
from tests.unit.analyze.rows import scenario
from tests.unit.capacity.made import held_out

SERVICE = ["700ms", "1s", "1300ms"]
WORK = Workload("poisson", measured(np.array([0.7, 1.0, 1.3] * 40)))


def scenario_with(rate: str, length: str = "150s", **endpoint: Any) -> Scenario:
    settings = {"workers": {"active": 3, "max": 3}, "service": SERVICE} | endpoint
    return scenario(endpoint=settings, load={"stages": [{"rate": rate, "for": length}]})


def cause(work: Workload, run: HeldOut, replicas: int = 39) -> Cause:
    found = backtest(work, run, replicas=replicas).cause
    assert found is not None
    return found


def test_unusual_arrivals_are_the_cause() -> None:
    run = held_out(scenario_with("2.4/s", "60s"), 3)
    found = cause(WORK, run)
    assert found.what is not None
    assert found.what.startswith(f"when its jobs arrived, {len(run.jobs)} of them where ")
    assert abs(found.remaining_error) < 0.2 * abs(found.error)


def test_longer_executions_are_the_cause() -> None:
    found = cause(
        replace(WORK, service=measured(np.array([0.35, 0.5, 0.65] * 40))), held_out(scenario_with("2/s"), 2)
    )
    assert found.what is not None
    assert found.what.startswith("its executions, ")
    assert "on average, not 500 ms as calibrated" in found.what
    assert abs(found.remaining_error) < 0.5 * abs(found.error)


def test_a_different_take_pattern_is_the_cause() -> None:
    paced = scenario_with("2/s", service=["40ms", "60ms"], take_pause="1s")
    handler = scenario(target={"handler": "handler.py"}, load=paced.resolved()["load"])
    work = replace(WORK, service=measured(np.array([0.04, 0.06] * 60)))
    found = cause(work, held_out(paced, 2, scenario=handler))
    assert found.what is not None
    assert "a pause of 1.00 s and not of 0.00 s" in found.what
    assert abs(found.remaining_error) < 0.5 * abs(found.error)


def test_longer_cold_starts_are_the_cause() -> None:
    flex = scenario_with("0.1/s", "3000s", workers={"active": 0, "max": 3}, cold_start="9s", revival=None)
    work = replace(WORK, cold_start=Empirical.model_construct(values=(3.0,) * 10))
    found = cause(work, held_out(flex, 2))
    assert found.what == "its cold starts, 9 s on average, not 3 s as calibrated"


def test_the_cause_is_unknown_if_nothing_of_the_run_explains_the_error() -> None:
    run = held_out(scenario_with("2/s"), 2, setting=fixed(8))
    found = cause(WORK, run)
    assert found.what is None
    assert found.own == ("arrivals", "executions", "dispatch")


def test_a_small_error_needs_no_cause() -> None:
    steady = scenario(
        endpoint={"workers": {"active": 1, "max": 1}, "service": "500ms"},
        load={"arrivals": "constant", "stages": [{"rate": "1/s", "for": "100s"}]},
    )
    found = backtest(Workload("constant", constant(0.5)), held_out(steady, 1), replicas=39)
    assert found.cause is None
    assert found.setting == WorkerConfig(1, 1)
