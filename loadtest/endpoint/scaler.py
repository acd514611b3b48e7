"""When flex workers are started: one class for each kind of settings."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

from loadtest.endpoint.fleet import Fleet
from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import QueueDelay, RequestCount, ScalerSettings
from loadtest.protocol.operations import JobState

_IN_QUEUE = JobState.IN_QUEUE  # a module constant, since access through the enum is slow


class Scaler:
    """The decision how many workers to start; the caller keeps to the fleet's maximum."""

    def queued(self, job: Job, jobs: int, fleet: Fleet) -> int:
        """Return how many workers to start now that `job` waits, with `jobs` in queue and in progress that scale."""
        raise NotImplementedError

    def dequeued(self, job: Job) -> None:
        """Note that the job waits no longer."""

    def next_due_at(self) -> float:
        """Return when to decide again, in epoch seconds; infinite if only a new job can need more workers."""
        return math.inf

    def decide(self, fleet: Fleet) -> int:
        """Return how many workers to start at the time that `next_due_at` returned."""
        return 0


class QueueDelayScaler(Scaler):
    """Starts one worker for each job that has waited as long as the threshold, unless one is already starting for it.

    Workers that are starting count for the jobs past the threshold, one each, oldest first. So five jobs at once
    start up to five workers, and a worker whose job another worker took serves the next job.
    """

    def __init__(self, settings: QueueDelay) -> None:
        self._threshold_s = settings.queue_delay
        self._within: deque[tuple[float, Job]] = deque()
        self._overdue = 0

    def queued(self, job: Job, jobs: int, fleet: Fleet) -> int:
        """Return 0 and watch the job; a full fleet needs no watch, since no worker stops while a job waits."""
        if not fleet.full:
            self._within.append((job.queued_at, job))
        return 0

    def dequeued(self, job: Job) -> None:
        """Stop watching the job."""
        if job.overdue:
            job.overdue = False
            self._overdue -= 1
        if self._within and self._within[0][1] is job:
            self._drop_outdated(job)

    def next_due_at(self) -> float:
        """Return when the oldest job within the threshold passes it."""
        return self._within[0][0] + self._threshold_s if self._within else math.inf

    def decide(self, fleet: Fleet) -> int:
        """Return 1 for the job that has just passed the threshold, 0 if a worker is starting for it."""
        self._within.popleft()[1].overdue = True
        self._overdue += 1
        self._drop_outdated()
        return 1 if fleet.starting < self._overdue else 0

    def _drop_outdated(self, leaving: Job | None = None) -> None:
        """Drop jobs that left the queue, and waits from before a job was requeued."""
        within = self._within
        while within:
            queued_at, job = within[0]
            if job is not leaving and job.state is _IN_QUEUE and job.queued_at == queued_at:
                return
            within.popleft()


class RequestCountScaler(Scaler):
    """Keeps ceil((jobs in queue + jobs in progress) / value) workers."""

    def __init__(self, settings: RequestCount) -> None:
        self._value = settings.request_count

    def queued(self, job: Job, jobs: int, fleet: Fleet) -> int:
        """Return how many workers are missing."""
        return max(0, math.ceil(jobs / self._value) - fleet.up)


_SCALERS: dict[type, Callable[[Any], Scaler]] = {QueueDelay: QueueDelayScaler, RequestCount: RequestCountScaler}


def scaler_for(settings: ScalerSettings) -> Scaler:
    """Return the scaler that these settings describe."""
    return _SCALERS[type(settings)](settings)
