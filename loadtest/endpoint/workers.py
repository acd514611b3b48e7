"""The workers: which are starting, idle and running, and since when each is paid for."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Protocol

import msgspec
import numpy as np

from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import EndpointSettings
from loadtest.endpoint.spread import endless
from loadtest.wire import WorkerCounts

_ID_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz0123456789"))
_ID_LENGTH = 14


class Shift(msgspec.Struct):
    """One stretch from start to stop, which is what is billed; epoch seconds, None while it lasts."""

    started_at: float
    stopped_at: float | None = None


class Worker(msgspec.Struct, eq=False):
    """A worker: active ones never stop. `shifts` are in order, more than one where it was revived."""

    id: str
    active: bool
    shifts: list[Shift]
    job: Job | None = None
    idle_since: float = math.inf


def worker_ids(rng: np.random.Generator) -> Iterator[str]:
    """Random ids like those of the live service: 14 lower-case letters and digits."""
    while True:
        yield "".join(_ID_LETTERS[rng.integers(len(_ID_LETTERS), size=_ID_LENGTH)].tolist())


class Workforce(Protocol):
    """What an endpoint and its scaler ask of the workers, whether simulated or real."""

    everyone: list[Worker]

    @property
    def starting(self) -> int:
        """How many have been started and are not ready yet."""
        ...

    @property
    def running(self) -> int:
        """How many are at work."""
        ...

    @property
    def jobs(self) -> int:
        """How many jobs they have."""
        ...

    @property
    def up(self) -> int:
        """How many are starting, idle or running."""
        ...

    @property
    def full(self) -> bool:
        """Whether no more may be started."""
        ...

    def counts(self) -> WorkerCounts:
        """The workers by state."""
        ...

    def engage(self, job: Job) -> Worker | None:
        """Gives the job to a worker that can take it now; None where there is none."""
        ...

    def finish(self, worker: Worker, job: Job, now: float) -> None:
        """The worker is rid of the job."""
        ...

    def start(self, now: float) -> tuple[Worker, float]:
        """Starts one flex worker; returns it and when it will be ready, infinite where that is not known."""
        ...

    def ready(self, worker: Worker, now: float) -> None:
        """The worker's start is over."""
        ...

    def next_stop_at(self) -> float:
        """When a worker next stops, or does something else by itself; infinite where none will."""
        ...

    def stop(self, now: float) -> None:
        """Carries out what `next_stop_at` told."""
        ...


class Fleet:
    """All workers. Active ones are warm and idle from the start; of the idle an active one works first,
    then the one that became idle last, so that the flex workers that are not needed can stop.
    """

    def __init__(self, settings: EndpointSettings, seed: np.random.SeedSequence, start_at: float) -> None:
        ids, cold, revivals = (np.random.default_rng(each) for each in seed.spawn(3))
        self._max = settings.workers.max
        self._idle_timeout_s = settings.idle_timeout
        self._revived_within_s = -math.inf if settings.revival is None else settings.revival.within
        self._ids = worker_ids(ids)
        self._cold_start_s = endless(settings.cold_start, cold)
        self._revival_s = None if settings.revival is None else endless(settings.revival.takes, revivals)
        self._idle_active: list[Worker] = []
        self._idle_flex: deque[Worker] = deque()
        self._stopped: list[Worker] = []
        self.everyone: list[Worker] = []
        self.starting = 0
        self.running = 0
        for _ in range(settings.workers.active):
            self.rest(self._hire(start_at, active=True), start_at)

    @property
    def idle(self) -> int:
        """How many wait for a job."""
        return len(self._idle_active) + len(self._idle_flex)

    @property
    def jobs(self) -> int:
        """How many jobs they have: one each that runs."""
        return self.running

    @property
    def up(self) -> int:
        """How many are starting, idle or running."""
        return self.starting + self.running + self.idle

    @property
    def full(self) -> bool:
        """Whether no more may be started."""
        return self.up >= self._max

    def counts(self) -> WorkerCounts:
        """The workers by state; `ready` counts all that are past their start: idle and running."""
        return WorkerCounts(self.idle, self.running, self.starting, self.idle + self.running)

    def engage(self, job: Job) -> Worker | None:
        """Gives the job to an idle worker; None where there is none."""
        if self._idle_active:
            worker = self._idle_active.pop()
        elif self._idle_flex:
            worker = self._idle_flex.pop()
        else:
            return None
        worker.job = job
        self.running += 1
        return worker

    def finish(self, worker: Worker, job: Job, now: float) -> None:
        """The worker is rid of its job, and idle."""
        worker.job = None
        self.running -= 1
        self.rest(worker, now)

    def start(self, now: float) -> tuple[Worker, float]:
        """Starts one flex worker; returns it and when it will be ready: revived if one stopped lately, else cold."""
        self.starting += 1
        if self._revival_s is not None and self._stopped:
            worker = self._stopped.pop()
            stopped_at = worker.shifts[-1].stopped_at
            if stopped_at is not None and now <= stopped_at + self._revived_within_s:
                worker.shifts.append(Shift(now))
                return worker, now + next(self._revival_s)
            self._stopped.clear()
        return self._hire(now, active=False), now + next(self._cold_start_s)

    def ready(self, worker: Worker, now: float) -> None:
        """The worker's start is over."""
        self.starting -= 1
        self.rest(worker, now)

    def rest(self, worker: Worker, now: float) -> None:
        """The worker waits for a job."""
        worker.idle_since = now
        (self._idle_active if worker.active else self._idle_flex).append(worker)

    def next_stop_at(self) -> float:
        """When the worker that has been idle longest stops; infinite where none will."""
        return self._idle_flex[0].idle_since + self._idle_timeout_s if self._idle_flex else math.inf

    def stop(self, now: float) -> None:
        """Stops the flex worker that has been idle longest."""
        worker = self._idle_flex.popleft()
        worker.shifts[-1].stopped_at = now
        self._stopped.append(worker)

    def _hire(self, now: float, active: bool) -> Worker:
        worker = Worker(next(self._ids), active, [Shift(now)])
        self.everyone.append(worker)
        return worker
