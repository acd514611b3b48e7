"""Jobs that did not end by themselves count with the time that they took at least."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from loadtest.analyze.jobs import jobs_of
from loadtest.arrays import Floats
from loadtest.capacity.calibration.calibrate import calibrate
from loadtest.capacity.calibration.measurements import MeasuredRun
from loadtest.capacity.calibration.unfinished import ended_by_itself, unfinished_ms, with_unfinished
from tests.unit.analyze.rows import START_AT, job, samples, scenario

Draw = Callable[[np.random.Generator, int], Floats]
DRAWS: dict[str, Draw] = {
    "long-tailed": lambda rng, n: 1000 * rng.lognormal(0, 1.29, n),
    "narrow": lambda rng, n: 1000 * rng.lognormal(0, 0.3, n),
    "exponential": lambda rng, n: rng.exponential(2000, n),
    "gamma": lambda rng, n: rng.gamma(3, 700, n),
}


@pytest.mark.parametrize("share", [0.01, 0.026, 0.1])
@pytest.mark.parametrize("name", DRAWS)
def test_survivors_and_bounds_give_the_mean_of_all(name: str, share: float) -> None:
    found, survivors, true = [], [], []
    for seed in range(10):
        times_ms = DRAWS[name](np.random.default_rng(seed), 2000)
        limit_ms = float(np.quantile(times_ms, 1 - share))
        ended = times_ms[times_ms < limit_ms]
        all_ms = with_unfinished(ended, np.full(len(times_ms) - len(ended), limit_ms))
        assert len(all_ms) == len(times_ms)
        assert all_ms[len(ended) :].min() >= limit_ms
        found.append(all_ms.mean())
        survivors.append(ended.mean())
        true.append(times_ms.mean())
    error = abs(np.mean(found) / np.mean(true) - 1)
    assert error < 0.06
    assert error < abs(np.mean(survivors) / np.mean(true) - 1)


def test_bounds_that_differ_are_no_more_than_bounds() -> None:
    rng = np.random.default_rng(1)
    times_ms, limits_ms = 1000 * rng.lognormal(0, 1, 5000), rng.uniform(0, 20_000, 5000)
    ended = times_ms <= limits_ms
    assert with_unfinished(times_ms[ended], limits_ms[~ended]).mean() == pytest.approx(times_ms.mean(), rel=0.05)


def test_nothing_to_estimate_from_changes_nothing() -> None:
    none, some = np.empty(0), np.array([5.0, 5.0])
    assert with_unfinished(some, none).tolist() == [5, 5]
    assert with_unfinished(none, some).tolist() == []
    assert with_unfinished(some, np.array([3.0, 9.0])).tolist() == [5, 5, 5, 9]


def test_a_bound_beyond_all_that_the_fit_expects_stays_a_bound() -> None:
    ended = 1000 * np.random.default_rng(1).lognormal(0, 0.01, 5000)
    (longest,) = with_unfinished(ended, np.array([600_000.0]))[5000:]
    assert 600_000 <= longest < 700_000


def test_jobs_that_were_stopped_or_given_up_are_bounds() -> None:
    unseen = {"delay_ms": None, "execution_ms": None, "finished_at": None, "worker_id": None, "outcome": "censored"}
    rows = [
        job(0, 0.0, delay_ms=0, execution_ms=1000),
        job(1, 1.0, outcome="cancelled", delay_ms=0, execution_ms=7000),
        job(2, 2.0, outcome="timed_out", delay_ms=1000, execution_ms=None, finished_at=START_AT + 12.0125),
        job(3, 3.0, **unseen),  # taken before job 4, so at 6 s at the latest
        job(4, 4.0, delay_ms=2000, execution_ms=1000, finished_at=START_AT + 30),
        job(5, 5.0, outcome="failed", delay_ms=3000, execution_ms=1000),
        job(6, 6.0, outcome="failed", delay_ms=3000, execution_ms=20_000),
        job(7, 7.0, **unseen),  # it may never have been taken
        job(8, 8.0, **unseen | {"outcome": "rejected", "job_id": None}),
    ]
    jobs = jobs_of(samples(*rows))
    found = unfinished_ms(jobs, job_timeout_s=20.0, execution_timeout_s=20.0)
    np.testing.assert_allclose(found, [7000, 9000, 17_000 - 12.5, 20_020], atol=1)
    assert ended_by_itself(jobs, 20.0).nonzero()[0].tolist() == [0, 4, 5]


def test_a_calibration_counts_them() -> None:
    times_ms = 1000 * np.random.default_rng(3).lognormal(0, 1.29, 4000)
    cut = times_ms > 12_300
    rows = [
        job(
            seq,
            20.0 * seq,
            delay_ms=0,
            execution_ms=round(min(time_ms, 12_300)),
            finished_at=START_AT + 20.0 * seq + min(time_ms, 12_300) / 1000,
            outcome="cancelled" if cut[seq] else "completed",
        )
        for seq, time_ms in enumerate(times_ms.tolist())
    ]
    found, work = calibrate([MeasuredRun("made", scenario(), jobs_of(samples(*rows)))])
    assert (found.jobs, found.unfinished) == (np.count_nonzero(~cut), np.count_nonzero(cut))
    assert times_ms[~cut].mean() < 1850
    assert found.execution_mean_ms.low < 2300 < found.execution_mean_ms.high
    assert work.service.mean_s() == pytest.approx(2.3, rel=0.08)
    assert "did not end by themselves" in " ".join(found.notes)
