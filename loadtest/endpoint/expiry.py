"""When ended jobs can no longer be asked for, and when unfinished jobs reach a deadline."""

from __future__ import annotations

import heapq
import math
from itertools import count

from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import Retention
from loadtest.protocol.operations import JobState, Op

_RUNSYNC = Op.RUNSYNC  # a module constant, since access through the enum is slow


class ResultStore:
    """The ended jobs that clients can still ask for, in the order in which their results expire."""

    def __init__(self, settings: Retention) -> None:
        self._settings = settings
        self._soonest: list[tuple[float, int, str, float]] = []
        self._order = count()

    def put(self, job: Job, ended_at: float) -> None:
        """Keep a job that ended at this time."""
        expires_at = ended_at + (self._settings.runsync if job.op is _RUNSYNC else self._settings.run)
        if expires_at < math.inf:
            heapq.heappush(self._soonest, (expires_at, next(self._order), job.id, ended_at))

    def next_due_at(self) -> float:
        """Return when the next result expires; infinite if none is kept."""
        return self._soonest[0][0] if self._soonest else math.inf

    def expire(self) -> tuple[str, float]:
        """Drop the result that expires next; return its job's id and when the job ended."""
        return heapq.heappop(self._soonest)[2:]


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
