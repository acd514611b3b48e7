"""One row per job: when it was due and sent, the responses to it, how it ended; and the columns of every table."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, TypeVar

import msgspec
import pyarrow as pa

from loadtest.protocol.operations import UNAVAILABLE
from loadtest.scenario.flows import FlowName


class Outcome(StrEnum):
    """The end of a job, as the client saw it."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    """The server ended it with TIMED_OUT."""
    RATE_LIMITED = "rate_limited"
    """429 until the job timeout was over."""
    REJECTED = "rejected"
    """Any other status of 400 and above."""
    UNREACHABLE = "unreachable"
    """No connection, or none that lived until the response."""
    BAD_ANSWER = "bad_answer"
    """A response that the protocol does not allow."""
    WRONG = "wrong"
    """The server ended it with COMPLETED, and its answer is not what the scenario expects."""
    EXPIRED = "expired"
    """Accepted, but gone from the server before its end was seen."""
    CENSORED = "censored"
    """Unfinished when the run, or the job timeout, was over."""


class ErrorKind(StrEnum):
    """The way in which the request that ended a job failed, or what the result of the job lacks."""

    CONNECT_ERROR = "connect_error"
    CONNECT_TIMEOUT = "connect_timeout"
    DNS_ERROR = "dns_error"
    PROXY_ERROR = "proxy_error"
    TLS_ERROR = "tls_error"
    LOCAL_RESOURCES = "local_resources"
    """This machine lacked a file descriptor, a port, memory, or a name server that answers."""
    CONNECTION_CLOSED = "connection_closed"
    READ_TIMEOUT = "read_timeout"
    REMOTE_PROTOCOL_ERROR = "remote_protocol_error"
    """Bytes that are not an HTTP response, or a body that cannot be decompressed."""
    INVALID_RESPONSE = "invalid_response"
    """An HTTP response that the protocol of the endpoint does not allow."""
    EMPTY_OUTPUT = "empty_output"
    """A job that completed without a result, which the worker has lost or never had."""


_NEVER_SENT = frozenset(
    (
        ErrorKind.CONNECT_ERROR,
        ErrorKind.CONNECT_TIMEOUT,
        ErrorKind.DNS_ERROR,
        ErrorKind.LOCAL_RESOURCES,
        ErrorKind.PROXY_ERROR,
        ErrorKind.TLS_ERROR,
    )
)
"""Without a connection nothing was sent."""
SEEN_FINAL = frozenset(
    (
        Outcome.COMPLETED,
        Outcome.WRONG,
        Outcome.FAILED,
        Outcome.CANCELLED,
        Outcome.TIMED_OUT,
        Outcome.EXPIRED,
    )
)
"""The outcomes of an accepted job that has ended, or is gone, at the endpoint."""


def certainly_refused(error_kind: str | None, http_status: int | None) -> bool:
    """Return whether the endpoint cannot have accepted a submission that failed in this way.

    It may have if it closed the connection, did not answer in time, or answered with a 5xx or with no job. It has not
    if there was no connection, or a redirect, a 4xx or a 503 for the answer.
    """
    if error_kind in _NEVER_SENT:
        return True
    return http_status is not None and (300 <= http_status < 500 or http_status == UNAVAILABLE)


class Sample(msgspec.Struct, gc=False):
    """A job's row while the job runs; times in epoch seconds, None if it did not happen.

    In the closed model, `user` numbers the users of a process, and this one was ready for the job at `ready_at`: from
    then until `intended_at` a limit held it back.
    """

    seq: int
    flow: FlowName
    intended_at: float
    process: int = 0
    stage: int = 0
    job_id: str | None = None
    worker_id: str | None = None
    outcome: Outcome = Outcome.CENSORED
    http_status: int | None = None
    error: str | None = None
    error_kind: ErrorKind | None = None
    sent_at: float | None = None
    accepted_at: float | None = None
    first_chunk_at: float | None = None
    first_content_at: float | None = None
    last_content_at: float | None = None
    finished_at: float | None = None
    delay_ms: int | None = None
    execution_ms: int | None = None
    polls: int = 0
    throttled: int = 0
    faults: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    chunks: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    user: int | None = None
    ready_at: float | None = None

    @property
    def perhaps_accepted(self) -> bool:
        """Return whether the endpoint may have the job although its id is not known."""
        unknown = self.sent_at is not None and self.job_id is None and self.outcome not in SEEN_FINAL
        return unknown and not certainly_refused(self.error_kind, self.http_status)

    @property
    def given_up(self) -> bool:
        """Return whether the job was accepted, and followed no longer before its end was seen."""
        return self.job_id is not None and self.outcome not in SEEN_FINAL


SAMPLES = pa.schema(
    [
        ("seq", pa.int64()),
        ("process", pa.int16()),
        ("stage", pa.int16()),
        ("flow", pa.string()),
        ("job_id", pa.string()),
        ("worker_id", pa.string()),
        ("outcome", pa.string()),
        ("http_status", pa.int16()),
        ("error", pa.string()),
        ("error_kind", pa.string()),
        ("intended_at", pa.float64()),
        ("sent_at", pa.float64()),
        ("accepted_at", pa.float64()),
        ("first_chunk_at", pa.float64()),
        ("finished_at", pa.float64()),
        ("delay_ms", pa.int64()),
        ("execution_ms", pa.int64()),
        ("polls", pa.int32()),
        ("throttled", pa.int32()),
        ("faults", pa.int32()),
        ("request_bytes", pa.int64()),
        ("response_bytes", pa.int64()),
        ("chunks", pa.int64()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("user", pa.int32()),
        ("ready_at", pa.float64()),
        ("first_content_at", pa.float64()),
        ("last_content_at", pa.float64()),
    ]
)
"""The columns of `samples.parquet`."""
ADDED_COLUMNS = ("error_kind", "faults", "user", "ready_at", "first_content_at", "last_content_at", "pieces")
"""The columns that older runs do not have: those of schema 1 none of them, those of schema 2 the first only. They are
read as null."""


class ChunkSeen(NamedTuple):
    """When a chunk of a streamed job was seen, in epoch seconds, and its pieces of content (`protocol.tokens`)."""

    at: float
    pieces: int


CHUNKS = pa.schema([("seq", pa.int64()), ("process", pa.int16()), ("at", pa.float64()), ("pieces", pa.int32())])
"""The columns of `chunks.parquet`, one row per chunk of a streamed job, as in `ChunkSeen`."""

CANCELS = pa.schema([("seq", pa.int64()), ("process", pa.int16()), ("at", pa.float64())])
"""The columns of `cancels.parquet`: when the endpoint confirmed the end of a job that was given up and cancelled."""

REQUESTS = pa.schema(
    [
        ("second", pa.float64()),
        ("process", pa.int16()),
        ("operation", pa.string()),
        ("status", pa.int16()),
        ("requests", pa.int32()),
        ("latency_ms_mean", pa.float64()),
        ("latency_ms_p50", pa.float64()),
        ("latency_ms_p95", pa.float64()),
        ("latency_ms_max", pa.float64()),
        ("most_in_10_s", pa.int32()),
    ]
)
"""The columns of `requests.parquet`, one row per second, operation and HTTP status (0: no response).

