"""How long ended jobs can still be asked for."""

from __future__ import annotations

import math
from collections import deque

from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import Retention
from loadtest.protocol import Op

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
