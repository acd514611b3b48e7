"""The measurements of a gate: a time of each job, or its lower bound if it is not known; or a count of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from loadtest.analyze.stats.quantiles import TAIL, interval_ranks
from loadtest.arrays import Floats, Mask
from loadtest.gate.inputs import GateInputs
from loadtest.record.sample import Outcome
from loadtest.scenario.flows import FLOWS
from loadtest.scenario.metrics import Metric, MetricSpec
from loadtest.units import nearest_rank


@dataclass(frozen=True)
class Count:
    """The number of jobs: all, over a limit, and undecided because they did not finish."""

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

    def by_worker(self, none: int) -> Iterator[tuple[int, Times]]:
        """Yield the jobs of each worker, with those of unknown worker and time, which may be its own."""
        unattributed = np.flatnonzero((self.worker == none) & self.unknown)
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

    It includes jobs that completed and, with an unknown time, jobs unfinished at the end; send lag includes
    every job that was sent. Failed jobs count only for the gate on errors.
    """
    jobs, spec = inputs.jobs, metric.spec
    relevant = jobs.sent if spec.of_all_sent else jobs.completed | jobs.ended(Outcome.CENSORED)
    for flow in set(FLOWS) - set(spec.flows):
        relevant &= ~jobs.of_flow(flow)
    measured = Times(jobs.times_ms(metric), np.nan_to_num(_min_ms(spec, inputs)), inputs.worker)
    indices = np.flatnonzero(relevant & inputs.mask)
    if in_order:
        indices = indices[np.argsort(jobs.intended_at[indices], kind="stable")]
    return measured.take(indices)


def _min_ms(spec: MetricSpec, inputs: GateInputs) -> Floats:
    """Return how long the client had waited for each job; 0 for times that it knows only from the finished job."""
    jobs = inputs.jobs
    if not spec.waits_since:
        return np.zeros(len(jobs))
    waited_ms: Floats = np.maximum(0.0, (inputs.followed_until_at - getattr(jobs, spec.waits_since)) * 1000)
    # A completed job without such a time, a stream without a chunk, was not waited for until the run ended.
    return np.where(jobs.completed, 0.0, waited_ms)


def share_count(metric: Metric, inputs: GateInputs) -> Count | None:
    """Return the jobs that a share counts; None if unknown. Unfinished jobs may fail, or have met a cold start."""
    jobs = inputs.jobs
    sent, completed = jobs.sent & inputs.mask, jobs.completed & inputs.mask
    censored = jobs.ended(Outcome.CENSORED) & sent
    if metric is Metric.CENSORED:
        return Count(int(np.count_nonzero(sent)), int(np.count_nonzero(censored)))
    if metric is Metric.ERRORS:
        failed = sent & ~completed & ~censored
        return Count(*(int(np.count_nonzero(mask)) for mask in (sent, failed, censored)))
    if metric is not Metric.COLD_STARTS:
        raise ValueError(f"{metric} is not a share that can be counted")
    if inputs.cold is None:
        return None
    relevant, cold = completed | censored, inputs.cold & completed
    return Count(*(int(np.count_nonzero(mask)) for mask in (relevant, cold, censored)))
