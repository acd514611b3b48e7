"""The simulation: exact times of small examples; queueing theory and another simulator for large ones."""

from __future__ import annotations

import time

import ciw
import numpy as np
import pytest

from loadtest.capacity.estimates import estimate
from loadtest.capacity.queueing_formulas import erlang_c
from loadtest.capacity.simulation.arrivals import arrivals_at, gap_variation
from loadtest.capacity.simulation.predict import Prediction, SimulationBudget, predict, replications
from loadtest.capacity.simulation.simulate import (
    COLD,
    REVIVED,
    WARM,
    replication,
    simulate_jobs,
    starts,
    uptime_and_billed_s,
    workers_up_at,
)
from loadtest.capacity.simulation.workload import (
    WorkerConfig,
    Workload,
    constant,
    endpoint_settings,
    fixed,
    measured,
    revival,
)
from loadtest.endpoint.distributions import LogNormal
from loadtest.endpoint.settings import RequestCount
from loadtest.traffic.settings import Gamma, Trace

EXPONENTIAL = measured(-np.log1p(-(np.arange(20_000) + 0.5) / 20_000))
"""Exponential with mean one: values at the middles of equally likely intervals."""
ON_DEMAND = WorkerConfig(0, 2, RequestCount(request_count=1), idle_timeout_s=5.0)
STORY = Workload("poisson", constant(2.0), constant(10.0), revival(constant(0.5), 60.0))


def test_a_worker_is_billed_from_its_start_to_its_stop_rounded_up() -> None:
    jobs, workers = simulate_jobs(endpoint_settings(STORY, ON_DEMAND), np.array([0.0, 77.0, 200.0]), 1)
    assert [job.taken_at for job in jobs] == [10.0, 77.5, 210.0]
    assert starts(jobs, workers).tolist() == [COLD, REVIVED, COLD]
    # 0 → 17 and 77 → 84.5, then 200 on without a stop.
    assert uptime_and_billed_s(workers, 0.0, 205.0) == (17 + 7.5 + 5, 17 + 8 + 5)


def test_workers_are_up_from_their_start_to_their_stop() -> None:
    _, workers = simulate_jobs(endpoint_settings(STORY, ON_DEMAND), np.array([0.0, 77.0, 78.0]), 1, until_s=100.0)
    # The first is up 0 → 17 and 77 → 86.5 or so, the second, begun cold at 78, until it has idled.
    assert workers_up_at(workers, np.array([0.0, 16.9, 17.1, 77.0, 78.5, 99.0])).tolist() == [1, 1, 0, 1, 2, 0]


def test_time_outside_the_window_is_not_billed_in_it() -> None:
    _, workers = simulate_jobs(endpoint_settings(STORY, ON_DEMAND), np.array([0.0, 77.0, 200.0]), 1)
    assert uptime_and_billed_s(workers, 10.0, 80.0) == (7 + 3, 7 + 3)
    assert uptime_and_billed_s(workers, 20.0, 70.0) == (0, 0)


def test_only_the_job_that_waited_for_the_start_is_cold() -> None:
    jobs, workers = simulate_jobs(endpoint_settings(STORY, ON_DEMAND), np.array([0.0, 3.0, 4.0, 14.5]), 1)
    assert [job.taken_at for job in jobs] == [10.0, 12.0, 13.0, 14.5]
    assert starts(jobs, workers).tolist() == [COLD, WARM, COLD, WARM]


def test_workers_that_always_run_are_never_cold_and_always_billed() -> None:
    run = replication(STORY, fixed(3), 1.0, 1000, 1)
    assert set(run.start.tolist()) == {WARM}
    assert run.billed_s == run.up_s == pytest.approx(3 * run.window_s)


def test_flex_workers_without_a_known_cold_start_are_refused() -> None:
    with pytest.raises(ValueError, match="time of a cold start is unknown"):
        predicted(Workload("poisson", constant(1.0)), ON_DEMAND, 0.5, SimulationBudget(2, 100))


def test_dispatch_and_overhead_are_added() -> None:
    work = Workload("constant", constant(1.0), dispatch=constant(0.1), overhead=constant(0.3))
    found = predicted(work, fixed(2), 1.0, SimulationBudget(2, 500))
    assert found.delay_ms is not None
    assert found.end_to_end_ms is not None
    assert found.delay_ms.p99.value == pytest.approx(100)
    assert found.end_to_end_ms.p50.value == pytest.approx(1400)
    assert found.waits is not None
    assert found.waits.value == 0


def test_the_same_seed_gives_the_same_replication_and_another_seed_another() -> None:
    one, same, other = (predicted(STORY, fixed(3), 1.2, SimulationBudget(3, 500, seed)) for seed in (1, 1, 9))
    assert one == same != other


