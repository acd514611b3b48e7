"""The sentences about takes and about the causes of errors."""

from __future__ import annotations

import msgspec
import pytest

from loadtest.capacity.backtest.attribution import Cause
from loadtest.capacity.backtest.backtest import BacktestResult, FigureCheck
from loadtest.capacity.calibration.crashes import Crashes
from loadtest.capacity.calibration.take_pattern import NONE_SEEN, Source, TakePattern
from loadtest.capacity.estimates import Estimate
from loadtest.capacity.simulation.workload import fixed
from loadtest.report.capacity_text import cause_texts, crashes_text, failures_text, pattern_text
from tests.unit.report.pages.test_capacity import CALIBRATION, planned


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


@pytest.mark.parametrize(
    ("crashes", "text"),
    [
        (Crashes(), ""),
        (Crashes(0.1, 2), "Workers die in 10 % of the tries (by the endpoint's settings); a job is tried 2 times."),
        (Crashes(0.05, 3, 20.0, 400.0), "(seen 20.0 times in 400 tries); a job is tried 3 times."),
    ],
)
def test_deaths_of_workers_are_reported_with_their_evidence(crashes: Crashes, text: str) -> None:
    calibration = msgspec.structs.replace(CALIBRATION, crashes=crashes)
    assert crashes_text(calibration).endswith(text)
    assert bool(crashes_text(calibration)) is bool(text)


def test_jobs_that_do_not_complete_are_reported_with_the_share_of_deadlines() -> None:
    plan = planned()
    assert failures_text(plan) == ""
    found = msgspec.structs.replace(
        plan.answer.prediction, failed=Estimate(0.25, 0.2, 0.3), timed_out=Estimate(0.1, 0.05, 0.15)
    )
    failing = msgspec.structs.replace(plan, answer=msgspec.structs.replace(plan.answer, prediction=found))
    text = failures_text(failing)
    assert text.startswith("25 % of the jobs (20 % to 30 %) do not complete, 10 % because they pass their")
