"""The workers: which are starting, idle and running, and since when each is paid for."""

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
    """How a worker starts: active ones are there when the endpoint opens."""

    WARM = "warm"
    REVIVED = "revived"
    COLD = "cold"


class UpInterval(msgspec.Struct):
    """One stretch from start to stop, which is what is billed; epoch seconds, None while it lasts."""

    started_at: float
    stopped_at: float | None = None


class Worker(msgspec.Struct, eq=False):
    """A worker: active ones never stop. `shifts` are in order, more than one where it was revived.

    `jobs` are those it has in hand. `due` numbers what a simulated worker will do next by itself; until
    `pauses_until` such a one takes nothing, and is idle like any other without a job.
    """

    id: str
    active: bool
    shifts: list[UpInterval]
    jobs: list[Job] = []
    idle_since: float = math.inf
    starting: bool = False
    due: int = -1
    pauses_until: float = -math.inf

    @property
    def up(self) -> bool:
        """Whether it was started and has not stopped since."""
        return self.shifts[-1].stopped_at is None


class Fleet:
    """All workers. Active ones are warm and idle from the start; of the idle an active one works first,
    then the one that became idle last, so that the flex workers that are not needed can stop.
    """

    def __init__(self, settings: EndpointSettings, ids: np.random.Generator) -> None:
        self._workers = settings.workers
        self._idle_timeout_s = settings.idle_timeout
        self._revived_within_s = -math.inf if settings.revival is None else settings.revival.within
        self._ids = ids
        self._idle_active: list[Worker] = []
        self._idle_flex: deque[Worker] = deque()
        self._stopped: list[Worker] = []
        self.all_workers: list[Worker] = []
        self.by_id: dict[str, Worker] = {}
        self.up = 0
        """How many are starting, idle or running."""
        self.starting = 0
        self.running = 0

    @property
    def idle(self) -> int:
        """How many wait for a job."""
        return len(self._idle_active) + len(self._idle_flex)

    @property
    def full(self) -> bool:
        """Whether no more may be started."""
        return self.up >= self._workers.max

    def counts(self) -> WorkerCounts:
        """The workers by state; `ready` counts all that are past their start: idle and running."""
        return WorkerCounts(self.idle, self.running, self.starting, self.idle + self.running)

    def first_idle(self) -> Worker | None:
        """The idle worker that is to work next; None where there is none."""
        if self._idle_active:
            return self._idle_active[-1]
        return self._idle_flex[-1] if self._idle_flex else None

    def first_polling(self, now: float) -> Worker | None:
        """The idle worker that is to work next, of those that are in no pause; None where there is none."""
        for idle in (self._idle_active, self._idle_flex):
            for worker in reversed(idle):
                if worker.pauses_until <= now:
                    return worker
        return None

    def assign(self, worker: Worker, job: Job) -> None:
        """The worker has one job more in hand."""
        if not worker.jobs:
            self._unmark_idle(worker)
            self.running += 1
        worker.jobs.append(job)

    def release(self, worker: Worker, job: Job, now: float) -> None:
        """The worker has this job no longer in hand; without any it is idle."""
        worker.jobs.remove(job)
        if not worker.jobs:
            self.running -= 1
            self._mark_idle(worker, now)

    def add_worker(self, now: float, active: bool) -> Worker:
        """A worker that was not there before, starting."""
        letters = _ID_LETTERS[self._ids.integers(len(_ID_LETTERS), size=_ID_LENGTH)]
        worker = Worker("".join(letters.tolist()), active, [UpInterval(now)], starting=True)
        self.all_workers.append(worker)
        self.by_id[worker.id] = worker
        self.up += 1
        self.starting += 1
        return worker

    def start(self, now: float) -> tuple[Worker, StartKind]:
        """Starts one flex worker: one that stopped lately is revived."""
        if self._stopped:
            worker = self._stopped.pop()
            stopped_at = worker.shifts[-1].stopped_at
            if stopped_at is not None and now <= stopped_at + self._revived_within_s:
                worker.shifts.append(UpInterval(now))
                worker.starting = True
                self.up += 1
                self.starting += 1
                return worker, StartKind.REVIVED
            self._stopped.clear()
        return self.add_worker(now, active=False), StartKind.COLD

    def ready(self, worker: Worker, now: float) -> None:
        """The worker's start is over."""
        worker.starting = False
        self.starting -= 1
        self._mark_idle(worker, now)

    def next_stop_at(self) -> float:
        """When the worker that has been idle longest stops; infinite where none will."""
        return self._idle_flex[0].idle_since + self._idle_timeout_s if self._idle_flex else math.inf

    def stop(self, now: float) -> Worker:
        """Stops the flex worker that has been idle longest."""
        worker = self._idle_flex.popleft()
        self.up -= 1
        worker.shifts[-1].stopped_at = now
        self._stopped.append(worker)
        return worker

    def remove(self, worker: Worker, now: float) -> None:
        """The worker is gone, whatever it was at, and cannot be revived."""
        if worker.starting:
            worker.starting = False
            self.starting -= 1
        elif worker.jobs:
            worker.jobs.clear()
            self.running -= 1
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
