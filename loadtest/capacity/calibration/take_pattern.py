"""How workers pace their takes, from settings or from samples: whether a free worker takes the next job at once.

A waiting job is taken as soon as a worker looks. So the time from a worker's take to its next one is the time for
which the worker was occupied, if the later job was there before the worker could look.
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
from loadtest.endpoint.settings import NO_PAUSE, TakePause
from loadtest.scenario.model import Scenario
from loadtest.scenario.target import HandlerTarget

SDK_PAUSE_S = 1.0
"""The sleep of the vendor's SDK after a take at a concurrency of 1 (`JobScaler.get_jobs`, `runpod` 1.12)."""
MIN_EXPLAINED = 5  # the number of takes of waiting jobs that one pattern must explain
_MAX_UNEXPLAINED = 0.1
_MAX_CONTRARY = 0.02
_TOLERANCE = 0.1
_TOLERANCE_S = 0.05
_LEAST_TOLERANCE_S = 0.01
_LEAST_GAP_S = 0.003
_SAME_DIGITS = 2  # of seconds: patterns that are off by as little are alike, and the more likely one is taken


class Source(StrEnum):
    """The evidence for a pattern: the endpoint's settings, observed takes, or the SDK's source; or none."""

    SETTINGS = "settings"
    SEEN = "seen"
    ASSUMED = "assumed"
    NONE_SEEN = "none seen"


class TakePattern(msgspec.Struct, frozen=True):
    """How long after a take a worker looks for the next job at the earliest; 0 for as soon as its job is done.

    `blocked` is `blocking_handler` of the endpoint's `take_pause`. `waited_for` counts the takes that show it: those
    of a job that was there before the worker looked. `occupied_mean_ms` is from a take until the worker looks again.
    """

    pause_s: float
    blocked: bool
    evidence: Source
    waited_for: int = 0
    occupied_mean_ms: float = 0.0
    after_job_s: float = 0.0

    @property
    def take_pause(self) -> TakePause:
        """Return the pattern as a setting."""
        return _pause(self.pause_s, self.blocked, self.after_job_s)


NONE_SEEN = TakePattern(0.0, False, Source.NONE_SEEN)


@dataclass(frozen=True)
class TakePair:
    """Takes and the job that ended before each, in seconds.

    `execution_s` is of the job that ended, `entered_s` from its take until the later job arrived, `gap_s` until that
    was taken.
    """

    execution_s: Floats
    entered_s: Floats
    gap_s: Floats


def pattern_from_settings(scenario: Scenario) -> TakePattern | None:
    """Return the pattern of simulated workers by their settings; None for real workers."""
    if scenario.target != "embedded":
        return None
    known = scenario.endpoint.take_pause
    return TakePattern(known.duration, known.blocking_handler, Source.SETTINGS, after_job_s=known.after_job)


def estimate_pattern(runs: Sequence[tuple[Scenario, JobColumns]], slots: int = 1) -> TakePattern:
    """Return how real workers, with up to `slots` jobs at once, were observed to pace their takes in these runs.

    A pattern is observed if it explains nine of ten takes that a job waited for, five at least, and if no more than
    one take in fifty comes sooner than it allows. If too few jobs waited to decide, workers of the vendor's SDK at a
    concurrency of 1 are assumed to follow its source code.
    """
    pairs = _joined([successive(jobs, slots) for _, jobs in runs])
    observed = [(each, _waited_for(pairs, each)) for each in _candidates(pairs, slots)]
    observed = [(_fitted(pairs, each), waited_for) for each, waited_for in observed if waited_for >= MIN_EXPLAINED]
    if observed:
        best, waited_for = min(observed, key=lambda each: round(_spread_s(pairs, each[0]), _SAME_DIGITS))
        return TakePattern(best.duration, best.blocking_handler, Source.SEEN, waited_for, after_job_s=best.after_job)
    if slots > 1:
        return NONE_SEEN
    at_one = any(isinstance(each.target, HandlerTarget) and each.target.concurrency == 1 for each, _ in runs)
    for blocked in (True, False):  # most handlers are not coroutines
        if at_one and _allows(_pause(SDK_PAUSE_S, blocked), pairs):
            return TakePattern(SDK_PAUSE_S, blocked, Source.ASSUMED)
    return NONE_SEEN


def successive(jobs: JobColumns, slots: int = 1) -> TakePair:
    """Return each worker's takes with the job whose end made room for them, without jobs that waited for a start.

    A worker with up to n jobs at once takes its k-th job no sooner than when k − n of them have ended.
    """
    entered = arrival_times(jobs)
    known = (jobs.worker >= 0) & ~np.isnan(entered + jobs.delay_ms + jobs.execution_ms)
    started = (start_kinds(jobs).kind > 0)[known]
    worker, entered = jobs.worker[known], entered[known]
    taken = entered + jobs.delay_ms[known] / 1000
    execution_s = jobs.execution_ms[known] / 1000
    first, second = np.lexsort((taken + execution_s, worker))[:-slots], np.lexsort((taken, worker))[slots:]
    pairs = (worker[first] == worker[second]) & ~started[second]
    first, second = first[pairs], second[pairs]
    return TakePair(
        execution_s=execution_s[first],
        entered_s=entered[second] - taken[first],
        gap_s=taken[second] - taken[first],
    )


