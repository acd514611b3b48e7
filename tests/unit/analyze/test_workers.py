from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.analyze.jobs import jobs_of, worker_names
from loadtest.analyze.summary import WorkerSummary
from loadtest.analyze.workers import worker_summaries
from tests.unit.analyze.noise import autoregressive
from tests.unit.analyze.rows import job, samples

SEEDS = 80
WORKERS, EACH = 50, 100


def summaries(times_ms: NDArray[np.float64]) -> dict[str, WorkerSummary]:
    """Of a table with one row of times for each worker, w0 and on; times in whole milliseconds."""
    rows = [
        job(seq, 0.0, worker_id=f"w{worker}", execution_ms=int(ms))
        for seq, (worker, ms) in enumerate((w, ms) for w, of_one in enumerate(times_ms) for ms in of_one)
    ]
    table = samples(*rows)
    return {each.worker_id: each for each in worker_summaries(jobs_of(table), worker_names(table))}


TEMPLATE = samples(*(job(seq, 0.0, worker_id=f"w{seq // EACH}") for seq in range(WORKERS * EACH)))


def named(times_ms: NDArray[np.float64]) -> set[str]:
    """As `summaries`, without building a table each time."""
    jobs = replace(jobs_of(TEMPLATE), execution_ms=np.round(times_ms.ravel()))
    found = worker_summaries(jobs, worker_names(TEMPLATE))
    return {each.worker_id for each in found if each.compared is not None and each.compared.differs}


def times(rng: np.random.Generator) -> NDArray[np.float64]:
    return 400 * rng.lognormal(0, 0.35, (WORKERS, EACH))


def test_of_fifty_equal_workers_hardly_ever_is_one_named() -> None:
    rng = np.random.default_rng(1)
    assert sum(bool(named(times(rng))) for _ in range(SEEDS)) / SEEDS < 0.05


@pytest.mark.parametrize("factor", [1.6, 1 / 1.6])
def test_a_worker_that_differs_is_named_and_no_other(factor: float) -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(40):
        drawn = times(rng)
        drawn[3] *= factor
        hits += named(drawn) == {"w3"}
    assert hits >= 38


def test_difference_too_small_to_matter_is_reported_but_not_named() -> None:
    rng = np.random.default_rng(3)
    drawn = 4000 * rng.lognormal(0, 0.05, (2, 2000))
    drawn[1] *= 1.05
    compared = summaries(drawn)["w1"].compared
    assert compared is not None
    assert compared.interval[0] > 1
    assert not compared.differs


def test_the_interval_holds_the_truth() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(100):
        drawn = 400 * rng.lognormal(0, 0.35, (2, 300))
        drawn[1] *= 1.3
        compared = summaries(drawn)["w1"].compared
        assert compared is not None
        held += compared.interval[0] <= 1.3 <= compared.interval[1]
    assert held >= 94


def test_constant_times_have_no_spread_and_a_slow_worker_still_shows() -> None:
    level = np.full((5, 40), 200.0)
    assert all(each.compared is None or not each.compared.differs for each in summaries(level).values())
    for factor in (0.5, 2.0):
        slow = level.copy()
        slow[2] *= factor
        assert [name for name, each in summaries(slow).items() if each.compared and each.compared.differs] == ["w2"]


def test_a_lone_worker_or_one_with_few_jobs_is_compared_with_nothing() -> None:
    assert summaries(np.full((1, 100), 200.0))["w0"].compared is None
    table = samples(*(job(seq, 0.0, worker_id="a" if seq else "b") for seq in range(50)))
    found = {each.worker_id: each for each in worker_summaries(jobs_of(table), worker_names(table))}
    assert (found["b"].jobs, found["b"].compared) == (1, None)


def test_the_others_median_is_that_of_all_jobs_but_the_worker_s() -> None:
    rng = np.random.default_rng(5)
    drawn = np.round(rng.uniform(100, 900, (3, 51)))
    for worker in range(3):
        compared = summaries(drawn)[f"w{worker}"].compared
        others = np.sort(np.delete(drawn, worker, axis=0).ravel())
        assert compared is not None
        assert compared.ratio == pytest.approx(np.median(drawn[worker]) / others[50])


def test_a_worker_whose_jobs_all_failed_is_listed_with_their_number() -> None:
    failed = [job(seq, 0.0, worker_id="bad", outcome="failed", execution_ms=None) for seq in range(5)]
    table = samples(*failed, job(5, 0.0, worker_id="good"), job(6, 0.0, worker_id=None, outcome="failed"))
    found = worker_summaries(jobs_of(table), worker_names(table))
    assert [(each.worker_id, each.jobs, each.not_completed) for each in found] == [("bad", 0, 5), ("good", 1, 0)]
    assert found[0].compared is None


@pytest.mark.parametrize("rho", [0.8, 0.95])
def test_of_equal_workers_that_drift_slowly_hardly_ever_is_one_named(rho: float) -> None:
    rng = np.random.default_rng(6)
    runs = [np.array([autoregressive(rng, EACH, rho) for _ in range(WORKERS)]) for _ in range(40)]
    share = sum(bool(named(400 * np.exp(0.35 * noise))) for noise in runs) / len(runs)
    assert share <= 0.05
