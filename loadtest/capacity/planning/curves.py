"""What lies around the answer: the objective's figure against workers, and against the rate up to the cliff."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from loadtest.capacity.estimates import MapFn
from loadtest.capacity.planning.objective import EvaluatedSetting, ObjectiveStatus
from loadtest.capacity.planning.optimizer import Problem
from loadtest.capacity.simulation.predict import Prediction, settles
from loadtest.capacity.simulation.simulate import can_reach_steady_state, jobs_for_steady_state
from loadtest.capacity.simulation.workload import WorkerConfig, fixed

_STEPS = (1, 2, 3, 5, 8, 13, 21, 34, 55)
"""So many workers more and fewer than the answer: close steps near it, wide ones where little happens."""
_SHARES = (0.2, 0.4, 0.55, 0.65, 0.75, 0.82, 0.88, 0.92, 0.95)
"""Of the rate at which all workers would always be busy, at the peak of a profile."""
_MIN_SEPARATION = 0.03
_MAX_JOBS = 15_000
"""A point that takes more jobs than this to settle is left out: the curve is as good as upright there."""


class Curves(msgspec.Struct, frozen=True):
    """The objective's figure for settings beside the answer; least workers, or lowest rate, first.

    `vendor` is the vendor's rule at the rate that was asked for. `by_workers` keeps the rate and changes the most
    workers, `by_rate` keeps the answer's workers, which are busy all the time at `limit_per_s`. What would take too
    long to settle is not in them.
    """

    vendor: EvaluatedSetting
    by_workers: tuple[EvaluatedSetting, ...]
    by_rate: tuple[EvaluatedSetting, ...]
    limit_per_s: float


def curves(
    question: Problem, rate_per_s: float, vendor_workers: int, known: Sequence[EvaluatedSetting], each: MapFn = map
) -> Curves:
    """Both curves through the first of `known`, the answer; whatever else is known is not simulated again.

    `each` goes through the points.
    """
    setting = known[0].prediction.setting
    half = msgspec.structs.replace(question.look, jobs=question.look.jobs // 2)
    glance = msgspec.structs.replace(question, confirm=half)
    limit_per_s = question.limit_per_s(setting)
    vendor = next(_among(known, fixed(vendor_workers), rate_per_s), None)
    places = [
        (_with(setting, max_workers), rate_per_s) for max_workers in _around(setting.max_workers, vendor_workers)
    ]
    of_workers = len(places)
    places += [(setting, rate) for rate in _rates(setting, limit_per_s, known) if rate < limit_per_s]
    points = list(each(partial(_point, glance, known), places))
    return Curves(
        vendor=vendor or _judge_or_unknown(question, fixed(vendor_workers), rate_per_s),
        by_workers=tuple(point for point in points[:of_workers] if point is not None),
        by_rate=tuple(point for point in points[of_workers:] if point is not None),
        limit_per_s=limit_per_s,
    )


def _around(max_workers: int, vendor_workers: int) -> list[int]:
    """Numbers of workers from 1 to about twice the answer, close to each other near it."""
    near = {max_workers + sign * step for step in (0, *_STEPS) for sign in (-1, 1)}
    return sorted({1, vendor_workers, 2 * max_workers} | {each for each in near if 1 <= each <= 2 * max_workers})


def _rates(setting: WorkerConfig, limit_per_s: float, known: Sequence[EvaluatedSetting]) -> list[float]:
    of_answer = {each.prediction.rate_per_s for each in known if each.prediction.setting == setting}
    others = {share * limit_per_s for share in _SHARES}
    return sorted(
        of_answer | {each for each in others if all(abs(each / one - 1) > _MIN_SEPARATION for one in of_answer)}
    )


def _with(setting: WorkerConfig, max_workers: int) -> WorkerConfig:
    if setting.fixed:
        return fixed(max_workers)
    return msgspec.structs.replace(setting, active=min(setting.active, max_workers), max_workers=max_workers)


def _point(
    question: Problem, known: Sequence[EvaluatedSetting], place: tuple[WorkerConfig, float]
) -> EvaluatedSetting | None:
    """What is known of a setting at a rate, or a glance at it; None where it would take too long to settle."""
    setting, rate_per_s = place
    found = next(_among(known, setting, rate_per_s), None)
    if found is not None:
        return found
    work = question.workload
    if settles(work, setting, rate_per_s) and jobs_for_steady_state(work, setting, rate_per_s, 1) > _MAX_JOBS:
        return None
    return question.judged(setting, rate_per_s)


def _judge_or_unknown(question: Problem, setting: WorkerConfig, rate_per_s: float) -> EvaluatedSetting:
    """A setting's prediction; without a figure where its queue takes longer to settle than is simulated."""
    if not settles(question.workload, setting, rate_per_s) or can_reach_steady_state(
        question.workload, setting, rate_per_s
    ):
        return question.judged(setting, rate_per_s)
    bare = Prediction(setting, rate_per_s, question.load(rate_per_s), settles=True)
    return EvaluatedSetting(bare, None, ObjectiveStatus.CANNOT_TELL)


def _among(known: Sequence[EvaluatedSetting], setting: WorkerConfig, rate_per_s: float) -> Iterator[EvaluatedSetting]:
    return (each for each in known if each.prediction.setting == setting and each.prediction.rate_per_s == rate_per_s)
