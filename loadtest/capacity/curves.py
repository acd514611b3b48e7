"""What lies around the answer: the objective's figure against workers, and against the rate up to the cliff."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from loadtest.capacity.objective import Judged, Standing
from loadtest.capacity.predict import Prediction, settles
from loadtest.capacity.search import Question
from loadtest.capacity.setting import Setting, fixed
from loadtest.capacity.simulate import can_settle, jobs_to_settle
from loadtest.capacity.values import Each

_STEPS = (1, 2, 3, 5, 8, 13, 21, 34, 55)
"""So many workers more and fewer than the answer: close steps near it, wide ones where little happens."""
_SHARES = (0.2, 0.4, 0.55, 0.65, 0.75, 0.82, 0.88, 0.92, 0.95)
"""Of the rate at which all workers would always be busy, at the peak of a profile."""
_APART = 0.03
_MOST_JOBS = 15_000
"""A point that takes more jobs than this to settle is left out: the curve is as good as upright there."""


class Curves(msgspec.Struct, frozen=True):
    """The objective's figure for settings beside the answer; least workers, or lowest rate, first.

    `vendor` is the vendor's rule at the rate that was asked for. `by_workers` keeps the rate and changes the most
    workers, `by_rate` keeps the answer's workers, which are busy all the time at `limit_per_s`. What would take too
    long to settle is not in them.
    """

    vendor: Judged
    by_workers: tuple[Judged, ...]
    by_rate: tuple[Judged, ...]
    limit_per_s: float


def curves(
    question: Question, rate_per_s: float, vendor_workers: int, known: Sequence[Judged], each: Each = map
) -> Curves:
    """Both curves through the first of `known`, the answer; whatever else is known is not simulated again.

    `each` goes through the points.
    """
    setting = known[0].prediction.setting
    half = msgspec.structs.replace(question.look, jobs=question.look.jobs // 2)
    glance = msgspec.structs.replace(question, confirm=half)
    limit_per_s = question.limit_per_s(setting)
    vendor = next(_among(known, fixed(vendor_workers), rate_per_s), None)
    places = [(_with(setting, most), rate_per_s) for most in _around(setting.most, vendor_workers)]
    of_workers = len(places)
    places += [(setting, rate) for rate in _rates(setting, limit_per_s, known) if rate < limit_per_s]
    points = list(each(partial(_point, glance, known), places))
    return Curves(
        vendor=vendor or _told(question, fixed(vendor_workers), rate_per_s),
        by_workers=tuple(point for point in points[:of_workers] if point is not None),
        by_rate=tuple(point for point in points[of_workers:] if point is not None),
        limit_per_s=limit_per_s,
    )


def _around(most: int, vendor_workers: int) -> list[int]:
    """Numbers of workers from 1 to about twice the answer, close to each other near it."""
    near = {most + sign * step for step in (0, *_STEPS) for sign in (-1, 1)}
    return sorted({1, vendor_workers, 2 * most} | {each for each in near if 1 <= each <= 2 * most})


def _rates(setting: Setting, limit_per_s: float, known: Sequence[Judged]) -> list[float]:
    of_answer = {each.prediction.rate_per_s for each in known if each.prediction.setting == setting}
    others = {share * limit_per_s for share in _SHARES}
    return sorted(of_answer | {each for each in others if all(abs(each / one - 1) > _APART for one in of_answer)})


def _with(setting: Setting, most: int) -> Setting:
    if setting.fixed:
        return fixed(most)
    return msgspec.structs.replace(setting, active=min(setting.active, most), most=most)


def _point(question: Question, known: Sequence[Judged], place: tuple[Setting, float]) -> Judged | None:
    """What is known of a setting at a rate, or a glance at it; None where it would take too long to settle."""
    setting, rate_per_s = place
    found = next(_among(known, setting, rate_per_s), None)
    if found is not None:
        return found
    work = question.workload
    if settles(work, setting, rate_per_s) and jobs_to_settle(work, setting, rate_per_s, 1) > _MOST_JOBS:
        return None
    return question.judged(setting, rate_per_s)


def _told(question: Question, setting: Setting, rate_per_s: float) -> Judged:
    """A setting's prediction; without a figure where its queue takes longer to settle than is simulated."""
    if not settles(question.workload, setting, rate_per_s) or can_settle(question.workload, setting, rate_per_s):
        return question.judged(setting, rate_per_s)
    bare = Prediction(setting, rate_per_s, question.load(rate_per_s), settles=True)
    return Judged(bare, None, Standing.CANNOT_TELL)


def _among(known: Sequence[Judged], setting: Setting, rate_per_s: float) -> Iterator[Judged]:
    return (each for each in known if each.prediction.setting == setting and each.prediction.rate_per_s == rate_per_s)
