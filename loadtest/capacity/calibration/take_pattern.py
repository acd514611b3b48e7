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

from loadtest.analyze.jobs import JobColumns
from loadtest.analyze.littles_law import arrival_times
from loadtest.analyze.start_kinds import start_kinds
from loadtest.arrays import Floats
from loadtest.capacity.simulation.workload import occupied_s
from loadtest.endpoint.take_pause import NO_PAUSE, TakePause
from loadtest.scenario.model import Scenario
from loadtest.scenario.target import HandlerTarget

SDK_PAUSE_S = 1.0
"""What the vendor's SDK sleeps after a take at a concurrency of 1 (`JobScaler.get_jobs`, `runpod` 1.12)."""
MIN_TAKES = 5
"""So many takes that a job waited for are wanted, each of which one way of pacing explains."""
_MAX_UNEXPLAINED = 0.1
_MAX_CONTRARY = 0.02
_NEAR = 0.1
_NEAR_S = 0.05


class Source(StrEnum):
    """Where it is known from: the endpoint's settings, takes that were seen, or the SDK's source; or not at all."""

    SETTINGS = "settings"
    SEEN = "seen"
    ASSUMED = "assumed"
    NONE_SEEN = "none seen"


class TakePattern(msgspec.Struct, frozen=True):
    """How long after a take a worker looks for the next job at the earliest; 0 for at once, when its job is done.

    `blocked` as in the endpoint's `take_pause`; `waited_for` counts the takes that tell it, those of a job that was
    there before the worker looked. `occupied_mean_ms` is from a take until the worker looks again.
    """

    pause_s: float
    blocked: bool
    evidence: Source
    waited_for: int = 0
    occupied_mean_ms: float = 0.0

    @property
    def take_pause(self) -> TakePause:
        """The same as a setting."""
        return TakePause.model_construct(duration=self.pause_s, blocking_handler=self.blocked)


NONE_SEEN = TakePattern(0.0, False, Source.NONE_SEEN)


@dataclass(frozen=True)
class TakePair:
    """Takes of one worker after each other, in seconds.

    `execution_s` is of the first, `entered_s` from the first take until the later job was there, `gap_s` until it was
    taken.
    """

    execution_s: Floats
    entered_s: Floats
    gap_s: Floats


def pattern_from_settings(scenario: Scenario) -> TakePattern | None:
    """What settings say of simulated workers; None for real ones, which pace themselves."""
    if scenario.target != "embedded":
        return None
    known = scenario.endpoint.take_pause
    return TakePattern(known.duration, known.blocking_handler, Source.SETTINGS)


def estimate_pattern(runs: Sequence[tuple[Scenario, JobColumns]]) -> TakePattern:
    """How real workers were seen to pace their takes in these runs.

    A pacing is seen where it explains nine of ten takes that a job waited for, five at least, and where no more than
    one take in fifty comes sooner than it allows. Where too few jobs waited to tell, workers of the vendor's SDK at a
    concurrency of 1 are taken to do as its source says.
    """
    pairs = _joined([successive(jobs) for _, jobs in runs])
    explained = {each: _waited_for(pairs, each) for each in _candidates(pairs)}
    if explained[NO_PAUSE] >= MIN_TAKES:
        return TakePattern(0.0, False, Source.SEEN, explained[NO_PAUSE])
    best = max(explained, key=lambda each: explained[each])
    if explained[best] >= MIN_TAKES:
        return TakePattern(_fitted_s(pairs, best), best.blocking_handler, Source.SEEN, explained[best])
    at_one = any(isinstance(each.target, HandlerTarget) and each.target.concurrency == 1 for each, _ in runs)
    for blocked in (True, False):  # most handlers are no coroutines
        if at_one and _allows(_pause(SDK_PAUSE_S, blocked), pairs):
            return TakePattern(SDK_PAUSE_S, blocked, Source.ASSUMED)
    return NONE_SEEN


def successive(jobs: JobColumns) -> TakePair:
    """All pairs of takes of one worker, without those whose later job waited for a start."""
    entered = arrival_times(jobs)
    known = (jobs.worker >= 0) & ~np.isnan(entered + jobs.delay_ms + jobs.execution_ms)
    started = (start_kinds(jobs).kind > 0)[known]
    worker, entered = jobs.worker[known], entered[known]
    taken = entered + jobs.delay_ms[known] / 1000
    order = np.lexsort((taken, worker))
    first, second = order[:-1], order[1:]
    pairs = (worker[first] == worker[second]) & ~started[second]
    first, second = first[pairs], second[pairs]
    return TakePair(
        execution_s=jobs.execution_ms[known][first] / 1000,
        entered_s=entered[second] - taken[first],
        gap_s=taken[second] - taken[first],
    )


def _joined(all_pairs: Sequence[TakePair]) -> TakePair:
    return TakePair(
        *(np.concatenate([getattr(each, name) for each in all_pairs]) for name in TakePair.__dataclass_fields__)
    )


def _pause(lasts: float, blocked: bool = False) -> TakePause:
    return TakePause.model_construct(duration=lasts, blocking_handler=blocked)


def _candidates(pairs: TakePair) -> list[TakePause]:
    """At once; as the SDK; and so long as nearly all takes lie apart."""
    apart_s = float(np.quantile(pairs.gap_s, _MAX_CONTRARY)) if len(pairs.gap_s) else 0.0
    pauses = [lasts for lasts in (SDK_PAUSE_S, apart_s) if lasts > _NEAR_S]
    return [NO_PAUSE, *(_pause(lasts, blocked) for lasts in pauses for blocked in (False, True))]


def _near_s(pause: TakePause) -> float:
    """By so much a take may differ from what a pacing says: the client's clock is not the server's."""
    return max(_NEAR_S, _NEAR * pause.duration)


def _allows(pause: TakePause, pairs: TakePair) -> bool:
    """Whether hardly any take comes sooner than the worker would look."""
    soon = pairs.gap_s < occupied_s(pause, pairs.execution_s) - _near_s(pause)
    return int(np.count_nonzero(soon)) <= _MAX_CONTRARY * len(soon)


def _waited(pause: TakePause, pairs: TakePair) -> NDArray[np.bool_]:
    """Which jobs were there well before the worker looked; one that it was idle for cannot pass for one of them."""
    waited: NDArray[np.bool_] = pairs.entered_s < occupied_s(pause, pairs.execution_s) - 2 * _near_s(pause)
    return waited


def _waited_for(pairs: TakePair, pause: TakePause) -> int:
    """How many takes that a job waited for come when this pacing says; 0 where others contradict it.

    Of a pause only those count for which it makes a difference.
    """
    occupied, near_s = occupied_s(pause, pairs.execution_s), _near_s(pause)
    waited = _waited(pause, pairs)
    explained = waited & (np.abs(pairs.gap_s - occupied) <= near_s)
    if not _allows(pause, pairs) or explained.sum() < (1 - _MAX_UNEXPLAINED) * waited.sum():
        return 0
    return int(np.count_nonzero(explained & ((occupied > pairs.execution_s + near_s) | (pause.duration == 0))))


def _fitted_s(pairs: TakePair, pause: TakePause) -> float:
    """The pause by the median of the takes that a job waited for, in seconds to a tenth of a millisecond."""
    occupied = occupied_s(pause, pairs.execution_s)
    longer = occupied > pause.duration * (1 + _NEAR)
    worked = np.where(longer, pairs.execution_s, 0.0) if pause.blocking_handler else 0.0
    fitted = (pairs.gap_s - worked) * pause.duration / (occupied - worked)
    return round(float(np.median(fitted[_waited(pause, pairs)])), 4)
