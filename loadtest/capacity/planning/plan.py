"""The answer to "how many workers, and what do they cost": one value that a terminal, a page or a check can read."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

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
from loadtest.capacity.queueing_formulas import AnalyticEstimate, analytic_estimate
from loadtest.capacity.simulation.arrivals import gap_variation, peak
from loadtest.capacity.simulation.workload import ScalerConfig, WorkerConfig, fixed, mean_s, variation
from loadtest.scenario.gates import limit_text

SCHEMA = 1
_CONFIRMATIONS = 8
_ASIDE = 0.1


class Sensitivity(msgspec.Struct, frozen=True):
    """How near the answer stands to where delays run away: the same workers at 10 % less and 10 % more."""

    less: EvaluatedSetting
    more: EvaluatedSetting
    detail: str


class RejectedOption(msgspec.Struct, frozen=True):
    """A scaler and idle timeout that is no option, and why."""

    scaling: ScalerConfig
    idle_timeout_s: float
    why: str


class Plan(msgspec.Struct, frozen=True, rename={"analytic": "quick", "one_fewer": "fewer"}):
    """`capacity.json`, whole. Limits and observed figures of the objective in seconds, or as shares.

    `answer` is what was asked about: the workers that were named, or the least that always run and meet the
    objective; `fewer` is one less, null where workers were named. `options` holds, for each scaler and idle timeout
    that was asked for, the least that meet it, those that bill least first; `left_out` those of which none is told.
    `highest_rate_per_s` is what the answer's workers bear; null where they meet the objective at no rate. `checks`
    are the runs that the same calibration was held against, `curves` shows what lies around the answer.
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
    schema: int = SCHEMA


class BacktestReport(msgspec.Struct, frozen=True):
    """`capacity.json` where nothing was planned: runs that the calibration was held against."""

    calibration: Calibration
    checks: tuple[BacktestResult, ...]
    schema: int = SCHEMA


class Unreachable(ValueError):
    """No number of workers meets the objective."""


NO_ALTERNATIVES = Alternatives()
_LEAVES_OUT = (
    "The interval of a prediction is that of the simulation; execution times of another day are not in it.",
    "Execution times are drawn independently of each other and of how many workers are at work.",
    "All workers are alike, take one job at a time, and are there when the scaler asks for them.",
    "Active and flex workers cost the same per second.",
)


def plan(
    question: Problem,
    calibration: Calibration,
    rate_per_s: float,
    named: WorkerConfig | None = None,
    alternatives: Alternatives = NO_ALTERNATIVES,
    each: MapFn = map,
) -> Plan:
    """What it takes at this rate; of `named` workers where they are given. `each` goes through the alternatives.

    ValueError for an objective that cannot be simulated, or flex workers whose start was never seen; Unreachable
    where no number of workers meets it.
    """
    validate_objective(question.slo)
    _refuse_unreachable(question)
    # Begun first, since other processes, where `each` has them, are at it while this one goes on.
    found = flexible_options(question, rate_per_s, alternatives, each)
    if named is None:
        answer, fewer = _smallest_confirmed(question, rate_per_s)
    else:
        answer, fewer = question.judged(named, rate_per_s), None
    setting = answer.prediction.setting
    work = question.workload
    quick = analytic_estimate(
        setting.max_workers,
        rate_per_s,
        mean_s(work.occupancy),
        gap_variation(work.arrivals),
        variation(work.occupancy),
        peak(work.arrivals),
        mean_s(work.service),
    )
    cliff = _cliff(question, setting, rate_per_s)
    highest_per_s = highest_rate(msgspec.structs.replace(question, look=question.confirm), setting)
    options, left_out = _options(question, rate_per_s, alternatives, list(found))
    text = (answer, fewer, cliff.less, cliff.more)
    return Plan(
        rate_per_s=rate_per_s,
        slo=str(question.slo),
        limit=question.slo.limit,
        price=question.price,
        calibration=calibration,
        analytic=quick,
        answer=answer,
        one_fewer=fewer,
        cliff=cliff,
        highest_rate_per_s=highest_per_s,
        curves=curves(question, rate_per_s, quick.vendor_workers, [one for one in text if one is not None], each),
        options=options,
        left_out=left_out,
        leaves_out=_LEAVES_OUT,
    )