def test_a_queue_that_never_settles_has_no_figures() -> None:
    found = predicted(STORY, fixed(3), 1.5, SimulationBudget())
    assert (found.offered_load, found.settles, found.delay_ms, found.cost_per_hour) == (3.0, False, None, None)


def test_busy_settings_bill_the_offered_load() -> None:
    found = predicted(STORY, fixed(4), 1.5, SimulationBudget(3, 2000), price=0.001)
    assert found.cost_per_hour is not None
    assert found.cost_per_1000_jobs is not None
    assert found.cost_per_hour.value == pytest.approx(4 * 3.6)
    assert found.cost_per_1000_jobs.value == pytest.approx(4 * 0.001 * 1000 / 1.5, rel=0.05)
    assert found.utilisation is not None
    assert found.utilisation.value == pytest.approx(0.75, rel=0.05)


def test_more_rate_is_the_same_arrivals_closer_together() -> None:
    slow, fast = (arrivals_at(Gamma(gamma_cv=2), rate, 500, 3) for rate in (1.0, 4.0))
    assert fast == pytest.approx(slow / 4)
    assert gap_variation(Gamma(gamma_cv=2)) == 2


def test_a_trace_is_repeated_at_the_rate_with_its_own_gaps() -> None:
    trace = Trace(times=(5.0, 5.1, 5.2, 9.2))
    at_s = arrivals_at(trace, 2.0, 4000, 1)
    assert len(at_s) == 4000
    assert 4000 / at_s[-1] == pytest.approx(2.0, rel=0.01)
    assert np.diff(at_s).max() / np.diff(at_s).min() == pytest.approx(40)


def predicted(
    work: Workload, setting: WorkerConfig, rate_per_s: float, budget: SimulationBudget, price: float | None = None
) -> Prediction:
    return predict(work, setting, rate_per_s, replications(work, setting, rate_per_s, budget), price)


GRID = [(workers, share) for workers in (1, 2, 5, 12, 30) for share in (0.6, 0.7, 0.8, 0.9)]


def test_the_share_that_waits_is_erlang_c_within_the_simulator_s_own_intervals() -> None:
    """20 settings at once: intervals at 1 − 5 % / 20, so that all hold together in 95 of 100 such tests."""
    for workers, share in GRID:
        waited = []
        for seed in range(8):
            run = replication(Workload("poisson", EXPONENTIAL), fixed(workers), workers * share, 3000, seed)
            waited.append(float(np.mean(run.wait_s > 0)))
        reported = estimate(waited, level=1 - 0.05 / len(GRID))
        assert reported.low <= erlang_c(workers, workers * share) <= reported.high, (workers, share, reported)


def test_a_core_simulates_50_000_jobs_a_second() -> None:
    """Of CPU time, the best of three: alone on a core it is over 150,000."""

    def spent_s(seed: int) -> float:
        before_s = time.process_time()
        replication(Workload("poisson", EXPONENTIAL, constant(10.0)), WorkerConfig(5, 20), 10.0, 20_000, seed)
        return time.process_time() - before_s

    assert 20_000 / min(spent_s(seed) for seed in range(3)) > 50_000


WORK = {
    "M/M/5": (Workload("poisson", EXPONENTIAL), 5, 4.0),
    "M/G/5": (Workload("poisson", LogNormal.model_construct(median=0.6, sigma=1.0)), 5, 4.0),
    "M/M/1": (Workload("poisson", EXPONENTIAL), 1, 0.7),
    "G/G/20": (Workload(Gamma(gamma_cv=2), LogNormal.model_construct(median=1.0, sigma=0.5)), 20, 16.0),
}


@pytest.mark.parametrize("kind", list(WORK))
def test_each_wait_is_that_of_an_independent_simulator_with_the_same_draws(kind: str) -> None:
    """Sharper than 2 % of a mean: the same gaps and times in `ciw`, and the same wait for each job, to 1 µs."""
    work, workers, rate_per_s = WORK[kind]
    at_s = arrivals_at(work.arrivals, rate_per_s, 3000, 7)
    jobs, _ = simulate_jobs(endpoint_settings(work, fixed(workers)), at_s, 7)
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Sequential([*np.diff(at_s, prepend=0.0).tolist(), 1e9])],
        service_distributions=[ciw.dists.Sequential([*(job.service_s for job in jobs), 1.0])],
        number_of_servers=[workers],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_time(1e6)
    records = sorted(simulation.get_all_records(), key=lambda record: record.arrival_date)
    ours = [(job.taken_at or 0.0) - job.submitted_at for job in jobs]
    assert np.mean(ours) > 0.05
    assert [record.waiting_time for record in records] == pytest.approx(ours, abs=1e-6)
