"""Cold starts of an endpoint that shares no code with the model: its run is predicted, or refused with the cause."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from loadtest.analyze.jobs import LoadWindow
from loadtest.capacity.backtest.backtest import HeldOut, UnpredictableRunError, backtest
from loadtest.capacity.backtest.replica import RunModel, simulate_replica
from loadtest.capacity.calibration.calibrate import Calibration, calibrate
from loadtest.capacity.calibration.measurements import MeasuredRun
from loadtest.capacity.calibration.start_times import StartSource
from loadtest.capacity.simulation.predict import percentile
from loadtest.capacity.simulation.workload import Workload, setting_of
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import OpenLoad
from tests.independent.endpoint import Draw, System
from tests.independent.recorded import arrivals, observed
from tests.unit.analyze.rows import START_AT, scenario

BY_COUNT, BY_DELAY = ("request count", 1), ("queue delay", 4.0)


class Case(NamedTuple):
    """An endpoint, the rate of its jobs, and the cold start that the scenario names, by default 10 s."""

    system: System
    rate_per_s: float
    jobs: int
    stated: str = "10s"


def flex(start: Draw = lambda _: 40.0, **changes: Any) -> System:
    return System(lambda rng: rng.expovariate(0.5), **{"most": 3, "start": start, "scaler": BY_COUNT} | changes)


CASES = {
    "request count": Case(flex(), 0.1, 200),
    "queue delay": Case(flex(scaler=BY_DELAY), 0.1, 200),
    "several starts at once": Case(flex(most=5, scaler=("request count", 4)), 1.0, 300),
    "revivals": Case(flex(revival=(60, 0.5)), 0.02, 200),
    "one active": Case(flex(lambda rng: rng.lognormvariate(3.644, 0.3), most=4, active=1, scaler=BY_DELAY), 0.6, 300),
    "wide starts": Case(flex(lambda rng: rng.lognormvariate(3.644, 0.3), scaler=BY_DELAY), 0.05, 200),
    "as the scenario says": Case(flex(most=5, revival=(60, 0.5)), 0.3, 200, stated="40s"),
}
MAY_BE_REFUSED = ("several starts at once", "one active")


def asked_for(case: Case, duration_s: float) -> Scenario:
    system = case.system
    kind, value = system.scaler
    scaler = {"queue_delay": f"{value}s"} if kind == "queue delay" else {"request_count": value}
    revival = system.revival and {"within": f"{system.revival[0]}s", "duration": f"{system.revival[1]}s"}
    endpoint = {
        "workers": {"active": system.active, "max": system.most},
        "scaler": scaler,
        "idle_timeout": f"{system.idle_s}s",
        "revival": revival,
        "cold_start": case.stated,
    }
    stages = [{"rate": f"{case.rate_per_s}/s", "for": f"{duration_s:.0f}s"}]
    return scenario(endpoint=endpoint, load={"stages": stages})


@lru_cache
def calibrated(name: str) -> tuple[HeldOut, Calibration, Workload]:
    case, seed = CASES[name], 1
    at_s = arrivals(case.rate_per_s, case.jobs, seed)
    jobs, asked = observed(case.system, at_s, seed), asked_for(case, at_s[-1])
    window = LoadWindow(START_AT, START_AT + at_s[-1])
    run = HeldOut("run", asked, setting_of(asked.endpoint), jobs, window, True, None)
    return run, *calibrate([MeasuredRun("run", asked, jobs)])


def predicted_p95_ms(run: HeldOut, work: Workload) -> tuple[float, float]:
    """Return the least and the greatest p95 of 39 replicas, between which a run of the same kind is with 95 %."""
    load, asked = run.scenario.load, run.scenario
    assert isinstance(load, OpenLoad)
    at_s = np.sort(run.jobs.intended_at) - START_AT
    model = RunModel(work, run.setting, load, asked.job_timeout, asked.drain.within, None, at_s)
    found = [simulate_replica(model, 1, number).figures["delay_p95_ms"] for number in range(39)]
    return min(found), max(found)


@pytest.mark.parametrize("name", CASES)
def test_a_run_with_cold_starts_is_predicted_or_refused_with_the_cause(name: str) -> None:
    run, calibration, work = calibrated(name)
    found = calibration.cold_start
    if found.mean_ms is None:
        assert name in MAY_BE_REFUSED
        assert "jobs waited for one" in found.why
        with pytest.raises(
            UnpredictableRunError, match=r"no cold start was seen .* or none by which its time is known"
        ):
            backtest(work, run, replicas=39)
        return
    assert found.source is not StartSource.NONE
    assert found.mean_ms.low * 0.9 <= 40_000 <= found.mean_ms.high * 1.1
    low, high = predicted_p95_ms(run, work)
    measured_ms = percentile(run.jobs.delay_ms, 950)
    assert 0.95 * low <= measured_ms <= 1.05 * high


def test_the_rest_of_a_start_that_began_for_another_job_is_no_start_time() -> None:
    run, calibration, _ = calibrated("request count")
    waited_ms = run.jobs.delay_ms[run.jobs.delay_ms > 250]
    assert np.mean(waited_ms) < 30_000
    assert calibration.cold_start.mean_ms is not None
    assert calibration.cold_start.mean_ms.value == pytest.approx(40_000, rel=0.15)


def test_the_scenario_is_not_believed_if_the_run_disagrees() -> None:
    _, believed, work = calibrated("as the scenario says")
    assert believed.cold_start.source is StartSource.SCENARIO
    assert work.cold_start is not None
    assert work.cold_start.mean_s() == 40
    _, disagrees, _ = calibrated("queue delay")
    assert disagrees.cold_start.source is StartSource.FITTED
