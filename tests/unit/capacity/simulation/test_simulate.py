"""The simulation: exact times of small examples; queueing theory and another simulator for large ones."""

from __future__ import annotations

import dataclasses
import time

import ciw
import numpy as np
import pytest

from loadtest.capacity.estimates import estimate
from loadtest.capacity.queueing_formulas import erlang_c
from loadtest.capacity.simulation.arrivals import arrivals_at, gap_variation
from loadtest.capacity.simulation.predict import Prediction, SimulationBudget, predict, replications
from loadtest.capacity.simulation.simulate import replication
from loadtest.capacity.simulation.simulated_run import COLD, REVIVED, WARM, simulate_run
from loadtest.capacity.simulation.workload import (
    UnsimulableError,
    WorkerConfig,
    Workload,
    constant,
    fixed,
    measured,
    revival,
)
from loadtest.endpoint.distributions import LogNormal
from loadtest.endpoint.settings import NO_PAUSE, RequestCount, TakePause
from loadtest.traffic.settings import Gamma, Trace

EXPONENTIAL = measured(-np.log1p(-(np.arange(20_000) + 0.5) / 20_000))
"""Exponential with mean one: values at the middles of equally likely intervals."""
ON_DEMAND = WorkerConfig(0, 2, RequestCount(request_count=1), idle_timeout_s=5.0)
STORY = Workload("poisson", constant(2.0), constant(10.0), revival(constant(0.5), 60.0))


def test_a_worker_is_billed_from_its_start_to_its_stop_rounded_up() -> None:
    run = simulate_run(STORY, ON_DEMAND, np.array([0.0, 77.0, 200.0]), 1)
    assert run.taken_at.tolist() == [10.0, 77.5, 210.0]
    assert run.start.tolist() == [COLD, REVIVED, COLD]
    # 0 → 17 and 77 → 84.5, then 200 on without a stop.
    assert run.up.up_and_billed_s(0.0, 205.0) == (17 + 7.5 + 5, 17 + 8 + 5)


def test_workers_are_up_from_their_start_to_their_stop() -> None:
    run = simulate_run(STORY, ON_DEMAND, np.array([0.0, 77.0, 78.0]), 1, until_s=100.0)
    # The first is up 0 → 17 and 77 → 86.5 or so, the second, begun cold at 78, until it has idled.
    assert run.up.count_at(np.array([0.0, 16.9, 17.1, 77.0, 78.5, 99.0])).tolist() == [1, 1, 0, 1, 2, 0]


def test_time_outside_the_window_is_not_billed_in_it() -> None:
    up = simulate_run(STORY, ON_DEMAND, np.array([0.0, 77.0, 200.0]), 1).up
    assert up.up_and_billed_s(10.0, 80.0) == (7 + 3, 7 + 3)
    assert up.up_and_billed_s(20.0, 70.0) == (0, 0)


def test_only_the_job_that_waited_for_the_start_is_cold() -> None:
    run = simulate_run(STORY, ON_DEMAND, np.array([0.0, 3.0, 4.0, 14.5]), 1)
    assert run.taken_at.tolist() == [10.0, 12.0, 13.0, 14.5]
    assert run.start.tolist() == [COLD, WARM, COLD, WARM]


def test_workers_that_always_run_are_never_cold_and_always_billed() -> None:
    run = replication(STORY, fixed(3), 1.0, 1000, 1)
    assert set(run.start.tolist()) == {WARM}
    assert run.billed_s == run.up_s == pytest.approx(3 * run.window_s)


def test_flex_workers_without_a_known_cold_start_are_refused() -> None:
    with pytest.raises(UnsimulableError, match="time of a cold start is unknown"):
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
    run = simulate_run(work, fixed(workers), at_s, 7)
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Sequential([*np.diff(at_s, prepend=0.0).tolist(), 1e9])],
        service_distributions=[ciw.dists.Sequential([*run.execution_s.tolist(), 1.0])],
        number_of_servers=[workers],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_time(1e6)
    records = sorted(simulation.get_all_records(), key=lambda record: record.arrival_date)
    ours = run.taken_at - at_s
    assert np.mean(ours) > 0.05
    assert [record.waiting_time for record in records] == pytest.approx(ours, abs=1e-6)


@pytest.mark.parametrize("pause", [NO_PAUSE, TakePause(duration="700ms"), TakePause(after_job="300ms")], ids=str)
def test_workers_that_always_run_give_the_times_of_the_whole_model(pause: TakePause) -> None:
    work = Workload("poisson", EXPONENTIAL, failure_rate=0.2, take_pause=pause)
    at_s = arrivals_at("poisson", 2.0, 2000, 3)
    quick = simulate_run(work, fixed(4), at_s, 9)
    # A slowdown by nothing is no slowdown, but needs the whole model.
    whole = simulate_run(dataclasses.replace(work, slowdown=((1, 1.0),)), fixed(4), at_s, 9)
    assert quick.taken_at == pytest.approx(whole.taken_at, abs=1e-6)
    assert quick.execution_s == pytest.approx(whole.execution_s, abs=1e-6)
    assert quick.completed.tolist() == whole.completed.tolist()
    assert quick.completed.mean() == pytest.approx(0.8, abs=0.05)


def test_workers_with_several_jobs_at_once_are_as_many_workers_if_jobs_do_not_slow_each_other_down() -> None:
    at_s = arrivals_at("poisson", 3.0, 2000, 3)
    one_of_four = simulate_run(Workload("poisson", EXPONENTIAL, concurrency=4), fixed(1), at_s, 9)
    four_of_one = simulate_run(Workload("poisson", EXPONENTIAL), fixed(4), at_s, 9)
    assert one_of_four.taken_at.tolist() == four_of_one.taken_at.tolist()


def test_jobs_that_slow_each_other_down_have_the_mean_time_of_processor_sharing() -> None:
    """M/M/1-PS with room for all: E[T] = E[S] / (1 − ρ)."""
    work = Workload("poisson", EXPONENTIAL, concurrency=60, slowdown=((1, 1.0), (60, 60.0)))
    found = predicted(work, fixed(1), 0.6, SimulationBudget(5, 20_000))
    assert found.end_to_end_ms is not None
    assert found.end_to_end_ms.mean.value == pytest.approx(1000 / 0.4, rel=0.05)
    assert found.offered_load == pytest.approx(0.6, rel=1e-4)
