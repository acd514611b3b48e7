"""The scalability law from runs whose executions slow each other down, or do not."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.analyze.jobs import jobs_of
from loadtest.capacity.calibration.calibrate import calibrate
from loadtest.capacity.calibration.measurements import MeasuredRun
from loadtest.capacity.calibration.scalability import Point, point, scalability, throughput
from tests.unit.analyze.rows import START_AT, job, samples, scenario


def test_a_run_is_a_point_of_busy_workers_and_jobs_done() -> None:
    rows = [job(seq, seq * 0.5, delay_ms=0, execution_ms=2000) for seq in range(200)]
    found = point("made", jobs_of(samples(*rows)))
    assert found is not None
    assert (found.run, found.busy_workers) == ("made", pytest.approx(4, rel=0.03))
    assert found.done_per_s == pytest.approx(2, rel=0.03)


def test_a_run_without_execution_times_gives_no_point() -> None:
    assert point("made", jobs_of(samples(*(job(seq, float(seq), execution_ms=None) for seq in range(3))))) is None
    assert point("made", jobs_of(samples(job(0, 0.0)))) is None


def test_the_law_is_found_through_points_that_follow_it() -> None:
    n = np.array([1.0, 2, 4, 8, 16, 32])
    points = [
        Point(str(each), each, float(done)) for each, done in zip(n, throughput(n, 5.0, 0.05, 0.002), strict=True)
    ]
    law = scalability(points).law
    assert law is not None
    assert (law.alpha.value, law.beta.value) == (pytest.approx(0.05, rel=0.01), pytest.approx(0.002, rel=0.01))
    assert law.peak_n == pytest.approx((0.95 / 0.002) ** 0.5, rel=0.01)


@pytest.mark.parametrize(
    ("busy", "output"),
    [
        ([2.0], "here are 1 with 1"),
        ([2.0, 3.0, 4.0], "here are 3 with 3"),
        ([2.0, 2.2, 1.9, 5.0], "here are 4 with 2"),
    ],
)
def test_a_missing_law_names_the_runs_to_add(busy: list[float], output: str) -> None:
    found = scalability([Point("made", each, each) for each in busy])
    assert found.law is None
    assert output in found.missing


def test_a_calibration_holds_the_law_through_its_runs() -> None:
    runs = []
    for number, busy in enumerate((1, 2, 4, 8)):
        took_ms = round(1000 * (1 + 0.1 * (busy - 1)))
        rows = [
            job(seq, at, sent_at=START_AT + at, accepted_at=START_AT + at, delay_ms=0, execution_ms=took_ms)
            for seq, at in enumerate((np.arange(400) * took_ms / 1000 / busy).tolist())
        ]
        runs.append(MeasuredRun(f"made-{number}", scenario(), jobs_of(samples(*rows))))
    found, _ = calibrate(runs)
    law = found.scalability.law
    assert law is not None
    assert law.alpha.value == pytest.approx(0.1, abs=0.02)
    assert law.at_one.value == pytest.approx(1, rel=0.02)
