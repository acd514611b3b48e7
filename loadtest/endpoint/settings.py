"""The settings of an endpoint: workers, scaling, service time, chunks, failures, limits, retention."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from loadtest.endpoint.distributions import Constant, Distribution
from loadtest.endpoint.llm_settings import Llm
from loadtest.endpoint.slowdown import Slowdown, slowdown_factors
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
from loadtest.units import Bytes, Fraction, Seconds, StrictModel, quoted, seconds_text

_FLOAT_TOLERANCE = 1e-9
"""An execution time is a difference of floats; this much over a whole number of pauses is rounding error."""


class Workers(StrictModel):
    """Active workers always run; flex workers are started on demand up to `max` workers in total."""

    active: Annotated[int, Field(ge=0, le=10_000)] = 1
    """Workers that always run."""
    max: Annotated[int, Field(ge=1, le=10_000)] = 3
    """The maximum number of workers, active and flex together."""
    extra: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Flex workers that may start beyond `max` if all of these are up; the live service has 2 by default."""
    account_limit: Annotated[int | None, Field(ge=1, le=10_000)] = None
    """The most workers that the account may have, extra ones included; `null` for no limit."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many jobs a simulated worker takes at once."""

    @model_validator(mode="after")
    def _active_within_max(self) -> Workers:
        if self.active > self.max:
            raise ValueError(f"active {self.active} is more than max {self.max}; raise max or lower active")
        if self.active > self.most:
            raise ValueError(
                f"active {self.active} is more than account_limit {self.account_limit}; raise that or lower active"
            )
        return self

    @property
    def most(self) -> int:
        """Return how many workers can be up at once: `max` and `extra`, within the account's limit."""
        most = self.max + self.extra
        return most if self.account_limit is None else min(most, self.account_limit)


class ScalerSettings(StrictModel):
    """When flex workers are started, for one kind of scaler. Its first field names the kind; all have defaults."""

    def __str__(self) -> str:
        key, amount = next(iter(self.model_dump(mode="json").items()))
        return f"{key.replace('_', ' ')} {amount}"

    @property
    def threshold_s(self) -> float | None:
        """Return how long a job waits before this scaler starts a worker for it; None if waiting does not count."""
        return None


class QueueDelay(ScalerSettings):
    """The scaler that adds a worker when a job has waited longer than this."""

    queue_delay: Seconds = 4.0
    """How long a job may wait before a worker is added."""

    @property
    def threshold_s(self) -> float:
        """Return the queue delay."""
        return self.queue_delay


class RequestCount(ScalerSettings):
    """The scaler that keeps ceil((jobs in queue + jobs in progress) / request_count) workers."""

    request_count: Annotated[int, Field(ge=1)] = 4
    """Jobs per worker."""


AnyScaler = Annotated[QueueDelay, Tag("queue_delay")] | Annotated[RequestCount, Tag("request_count")]
"""The kinds of scalers, each by its key. The first is the default."""
SCALERS: dict[str, type[ScalerSettings]] = {kind.__metadata__[0].tag: kind.__origin__ for kind in get_args(AnyScaler)}


def parse_scaler(text: str) -> ScalerSettings:
    """Return the scaler that a text such as "queue delay 4s" or "request count 4" names; else raise ValueError."""
    key, _, amount = "_".join(text.split()).rpartition("_")
    try:
        return SCALERS[key].model_validate({key: amount})
    except (KeyError, ValidationError):
        examples = " or ".join(f'"{kind()}"' for kind in SCALERS.values())
        raise ValueError(f"{quoted(text)} is not a scaler; write it like {examples}") from None


def _scaler_key(value: object) -> str:
    keys = value if isinstance(value, Mapping) else type(value).model_fields if isinstance(value, BaseModel) else ()
    return next((key for key in SCALERS if key in keys), next(iter(SCALERS)))


Scaler = Annotated[
    AnyScaler,
    Discriminator(_scaler_key),
    BeforeValidator(
        lambda value: parse_scaler(value) if isinstance(value, str) else value,
        json_schema_input_type=str | AnyScaler,
    ),
]


class TakePause(StrictModel):
    """The pause of a worker between two takes: it looks for the next job when the pause is over, later if it still
    works.

    The vendor's SDK does so at a concurrency of 1: it sleeps one second after each take, and again for as long as the
    job is not done (`JobScaler.get_jobs` of `runpod` 1.12). A handler that is not a coroutine blocks the event loop,
    so that a sleep that ends meanwhile is followed by another that begins when the job is done.
    """

    duration: Seconds = 0.0
    """From a take until the worker looks for the next job; 0 for at once."""
    blocking_handler: bool = False
    """Whether a worker still at work when a pause ends looks one pause after the job, not at the next multiple."""
    after_job: Seconds = 0.0
    """From a job's end until its worker can look again: it sends the result and asks for the next job."""

    @property
    def pauses(self) -> bool:
        """Return whether a worker ever waits before it looks for the next job."""
        return self.duration > 0 or self.after_job > 0

    def occupancy_s(self, execution_s: float) -> float:
        """Return how many seconds after a take the worker looks for the next job, if the job takes `execution_s`."""
        pause_s, busy_s = self.duration, execution_s + self.after_job
        if pause_s <= 0:
            return busy_s
        pauses = max(1, math.ceil(busy_s / pause_s - _FLOAT_TOLERANCE))
        return busy_s + pause_s if self.blocking_handler and pauses > 1 else pauses * pause_s


