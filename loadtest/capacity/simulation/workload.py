"""The inputs of a simulation: the work as measured, and the workers that do it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import special

from loadtest.capacity.simulation.arrivals import Process
from loadtest.endpoint.distributions import Constant, Distribution, Empirical, LogNormal
from loadtest.endpoint.settings import (
    NO_PAUSE,
    EndpointSettings,
    Policy,
    QueueDelay,
    Retention,
    Revival,
    ScalerSettings,
    TakePause,
    Workers,
)
from loadtest.units import seconds_text

_PERCENTILES = 1000
_NO_TIME = Constant.model_construct(constant=0.0)
_KEEP_FOREVER = Retention.model_construct(run=math.inf, runsync=math.inf)
NO_DEADLINES = Policy.model_construct(
    execution_timeout=math.inf, ttl=math.inf, timeout_outcome="TIMED_OUT", timeout_stops_worker=True
)
"""The policy of jobs that may take as long as they like."""


class UnsimulableError(Exception):
    """Workers that cannot be simulated with what is known; the text says why."""


class WorkerConfig(msgspec.Struct, frozen=True, rename={"max_workers": "most", "scaler": "scaling"}):
    """The workers of an endpoint: `active` always run, flex workers start on demand up to `max_workers` in total."""

    active: int
    max_workers: int
    scaler: ScalerSettings = QueueDelay()
    idle_timeout_s: float = 5.0

    @property
    def fixed(self) -> bool:
        """Return whether no worker ever starts or stops."""
        return self.active == self.max_workers


@dataclass(frozen=True)
class Evidence:
    """How much a measured workload rests on.

    `executions` is the number of independent ones that those measured are worth, `slowdown` the standard errors of
    the factors' logarithms. `crashes` of `tries` tries ended in the death of their worker; 0 of 0 if the crash rate
    is a setting.
    """

    executions: float
    slowdown: tuple[float, ...] = ()
    crashes: float = 0.0
    tries: float = 0.0


@dataclass(frozen=True)
class Workload:
    """The jobs, and the time that starts take. `arrivals` is how the gaps vary; the rate is given separately.

    `dispatch` is the delay of a job that meets an idle worker, `overhead` is transport and polling; both are added to
    the times of the model. `take_pause` is how workers pace their takes; each has up to `concurrency` jobs at once,
    and `slowdown` holds, for numbers of jobs, how many times as long each then takes as one alone. `service` is the
    time of a job alone. Without `cold_start` flex workers cannot be simulated; a fixed worker that dies or is stopped
    is then replaced within `replacement`. `cold_start_error` is the relative standard error of its mean; 0 if the
    values that it holds were measured one by one. Of the tries of jobs, `crash_rate` end in the death of their
    worker; a job is tried `tries` times. `policy` holds the deadlines of jobs.

    `evidence` is what all this was measured from; without it, it is exact.
    """

    arrivals: Process
    service: Distribution
    cold_start: Distribution | None = None
    revival: Revival | None = None
    dispatch: Distribution = _NO_TIME
    overhead: Distribution = _NO_TIME
    failure_rate: float = 0.0
    take_pause: TakePause = NO_PAUSE
    concurrency: int = 1
    slowdown: tuple[tuple[int, float], ...] = ()
    cold_start_error: float = 0.0
    crash_rate: float = 0.0
    tries: int = 3
    policy: Policy = NO_DEADLINES
    replacement: Distribution = _NO_TIME
    evidence: Evidence | None = None

    @cached_property
    def occupancy(self) -> Distribution:
        """Return the time for which a job occupies a worker that always has work: execution, and rest of the pause.

        A worker with several jobs at once is occupied by each for its share of the time. Tries that end with their
        worker are not in it.
        """
        timeout_s = self.policy.execution_timeout
        if self.concurrency == 1 and not self.take_pause.pauses and longest_s(self.service) <= timeout_s:
            return self.service
        executions_s = np.minimum(_values(self.service) * self._slowest, timeout_s)
        return measured(occupied_s(self.take_pause, executions_s) / self.concurrency)

    @cached_property
    def load_s(self) -> float:
        """Return for how many worker-seconds a job occupies workers that always have work, all its tries together.

        A try whose worker dies does so after half of its time on average, and takes the work of the worker's other
        jobs with it, which are half done as well; then the worker is replaced, as it is after a timeout.
        """
        once_s, start_s = self.occupancy.mean_s(), (self.cold_start or self.replacement).mean_s()
        if self.policy.timeout_stops_worker and self.policy.execution_timeout < math.inf:
            overdue = np.mean(_values(self.service) * self._slowest > self.policy.execution_timeout)
            once_s += float(overdue) * start_s
        died = self.crash_rate
        if died == 0:
            return once_s
        tries = self.tries if died == 1 else (1 - died**self.tries) / (1 - died)
        others_s = (1 - 1 / self.concurrency) * self.occupancy.mean_s() * self.concurrency / 2
        return tries * ((1 - died / 2) * once_s + died * (others_s + start_s))

    @property
    def _slowest(self) -> float:
        return EndpointSettings.model_construct(
            workers=Workers.model_construct(concurrency=self.concurrency), slowdown=dict(self.slowdown)
        ).slowdowns()[-1]


def fixed(workers: int) -> WorkerConfig:
    """Return this number of workers that always run."""
    return WorkerConfig(workers, workers)


def measured(values_s: np.typing.NDArray[np.float64]) -> Empirical:
    """Return the distribution of these times in seconds, without validation."""
    return Empirical.model_construct(values=tuple(values_s.tolist()), file=None)


def constant(value_s: float) -> Constant:
    """Return the distribution of this one time in seconds."""
    return Constant.model_construct(constant=value_s)


def setting_of(endpoint: EndpointSettings) -> WorkerConfig:
    """Return the workers of an endpoint by its settings."""
    return WorkerConfig(endpoint.workers.active, endpoint.workers.most, endpoint.scaler, endpoint.idle_timeout)


def variation(times: Distribution) -> float:
    """Return the coefficient of variation: standard deviation over mean; 0 if the mean is 0."""
    match times:
        case Constant():
            return 0.0
        case LogNormal():
            return math.sqrt(math.expm1(times.sigma**2))
        case Empirical():
            mean = float(np.mean(times.values))
            return float(np.std(times.values)) / mean if mean > 0 else 0.0


def scaled(times: Distribution, by: float) -> Distribution:
    """Return the distribution of these times multiplied by a factor."""
    match times:
        case Constant():
            return constant(times.constant * by)
        case LogNormal():
            return LogNormal.model_construct(median=times.median * by, sigma=times.sigma)
        case Empirical():
            return measured(np.array(times.values) * by)


def occupied_s(pause: TakePause, execution_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for how many seconds workers are occupied by jobs with these execution times."""
    if not pause.pauses:
        return execution_s
    return np.fromiter(map(pause.occupancy_s, execution_s.tolist()), float, len(execution_s))