`second` is the epoch second in which the requests were answered. `most_in_10_s` is the operation's fullest
10 seconds so far in that process, wherever they start, every status together.
"""

HEALTH = pa.schema(
    [
        ("at", pa.float64()),
        ("in_queue", pa.int32()),
        ("in_progress", pa.int32()),
        ("completed", pa.int64()),
        ("failed", pa.int64()),
        ("retried", pa.int64()),
        ("idle", pa.int32()),
        ("running", pa.int32()),
        ("initializing", pa.int32()),
        ("ready", pa.int32()),
        ("throttled", pa.int32()),
        ("unhealthy", pa.int32()),
    ]
)
"""The columns of `health.parquet`: one row per response of `/health`."""

UNREAD_COLUMNS = (
    "latency_ms_mean", "latency_ms_p50", "latency_ms_p95", "latency_ms_max",
    "completed", "failed", "retried", "ready", "throttled", "unhealthy",
)  # fmt: skip
"""The columns of `requests.parquet` and `health.parquet` that no command reads, so that none needs them."""

Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)


class MissingColumnError(Exception):
    """A table without one of its columns; the text names it."""


class MissingValueError(Exception):
    """A row without a value that each row has; the text names it."""


def require_columns(found: pa.Schema, schema: pa.Schema) -> None:
    """Raise MissingColumnError if a column is missing that runs of every schema have, and that is read."""
    missing = [name for name in schema.names if name not in (*found.names, *ADDED_COLUMNS, *UNREAD_COLUMNS)]
    if missing:
        raise MissingColumnError(f'lacks the column "{missing[0]}"')


def in_schema(rows: Rows, schema: pa.Schema) -> Rows:
    """Return a batch or a table in this schema; a column added after the recording is null.

    Raises MissingColumnError if another column is missing.
    """
    require_columns(rows.schema, schema)
    known = rows.schema.names
    columns = [
        rows.column(field.name).cast(field.type) if field.name in known else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return type(rows).from_arrays(columns, schema=schema)
