"""How workers pace their takes, as settings say or samples show: whether one that is free takes the next job at once.

A job that waits is taken as soon as a worker looks. So the time from a worker's take to its next one, where the job
of that was there before the worker could look, is the time for which the worker was occupied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.analyze.jobs import Jobs
from loadtest.analyze.littles_law import entered_at
from loadtest.analyze.starts import start_kinds
from loadtest.capacity.setting import occupied_s
from loadtest.endpoint.take_pause import AT_ONCE, TakePause
from loadtest.scenario.model import Scenario
from loadtest.scenario.target import HandlerTarget

Floats = NDArray[np.float64]

SDK_PAUSE_S = 1.0
"""What the vendor's SDK sleeps after a take at a concurrency of 1 (`JobScaler.get_jobs`, `runpod` 1.12)."""
LEAST_TAKES = 5
"""So many takes that a job waited for are wanted, each of which one way of pacing explains."""
_MOST_UNEXPLAINED = 0.1
_MOST_CONTRARY = 0.02
_NEAR = 0.1
_NEAR_S = 0.05


class Evidence(StrEnum):
    """Where it is known from: the endpoint's settings, takes that were seen, or the SDK's source; or not at all."""

    SETTINGS = "settings"
    SEEN = "seen"
    ASSUMED = "assumed"
    NONE_SEEN = "none seen"


class Takes(msgspec.Struct, frozen=True):
    """How long after a take a worker looks for the next job at the earliest; 0 for at once, when its job is done.

    `blocked` as in the endpoint's `take_pause`; `waited_for` counts the takes that tell it, those of a job that was
    there before the worker looked. `occupied_mean_ms` is from a take until the worker looks again.
    """

    pause_s: float
    blocked: bool
    evidence: Evidence
    waited_for: int = 0
    occupied_mean_ms: float = 0.0

    @property
    def take_pause(self) -> TakePause:
        """The same as a setting."""
        return TakePause.model_construct(lasts=self.pause_s, blocked=self.blocked)


NONE_SEEN = Takes(0.0, False, Evidence.NONE_SEEN)


@dataclass(frozen=True)
class Successive:
    """Takes of one worker after each other, in seconds.

    `execution_s` is of the first, `entered_s` from the first take until the later job was there, `gap_s` until it was
    taken.
    """

    execution_s: Floats
    entered_s: Floats
    gap_s: Floats


def takes_of(scenario: Scenario) -> Takes | None:
    """What settings say of simulated workers; None for real ones, which pace themselves."""
    if scenario.target != "embedded":
        return None
    known = scenario.endpoint.take_pause
    return Takes(known.lasts, known.blocked, Evidence.SETTINGS)


def takes_seen(runs: Sequence[tuple[Scenario, Jobs]]) -> Takes:
    """How real workers were seen to pace their takes in these runs.

    A pacing is seen where it explains nine of ten takes that a job waited for, five at least, and where no more than
    one take in fifty comes sooner than it allows. Where too few jobs waited to tell, workers of the vendor's SDK at a
    concurrency of 1 are taken to do as its source says.
    """
    pairs = _joined([successive(jobs) for _, jobs in runs])
    explained = {each: _waited_for(pairs, each) for each in _candidates(pairs)}
    if explained[AT_ONCE] >= LEAST_TAKES:
        return Takes(0.0, False, Evidence.SEEN, explained[AT_ONCE])
    best = max(explained, key=lambda each: explained[each])
    if explained[best] >= LEAST_TAKES:
        return Takes(_fitted_s(pairs, best), best.blocked, Evidence.SEEN, explained[best])
    at_one = any(isinstance(each.target, HandlerTarget) and each.target.concurrency == 1 for each, _ in runs)
    for blocked in (True, False):  # most handlers are no coroutines
        if at_one and _allows(_pause(SDK_PAUSE_S, blocked), pairs):
            return Takes(SDK_PAUSE_S, blocked, Evidence.ASSUMED)
    return NONE_SEEN


def successive(jobs: Jobs) -> Successive:
    """All pairs of takes of one worker, without those whose later job waited for a start."""
    entered = entered_at(jobs)
    known = (jobs.worker >= 0) & ~np.isnan(entered + jobs.delay_ms + jobs.execution_ms)
    started = (start_kinds(jobs).kind > 0)[known]
    worker, entered = jobs.worker[known], entered[known]
    taken = entered + jobs.delay_ms[known] / 1000
    order = np.lexsort((taken, worker))
    first, second = order[:-1], order[1:]
    pairs = (worker[first] == worker[second]) & ~started[second]
    first, second = first[pairs], second[pairs]
    return Successive(
        execution_s=jobs.execution_ms[known][first] / 1000,
        entered_s=entered[second] - taken[first],
        gap_s=taken[second] - taken[first],
    )


def _joined(all_pairs: Sequence[Successive]) -> Successive:
    return Successive(
        *(np.concatenate([getattr(each, name) for each in all_pairs]) for name in Successive.__dataclass_fields__)
    )


def _pause(lasts: float, blocked: bool = False) -> TakePause:
    return TakePause.model_construct(lasts=lasts, blocked=blocked)


def _candidates(pairs: Successive) -> list[TakePause]:
    """At once; as the SDK; and so long as nearly all takes lie apart."""
    apart_s = float(np.quantile(pairs.gap_s, _MOST_CONTRARY)) if len(pairs.gap_s) else 0.0
    pauses = [lasts for lasts in (SDK_PAUSE_S, apart_s) if lasts > _NEAR_S]
    return [AT_ONCE, *(_pause(lasts, blocked) for lasts in pauses for blocked in (False, True))]


def _near_s(pause: TakePause) -> float:
    """By so much a take may differ from what a pacing says: the client's clock is not the server's."""
    return max(_NEAR_S, _NEAR * pause.lasts)


def _allows(pause: TakePause, pairs: Successive) -> bool:
    """Whether hardly any take comes sooner than the worker would look."""
    soon = pairs.gap_s < occupied_s(pause, pairs.execution_s) - _near_s(pause)
    return int(np.count_nonzero(soon)) <= _MOST_CONTRARY * len(soon)


def _waited(pause: TakePause, pairs: Successive) -> NDArray[np.bool_]:
    """Which jobs were there well before the worker looked; one that it was idle for cannot pass for one of them."""
    waited: NDArray[np.bool_] = pairs.entered_s < occupied_s(pause, pairs.execution_s) - 2 * _near_s(pause)
    return waited


def _waited_for(pairs: Successive, pause: TakePause) -> int:
    """How many takes that a job waited for come when this pacing says; 0 where others contradict it.

    Of a pause only those count for which it makes a difference.
    """
    occupied, near_s = occupied_s(pause, pairs.execution_s), _near_s(pause)
    waited = _waited(pause, pairs)
    explained = waited & (np.abs(pairs.gap_s - occupied) <= near_s)
    if not _allows(pause, pairs) or explained.sum() < (1 - _MOST_UNEXPLAINED) * waited.sum():
        return 0
    return int(np.count_nonzero(explained & ((occupied > pairs.execution_s + near_s) | (pause.lasts == 0))))


def _fitted_s(pairs: Successive, pause: TakePause) -> float:
    """The pause by the median of the takes that a job waited for, in seconds to a tenth of a millisecond."""
    occupied = occupied_s(pause, pairs.execution_s)
    longer = occupied > pause.lasts * (1 + _NEAR)
    worked = np.where(longer, pairs.execution_s, 0.0) if pause.blocked else 0.0
    fitted = (pairs.gap_s - worked) * pause.lasts / (occupied - worked)
    return round(float(np.median(fitted[_waited(pause, pairs)])), 4)
