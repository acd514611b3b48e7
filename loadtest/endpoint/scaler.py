"""When flex workers are started: by queue delay or by request count."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from loadtest.endpoint.fleet import Fleet
from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import QueueDelay, RequestCount, ScalerSettings
from loadtest.protocol.operations import JobState

_IN_QUEUE = JobState.IN_QUEUE  # looked up once, since an enumeration is slow at it


class Scaler(Protocol):
    """Decides how many workers to start; the fleet's maximum is kept by the caller."""

    def queued(self, job: Job, jobs: int, fleet: Fleet) -> int:
        """Workers to start now that `job` waits; `jobs` counts those in queue and in progress that scale."""
        ...

    def dequeued(self, job: Job) -> None:
        """The job waits no longer."""
        ...

    def due_at(self) -> float:
        """When to decide again, in epoch seconds; infinite where nothing is to come."""
        ...

    def decide(self, fleet: Fleet) -> int:
        """Workers to start at the time that `due_at` named."""
        ...


class QueueDelayScaler:
    """Each job that waits as long as the threshold starts one worker, unless one is starting for it already.

    Workers that are starting count for the jobs past the threshold, one each, oldest first; so five jobs at
    once start up to five workers, and a worker whose job was taken by another meanwhile serves the next.
    """

    def __init__(self, settings: QueueDelay) -> None:
        self._threshold_s = settings.queue_delay
        self._within: deque[tuple[float, Job]] = deque()
        self._overdue = 0

    def queued(self, job: Job, jobs: int, fleet: Fleet) -> int:
        """None at once; the job is watched, unless the fleet is full: no worker stops while a job waits."""
        if not fleet.full:
            self._within.append((job.queued_at, job))
        return 0

    def dequeued(self, job: Job) -> None:
        """The job waits no longer."""
        if job.overdue:
            job.overdue = False
            self._overdue -= 1
        if self._within and self._within[0][1] is job:
            self._pass_over(job)

    def due_at(self) -> float:
        """When the oldest job that is within the threshold will pass it."""
        return self._within[0][0] + self._threshold_s if self._within else math.inf

    def decide(self, fleet: Fleet) -> int:
        """One worker for the job that has just passed the threshold, where none is starting for it."""
        self._within.popleft()[1].overdue = True
        self._overdue += 1
        self._pass_over()
        return 1 if fleet.starting < self._overdue else 0

    def _pass_over(self, leaving: Job | None = None) -> None:
        """Drops what is no longer to be watched: jobs that left the queue, and waits from before a job came back."""
        within = self._within
        while within:
            queued_at, job = within[0]
            if job is not leaving and job.state is _IN_QUEUE and job.queued_at == queued_at:
                return
            within.popleft()


class RequestCountScaler:
    """Wants ceil((in queue + in progress) / value) workers."""

    def __init__(self, settings: RequestCount) -> None:
        self._value = settings.request_count

    def queued(self, job: Job, jobs: int, fleet: Fleet) -> int:
        """As many as are missing."""
        return max(0, math.ceil(jobs / self._value) - fleet.up)

    def dequeued(self, job: Job) -> None:
        """Nothing to do: fewer jobs never want more workers."""

    def due_at(self) -> float:
        """Never: only a new job can want more workers."""
        return math.inf

    def decide(self, fleet: Fleet) -> int:
        """No worker."""
        return 0


_SCALERS: dict[type[ScalerSettings], Callable[[Any], Scaler]] = {
    QueueDelay: QueueDelayScaler,
    RequestCount: RequestCountScaler,
}


def scaler_for(settings: ScalerSettings) -> Scaler:
    """Return the scaler that these settings describe."""
    return _SCALERS[type(settings)](settings)
