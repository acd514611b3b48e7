"""The answer to "how many workers, and what do they cost", as one value for the terminal, the page and the file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import methodcaller
from typing import Any, TypeVar

import msgspec
from pydantic import TypeAdapter

from loadtest.capacity.backtest.backtest import BacktestResult
from loadtest.capacity.calibration.calibrate import Calibration
from loadtest.capacity.estimates import Estimate, MapFn
from loadtest.capacity.planning.curves import Curves, curves
from loadtest.capacity.planning.objective import (
    EvaluatedSetting,
    ObjectiveStatus,
    best_possible,
    cheapest_first,
    validate_objective,
)
from loadtest.capacity.planning.optimizer import (
    Alternatives,
    Problem,
    flexible_options,
    highest_rate,
    min_active_workers,
)
from loadtest.capacity.queueing_formulas import AnalyticEstimate, QueueModel, analytic_estimate
from loadtest.capacity.simulation.arrivals import gap_variation, peak
from loadtest.capacity.simulation.workload import WorkerConfig, fixed, variation
from loadtest.endpoint.settings import RequestCount, Scaler, ScalerSettings
from loadtest.scenario.gates import limit_text

SCHEMA = 2
_CONFIRMATIONS = 8
_RATE_STEP = 0.1
_STATUS_TEXT = {
    ObjectiveStatus.MET: "still met",
    ObjectiveStatus.NOT_MET: "not met",
    ObjectiveStatus.CANNOT_TELL: "too close to tell",
}
_T = TypeVar("_T", "Plan", "BacktestReport")


class Sensitivity(msgspec.Struct, frozen=True):
    """How near the answer is to the rate at which delays run away: the same workers at 10 % less and 10 % more."""

    less: EvaluatedSetting
    more: EvaluatedSetting
    detail: str


class RejectedOption(msgspec.Struct, frozen=True, rename={"scaler": "scaling"}):
    """A scaler and idle timeout that is not offered as an option, and the reason."""

    scaler: ScalerSettings
    idle_timeout_s: float
    why: str


class Plan(msgspec.Struct, frozen=True, rename={"analytic": "quick", "one_fewer": "fewer"}):
    """The whole of `capacity.json`. Limits and observed figures of the objective are in seconds, or shares.

    `answer` is for the workers that you named, or the fewest that always run and meet the objective. `one_fewer` is
    the same with one worker less; null if you named workers. `options` holds the cheapest workers that meet the
    objective for each scaler and idle timeout that you asked for, in ascending order of billed workers; `left_out`
    holds those that do not meet it. `highest_rate_per_s` is the highest rate at which the answer's workers meet the
    objective; null if there is none. `backtests` are the runs of the calibration as predicted by it, and
    `not_backtested` says why others are not; `checks` are other runs. `curves` are the settings around the answer.
    """

    rate_per_s: float
    slo: str
    limit: float
    price: float | None
    calibration: Calibration
    analytic: AnalyticEstimate
    answer: EvaluatedSetting
    one_fewer: EvaluatedSetting | None
    cliff: Sensitivity
    highest_rate_per_s: float | None
    curves: Curves
    options: tuple[EvaluatedSetting, ...] = ()
    left_out: tuple[RejectedOption, ...] = ()
    leaves_out: tuple[str, ...] = ()
    checks: tuple[BacktestResult, ...] = ()
    backtests: tuple[BacktestResult, ...] = ()
    not_backtested: tuple[str, ...] = ()
    schema: int = SCHEMA


class BacktestReport(msgspec.Struct, frozen=True):
    """The whole of `capacity.json` if nothing was planned: the calibration and its backtests."""

    calibration: Calibration
    checks: tuple[BacktestResult, ...]
    schema: int = SCHEMA


def encode_plan(found: Plan | BacktestReport) -> bytes:
    """Return the content of `capacity.json`."""
    return msgspec.json.format(msgspec.json.encode(found, enc_hook=methodcaller("model_dump", mode="json")), indent=2)


def decode_plan(content: bytes, kind: type[_T]) -> _T:
    """Return what `encode_plan` encoded."""

    def decode_scaler(_: type, fields: dict[str, Any]) -> ScalerSettings:
        return TypeAdapter[ScalerSettings](Scaler).validate_python(fields)

    return msgspec.json.decode(content, type=kind, dec_hook=decode_scaler)


NO_ALTERNATIVES = Alternatives()
_LEAVES_OUT = (
    "The interval of a prediction includes the errors of the simulation and of the calibration; execution times of "
    "another day or of other hosts are not in it.",
    "Execution times are drawn independently of each other and of how many workers are at work.",
    "All workers are alike, and are there when the scaler asks for them.",
    "Active and flex workers cost the same per second.",
    "Workers are taken to be billed from start to stop, initializing included, each stop rounded up to a second. One "
    "of the vendor's pages bills initializing, another does not. Stopped workers (idle in /health) are not billed.",
)
_BY_COUNT = (
    "With request count, the idle timeout is an assumption: the vendor's API refuses one there, and does not say "
    "what stops workers."
)
_SMALL_ACCOUNT = 5
_ACCOUNT = (
    f"An account may have {_SMALL_ACCOUNT} workers at first, and up to 60 as its balance grows. In a spike the "
    "service may start extra workers beyond the maximum, 2 by default; the plan's maximum includes them."
)


def plan(
    problem: Problem,
    calibration: Calibration,
    rate_per_s: float,
    named: WorkerConfig | None = None,
    alternatives: Alternatives = NO_ALTERNATIVES,
    map_fn: MapFn = map,
) -> Plan:
    """Return the plan for this rate, of the `named` workers if given; `map_fn` maps over alternatives and curves.

    Raises ValueError if the objective cannot be simulated, if no number of workers meets it, or if no run shows how
    long a flex worker's start takes.
    """
    validate_objective(problem.slo)
    _require_reachable(problem)
    # Start these before all else: the processes of a pool work on them while this one goes on.
    found = flexible_options(problem, rate_per_s, alternatives, map_fn)
    if named is None:
        answer, fewer = _smallest_confirmed(problem, rate_per_s)
    else:
        answer, fewer = problem.evaluate(named, rate_per_s), None
    setting = answer.prediction.setting
    highest = iter(map_fn(partial(highest_rate, problem.shared_with(map_fn)), [setting]))
    analytic = _analytic(problem, setting, rate_per_s)
    cliff = _cliff(problem, setting, rate_per_s)
    known = [one for one in (answer, fewer, cliff.less, cliff.more) if one is not None]
    around = curves(problem, rate_per_s, analytic.vendor_workers, known, map_fn)
    options, left_out = _options(problem, rate_per_s, alternatives, list(found))
    return Plan(
        rate_per_s=rate_per_s,
        slo=str(problem.slo),
        limit=problem.slo.limit,
        price=problem.price,
        calibration=calibration,
        analytic=analytic,
        answer=answer,
        one_fewer=fewer,
        cliff=cliff,
        highest_rate_per_s=next(highest),
        curves=around,
        options=options,
        left_out=left_out,
        leaves_out=_leaves_out([answer, *options]),
    )


def _leaves_out(named: Sequence[EvaluatedSetting]) -> tuple[str, ...]:
    """Return what the plan assumes or leaves out for the settings that it names, each as a sentence."""
    settings = [each.prediction.setting for each in named]
    flex = [each for each in settings if not each.fixed]
    by_count = [_BY_COUNT] if any(isinstance(each.scaler, RequestCount) for each in flex) else []
    many = any(each.max_workers > _SMALL_ACCOUNT for each in settings)
    return (*_LEAVES_OUT, *by_count, *([_ACCOUNT] if many else []))


def _require_reachable(problem: Problem) -> None:
    best = best_possible(problem.slo, problem.workload, problem.look.seed)
    if best >= problem.slo.limit:
        raise ValueError(
            f'no number of workers meets "{problem.slo}": where no job waits at all it is '
            f"{limit_text(problem.slo, round(best, 4))}"
        )


def _analytic(problem: Problem, setting: WorkerConfig, rate_per_s: float) -> AnalyticEstimate:
    work = problem.workload
    highest = peak(work.arrivals)
    queue = QueueModel(
        setting.max_workers,
        rate_per_s * highest,
        work.occupancy.mean_s(),
        gap_variation(work.arrivals),
        variation(work.occupancy),
        work.concurrency,
    )
    return analytic_estimate(queue, rate_per_s, work.service.mean_s(), highest)


def _smallest_confirmed(problem: Problem, rate_per_s: float) -> tuple[EvaluatedSetting, EvaluatedSetting | None]:
    """Return the fewest workers that the confirmation budget agrees to, and one fewer.

    The intervals of the search budget are wide, so that a search mostly finds one worker too many.
    """
    workers = min_active_workers(problem, rate_per_s)
    if workers is None:
        raise ValueError(f'no number of workers was found that meets "{problem.slo}"')
    found, fewer = problem.evaluate(fixed(workers), rate_per_s), None
    for more in range(workers + 1, workers + 1 + _CONFIRMATIONS):
        if found.standing is ObjectiveStatus.MET:
            break
        found, fewer = problem.evaluate(fixed(more), rate_per_s), found
    for less in range(found.prediction.setting.active - 1, 0, -1):
        if fewer is not None and fewer.standing is not ObjectiveStatus.MET:
            break
        found = found if fewer is None else fewer
        fewer = problem.evaluate(fixed(less), rate_per_s)
    if fewer is not None and fewer.standing is ObjectiveStatus.MET:
        return fewer, None
    return found, fewer


def _options(
    problem: Problem, rate_per_s: float, alternatives: Alternatives, found: Sequence[EvaluatedSetting | None]
) -> tuple[tuple[EvaluatedSetting, ...], tuple[RejectedOption, ...]]:
    """Return the options that meet the objective, in ascending order of billed workers, and those left out.

    The first is simulated with the confirmation budget. If that does not agree, it is left out and the next is tried.
    """
    left_out = [
        RejectedOption(*pair, f"not met up to {alternatives.max_workers} workers")
        for pair, option in zip(alternatives.pairs(), found, strict=True)
        if option is None
    ]
    options = [option for option in found if option is not None]
    left_out += [
        _rejected_by_confirmation(option) for option in options if option.standing is not ObjectiveStatus.MET
    ]
    options = cheapest_first(options)
    while options:
        confirmed = problem.evaluate(options[0].prediction.setting, rate_per_s)
        if confirmed.standing is ObjectiveStatus.MET:
            return (confirmed, *options[1:]), tuple(left_out)
        left_out.append(_rejected_by_confirmation(confirmed))
        del options[0]
    return (), tuple(left_out)


def _rejected_by_confirmation(confirmed: EvaluatedSetting) -> RejectedOption:
    setting = confirmed.prediction.setting
    found = f"{setting.active} to {setting.max_workers} workers met it in a quick simulation"
    why = f"{found}; simulated for longer it is: {confirmed.standing}"
    return RejectedOption(setting.scaler, setting.idle_timeout_s, why)


def _cliff(problem: Problem, setting: WorkerConfig, rate_per_s: float) -> Sensitivity:
    less = problem.glance(setting, rate_per_s * (1 - _RATE_STEP))
    more = problem.evaluate(setting, rate_per_s * (1 + _RATE_STEP))
    if not more.prediction.settles or more.observed is None:
        return Sensitivity(less, more, "At 10 % more the queue never settles.")

    def short(observed: Estimate) -> str:
        return limit_text(problem.slo, float(f"{observed.value:.3g}"))

    at_more = f"At 10 % more the objective is {_STATUS_TEXT[more.standing]}: {short(more.observed)}"
    at_less = "" if less.observed is None else f", against {short(less.observed)} at 10 % less"
    return Sensitivity(less, more, f"{at_more}{at_less}.")
