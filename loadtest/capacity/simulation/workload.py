"""What is asked of the simulation: the work, as it was measured, and the workers that are to do it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import special

from loadtest.capacity.simulation.arrivals import Process
from loadtest.endpoint.settings import (
    Constant,
    Empirical,
    EndpointSettings,
    LogNormal,
    QueueDelay,
    RequestCount,
    Retention,
    Revival,
    Workers,
)
from loadtest.endpoint.take_pause import NO_PAUSE, TakePause
from loadtest.units import seconds_text

Distribution = Constant | LogNormal | Empirical

_PERCENTILES = 1000
_NONE = Constant.model_construct(constant=0.0)
_KEEP_FOREVER = Retention.model_construct(run=math.inf, runsync=math.inf)


class ScalerConfig(msgspec.Struct, frozen=True):
    """When flex workers are started: by queue delay, or where `request_count` is given by that."""

    queue_delay_s: float = 4.0
    request_count: int | None = None

    def __str__(self) -> str:
        if self.request_count is not None:
            return f"request count {self.request_count}"
        return f"queue delay {seconds_text(self.queue_delay_s)}"


class WorkerConfig(msgspec.Struct, frozen=True, rename={"max_workers": "most"}):
    """The workers of an endpoint: `active` always run, flex workers come on demand until there are `most`."""

    active: int
    max_workers: int
    scaling: ScalerConfig = ScalerConfig()
    idle_timeout_s: float = 5.0

    @property
    def fixed(self) -> bool:
        """Whether no worker ever starts or stops."""
        return self.active == self.max_workers


@dataclass(frozen=True)
class Workload:
    """What jobs ask for and what starts take. `arrivals` tells how gaps vary, the rate is given apart.

    `dispatch` is the delay of a job that meets an idle worker, `overhead` is transport and polling; both are added
    to what the model says. `take_pause` is how workers pace their takes. Without `cold_start` no flex workers can be
    simulated.
    """

    arrivals: Process
    service: Distribution
    cold_start: Distribution | None = None
    revival: Revival | None = None
    dispatch: Distribution = _NONE
    overhead: Distribution = _NONE
    failure_rate: float = 0.0
    take_pause: TakePause = NO_PAUSE

    @cached_property
    def occupancy(self) -> Distribution:
        """From a worker's take until it looks for the next job: the execution, and what is left of its pause.

        It stands in the formulas' place of the execution, since it is what limits how many jobs a worker does.
        """
        if self.take_pause.duration <= 0:
            return self.service
        return measured(occupied_s(self.take_pause, _values(self.service)))


def fixed(workers: int) -> WorkerConfig:
    """So many workers that always run."""
    return WorkerConfig(workers, workers)


def measured(values_s: np.typing.NDArray[np.float64]) -> Empirical:
    """A spread of these times in seconds, which come as numbers and need no reading."""
    return Empirical.model_construct(values=tuple(values_s.tolist()), file=None)


def constant(value_s: float) -> Constant:
    """A spread of this one time in seconds."""
    return Constant.model_construct(constant=value_s)


def setting_of(endpoint: EndpointSettings) -> WorkerConfig:
    """The workers of an endpoint whose settings are known."""
    scaler = endpoint.scaler
    scaling = (
        ScalerConfig(queue_delay_s=scaler.queue_delay)
        if isinstance(scaler, QueueDelay)
        else ScalerConfig(request_count=scaler.request_count)
    )
    return WorkerConfig(endpoint.workers.active, endpoint.workers.max, scaling, endpoint.idle_timeout)


def mean_s(times: Distribution) -> float:
    """Return the mean of a distribution."""
    return times.mean_s


def variation(times: Distribution) -> float:
    """The coefficient of variation of a spread: standard deviation over mean; 0 where the mean is."""
    match times:
        case Constant():
            return 0.0
        case LogNormal():
            return math.sqrt(math.expm1(times.sigma**2))
        case Empirical():
            mean = float(np.mean(times.values))
            return float(np.std(times.values)) / mean if mean > 0 else 0.0


def occupied_s(pause: TakePause, execution_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """How long workers are occupied by jobs that take so long, in seconds."""
    if pause.duration <= 0:
        return execution_s
    return np.fromiter(map(pause.occupancy_s, execution_s.tolist()), float, len(execution_s))


def _values(times: Distribution) -> NDArray[np.float64]:
    """Times of a spread that stand for all: the measured ones, or of a log-normal one evenly spaced percentiles."""
    match times:
        case Constant():
            return np.array([times.constant])
        case LogNormal():
            parts = (np.arange(_PERCENTILES) + 0.5) / _PERCENTILES
            return times.median * np.exp(times.sigma * special.ndtri(parts))
        case Empirical():
            return np.array(times.values)


def longest_s(times: Distribution) -> float:
    """About the longest time of a spread: its maximum, or the 99.9th percentile of a log-normal one."""
    match times:
        case Constant():
            return times.constant
        case LogNormal():
            return times.median * math.exp(3.1 * times.sigma)
        case Empirical():
            return max(times.values)


def revival(duration: Distribution, within_s: float) -> Revival:
    """A start of so long within so many seconds of a stop."""
    return Revival.model_construct(duration=duration, within=within_s)


def endpoint_settings(workload: Workload, setting: WorkerConfig) -> EndpointSettings:
    """The endpoint's own settings; results are kept for ever, since nobody asks for them.

    ValueError where flex workers are asked for and nothing is known of their starts, or where they would stop in
    their pause, though jobs wait.
    """
    if workload.cold_start is None and not setting.fixed:
        raise ValueError("how long a cold start takes is not known, so flex workers cannot be simulated")
    pause_s = workload.take_pause.duration
    if not setting.fixed and 0 < pause_s >= setting.idle_timeout_s:
        idle_s = seconds_text(setting.idle_timeout_s)
        raise ValueError(
            f"an idle timeout of {idle_s} stops workers in the pause of {pause_s:.2f} s after a take, though jobs "
            "wait; it is to be longer than that"
        )
    scaling = setting.scaling
    return EndpointSettings.model_construct(
        workers=Workers.model_construct(active=setting.active, max=setting.max_workers),
        scaler=QueueDelay.model_construct(queue_delay=scaling.queue_delay_s)
        if scaling.request_count is None
        else RequestCount.model_construct(request_count=scaling.request_count),
        idle_timeout=setting.idle_timeout_s,
        take_pause=workload.take_pause,
        cold_start=workload.cold_start or constant(0.0),
        revival=workload.revival,
        service=workload.service,
        failure_rate=workload.failure_rate,
        retention=_KEEP_FOREVER,
    )
