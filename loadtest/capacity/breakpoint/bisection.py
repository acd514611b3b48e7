"""The search for the rate at which a live endpoint breaks: the next rate, from the outcomes of the probes.

Steps double until a rate fails, then the gap between the highest passing and the lowest failing rate is halved, in
ratios, until it is small enough. Then both edges are confirmed twice, since a run near the edge goes either way by
chance, with stages in which a backlog that grows by half a step shows. These decide; if they disagree with the
probe that found the edge, it moves, and the search goes on from there. No rate passes that is above what the endpoint
completed while its backlog grew: that is its capacity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from loadtest.analyze.summary import CheckId, Summary, Verdict
from loadtest.scenario.abort import StopKind

REPEAT_FACTOR = 2  # an inconclusive probe is repeated with stages this many times as long
MIN_SHARE = 1 / 32  # if the first rate fails, lower ones are tried down to this share of it
MAX_STRETCH = 40  # the longest stages of a probe, as a multiple of the scenario's
_RAISE = 2.0
_AGREE = 3  # how many probes of an edge must agree: the one that finds it, and two that confirm it
_ENDPOINT_CHECKS = {CheckId.JOBS_COMPLETED, CheckId.CENSORED_JOBS}
"""Validity checks that an overloaded endpoint fails, however good the generator was."""
_ABORT_RULES = (StopKind.ABORT_ERRORS, StopKind.ABORT_GATES)


class ProbeOutcome(StrEnum):
    """The outcome of a probe for its rate."""

    PASSES = "passes"
    FAILS = "fails"
    INCONCLUSIVE = "cannot tell"
    INVALID = "invalid"
    REFUSED = "not tried"
    STOPPED = "stopped"


class EndReason(StrEnum):
    """The end of a search: the endpoint, a limit, the scenario's bound, no passing rate, an invalid probe, a stop."""

    ENDPOINT = "endpoint"
    LIMIT = "limit"
    AT_MOST = "at most"
    NOTHING = "nothing passes"
    INVALID = "invalid"
    STOPPED = "stopped"


class ProbeRecord(msgspec.Struct, frozen=True):
    """The outcome of a probe of a rate; its stages were `stretch` times as long as in the scenario.

    `needed` is the stretch at which a growing backlog shows, 1 if not known. `capacity_per_s` is the rate of
    completions if the backlog grew.
    """

    rate_per_s: float
    outcome: ProbeOutcome
    stretch: int = 1
    needed: int = 1
    capacity_per_s: float | None = None


class Probe(msgspec.Struct, frozen=True):
    """The next probe."""

    rate_per_s: float
    stretch: int = 1


class SearchEnd(msgspec.Struct, frozen=True):
    """The end of a search; rates per second, null if there is none."""

    ended: EndReason
    highest_passing_per_s: float | None
    lowest_failing_per_s: float | None


class Bounds(msgspec.Struct, frozen=True):
    """The first rate of a search, the highest, and how close its edges must come (as a share)."""

    first_per_s: float
    max_rate_per_s: float
    within: float = 0.05


def outcome_of(summary: Summary, stop: StopKind | None) -> ProbeOutcome:
    """Return the outcome of a run for its rate; STOPPED, which ends the search, if the run ended for another reason.

    An abort rule that ended the run is evidence about the endpoint. So are unfinished jobs, if a gate fails: they are
    left over from overload. A gate on a rate says nothing against more load, which may reach it: the others decide.
    """
    if summary.verdict is Verdict.ABORTED:
        return ProbeOutcome.FAILS if stop in _ABORT_RULES else ProbeOutcome.STOPPED
    failing = [check.name for check in summary.validity.checks if not check.ok]
    if failing:
        broken = any(gate.verdict is Verdict.FAIL for gate in summary.gates)
        return ProbeOutcome.FAILS if broken and set(failing) <= _ENDPOINT_CHECKS else ProbeOutcome.INVALID
    verdict = summary.verdict
    if any(gate.metric.is_rate and gate.verdict is not Verdict.PASS for gate in summary.gates):
        others = [gate.verdict for gate in summary.gates if not gate.metric.is_rate]
        verdict = next((each for each in (Verdict.FAIL, Verdict.INCONCLUSIVE) if each in others), Verdict.PASS)
    outcomes = {Verdict.PASS: ProbeOutcome.PASSES, Verdict.FAIL: ProbeOutcome.FAILS}
    return outcomes.get(verdict, ProbeOutcome.INCONCLUSIVE)


def usual_probes(bounds: Bounds) -> int:
    """Return how many probes it takes if the endpoint breaks at one rate below the highest, and no two disagree."""
    raising = math.ceil(math.log(bounds.max_rate_per_s / bounds.first_per_s, _RAISE)) + 1
    return raising + math.ceil(math.log2(math.log(_RAISE, 1 + bounds.within))) + 2 * (_AGREE - 1)


def longest_load_s(bounds: Bounds, load_s: float) -> float:
    """Return how long the load of the usual probes lasts at most, if that of a short one lasts `load_s`.

    The probes that confirm both edges are the long ones.
    """
    long = 2 * (_AGREE - 1)
    return load_s * (usual_probes(bounds) - long + long * MAX_STRETCH)


