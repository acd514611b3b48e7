"""A measured search of synthetic endpoints: it ends, near the true capacity, and exceeds no bound."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import Check, GateResult, Validity, Verdict
from loadtest.capacity.breakpoint.bisection import (
    Bounds,
    EndReason,
    Probe,
    ProbeOutcome,
    ProbeRecord,
    SearchEnd,
    bracket,
    next_step,
    outcome_of,
    usual_probes,
)
from loadtest.scenario.abort import StopKind
from loadtest.scenario.metrics import Metric, Unit
from tests.conftest import MadeUpRun
from tests.unit.analyze.rows import run_data

Endpoint = Callable[[Probe], ProbeOutcome]


def searched(bounds: Bounds, endpoint: Endpoint, max_probes: int = 200) -> tuple[SearchEnd, list[ProbeRecord]]:
    tried: list[ProbeRecord] = []
    for _ in range(max_probes):
        step = next_step(bounds, tried)
        if isinstance(step, SearchEnd):
            return step, tried
        assert step.rate_per_s <= bounds.max_rate_per_s
        tried.append(ProbeRecord(step.rate_per_s, endpoint(step), step.stretch))
    raise AssertionError(f"no end after {max_probes} probes")


def breaks_at(capacity: float) -> Endpoint:
    return lambda probe: ProbeOutcome.PASSES if probe.rate_per_s <= capacity else ProbeOutcome.FAILS


@given(st.floats(1, 50), st.floats(0.05, 2000), st.floats(0.02, 0.5))
def test_both_edges_are_found_within_the_share_if_the_endpoint_breaks_at_one_rate(
    first: float, capacity: float, within: float
) -> None:
    found, tried = searched(Bounds(first, 1000.0, within), breaks_at(capacity))
    low, high = found.highest_passing_per_s, found.lowest_failing_per_s
    if found.ended is EndReason.ENDPOINT:
        assert low is not None
        assert high is not None
        assert low <= capacity < high
        assert high / low <= 1 + within
        assert [each.rate_per_s for each in tried].count(low) == [each.rate_per_s for each in tried].count(high) == 3
    elif found.ended is EndReason.AT_MOST:
        assert (low, high) == (1000.0, None)
        assert capacity >= 1000
    else:
        assert found.ended is EndReason.NOTHING
        assert low is None
        assert capacity < first / 16
    assert len(tried) <= 16 + math.log2(max(capacity, first) / first + 1) + math.log2(1 / math.log2(1 + within))


def test_the_number_of_probes_from_1_to_1000() -> None:
    found, tried = searched(Bounds(1.0, 1000.0), breaks_at(300.0))
    assert (len(tried), usual_probes(Bounds(1.0, 1000.0))) == (18, 19)
    assert len({each.rate_per_s for each in tried}) == 14
    assert (found.highest_passing_per_s, found.lowest_failing_per_s) == (
        pytest.approx(292, 0.03),
        pytest.approx(305, 0.03),
    )


@given(st.integers(0, 2**32), st.floats(5, 500), st.floats(0.01, 0.2))
def test_the_search_of_a_noisy_endpoint_ends_with_edges_that_three_probes_agree_on(
    seed: int, capacity: float, width: float
) -> None:
    """Near the capacity a probe passes or fails by chance, is inconclusive, or is invalid."""
    rng = random.Random(seed)

    def endpoint(probe: Probe) -> ProbeOutcome:
        draw = rng.random()
        if draw < 0.02:
            return ProbeOutcome.INVALID
        if draw < 0.1 and probe.stretch == 1:
            return ProbeOutcome.INCONCLUSIVE
        passing = 1 / (1 + math.exp((probe.rate_per_s / capacity - 1) / width * 4))
        return ProbeOutcome.PASSES if rng.random() < passing else ProbeOutcome.FAILS

    found, tried = searched(Bounds(4.0, 1000.0), endpoint)
    low, high = found.highest_passing_per_s, found.lowest_failing_per_s
    if found.ended is EndReason.ENDPOINT:
        assert low is not None
        assert high is not None
        assert low < high <= low * 1.0501
        for rate, outcome in ((low, ProbeOutcome.PASSES), (high, ProbeOutcome.FAILS)):
            outcomes = [each.outcome for each in tried if each.rate_per_s == rate]
            assert outcomes.count(outcome) >= 3


@given(st.floats(5, 500), st.floats(5, 500))
def test_no_probe_is_sent_above_a_refused_rate_which_ends_the_search_as_a_limit(
    capacity: float, refused_above: float
) -> None:
    def endpoint(probe: Probe) -> ProbeOutcome:
        return ProbeOutcome.REFUSED if probe.rate_per_s > refused_above else breaks_at(capacity)(probe)

    found, tried = searched(Bounds(4.0, 1000.0), endpoint)
    sent = [each for each in tried if each.outcome is not ProbeOutcome.REFUSED]
    assert max(each.rate_per_s for each in sent) <= refused_above
    assert found.highest_passing_per_s is not None
    if found.ended is EndReason.LIMIT:
        assert found.highest_passing_per_s >= refused_above / 1.051
        assert capacity >= found.highest_passing_per_s
    else:
        assert found.ended is EndReason.ENDPOINT


def test_an_invalid_probe_is_repeated_once_and_then_ends_the_search() -> None:
    found, tried = searched(
        Bounds(10.0, 100.0), lambda probe: ProbeOutcome.INVALID if probe.rate_per_s > 15 else ProbeOutcome.PASSES
    )
    assert [each.rate_per_s for each in tried] == [10.0, 20.0, 20.0]
    assert found == SearchEnd(EndReason.INVALID, 10.0, None)


def test_an_inconclusive_probe_is_repeated_for_longer_and_then_does_not_pass() -> None:
    found, tried = searched(
        Bounds(10.0, 100.0), lambda probe: ProbeOutcome.INCONCLUSIVE if probe.rate_per_s > 15 else ProbeOutcome.PASSES
    )
    assert tried[1:3] == [
        ProbeRecord(20.0, ProbeOutcome.INCONCLUSIVE),
        ProbeRecord(20.0, ProbeOutcome.INCONCLUSIVE, 2),
    ]
    assert found.ended is EndReason.ENDPOINT
    assert found.highest_passing_per_s is not None
    assert 14 < found.highest_passing_per_s < 15.1


def test_a_third_probe_decides_if_two_disagree_and_the_edge_moves() -> None:
    passes, fails = ProbeOutcome.PASSES, ProbeOutcome.FAILS
    tried = [
        ProbeRecord(10.0, passes),
        ProbeRecord(20.0, fails),
        ProbeRecord(14.14, passes),
        ProbeRecord(14.14, fails),
    ]
    assert next_step(Bounds(10.0, 100.0), tried) == Probe(14.14)
    assert bracket([*tried, ProbeRecord(14.14, fails)]) == (10.0, 14.14)
    assert bracket([*tried, ProbeRecord(14.14, passes)]) == (14.14, 20.0)
    assert bracket([*tried, ProbeRecord(14.14, fails), ProbeRecord(17.0, passes)]) == (10.0, 14.14)


def test_a_repetition_that_exceeds_a_ceiling_ends_the_search() -> None:
    tried = [
        ProbeRecord(10.0, ProbeOutcome.PASSES),
        ProbeRecord(10.4, ProbeOutcome.FAILS),
        ProbeRecord(10.0, ProbeOutcome.REFUSED),
    ]
    assert next_step(Bounds(10.0, 100.0), tried) == SearchEnd(EndReason.LIMIT, 10.0, 10.4)


def checked(*failing: str) -> Validity:
    names = ("jobs completed", "rate achieved", "censored jobs")
    return Validity(not failing, [Check(name, name not in failing, 0.0, 0.0, "") for name in names])


@pytest.mark.parametrize(
    ("verdict", "failing", "stop", "outcome"),
    [
        (Verdict.PASS, (), None, ProbeOutcome.PASSES),
        (Verdict.FAIL, (), None, ProbeOutcome.FAILS),
        (Verdict.INCONCLUSIVE, (), None, ProbeOutcome.INCONCLUSIVE),
        (Verdict.INVALID, ("rate achieved",), None, ProbeOutcome.INVALID),
        (Verdict.INVALID, ("censored jobs",), None, ProbeOutcome.FAILS),
        (Verdict.INVALID, ("censored jobs", "rate achieved"), None, ProbeOutcome.INVALID),
        (Verdict.ABORTED, (), StopKind.ABORT_GATES, ProbeOutcome.FAILS),
        (Verdict.ABORTED, (), StopKind.ABORT_ERRORS, ProbeOutcome.FAILS),
        (Verdict.ABORTED, (), StopKind.JOBS_CEILING, ProbeOutcome.STOPPED),
        (Verdict.ABORTED, (), None, ProbeOutcome.STOPPED),
    ],
)
def test_the_outcome_of_a_probe_follows_from_its_run(
    steady: MadeUpRun, verdict: Verdict, failing: tuple[str, ...], stop: StopKind | None, outcome: ProbeOutcome
) -> None:
    summary = summarize(run_data(steady.run, steady.samples, steady.requests))
    gate = GateResult("delay p95 < 2s", 5000.0, 2000.0, 100, Verdict.FAIL, "", Metric.DELAY, Unit.MILLISECONDS)
    judged = msgspec.structs.replace(summary, gates=[gate], verdict=verdict, validity=checked(*failing))
    assert outcome_of(judged, stop) is outcome


@pytest.mark.parametrize(
    ("tokens", "delay", "outcome"),
    [
        (Verdict.PASS, Verdict.PASS, ProbeOutcome.PASSES),
        (Verdict.FAIL, Verdict.PASS, ProbeOutcome.PASSES),
        (Verdict.INCONCLUSIVE, Verdict.PASS, ProbeOutcome.PASSES),
        (Verdict.FAIL, Verdict.FAIL, ProbeOutcome.FAILS),
        (Verdict.FAIL, Verdict.INCONCLUSIVE, ProbeOutcome.INCONCLUSIVE),
        (Verdict.PASS, Verdict.INCONCLUSIVE, ProbeOutcome.INCONCLUSIVE),
    ],
)
def test_a_rate_that_is_too_low_says_nothing_against_more_load(
    steady: MadeUpRun, tokens: Verdict, delay: Verdict, outcome: ProbeOutcome
) -> None:
    summary = summarize(run_data(steady.run, steady.samples, steady.requests))
    gates = [
        GateResult("tokens > 9/s", 5.0, 9.0, 100, tokens, "", Metric.TOKENS, Unit.PER_SECOND),
        GateResult("delay p95 < 2s", 1.0, 2000.0, 100, delay, "", Metric.DELAY, Unit.MILLISECONDS),
    ]
    word = next(each for each in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS) if each in (tokens, delay))
    judged = msgspec.structs.replace(summary, gates=gates, verdict=word, validity=checked())
    assert outcome_of(judged, None) is outcome


def test_edges_are_confirmed_by_long_probes_also_if_the_first_of_a_rate_was_not_valid() -> None:
    seen: set[float] = set()
    tried: list[ProbeRecord] = []
    while isinstance(step := next_step(Bounds(4.0, 1000.0), tried), Probe):
        outcome = breaks_at(40.0)(step) if step.rate_per_s in seen else ProbeOutcome.INVALID
        seen.add(step.rate_per_s)
        needed = 1 if outcome is ProbeOutcome.INVALID else 3
        tried.append(ProbeRecord(step.rate_per_s, outcome, step.stretch, needed))
    for rate in (step.highest_passing_per_s, step.lowest_failing_per_s):
        assert [each.stretch for each in tried if each.rate_per_s == rate].count(3) == 2
