"""The operations of an endpoint with their limits, job states with their transitions, sizes, and retention.

This is the one description; client, limiters, server and simulator derive theirs from it. Facts and their age are in
docs/reference/wire-protocol.md. The bodies are in `client_messages`.
"""

from __future__ import annotations

import math
import re
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from loadtest.units import window


class JobState(StrEnum):
    """The state of a job, by its name on the wire."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"


class JobEvent(StrEnum):
    """An event that moves a job from one state to another."""

    TAKEN = "taken"
    GIVEN_BACK = "given back"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"
    RETRIED = "retried"


TRANSITIONS: dict[tuple[JobState, JobEvent], JobState] = {
    (JobState.IN_QUEUE, JobEvent.TAKEN): JobState.IN_PROGRESS,
    (JobState.IN_QUEUE, JobEvent.CANCELLED): JobState.CANCELLED,
    (JobState.IN_QUEUE, JobEvent.TIMED_OUT): JobState.TIMED_OUT,
    (JobState.IN_PROGRESS, JobEvent.GIVEN_BACK): JobState.IN_QUEUE,
    (JobState.IN_PROGRESS, JobEvent.COMPLETED): JobState.COMPLETED,
    (JobState.IN_PROGRESS, JobEvent.FAILED): JobState.FAILED,
    (JobState.IN_PROGRESS, JobEvent.TIMED_OUT): JobState.TIMED_OUT,
    (JobState.IN_PROGRESS, JobEvent.CANCELLED): JobState.CANCELLED,
    (JobState.FAILED, JobEvent.RETRIED): JobState.IN_QUEUE,
    (JobState.TIMED_OUT, JobEvent.RETRIED): JobState.IN_QUEUE,
}
"""Every legal transition. A state is final if only a client's retry leads out of it."""

FINAL = frozenset(
    state for state in JobState if all(was is not state or event is JobEvent.RETRIED for was, event in TRANSITIONS)
)

TOO_MANY_REQUESTS = 429
"""The HTTP status of a request beyond the limit of its operation."""
CONFLICT, UNAVAILABLE = 409, 503
"""The HTTP statuses of a temporary refusal, as after a change of settings or under load."""
GONE = (404, 410)
"""The HTTP statuses of a job that the endpoint does not know, or knows no more."""
ALIASES = {"RUNNING": JobState.IN_PROGRESS}
"""Other names of a state that the live service has been seen to use."""


@dataclass(frozen=True)
class Limit:
    """At most `requests` in any interval of `per_s` seconds, and `concurrent` at once (None: no such limit)."""

    requests: int
    per_s: float
    concurrent: int | None = None

    @property
    def per_second(self) -> float:
        """Return the rate that the limit allows over a long time, in requests per second."""
        return self.requests / self.per_s

    def shortest_s(self, requests: int) -> float:
        """Return how long it takes at least to send this many requests: those of the first window go out at once."""
        return max(0, requests - 1) // self.requests * self.per_s

    def __str__(self) -> str:
        at_once = "" if self.concurrent is None else f", {self.concurrent} at once"
        return f"{self.requests} per {self.per_s:.12g} s{at_once}"


def window_free_at(times: deque[float], requests: int, per_s: float) -> float:
    """Return when one more request leaves at most `requests` in every half-open window of `per_s` seconds.

    `times` are those of the earlier requests, in order; the result is -inf if there are fewer than `requests`.
    """
    return times[-requests] + per_s if len(times) >= requests else -math.inf


MAX_REQUESTS = 10**9
"""The most requests that a limit may allow; every request within its window is remembered."""