def _values(times: Distribution) -> NDArray[np.float64]:
    """Return times that represent a distribution: its values, or evenly spaced percentiles of a log-normal one."""
    match times:
        case Constant():
            return np.array([times.constant])
        case LogNormal():
            shares = (np.arange(_PERCENTILES) + 0.5) / _PERCENTILES
            return times.median * np.exp(times.sigma * special.ndtri(shares))
        case Empirical():
            return np.array(times.values)


def longest_s(times: Distribution) -> float:
    """Return about the longest time of a distribution: its maximum, or a log-normal one's 99.9th percentile."""
    match times:
        case Constant():
            return times.constant
        case LogNormal():
            return times.median * math.exp(3.1 * times.sigma)
        case Empirical():
            return max(times.values)


def revival(duration: Distribution, within_s: float) -> Revival:
    """Return a revival of this duration within this many seconds of a stop."""
    return Revival.model_construct(duration=duration, within=within_s)


def endpoint_settings(workload: Workload, setting: WorkerConfig) -> EndpointSettings:
    """Return the endpoint's settings; raises UnsimulableError if flex workers lack a start or stop in their pause."""
    if workload.cold_start is None and not setting.fixed:
        raise UnsimulableError("the time of a cold start is unknown, so flex workers cannot be simulated")
    pause_s = max(workload.take_pause.duration, workload.take_pause.after_job)
    if not setting.fixed and 0 < pause_s >= setting.idle_timeout_s:
        idle_s = seconds_text(setting.idle_timeout_s)
        raise UnsimulableError(
            f"an idle timeout of {idle_s} stops workers in their pause of {pause_s:.2f} s, although "
            "jobs wait; give a longer one"
        )
    return EndpointSettings.model_construct(
        workers=Workers.model_construct(
            active=setting.active, max=setting.max_workers, concurrency=workload.concurrency
        ),
        slowdown=dict(workload.slowdown),
        scaler=cast("Any", setting.scaler),
        idle_timeout=setting.idle_timeout_s,
        take_pause=workload.take_pause,
        cold_start=workload.cold_start or workload.replacement,
        revival=workload.revival,
        service=workload.service,
        failure_rate=workload.failure_rate,
        crash_rate=workload.crash_rate,
        tries=workload.tries,
        policy=workload.policy,
        retention=_KEEP_FOREVER,
    )
