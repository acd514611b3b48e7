"""How workers pace their takes: estimated from runs whose truth is known, and simulated."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.analyze.jobs import JobColumns, jobs_of
from loadtest.capacity.calibration.calibrate import calibrate
from loadtest.capacity.calibration.measurements import MeasuredRun
from loadtest.capacity.calibration.take_pattern import NONE_SEEN, Source, estimate_pattern
from loadtest.capacity.planning.objective import ObjectiveStatus
from loadtest.capacity.planning.optimizer import Problem
from loadtest.capacity.planning.plan import plan
from loadtest.capacity.queueing_formulas import QueueModel, analytic_estimate
from loadtest.capacity.simulation.predict import SimulationBudget, predict, replications, settles
from loadtest.capacity.simulation.simulate import can_reach_steady_state, replication
from loadtest.capacity.simulation.workload import (
    UnsimulableError,
    WorkerConfig,
    Workload,
    constant,
    endpoint_settings,
    fixed,
    measured,
)
from loadtest.endpoint.distributions import LogNormal
from loadtest.endpoint.settings import QueueDelay, TakePause
from loadtest.scenario.gates import parse_gate
from loadtest.scenario.model import Scenario
from tests.unit.analyze.rows import scenario
from tests.unit.capacity.made import table_of

HANDLER = scenario(target={"handler": "handler.py"})
ELSEWHERE = scenario(target="https://api.runpod.ai/v2/x", ceilings={"jobs": 1000})
SECOND = TakePause.model_construct(duration=1.0, blocking_handler=False)
SHORT = Workload("poisson", constant(0.05), take_pause=SECOND)


def scenario_with(service: object, take_pause: object, workers: int = 2) -> Scenario:
    return scenario(
        endpoint={"workers": {"active": workers, "max": workers}, "service": service, "take_pause": take_pause}
    )


def made(service: object, take_pause: object, rate_per_s: float, jobs: int = 150) -> JobColumns:
    at_s = np.cumsum(np.random.default_rng(4).exponential(1 / rate_per_s, jobs)).tolist()
    return jobs_of(table_of(scenario_with(service, take_pause), at_s))


SHORT_TIMES = ["40ms", "60ms", "110ms"]
LONG_TIMES = ["700ms", "1300ms", "1800ms", "2400ms"]


@pytest.mark.parametrize(
    ("service", "take_pause", "rate_per_s", "blocked"),
    [
        (SHORT_TIMES, "1s", 1.2, False),
        (SHORT_TIMES, "400ms", 3.0, False),
        (LONG_TIMES, "1s", 0.8, False),
        (LONG_TIMES, {"duration": "1s", "blocking_handler": True}, 0.6, True),
    ],
)
def test_a_pause_shows_in_the_starts_of_jobs_that_waited(
    service: object, take_pause: object, rate_per_s: float, blocked: bool
) -> None:
    found = estimate_pattern([(ELSEWHERE, made(service, take_pause, rate_per_s))])
    lasts = scenario_with(service, take_pause).endpoint.take_pause.duration
    assert found.evidence is Source.SEEN
    assert (found.pause_s, found.blocked) == (pytest.approx(lasts, abs=0.002), blocked)
    assert found.waited_for >= 20


@pytest.mark.parametrize("service", [SHORT_TIMES, LONG_TIMES, "1s"])
def test_workers_that_take_the_next_job_at_once_have_no_pause(service: object) -> None:
    busy = 2 * 0.8 / scenario_with(service, "0s").endpoint.service_time.mean_s()
    found = estimate_pattern([(HANDLER, made(service, "0s", busy))])
    assert (found.pause_s, found.evidence) == (0.0, Source.SEEN)


def test_the_sdk_s_pause_is_assumed_if_too_few_jobs_waited_unless_starts_contradict_it() -> None:
    quiet = made(SHORT_TIMES, "0s", 0.02)
    assert estimate_pattern([(ELSEWHERE, quiet)]) == NONE_SEEN
    found = estimate_pattern([(HANDLER, quiet)])
    assert (found.pause_s, found.blocked, found.evidence) == (1.0, True, Source.ASSUMED)
    several = scenario(target={"handler": "handler.py", "concurrency": 4})
    assert estimate_pattern([(several, quiet)]) == NONE_SEEN
    assert estimate_pattern([(HANDLER, made(SHORT_TIMES, "0s", 0.5))]) == NONE_SEEN


def test_a_job_that_met_the_pause_does_not_count_as_dispatch() -> None:
    jobs = made(SHORT_TIMES, "1s", 1.2)
    found, work = calibrate([MeasuredRun("made", HANDLER, jobs)])
    assert (found.dispatch_ms.p50, work.take_pause.duration) == (0, pytest.approx(1.0, abs=0.002))
    assert found.dispatch_ms.mean == pytest.approx(0, abs=5)
    assert found.pattern.occupied_mean_ms == pytest.approx(1000, abs=2)
    assert found.execution_mean_ms.value == pytest.approx(70, abs=10)


def test_the_pause_of_simulated_workers_is_read_from_settings() -> None:
    paced = scenario_with(SHORT_TIMES, "1s")
    found, _ = calibrate([MeasuredRun("made", paced, made(SHORT_TIMES, "1s", 1.2))])
    assert (found.pattern.pause_s, found.pattern.evidence) == (1.0, Source.SETTINGS)
    plain = scenario_with(SHORT_TIMES, "0s")
    both, work = calibrate(
        [MeasuredRun("a", paced, made(SHORT_TIMES, "1s", 1.2)), MeasuredRun("b", plain, made(SHORT_TIMES, "0s", 1.2))]
    )
    assert work.take_pause.duration == 0
    assert "pace their takes differently" in " ".join(both.notes)


def test_short_jobs_wait_as_if_each_took_the_whole_pause() -> None:
    whole = Workload("poisson", constant(1.0))
    short, long = (replication(each, fixed(3), 2.2, 2000, 1) for each in (SHORT, whole))
    assert np.allclose(short.wait_s, long.wait_s, atol=1e-6)
    assert short.busy_s == pytest.approx(long.busy_s)
    assert short.end_to_end_s.mean() == pytest.approx(long.end_to_end_s.mean() - 0.95)
    assert short.billed_s == long.billed_s


def test_occupancy_includes_the_rest_of_the_pause() -> None:
    assert SHORT.occupancy.mean_s() == 1.0
    assert Workload("poisson", measured(np.array([0.5, 1.5])), take_pause=SECOND).occupancy.mean_s() == 1.5
    distribution = LogNormal.model_construct(median=0.5, sigma=0.5)
    rng = np.random.default_rng(1)
    drawn = np.ceil(0.5 * np.exp(0.5 * rng.standard_normal(200_000)))
    assert Workload("poisson", distribution, take_pause=SECOND).occupancy.mean_s() == pytest.approx(
        drawn.mean(), abs=0.01
    )
    assert SHORT.occupancy is not SHORT.service
    assert Workload("poisson", constant(0.05)).occupancy == constant(0.05)
    problem = Problem(parse_gate("delay p95 < 1s"), SHORT)
    assert problem.limit_per_s(fixed(4)) == 4.0
    assert problem.min_stable_workers(2.5) == 3
    assert not settles(SHORT, fixed(2), 2.0)
    assert not can_reach_steady_state(SHORT, fixed(2), 1.99)
    found = predict(SHORT, fixed(2), 1.0, replications(SHORT, fixed(2), 1.0, SimulationBudget(4, 1000)))
    assert found.utilisation is not None
    assert found.utilisation.value == pytest.approx(0.5, abs=0.03)


def test_the_vendor_s_rule_uses_executions_and_the_formulas_occupied_time() -> None:
    found = analytic_estimate(QueueModel(4, 2.0, 1.0, 1.0, 0.0), 2.0, 0.05)
    assert (found.vendor_workers, found.vendor_load, found.offered_load) == (1, pytest.approx(0.1), 2.0)


def test_a_plan_includes_workers_for_the_pauses() -> None:
    calibration, work = calibrate([MeasuredRun("made", HANDLER, made(SHORT_TIMES, "1s", 1.2))])
    problem = Problem(
        parse_gate("delay p95 < 1s"), work, look=SimulationBudget(3, 1000), confirm=SimulationBudget(4, 1500)
    )
    found = plan(problem, calibration, 2.0)
    assert found.answer.prediction.setting == fixed(4)
    assert found.curves.vendor.standing is ObjectiveStatus.NOT_MET
    assert found.curves.limit_per_s == pytest.approx(4, rel=0.01)


def test_flex_workers_that_would_stop_in_their_pause_are_refused() -> None:
    work = Workload("poisson", constant(0.05), cold_start=constant(3.0), take_pause=SECOND)
    with pytest.raises(UnsimulableError, match=r"idle timeout of 500ms stops workers in their pause of 1\.00 s"):
        endpoint_settings(work, WorkerConfig(0, 2, QueueDelay(), 0.5))
    assert endpoint_settings(work, WorkerConfig(0, 2)).take_pause == SECOND