def parse_limit(text: object) -> Limit:
    """Return a limit such as "1000 per 10 s, 200 at once"; raises ValueError for another text."""
    if isinstance(text, Limit):
        return text
    rate, _, at_once = str(text).partition(",")
    match = re.fullmatch(r"\s*(\d+) at once\s*", at_once)
    if at_once and match is None:
        raise ValueError(f'"{text}" is not a limit; write it like "1000 per 10 s, 200 at once"')
    count, span_s = window(rate)
    if count < 1 or count != int(count):
        raise ValueError(f'"{text}" allows no whole request; write it like "1000 per 10 s"')
    if count > MAX_REQUESTS or (match and not 1 <= int(match[1]) <= MAX_REQUESTS):
        raise ValueError(f'"{text}" is out of range; a limit counts from 1 to {MAX_REQUESTS:,} requests')
    return Limit(int(count), span_s, int(match[1]) if match else None)


LimitText = Annotated[
    Limit,
    BeforeValidator(parse_limit),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["1000 per 10 s, 200 at once"]}),
]


class Op(StrEnum):
    """The operations of an endpoint, by the last word of their path."""

    RUN = "run"
    RUNSYNC = "runsync"
    STATUS = "status"
    STATUS_SYNC = "status-sync"
    STREAM = "stream"
    HEALTH = "health"
    PURGE_QUEUE = "purge-queue"
    CANCEL = "cancel"
    RETRY = "retry"
    OPENAI = "openai"


@dataclass(frozen=True)
class Operation:
    """One operation: its method and path, its default limit, and the largest body."""

    method: str
    path: str
    limit: Limit | None = None
    body_limit_bytes: int = 0


_MB = 10**6

OPERATIONS: dict[Op, Operation] = {
    Op.RUN: Operation("POST", "/run", Limit(1000, 10, 200), 10 * _MB),
    Op.RUNSYNC: Operation("POST", "/runsync", Limit(2000, 10, 400), 20 * _MB),
    Op.STATUS: Operation("GET", "/status/{id}", Limit(2000, 10, 400)),
    Op.STATUS_SYNC: Operation("GET", "/status-sync/{id}", Limit(2000, 10, 400)),
    Op.STREAM: Operation("GET", "/stream/{id}", Limit(2000, 10, 400)),
    Op.HEALTH: Operation("GET", "/health"),
    Op.PURGE_QUEUE: Operation("POST", "/purge-queue", Limit(2, 10)),
    Op.CANCEL: Operation("POST", "/cancel/{id}", Limit(100, 10, 20)),
    Op.RETRY: Operation("POST", "/retry/{id}"),
    Op.OPENAI: Operation("POST", "/openai/v1/{route}", Limit(2000, 10, 400), 20 * _MB),
}


def job_path(op: Op, job_id: str) -> str:
    """Return the path of an operation on a job, whatever characters its id has."""
    # Quoting takes a microsecond, and hardly any id needs it.
    plain = job_id.isascii() and job_id.replace("-", "").isalnum()
    return OPERATIONS[op].path.format(id=job_id if plain else quote(job_id, safe=""))


@dataclass(frozen=True)
class TimeRange:
    """The range of a time that a client may ask for, and the default; milliseconds."""

    default_ms: int
    min_ms: int
    max_ms: int


RUNSYNC_WAIT = TimeRange(90_000, 1_000, 300_000)
STATUS_SYNC_WAIT = TimeRange(90_000, 1_000, 90_000)
"""How long a response may be held open for a job to end."""

_DAY_MS = 86_400_000
EXECUTION_TIMEOUT = TimeRange(600_000, 5_000, 7 * _DAY_MS)
"""How long a job may be in the handler."""
JOB_TTL = TimeRange(_DAY_MS, 10_000, 7 * _DAY_MS)
"""How long after its submission a job may be unfinished; then it is removed."""

RESULT_KEPT_S = 30 * 60.0
RUNSYNC_RESULT_KEPT_S = 60.0
CHUNK_LIMIT_BYTES = _MB
WEBHOOK_TRIES = 3
WEBHOOK_TRIES_APART_S = 10.0


def authorization(key: str) -> str:
    """Return the Authorization header that a client sends."""
    return f"Bearer {key}"


def presented_key(header: str) -> str:
    """Return the key in an Authorization header: bare, after `Bearer`, or after `Bearer Bearer` as seen in use."""
    return header.removeprefix("Bearer ").removeprefix("Bearer ").strip(" \t")
