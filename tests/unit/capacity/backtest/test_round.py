"""The scenarios that `make capacity` runs, and when a prediction holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.capacity import HELD_OUT, SCENARIO, Outcome
from loadtest.capacity.backtest.backtest import FigureCheck
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.simulation.workload import setting_of
from loadtest.scenario.loading.load import load_scenario

FILE = Path(__file__).parents[4] / SCENARIO


def test_held_out_scenarios_differ_in_their_workers_alone() -> None:
    known = load_scenario(FILE).endpoint
    for name, changes in HELD_OUT.items():
        endpoint = load_scenario(FILE, [f"name={name}", *changes]).endpoint
        assert setting_of(endpoint) != setting_of(known)
        assert (endpoint.service, endpoint.cold_start) == (known.service, known.cold_start)


@pytest.mark.parametrize(
    ("name", "predicted", "measured", "inside", "holds"),
    [
        ("delay_p95_ms", 1090.0, 1000.0, False, True),
        ("delay_p95_ms", 1200.0, 1000.0, False, False),
        ("delay_p95_ms", 1200.0, 1000.0, True, True),
        ("delay_p50_ms", 19.0, 0.0, False, True),
        ("worker_s", 120.0, 100.0, True, False),
        ("worker_s", 109.0, 100.0, False, True),
        ("worker_s", 109.0, None, None, False),
    ],
)
def test_a_round_holds_if_its_figures_are_in_their_intervals(
    name: str, predicted: float, measured: float | None, inside: bool | None, holds: bool
) -> None:
    figure = FigureCheck(name, Estimate(predicted, 0, 0), measured, None, inside)
    assert Outcome("burst", figure).holds is holds