def next_step(bounds: Bounds, tried: Sequence[ProbeRecord]) -> Probe | SearchEnd:
    """Return the next probe, or the end; from the outcomes alone, in their order.

    An invalid probe is repeated once. An inconclusive one is repeated for longer; if that is inconclusive too, the
    rate does not pass, since a gate that cannot be shown to hold is not promised. If as many pass as fail, one more
    decides. A repetition that exceeds a limit or ceiling ends the search.
    """
    if not tried:
        return Probe(bounds.first_per_s)
    last = tried[-1]
    if last.outcome is ProbeOutcome.STOPPED:
        return _found(EndReason.STOPPED, tried)
    if last.outcome is ProbeOutcome.INVALID:
        if len(tried) > 1 and tried[-2] == last:
            return _found(EndReason.INVALID, tried)
        return Probe(last.rate_per_s, last.stretch)
    if last.outcome is ProbeOutcome.REFUSED and any(each.rate_per_s == last.rate_per_s for each in tried[:-1]):
        return _found(EndReason.LIMIT, tried)
    if last.outcome is ProbeOutcome.INCONCLUSIVE and last.stretch == 1:
        return Probe(last.rate_per_s, max(REPEAT_FACTOR, last.needed))
    votes = _votes(tried).items()
    split = next((rate for rate, each in votes if each and sum(each) * 2 == len(each)), None)
    return _again(split, tried) if split is not None else _beyond_or_between(bounds, tried)


def _beyond_or_between(bounds: Bounds, tried: Sequence[ProbeRecord]) -> Probe | SearchEnd:
    low, high = bracket(tried)
    refused = min((each.rate_per_s for each in tried if each.outcome is ProbeOutcome.REFUSED), default=None)
    above = min((rate for rate in (high, refused) if rate is not None), default=None)
    if low is None:
        assert above is not None
        lower = _rounded(above / _RAISE)
        if lower >= bounds.first_per_s * MIN_SHARE:
            return Probe(lower)
        return _confirmed(EndReason.NOTHING, tried, high)
    if above is None:
        if low >= bounds.max_rate_per_s:
            return _confirmed(EndReason.AT_MOST, tried, low)
        return Probe(min(_rounded(low * _RAISE), bounds.max_rate_per_s))
    if above / low > 1 + bounds.within:
        return Probe(_rounded((low * above) ** 0.5))
    return (
        _confirmed(EndReason.ENDPOINT, tried, low, high) if above == high else _confirmed(EndReason.LIMIT, tried, low)
    )


def bracket(tried: Sequence[ProbeRecord]) -> tuple[float | None, float | None]:
    """Return the highest passing and lowest failing rate by majority; passes above a failing rate are ignored."""
    votes = {rate: each for rate, each in _votes(tried).items() if each}
    high = min((rate for rate, each in votes.items() if sum(each) * 2 < len(each)), default=None)
    passing = (rate for rate, each in votes.items() if sum(each) * 2 > len(each))
    return max((rate for rate in passing if high is None or rate < high), default=None), high


def _votes(tried: Sequence[ProbeRecord]) -> dict[float, list[bool]]:
    """Return for each rate which of its probes pass; only the long ones count once there are any.

    A short probe that is inconclusive does not count. A rate above the capacity does not pass.
    """
    capacity_per_s = _capacity_per_s(tried)
    by_rate: dict[float, list[ProbeRecord]] = {}
    for each in tried:
        by_rate.setdefault(each.rate_per_s, []).append(each)
    votes = {}
    for rate, probes in by_rate.items():
        needed = _needed(rate, tried)
        said = [(each.stretch >= needed, passes) for each in probes if (passes := _says(each)) is not None]
        some_are_long = any(long for long, _ in said)
        votes[rate] = [passes and rate <= capacity_per_s for long, passes in said if long or not some_are_long]
    return votes


def _says(probe: ProbeRecord) -> bool | None:
    """Return whether a probe passes; None if it does not count."""
    if probe.outcome is ProbeOutcome.PASSES:
        return True
    longer = probe.outcome is ProbeOutcome.INCONCLUSIVE and probe.stretch > 1
    return False if longer or probe.outcome is ProbeOutcome.FAILS else None


def _capacity_per_s(tried: Sequence[ProbeRecord]) -> float:
    """Return what the endpoint completed in the long probes whose backlog grew, on average; infinite if none did."""
    known = [
        each.capacity_per_s
        for each in tried
        if each.capacity_per_s is not None and each.stretch >= _needed(each.rate_per_s, tried)
    ]
    return sum(known) / len(known) if known else math.inf


def _needed(rate_per_s: float, tried: Sequence[ProbeRecord]) -> int:
    """Return the stretch of the long probes of a rate, by the first that counts: later estimates differ."""
    counted = (each.needed for each in tried if each.rate_per_s == rate_per_s and _says(each) is not None)
    return next(counted, 1)


def _confirmed(ended: EndReason, tried: Sequence[ProbeRecord], *rates: float | None) -> Probe | SearchEnd:
    """Return the end once _AGREE probes of each of these rates agree, the first a short one; else one more probe."""
    votes = _votes(tried)
    for rate in rates:
        if rate is None:
            continue
        long = [each for each in tried if each.rate_per_s == rate and each.stretch >= _needed(rate, tried)]
        agree = _AGREE if _needed(rate, tried) == 1 else _AGREE - 1
        if not long or max(votes[rate].count(True), votes[rate].count(False)) < agree:
            return _again(rate, tried)
    return _found(ended, tried)


def _again(rate_per_s: float, tried: Sequence[ProbeRecord]) -> Probe:
    stretches = (each.stretch for each in tried if each.rate_per_s == rate_per_s)
    return Probe(rate_per_s, max(_needed(rate_per_s, tried), *stretches))


def _found(ended: EndReason, tried: Sequence[ProbeRecord]) -> SearchEnd:
    return SearchEnd(ended, *bracket(tried))


def _rounded(rate_per_s: float) -> float:
    return float(f"{rate_per_s:.3g}")
