"""The bodies of requests and responses between client and endpoint, decoded and encoded; unknown fields are ignored.

All times here are integer milliseconds, as on the wire. A missing or negative time makes the response invalid
(`InvalidResponse`); it never counts as zero.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from loadtest.errors import InvalidResponse
from loadtest.json_values import encode_json
from loadtest.protocol.operations import ALIASES, EXECUTION_TIMEOUT, FINAL, JOB_TTL, JobState

T = TypeVar("T")
Milliseconds = Annotated[int, msgspec.Meta(ge=0)]
ABSENT = msgspec.Raw()
"""The value of a field that is not there; only this very object is left out when encoding."""
_STATES: dict[str, JobState] = {**{state.value: state for state in JobState}, **ALIASES}
_FINAL_NAMES = frozenset(name for name, state in _STATES.items() if state in FINAL)


class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits of a submission's time, and its priority; None is the endpoint's default."""

    execution_timeout_ms: (
        Annotated[int, msgspec.Meta(ge=EXECUTION_TIMEOUT.min_ms, le=EXECUTION_TIMEOUT.max_ms)] | None
    ) = msgspec.field(default=None, name="executionTimeout")
    ttl_ms: Annotated[int, msgspec.Meta(ge=JOB_TTL.min_ms, le=JOB_TTL.max_ms)] | None = msgspec.field(
        default=None, name="ttl"
    )
    low_priority: bool = msgspec.field(default=False, name="lowPriority")


class Submission(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of `/run` and `/runsync`; `input` is required and may be anything."""

    input: msgspec.Raw
    webhook: str | None = None
    policy: Policy | None = None


class JobResponse(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A job as a response shows it; `output` stays undecoded."""

    id: str
    status: str
    delay_ms: Milliseconds | None = msgspec.field(default=None, name="delayTime")
    execution_ms: Milliseconds | None = msgspec.field(default=None, name="executionTime")
    worker_id: str | None = msgspec.field(default=None, name="workerId")
    output: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT

    @property
    def state(self) -> JobState:
        """Return the state, by any of its names."""
        return _STATES[self.status]

    @property
    def final(self) -> bool:
        """Return whether the job will not change state again by itself."""
        return self.status in _FINAL_NAMES


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """One part of a streamed output."""

    output: msgspec.Raw
    metrics: msgspec.Raw = ABSENT


class StreamResponse(msgspec.Struct, frozen=True):
    """The chunks since the last read; `status` is None in the older form, a bare array."""

    stream: list[Chunk]
    status: str | None = None

    @property
    def ended(self) -> bool:
        """Return whether a reader may stop: the state is final and no chunk was waiting."""
        return self.status in _FINAL_NAMES and not self.stream


class JobCounts(msgspec.Struct, frozen=True, rename="camel"):
    """Jobs by state and outcome, as `/health` counts them."""

    completed: int = 0
    failed: int = 0
    in_progress: int = 0
    in_queue: int = 0
    retried: int = 0


class WorkerCounts(msgspec.Struct, frozen=True):
    """Workers by state, as `/health` counts them; the last four were added later and may be missing."""

    idle: int = 0
    running: int = 0
    initializing: int = 0
    ready: int = 0
    throttled: int = 0
    unhealthy: int = 0


class Health(msgspec.Struct, frozen=True):
    """The response of `/health`."""

    jobs: JobCounts
    workers: WorkerCounts


class Purged(msgspec.Struct, frozen=True):
    """The response of `/purge-queue`."""

    removed: int
    status: str = "completed"


class Problem(msgspec.Struct, frozen=True):
    """A rejection, in the live service's words."""

    status: int
    title: str
    detail: str


class Tokens(msgspec.Struct, frozen=True):
    """The token counts of an output or of a chunk's metrics."""

    input_tokens: int | None = None
    output_tokens: int | None = None


def decode_job(body: bytes) -> JobResponse:
    """Return the job in a response; raises InvalidResponse if it is invalid or a completed job lacks its times."""
    job = decode(JobResponse, body, "job")
    state = _STATES.get(job.status)
    if state is None:
        raise InvalidResponse(f'unknown job status "{job.status}"')
    if state is JobState.COMPLETED and (job.delay_ms is None or job.execution_ms is None):
        raise InvalidResponse("a completed job without delayTime or executionTime")
    return job


def decode_stream(body: bytes) -> StreamResponse:
    """Return the chunks of `/stream`, in either of its two forms; raises InvalidResponse if it is neither."""
    if body.lstrip().startswith(b"["):
        return StreamResponse(decode(list[Chunk], body, "stream"))
    response = decode(StreamResponse, body, "stream")
    if response.status not in _STATES:
        raise InvalidResponse(f'unknown job status "{response.status}"')
    return response


def decode(kind: type[T], body: bytes, name: str) -> T:
    """Return the message of this kind in a body; raises InvalidResponse, which calls the message by this name."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidResponse(f"not a {name}: {error}") from None


def token_counts(raw: msgspec.Raw) -> Tokens:
    """Return the token counts in an output or in metrics; both None if it has none."""
    try:
        return msgspec.json.decode(raw, type=Tokens)
    except msgspec.MsgspecError:
        return Tokens()


def decode_submission(body: bytes) -> Submission:
    """Return a client's submission; raises InvalidResponse if it is invalid."""
    try:
        return msgspec.json.decode(body, type=Submission)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidResponse(str(error)) from None


def encode_submission(job_input: Any, webhook: str | None = None, policy: Policy | None = None) -> bytes:
    """Return the body of `/run` and `/runsync`."""
    return msgspec.json.encode(Submission(msgspec.Raw(encode_json(job_input)), webhook, policy))
