"""The queueing formulas, compared with published figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loadtest.capacity.calibration.scalability import fit_usl, throughput
from loadtest.capacity.queueing_formulas import QueueModel, analytic_estimate, erlang_c, vendor_workers


def test_erlang_c_of_the_textbook_s_call_centre() -> None:
    """Also its service level: the share of calls that wait at most 20 s is 88.8350 %."""
    centre = QueueModel(14, 100 / 1800, 180.0)
    assert erlang_c(14, centre.load) == pytest.approx(0.174132, abs=5e-7)
    assert centre.wait_percentile_s(0.888350) == pytest.approx(20, abs=1e-3)


def test_the_vendor_s_own_example_never_settles() -> None:
    assert vendor_workers(6 / 60, 30) == 3
    assert QueueModel(3, 6 / 60, 30).mean_wait_s == math.inf
    assert QueueModel(3, 6 / 60, 30).wait_percentile_s(0.5) == math.inf


def test_one_worker_is_the_m_m_1_queue() -> None:
    queue = QueueModel(1, 0.8, 1.0)
    assert erlang_c(1, 0.8) == pytest.approx(0.8)
    assert queue.mean_wait_s == pytest.approx(0.8 / 0.2)
    assert queue.wait_percentile_s(0.95) == pytest.approx(math.log(0.8 / 0.05) / 0.2)


def test_constant_executions_halve_the_mean_wait() -> None:
    assert QueueModel(5, 4, 1.0, cs=0.0).mean_wait_s == pytest.approx(QueueModel(5, 4, 1.0).mean_wait_s / 2)


def test_a_percentile_agrees_with_the_exponential_tail_of_the_wait() -> None:
    """P(wait > t) = C(c, a) exp(−(cμ − λ) t)."""
    queue = QueueModel(4, 0.1, 30)
    tail = erlang_c(4, 3.0) * math.exp(-(4 / 30 - 0.1) * queue.wait_percentile_s(0.9))
    assert tail == pytest.approx(0.1)
    assert QueueModel(40, 0.1, 30).wait_percentile_s(0.9) == 0


def test_no_number_of_workers_overflows() -> None:
    assert 0 < erlang_c(2000, 1900.0) < 1
    assert erlang_c(10, 0.0) == 0


def test_the_analytic_estimate_has_no_delay_if_the_queue_never_settles() -> None:
    full, ample = (analytic_estimate(QueueModel(workers, 0.1, 30), 0.1, 30) for workers in (3, 5))
    assert (full.utilisation, full.mean_delay_ms, full.p95_delay_ms) == (1.0, None, None)
    assert ample.mean_delay_ms == pytest.approx(QueueModel(5, 0.1, 30).mean_wait_s * 1000)
    assert ample.leaves_out


POINTS = [(1, 64.9), (18, 995.9), (36, 1652.4), (72, 1853.2), (108, 1828.9), (144, 1775.0), (216, 1702.2)]


def test_the_scalability_law_of_the_published_measurements() -> None:
    law = fit_usl(POINTS)
    assert law.alpha.value == pytest.approx(0.0277285, abs=5e-7)
    assert law.beta.value == pytest.approx(0.0001044, abs=5e-8)
    assert law.peak_n == pytest.approx(96.52, abs=0.005)
    assert law.peak == pytest.approx(1884, abs=0.5)
    assert law.alpha.low < 0.0277285 < law.alpha.high


def test_the_intervals_of_the_law_cover_the_truth_at_their_confidence() -> None:
    rng = np.random.default_rng(3)
    n = np.array([1, 2, 4, 8, 16, 32, 64, 96], dtype=np.float64)
    truth, covered = (50.0, 0.03, 0.0004), 0
    for _ in range(200):
        law = fit_usl(list(zip(n, throughput(n, *truth) + rng.normal(0, 8, len(n)), strict=True)))
        covered += law.alpha.low <= truth[1] <= law.alpha.high
    assert 0.9 <= covered / 200 <= 0.99


def test_a_law_that_never_turns_has_no_peak() -> None:
    law = fit_usl([(n, 10.0 * n) for n in (1, 2, 4, 8)])
    assert (law.peak_n, law.peak) == (None, None)


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 4 points, 3 are there"):
        fit_usl(POINTS[:3])
