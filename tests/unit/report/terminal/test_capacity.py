"""What is said of takes and of causes, in a sentence."""

from __future__ import annotations

import pytest

from loadtest.capacity.backtest.attribution import Cause
from loadtest.capacity.backtest.backtest import BacktestResult, FigureCheck
from loadtest.capacity.calibration.take_pattern import NONE_SEEN, Source, TakePattern
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.simulation.workload import fixed
from loadtest.report.terminal.backtest import cause_texts
from loadtest.report.terminal.capacity import pattern_text


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (NONE_SEEN, "No pause of workers between takes was seen; too few jobs waited for a worker to tell."),
        (TakePattern(0.0, False, Source.SEEN, 12), "at once, seen in 12 takes that jobs waited for."),
        (TakePattern(0.0, False, Source.SETTINGS), "at once, as the endpoint's settings say."),
        (
            TakePattern(1.0, False, Source.SEEN, 12, 1000.0),
            "Workers take a job each 1.00 s at most (seen in 12 takes",
        ),
        (
            TakePattern(1.0, False, Source.ASSUMED, 0, 2000.0),
            "after a longer one at the next multiple of that (not seen,",
        ),
        (
            TakePattern(1.0, True, Source.SEEN, 9, 2500.0),
            "so long after its end (seen in 9 takes that jobs waited for)",
        ),
    ],
)
def test_how_takes_are_paced_is_said_with_its_evidence(pattern: TakePattern, said: str) -> None:
    assert said in pattern_text(pattern)


@pytest.mark.parametrize(
    ("inside", "what", "said"),
    [
        (
            False,
            "its executions",
            "Main cause of the error of delay p95: its executions. With the run's own a, b it is",
        ),
        (True, "its executions", "of delay p95 (within what such runs differ by): its executions."),
        (False, None, "Why delay p95 is −50 % off is not known: with the run's own a, b it is +10 %."),
    ],
)
def test_the_main_cause_is_said_with_what_is_left(inside: bool, what: str | None, said: str) -> None:
    figure = FigureCheck("delay_p95_ms", Estimate(1.0, 0.5, 1.5), 2.0, -0.5, inside)
    cause = Cause("delay_p95_ms", what, -0.5, 0.1, ("a", "b"))
    check = BacktestResult("run", "made", fixed(2), 60.0, 100, 39, (figure,), cause=cause)
    assert said in cause_texts(check)[0]
