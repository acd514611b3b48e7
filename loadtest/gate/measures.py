"""The measurements of a gate: a time of each job, or its lower bound if it is not known; or a count of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from loadtest.analyze.start_kinds import CLASSES, UNKNOWN
from loadtest.analyze.stats.quantiles import TAIL, interval_ranks
from loadtest.arrays import Floats, Mask
from loadtest.gate.inputs import GateInputs
from loadtest.record.sample import Outcome
from loadtest.scenario.flows import FLOWS
from loadtest.scenario.metrics import Metric
from loadtest.units import nearest_rank


@dataclass(frozen=True)
class Count:
    """The number of jobs: all, over a limit, and undecided because it is not known."""

    n: int
    over: int
    undecided: int = 0

    def ci95(self) -> tuple[float, float]:
        """Return the 95 % interval of the share that is over, widened by the undecided.

        Clopper and Pearson (1934, Biometrika 26, p. 404), whose bounds are quantiles of beta distributions.
        """
        most = self.over + self.undecided
        low = float(special.betaincinv(self.over, self.n - self.over + 1, TAIL)) if self.over else 0.0
        high = float(special.betaincinv(most + 1, self.n - most, 1 - TAIL)) if most < self.n else 1.0
        return low, high


@dataclass(frozen=True)
class Times:
    """A time of each job in milliseconds, NaN if it is not known; `lower_bound_ms` bounds it from below then."""

    value_ms: Floats
    lower_bound_ms: Floats
    worker: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.value_ms)

    @property
    def unknown(self) -> Mask:
        """Return the mask of jobs with an unknown time."""
        return np.isnan(self.value_ms)

    def take(self, indices: NDArray[np.int64]) -> Times:
        """Return the times of the jobs at these indices."""
        return Times(self.value_ms[indices], self.lower_bound_ms[indices], self.worker[indices])

    def by_worker(self, none: int, limit_ms: float) -> Iterator[tuple[int, Times]]:
        """Yield the jobs of each worker, with those of unknown worker not under the limit, which may be its own."""
        under = self.value_ms < limit_ms
        unattributed = np.flatnonzero((self.worker == none) & ~under)
        order = np.argsort(self.worker, kind="stable")
        workers, first = np.unique(self.worker[order], return_index=True)
        for worker, indices in zip(workers.tolist(), np.split(order, first[1:]), strict=True):
            if worker != none:
                yield worker, self.take(np.concatenate([indices, unattributed]))

    def count(self, limit_ms: float) -> Count:
        """Count the jobs that are not under the limit: that took as long, or were unfinished after that time."""
        over = np.where(self.unknown, self.lower_bound_ms, self.value_ms) >= limit_ms
        undecided = self.unknown & ~over
        return Count(len(self), int(np.count_nonzero(over)), int(np.count_nonzero(undecided)))

    def percentile_ms(self, per_mille: int) -> tuple[float | None, tuple[float, float] | None]:
        """Return the nearest rank and its 95 % interval, unknown times last; None if not supported or unknown."""
        ranks = interval_ranks(len(self), per_mille)
        if ranks is None:
            return None, None
        indices = [nearest_rank(len(self), per_mille) - 1, ranks[0] - 1, ranks[1] - 1]
        values = np.partition(np.where(self.unknown, np.inf, self.value_ms), indices)
        value, low, high = (float(values[index]) for index in indices)
        return value if np.isfinite(value) else None, (low, high) if np.isfinite(high) else None


def times(metric: Metric, inputs: GateInputs, in_order: bool = False) -> Times:
    """Return a time of the selected jobs, on request in the order of their intended start.

    It includes every job that was due. The time of a job that did not complete is unknown, unless it ended
    before the job did (`JobColumns.known_times_ms`).
    """
    jobs, spec = inputs.jobs, metric.spec
    relevant = inputs.mask.copy()
    for flow in set(FLOWS) - set(spec.flows):
        relevant &= ~jobs.of_flow(flow)
    measured = Times(jobs.known_times_ms(metric), np.nan_to_num(_min_ms(metric, inputs)), inputs.worker)
    indices = np.flatnonzero(relevant)
    if in_order:
        indices = indices[np.argsort(jobs.intended_at[indices], kind="stable")]
    return measured.take(indices)


def _min_ms(metric: Metric, inputs: GateInputs) -> Floats:
    """Return the least that the time of each job can be: as long as it lasted, or as the server reported."""
    jobs, spec = inputs.jobs, metric.spec
    if spec.less:
        return np.zeros(len(jobs))
    if not spec.start:
        return np.maximum(0.0, jobs.times_ms(metric))
    until_at = np.where(np.isnan(jobs.finished_at), inputs.followed_until_at, jobs.finished_at)
    waited_ms: Floats = np.maximum(0.0, (until_at - getattr(jobs, spec.start)) * 1000)
    return waited_ms


def share_count(metric: Metric, inputs: GateInputs) -> Count | None:
    """Return the jobs that a share counts, of all that were due; None if unknown.

    Unfinished jobs may fail, or have met a cold start.
    """
    jobs, mask = inputs.jobs, inputs.mask
    censored = mask & jobs.ended(Outcome.CENSORED)
    match metric:
        case Metric.CENSORED:
            return _count(mask, censored)
        case Metric.ERRORS:
            return _count(mask, mask & ~jobs.completed & ~censored, censored)
        case Metric.COLD_STARTS:
            unknown = mask & (inputs.start_kind == UNKNOWN)
            known = _count(mask, mask & (inputs.start_kind == CLASSES.index("cold")), unknown)
            return None if known.n and known.undecided == known.n else known
    raise ValueError(f"{metric} is not a share that can be counted")


def _count(*masks: Mask) -> Count:
    return Count(*(int(np.count_nonzero(mask)) for mask in masks))
