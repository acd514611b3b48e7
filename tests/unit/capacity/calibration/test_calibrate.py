"""Calibrations of runs whose truth is known."""

from __future__ import annotations

import pyarrow as pa
import pytest

from loadtest.analyze.jobs import jobs_of
from loadtest.capacity.calibration.calibrate import calibrate
from loadtest.capacity.calibration.measurements import MeasuredRun
from loadtest.traffic.settings import Gamma
from tests.unit.analyze.rows import START_AT, job, samples, scenario
from tests.unit.capacity.made import bursts, flexible, measured_run


@pytest.mark.parametrize("threshold", [{"request_count": 1}, {"queue_delay": "2s"}])
def test_a_calibration_finds_the_settings_of_the_endpoint(threshold: dict[str, object]) -> None:
    found, work = calibrate([measured_run(flexible(scaler=threshold), bursts(80))])
    assert found.execution_ms.mean == pytest.approx(1500, rel=0.05)
    assert found.execution_mean_ms.low < 1500 < found.execution_mean_ms.high
    assert abs(found.execution_autocorrelation) < 0.2
    assert (found.cold_start_ms.min, found.cold_start_ms.max) == (8000, 10_000)
    assert found.revival_ms.mean == pytest.approx(500, abs=1)
    assert found.overhead_ms.mean == pytest.approx(50, abs=1)
    assert found.dispatch_ms.max == 0
    assert found.missing == ()
    assert work.cold_start is not None
    assert work.cold_start.mean_s() == pytest.approx(9, rel=0.05)
    assert work.revival is not None
    assert work.revival.within == 60
    assert (found.arrivals, found.gap_variation) == ("poisson", 1.0)


def test_a_missing_measurement_names_the_scenario_that_would_measure_it() -> None:
    warm = flexible(workers={"active": 3, "max": 3})
    found, work = calibrate([measured_run(warm, bursts(80))])
    assert [each.what for each in found.missing] == ["cold start time", "revival time"]
    assert "scenarios/cold-start.yaml" in found.missing[0].measure
    assert work.cold_start is None
    far = [each * 400.0 for each in range(60)]
    always_cold, _ = calibrate([measured_run(flexible(), far), measured_run(warm, far)])
    assert [each.what for each in always_cold.missing] == ["revival time"]
    assert "every start is taken to be cold" in " ".join(always_cold.notes)
    never, _ = calibrate([measured_run(flexible(revival=None), bursts(60))])
    assert (never.missing, never.notes) == ((), ())


def test_several_runs_are_calibrated_together() -> None:
    warm, cold = flexible(workers={"active": 3, "max": 3}), flexible()
    found, work = calibrate([measured_run(cold, bursts(30)), measured_run(warm, bursts(60))], Gamma(gamma_cv=3))
    assert found.jobs == 180
    assert work.cold_start is not None
    assert (found.arrivals, found.gap_variation) == ("gamma, CV 3", 3)


def test_failed_jobs_count_with_their_execution_time() -> None:
    found, _ = calibrate([measured_run(flexible(failure_rate="30 %"), bursts(80))])
    assert found.failure_rate == pytest.approx(0.3, abs=0.1)
    assert found.jobs == 160


def test_a_delay_that_even_idle_workers_have_is_dispatch() -> None:
    rows = [job(seq, float(seq), delay_ms=90 + seq % 20, finished_at=START_AT + seq + 0.4) for seq in range(200)]
    found, work = calibrate([MeasuredRun("made", scenario(), jobs_of(samples(*rows)))])
    assert found.dispatch_ms.mean == pytest.approx(99.5, abs=1)
    assert work.dispatch.mean_s() == pytest.approx(0.0995, abs=0.001)


def test_starts_of_a_remote_endpoint_lose_the_default_threshold_and_a_note_says_so() -> None:
    at_s = bursts(80)
    there = measured_run(flexible(scaler={"queue_delay": "4s"}), at_s)
    remote = scenario(target="https://api.runpod.ai/v2/x", ceilings={"jobs": 10})
    found, _ = calibrate([MeasuredRun("there", remote, there.jobs)])
    assert (found.cold_start_ms.min, found.cold_start_ms.max) == (8000, 10_000)
    assert "queue delay of 4 s" in " ".join(found.notes)


def test_a_closed_load_is_assumed_to_be_poisson_and_a_note_says_so() -> None:
    run = measured_run(flexible(), bursts(80))
    closed = scenario(load={"model": "closed", "stages": [{"users": 3, "for": "10s"}]})
    found, _ = calibrate([MeasuredRun("made", closed, run.jobs)])
    assert found.arrivals == "poisson"
    assert "Poisson is assumed" in found.notes[0]


def test_too_few_jobs_are_refused() -> None:
    few: pa.Table = samples(*(job(seq, float(seq)) for seq in range(40)))
    with pytest.raises(ValueError, match="40 jobs were done by a worker, a calibration needs 100"):
        calibrate([MeasuredRun("made", scenario(), jobs_of(few))])
