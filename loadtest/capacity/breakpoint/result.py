"""The result of a measured search, for the terminal and the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from loadtest.analyze.summary import GateResult, Verdict
from loadtest.capacity.breakpoint.backlog import ProbeBacklog
from loadtest.capacity.breakpoint.bisection import (
    MAX_STRETCH,
    EndReason,
    ProbeOutcome,
    ProbeRecord,
    SearchEnd,
    bracket,
)
from loadtest.scenario.gates import default_gates
from loadtest.scenario.model import Scenario

SCHEMA = 1


class ProbeResult(msgspec.Struct, frozen=True):
    """The result of a probe; `run` names its run directory, null if that holds no results.

    `achieved_per_s` and `gates` are the run's own; `reason` is its verdict's, or why nothing was sent. `needed` is
    the stretch at which a growing backlog shows, and the probe was `overloaded` if it grew.
    """

    rate_per_s: float
    outcome: ProbeOutcome
    reason: str
    stretch: int = 1
    run: str | None = None
    jobs: int = 0
    achieved_per_s: float | None = None
    gates: list[GateResult] = []
    backlog: ProbeBacklog | None = None
    needed: int = 1
    overloaded: bool = False

    @property
    def tried(self) -> ProbeRecord:
        """Return the rate and outcome, from which the next step follows."""
        capacity_per_s = self.backlog.sustained_per_s if self.backlog is not None and self.overloaded else None
        return ProbeRecord(self.rate_per_s, self.outcome, self.stretch, self.needed, capacity_per_s)


def with_backlog(judged: ProbeResult, backlog: ProbeBacklog, step: float) -> ProbeResult:
    """Return a probe with its backlog: it fails if that grows, whatever its gates say.

    A probe that was not valid, or was stopped, shows nothing about its rate, and keeps its outcome.
    """
    if judged.outcome not in (ProbeOutcome.PASSES, ProbeOutcome.FAILS, ProbeOutcome.INCONCLUSIVE):
        return judged
    overloaded = backlog.grows(step)
    times = backlog.needed_jobs(step) * judged.stretch / max(1, backlog.arrived)
    fails = overloaded and judged.outcome is not ProbeOutcome.FAILS
    return msgspec.structs.replace(
        judged,
        backlog=backlog,
        overloaded=overloaded,
        needed=min(MAX_STRETCH, max(1, math.ceil(times))),
        outcome=ProbeOutcome.FAILS if fails else judged.outcome,
        reason=f"{backlog.text()} {judged.reason}" if fails else judged.reason,
    )


class BreakpointResult(msgspec.Struct, frozen=True, rename={"max_rate_per_s": "at_most_per_s"}):
    """The content of `search.json`; rates per second, null if there is none.

    `broken` holds the gates that did not hold at the lowest failing rate, or could not be shown to. While a search
    goes on, the content is that of a search stopped after its last probe.
    """

    scenario: str
    question: str
    target: str
    slo: tuple[str, ...]
    within: float
    max_rate_per_s: float
    ended: EndReason
    highest_passing_per_s: float | None
    lowest_failing_per_s: float | None
    broken: tuple[GateResult, ...]
    verdict: Verdict
    reason: str
    probes: tuple[ProbeResult, ...]
    schema: int = SCHEMA


def stopped(probes: Sequence[ProbeResult]) -> SearchEnd:
    """Return the end of a search that stops after these probes."""
    return SearchEnd(EndReason.STOPPED, *bracket([each.tried for each in probes]))


def measured_search(
    scenario: Scenario, found: SearchEnd, probes: Sequence[ProbeResult], stopped_by: str = ""
) -> BreakpointResult:
    """Return the whole result; `stopped_by` is the reason of a stop that is not in the last probe's result."""
    assert scenario.search is not None
    failing = [each for each in probes if each.rate_per_s == found.lowest_failing_per_s]
    broken = {gate.gate: gate for each in failing for gate in each.gates if gate.verdict is not Verdict.PASS}
    lacking = _lacking(found, probes)
    return BreakpointResult(
        scenario=scenario.name,
        question=scenario.question,
        target=scenario.target_name,
        slo=tuple(map(str, (*scenario.gates, *default_gates(scenario.gates)))),
        within=scenario.search.within,
        max_rate_per_s=scenario.search.max_rate,
        ended=found.ended,
        highest_passing_per_s=found.highest_passing_per_s,
        lowest_failing_per_s=found.lowest_failing_per_s,
        broken=tuple(broken.values()),
        verdict=_verdict(found, failing, lacking),
        reason=_reason(found, list(broken), probes, stopped_by, lacking),
        probes=tuple(probes),
    )


