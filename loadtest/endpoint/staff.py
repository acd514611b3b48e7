"""Real workers, as the endpoint knows them: by what they ask for and tell, and by their silence.

A worker is up from its start, ready from its first take, and takes jobs only while a take of it is open.
"""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec
import numpy as np

from loadtest.endpoint.job import Job
from loadtest.endpoint.settings import EndpointSettings
from loadtest.endpoint.workers import Shift, Worker, worker_ids
from loadtest.wire import WorkerCounts

LEASE_S = 5.0
"""A worker that has not pinged for so long counts as lost; the SDK is told to ping each second."""
READY_WITHIN_S = 600.0
"""A worker that asks for no job for so long after its start counts as lost."""
STOP_WITHIN_S = 5.0
"""How long a handler may go on with a job that it was told to stop, before its worker is killed."""
BACK_OFF_S = (1.0, 30.0)
"""What a lost worker's replacement waits: the first after the last job that was done, doubling up to the second."""


class Leave(StrEnum):
    """Why a worker leaves, in words that end a sentence about it."""

    IDLE = "was idle for the idle timeout"
    REFRESH = "asked for a fresh worker"
    EXITED = "ended by itself"
    SILENT = "no longer pings"
    SLOW = "did not ask for a job in time"
    STUCK = "went on with a job that it was told to stop"

    @property
    def lost(self) -> bool:
        """Whether it is a fault, after which a replacement waits."""
        return self not in (Leave.IDLE, Leave.REFRESH)


class Hand(msgspec.Struct, eq=False):
    """A worker that is up. Times are epoch seconds.

    `wants` is how many jobs its open take asks for, `offered` what it got of them so far. `to_stop` are jobs that the
    stop channel has yet to tell; `stopping` are those which its handler may still run, and until when.
    """

    worker: Worker
    launch_at: float
    launched: bool = False
    ready: bool = False
    heard_at: float = -math.inf
    jobs: dict[str, Job] = {}
    wants: int = 0
    offered: list[Job] = []
    to_stop: list[str] = []
    stopping: dict[str, float] = {}
    leaving: bool = False

    @property
    def idle(self) -> bool:
        """Whether it is ready and has nothing to do."""
        return self.ready and not self.jobs and not self.stopping

    def due(self, idle_timeout_s: float) -> tuple[float, Leave | None]:
        """When it next does something by itself, and why it then leaves; None for its launch."""
        if not self.launched:
            return self.launch_at, None
        if not self.ready:
            return self.launch_at + READY_WITHIN_S, Leave.SLOW
        due = (self.heard_at + LEASE_S, Leave.SILENT)
        if self.stopping:
            due = min(due, (min(self.stopping.values()), Leave.STUCK))
        if self.idle and self.wants and not self.worker.active:
            due = min(due, (self.worker.idle_since + idle_timeout_s, Leave.IDLE))
        return due


