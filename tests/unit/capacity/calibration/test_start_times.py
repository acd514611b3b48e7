"""Start times from waits of their own, and from /health; with cut-off waits as lower bounds."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.arrays import Floats
from loadtest.capacity.calibration.start_times import (
    StartSource,
    StartWaits,
    WorkerCounts,
    own_start_times,
    start_time_by_health,
)
from tests.independent.endpoint import Simulation, System, Worker
from tests.independent.recorded import arrivals

NOTHING = np.empty(0)


def waits(times_ms: Floats, limits_ms: Floats) -> StartWaits:
    return StartWaits(np.minimum(times_ms, limits_ms), times_ms <= limits_ms, times_ms, NOTHING)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 0.6])
def test_starts_that_other_jobs_cut_off_do_not_make_the_mean_too_short(sigma: float) -> None:
    covers, means = 0, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        times_ms = 40_000 * rng.lognormal(-(sigma**2) / 2, sigma, 200)
        _, found = own_start_times(waits(times_ms, rng.exponential(40_000, 200)))
        if found.mean_ms is None:
            continue
        assert found.source is StartSource.OWN
        covers += found.mean_ms.low <= 40_000 <= found.mean_ms.high
        means.append(found.mean_ms.value)
    assert len(means) >= 10
    assert covers >= 0.8 * len(means)
    assert np.mean(means) == pytest.approx(40_000, rel=0.05)


def test_whole_waits_are_the_start_times() -> None:
    times_ms = np.array([8000.0, 9000, 10_000, 9500, 8500])
    values, found = own_start_times(waits(times_ms, np.full(5, np.inf)))
    assert values.tolist() == sorted(times_ms)
    assert found.mean_ms is not None
    assert (found.n, found.mean_ms.value) == (5, 9000)
    few, of_one = own_start_times(waits(times_ms[:1], np.array([np.inf])), at_least=1)
    assert few.tolist() == [8000]
    assert of_one.mean_ms is not None
    assert of_one.mean_ms.low < 4000 < 100_000 < of_one.mean_ms.high


@pytest.mark.parametrize(
    ("times_ms", "limits_ms"),
    [([40e3] * 4, [50e3] * 4), ([40e3] * 40, [50e3] * 10 + [20e3] * 10 + [41e3] * 10 + [39e3] * 10), ([], [])],
)
def test_too_few_starts_are_not_known(times_ms: list[float], limits_ms: list[float]) -> None:
    limits = np.array(limits_ms)
    limits[len(limits) // 2 :] = np.minimum(limits[len(limits) // 2 :], 60e3)
    known, found = own_start_times(waits(np.array(times_ms), limits), at_least=30)
    assert (len(known), found.mean_ms) == (0, None)


def test_starts_that_may_last_longer_than_any_seen_are_not_known() -> None:
    times_ms = np.array([10e3] * 6 + [90e3] * 6)
    known, found = own_start_times(waits(times_ms, np.array([50e3] * 12)))
    assert (len(known), found.mean_ms) == (0, None)


class Watched(Simulation):
    """Keeps when each worker's start began and ended."""

    def __init__(self, system: System, at_s: list[float], seed: int) -> None:
        super().__init__(system, at_s, seed)
        self.starts: list[tuple[float, float]] = []

    def make_ready(self, worker: Worker) -> None:
        self.starts.append((worker.spans[-1][0], self.now))
        super().make_ready(worker)


def counts(run: Watched, apart_s: float) -> WorkerCounts:
    at = np.arange(apart_s / 2, run.jobs[-1].at, apart_s)

    def present(spans: list[tuple[float, float]]) -> Floats:
        return np.array([sum(begin <= each < end for begin, end in spans) for each in at], dtype=float)

    up = [(begin, end) for worker in run.workers for begin, end in worker.spans]
    starting = present(run.starts)
    return WorkerCounts(at, starting, present(up) - starting)


@pytest.mark.parametrize("scaler", [("request count", 1), ("queue delay", 4.0)])
@pytest.mark.parametrize("apart_s", [1.0, 5.0])
def test_health_gives_the_mean_start_time(scaler: tuple[str, float], apart_s: float) -> None:
    system = System(lambda rng: rng.expovariate(0.5), most=4, start=lambda rng: rng.uniform(30, 50), scaler=scaler)
    for seed in range(3):
        run = Watched(system, arrivals(0.3, 250, seed), seed)
        run.run()
        found = start_time_by_health(counts(run, apart_s))
        assert found.source is StartSource.HEALTH
        assert found.mean_ms is not None
        assert found.mean_ms.value == pytest.approx(40_000, rel=0.12)
        assert found.mean_ms.low < 40_000 < found.mean_ms.high


def test_health_that_does_not_show_starts_gives_none() -> None:
    at = np.arange(0.0, 600, 5)
    nothing, some = np.zeros(len(at)), (np.arange(len(at)) % 8 == 3).astype(float)
    for initializing in (nothing, np.full(len(at), np.nan), some):  # the last is one look at each start
        assert start_time_by_health(WorkerCounts(at, initializing, nothing)).mean_ms is None
    assert start_time_by_health(None).mean_ms is None