NO_PAUSE = TakePause()


def _take_pause(value: object) -> object:
    return value if isinstance(value, (Mapping, TakePause)) else {"duration": value}


TakePauseText = Annotated[TakePause, BeforeValidator(_take_pause, json_schema_input_type=Seconds | TakePause)]
"""A pause as a time, "1s", or as its mapping."""


class Revival(StrictModel):
    """The faster start of a worker that stopped at most `within` ago, in place of a cold start."""

    duration: Distribution = Constant(constant="500ms")
    """How long a revival takes."""
    within: Seconds = 60.0
    """How long after its stop a worker can be revived."""


class Chunks(StrictModel):
    """A streaming job: its chunks, when they come, and the tokens that each reports in its metrics."""

    count: Annotated[int, Field(ge=1, le=100_000)]
    """Chunks per job."""
    first: Distribution
    """From the start of the work to the first chunk."""
    gap: Distribution = Constant(constant="50ms")
    """From one chunk to the next."""
    tokens: Annotated[int, Field(ge=0)] = 1
    """Output tokens per chunk."""
    size: Annotated[Bytes, Field(le=CHUNK_LIMIT_BYTES)] = 0
    """The minimum length of a chunk's text; it is filled up with dots."""


class StreamAnswers(StrictModel):
    """The responses of `/stream`: `form` is status (what SDKs read) or array (the older form), held for `hold`."""

    form: Literal["status", "array"] = "status"
    """`status` is an object with the job's status, `array` the older bare list of chunks."""
    hold: Seconds = 1.0
    """How long a read is held open for a chunk to come."""


class Policy(StrictModel):
    """The time limits of a job whose submission sets none, and the outcome of a job that runs too long."""

    execution_timeout: Annotated[Seconds, Field(gt=0)] = EXECUTION_TIMEOUT.default_ms / 1000
    """How long a job may be in the handler."""
    ttl: Annotated[Seconds, Field(gt=0)] = JOB_TTL.default_ms / 1000
    """How long after its submission a job may be unfinished; then it is removed, and its status is 404."""
    timeout_outcome: Literal["TIMED_OUT", "FAILED"] = "TIMED_OUT"
    """The outcome of a job past its execution timeout: as documented, or FAILED as seen on the live service."""
    timeout_stops_worker: bool = True
    """Whether such a job also stops its worker, as on the live service: the next job there waits for a cold start."""


class Payloads(StrictModel):
    """The largest body of a submission and of its result, and the HTTP status that a larger submission gets."""

    run: Bytes = OPERATIONS[Op.RUN].body_limit_bytes
    """For `/run`."""
    runsync: Bytes = OPERATIONS[Op.RUNSYNC].body_limit_bytes
    """For `/runsync` and the OpenAI route."""
    too_large_status: Literal[400, 413] = 400
    """400 as the live service responds, or HTTP's own 413."""


class Webhooks(StrictModel):
    """How the URL in a submission is notified when the job ends."""

    tries: Annotated[int, Field(ge=1, le=10)] = WEBHOOK_TRIES
    """The most attempts until the response is 200."""
    retry_interval: Seconds = WEBHOOK_TRIES_APART_S
    """From one attempt to the next."""
    allow_remote: bool = False
    """Whether a URL may lead to another machine; if not, such a submission is refused."""


class Retention(StrictModel):
    """How long a result is kept after its job ended."""

    run: Seconds = RESULT_KEPT_S
    """For a job submitted by `/run`."""
    runsync: Seconds = RUNSYNC_RESULT_KEPT_S
    """For a job submitted by `/runsync` or the OpenAI route."""


