"""The sentences about takes and about the causes of errors."""

from __future__ import annotations

import pytest

from loadtest.capacity.backtest.attribution import Cause
from loadtest.capacity.backtest.backtest import BacktestResult, FigureCheck
from loadtest.capacity.calibration.take_pattern import NONE_SEEN, Source, TakePattern
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.simulation.workload import fixed
from loadtest.report.capacity_text import cause_texts, pattern_text


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (NONE_SEEN, "No pause of workers between takes was observed; too few jobs waited for a worker to show one."),
        (TakePattern(0.0, False, Source.SEEN, 12), "immediately, observed in 12 takes for which jobs waited."),
        (TakePattern(0.0, False, Source.SETTINGS), "immediately, by the endpoint's settings."),
        (
            TakePattern(1.0, False, Source.SEEN, 12, 1000.0),
            "Workers take at most one job per 1.00 s (observed in 12 takes",
        ),
        (
            TakePattern(1.0, False, Source.ASSUMED, 0, 2000.0),
            "after a longer job at the next multiple of the pause (assumed,",
        ),
        (
            TakePattern(1.0, True, Source.SEEN, 9, 2500.0),
            "after a longer job as long again after its end (observed in 9 takes for which jobs waited)",
        ),
    ],
)
def test_pause_between_jobs_is_reported_with_its_evidence(pattern: TakePattern, text: str) -> None:
    assert text in pattern_text(pattern)


@pytest.mark.parametrize(
    ("in_interval", "what", "text"),
    [
        (
            False,
            "its executions",
            "Main cause of the error of delay p95: its executions. With the run's own a, b it is",
        ),
        (True, "its executions", "of delay p95 (within the spread of such runs): its executions."),
        (False, None, "The cause of the error of delay p95, −50 %, is unknown: with the run's own a, b it is +10 %."),
    ],
)
def test_main_cause_is_reported_with_the_remaining_error(in_interval: bool, what: str | None, text: str) -> None:
    figure = FigureCheck("delay_p95_ms", Estimate(1.0, 0.5, 1.5), 2.0, -0.5, in_interval)
    cause = Cause("delay_p95_ms", what, -0.5, 0.1, ("a", "b"))
    check = BacktestResult("run", "made", fixed(2), 60.0, 100, 39, (figure,), cause=cause)
    assert text in cause_texts(check)[0]
