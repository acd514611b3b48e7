"""What can be set of an endpoint: workers, scaling, service time, chunks, faults, limits, retention."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, model_validator

from loadtest.endpoint.take_pause import NO_PAUSE, TakePauseText
from loadtest.protocol.operations import (
    CHUNK_LIMIT_BYTES,
    EXECUTION_TIMEOUT,
    JOB_TTL,
    OPERATIONS,
    RESULT_KEPT_S,
    RUNSYNC_RESULT_KEPT_S,
    WEBHOOK_TRIES,
    WEBHOOK_TRIES_APART_S,
    Limit,
    LimitText,
    Op,
)
from loadtest.units import Bytes, Fraction, Seconds, StrictModel, filled_from_file, quoted, seconds_text


class Constant(StrictModel):
    """Always the same time."""

    constant: Seconds
    """The time."""

    @property
    def mean_s(self) -> float:
        """Return the mean."""
        return self.constant


class LogNormal(StrictModel):
    """A log-normal time: its median, and `sigma`, the standard deviation of its logarithm."""

    median: Seconds
    """Half of the times are shorter."""
    sigma: Annotated[float, Field(gt=0, le=4, examples=[0.3])]
    """The standard deviation of the time's natural logarithm; 0.5 puts the p95 at 2.3 medians."""

    @property
    def mean_s(self) -> float:
        """Return the mean, median · exp(sigma² / 2)."""
        return self.median * math.exp(self.sigma**2 / 2)


class Empirical(StrictModel):
    """Times drawn, each as likely as the next, from values that were measured."""

    values: tuple[Seconds, ...] = ()
    """The times that were measured."""
    file: Path | None = None
    """A file of times with units, one a line; it is read when loaded, unless `values` stands beside it."""

    @model_validator(mode="before")
    @classmethod
    def _values_of_file(cls, value: object, info: ValidationInfo) -> object:
        return filled_from_file(value, "values", info.context)

    @model_validator(mode="after")
    def _something_measured(self) -> Empirical:
        if not self.values:
            raise ValueError('no times to draw from; write them like ["1.2s", "0.9s"], or name a file of them')
        return self

    @property
    def mean_s(self) -> float:
        """Return the mean."""
        return math.fsum(self.values) / len(self.values)


def _spread(value: object) -> object:
    if isinstance(value, (str, int, float)):
        return {"constant": value}
    if isinstance(value, (list, tuple)):
        return {"values": value}
    return value


def _spread_kind(value: object) -> str:
    keys = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    if "values" in keys or "file" in keys:
        return "measured"
    return "log-normal" if "median" in keys or "sigma" in keys else "constant"


Distribution = Annotated[
    Annotated[Constant, Tag("constant")]
    | Annotated[LogNormal, Tag("log-normal")]
    | Annotated[Empirical, Tag("measured")],
    Discriminator(_spread_kind),
    BeforeValidator(_spread, json_schema_input_type=Seconds | tuple[Seconds, ...] | Constant | LogNormal | Empirical),
]
"""How a time varies: "200ms", `{median: 200ms, sigma: 0.5}`, a list of measured times, or a file of them."""


class Workers(StrictModel):
    """Active workers always run; flex workers are started on demand until there are `max` of both."""

    active: Annotated[int, Field(ge=0, le=10_000)] = 1
    """Workers that are always on."""
    max: Annotated[int, Field(ge=1, le=10_000)] = 3
    """Workers at most, active and flex together."""

    @model_validator(mode="after")
    def _active_within_max(self) -> Workers:
        if self.active > self.max:
            raise ValueError(f"active {self.active} is more than max {self.max}; raise max or lower active")
        return self


class QueueDelay(StrictModel):
    """Adds a worker when a job has waited longer than this."""

    queue_delay: Seconds = 4.0
    """How long a job may wait before a worker is added."""


class RequestCount(StrictModel):
    """Wants ceil((in queue + in progress) / request_count) workers."""

    request_count: Annotated[int, Field(ge=1)] = 4
    """Jobs per worker."""


def _scaler(value: object) -> object:
    """A scaler in words, "queue delay 4s" or "request count 4", as its mapping."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(queue\s+delay|request\s+count)\s+(\S+)\s*", value)
    if match is None:
        raise ValueError(f'{quoted(value)} is no scaler; write it like "queue delay 4s" or "request count 4"')
    key = "_".join(match[1].split())
    return {key: int(match[2]) if key == "request_count" and match[2].isdecimal() else match[2]}


def _scaler_kind(value: object) -> str:
    by_count = isinstance(value, RequestCount) or (isinstance(value, dict) and "request_count" in value)
    return "request count" if by_count else "queue delay"


Scaler = Annotated[
    Annotated[QueueDelay, Tag("queue delay")] | Annotated[RequestCount, Tag("request count")],
    Discriminator(_scaler_kind),
    BeforeValidator(_scaler, json_schema_input_type=str | QueueDelay | RequestCount),
]


class Revival(StrictModel):
    """A worker started within `within` of its stop comes back in `takes` instead of a cold start."""

    duration: Distribution = Constant(constant="500ms")
    """How long a revival takes."""
    within: Seconds = 60.0
    """How long after its stop a worker can be revived."""


class Chunks(StrictModel):
    """A streaming job: its chunks, when they come, and the tokens that each carries in its metrics."""

    count: Annotated[int, Field(ge=1, le=100_000)]
    """Chunks per job."""
    first: Distribution
    """From the start of the work to the first chunk."""
    gap: Distribution = Constant(constant="50ms")
    """From one chunk to the next."""
    tokens: Annotated[int, Field(ge=0)] = 1
    """Output tokens per chunk."""
    size: Annotated[Bytes, Field(le=CHUNK_LIMIT_BYTES)] = 0
    """How long a chunk's text is at least; it is filled up with dots."""