class EndpointSettings(StrictModel):
    """The whole of an endpoint. A job takes `service`, or as long as its `chunks` or the answer of its `llm` take."""

    workers: Workers = Workers()
    """The number of workers."""
    scaler: Scaler = QueueDelay()
    """When a flex worker is started, such as `{queue_delay: 4s}` or `{request_count: 4}`."""
    idle_timeout: Seconds = 5.0
    """How long a flex worker stays up without a job."""
    take_pause: TakePauseText = NO_PAUSE
    """How long after a take a simulated worker looks for its next job: `1s` like the vendor's SDK; 0 for at once."""
    slowdown: Slowdown = {}
    """How many times as long a job takes while its worker has 1, 2 … jobs, such as `{"1": 1, "8": 1.14}`."""
    cold_start: Distribution = Constant(constant="10s")
    """From a worker's start until it can take a job."""
    revival: Revival | None = Revival()
    """A faster start soon after a stop; `null` for none."""
    service: Distribution | None = None
    """The time in the handler; 200 ms if neither this nor `chunks` is given."""
    chunks: Chunks | None = None
    """The chunks that a job streams, in place of `service`."""
    llm: Llm | None = None
    """A simulated LLM that answers by what a job's input asks, in place of `service`, `chunks` and `slowdown`."""
    failure_rate: Fraction = 0.0
    """The share of jobs that end FAILED."""
    crash_rate: Fraction = 0.0
    """The share of jobs during which their worker dies; such a job returns to the queue and is drawn again."""
    tries: Annotated[int, Field(ge=1)] = 3
    """The number of workers that may die of a job before it ends FAILED."""
    output: Any = "ok"
    """The output of a job without chunks."""
    policy: Policy = Policy()
    """Time limits of jobs."""
    limits: dict[Op, LimitText] = {}
    """Limits of operations that differ from the documented ones."""
    requests_per_worker: dict[Op, Annotated[int, Field(ge=1)]] = {}
    """Raises an operation's limit to this many requests per running worker, in the limit's own time."""
    payloads: Payloads = Payloads()
    """The largest submissions."""
    webhooks: Webhooks = Webhooks()
    """How webhooks are notified of ended jobs."""
    unsupported_operations: tuple[Op, ...] = ()
    """Operations that the endpoint does not have, such as `status-sync`; they get a 404."""
    retention: Retention = Retention()
    """How long results are kept."""
    stream: StreamAnswers = StreamAnswers()
    """The responses of `/stream`."""

    @model_validator(mode="after")
    def _one_kind_of_work(self) -> EndpointSettings:
        given = [name for name in ("service", "chunks", "llm") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} both say how long a job takes; keep one of them")
        if self.llm is not None and self.slowdown:
            raise ValueError("slowdown is of service and chunks; write llm.prefill_slowdown and llm.decode_slowdown")
        return self

    @model_validator(mode="after")
    def _check_idle_timeout(self) -> EndpointSettings:
        starts = self.workers.active < self.workers.most
        pause_s = max(self.take_pause.duration, self.take_pause.after_job)
        if starts and 0 < pause_s >= self.idle_timeout:
            raise ValueError(
                f"idle_timeout {seconds_text(self.idle_timeout)} stops workers in their take_pause of "
                f"{seconds_text(pause_s)}, although jobs wait; write a longer idle_timeout"
            )
        return self

    @model_validator(mode="after")
    def _check_concurrency(self) -> EndpointSettings:
        concurrency = self.workers.concurrency
        if concurrency > 1 and self.take_pause.duration > 0:
            raise ValueError(
                f"take_pause {seconds_text(self.take_pause.duration)} is of workers that take one job at a time, but "
                f"workers.concurrency is {concurrency}; remove one of them, or write take_pause: {{after_job: …}}"
            )
        for name, slowdown in self._slowdowns_by_name().items():
            if slowdown and max(slowdown) < concurrency:
                end = f"{name} ends at {max(slowdown)} jobs, but a worker takes {concurrency}"
                raise ValueError(f"{end}; add its factor there")
        return self

    def _slowdowns_by_name(self) -> dict[str, dict[int, float]]:
        if self.llm is None:
            return {"slowdown": self.slowdown}
        return {f"llm.{name}": getattr(self.llm, name) for name in ("prefill_slowdown", "decode_slowdown")}

    def slowdowns(self) -> list[float]:
        """Return how many times as long a job takes while its worker has 0, 1, 2 … `concurrency` jobs.

        It is the longest that it can take if it has an LLM, whose two phases are slowed differently.
        """
        concurrency = self.workers.concurrency
        each = [slowdown_factors(slowdown, concurrency) for slowdown in self._slowdowns_by_name().values()]
        return [max(factors) for factors in zip(*each, strict=True)]

    @property
    def service_time(self) -> Distribution:
        """Return the time in the handler of a job without chunks; 200 ms by default."""
        return self.service if self.service is not None else Constant(constant="200ms")

    def resolved(self) -> dict[str, Any]:
        """Return the settings as plain values, in the form of their file, with the numbers of `output` as written."""
        return self.model_dump(mode="json", by_alias=True) | {"output": self.output}

    def limit(self, op: Op) -> Limit | None:
        """Return the limit of an operation: as set here, else as documented."""
        return self.limits.get(op, OPERATIONS[op].limit)
