"""Why a prediction is off: inputs from the calibration are replaced by the run's own, one kind at a time.

The main cause is the kind that brings the figure nearest to the measured one, if it removes half of the error. If
only all kinds together do that, it is the kind that leaves the largest error if it alone is not replaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from loadtest.arrays import Floats
from loadtest.capacity.backtest.replica import RunModel
from loadtest.capacity.calibration.calibrate import workload_of
from loadtest.capacity.calibration.measurements import MeasuredRun
from loadtest.capacity.calibration.take_pattern import Source
from loadtest.capacity.simulation.workload import Workload
from loadtest.endpoint.distributions import Constant, Distribution
from loadtest.endpoint.settings import TakePause

_MAX_REMAINING = 0.5
_NEGLIGIBLE = 0.1  # a kind that leaves at most this share of an error is its cause; no other kind is tried
_TOLERANCE = 0.05


class Cause(msgspec.Struct, frozen=True, rename={"remaining_error": "left"}):
    """Why a figure is off; `error` is predicted over measured, less one; `remaining_error` is the same with the run's
    `own`.

    `what` describes what was different in the run; null if no input of its own removes half of the error.
    """

    figure: str
    what: str | None
    error: float
    remaining_error: float
    own: tuple[str, ...]


@dataclass(frozen=True)
class Substitution:
    """One kind of input that a run gives itself: its name, a description, and the change of the run's model."""

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
    """Return which `own` inputs bring the figure of `predict_again` nearest to `measured`, alone or all together."""

    def error(known: Sequence[Substitution]) -> float:
        changed = model
        for each in known:
            changed = each.known(changed)
        return predict_again(changed) / measured - 1

    first = predicted / measured - 1
    remaining: list[float] = []
    for each in own:
        remaining.append(error([each]))
        if abs(remaining[-1]) <= _NEGLIGIBLE * abs(first):
            break
    nearest = min(range(len(remaining)), key=lambda index: abs(remaining[index]))
    if abs(remaining[nearest]) <= _MAX_REMAINING * abs(first):
        return Cause(figure, own[nearest].what, first, remaining[nearest], (own[nearest].name,))
    names, with_all = tuple(each.name for each in own), error(own)
    if abs(with_all) > _MAX_REMAINING * abs(first):
        return Cause(figure, None, first, with_all, names)
    main = max(own, key=lambda each: abs(error([other for other in own if other is not each])))
    return Cause(figure, main.what, first, with_all, names)


def substitutions(model: RunModel, run: MeasuredRun, at_s: Floats, expected: float) -> Iterator[Substitution]:
    """Yield the run's own inputs that differ from the model's; its arrivals are `at_s` in seconds, not `expected`."""
    if model.at_s is None:
        yield Substitution(
            "arrivals",
            f"when its jobs arrived, {len(at_s)} of them where {expected:.0f} were expected",
            lambda known: replace(known, at_s=at_s),
        )
    own, pattern = workload_of(run)
    work = model.workload

    yield _of_work(
        "executions",
        f"its executions, {_means(own.service, work.service)}",
        lambda known: replace(known, service=own.service),
    )
    if not isinstance(own.dispatch, Constant):
        yield _of_work(
            "dispatch",
            f"delays at workers that were free, {_means(own.dispatch, work.dispatch)}",
            lambda known: replace(known, dispatch=own.dispatch),
        )
    if pattern.evidence is Source.SEEN and _differ(own.take_pause, work.take_pause):
        yield _of_work(
            "takes",
            f"how its workers paced their takes, with a pause of {own.take_pause.duration:.2f} s and not of "
            f"{work.take_pause.duration:.2f} s",
            lambda known: replace(known, take_pause=own.take_pause),
        )
    if not model.setting.fixed and own.cold_start is not None and work.cold_start is not None:
        yield _of_work(
            "starts",
            f"its cold starts, {_means(own.cold_start, work.cold_start)}",
            lambda known: replace(known, cold_start=own.cold_start),
        )


def _of_work(name: str, what: str, change: Callable[[Workload], Workload]) -> Substitution:
    return Substitution(name, what, lambda known: replace(known, workload=change(known.workload)))


def _means(own: Distribution, calibrated: Distribution) -> str:
    return f"{_short(own.mean_s())} on average, not {_short(calibrated.mean_s())} as calibrated"


def _short(value_s: float) -> str:
    return f"{value_s:.3g} s" if value_s >= 1 else f"{value_s * 1000:.3g} ms"


def _differ(one: TakePause, other: TakePause) -> bool:
    return one.blocking_handler != other.blocking_handler or not math.isclose(
        one.duration, other.duration, rel_tol=_TOLERANCE
    )
