"""A day of parts, each settled at its own rate: properties of any draw."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.capacity.queueing_formulas import QueueModel
from loadtest.capacity.simulation.arrivals import Process, peak, profile
from loadtest.capacity.simulation.predict import Prediction, SimulationBudget, predict, replications, settles
from loadtest.capacity.simulation.simulate import can_reach_steady_state, jobs_for_steady_state, replication
from loadtest.capacity.simulation.workload import WorkerConfig, Workload, constant, fixed, measured
from loadtest.endpoint.settings import RequestCount

EXPONENTIAL = measured(-np.log1p(-(np.arange(20_000) + 0.5) / 20_000))


def predicted(arrivals: Process, rate_per_s: float = 3.0) -> Prediction:
    work = Workload(arrivals, EXPONENTIAL)
    return predict(
        work, fixed(5), rate_per_s, replications(work, fixed(5), rate_per_s, SimulationBudget(8, 8000)), 0.001
    )


def test_only_proportions_count() -> None:
    assert profile([10, 20, 30]) == profile([1, 2, 3])
    assert peak(profile([10, 20, 30])) == 1.5


def test_a_flat_day_is_poisson() -> None:
    flat, plain = predicted(profile([7] * 24)), predicted("poisson")
    assert flat.delay_ms is not None
    assert plain.delay_ms is not None
    assert flat.delay_ms.mean.low < plain.delay_ms.mean.high
    assert plain.delay_ms.mean.low < flat.delay_ms.mean.high
    assert flat.peak_load is None


def test_the_delay_of_two_parts_is_their_mixture_by_jobs() -> None:
    found = predicted(profile([1, 2]))
    assert found.delay_ms is not None
    slow, fast = (QueueModel(5, rate, 1.0).mean_wait_s * 1000 for rate in (2.0, 4.0))
    mixture = (slow + 2 * fast) / 3
    assert found.delay_ms.mean.value == pytest.approx(mixture, rel=0.12)
    assert found.delay_ms.mean.low * 0.97 <= mixture <= found.delay_ms.mean.high * 1.03
    assert found.peak_load == pytest.approx(4.0, rel=0.01)
    assert found.billed_workers is not None
    assert found.billed_workers.value == pytest.approx(5)


def test_a_part_without_jobs_bills_its_idle_workers() -> None:
    work = Workload(profile([0, 1]), constant(1.0))
    run = replication(work, fixed(3), 1.0, 2000, 1)
    assert run.billed_s == pytest.approx(3 * run.window_s)
    assert run.busy_s == pytest.approx(run.window_s, rel=0.1)
    assert len(run) == pytest.approx(run.window_s, rel=0.1)
    flexible = WorkerConfig(0, 5, RequestCount(request_count=1), 5.0)
    assert replication(Workload(profile([0, 1]), constant(1.0), constant(3.0)), flexible, 1.0, 2000, 1).up_s > 0


def test_a_peak_beyond_what_workers_can_do_never_settles() -> None:
    work = Workload(profile([1, 1, 4]), constant(1.0))
    assert not settles(work, fixed(5), 3.0)
    assert settles(work, fixed(7), 3.0)
    assert not can_reach_steady_state(work, fixed(6), 3.0)
    found = predict(work, fixed(5), 3.0, replications(work, fixed(5), 3.0, SimulationBudget(2, 100)))
    assert (found.settles, found.offered_load, found.peak_load, found.delay_ms) == (False, 3.0, 6.0, None)


def test_a_day_is_as_long_as_its_peak_needs_to_settle() -> None:
    steady = jobs_for_steady_state(Workload("poisson", EXPONENTIAL), fixed(5), 4.0, 1)
    day = jobs_for_steady_state(Workload(profile([1, 1, 1, 2]), EXPONENTIAL), fixed(5), 4.0 / 1.6, 1)
    # The peak is a quarter of the day and two fifths of its jobs.
    assert day == pytest.approx(steady / 0.4, rel=0.01)
