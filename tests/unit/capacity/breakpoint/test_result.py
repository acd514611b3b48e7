"""The result of a stopped search."""

from __future__ import annotations

from loadtest.analyze.summary import Verdict
from loadtest.capacity.breakpoint.bisection import EndReason, ProbeOutcome
from loadtest.capacity.breakpoint.result import ProbeResult, measured_search, stopped
from tests.unit.scenario.test_probes import scenario

PASSES = ProbeResult(20.0, ProbeOutcome.PASSES, "Every gate passes.", run="probe-01")
FAILS = ProbeResult(40.0, ProbeOutcome.FAILS, "A gate fails.", run="probe-02")
STOPPED = ProbeResult(28.0, ProbeOutcome.STOPPED, "probe-03: cannot be written.")


def test_a_stopped_search_keeps_the_edges_that_it_has_found() -> None:
    found = measured_search(scenario(), stopped([PASSES, FAILS]), [PASSES, FAILS])
    assert (found.ended, found.verdict) == (EndReason.STOPPED, Verdict.ABORTED)
    assert (found.highest_passing_per_s, found.lowest_failing_per_s) == (20.0, 40.0)
    assert found.reason == "The gates hold up to 20/s; the search was stopped at 40/s."


def test_the_reason_is_that_of_the_last_probe_if_it_stopped_the_search_else_the_given_one() -> None:
    own = measured_search(scenario(), stopped([PASSES, STOPPED]), [PASSES, STOPPED], "search.json: no space.")
    assert own.reason == "The gates hold up to 20/s; the search was stopped at 28/s. probe-03: cannot be written."
    given = measured_search(scenario(), stopped([PASSES]), [PASSES], "search.json: no space.")
    assert given.reason == "The gates hold up to 20/s; the search was stopped at 20/s. search.json: no space."
