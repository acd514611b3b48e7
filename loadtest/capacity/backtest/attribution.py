"""Why a prediction is off: what was taken from elsewhere is replaced by the run's own, one kind of thing at a time.

What brings the figure nearest to the measured one is its main cause, if it takes away half of the error. Where only
all of it together does, it is what leaves the largest error where it alone is not the run's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from loadtest.arrays import Floats
from loadtest.capacity.backtest.replica import RunModel
from loadtest.capacity.calibration.calibrate import MeasuredRun, workload_of
from loadtest.capacity.calibration.take_pattern import Source
from loadtest.capacity.simulation.workload import Distribution, Workload, mean_s
from loadtest.endpoint.settings import Constant
from loadtest.endpoint.take_pause import TakePause

_LEFT_AT_MOST = 0.5
_NEARLY_NONE = 0.1
"""What leaves so little of an error is its cause; nothing else is tried."""
_ALIKE = 0.05


class Cause(msgspec.Struct, frozen=True, rename={"remaining_error": "left"}):
    """Why a figure is off; `error` is predicted over measured, less one, `left` what that is with the run's `own`.

    `what` says in words what was different in the run; null where nothing of its own takes away half of the error.
    """

    figure: str
    what: str | None
    error: float
    remaining_error: float
    own: tuple[str, ...]


@dataclass(frozen=True)
class Substitution:
    """One kind of thing that a run tells of itself: in a word, in full, and the rehearsal that knows it."""

    name: str
    what: str
    known: Callable[[RunModel], RunModel]


def main_cause(
    figure: str,
    predicted: float,
    measured: float,
    model: RunModel,
    own: Sequence[Substitution],
    predict_again: Callable[[RunModel], float],
) -> Cause:
    """What of the run's `own` brings the figure nearest to what was `measured`, alone or else all of it together.

    `again` predicts the figure anew.
    """

    def error(known: Sequence[Substitution]) -> float:
        changed = model
        for each in known:
            changed = each.known(changed)
        return predict_again(changed) / measured - 1

    first = predicted / measured - 1
    lefts: list[float] = []
    for each in own:
        lefts.append(error([each]))
        if abs(lefts[-1]) <= _NEARLY_NONE * abs(first):
            break
    nearest = min(range(len(lefts)), key=lambda place: abs(lefts[place]))
    if abs(lefts[nearest]) <= _LEFT_AT_MOST * abs(first):
        return Cause(figure, own[nearest].what, first, lefts[nearest], (own[nearest].name,))
    names, left = tuple(each.name for each in own), error(own)
    if abs(left) > _LEFT_AT_MOST * abs(first):
        return Cause(figure, None, first, left, names)
    main = max(own, key=lambda each: abs(error([other for other in own if other is not each])))
    return Cause(figure, main.what, first, left, names)


def substitutions(model: RunModel, run: MeasuredRun, at_s: Floats, expected: float) -> Iterator[Substitution]:
    """What the run tells of itself where it was rehearsed with something else, its arrivals first.

    `at_s` are these in seconds since the load began, `expected` how many there are of other seeds on average.
    """
    yield Substitution(
        "arrivals",
        f"when its jobs arrived, {len(at_s)} of them where {expected:.0f} were expected",
        lambda known: replace(known, at_s=at_s),
    )
    mine, pattern = workload_of(run)
    work = model.workload

    yield _of_work(
        "executions",
        f"its executions, {_means(mine.service, work.service)}",
        lambda known: replace(known, service=mine.service),
    )
    if not isinstance(mine.dispatch, Constant):
        yield _of_work(
            "dispatch",
            f"delays at workers that were free, {_means(mine.dispatch, work.dispatch)}",
            lambda known: replace(known, dispatch=mine.dispatch),
        )
    if pattern.evidence is Source.SEEN and _differ(mine.take_pause, work.take_pause):
        yield _of_work(
            "takes",
            f"how its workers paced their takes, with a pause of {mine.take_pause.duration:.2f} s and not of "
            f"{work.take_pause.duration:.2f} s",
            lambda known: replace(known, take_pause=mine.take_pause),
        )
    if not model.setting.fixed and mine.cold_start is not None and work.cold_start is not None:
        yield _of_work(
            "starts",
            f"its cold starts, {_means(mine.cold_start, work.cold_start)}",
            lambda known: replace(known, cold_start=mine.cold_start),
        )


def _of_work(name: str, what: str, change: Callable[[Workload], Workload]) -> Substitution:
    return Substitution(name, what, lambda known: replace(known, workload=change(known.workload)))


def _means(mine: Distribution, calibrated: Distribution) -> str:
    return f"{_short(mean_s(mine))} on average where {_short(mean_s(calibrated))} were calibrated"


def _short(value_s: float) -> str:
    return f"{value_s:.3g} s" if value_s >= 1 else f"{value_s * 1000:.3g} ms"


def _differ(one: TakePause, other: TakePause) -> bool:
    return one.blocking_handler != other.blocking_handler or not math.isclose(
        one.duration, other.duration, rel_tol=_ALIKE
    )