class StreamAnswers(StrictModel):
    """How `/stream` answers: `form` status (what the SDKs read) or array (the older form), held open for `hold`."""

    form: Literal["status", "array"] = "status"
    """`status` is an object with the job's status, `array` the older bare list of chunks."""
    hold: Seconds = 1.0
    """How long a read is held open for a chunk to come."""


class Policy(StrictModel):
    """What holds for a job whose submission asks for nothing else, and how one that runs too long ends."""

    execution_timeout: Annotated[Seconds, Field(gt=0)] = EXECUTION_TIMEOUT.default_ms / 1000
    """How long a job may be in the handler."""
    ttl: Annotated[Seconds, Field(gt=0)] = JOB_TTL.default_ms / 1000
    """How long after its submission a job may be unfinished; then it is gone, and its status is 404."""
    timeout_outcome: Literal["TIMED_OUT", "FAILED"] = "TIMED_OUT"
    """How a job past its execution timeout ends: as documented, or as the live service was seen to do."""


class Payloads(StrictModel):
    """How large a submission's body may be, and the HTTP status of what is larger."""

    run: Bytes = OPERATIONS[Op.RUN].body_limit_bytes
    """For `/run`."""
    runsync: Bytes = OPERATIONS[Op.RUNSYNC].body_limit_bytes
    """For `/runsync`."""
    too_large_status: Literal[400, 413] = 400
    """400 as the live service does, or HTTP's own 413."""


class Webhooks(StrictModel):
    """How ended jobs are told to the URL that their submission named."""

    tries: Annotated[int, Field(ge=1, le=10)] = WEBHOOK_TRIES
    """How often it is tried until the answer is 200."""
    retry_interval: Seconds = WEBHOOK_TRIES_APART_S
    """From one try to the next."""
    allow_remote: bool = False
    """Whether a URL may lead to another machine; where it may not, such a submission is refused."""


class Retention(StrictModel):
    """How long a result is kept after its job ended."""

    run: Seconds = RESULT_KEPT_S
    """For a job that came by `/run`."""
    runsync: Seconds = RUNSYNC_RESULT_KEPT_S
    """For a job that came by `/runsync`."""


class EndpointSettings(StrictModel):
    """An endpoint, whole. A job takes `service`, or as long as its `chunks` take where they are given."""

    workers: Workers = Workers()
    """How many workers there are."""
    scaler: Scaler = QueueDelay()
    """When a flex worker is started: `{queue_delay: 4s}` or `{request_count: 4}`."""
    idle_timeout: Seconds = 5.0
    """How long a flex worker with nothing to do stays on."""
    take_pause: TakePauseText = NO_PAUSE
    """How long after a take a simulated worker looks for its next job: `1s` as the vendor's SDK; 0 for at once."""
    cold_start: Distribution = Constant(constant="10s")
    """From a worker's start until it can take a job."""
    revival: Revival | None = Revival()
    """A faster start soon after a stop; `null` for none."""
    service: Distribution | None = None
    """The time in the handler; 200 ms where neither this nor `chunks` is given."""
    chunks: Chunks | None = None
    """What a job streams, in place of `service`."""
    failure_rate: Fraction = 0.0
    """The share of jobs that end FAILED."""
    crash_rate: Fraction = 0.0
    """The share of jobs during which their worker dies; such a job goes back to the queue and is drawn anew."""
    tries: Annotated[int, Field(ge=1)] = 3
    """How many workers may die of a job before it ends FAILED."""
    output: Any = "ok"
    """What a job without chunks gives back."""
    policy: Policy = Policy()
    """Time limits of jobs."""
    limits: dict[Op, LimitText] = {}
    """What the endpoint allows of an operation, where it differs from the documented limit."""
    requests_per_worker: dict[Op, Annotated[int, Field(ge=1)]] = {}
    """Raises an operation's limit to so many requests per running worker, in the time that it counts over."""
    payloads: Payloads = Payloads()
    """How large submissions may be."""
    webhooks: Webhooks = Webhooks()
    """How ended jobs are told to their webhooks."""
    unsupported_operations: tuple[Op, ...] = ()
    """Operations that the endpoint does not have, such as `status-sync`; they are answered 404."""
    retention: Retention = Retention()
    """How long results are kept."""
    stream: StreamAnswers = StreamAnswers()
    """How streams are answered."""

    @model_validator(mode="after")
    def _one_kind_of_work(self) -> EndpointSettings:
        if self.service is not None and self.chunks is not None:
            raise ValueError("service and chunks both say how long a job takes; keep one of them")
        return self

    @model_validator(mode="after")
    def _check_idle_timeout(self) -> EndpointSettings:
        starts = self.workers.active < self.workers.max
        if starts and 0 < self.take_pause.duration >= self.idle_timeout:
            raise ValueError(
                f"idle_timeout {seconds_text(self.idle_timeout)} stops workers in their take_pause of "
                f"{seconds_text(self.take_pause.duration)}, though jobs wait; make it longer than that"
            )
        return self

    @property
    def service_time(self) -> Constant | LogNormal | Empirical:
        """The time in the handler of a job without chunks; 200 ms where nothing is said."""
        return self.service if self.service is not None else Constant(constant="200ms")

    def limit(self, op: Op) -> Limit | None:
        """The limit of an operation: as set here, else as documented."""
        return self.limits.get(op, OPERATIONS[op].limit)
