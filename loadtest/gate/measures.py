"""What a gate measures of each job: a time that is known, or the least that it can be; or a yes or no."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from loadtest.analyze.stats.quantiles import interval_ranks, nearest_rank
from loadtest.arrays import Floats, Mask
from loadtest.gate.inputs import GateInputs
from loadtest.record.sample import Outcome
from loadtest.scenario.gates import Metric

_TAIL = 0.025
_COLUMNS = {
    Metric.DELAY: "delay_ms",
    Metric.EXECUTION: "execution_ms",
    Metric.END_TO_END: "end_to_end_ms",
    Metric.RESPONSE: "response_ms",
    Metric.OVERHEAD: "overhead_ms",
    Metric.SUBMIT: "submit_ms",
    Metric.FIRST_CHUNK: "first_chunk_ms",
    Metric.SEND_LAG: "send_lag_ms",
}


@dataclass(frozen=True)
class Count:
    """Of n jobs, those that are over a limit, and those of which nobody can say."""

    n: int
    over: int
    undecided: int = 0

    def ci95(self) -> tuple[float, float]:
        """The 95 % interval of the share that is over, widened by the undecided.

        Clopper and Pearson (1934, Biometrika 26, p. 404), whose bounds are quantiles of beta distributions.
        """
        most = self.over + self.undecided
        low = float(special.betaincinv(self.over, self.n - self.over + 1, _TAIL)) if self.over else 0.0
        high = float(special.betaincinv(most + 1, self.n - most, 1 - _TAIL)) if most < self.n else 1.0
        return low, high


@dataclass(frozen=True)
class Times:
    """A time of each job in milliseconds, NaN where it is not known; `least_ms` is what it is then at least."""

    value_ms: Floats
    lower_bound_ms: Floats
    worker: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.value_ms)

    @property
    def unknown(self) -> Mask:
        """Whose time is not known."""
        return np.isnan(self.value_ms)

    def taken(self, indices: NDArray[np.int64]) -> Times:
        """Those of the jobs at these places."""
        return Times(self.value_ms[indices], self.lower_bound_ms[indices], self.worker[indices])

    def by_worker(self, none: int) -> Iterator[tuple[int, Times]]:
        """The jobs of each worker, and those of which no worker is known and no time: they may be its own."""
        anyones = np.flatnonzero((self.worker == none) & self.unknown)
        order = np.argsort(self.worker, kind="stable")
        workers, first = np.unique(self.worker[order], return_index=True)
        for worker, indices in zip(workers.tolist(), np.split(order, first[1:]), strict=True):
            if worker != none:
                yield worker, self.taken(np.concatenate([indices, anyones]))

    def count(self, limit_ms: float) -> Count:
        """How many are not under the limit: so long, or unfinished after so long."""
        over = np.where(self.unknown, self.lower_bound_ms, self.value_ms) >= limit_ms
        undecided = self.unknown & ~over
        return Count(len(self), int(np.count_nonzero(over)), int(np.count_nonzero(undecided)))

    def percentile_ms(self, per_mille: int) -> tuple[float | None, tuple[float, float] | None]:
        """The nearest rank and its 95 % interval, unknown times last; None where n supports none or it is unknown."""
        ranks = interval_ranks(len(self), per_mille)
        if ranks is None:
            return None, None
        indices = [nearest_rank(len(self), per_mille) - 1, ranks[0] - 1, ranks[1] - 1]
        values = np.partition(np.where(self.unknown, np.inf, self.value_ms), indices)
        value, low, high = (float(values[place]) for place in indices)
        return value if np.isfinite(value) else None, (low, high) if np.isfinite(high) else None


def times(metric: Metric, inputs: GateInputs, in_order: bool = False) -> Times:
    """A time of the jobs in evidence, where asked for in the order of their intended start.

    They are those that completed and, as unknown, those that were unfinished at the end; send lag is that of every
    job that was sent. How a job failed is the matter of the gate on errors.
    """
    jobs = inputs.jobs
    relevant = jobs.sent if metric is Metric.SEND_LAG else jobs.completed | jobs.ended(Outcome.CENSORED)
    if metric is Metric.SUBMIT:
        relevant = relevant & ~jobs.of_flow("runsync")
    if metric is Metric.FIRST_CHUNK:
        relevant = relevant & jobs.of_flow("stream")
    value_ms: Floats = getattr(jobs, _COLUMNS[metric])
    measured = Times(value_ms, np.nan_to_num(_min_ms(metric, inputs)), inputs.worker)
    indices = np.flatnonzero(relevant & inputs.mask)
    if in_order:
        indices = indices[np.argsort(jobs.intended_at[indices], kind="stable")]
    return measured.taken(indices)


def _min_ms(metric: Metric, inputs: GateInputs) -> Floats:
    """What the client itself had waited; of the server's own figures it knows nothing before the end."""
    jobs = inputs.jobs
    since_at = {
        Metric.END_TO_END: jobs.intended_at,
        Metric.FIRST_CHUNK: jobs.intended_at,
        Metric.RESPONSE: jobs.sent_at,
        Metric.SUBMIT: jobs.sent_at,
    }
    if metric not in since_at:
        return np.zeros(len(jobs))
    waited_ms: Floats = np.maximum(0.0, (inputs.followed_until_at - since_at[metric]) * 1000)
    # A completed job without such a time, a stream without a chunk, was not waited for until the run ended.
    return np.where(jobs.completed, 0.0, waited_ms)


def share_count(metric: Metric, inputs: GateInputs) -> Count | None:
    """The jobs that a share counts; None where nobody knows. The unfinished may fail, or have met a cold start."""
    jobs = inputs.jobs
    sent, completed = jobs.sent & inputs.mask, jobs.completed & inputs.mask
    censored = jobs.ended(Outcome.CENSORED) & sent
    if metric is Metric.CENSORED:
        return Count(int(np.count_nonzero(sent)), int(np.count_nonzero(censored)))
    if metric is Metric.ERRORS:
        failed = sent & ~completed & ~censored
        return Count(*(int(np.count_nonzero(mask)) for mask in (sent, failed, censored)))
    if inputs.cold is None:
        return None
    relevant, cold = completed | censored, inputs.cold & completed
    return Count(*(int(np.count_nonzero(mask)) for mask in (relevant, cold, censored)))
