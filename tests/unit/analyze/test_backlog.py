from __future__ import annotations

import numpy as np
import pytest

from loadtest.analyze.backlog import backlog_in
from loadtest.analyze.jobs import LoadWindow

RUNS = 300
WINDOW = LoadWindow(100.0, 160.0)


def share_that_grows(load: float, each_s: float = 0.0) -> float:
    """Of runs with one worker that is never idle above a load of 1; below it jobs only take a time."""
    rng = np.random.default_rng(1)
    grows = 0
    for _ in range(RUNS):
        arrived_at = np.cumsum(rng.exponential(1 / 80, 20_000))
        ended_at = arrived_at + rng.exponential(each_s, 20_000)
        if load > 1:
            ended_at = np.maximum(ended_at, np.cumsum(rng.exponential(load / 80, 20_000)))
        grows += backlog_in(arrived_at, ended_at, WINDOW).grows
    return grows / RUNS


@pytest.mark.parametrize("each_s", [0.1, 1.0, 10.0])
def test_jobs_in_flight_are_no_growth_once_there_are_as_many_as_there_will_be(each_s: float) -> None:
    assert share_that_grows(0.5, each_s) <= 0.06


def test_a_backlog_that_grows_by_a_tenth_of_the_arrivals_is_found() -> None:
    assert share_that_grows(1.1) >= 0.95


def test_jobs_that_never_end_stay_in_the_backlog() -> None:
    at = np.arange(100.0, 160.0, 0.1)
    assert backlog_in(at, np.full(len(at), np.nan), WINDOW).grows
    assert not backlog_in(at, at, WINDOW).grows
    assert not backlog_in(at[:0], at[:0], WINDOW).grows
