"""An objective held against a simulation: met, not met, or too close to tell."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec
import numpy as np

from loadtest.capacity.estimates import Estimate, estimate, min_upper_bound
from loadtest.capacity.simulation.predict import (
    Prediction,
    SimulateFn,
    SimulationBudget,
    percentile,
    predict,
    replications,
    settles,
)
from loadtest.capacity.simulation.simulate import WARM, Replication, can_reach_steady_state, replication
from loadtest.capacity.simulation.workload import WorkerConfig, Workload
from loadtest.endpoint.distributions import sample
from loadtest.scenario.gates import Gate
from loadtest.scenario.metrics import Metric

_EARLY_ACCEPT_RATIO = 0.5
"""Two replications that both stay under this share of the limit end a glance: what is told is simulated in full."""
_BEST_CASE_DRAWS = 50_000


class ObjectiveStatus(StrEnum):
    """Whether a setting meets an objective, as far as the simulation knows."""

    MET = "met"
    NOT_MET = "not met"
    CANNOT_TELL = "cannot tell"


class EvaluatedSetting(msgspec.Struct, frozen=True):
    """A prediction, and the objective's own figure in it: seconds, or a share. Null where the queue never settles."""

    prediction: Prediction
    observed: Estimate | None
    standing: ObjectiveStatus


def validate_objective(slo: Gate) -> None:
    """ValueError for an objective that does not depend on the workers, or that a simulation cannot speak of."""
    if not slo.metric.spec.simulated:
        able = ", ".join(metric for metric in Metric if metric.spec.simulated)
        raise ValueError(f'"{slo}" does not depend on the number of workers alone; ask for one of {able}')
    if slo.statistic == "max":
        raise ValueError(f'"{slo}" has no answer, the maximum grows with the number of jobs; write p99.9 for max')
    if slo.flow is not None or slo.during is not None or slo.per_worker:
        raise ValueError(
            f'"{slo}" names a part of the jobs, all are simulated alike; leave out what follows the limit'
        )


def objective_value(slo: Gate, run: Replication) -> float:
    """The objective's figure in one replication: seconds, or a share."""
    values = getattr(run, slo.metric.spec.simulated)
    return float(values.mean()) if slo.per_mille is None else percentile(values, slo.per_mille)


def best_possible(slo: Gate, workload: Workload, seed: int) -> float:
    """The objective's figure with so many workers that no job waits: no number of them does better."""
    rng = np.random.default_rng(seed)
    dispatch, service, overhead = (
        sample(times, _BEST_CASE_DRAWS, rng) for times in (workload.dispatch, workload.service, workload.overhead)
    )
    none, warm = np.zeros(_BEST_CASE_DRAWS), np.full(_BEST_CASE_DRAWS, WARM, dtype=np.int8)
    return objective_value(slo, Replication(none, dispatch, service, overhead, warm, 0.0, 0.0, 0.0, 0.0))


def standing(slo: Gate, observed: Estimate) -> ObjectiveStatus:
    """Met where the whole interval is under the limit, not met where all of it is over."""
    if observed.high < slo.limit:
        return ObjectiveStatus.MET
    return ObjectiveStatus.NOT_MET if observed.low >= slo.limit else ObjectiveStatus.CANNOT_TELL


def meets(
    slo: Gate,
    workload: Workload,
    setting: WorkerConfig,
    rate_per_s: float,
    budget: SimulationBudget,
    simulate: SimulateFn = replication,
) -> bool:
    """Whether the objective is met, at a glance; a setting that never settles, or cannot be told, meets none.

    It ends with the replication after which no further ones could bring the interval within, or two that leave ample
    room.
    """
    if not settles(workload, setting, rate_per_s) or not can_reach_steady_state(workload, setting, rate_per_s):
        return False
    figures: list[float] = []
    for each in range(budget.replications):
        next_one = SimulationBudget(1, budget.jobs, budget.seed + each)
        figures += [
            objective_value(slo, run) for run in replications(workload, setting, rate_per_s, next_one, simulate)
        ]
        if min_upper_bound(figures, budget.replications) >= slo.limit:
            return False
        if len(figures) > 1 and max(figures) < _EARLY_ACCEPT_RATIO * slo.limit:
            return True
    return True


def evaluate(
    slo: Gate,
    workload: Workload,
    setting: WorkerConfig,
    rate_per_s: float,
    budget: SimulationBudget,
    price: float | None,
    simulate: SimulateFn = replication,
) -> EvaluatedSetting:
    """A setting's whole prediction, and how it stands with the objective."""
    runs = replications(workload, setting, rate_per_s, budget, simulate)
    predicted = predict(workload, setting, rate_per_s, runs, price)
    if not runs:
        return EvaluatedSetting(predicted, None, ObjectiveStatus.NOT_MET)
    observed = estimate([objective_value(slo, run) for run in runs])
    stands = standing(slo, observed)
    if stands is ObjectiveStatus.MET and not can_reach_steady_state(workload, setting, rate_per_s):
        stands = ObjectiveStatus.CANNOT_TELL
    return EvaluatedSetting(predicted, observed, stands)


def cheapest_first(options: Sequence[EvaluatedSetting]) -> list[EvaluatedSetting]:
    """Those that meet the objective, those that bill least first."""
    met = [each for each in options if each.standing is ObjectiveStatus.MET]
    return sorted(
        met, key=lambda each: each.prediction.billed_workers.value if each.prediction.billed_workers else 0.0
    )
