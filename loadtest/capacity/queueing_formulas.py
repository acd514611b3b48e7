"""The quick answer: queueing formulas that need a calculator, and no simulation.

All of them are of the steady state, of workers that always run, and of one queue served first come, first served.
"""

from __future__ import annotations

import math

import msgspec

NOT_MODELLED = (
    "workers that start and stop, and how long a start takes",
    "jobs that depend on each other: bursts beyond the gaps' variance, executions that slow down together",
    "what happens before the queue has settled, or while the rate changes",
)
"""What no formula here knows of."""


class AnalyticEstimate(msgspec.Struct, frozen=True, rename={"wait_probability": "waits"}):
    """What the formulas say of so many workers that always run; times in milliseconds.

    `mean_delay_ms` and `p95_delay_ms` are null where the queue never settles. `vendor_workers` is what the vendor's
    rule would have at the mean rate, `vendor_load` what it rounds up, by executions alone; all else is of the time
    that jobs occupy workers, in the busiest part of a daily profile, `peak` times the mean.
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


def offered_load(rate_per_s: float, service_s: float) -> float:
    """How many workers are busy on average, in Erlangs: rate · mean execution time."""
    return rate_per_s * service_s


def vendor_workers(rate_per_s: float, service_s: float) -> int:
    """The vendor's sizing rule: requests per minute · seconds per request / 60, rounded up.

    That is the bare offered load. Where it comes out whole, workers are busy all the time and the queue never
    settles; that is so in the vendor's own example, 6 per minute of 30 s each on 3 workers.
    """
    return math.ceil(rate_per_s * 60 * service_s / 60 - 1e-9)


def erlang_c(workers: int, load: float) -> float:
    """The share of jobs that wait in M/M/c with `load` Erlangs on `workers`; 1 where the queue never settles.

    Erlang B by its recursion B(0) = 1, B(c) = a B(c−1) / (c + a B(c−1)), which no factorial can overflow; then
    C = B / (1 − ρ (1 − B)) with ρ = a / c. (Cooper, Introduction to Queueing Theory, 1981, section 3.5.)
    """
    if load >= workers:
        return 1.0
    blocked = 1.0
    for worker in range(1, workers + 1):
        blocked = load * blocked / (worker + load * blocked)
    return blocked / (1 - load / workers * (1 - blocked))


def waits_longer(workers: int, rate_per_s: float, service_s: float, than_s: float) -> float:
    """The share of jobs that wait longer than this in M/M/c: C(c, a) exp(−(cμ − λ) t); 1 where it never settles.

    One less this is the service level of a call centre.
    """
    load = offered_load(rate_per_s, service_s)
    if load >= workers:
        return 1.0
    return erlang_c(workers, load) * math.exp(-(workers - load) / service_s * than_s)


def mean_wait_s(workers: int, rate_per_s: float, service_s: float, ca: float = 1.0, cs: float = 1.0) -> float:
    """The mean wait in GI/G/c: C(c, a) / (cμ − λ) · (Ca² + Cs²) / 2; infinite where the queue never settles.

    `ca` and `cs` are the coefficients of variation of the gaps and of the execution times; with both at 1 it is
    exact, M/M/c. (Allen, Probability, Statistics and Queueing Theory, 2nd ed. 1990, section 5.3: Allen–Cunneen.)
    """
    load = offered_load(rate_per_s, service_s)
    if load >= workers:
        return math.inf
    return erlang_c(workers, load) * service_s / (workers - load) * (ca**2 + cs**2) / 2


def wait_percentile_s(
    workers: int, rate_per_s: float, service_s: float, p: float, ca: float = 1.0, cs: float = 1.0
) -> float:
    """The wait that a share `p` of jobs does not exceed; infinite where the queue never settles.

    Those who wait are taken to wait exponentially, with the mean of Allen–Cunneen: exact for M/M/c.
    """
    load = offered_load(rate_per_s, service_s)
    if load >= workers:
        return math.inf
    waiting = erlang_c(workers, load)
    mean_of_waiting_s = service_s / (workers - load) * (ca**2 + cs**2) / 2
    return max(0.0, math.log(waiting / (1 - p))) * mean_of_waiting_s if waiting > 0 else 0.0


def analytic_estimate(
    workers: int,
    mean_per_s: float,
    service_s: float,
    ca: float,
    cs: float,
    peak: float = 1.0,
    execution_s: float | None = None,
) -> AnalyticEstimate:
    """All of these for one setting, at `peak` times the mean rate; the vendor's rule at the mean.

    `service_s` and `cs` are of the time that a worker is occupied by a job. The vendor's rule goes by `execution_s`,
    where that differs.
    """
    execution_s = service_s if execution_s is None else execution_s
    rate_per_s = mean_per_s * peak
    load = offered_load(rate_per_s, service_s)
    settles = load < workers
    return AnalyticEstimate(
        workers=workers,
        offered_load=load,
        utilisation=load / workers,
        wait_probability=erlang_c(workers, load),
        mean_delay_ms=mean_wait_s(workers, rate_per_s, service_s, ca, cs) * 1000 if settles else None,
        p95_delay_ms=wait_percentile_s(workers, rate_per_s, service_s, 0.95, ca, cs) * 1000 if settles else None,
        vendor_workers=vendor_workers(mean_per_s, execution_s),
        vendor_load=offered_load(mean_per_s, execution_s),
        peak=peak,
    )
