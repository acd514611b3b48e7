"""The bodies of requests and responses between client and endpoint, decoded and encoded.

Decoding reads the fields that it needs and ignores the rest: unknown fields, an odd output, a byte order mark.
`12.0` and `"12"` are numbers. All times here are integer milliseconds. A missing, negative or absurd time of a
completed job makes the response invalid (`InvalidResponse`); it never counts as zero.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from loadtest.errors import InvalidResponse
from loadtest.protocol.json_values import encode_json
from loadtest.protocol.operations import ALIASES, EXECUTION_TIMEOUT, FINAL, JOB_TTL, JobState
from loadtest.protocol.outer_json import BOM, outer_elements, outer_members

T = TypeVar("T")
MAX_NUMBER = 10**12
"""The largest time or token count that is taken for one: 31 years in milliseconds. Sums of it fit a column."""
MAX_ID_LENGTH = 512
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
ShortText = Annotated[str, msgspec.Meta(max_length=MAX_ID_LENGTH)]
Count = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
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
    """A job as a response shows it; `output` stays undecoded, and text that is missing is empty."""

    id: str = ""
    status: str = ""
    delay_ms: Milliseconds | None = msgspec.field(default=None, name="delayTime")
    execution_ms: Milliseconds | None = msgspec.field(default=None, name="executionTime")
    worker_id: ShortText | None = msgspec.field(default=None, name="workerId")
    output: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT

    @property
    def state(self) -> JobState | None:
        """Return the state, by any of its names; None if the status is unknown: such a job has not ended."""
        return _STATES.get(self.status)

    @property
    def final(self) -> bool:
        """Return whether the job will not change state again by itself."""
        return self.status in _FINAL_NAMES

    @property
    def lacks_times(self) -> bool:
        """Return whether the job has completed and a time of it is missing."""
        return self.status == JobState.COMPLETED and (self.delay_ms is None or self.execution_ms is None)


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """One part of a streamed output."""

    output: msgspec.Raw
    metrics: msgspec.Raw = ABSENT


class StreamResponse(msgspec.Struct, frozen=True):
    """The chunks since the last read; `status` is None in the older form, a bare array."""

    stream: list[Chunk] = []
    status: str | None = None

    @property
    def ended(self) -> bool:
        """Return whether a reader may stop: the state is final and no chunk was waiting."""
        return self.status in _FINAL_NAMES and not self.stream


class JobCounts(msgspec.Struct, frozen=True, rename="camel"):
    """Jobs by state and outcome, as `/health` counts them."""

    completed: Count = 0
    failed: Count = 0
    in_progress: Count = 0
    in_queue: Count = 0
    retried: Count = 0


class WorkerCounts(msgspec.Struct, frozen=True):
    """Workers by state, as `/health` counts them; the last four were added later and may be missing."""

    idle: Count = 0
    running: Count = 0
    initializing: Count = 0
    ready: Count = 0
    throttled: Count = 0
    unhealthy: Count = 0


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


INVALID = (ValueError, RecursionError, OverflowError)
"""Malformed JSON, or JSON of another type, nested too deeply, or not UTF-8; or an absurd number."""
_decode_job = msgspec.json.Decoder(JobResponse).decode


def decode_job(body: bytes) -> JobResponse:
    """Return the job in a response to a poll; raises InvalidResponse if it has no status, or completed without times.

    Its status may be unknown.
    """
    job = read_job(body)
    if not job.status:
        raise InvalidResponse("not a job, it has no status")
    if job.lacks_times:
        raise InvalidResponse("a completed job without delayTime or executionTime")
    return job


def decode_accepted_job(body: bytes) -> JobResponse:
    """Return the job in a response to a submission; raises InvalidResponse if it has no usable id."""
    job = read_job(body)
    if not is_usable_id(job.id):
        raise InvalidResponse("not a job, it has no usable id")
    return job


def is_usable_id(job_id: str) -> bool:
    """Return whether requests can name a job by this id: short text without control characters, and no path step."""
    return job_id.isprintable() and 0 < len(job_id) <= MAX_ID_LENGTH and job_id not in (".", "..")


def read_job(body: bytes) -> JobResponse:
    """Return the job in a response, as far as it can be read; raises InvalidResponse if the body is no object."""
    try:
        return _decode_job(body)
    except INVALID:
        members = outer_members(body)
    if members is None:
        raise InvalidResponse("not a job")
    return JobResponse(
        _text(members.get(b"id")),
        _text(members.get(b"status")),
        number_or_none(members.get(b"delayTime")),
        number_or_none(members.get(b"executionTime")),
        _text(members.get(b"workerId"))[:MAX_ID_LENGTH] or None,
        *(msgspec.Raw(members[key]) if key in members else ABSENT for key in (b"output", b"error")),
    )


def _text(raw: bytes | None) -> str:
    """Return a value as text if it is text or a whole number; else nothing."""
    try:
        return "" if raw is None else str(msgspec.json.decode(raw, type=str | int))
    except INVALID:
        return ""


def number_or_none(raw: bytes | msgspec.Raw | None) -> int | None:
    """Return a value as a whole number from 0 to MAX_NUMBER; None if it is nothing of the kind."""
    try:
        value = None if not raw else float(msgspec.json.decode(raw, type=int | float | str))
    except INVALID:
        return None
    return round(value) if value is not None and 0 <= value <= MAX_NUMBER else None


def decode_stream(body: bytes) -> StreamResponse:
    """Return the chunks of `/stream`, in either of its two forms; raises InvalidResponse if it is neither."""
    try:
        if body.lstrip().startswith(b"["):
            return StreamResponse(msgspec.json.decode(body, type=list[Chunk]))
        response = msgspec.json.decode(body, type=StreamResponse)
        if response.status is not None or response.stream:
            return response
    except INVALID:
        pass
    members = outer_members(body) or {}
    elements = outer_elements(members.get(b"stream", b"") if members else body)
    status = _text(members.get(b"status")) or None
    if elements is None and status is None:
        raise InvalidResponse("not a stream")
    return StreamResponse([_chunk(element) for element in elements or []], status)


def _chunk(raw: bytes) -> Chunk:
    """Return one part of a stream; all of it is the output if it has none of its own."""
    members = outer_members(raw) or {}
    metrics = members.get(b"metrics")
    return Chunk(msgspec.Raw(members.get(b"output", raw)), ABSENT if metrics is None else msgspec.Raw(metrics))


def decode(kind: type[T], body: bytes, name: str) -> T:
    """Return the message of this kind in a body; raises InvalidResponse, which calls the message by this name."""
    try:
        return msgspec.json.decode(body.removeprefix(BOM), type=kind, strict=False)
    except INVALID as error:
        raise InvalidResponse(f"not a {name}: {error}") from None


def decode_submission(body: bytes) -> Submission:
    """Return a client's submission; raises InvalidResponse if it is invalid."""
    try:
        return msgspec.json.decode(body, type=Submission)
    except INVALID as error:
        raise InvalidResponse(str(error)) from None


def encode_submission(job_input: Any, webhook: str | None = None, policy: Policy | None = None) -> bytes:
    """Return the body of `/run` and `/runsync`."""
    return msgspec.json.encode(Submission(msgspec.Raw(encode_json(job_input)), webhook, policy))
