"""What can be set of an endpoint: workers, scaling, service time, chunks, faults, limits, retention."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from loadtest.protocol import OPERATIONS, RESULT_KEPT_S, RUNSYNC_RESULT_KEPT_S, Limit, LimitText, Op
from loadtest.units import Fraction, Frozen, Seconds, seconds_text


class Constant(Frozen):
    """Always the same time."""

    constant: Seconds


class LogNormal(Frozen):
    """A log-normal time: its median, and `sigma`, the standard deviation of its logarithm."""

    median: Seconds
    sigma: Annotated[float, Field(gt=0, le=4)]


class Measured(Frozen):
    """Times drawn, each as likely as the next, from values that were measured."""

    values: Annotated[tuple[Seconds, ...], Field(min_length=1)]


def _spread(value: object) -> object:
    if isinstance(value, (str, int, float)):
        return {"constant": value}
    if isinstance(value, (list, tuple)):
        return {"values": value}
    return value


def _spread_kind(value: object) -> str:
    keys = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    if "values" in keys:
        return "measured"
    return "log-normal" if "median" in keys else "constant"


Spread = Annotated[
    Annotated[Constant, Tag("constant")]
    | Annotated[LogNormal, Tag("log-normal")]
    | Annotated[Measured, Tag("measured")],
    Discriminator(_spread_kind),
    BeforeValidator(_spread),
]
"""How a time varies: "200ms", `{median: 200ms, sigma: 0.5}`, or a list of measured times."""


class Workers(Frozen):
    """Active workers always run; flex workers are started on demand until there are `max` of both."""

    active: Annotated[int, Field(ge=0, le=10_000)] = 1
    max: Annotated[int, Field(ge=1, le=10_000)] = 3

    @model_validator(mode="after")
    def _active_within_max(self) -> Workers:
        if self.active > self.max:
            raise ValueError(f"active {self.active} is more than max {self.max}; raise max or lower active")
        return self


class QueueDelay(Frozen):
    """Adds a worker when a job has waited longer than this."""

    queue_delay: Seconds = 4.0


class RequestCount(Frozen):
    """Wants ceil((in queue + in progress) / request_count) workers."""

    request_count: Annotated[int, Field(ge=1)] = 4


def _scaler_kind(value: object) -> str:
    by_count = isinstance(value, RequestCount) or (isinstance(value, dict) and "request_count" in value)
    return "request count" if by_count else "queue delay"


Scaler = Annotated[
    Annotated[QueueDelay, Tag("queue delay")] | Annotated[RequestCount, Tag("request count")],
    Discriminator(_scaler_kind),
]


class Revival(Frozen):
    """A worker started within `within` of its stop comes back in `takes` instead of a cold start."""

    takes: Spread = Constant(constant="500ms")
    within: Seconds = 60.0


class Chunks(Frozen):
    """A streaming job: its chunks, when they come, and the tokens that each carries in its metrics."""

    count: Annotated[int, Field(ge=1, le=100_000)]
    first: Spread
    gap: Spread = Constant(constant="50ms")
    tokens: Annotated[int, Field(ge=0)] = 1


class StreamAnswers(Frozen):
    """How `/stream` answers: `form` status (what the SDKs read) or array (the older form), held open for `hold`."""

    form: Literal["status", "array"] = "status"
    hold: Seconds = 1.0


class Retention(Frozen):
    """How long a result is kept after its job ended."""

    run: Seconds = RESULT_KEPT_S
    runsync: Seconds = RUNSYNC_RESULT_KEPT_S


class EndpointSettings(Frozen):
    """An endpoint, whole. A job takes `service`, or as long as its `chunks` take where they are given."""

    workers: Workers = Workers()
    scaler: Scaler = QueueDelay()
    idle_timeout: Seconds = 5.0
    cold_start: Spread = Constant(constant="10s")
    revival: Revival | None = Revival()
    service: Spread | None = None
    chunks: Chunks | None = None
    failure_rate: Fraction = 0.0
    output: Any = "ok"
    limits: dict[Op, LimitText] = {}
    retention: Retention = Retention()
    stream: StreamAnswers = StreamAnswers()

    @model_validator(mode="after")
    def _one_kind_of_work(self) -> EndpointSettings:
        if self.service is not None and self.chunks is not None:
            raise ValueError("service and chunks both say how long a job takes; keep one of them")
        return self

    @property
    def service_time(self) -> Constant | LogNormal | Measured:
        """The time in the handler of a job without chunks; 200 ms where nothing is said."""
        return self.service if self.service is not None else Constant(constant="200ms")

    def limit(self, op: Op) -> Limit | None:
        """The limit of an operation: as set here, else as documented."""
        return self.limits.get(op, OPERATIONS[op].limit)


def spread_text(spread: Constant | LogNormal | Measured) -> str:
    """A spread in words, for people."""
    match spread:
        case Constant():
            return seconds_text(spread.constant)
        case LogNormal():
            return f"log-normal, median {seconds_text(spread.median)}, sigma {spread.sigma:g}"
        case Measured():
            return f"{len(spread.values)} measured values"
