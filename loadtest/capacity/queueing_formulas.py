"""The analytic estimate: queueing formulas that a calculator can evaluate, without a simulation.

All of them describe the steady state of workers that always run and take jobs from one queue, first come, first
served.
"""

from __future__ import annotations

import math

import msgspec

NOT_MODELLED = (
    "workers that start and stop, and how long a start takes",
    "jobs that depend on each other: bursts beyond the gaps' variance, executions that slow down together",
    "what happens before the queue has settled, or while the rate changes",
)
"""The effects that no formula here includes."""


class AnalyticEstimate(msgspec.Struct, frozen=True, rename={"wait_probability": "waits"}):
    """The formulas' figures for this number of workers that always run; times in milliseconds.

    `mean_delay_ms` and `p95_delay_ms` are null if the queue never settles. `vendor_workers` is the number of workers
    by the vendor's rule at the mean rate; `vendor_load` is the load that the rule rounds up, from executions alone.
    All other figures use the time for which a job occupies its worker, in the busiest part of a daily profile, at
    `peak` times the mean rate.
    """

    workers: int
    offered_load: float
    utilisation: float
    wait_probability: float
    mean_delay_ms: float | None
    p95_delay_ms: float | None
    vendor_workers: int
    vendor_load: float
    leaves_out: tuple[str, ...] = NOT_MODELLED
    peak: float = 1.0


class QueueModel(msgspec.Struct, frozen=True):
    """A GI/G/c queue: workers, jobs per second, seconds for which a job occupies a worker.

    A worker with several `slots` serves as many jobs at once, each for as many times as long; the formulas then take
    all slots to be full.

    `ca` and `cs` are the coefficients of variation of the gaps between jobs and of the occupied times. With both at 1
    the formulas are exact (M/M/c), otherwise they are the approximation of Allen and Cunneen. (Allen, Probability,
    Statistics and Queueing Theory, 2nd ed. 1990, section 5.3.)
    """

    workers: int
    rate_per_s: float
    service_s: float
    ca: float = 1.0
    cs: float = 1.0
    slots: int = 1

    @property
    def load(self) -> float:
        """Return the offered load in Erlangs."""
        return offered_load(self.rate_per_s, self.service_s)

    @property
    def settles(self) -> bool:
        """Return whether the workers can do more than is offered."""
        return self.load < self.workers

    @property
    def mean_wait_s(self) -> float:
        """Return the mean wait: C(c, a) / (cμ − λ) · (Ca² + Cs²) / 2; infinite if the queue never settles."""
        return self.wait_probability * self._mean_wait_of_waiting_s()

    @property
    def wait_probability(self) -> float:
        """Return the share of jobs that wait, Erlang C of all slots; 1 if the queue never settles."""
        return erlang_c(self.workers * self.slots, self.load * self.slots)

    def wait_percentile_s(self, p: float) -> float:
        """Return the wait not exceeded by a share `p` of jobs, exponential for those that wait: exact for M/M/c."""
        if not self.settles:
            return math.inf
        waiting = self.wait_probability
        return max(0.0, math.log(waiting / (1 - p))) * self._mean_wait_of_waiting_s() if waiting > 0 else 0.0

    def _mean_wait_of_waiting_s(self) -> float:
        if not self.settles:
            return math.inf
        return self.service_s / (self.workers - self.load) * (self.ca**2 + self.cs**2) / 2


def offered_load(rate_per_s: float, service_s: float) -> float:
    """Return how many workers are busy on average, in Erlangs: rate · mean execution time."""
    return rate_per_s * service_s


def vendor_workers(rate_per_s: float, service_s: float) -> int:
    """Return the vendor's sizing rule: requests per minute · seconds per request / 60, rounded up.

    This is the bare offered load. If it is a whole number, workers are busy all the time and the queue never settles,
    as in the vendor's own example: 6 per minute of 30 s each on 3 workers.
    """
    return math.ceil(rate_per_s * 60 * service_s / 60 - 1e-9)


def erlang_c(workers: int, load: float) -> float:
    """Return the share of jobs that wait in M/M/c with `load` Erlangs on `workers`; 1 if the queue never settles.

    Computed from Erlang B by its recursion B(0) = 1, B(c) = a B(c−1) / (c + a B(c−1)), which no factorial can
    overflow; then C = B / (1 − ρ (1 − B)) with ρ = a / c. (Cooper, Introduction to Queueing Theory, 1981, 3.5.)
    """
    if load >= workers:
        return 1.0
    blocked = 1.0
    for worker in range(1, workers + 1):
        blocked = load * blocked / (worker + load * blocked)
    return blocked / (1 - load / workers * (1 - blocked))


def analytic_estimate(
    queue: QueueModel, mean_per_s: float, execution_s: float, peak: float = 1.0
) -> AnalyticEstimate:
    """Return all figures of a queue at the peak rate; the vendor's rule at the mean rate, from executions alone."""
    return AnalyticEstimate(
        workers=queue.workers,
        offered_load=queue.load,
        utilisation=queue.load / queue.workers,
        wait_probability=queue.wait_probability,
        mean_delay_ms=queue.mean_wait_s * 1000 if queue.settles else None,
        p95_delay_ms=queue.wait_percentile_s(0.95) * 1000 if queue.settles else None,
        vendor_workers=vendor_workers(mean_per_s, execution_s),
        vendor_load=offered_load(mean_per_s, execution_s),
        peak=peak,
    )
