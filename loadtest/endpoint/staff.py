"""Real workers, as the endpoint knows them: by what they ask for and tell, and by their silence.

A worker is up from its launch, ready from its first take, and takes jobs only while a take of it is open. Their
keeper starts and ends them by the orders that `take_orders` gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain

from loadtest.endpoint.floor import Floor
from loadtest.endpoint.job import Job
from loadtest.endpoint.member import STOP_WITHIN_S, Do, Leave, Member, Order
from loadtest.endpoint.workers import Start, Worker
from loadtest.protocol import JobState
from loadtest.wire import Chunk, Submission
from loadtest.worker_wire import Result

FORGOTTEN_AFTER_S = 1.0
"""A suspended worker is ended by so much later than it can be revived for the last time."""
BACK_OFF_S = (1.0, 30.0)
"""How long a launch waits after a loss: the first after the last job that was done, doubling up to the second."""


class Staff:
    """All real workers that are up. Of those whose take is open an active one is given the job; of several the one
    with the fewest jobs, and of these the one that became idle last, so that flex workers not needed can stop.

    What a worker that has left says is passed over: its jobs are no longer its own. One that stopped for idleness is
    suspended for as long as it may be revived.
    """

    def __init__(self, revived_within_s: float = 0.0) -> None:
        self._revived_within_s = revived_within_s
        self._up: dict[str, Member] = {}
        self._suspended: dict[str, tuple[float, Worker]] = {}
        self._orders: list[Order] = []
        self._losses = 0
        self.proven = False
        """Whether a worker was ever ready, so that the handler can be started at all."""

    def take_orders(self) -> list[Order]:
        """What is to be done with workers since last asked, in order."""
        orders, self._orders = self._orders, []
        return orders

    def knows(self, worker_id: str) -> bool:
        """Whether such a worker is up."""
        return worker_id in self._up

    def called(self, worker_id: str) -> bool:
        """Whether a worker whose take is open has got jobs, or has left."""
        member = self._up.get(worker_id)
        return member is None or bool(member.offered)

    def warned(self, worker_id: str) -> bool:
        """Whether a worker is to stop jobs and was not told of yet, or has left."""
        member = self._up.get(worker_id)
        return member is None or bool(member.to_stop)

    def ask(self, floor: Floor, worker_id: str, jobs: int, busy: bool) -> None:
        """A worker opens a take for so many jobs; `busy` tells whether it runs any."""
        member = self._up.get(worker_id)
        if member is None:
            return
        member.wants = jobs
        if not busy:
            member.stopping.clear()
        if member.worker.starting:
            member.heard_at = floor.now
            self.proven = True
            floor.ready(member.worker)
        else:
            self.offered(floor)

    def collect(self, worker_id: str) -> list[Job]:
        """Closes a worker's take, and hands over the jobs that it got."""
        member = self._up.get(worker_id)
        if member is None:
            return []
        offered, member.offered, member.wants = member.offered, [], 0
        return offered

    def break_off(self, floor: Floor, worker_id: str) -> None:
        """A worker's take was broken off; where a job was on its way, nobody knows what became of it."""
        member = self._up.get(worker_id)
        if member is not None and self.collect(worker_id):
            self._let_go(floor, member, Leave.BROKEN)

    def jobs_to_stop(self, worker_id: str) -> list[str]:
        """The jobs that a worker is to stop and was not told of yet."""
        member = self._up.get(worker_id)
        if member is None:
            return []
        told, member.to_stop = member.to_stop, []
        return told

    def ping(self, worker_id: str, running: Iterable[str], now: float) -> None:
        """A worker lives and runs these jobs; of what it was to stop, the rest is stopped, and these are told anew.

        The SDK passes over what it is told within the first 0.1 s of a job (`jobs_tasks` of its JobScaler).
        """
        member = self._up.get(worker_id)
        if member is not None:
            member.heard_at = now
            untold_or_running = {*running, *member.to_stop}
            member.stopping = {job: at for job, at in member.stopping.items() if job in untold_or_running}
            member.to_stop = list(member.stopping)

    def post(self, floor: Floor, worker_id: str, job_id: str, chunk: Chunk) -> None:
        """A worker has a chunk of a job's output."""
        job = self._job_of(floor, worker_id, job_id)
        if job is not None:
            job.posted = job.posted or []
            job.posted.append((floor.now, chunk))

    def done(self, floor: Floor, worker_id: str, job_id: str, result: Result) -> None:
        """A worker has a job's result, or tells how far it is; of a job that was taken from it, that it stopped."""
        member, job = self._up.get(worker_id), self._job_of(floor, worker_id, job_id)
        if member is None:
            return
        if job is not None:
            job.output = result.output
        if result.status == JobState.IN_PROGRESS:
            return
        member.stopping.pop(job_id, None)
        if job is not None:
            self._losses = 0
            floor.fail(job, result.error) if result.failed else floor.complete(job, result.output)
        member.leaving = member.leaving or result.stop_worker
        if member.leaving and not member.worker.jobs:
            self._let_go(floor, member, Leave.REFRESH)

    def exited(self, floor: Floor, worker_id: str) -> None:
        """A worker's process has ended."""
        self._suspended.pop(worker_id, None)
        member = self._up.get(worker_id)
        if member is not None:
            self._let_go(floor, member, Leave.EXITED)

    def draw(self, job: Job, submission: Submission) -> None:
        """What a job will be is in its input; nothing else is known of it."""
        job.input = submission.input

    def redraw(self, job: Job) -> None:
        """It is the same job again."""

    def started(self, floor: Floor, worker: Worker, how: Start) -> None:
        """It is resumed where it was suspended; else launched, at once or later where workers were lost of late."""
        if self._suspended.pop(worker.id, None) is not None:
            self._up[worker.id] = Member(worker, floor.now, launched=True)
            self._orders.append(Order(worker, Do.RESUME))
            return
        least_s, most_s = BACK_OFF_S
        wait_s = min(most_s, least_s * 2.0 ** min(self._losses - 1, 16)) if self._losses else 0.0
        worker.shifts[-1].started_at = floor.now + wait_s
        self._up[worker.id] = Member(worker, floor.now + wait_s)

    def stopped(self, worker: Worker) -> None:
        """An idle worker is suspended, or is to end where none is ever revived."""
        del self._up[worker.id]
        stopped_at = worker.shifts[-1].stopped_at
        if self._revived_within_s > 0 and stopped_at is not None:
            self._suspended[worker.id] = (stopped_at + self._revived_within_s + FORGOTTEN_AFTER_S, worker)
        self._orders.append(Order(worker, Do.SUSPEND if worker.id in self._suspended else Do.END, Leave.IDLE))

    def offered(self, floor: Floor) -> None:
        """Jobs that wait go to workers whose take is open, until either run out."""
        while floor.waiting:
            open_to = [
                member for member in self._up.values() if member.wants > len(member.offered) and not member.leaving
            ]
            if not open_to:
                return
            member = max(
                open_to, key=lambda each: (each.worker.active, -len(each.worker.jobs), each.worker.idle_since)
            )
            job = floor.take(member.worker)
            if job is None:
                return
            member.offered.append(job)

    def dropped(self, floor: Floor, worker: Worker, job: Job) -> None:
        """The worker is told to stop it, unless it has yet to be given it."""
        member = self._up[worker.id]
        if job in member.offered:
            member.offered.remove(job)
        else:
            member.to_stop.append(job.id)
            member.stopping[job.id] = floor.now + STOP_WITHIN_S
        self.offered(floor)

    def chunks(self, job: Job, now: float) -> list[Chunk]:
        """The chunks that were posted since the last read."""
        posted = job.posted or []
        unread, job.chunks_read = [chunk for _, chunk in posted[job.chunks_read :]], len(posted)
        return unread

    def due_at(self) -> float:
        """When a worker is next to be launched, is lost, or can no longer be revived."""
        acting = (member.due()[0] for member in self._up.values())
        forgotten = (until for until, _ in self._suspended.values())
        return min(chain(acting, forgotten), default=math.inf)

    def act(self, floor: Floor) -> None:
        """The worker that is due is launched, counts as lost, or ends since it can no longer be revived."""
        until, worker = min(self._suspended.values(), key=lambda each: each[0], default=(math.inf, None))
        if worker is not None and until <= floor.now:
            del self._suspended[worker.id]
            self._orders.append(Order(worker, Do.END, Leave.IDLE))
            return
        member = min(self._up.values(), key=lambda each: each.due()[0])
        why = member.due()[1]
        if why is not None:
            self._let_go(floor, member, why)
        else:
            member.launched = True
            self._orders.append(Order(member.worker, Do.LAUNCH))

    def _job_of(self, floor: Floor, worker_id: str, job_id: str) -> Job | None:
        """A job that this worker has in hand."""
        member, job = self._up.get(worker_id), floor.jobs.get(job_id)
        return job if member is not None and job is not None and job in member.worker.jobs else None

    def _let_go(self, floor: Floor, member: Member, why: Leave) -> None:
        """A worker leaves, and gives back what it has."""
        del self._up[member.worker.id]
        self._losses += why.lost
        if why is not Leave.EXITED:
            self._orders.append(Order(member.worker, Do.END, why))
        floor.lose(member.worker)
