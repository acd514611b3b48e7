"""Jobs at once, their slowdown, and the gap after a job, found in runs of an independent endpoint."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from loadtest.capacity.calibration.calibrate import calibrate
from loadtest.capacity.calibration.concurrency import estimate_concurrency, job_shares
from loadtest.capacity.calibration.measurements import MeasuredRun
from loadtest.capacity.calibration.take_pattern import estimate_pattern
from tests.independent.endpoint import System
from tests.independent.recorded import arrivals, observed
from tests.unit.analyze.rows import scenario

ELSEWHERE = scenario(target="https://api.runpod.ai/v2/x", ceilings={"jobs": 100_000})
CURVE = {1: 1.0, 4: 1.6, 8: 3.0}


def lognormal(rng: random.Random) -> float:
    return rng.lognormvariate(0.0, 0.5)


def slowdown(jobs: int) -> float:
    return float(np.interp(jobs, list(CURVE), list(CURVE.values())))


def system(**changes: object) -> System:
    return replace(System(lognormal, active=2, most=2, concurrency=8, slowdown=slowdown), **changes)  # type: ignore[arg-type]


def test_the_limit_and_the_slowdown_are_found_with_intervals_that_hold_the_truth() -> None:
    held = []
    for seed in range(8):
        shares = job_shares(observed(system(), arrivals(3.6, 2500, seed), seed))
        found = estimate_concurrency(shares)
        assert (found.most, found.known, found.fewest) == (8, True, 1)
        assert shares.work_s(found.factors).mean() == pytest.approx(np.exp(0.125), rel=0.25)
        held += [each.factor.low <= slowdown(each.jobs) <= each.factor.high for each in found.slowdown[1:]]
    # Of 30 seeds 90 % hold it; the three factors of a run share the error of one job alone, so eight runs vary.
    assert np.mean(held) >= 0.75


def test_a_run_that_never_fills_a_worker_says_how_many_it_reached() -> None:
    found = estimate_concurrency(job_shares(observed(system(), arrivals(1.0, 1500, 1), 1)))
    assert not found.known
    assert 2 <= found.most < 8


def test_workers_with_one_job_at_a_time_have_no_slowdown() -> None:
    found = estimate_concurrency(job_shares(observed(system(concurrency=1), arrivals(1.5, 1500, 1), 1)))
    assert (found.most, found.known, found.slowdown) == (1, True, ())


def test_a_limit_that_is_set_is_kept() -> None:
    assert estimate_concurrency(job_shares(observed(system(), arrivals(1.0, 500, 1), 1)), limit=30).most == 30


def test_no_jobs_are_no_evidence() -> None:
    nothing = estimate_concurrency(job_shares(observed(system(), [1.0], 1)))
    assert (nothing.most, nothing.known) == (1, False)


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("gap_s", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("service", [lambda _: 0.2, lambda rng: 0.2 * lognormal(rng)], ids=["constant", "varying"])
def test_the_gap_after_a_job_is_found(concurrency: int, gap_s: float, service: object) -> None:
    made = system(service=service, concurrency=concurrency, slowdown=lambda _: 1.0, gap_s=gap_s)
    rate_per_s = 0.85 * 2 * concurrency / (0.22 + gap_s)
    jobs = observed(made, arrivals(rate_per_s, 1200, 2), 2)
    found = estimate_pattern([(ELSEWHERE, jobs)], concurrency)
    assert (found.pause_s, found.after_job_s) == (0.0, pytest.approx(gap_s, abs=0.004))
    assert found.waited_for >= 20


def test_a_calibration_replays_the_run_it_comes_from() -> None:
    jobs = observed(system(gap_s=0.05), arrivals(3.5, 2500, 5), 5)
    found, work = calibrate([MeasuredRun("made", ELSEWHERE, jobs)])
    assert (work.concurrency, work.take_pause.after_job) == (8, pytest.approx(0.05, abs=0.005))
    assert found.concurrency.slowdown[-1].jobs == 8
    # Two workers do at most 2 × 8 jobs in 3 × 1.13 s and the gap: 4.6/s.
    assert 2 / work.occupancy.mean_s() == pytest.approx(4.6, rel=0.12)