def _joined(all_pairs: Sequence[TakePair]) -> TakePair:
    return TakePair(
        *(np.concatenate([getattr(each, name) for each in all_pairs]) for name in TakePair.__dataclass_fields__)
    )


def _pause(pause_s: float, blocked: bool = False, after_job_s: float = 0.0) -> TakePause:
    return TakePause.model_construct(duration=pause_s, blocking_handler=blocked, after_job=after_job_s)


def _after_job_s(pairs: TakePair) -> float:
    """Return the median time from a job's end to the take of one that waited; 0 for what clocks cannot show."""
    waited = pairs.entered_s < pairs.execution_s - _LEAST_TOLERANCE_S
    gaps_s = (pairs.gap_s - pairs.execution_s)[waited]
    median_s = float(np.median(gaps_s)) if len(gaps_s) else 0.0
    return round(median_s, 4) if median_s >= _LEAST_GAP_S else 0.0


def _candidates(pairs: TakePair, slots: int) -> list[TakePause]:
    """Return the patterns to try, the more likely first: the SDK's, a gap after each job, the pause of most takes."""
    after_job = _pause(0.0, after_job_s=_after_job_s(pairs))
    if slots > 1:
        return [after_job]
    shortest_s = float(np.quantile(pairs.gap_s, _MAX_CONTRARY)) if len(pairs.gap_s) else 0.0
    sdk, other = (
        [_pause(pause_s, blocked) for blocked in (False, True)] if pause_s > _TOLERANCE_S else []
        for pause_s in (SDK_PAUSE_S, shortest_s)
    )
    return [after_job, *sdk, *other] if after_job == NO_PAUSE else [*sdk, after_job, *other]


def _tolerance_s(pause: TakePause, pairs: TakePair) -> float:
    """Return how far a take may be from a pattern's time: the client's clock is not the server's."""
    if pause.duration > 0:
        return max(_TOLERANCE_S, _TOLERANCE * pause.duration)
    typical_s = float(np.median(pairs.execution_s)) if len(pairs.execution_s) else 0.0
    return float(np.clip(typical_s / 4, _LEAST_TOLERANCE_S, _TOLERANCE_S))


def _allows(pause: TakePause, pairs: TakePair) -> bool:
    """Return whether hardly any take comes before the worker would look."""
    soon = pairs.gap_s < occupied_s(pause, pairs.execution_s) - _tolerance_s(pause, pairs)
    return int(np.count_nonzero(soon)) <= _MAX_CONTRARY * len(soon)


def _waited(pause: TakePause, pairs: TakePair) -> NDArray[np.bool_]:
    """Return which jobs arrived well before the worker looked, so that none met an idle worker."""
    waited: NDArray[np.bool_] = pairs.entered_s < occupied_s(pause, pairs.execution_s) - 2 * _tolerance_s(
        pause, pairs
    )
    return waited


def _waited_for(pairs: TakePair, pause: TakePause) -> int:
    """Return how many takes of waiting jobs come at the pattern's time; 0 if other takes contradict it.

    For a pattern with a pause, only takes count to which the pause makes a difference.
    """
    occupied, tolerance_s = occupied_s(pause, pairs.execution_s), _tolerance_s(pause, pairs)
    waited = _waited(pause, pairs)
    explained = waited & (np.abs(pairs.gap_s - occupied) <= tolerance_s)
    if not _allows(pause, pairs) or explained.sum() < (1 - _MAX_UNEXPLAINED) * waited.sum():
        return 0
    return int(np.count_nonzero(explained & ((occupied > pairs.execution_s + tolerance_s) | (pause.duration == 0))))


def _fitted(pairs: TakePair, pause: TakePause) -> TakePause:
    """Return the pattern with its pause by the median of the takes of waiting jobs, to a tenth of a millisecond."""
    if pause.duration == 0:
        return pause
    occupied = occupied_s(pause, pairs.execution_s)
    longer = occupied > pause.duration * (1 + _TOLERANCE)
    worked = np.where(longer, pairs.execution_s, 0.0) if pause.blocking_handler else 0.0
    fitted = (pairs.gap_s - worked) * pause.duration / (occupied - worked)
    return _pause(round(float(np.median(fitted[_waited(pause, pairs)])), 4), pause.blocking_handler)


def _spread_s(pairs: TakePair, pause: TakePause) -> float:
    """Return how far the takes of waiting jobs are from the pattern's time, by the ninth decile."""
    waited = _waited(pause, pairs)
    return float(np.quantile(np.abs(pairs.gap_s - occupied_s(pause, pairs.execution_s))[waited], 0.9))
