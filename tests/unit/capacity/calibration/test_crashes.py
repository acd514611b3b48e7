"""Deaths of workers and deadlines, as a run shows them or its scenario says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from loadtest.analyze.jobs import JobColumns, jobs_of
from loadtest.capacity.calibration.calibrate import calibrate
from loadtest.capacity.calibration.measurements import MeasuredRun
from loadtest.scenario.model import Scenario
from tests.independent.endpoint import Simulation, System
from tests.independent.recorded import arrivals, observed
from tests.unit.analyze.rows import START_AT, job, samples, scenario

ELSEWHERE = {
    "target": "https://api.example.com/v2/e",
    "price": 0.0003,
    "ceilings": {"jobs": 10_000, "cost": 100},
}
STEADY = System(lambda rng: rng.uniform(0.5, 1.5), active=4, most=4, start=lambda _: 2.0, crashes=0.08)


def elsewhere(**changes: object) -> Scenario:
    return scenario(**ELSEWHERE, **changes)


def plain_jobs(count: int = 200, **changes: object) -> JobColumns:
    rows = [job(at, at, sent_at=START_AT + at, **changes) for at in range(count)]
    return jobs_of(samples(*rows))


@pytest.mark.parametrize("concurrency", [1, 3])
def test_jobs_given_back_to_the_queue_show_how_often_workers_die(concurrency: int) -> None:
    """The independent endpoint counts them: each death gives back all jobs of its worker."""
    found = []
    for seed in range(10):
        system = replace(STEADY, concurrency=concurrency)
        table, retried = observed_with_retries(system, 2.0 * concurrency, seed)
        calibration, work = calibrate([MeasuredRun("made", elsewhere(), table, retried)])
        assert work.crash_rate == calibration.crashes.rate
        assert work.evidence is not None
        assert work.evidence.crashes == calibration.crashes.seen > 0
        found.append(work.crash_rate)
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - STEADY.crashes) < 3 * error + 0.005 * concurrency


def observed_with_retries(system: System, rate_per_s: float, seed: int) -> tuple[JobColumns, int]:
    """Return the jobs of a run, and how often one was given back to the queue."""
    at_s = arrivals(rate_per_s, 1000, seed)
    given_back = sum(min(each.tries, 2) for each in Simulation(system, at_s, seed).run().jobs)
    return observed(system, at_s, seed), given_back


def test_an_embedded_endpoint_knows_its_crash_rate_and_tries() -> None:
    known = scenario(endpoint={"crash_rate": "10 %", "tries": 2, "cold_start": "7s"})
    _, work = calibrate([MeasuredRun("made", known, plain_jobs(), retried=99)])
    assert (work.crash_rate, work.tries, work.replacement.mean_s()) == (0.1, 2, 7.0)
    assert work.evidence is not None
    assert work.evidence.crashes == 0


def test_without_health_more_workers_than_always_run_replaced_others() -> None:
    rows = [job(at, at, sent_at=START_AT + at, worker_id=f"w{at // 40}") for at in range(200)]
    handler = scenario(target={"handler": "handler.py"}, endpoint={"workers": {"active": 2, "max": 2}})
    run = MeasuredRun("made", handler, jobs_of(samples(*rows)))
    assert calibrate([run])[1].crash_rate == pytest.approx(3 / 203)
    assert calibrate([replace(run, scenario=elsewhere())])[1].crash_rate == 0.0


@pytest.mark.parametrize(
    ("known", "execution_timeout_s", "ttl_s"),
    [
        (elsewhere(), 600.0, 86400.0),
        (elsewhere(flows={"run": {"policy": {"execution_timeout": "1h", "ttl": "2h"}}}), 3600.0, 7200.0),
        (scenario(endpoint={"policy": {"execution_timeout": "20s", "ttl": "1min"}}), 20.0, 60.0),
        (
            scenario(
                endpoint={"policy": {"execution_timeout": "20s"}},
                flows={"run": {"policy": {"execution_timeout": "30s"}}, "runsync": {}},
            ),
            30.0,
            86400.0,
        ),
    ],
)
def test_deadlines_are_those_of_the_scenario(known: Scenario, execution_timeout_s: float, ttl_s: float) -> None:
    calibration, work = calibrate([MeasuredRun("made", known, plain_jobs())])
    assert (work.policy.execution_timeout, work.policy.ttl) == (execution_timeout_s, ttl_s)
    assert (calibration.execution_timeout_s, calibration.ttl_s) == (execution_timeout_s, ttl_s)


def test_executions_beyond_the_default_timeout_show_that_an_endpoint_elsewhere_has_a_longer_one() -> None:
    jobs = plain_jobs(execution_ms=900_000, finished_at=START_AT + 10_000)
    calibration, work = calibrate([MeasuredRun("made", elsewhere(), jobs)])
    assert calibration.execution_timeout_s is None
    assert work.service.mean_s() == 900.0


@pytest.mark.parametrize("outcome", ["timed_out", "failed"])
def test_jobs_that_timed_out_time_out_in_a_simulation_and_do_not_count_as_failed(outcome: str) -> None:
    late = [
        job(at, at, sent_at=START_AT + at, **({"outcome": outcome, "execution_ms": 5000} if at % 4 == 0 else {}))
        for at in range(200)
    ]
    known = scenario(endpoint={"policy": {"execution_timeout": "5s"}})
    _, work = calibrate([MeasuredRun("made", known, jobs_of(samples(*late)))])
    assert work.failure_rate == 0.0
    assert np.mean(np.array(work.service.values) > 5.0) == 0.25


def test_each_flow_has_its_own_execution_timeout_or_that_of_the_endpoint() -> None:
    known = scenario(
        endpoint={"policy": {"execution_timeout": "20s"}},
        flows={"run": {"policy": {"execution_timeout": "5s"}}, "runsync": {}},
    )
    rows = [
        job(
            at, at, sent_at=START_AT + at, outcome="failed", execution_ms=6000 if flow == "run" else 20_000, flow=flow
        )
        for at, flow in enumerate(["run", "runsync"] * 100)
    ]
    by_itself = [
        job(at, at, sent_at=START_AT + at, outcome="failed", execution_ms=6000, flow="runsync")
        for at in range(200, 300)
    ]
    _, work = calibrate([MeasuredRun("made", known, jobs_of(samples(*rows, *by_itself)))])
    values_s = np.array(work.service.values)
    assert work.failure_rate == 1.0
    assert sorted(set(values_s[values_s < 20].round(3))) == [6.0, 6.006]
    assert np.count_nonzero(values_s > 20) == 100
