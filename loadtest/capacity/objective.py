"""An objective held against a simulation: met, not met, or too close to tell."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec
import numpy as np

from loadtest.capacity.predict import Effort, Prediction, Simulate, percentile, predict, replications, settles
from loadtest.capacity.setting import Setting, Workload
from loadtest.capacity.simulate import COLD, WARM, Replication, can_settle, replication
from loadtest.capacity.values import Estimate, estimate, least_high
from loadtest.endpoint.spread import draws
from loadtest.scenario.gates import Gate, Metric

_SIMULATED = (Metric.DELAY, Metric.END_TO_END, Metric.RESPONSE, Metric.COLD_STARTS)
_AMPLE = 0.5
"""Two replications that both stay under this share of the limit end a glance: what is told is simulated in full."""
_FLOOR_DRAWS = 50_000


class Standing(StrEnum):
    """Whether a setting meets an objective, as far as the simulation knows."""

    MET = "met"
    NOT_MET = "not met"
    CANNOT_TELL = "cannot tell"


class Judged(msgspec.Struct, frozen=True):
    """A prediction, and the objective's own figure in it: seconds, or a share. Null where the queue never settles."""

    prediction: Prediction
    observed: Estimate | None
    standing: Standing


def refuse(slo: Gate) -> None:
    """ValueError for an objective that does not depend on the workers, or that a simulation cannot speak of."""
    if slo.metric not in _SIMULATED:
        able = ", ".join(_SIMULATED)
        raise ValueError(f'"{slo}" does not depend on the number of workers alone; ask for one of {able}')
    if slo.statistic == "max":
        raise ValueError(f'"{slo}" has no answer, the maximum grows with the number of jobs; write p99.9 for max')
    if slo.flow is not None or slo.during is not None or slo.per_worker:
        raise ValueError(
            f'"{slo}" names a part of the jobs, all are simulated alike; leave out what follows the limit'
        )


def figure(slo: Gate, run: Replication) -> float:
    """The objective's figure in one replication: seconds, or a share."""
    if slo.metric is Metric.COLD_STARTS:
        return float(np.mean(run.start == COLD))
    times_s = run.delay_s if slo.metric is Metric.DELAY else run.end_to_end_s
    return float(times_s.mean()) if slo.per_mille is None else percentile(times_s, slo.per_mille)


def floor(slo: Gate, workload: Workload, seed: int) -> float:
    """The objective's figure with so many workers that no job waits: no number of them does better."""
    rng = np.random.default_rng(seed)
    dispatch, service, overhead = (
        draws(times, _FLOOR_DRAWS, rng) for times in (workload.dispatch, workload.service, workload.overhead)
    )
    none, warm = np.zeros(_FLOOR_DRAWS), np.full(_FLOOR_DRAWS, WARM, dtype=np.int8)
    return figure(slo, Replication(none, dispatch, service, overhead, warm, 0.0, 0.0, 0.0, 0.0))


def standing(slo: Gate, observed: Estimate) -> Standing:
    """Met where the whole interval is under the limit, not met where all of it is over."""
    if observed.high < slo.limit:
        return Standing.MET
    return Standing.NOT_MET if observed.low >= slo.limit else Standing.CANNOT_TELL


def meets(
    slo: Gate,
    workload: Workload,
    setting: Setting,
    rate_per_s: float,
    effort: Effort,
    simulate: Simulate = replication,
) -> bool:
    """Whether the objective is met, at a glance; a setting that never settles, or cannot be told, meets none.

    It ends with the replication after which no further ones could bring the interval within, or two that leave ample
    room.
    """
    if not settles(workload, setting, rate_per_s) or not can_settle(workload, setting, rate_per_s):
        return False
    figures: list[float] = []
    for each in range(effort.replications):
        next_one = Effort(1, effort.jobs, effort.seed + each)
        figures += [figure(slo, run) for run in replications(workload, setting, rate_per_s, next_one, simulate)]
        if least_high(figures, effort.replications) >= slo.limit:
            return False
        if len(figures) > 1 and max(figures) < _AMPLE * slo.limit:
            return True
    return True


def judged(
    slo: Gate,
    workload: Workload,
    setting: Setting,
    rate_per_s: float,
    effort: Effort,
    price: float | None,
    simulate: Simulate = replication,
) -> Judged:
    """A setting's whole prediction, and how it stands with the objective."""
    runs = replications(workload, setting, rate_per_s, effort, simulate)
    predicted = predict(workload, setting, rate_per_s, runs, price)
    if not runs:
        return Judged(predicted, None, Standing.NOT_MET)
    observed = estimate([figure(slo, run) for run in runs])
    stands = standing(slo, observed)
    if stands is Standing.MET and not can_settle(workload, setting, rate_per_s):
        stands = Standing.CANNOT_TELL
    return Judged(predicted, observed, stands)


def best(options: Sequence[Judged]) -> list[Judged]:
    """Those that meet the objective, those that bill least first."""
    met = [each for each in options if each.standing is Standing.MET]
    return sorted(
        met, key=lambda each: each.prediction.billed_workers.value if each.prediction.billed_workers else 0.0
    )
