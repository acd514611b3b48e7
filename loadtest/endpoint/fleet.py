"""The workers of an endpoint: which are starting, idle and running, and from when to when each is billed."""

from __future__ import annotations

import math
from collections import deque
from enum import Enum

import msgspec
import numpy as np

from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.client_messages import WorkerCounts

_ID_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz0123456789"))
_ID_LENGTH = 14


class StartKind(Enum):
    """How a worker starts; the active workers of an endpoint that opens are warm."""

    WARM = "warm"
    REVIVED = "revived"
    COLD = "cold"


class UpInterval(msgspec.Struct):
    """One interval from start to stop, which is billed; epoch seconds, None for what has not happened.

    Until `ready_at` the worker was initializing.
    """

    started_at: float
    stopped_at: float | None = None
    ready_at: float | None = None


class Worker(msgspec.Struct, eq=False):
    """A worker; active ones never stop. `shifts` are its intervals in order, more than one if it was revived.

    `jobs` are those that it has now. `due` numbers the end of a simulated worker's next job.
    """

    id: str
    active: bool
    shifts: list[UpInterval]
    jobs: list[Job] = []
    idle_since: float = math.inf
    starting: bool = False
    due: int = -1

    def __repr__(self) -> str:
        state = "starting" if self.starting else f"{len(self.jobs)} jobs" if self.jobs else "idle"
        return f"<Worker {self.id} {state if self.up else 'stopped'}>"

    @property
    def up(self) -> bool:
        """Return whether the worker was started and has not stopped since."""
        return self.shifts[-1].stopped_at is None


class Fleet:
    """All workers of an endpoint. Active ones are warm and idle from the start."""

    def __init__(self, settings: EndpointSettings, ids: np.random.Generator) -> None:
        self._most = settings.workers.most
        self._idle_timeout_s = settings.idle_timeout
        self._revived_within_s = -math.inf if settings.revival is None else settings.revival.within
        self._ids = ids
        self._idle_active: list[Worker] = []
        self._idle_flex: deque[Worker] = deque()
        self._stopped: list[Worker] = []
        self.all_workers: list[Worker] = []
        self.by_id: dict[str, Worker] = {}
        self.up = 0
        """The number of workers that are starting, idle or running."""
        self.starting = 0

    def __repr__(self) -> str:
        workers = f"{self.starting} starting, {self.running} running"
        return f"<Fleet {workers} of at most {self._most}>"

    @property
    def running(self) -> int:
        """Return how many workers are past their start and not stopped, with or without a job."""
        return self.up - self.starting

    @property
    def full(self) -> bool:
        """Return whether the fleet has its maximum of workers."""
        return self.up >= self._most

    def counts(self, now: float) -> WorkerCounts:
        """Return the workers by state as the live service does: idle ones have stopped and are kept for a revival."""
        kept = sum(self._can_revive(worker, now) for worker in self._stopped)
        return WorkerCounts(idle=kept, running=self.running, initializing=self.starting, ready=kept)

    def _can_revive(self, worker: Worker, now: float) -> bool:
        stopped_at = worker.shifts[-1].stopped_at
        return stopped_at is not None and now <= stopped_at + self._revived_within_s

    def assign(self, worker: Worker, job: Job) -> None:
        """Add a job to the worker."""
        jobs = worker.jobs
        if not jobs:
            self._unmark_idle(worker)
        jobs.append(job)

    def release(self, worker: Worker, job: Job, now: float) -> None:
        """Remove a job from the worker, which is idle if it has no other."""
        jobs = worker.jobs
        jobs.remove(job)
        if not jobs:
            self._mark_idle(worker, now)

    def add_worker(self, now: float, active: bool) -> Worker:
        """Add a new worker, which is starting."""
        letters = _ID_LETTERS[self._ids.integers(len(_ID_LETTERS), size=_ID_LENGTH)]
        worker = Worker("".join(letters.tolist()), active, [UpInterval(now)], starting=True)
        self.all_workers.append(worker)
        self.by_id[worker.id] = worker
        self.up += 1
        self.starting += 1
        return worker

    def start(self, now: float) -> tuple[Worker, StartKind]:
        """Start one flex worker; one that stopped recently is revived."""
        if self._stopped:
            worker = self._stopped.pop()
            if self._can_revive(worker, now):
                worker.shifts.append(UpInterval(now))
                worker.starting = True
                self.up += 1
                self.starting += 1
                return worker, StartKind.REVIVED
            self._stopped.clear()
        return self.add_worker(now, active=False), StartKind.COLD

    def ready(self, worker: Worker, now: float) -> None:
        """Mark the worker as started and idle."""
        worker.starting = False
        worker.shifts[-1].ready_at = now
        self.starting -= 1
        self._mark_idle(worker, now)

    def next_stop_at(self) -> float:
        """Return when the worker that has been idle longest stops; infinite if none will."""
        return self._idle_flex[0].idle_since + self._idle_timeout_s if self._idle_flex else math.inf

    def stop(self, now: float) -> Worker:
        """Stop the flex worker that has been idle longest, and return it."""
        worker = self._idle_flex.popleft()
        self.up -= 1
        worker.shifts[-1].stopped_at = now
        self._stopped.append(worker)
        return worker

    def remove(self, worker: Worker, now: float) -> None:
        """Remove a worker that was lost in whatever state; it cannot be revived."""
        if worker.starting:
            worker.starting = False
            self.starting -= 1
        elif worker.jobs:
            worker.jobs.clear()
        else:
            self._unmark_idle(worker)
        self.up -= 1
        worker.shifts[-1].stopped_at = now

    def _mark_idle(self, worker: Worker, now: float) -> None:
        worker.idle_since = now
        (self._idle_active if worker.active else self._idle_flex).append(worker)

    def _unmark_idle(self, worker: Worker) -> None:
        idle = self._idle_active if worker.active else self._idle_flex
        if idle[-1] is worker:
            idle.pop()
        else:
            idle.remove(worker)
