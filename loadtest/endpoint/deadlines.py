"""When jobs that are not finished must be: execution timeouts and times to live."""

from __future__ import annotations

import heapq
import math
from itertools import count

from loadtest.endpoint.job import Job
from loadtest.protocol import JobState


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
