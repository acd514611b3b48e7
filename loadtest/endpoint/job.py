"""Jobs on the server: their transitions, times and responses, their deadlines, and when their results expire."""

from __future__ import annotations

import heapq
import math
from itertools import count
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.endpoint.completion import Completion
from loadtest.endpoint.settings import Retention
from loadtest.protocol.client_messages import ABSENT, Chunk, JobResponse
from loadtest.protocol.operations import FINAL, TRANSITIONS, JobEvent, JobState, Op

_RUN = Op.RUN  # a module constant, since access through the enum is slow


class ComingTokens(Protocol):
    """The tokens of a job that a simulated LLM is decoding."""

    def due(self, now: float) -> int:
        """Return how many tokens have come."""

    def at(self, index: int) -> float | None:
        """Return when a token comes, counted from 0; None if it never does."""

    def until(self, now: float) -> NDArray[np.float64]:
        """Return when the tokens came that have come."""


class Job(msgspec.Struct, eq=False, gc=False):
    """A job; times in epoch seconds, None for what has not happened.

    Drawn at submission: `service_s`, the time in the handler (infinite if not known in advance), `crashes_after_s`,
    after which its worker dies, and `chunk_offsets_s`, when its chunks come. `chunk_at` holds the chunks' times once
    a worker has the job; `posted` holds the chunks that a real worker has posted, with their times. `completion` is
    what a simulated LLM is asked, and `tokens` those that it is decoding, whose times become `chunk_at` in the end.
    `times_out_at` is infinite if no worker has the job, or if it certainly ends before its execution timeout.
    """

    id: str
    op: Op
    submitted_at: float
    service_s: float = math.inf
    fails: bool = False
    chunk_offsets_s: NDArray[np.float64] | None = None
    crashes_after_s: float = math.inf
    state: JobState = JobState.IN_QUEUE
    queued_at: float = 0.0
    taken_at: float | None = None
    finished_at: float | None = None
    worker_id: str | None = None
    input: msgspec.Raw = ABSENT
    output: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT
    chunk_at: NDArray[np.float64] | None = None
    posted: list[tuple[float, Chunk]] | None = None
    completion: Completion | None = None
    tokens: ComingTokens | None = None
    chunks_read: int = 0
    overdue: bool = False
    low_priority: bool = False
    webhook: str | None = None
    execution_timeout_s: float = math.inf
    expires_at: float = math.inf
    times_out_at: float = math.inf
    requeues: int = 0
    retries: int = 0

    def __repr__(self) -> str:
        worker = "" if self.worker_id is None else f" on {self.worker_id}"
        return f"<Job {self.id} {self.state}{worker}>"

    @property
    def final(self) -> bool:
        """Return whether the job will not change state again by itself."""
        return self.state in FINAL

    @property
    def expired(self) -> bool:
        """Return whether the job was unfinished when its time to live was over; it is then removed."""
        return self.state is JobState.TIMED_OUT and self.finished_at == self.expires_at

    @property
    def retriable(self) -> bool:
        """Return whether a client may retry the job."""
        return (self.state, JobEvent.RETRIED) in TRANSITIONS

    def transition(self, event: JobEvent) -> None:
        """Move to the state that the protocol's table gives; raises KeyError if the move is not allowed."""
        self.state = TRANSITIONS[self.state, event]

    def requeue(self, now: float) -> None:
        """Put the job back to its state before a worker took it, in the queue from `now` on."""
        self.queued_at = now
        self.taken_at = self.finished_at = self.worker_id = self.chunk_at = self.posted = self.tokens = None
        self.output = self.error = ABSENT
        self.chunks_read = 0
        self.times_out_at = math.inf

    def chunk_times(self) -> list[float]:
        """Return when the chunks of an ended job became readable."""
        if self.chunk_at is None or self.finished_at is None:
            return [at for at, _ in self.posted or ()]
        return [float(at) for at in self.chunk_at if at <= self.finished_at]

    def next_chunk_at(self) -> float | None:
        """Return when the first unread chunk becomes readable; None if none is known to come."""
        if self.posted is not None:
            return self.taken_at if self.chunks_read < len(self.posted) else None
        if self.tokens is not None:
            return self.tokens.at(self.chunks_read)
        if self.chunk_at is None or self.chunks_read == len(self.chunk_at):
            return None
        at = float(self.chunk_at[self.chunks_read])
        return at if self.finished_at is None or at <= self.finished_at else None


def milliseconds(at: float) -> int:
    """Return seconds as milliseconds, rounded to the nearest, as the wire and the journal write them."""
    return round(at * 1000)


def to_response(job: Job) -> JobResponse:
    """Return the job as `/status` and `/runsync` show it, as of the endpoint's last `advance`.

    Delay and execution are differences of rounded times, so that they agree exactly with a journal of those times. A
    job cancelled while it ran has both.
    """
    delay_ms = execution_ms = None
    if job.taken_at is not None:
        taken_ms = milliseconds(job.taken_at)
        delay_ms = taken_ms - milliseconds(job.submitted_at)
        if job.finished_at is not None:
            execution_ms = milliseconds(job.finished_at) - taken_ms
    output = job.output
    if job.completion is not None and job.taken_at is not None and job.state is JobState.COMPLETED:
        output = job.completion.output(job.id, int(job.taken_at))  # made when it is read, since it is long
    return JobResponse(job.id, job.state.value, delay_ms, execution_ms, job.worker_id, output, job.error)


class ResultStore:
    """The ended jobs that clients can still ask for, in the order in which their results expire."""

    def __init__(self, settings: Retention) -> None:
        self._settings = settings
        self._soonest: list[tuple[float, str, float]] = []

    def put(self, job: Job, ended_at: float) -> None:
        """Keep a job that ended at this time."""
        expires_at = ended_at + (self._settings.run if job.op is _RUN else self._settings.runsync)
        if expires_at < math.inf:
            heapq.heappush(self._soonest, (expires_at, job.id, ended_at))

    def next_due_at(self) -> float:
        """Return when the next result expires; infinite if none is kept."""
        return self._soonest[0][0] if self._soonest else math.inf

    def expire(self) -> tuple[str, float]:
        """Drop the result that expires next; return its job's id and when the job ended."""
        return heapq.heappop(self._soonest)[1:]


class Deadlines:
    """The deadlines of all unfinished jobs.

    A job has a deadline if one was put for its present `expires_at` or `times_out_at`. Deadlines of jobs that ended
    or were requeued no longer apply and are dropped.
    """

    def __init__(self) -> None:
        self._soonest: list[tuple[float, int, Job]] = []
        self._order = count()

    def put(self, job: Job, at: float) -> None:
        """Add a deadline of the job: its `expires_at` or its `times_out_at`."""
        heapq.heappush(self._soonest, (at, next(self._order), job))

    def next_due_at(self) -> float:
        """Return when the next deadline is reached; infinite if there is none."""
        soonest = self._soonest
        while soonest and not _applies(soonest[0][2], soonest[0][0]):
            heapq.heappop(soonest)
        return soonest[0][0] if soonest else math.inf

    def pop(self) -> Job:
        """Remove and return the job whose deadline `next_due_at` returned."""
        return heapq.heappop(self._soonest)[2]


def _applies(job: Job, at: float) -> bool:
    if at == job.expires_at:
        return not job.final
    return at == job.times_out_at and job.state is JobState.IN_PROGRESS
