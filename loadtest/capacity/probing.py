"""Where a live endpoint breaks: which rate to try next, from what the rates tried so far came to.

Steps double until a rate fails, then the gap between the highest passing and the lowest failing rate is halved, in
ratios, until it is small enough. Then both edges are confirmed twice, since a run near the edge goes either way by
chance. What most probes of a rate overturn moves the edge, and the search goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from loadtest.analyze.summary import Summary, Verdict

STRETCH = 2
"""A probe that cannot tell is repeated so many times as long."""
LEAST_SHARE = 1 / 32
"""Where the first rate fails, lower ones are tried down to this share of it."""
_RAISE = 2.0
_AGREE = 3
"""The probe that finds an edge, and two that confirm it."""
_ENDPOINT_S_OWN = ("jobs completed", "censored jobs")
"""Checks that an overwhelmed endpoint fails, however sound the generator was."""
_ABORT_RULE = "abort."


class Outcome(StrEnum):
    """What a probe says of its rate."""

    PASSES = "passes"
    FAILS = "fails"
    UNTOLD = "cannot tell"
    INVALID = "invalid"
    REFUSED = "not tried"
    STOPPED = "stopped"


class Ended(StrEnum):
    """What ended a search: the endpoint, a limit, the scenario's bound, no rate that passes, a bad probe, a stop."""

    ENDPOINT = "endpoint"
    LIMIT = "limit"
    AT_MOST = "at most"
    NOTHING = "nothing passes"
    INVALID = "invalid"
    STOPPED = "stopped"


class Tried(msgspec.Struct, frozen=True):
    """A rate and what a probe of it came to; its stages were `stretch` times as long as the scenario has them."""

    rate_per_s: float
    outcome: Outcome
    stretch: int = 1


class Probe(msgspec.Struct, frozen=True):
    """What is to be tried next."""

    rate_per_s: float
    stretch: int = 1


class Found(msgspec.Struct, frozen=True):
    """The end of a search; rates per second, null where there is none such."""

    ended: Ended
    highest_passing_per_s: float | None
    lowest_failing_per_s: float | None


class Bounds(msgspec.Struct, frozen=True):
    """Where a search begins, what it never passes, and how close its edges are to come (a share)."""

    first_per_s: float
    at_most_per_s: float
    within: float = 0.05


def outcome_of(summary: Summary, stopped_by: str) -> Outcome:
    """What a run says of its rate; stopped, and the search with it, where it ended for a reason that is no evidence.

    An abort rule speaks of the endpoint. So do jobs left unfinished, where a gate fails: overload left them.
    """
    if summary.verdict is Verdict.ABORTED:
        return Outcome.FAILS if stopped_by.startswith(_ABORT_RULE) else Outcome.STOPPED
    failing = [check.name for check in summary.validity.checks if not check.ok]
    if failing:
        broken = any(gate.verdict is Verdict.FAIL for gate in summary.gates)
        return Outcome.FAILS if broken and set(failing) <= set(_ENDPOINT_S_OWN) else Outcome.INVALID
    words = {Verdict.PASS: Outcome.PASSES, Verdict.FAIL: Outcome.FAILS}
    return words.get(summary.verdict, Outcome.UNTOLD)


def usual_probes(bounds: Bounds) -> int:
    """How many probes it takes where the endpoint breaks at one rate below the highest, and no two disagree."""
    raising = math.ceil(math.log(bounds.at_most_per_s / bounds.first_per_s, _RAISE)) + 1
    return raising + math.ceil(math.log2(math.log(_RAISE, 1 + bounds.within))) + 2 * (_AGREE - 1)