class Staff:
    """All real workers. Of those with an open take an active one is given the job; of several the one with the
    fewest jobs, and of these the one that became idle last, so that the flex workers that are not needed can stop.
    """

    def __init__(self, settings: EndpointSettings, seed: int, start_at: float) -> None:
        self._max = settings.workers.max
        self._idle_timeout_s = settings.idle_timeout
        self._ids = worker_ids(np.random.default_rng(seed))
        self._up: dict[str, Hand] = {}
        self._losses = 0
        self.proven = False
        self.everyone: list[Worker] = []
        for _ in range(settings.workers.active):
            self.hire(start_at, active=True)

    @property
    def starting(self) -> int:
        """How many have not asked for a job yet."""
        return sum(not hand.ready for hand in self._up.values())

    @property
    def running(self) -> int:
        """How many are at work, or have not dropped yet what they were told to stop."""
        return sum(hand.ready and not hand.idle for hand in self._up.values())

    @property
    def jobs(self) -> int:
        """How many jobs they have."""
        return sum(len(hand.jobs) for hand in self._up.values())

    @property
    def up(self) -> int:
        """How many are starting, idle or running."""
        return len(self._up)

    @property
    def full(self) -> bool:
        """Whether no more may be started."""
        return self.up >= self._max

    def counts(self) -> WorkerCounts:
        """The workers by state; those that wait to replace a lost one count as unhealthy."""
        ready = sum(hand.ready for hand in self._up.values())
        launched = sum(hand.launched for hand in self._up.values())
        return WorkerCounts(ready - self.running, self.running, launched - ready, ready, 0, self.up - launched)

    def hand(self, worker_id: str) -> Hand | None:
        """The worker with this id; None where it is unknown or has left."""
        return self._up.get(worker_id)

    def holder(self, job: Job) -> Worker | None:
        """The worker that has this job."""
        hand = self._up.get(job.worker_id or "")
        return hand.worker if hand is not None and job.id in hand.jobs else None

    def engage(self, job: Job) -> Worker | None:
        """Gives the job to a worker whose take is open."""
        open_to = [hand for hand in self._up.values() if hand.wants > len(hand.offered) and not hand.leaving]
        if not open_to:
            return None
        hand = max(open_to, key=lambda each: (each.worker.active, -len(each.jobs), each.worker.idle_since))
        hand.jobs[job.id] = job
        hand.offered.append(job)
        return hand.worker

    def finish(self, worker: Worker, job: Job, now: float) -> None:
        """The job was taken from the worker, which is told to stop it where it had been given it."""
        hand = self._up[worker.id]
        if job in hand.offered:
            hand.offered.remove(job)
        else:
            hand.to_stop.append(job.id)
            hand.stopping[job.id] = now + STOP_WITHIN_S
        self.done(hand, job, now)

    def done(self, hand: Hand, job: Job, now: float) -> None:
        """The worker has the job no longer."""
        del hand.jobs[job.id]
        hand.worker.idle_since = now

    def succeeded(self) -> None:
        """A job came to its end on a worker: the next loss counts as the first."""
        self._losses = 0

    def start(self, now: float) -> tuple[Worker, float]:
        """Starts one flex worker; it is ready when it says so."""
        return self.hire(now, active=False), math.inf

    def hire(self, launch_at: float, active: bool) -> Worker:
        """A new worker, to be launched at this time, from when on it is billed."""
        worker = Worker(next(self._ids), active, [Shift(launch_at)])
        self.everyone.append(worker)
        self._up[worker.id] = Hand(worker, launch_at)
        return worker

    def ready(self, worker: Worker, now: float) -> None:
        """The worker's start is over: it has asked for a job."""
        hand = self._up[worker.id]
        hand.ready = self.proven = True
        hand.heard_at = worker.idle_since = now

    def heard(self, hand: Hand, running: set[str], now: float) -> None:
        """The worker pings, and runs these jobs; of what it was told to stop, the rest is stopped."""
        hand.heard_at = now
        for job_id in [each for each in hand.stopping if each not in running and each not in hand.to_stop]:
            self.stopped(hand, job_id, now)

    def stopped(self, hand: Hand, job_id: str, now: float) -> None:
        """The worker no longer runs a job that it was told to stop."""
        if hand.stopping.pop(job_id, None) is not None:
            hand.worker.idle_since = now

    def leave(self, hand: Hand, now: float) -> None:
        """The worker is up no longer."""
        del self._up[hand.worker.id]
        hand.worker.shifts[-1].stopped_at = max(now, hand.launch_at)

    def replace(self, hand: Hand, after_loss: bool, now: float) -> None:
        """Hires another in a worker's place: at once, or, after a loss, the later the more were lost in a row."""
        if after_loss:
            least_s, most_s = BACK_OFF_S
            now += min(most_s, least_s * 2.0 ** min(self._losses, 16))
            self._losses += 1
        self.hire(now, hand.worker.active)

    def next_due(self) -> tuple[float, Hand, Leave | None] | None:
        """The worker that next does something by itself, when, and why it then leaves; None for its launch."""
        dues = ((*hand.due(self._idle_timeout_s), hand) for hand in self._up.values())
        first = min(dues, key=lambda due: due[0], default=None)
        return None if first is None else (first[0], first[2], first[1])

    def next_stop_at(self) -> float:
        """When a worker next does something by itself; infinite where none will."""
        first = self.next_due()
        return math.inf if first is None else first[0]

    def stop(self, now: float) -> None:
        """Nothing: who leaves gives jobs back, which is the endpoint's to do."""
