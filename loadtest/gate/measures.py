"""The measurements of a gate: a time of each job, or its lower bound if it is not known; or a count of jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import special

from loadtest.analyze.start_kinds import CLASSES, UNKNOWN
from loadtest.analyze.stats.effective_number import (
    Effective,
    average_ranks,
    effective,
    effective_pooled,
    effective_times,
    independent,
)
from loadtest.analyze.stats.percentile_bounds import lower_rank, upper_bound, upper_end, upper_ranks
from loadtest.analyze.stats.quantiles import TAIL, is_supported
from loadtest.arrays import Floats, Mask
from loadtest.gate.early_stopping import ALPHA, more_until
from loadtest.gate.inputs import GateInputs
from loadtest.record.sample import Outcome
from loadtest.scenario.flows import FLOWS, FlowName
from loadtest.scenario.metrics import Metric
from loadtest.units import nearest_rank


@dataclass(frozen=True)
class Count:
    """The number of jobs: all, over a limit, and undecided because it is not known; and what all are worth.

    With `pooled_of`, it is the number of gaps between tokens, of this many jobs.
    """

    n: int
    over: int
    undecided: int
    worth: Effective
    pooled_of: int | None = None

    @property
    def jobs(self) -> int:
        """Return the number of jobs."""
        return self.n if self.pooled_of is None else self.pooled_of

    def ci95(self) -> tuple[float, float]:
        """Return the 95 % interval of the share that is over, widened by the undecided.

        Counts are scaled to the effective number of jobs.

        Clopper and Pearson (1934, Biometrika 26, p. 404), whose bounds are quantiles of beta distributions.
        """
        at_low, at_high = self.worth.for_lower() / self.n, self.worth.for_upper() / self.n
        over, n = self.over * at_low, self.n * at_low
        low = float(special.betaincinv(over, n - over + 1, TAIL)) if over else 0.0
        most, n = (self.over + self.undecided) * at_high, self.n * at_high
        high = float(special.betaincinv(most + 1, n - most, 1 - TAIL)) if most < n else 1.0
        return low, high


@dataclass(frozen=True)
class Times:
    """A time of each job in milliseconds, NaN if it is not known; `lower_bound_ms` bounds it from below then.

    The jobs are in the order of their intended start. `alike` is what more jobs of the same kind are worth, if that
    is known. `counts` is given for the gaps between tokens: how many each job has, one job after the other.
    """

    value_ms: Floats
    lower_bound_ms: Floats
    worker: NDArray[np.int32]
    alike: Effective | None = None
    counts: NDArray[np.int64] | None = None

    @property
    def jobs(self) -> int:
        """Return the number of jobs that have these times."""
        return len(self) if self.counts is None else len(self.counts)

    def __len__(self) -> int:
        return len(self.value_ms)

    @property
    def unknown(self) -> Mask:
        """Return the mask of jobs with an unknown time."""
        return np.isnan(self.value_ms)

    def take(self, indices: NDArray[np.int64]) -> Times:
        """Return the times of the jobs at these indices."""
        return Times(self.value_ms[indices], self.lower_bound_ms[indices], self.worker[indices], self.alike)

    def by_worker(self, none: int, limit_ms: float) -> Iterator[tuple[int, Times]]:
        """Yield the jobs of each worker, with those of unknown worker not under the limit, which may be its own.

        How far a worker's jobs resemble its next ones is estimated from all workers together: one has too few jobs.
        """
        alike = self._within_workers(none)
        under = self.value_ms < limit_ms
        unattributed = np.flatnonzero((self.worker == none) & ~under)
        order = np.argsort(self.worker, kind="stable")
        workers, first = np.unique(self.worker[order], return_index=True)
        for worker, indices in zip(workers.tolist(), np.split(order, first[1:]), strict=True):
            if worker != none:
                yield worker, replace(self.take(np.sort(np.concatenate([indices, unattributed]))), alike=alike)

    def _within_workers(self, none: int) -> Effective:
        """Return what the jobs of named workers are worth, by their ranks among those of the same worker."""
        shares = [
            (average_ranks(self.worst_ms[own]) + 0.5) / np.count_nonzero(own)
            for own in (self.worker == worker for worker in np.unique(self.worker[self.worker != none]))
        ]
        return effective(np.concatenate(shares)) if shares else independent(0)

    def count(self, limit_ms: float) -> Count:
        """Count the jobs that are not under the limit: that took as long, or were unfinished after that time."""
        over = self.least_ms >= limit_ms
        undecided = self.unknown & ~over
        pooled_of = None if self.counts is None else self.jobs
        worth = self.worth(limit_ms)
        return Count(len(self), int(np.count_nonzero(over)), int(np.count_nonzero(undecided)), worth, pooled_of)

    @cached_property
    def least_ms(self) -> Floats:
        """Return the times, or the lower bounds of unknown ones."""
        return np.where(self.unknown, self.lower_bound_ms, self.value_ms)

    @cached_property
    def worst_ms(self) -> Floats:
        """Return the times, the unknown ones infinite."""
        return np.where(self.unknown, np.inf, self.value_ms)

    def worth(self, limit_ms: float = np.inf) -> Effective:
        """Return what the jobs are worth in independent ones, with all that reach the limit as one.

        So it does not change if a job fails after as long as it would have taken, whether under the limit or not.
        """
        return self._worth(np.minimum(self.least_ms, limit_ms))

    def _worth(self, times_ms: Floats) -> Effective:
        if self.alike is not None:
            return Effective(len(self), self.alike.tau, self.alike.degrees)
        if self.counts is not None:
            return effective_pooled(times_ms, self.counts)
        return effective_times(times_ms)

    def _worth_at_worst(self, limit_ms: float, count: Count) -> Effective:
        """Return the lesser of what the jobs are worth, and of that if all unknown times reach the limit."""
        if count.undecided == 0:
            return count.worth
        return min(count.worth, self._worth(np.minimum(self.worst_ms, limit_ms)), key=Effective.for_upper)

    def percentile_ms(self, per_mille: int) -> tuple[float | None, tuple[float, float] | None]:
        """Return the nearest rank and its 95 % interval, unknown times last; None if not supported or unknown."""
        n, worth = len(self), self.worth()
        rank = lower_rank(n, per_mille, worth, TAIL)
        if not is_supported(self.jobs, per_mille):
            return None, None
        at = nearest_rank(n, per_mille) - 1
        values = np.partition(self.worst_ms, [at] if rank is None else [at, rank - 1])
        value, high = float(values[at]), upper_bound(self.worst_ms, per_mille, worth, TAIL)
        interval = None if rank is None or not np.isfinite(high) else (float(values[rank - 1]), high)
        return value if np.isfinite(value) else None, interval

    def holds(self, limit_ms: float, per_mille: int, count: Count) -> bool:
        """Return whether the percentile is below the limit with 99 % confidence, all unknown times being over.

        `count` is that of the limit. No job that fails makes it true.
        """
        return upper_bound(self.worst_ms, per_mille, self._worth_at_worst(limit_ms, count), ALPHA) < limit_ms

    def more_jobs(self, limit_ms: float, per_mille: int, count: Count) -> int | None:
        """Return how many more jobs with such times would hold; None if no number would."""
        n, worth, ordered = len(self), self._worth_at_worst(limit_ms, count), np.sort(self.worst_ms)

        def enough(jobs: int) -> bool:
            return upper_end(ordered, per_mille, upper_ranks(n, per_mille, worth, ALPHA, jobs)) < limit_ms

        more = more_until(n, enough)
        return more if more is None or self.counts is None else ceil(more * self.jobs / n)

    def linear_ms(self) -> Floats:
        """Return a value of each job whose mean is that of all times, and varies as that does; unknown ones at least.

        Of the ratio r of the sums y and x of jobs that is r + (y − r x) / mean x (Cochran, Sampling Techniques, 6.3).
        """
        if self.counts is None or len(self) == 0:
            return self.least_ms
        sums = np.add.reduceat(self.least_ms, np.cumsum(self.counts) - self.counts)
        mean_ms = float(sums.sum()) / len(self)
        linear: Floats = mean_ms + (sums - mean_ms * self.counts) / self.counts.mean()
        return linear


def times(metric: Metric, inputs: GateInputs) -> Times:
    """Return a time of the selected jobs, in the order of their intended start.

    It includes every job that was due. The time of a job that did not complete is unknown, unless it ended
    before the job did (`JobColumns.known_times_ms`). A job that completed with one token has no time per token.
    """
    jobs = inputs.jobs
    relevant = of_flows(inputs, metric.spec.flows)
    if metric.spec.per_token:
        relevant &= ~(jobs.completed & (jobs.output_tokens <= 1))
    measured = Times(jobs.known_times_ms(metric), np.nan_to_num(min_ms(metric, inputs)), inputs.worker)
    return measured.take(in_order(inputs, relevant))


def of_flows(inputs: GateInputs, flows: Sequence[FlowName]) -> Mask:
    """Return a mask of the selected jobs of these flows."""
    relevant = inputs.mask.copy()
    for flow in set(FLOWS) - set(flows):
        relevant &= ~inputs.jobs.of_flow(flow)
    return relevant


def in_order(inputs: GateInputs, relevant: Mask) -> NDArray[np.int64]:
    """Return the indices of the relevant jobs in the order of their intended start."""
    indices = np.flatnonzero(relevant)
    return indices[np.argsort(inputs.jobs.intended_at[indices], kind="stable")]


def min_ms(metric: Metric, inputs: GateInputs) -> Floats:
    """Return the least that the time of each job can be: as long as it lasted, or as the server reported.

    Nothing is known of the time per token of a job that did not complete: more tokens could have come at any pace.
    """
    jobs, spec = inputs.jobs, metric.spec
    if spec.less or spec.per_token:
        return np.zeros(len(jobs))
    if not spec.start:
        return np.maximum(0.0, jobs.times_ms(metric))
    waited_ms: Floats = np.maximum(0.0, (inputs.last_seen_at() - getattr(jobs, spec.start)) * 1000)
    return waited_ms


def share_count(metric: Metric, inputs: GateInputs) -> Count | None:
    """Return the jobs that a share counts, of all that were due; None if unknown.

    Unfinished jobs may fail, or have met a cold start.
    """
    jobs, mask = inputs.jobs, inputs.mask
    censored = mask & jobs.ended(Outcome.CENSORED)
    match metric:
        case Metric.CENSORED:
            return count_of(inputs, mask, censored)
        case Metric.ERRORS:
            return count_of(inputs, mask, mask & ~jobs.completed & ~censored, censored)
        case Metric.COLD_STARTS:
            unknown = mask & (inputs.start_kind == UNKNOWN)
            known = count_of(inputs, mask, mask & (inputs.start_kind == CLASSES.index("cold")), unknown)
            return None if known.n and known.undecided == known.n else known
    raise ValueError(f"{metric} is not a share that can be counted")


def count_of(inputs: GateInputs, relevant: Mask, over: Mask, undecided: Mask | None = None) -> Count:
    """Return the counts, with what the jobs are worth if the undecided ones are over."""
    most = over if undecided is None else over | undecided
    worth = effective(most[in_order(inputs, relevant)].astype(np.float64))
    unsure = 0 if undecided is None else int(np.count_nonzero(undecided))
    return Count(int(np.count_nonzero(relevant)), int(np.count_nonzero(over)), unsure, worth)