def _refuse_unreachable(question: Problem) -> None:
    least = best_possible(question.slo, question.workload, question.look.seed)
    if least >= question.slo.limit:
        raise Unreachable(
            f'no number of workers meets "{question.slo}": where no job waits at all it is '
            f"{limit_text(question.slo, round(least, 4))}"
        )


def _smallest_confirmed(question: Problem, rate_per_s: float) -> tuple[EvaluatedSetting, EvaluatedSetting | None]:
    """The least workers that a longer simulation agrees to, from those found at a glance on; and one fewer.

    A glance has wide intervals, so that it mostly asks for one too many.
    """
    workers = min_active_workers(question, rate_per_s)
    if workers is None:
        raise Unreachable(f'no number of workers was found that meets "{question.slo}"')
    found, fewer = question.judged(fixed(workers), rate_per_s), None
    for more in range(workers + 1, workers + 1 + _CONFIRMATIONS):
        if found.standing is ObjectiveStatus.MET:
            break
        found, fewer = question.judged(fixed(more), rate_per_s), found
    for less in range(found.prediction.setting.active - 1, 0, -1):
        if fewer is not None and fewer.standing is not ObjectiveStatus.MET:
            break
        found = found if fewer is None else fewer
        fewer = question.judged(fixed(less), rate_per_s)
    if fewer is not None and fewer.standing is ObjectiveStatus.MET:
        return fewer, None
    return found, fewer


def _options(
    question: Problem, rate_per_s: float, alternatives: Alternatives, found: Sequence[EvaluatedSetting | None]
) -> tuple[tuple[EvaluatedSetting, ...], tuple[RejectedOption, ...]]:
    """The options that meet the objective, those that bill least first, and what is left out.

    The first is simulated for longer. Where that does not agree, it is left out, and the next takes its place.
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
        confirmed = question.judged(options[0].prediction.setting, rate_per_s)
        if confirmed.standing is ObjectiveStatus.MET:
            return (confirmed, *options[1:]), tuple(left_out)
        left_out.append(_rejected_by_confirmation(confirmed))
        del options[0]
    return (), tuple(left_out)


def _rejected_by_confirmation(confirmed: EvaluatedSetting) -> RejectedOption:
    """What a glance found, and a longer look did not agree to."""
    setting = confirmed.prediction.setting
    found = f"{setting.active} to {setting.max_workers} workers met it at a glance"
    why = f"{found}; simulated for longer it is: {confirmed.standing}"
    return RejectedOption(setting.scaling, setting.idle_timeout_s, why)


def _cliff(question: Problem, setting: WorkerConfig, rate_per_s: float) -> Sensitivity:
    less, more = (question.judged(setting, rate_per_s * (1 + by)) for by in (-_ASIDE, _ASIDE))
    return Sensitivity(less, more, _explain(question, more, less))


def _explain(question: Problem, more: EvaluatedSetting, less: EvaluatedSetting) -> str:
    if more.observed is None:
        return "At 10 % more the queue never settles."
    words = {
        ObjectiveStatus.MET: "still met",
        ObjectiveStatus.NOT_MET: "not met",
        ObjectiveStatus.CANNOT_TELL: "too close to tell",
    }
    said = f"At 10 % more the objective is {words[more.standing]}: {_short(question, more.observed)}"
    beside = "" if less.observed is None else f", against {_short(question, less.observed)} at 10 % less"
    return f"{said}{beside}."


def _short(question: Problem, observed: Estimate) -> str:
    return limit_text(question.slo, float(f"{observed.value:.3g}"))
