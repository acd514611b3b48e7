"""One job on the server: its moves, its times, and how an answer shows it."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.protocol import FINAL, MOVES, JobEvent, JobState, Op
from loadtest.wire import ABSENT, Chunk, JobAnswer


class Order(msgspec.Struct, eq=False):
    """What a real worker is given of a job, the chunks it has posted, and how often its worker was lost."""

    input: msgspec.Raw
    chunks: list[Chunk] = []
    given_back: int = 0


class Job(msgspec.Struct, eq=False, gc=False):
    """A job; times in epoch seconds, None for what has not happened.

    `service_s` is the time it will take in the handler, `chunk_offsets_s` when its chunks come within that
    time; both are drawn at submission. `chunk_at` holds the chunks' times once a worker has the job.
    `order` is there where a real worker will do it: then nothing that was drawn counts.
    """

    id: str
    op: Op
    submitted_at: float
    service_s: float
    fails: bool = False
    chunk_offsets_s: NDArray[np.float64] | None = None
    state: JobState = JobState.IN_QUEUE
    taken_at: float | None = None
    finished_at: float | None = None
    worker_id: str | None = None
    output: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT
    chunk_at: NDArray[np.float64] | None = None
    chunks_read: int = 0
    overdue: bool = False
    order: Order | None = None

    @property
    def final(self) -> bool:
        """Whether the job will not move again by itself."""
        return self.state in FINAL

    def move(self, event: JobEvent) -> None:
        """Go where the protocol's table of moves leads; KeyError where it does not."""
        self.state = MOVES[self.state, event]

    def next_chunk_at(self) -> float | None:
        """When the first chunk that was not read yet can be read; None where none is known to come."""
        if self.order is not None:
            return self.submitted_at if self.chunks_read < len(self.order.chunks) else None
        if self.chunk_at is None or self.chunks_read == len(self.chunk_at):
            return None
        at = float(self.chunk_at[self.chunks_read])
        return at if self.finished_at is None or at <= self.finished_at else None


def milliseconds(at: float) -> int:
    """A time or a span in seconds as the wire and the journal write it: to the nearest millisecond."""
    return round(at * 1000)


def answer(job: Job) -> JobAnswer:
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
    return JobAnswer(job.id, job.state.value, delay_ms, execution_ms, job.worker_id, job.output, job.error)
