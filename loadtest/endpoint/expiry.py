"""How long ended jobs can still be asked for."""

from __future__ import annotations

import heapq
import math
from collections import deque
from itertools import count

from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import Retention
from loadtest.protocol.operations import JobState, Op

_RUNSYNC = Op.RUNSYNC  # looked up once, since an enumeration is slow at it


class ExpiryQueue:
    """Ended jobs of one operation; they end in order of time, so the oldest is the next to go.

    Times and ids stand apart: a tuple a job would have the garbage collector look at each of them. `due_at` is
    when the oldest expires; infinite where none is kept.
    """

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._ended_at: deque[float] = deque()
        self._ids: deque[str] = deque()
        self.due_at = math.inf

    def put(self, job_id: str, ended_at: float) -> None:
        """Keeps a job that ended at this time."""
        if not self._ended_at:
            self.due_at = ended_at + self._kept_s
        self._ended_at.append(ended_at)
        self._ids.append(job_id)

    def expire(self) -> tuple[str, float]:
        """Drops the oldest; its id, and when it ended."""
        job_id, ended_at = self._ids.popleft(), self._ended_at.popleft()
        self.due_at = self._ended_at[0] + self._kept_s if self._ended_at else math.inf
        return job_id, ended_at


class ResultStore:
    """All ended jobs that have not expired. `due_at` is when the next one does; infinite where none is kept."""

    def __init__(self, settings: Retention) -> None:
        self._run = ExpiryQueue(settings.run)
        self._runsync = ExpiryQueue(settings.runsync)
        self.due_at = math.inf

    def put(self, job: Job, ended_at: float) -> None:
        """Keeps a job that ended at this time."""
        row = self._runsync if job.op is _RUNSYNC else self._run
        row.put(job.id, ended_at)
        if row.due_at < self.due_at:
            self.due_at = row.due_at

    def expire(self) -> tuple[str, float]:
        """Drops the job that expires next; its id, and when it ended."""
        expired = (self._run if self._run.due_at <= self._runsync.due_at else self._runsync).expire()
        self.due_at = min(self._run.due_at, self._runsync.due_at)
        return expired


class Deadlines:
    """The deadlines of all unfinished jobs; those of jobs that ended, or wait anew, are passed over.

    A job has a deadline where one was put at its present `expires_at` or `times_out_at`.
    """

    def __init__(self) -> None:
        self._soonest: list[tuple[float, int, Job]] = []
        self._order = count()

    def put(self, job: Job, at: float) -> None:
        """The job has this deadline, which is its `expires_at` or `times_out_at`."""
        heapq.heappush(self._soonest, (at, next(self._order), job))

    def due_at(self) -> float:
        """When the next is over; infinite where none is to come."""
        soonest = self._soonest
        while soonest and not _holds(soonest[0][2], soonest[0][0]):
            heapq.heappop(soonest)
        return soonest[0][0] if soonest else math.inf

    def pop(self) -> Job:
        """The job whose deadline `due_at` named."""
        return heapq.heappop(self._soonest)[2]


def _holds(job: Job, at: float) -> bool:
    if at == job.expires_at:
        return not job.final
    return at == job.times_out_at and job.state is JobState.IN_PROGRESS
