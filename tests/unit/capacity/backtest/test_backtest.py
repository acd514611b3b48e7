"""Predictions of runs of the same model: the coverage of their intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from loadtest.capacity.backtest.backtest import UnpredictableRunError, backtest
from loadtest.capacity.calibration.calibrate import calibrate
from loadtest.capacity.simulation.workload import Evidence, WorkerConfig, measured, setting_of
from loadtest.endpoint.settings import QueueDelay, RequestCount
from loadtest.scenario.model import Scenario
from tests.unit.analyze.rows import scenario
from tests.unit.capacity.made import bursts, flexible, held_out, measured_run

STEADY = np.cumsum(np.random.default_rng(1).exponential(1.0, 300)).tolist()
_, WORK = calibrate([measured_run(flexible(), bursts(80))])
_, WARM = calibrate([measured_run(flexible(workers={"active": 6, "max": 6}), STEADY)])
BATCHES = {"stages": [{"rate": "3/s", "for": "20s"}, {"rate": "0.5/s", "for": "160s"}]}


def scenario_with(load: dict[str, Any] = BATCHES, **endpoint: Any) -> Scenario:
    settings = {"workers": {"active": 0, "max": 4}, "scaler": {"queue_delay": "1s"}} | endpoint
    return flexible(**settings).model_copy(update={"load": scenario(load=load).load})


def test_the_interval_covers_the_measured_figure_at_its_confidence() -> None:
    inside = {"delay_p50_ms": 0, "delay_p95_ms": 0, "throughput_per_s": 0, "worker_s": 0}
    errors = []
    for seed in range(20):
        found = backtest(WORK, held_out(scenario_with(), seed), seed, replicas=39)
        errors += [figure.error for figure in found.figures if figure.name != "delay_p50_ms"]
        for figure in found.figures:
            inside[figure.name] += bool(figure.in_interval)
    assert all(17 <= count <= 20 for count in inside.values())
    assert abs(np.mean([error for error in errors if error is not None])) < 0.05


def test_a_backtest_describes_its_run() -> None:
    found = backtest(WORK, held_out(scenario_with(), 3, warnings=("The run is not valid.",)))
    assert (found.run, found.scenario, found.duration_s, found.replicas) == ("made-3", "made", 180, 199)
    assert found.setting == WorkerConfig(0, 4, QueueDelay(queue_delay="1s"), 5.0)
    assert found.notes == ("The run is not valid.",)


def test_a_calibration_from_few_times_gives_a_wider_interval() -> None:
    run = held_out(scenario_with({"stages": [{"rate": "1/s", "for": "150s"}]}, workers={"active": 3, "max": 3}), 1)
    widths = []
    for often in (1, 50):
        times_s = np.array([1.0, 2.0, 3.0] * often)
        work = replace(WARM, service=measured(times_s), evidence=Evidence(float(len(times_s))))
        p95_ms = backtest(work, run, replicas=79).figures[1].predicted
        widths.append(p95_ms.high - p95_ms.low)
    assert widths[0] > 1.5 * widths[1]


def test_workers_of_an_endpoint_are_read_from_its_settings() -> None:
    by_count = flexible(workers={"active": 1, "max": 7}, scaler={"request_count": 3}, idle_timeout="2s").endpoint
    assert setting_of(by_count) == WorkerConfig(1, 7, RequestCount(request_count=3), 2.0)
    spiking = flexible(workers={"active": 1, "max": 7, "extra": 2, "account_limit": 8}).endpoint
    assert setting_of(spiking).max_workers == 8


def test_a_figure_that_was_not_measured_is_null() -> None:
    figure = backtest(WORK, held_out(scenario_with(), 1, workers=None), replicas=39).figures[3]
    assert (figure.name, figure.measured, figure.error, figure.in_interval) == ("worker_s", None, None, None)


def test_a_note_names_jobs_that_the_run_gave_up() -> None:
    swamped = scenario_with({"stages": [{"rate": "8/s", "for": "30s"}]}, workers={"active": 1, "max": 1})
    run = held_out(swamped.model_copy(update={"job_timeout": 20.0}), 1)
    assert "end after the job timeout or the drain" in " ".join(backtest(WARM, run, replicas=39).notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenario": scenario(load={"model": "closed", "stages": [{"users": 3, "for": "10s"}]})}, "closed model"),
        ({"complete": False}, "it ended before its scenario did"),
        ({}, "no cold start was seen"),
    ],
)
def test_a_run_that_cannot_be_predicted_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnpredictableRunError, match=message):
        backtest(WARM, held_out(scenario_with(), 1, **changes))


def test_a_run_with_too_few_jobs_is_refused() -> None:
    short = scenario_with({"stages": [{"rate": "1/s", "for": "20s"}]})
    with pytest.raises(UnpredictableRunError, match=r"jobs completed with a delay, a p95 needs 72"):
        backtest(WORK, held_out(short, 1))
