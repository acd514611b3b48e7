"""An objective compared with a simulation: met, not met, or too close to decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

import msgspec
import numpy as np

from loadtest.capacity.estimates import Estimate
from loadtest.capacity.simulation.predict import Prediction, percentile
from loadtest.capacity.simulation.simulate import Replication
from loadtest.capacity.simulation.simulated_run import COMPLETED, FAILED, WARM
from loadtest.capacity.simulation.workload import Workload
from loadtest.endpoint.distributions import sample
from loadtest.scenario.gates import Gate
from loadtest.scenario.metrics import Metric

_BEST_CASE_DRAWS = 50_000


class ObjectiveStatus(StrEnum):
    """Whether a setting meets an objective, as far as the simulation knows."""

    MET = "met"
    NOT_MET = "not met"
    CANNOT_TELL = "cannot tell"


class EvaluatedSetting(msgspec.Struct, frozen=True):
    """A prediction and the objective's figure in it, in seconds or as a share; null if the queue never settles."""

    prediction: Prediction
    observed: Estimate | None
    standing: ObjectiveStatus


def validate_objective(slo: Gate) -> None:
    """Raise ValueError if an objective does not depend on the workers, or cannot be simulated."""
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
    """Return the objective's figure in one replication: seconds, or a share.

    A percentile is infinite if too many jobs do not complete. A mean is that of the jobs that do.
    """
    values = getattr(run, slo.metric.spec.simulated)
    if slo.per_mille is not None:
        return percentile(values, slo.per_mille)
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.inf


def best_possible(slo: Gate, workload: Workload, seed: int) -> float:
    """Return the objective's figure if no job ever waits for a worker; no number of workers does better."""
    rng = np.random.default_rng(seed)
    dispatch, service, overhead = (
        sample(times, _BEST_CASE_DRAWS, rng) for times in (workload.dispatch, workload.service, workload.overhead)
    )
    none, warm = np.zeros(_BEST_CASE_DRAWS), np.full(_BEST_CASE_DRAWS, WARM, dtype=np.int8)
    fails = (service > workload.policy.execution_timeout) | (rng.random(_BEST_CASE_DRAWS) < workload.failure_rate)
    ends = np.where(fails, FAILED, COMPLETED).astype(np.int8)
    return objective_value(slo, Replication(none, dispatch, service, overhead, warm, ends, 0.0, 0.0, 0.0, 0.0))


def standing(slo: Gate, observed: Estimate) -> ObjectiveStatus:
    """Return met if the whole interval is under the limit, not met if all of it is at or over the limit."""
    if observed.high < slo.limit:
        return ObjectiveStatus.MET
    return ObjectiveStatus.NOT_MET if observed.low >= slo.limit else ObjectiveStatus.CANNOT_TELL


def cheapest_first(options: Sequence[EvaluatedSetting]) -> list[EvaluatedSetting]:
    """Return the options that meet the objective, in ascending order of billed workers."""
    return sorted((each for each in options if each.standing is ObjectiveStatus.MET), key=billed_workers)


def billed_workers(evaluated: EvaluatedSetting) -> float:
    """Return the billed worker-seconds per second."""
    billed = evaluated.prediction.billed_workers
    return math.inf if billed is None else billed.value