def _lacking(found: SearchEnd, probes: Sequence[ProbeResult]) -> list[GateResult]:
    """Return the gates on rates that most of the longest probes do not pass at the highest passing rate."""
    passing = [
        each
        for each in probes
        if each.rate_per_s == found.highest_passing_per_s and each.outcome is ProbeOutcome.PASSES
    ]
    longest = max((each.stretch for each in passing), default=0)
    results: dict[str, list[GateResult]] = {}
    for gate in (gate for each in passing if each.stretch == longest for gate in each.gates if gate.metric.is_rate):
        results.setdefault(gate.gate, []).append(gate)
    short = ([each for each in all_ if each.verdict is not Verdict.PASS] for all_ in results.values())
    return [
        min(each, key=lambda gate: gate.verdict is not Verdict.FAIL)
        for each, all_ in zip(short, results.values(), strict=True)
        if len(each) * 2 >= len(all_)
    ]


def _verdict(found: SearchEnd, failing: Sequence[ProbeResult], lacking: Sequence[GateResult]) -> Verdict:
    """Return PASS if a rate was found at which each gate on a rate holds too.

    After a stop or an invalid probe there is none to return.
    """
    if found.ended is EndReason.INVALID:
        return Verdict.INVALID
    if found.ended is EndReason.STOPPED:
        return Verdict.ABORTED
    if lacking:
        return Verdict.FAIL if any(each.verdict is Verdict.FAIL for each in lacking) else Verdict.INCONCLUSIVE
    if found.highest_passing_per_s is not None:
        return Verdict.PASS
    fails = any(each.outcome is ProbeOutcome.FAILS for each in failing)
    return Verdict.FAIL if fails else Verdict.INCONCLUSIVE


def _without_gates(failing: Sequence[ProbeResult]) -> str:
    """Return why a rate does not pass although each gate holds."""
    if any(each.overloaded for each in failing):
        return "the backlog grows"
    stopped_early = any(each.outcome is ProbeOutcome.FAILS for each in failing)
    return "the abort rule stopped it" if stopped_early else "the endpoint completes fewer when its backlog grows"


def _reason(
    found: SearchEnd,
    broken: Sequence[str],
    probes: Sequence[ProbeResult],
    stopped_by: str,
    lacking: Sequence[GateResult],
) -> str:
    other = "other " if lacking else ""
    text = _end_text(found, broken, probes, stopped_by, other)
    return " ".join([text, *(f"{each.gate} does not hold there: {each.detail}" for each in lacking)])


def _end_text(
    found: SearchEnd, broken: Sequence[str], probes: Sequence[ProbeResult], stopped_by: str, other: str
) -> str:
    last = probes[-1]
    low, high = found.highest_passing_per_s, found.lowest_failing_per_s
    holds = "No rate was found at which the gates hold" if low is None else f"The {other}gates hold up to {low:.4g}/s"
    failing = [each for each in probes if each.rate_per_s == high]
    breaks = ", ".join(broken) or _without_gates(failing)
    match found.ended:
        case EndReason.ENDPOINT:
            return f"{holds} and no longer at {high:.4g}/s: {breaks}. Both were confirmed twice."
        case EndReason.LIMIT:
            refused = min(
                (each for each in probes if each.outcome is ProbeOutcome.REFUSED), key=lambda each: each.rate_per_s
            )
            ends = "The limit, not the endpoint, ends the search"
            return f"{holds}. {ends}: at {refused.rate_per_s:.4g}/s {refused.reason}."
        case EndReason.AT_MOST:
            return f"{holds}, the most that search.max_rate allows; the endpoint may do more."
        case EndReason.NOTHING:
            least = min(each.rate_per_s for each in probes)
            return f"{holds}, down to {least:.4g}/s: {breaks if broken else last.reason}."
        case EndReason.INVALID:
            text = f"two probes at {last.rate_per_s:.4g}/s were not valid, so no higher rate was tried"
            return f"{holds}; {text}. {last.reason}"
        case EndReason.STOPPED:
            why = last.reason if last.outcome is ProbeOutcome.STOPPED else stopped_by
            return f"{holds}; the search was stopped at {last.rate_per_s:.4g}/s. {why}".rstrip()
