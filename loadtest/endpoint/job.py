"""One job on the server: its moves, its times, and how an answer shows it."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.protocol.client_messages import ABSENT, Chunk, JobResponse
from loadtest.protocol.operations import FINAL, TRANSITIONS, JobEvent, JobState, Op


class Job(msgspec.Struct, eq=False, gc=False):
    """A job; times in epoch seconds, None for what has not happened.

    `service_s` is the time it will take in the handler, infinite where that is not known beforehand;
    `crashes_after_s` the time after which its worker will die of it; `chunk_offsets_s` when its chunks come.
    All are drawn at submission. `chunk_at` holds the chunks' times once a worker has the job, `posted` what a real
    worker has posted of them, and when. `times_out_at` is infinite where no worker has it, or will end it before.
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
    chunks_read: int = 0
    overdue: bool = False
    low_priority: bool = False
    webhook: str | None = None
    execution_timeout_s: float = math.inf
    expires_at: float = math.inf
    times_out_at: float = math.inf
    requeues: int = 0
    retries: int = 0

    @property
    def final(self) -> bool:
        """Whether the job will not move again by itself."""
        return self.state in FINAL

    @property
    def expired(self) -> bool:
        """Whether the job was still unfinished when its time to live was over; then it is gone."""
        return self.state is JobState.TIMED_OUT and self.finished_at == self.expires_at

    @property
    def retriable(self) -> bool:
        """Whether a client may have it done once more."""
        return (self.state, JobEvent.RETRIED) in TRANSITIONS

    def transition(self, event: JobEvent) -> None:
        """Go where the protocol's table of moves leads; KeyError where it does not."""
        self.state = TRANSITIONS[self.state, event]

    def requeue(self, now: float) -> None:
        """The job is in the queue from now on, and nothing is left of an earlier try."""
        self.queued_at = now
        self.taken_at = self.finished_at = self.worker_id = self.chunk_at = self.posted = None
        self.output = self.error = ABSENT
        self.chunks_read = 0
        self.times_out_at = math.inf

    def chunk_times(self) -> list[float]:
        """When the chunks of a job that has ended were there to be read."""
        if self.chunk_at is None or self.finished_at is None:
            return [at for at, _ in self.posted or ()]
        return [float(at) for at in self.chunk_at if at <= self.finished_at]

    def next_chunk_at(self) -> float | None:
        """When the first chunk that was not read yet can be read; None where none is known to come."""
        if self.posted is not None:
            return self.taken_at if self.chunks_read < len(self.posted) else None
        if self.chunk_at is None or self.chunks_read == len(self.chunk_at):
            return None
        at = float(self.chunk_at[self.chunks_read])
        return at if self.finished_at is None or at <= self.finished_at else None


def milliseconds(at: float) -> int:
    """A time or a span in seconds as the wire and the journal write it: to the nearest millisecond."""
    return round(at * 1000)


def to_response(job: Job) -> JobResponse:
    """The job as `/status` and `/runsync` show it after the endpoint's last `advance`.

    Delay and execution are differences of rounded times, so that they agree exactly with a journal of
    those times. A job that was cancelled while it ran carries both.
    """
    delay_ms = execution_ms = None
    if job.taken_at is not None:
        taken_ms = milliseconds(job.taken_at)
        delay_ms = taken_ms - milliseconds(job.submitted_at)
        if job.finished_at is not None:
            execution_ms = milliseconds(job.finished_at) - taken_ms
    return JobResponse(job.id, job.state.value, delay_ms, execution_ms, job.worker_id, job.output, job.error)
