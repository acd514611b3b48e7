"""The result of a stopped search."""

from __future__ import annotations

import msgspec
import pytest

from loadtest.analyze.summary import GateResult, Verdict
from loadtest.capacity.breakpoint.bisection import EndReason, ProbeOutcome, SearchEnd
from loadtest.capacity.breakpoint.result import ProbeResult, measured_search, stopped
from loadtest.scenario.metrics import Metric, Unit
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


def tokens(verdict: Verdict) -> GateResult:
    return GateResult("tokens > 9/s", 5.0, 9.0, 100, verdict, "The rate is 5/s.", Metric.TOKENS, Unit.PER_SECOND)


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        ([Verdict.PASS, Verdict.PASS], Verdict.PASS),
        ([Verdict.FAIL, Verdict.PASS, Verdict.PASS], Verdict.PASS),
        ([Verdict.FAIL, Verdict.PASS], Verdict.FAIL),
        ([Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS], Verdict.FAIL),
        ([Verdict.INCONCLUSIVE], Verdict.INCONCLUSIVE),
    ],
)
def test_a_rate_passes_only_if_the_gates_on_rates_hold_there(seen: list[Verdict], verdict: Verdict) -> None:
    low = msgspec.structs.replace(PASSES, rate_per_s=10.0, gates=[tokens(Verdict.FAIL)])
    short = msgspec.structs.replace(PASSES, gates=[tokens(Verdict.FAIL)])
    long = [msgspec.structs.replace(PASSES, stretch=3, gates=[tokens(each)]) for each in seen]
    end = SearchEnd(EndReason.ENDPOINT, 20.0, 40.0)
    found = measured_search(scenario(gates=["tokens > 9/s"]), end, [low, short, *long, FAILS])
    assert found.verdict is verdict
    if verdict is Verdict.PASS:
        assert found.reason.startswith("The gates hold up to 20/s")
    else:
        assert found.reason.startswith("The other gates hold up to 20/s")
        assert found.reason.endswith("Both were confirmed twice. tokens > 9/s does not hold there: The rate is 5/s.")