def next_step(bounds: Bounds, tried: Sequence[Tried]) -> Probe | Found:
    """The next probe, or what was found; from the outcomes alone, in their order.

    An invalid probe is repeated once. One that cannot tell is repeated for longer; where that cannot either, the
    rate does not pass, since what cannot be shown to hold is not promised. Where as many pass as fail, one more
    decides. A repetition for which a limit or ceiling leaves no room ends the search.
    """
    if not tried:
        return Probe(bounds.first_per_s)
    last = tried[-1]
    if last.outcome is Outcome.STOPPED:
        return _found(Ended.STOPPED, tried)
    if last.outcome is Outcome.INVALID:
        if len(tried) > 1 and tried[-2] == last:
            return _found(Ended.INVALID, tried)
        return Probe(last.rate_per_s, last.stretch)
    if last.outcome is Outcome.REFUSED and any(each.rate_per_s == last.rate_per_s for each in tried[:-1]):
        return _found(Ended.LIMIT, tried)
    if last.outcome is Outcome.UNTOLD and last.stretch == 1:
        return Probe(last.rate_per_s, STRETCH)
    votes = _votes(tried).items()
    split = next((rate for rate, each in votes if each and sum(each) * 2 == len(each)), None)
    return _again(split, tried) if split is not None else _beyond_or_between(bounds, tried)


def _beyond_or_between(bounds: Bounds, tried: Sequence[Tried]) -> Probe | Found:
    low, high = edges(tried)
    refused = min((each.rate_per_s for each in tried if each.outcome is Outcome.REFUSED), default=None)
    above = min((rate for rate in (high, refused) if rate is not None), default=None)
    if low is None:
        assert above is not None
        lower = _rounded(above / _RAISE)
        if lower >= bounds.first_per_s * LEAST_SHARE:
            return Probe(lower)
        return _confirmed(Ended.NOTHING, tried, high)
    if above is None:
        if low >= bounds.at_most_per_s:
            return _confirmed(Ended.AT_MOST, tried, low)
        return Probe(min(_rounded(low * _RAISE), bounds.at_most_per_s))
    if above / low > 1 + bounds.within:
        return Probe(_rounded((low * above) ** 0.5))
    return _confirmed(Ended.ENDPOINT, tried, low, high) if above == high else _confirmed(Ended.LIMIT, tried, low)


def edges(tried: Sequence[Tried]) -> tuple[float | None, float | None]:
    """The highest passing and the lowest failing rate, as most probes of each have it.

    A rate that passes above one that fails is luck, and passed over.
    """
    votes = {rate: each for rate, each in _votes(tried).items() if each}
    high = min((rate for rate, each in votes.items() if sum(each) * 2 < len(each)), default=None)
    passing = (rate for rate, each in votes.items() if sum(each) * 2 > len(each))
    return max((rate for rate in passing if high is None or rate < high), default=None), high


def _votes(tried: Sequence[Tried]) -> dict[float, list[bool]]:
    """For each rate what its probes say: passes or not; a short one that cannot tell says nothing."""
    votes: dict[float, list[bool]] = {}
    for each in tried:
        said = votes.setdefault(each.rate_per_s, [])
        if each.outcome is Outcome.PASSES:
            said.append(True)
        elif each.outcome is Outcome.FAILS or (each.outcome is Outcome.UNTOLD and each.stretch > 1):
            said.append(False)
    return votes


def _confirmed(ended: Ended, tried: Sequence[Tried], *rates: float | None) -> Probe | Found:
    """The end, once so many probes of each of these rates agree; until then one more of them."""
    votes = _votes(tried)
    for rate in rates:
        if rate is not None and max(votes[rate].count(True), votes[rate].count(False)) < _AGREE:
            return _again(rate, tried)
    return _found(ended, tried)


def _again(rate_per_s: float, tried: Sequence[Tried]) -> Probe:
    return Probe(rate_per_s, max(each.stretch for each in tried if each.rate_per_s == rate_per_s))


def _found(ended: Ended, tried: Sequence[Tried]) -> Found:
    return Found(ended, *edges(tried))


def _rounded(rate_per_s: float) -> float:
    return float(f"{rate_per_s:.3g}")
