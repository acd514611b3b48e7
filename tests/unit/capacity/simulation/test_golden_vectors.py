"""The simulation against figures from outside: Markov chains of workers that start on demand, and AWS Lambda.

`python -m benchmarks.capacity_vectors` simulates the same, and all settings of Lambda, for longer.
"""

from __future__ import annotations

import pytest

from benchmarks.capacity_vectors import agrees, cold_share, lambda_run, setup_figures
from tests.independent.golden import CALLED_OFF, LAMBDA, SETUPS, Lambda, Setup, solved


@pytest.mark.parametrize("asked", SETUPS[:3], ids=str)
def test_markov_chain_gives_the_known_figures(asked: Setup) -> None:
    assert solved(asked) == pytest.approx((asked.time, asked.starting), rel=1e-4)


@pytest.mark.parametrize("asked", CALLED_OFF, ids=str)
def test_markov_chain_gives_the_figures_of_the_literature_if_starts_are_called_off(asked: Setup) -> None:
    assert solved(asked, called_off=True, longest=60 if asked.workers > 4 else 120) == pytest.approx(
        (asked.time, asked.starting), rel=1e-4
    )


@pytest.mark.parametrize("asked", [SETUPS[0], SETUPS[4], SETUPS[6], SETUPS[8]], ids=str)
def test_workers_that_start_on_demand_are_those_of_the_markov_chain(asked: Setup) -> None:
    times, starting = setup_figures(asked, 6, 15_000)
    assert agrees(times, asked.time), times
    assert agrees(starting, asked.starting), starting
    # Wide intervals would agree with anything.
    assert times.high - times.low < 0.2 * asked.time
    assert starting.high - starting.low < 0.2 * asked.starting


@pytest.mark.parametrize("asked", LAMBDA[:6], ids=lambda each: f"{each.rate_per_s:.4f}/s")
def test_cold_starts_and_instances_are_those_measured_on_aws_lambda(asked: Lambda) -> None:
    run = lambda_run(asked, 15_000, 1)
    assert abs(cold_share(run) - asked.cold_share) <= max(3 * asked.cold_share_error, 0.05 * asked.cold_share)
    # The measured means are of some 200 to 600 jobs, so that they differ by chance themselves.
    assert run.up_s / run.window_s == pytest.approx(asked.instances, rel=0.08)
