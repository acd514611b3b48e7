"""The settings around the answer: the objective's figure by workers, and by the rate up to the cliff."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

import msgspec

from loadtest.capacity.estimates import MapFn
from loadtest.capacity.planning.objective import EvaluatedSetting, ObjectiveStatus
from loadtest.capacity.planning.optimizer import Problem
from loadtest.capacity.simulation.predict import Prediction, settles
from loadtest.capacity.simulation.simulate import can_reach_steady_state, jobs_for_steady_state
from loadtest.capacity.simulation.workload import WorkerConfig, fixed

_STEPS = (1, 2, 3, 5, 8, 13, 21, 34, 55)
"""Distances from the answer in workers: narrow steps near it, wide ones further away."""
_SHARES = (0.2, 0.4, 0.55, 0.65, 0.75, 0.82, 0.88, 0.92, 0.95)
"""Shares of the rate at which all workers would always be busy, at the peak of a profile."""
_MIN_SEPARATION = 0.03
_MAX_JOBS = 15_000
"""A point that takes more jobs than this to settle is left out: the curve is almost vertical there."""


class Curves(msgspec.Struct, frozen=True):
    """The objective's figure for settings around the answer; fewest workers, or lowest rate, first.

    `vendor` is the vendor's rule at the requested rate. `by_workers` keeps the rate and changes the maximum of
    workers, `by_rate` keeps the answer's workers, which are busy all the time at `limit_per_s`. Settings that take
    too long to settle are left out.
    """

    vendor: EvaluatedSetting
    by_workers: tuple[EvaluatedSetting, ...]
    by_rate: tuple[EvaluatedSetting, ...]
    limit_per_s: float


def curves(
    problem: Problem, rate_per_s: float, vendor_workers: int, known: Sequence[EvaluatedSetting], map_fn: MapFn = map
) -> Curves:
    """Return both curves through the first of `known`, the answer; no known point is simulated again.

    Intervals of other points are those of the simulation alone, which takes half the time.
    """
    setting = known[0].prediction.setting
    half = msgspec.structs.replace(problem.look, jobs=problem.look.jobs // 2)
    exact = dataclasses.replace(problem.workload, evidence=None)
    quick = msgspec.structs.replace(problem.shared_with(map_fn), look=half, workload=exact)
    limit_per_s = problem.limit_per_s(setting)
    vendor = _among(known, fixed(vendor_workers), rate_per_s)
    asked = [(_with(setting, workers), rate_per_s) for workers in _around(setting.max_workers, vendor_workers)]
    of_workers = len(asked)
    asked += [(setting, rate) for rate in _rates(setting, limit_per_s, known) if rate < limit_per_s]
    points: list[EvaluatedSetting | None] = list(map_fn(partial(_point, quick, known), asked))
    return Curves(
        vendor=vendor or _evaluate_or_unknown(problem, fixed(vendor_workers), rate_per_s),
        by_workers=tuple(point for point in points[:of_workers] if point is not None),
        by_rate=tuple(point for point in points[of_workers:] if point is not None),
        limit_per_s=limit_per_s,
    )


def _around(max_workers: int, vendor_workers: int) -> list[int]:
    """Return numbers of workers from 1 to about twice the answer, close to each other near it."""
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
    problem: Problem, known: Sequence[EvaluatedSetting], asked: tuple[WorkerConfig, float]
) -> EvaluatedSetting | None:
    """Return a setting at a rate, known or simulated quickly; None if it takes too long to settle."""
    setting, rate_per_s = asked
    found = _among(known, setting, rate_per_s)
    if found is not None:
        return found
    work = problem.workload
    if settles(work, setting, rate_per_s) and jobs_for_steady_state(work, setting, rate_per_s, 1) > _MAX_JOBS:
        return None
    return problem.glance(setting, rate_per_s)


def _evaluate_or_unknown(problem: Problem, setting: WorkerConfig, rate_per_s: float) -> EvaluatedSetting:
    """Return a setting's prediction; without a figure if its queue takes longer to settle than is simulated."""
    if not settles(problem.workload, setting, rate_per_s) or can_reach_steady_state(
        problem.workload, setting, rate_per_s
    ):
        return problem.evaluate(setting, rate_per_s)
    bare = Prediction(setting, rate_per_s, problem.load(rate_per_s), settles=True)
    return EvaluatedSetting(bare, None, ObjectiveStatus.CANNOT_TELL)


def _among(known: Sequence[EvaluatedSetting], setting: WorkerConfig, rate_per_s: float) -> EvaluatedSetting | None:
    of_setting = (each for each in known if each.prediction.setting == setting)
    return next((each for each in of_setting if each.prediction.rate_per_s == rate_per_s), None)
