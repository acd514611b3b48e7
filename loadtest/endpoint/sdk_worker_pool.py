"""Real workers, as the endpoint knows them: by what they ask for and tell, and by their silence.

A worker is up from its launch, ready from its first take, and takes jobs only while a take of it is open. Their
keeper starts and ends them by the orders that `take_orders` gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain

from loadtest.endpoint.fleet import StartKind, Worker
from loadtest.endpoint.job import Job
from loadtest.endpoint.scheduler import JobScheduler
from loadtest.endpoint.sdk_worker import STOP_WITHIN_S, ExitReason, ProcessAction, ProcessCommand, SdkWorker
from loadtest.protocol.client_messages import Chunk, Submission
from loadtest.protocol.operations import JobState
from loadtest.protocol.worker_messages import Result

FORGOTTEN_AFTER_S = 1.0
"""A suspended worker is ended by so much later than it can be revived for the last time."""
BACK_OFF_S = (1.0, 30.0)
"""How long a launch waits after a loss: the first after the last job that was done, doubling up to the second."""


class SdkWorkerPool:
    """All real workers that are up. Of those whose take is open an active one is given the job; of several the one
    with the fewest jobs, and of these the one that became idle last, so that flex workers not needed can stop.

    What a worker that has left says is passed over: its jobs are no longer its own. One that stopped for idleness is
    suspended for as long as it may be revived.
    """

    def __init__(self, revived_within_s: float = 0.0) -> None:
        self._revived_within_s = revived_within_s
        self._up: dict[str, SdkWorker] = {}
        self._suspended: dict[str, tuple[float, Worker]] = {}
        self._orders: list[ProcessCommand] = []
        self._losses = 0
        self.ever_ready = False
        """Whether a worker was ever ready, so that the handler can be started at all."""

    def drain_commands(self) -> list[ProcessCommand]:
        """What is to be done with workers since last asked, in order."""
        orders, self._orders = self._orders, []
        return orders

    def is_registered(self, worker_id: str) -> bool:
        """Whether such a worker is up."""
        return worker_id in self._up

    def has_jobs_or_left(self, worker_id: str) -> bool:
        """Whether a worker whose take is open has got jobs, or has left."""
        sdk_worker = self._up.get(worker_id)
        return sdk_worker is None or bool(sdk_worker.assigned)

    def has_stop_requests(self, worker_id: str) -> bool:
        """Whether a worker is to stop jobs and was not told of yet, or has left."""
        sdk_worker = self._up.get(worker_id)
        return sdk_worker is None or bool(sdk_worker.stop_requests)

    def open_take(self, scheduler: JobScheduler, worker_id: str, jobs: int, busy: bool) -> None:
        """A worker opens a take for so many jobs; `busy` tells whether it runs any."""
        sdk_worker = self._up.get(worker_id)
        if sdk_worker is None:
            return
        sdk_worker.requested_jobs = jobs
        if not busy:
            sdk_worker.stopping.clear()
        if sdk_worker.worker.starting:
            sdk_worker.heard_at = scheduler.now
            self.ever_ready = True
            scheduler.ready(sdk_worker.worker)
        else:
            self.on_work_available(scheduler)

    def close_take(self, worker_id: str) -> list[Job]:
        """Closes a worker's take, and hands over the jobs that it got."""
        sdk_worker = self._up.get(worker_id)
        if sdk_worker is None:
            return []
        offered, sdk_worker.assigned, sdk_worker.requested_jobs = sdk_worker.assigned, [], 0
        return offered

    def take_disconnected(self, scheduler: JobScheduler, worker_id: str) -> None:
        """A worker's take was broken off; where a job was on its way, nobody knows what became of it."""
        sdk_worker = self._up.get(worker_id)
        if sdk_worker is not None and self.close_take(worker_id):
            self._remove(scheduler, sdk_worker, ExitReason.BROKEN)

    def jobs_to_stop(self, worker_id: str) -> list[str]:
        """The jobs that a worker is to stop and was not told of yet."""
        sdk_worker = self._up.get(worker_id)
        if sdk_worker is None:
            return []
        text, sdk_worker.stop_requests = sdk_worker.stop_requests, []
        return text

    def ping(self, worker_id: str, running: Iterable[str], now: float) -> None:
        """A worker lives and runs these jobs; of what it was to stop, the rest is stopped, and these are told anew.

        The SDK passes over what it is told within the first 0.1 s of a job (`jobs_tasks` of its JobScaler).
        """
        sdk_worker = self._up.get(worker_id)
        if sdk_worker is not None:
            sdk_worker.heard_at = now
            unknown_or_running = {*running, *sdk_worker.stop_requests}
            sdk_worker.stopping = {job: at for job, at in sdk_worker.stopping.items() if job in unknown_or_running}
            sdk_worker.stop_requests = list(sdk_worker.stopping)

    def add_chunk(self, scheduler: JobScheduler, worker_id: str, job_id: str, chunk: Chunk) -> None:
        """A worker has a chunk of a job's output."""
        job = self._job_of(scheduler, worker_id, job_id)
        if job is not None:
            job.posted = job.posted or []
            job.posted.append((scheduler.now, chunk))

    def job_result(self, scheduler: JobScheduler, worker_id: str, job_id: str, result: Result) -> None:
        """A worker has a job's result, or tells how far it is; of a job that was taken from it, that it stopped."""
        sdk_worker, job = self._up.get(worker_id), self._job_of(scheduler, worker_id, job_id)
        if sdk_worker is None:
            return
        if job is not None:
            job.output = result.output
        if result.status == JobState.IN_PROGRESS:
            return
        sdk_worker.stopping.pop(job_id, None)
        if job is not None:
            self._losses = 0
            scheduler.fail(job, result.error) if result.failed else scheduler.complete(job, result.output)
        sdk_worker.draining = sdk_worker.draining or result.stop_worker
        if sdk_worker.draining and not sdk_worker.worker.jobs:
            self._remove(scheduler, sdk_worker, ExitReason.REFRESH)

    def exited(self, scheduler: JobScheduler, worker_id: str) -> None:
        """A worker's process has ended."""
        self._suspended.pop(worker_id, None)
        sdk_worker = self._up.get(worker_id)
        if sdk_worker is not None:
            self._remove(scheduler, sdk_worker, ExitReason.EXITED)

    def prepare(self, job: Job, submission: Submission) -> None:
        """What a job will be is in its input; nothing else is known of it."""
        job.input = submission.input

    def prepare_retry(self, job: Job) -> None:
        """It is the same job again."""

    def on_start(self, scheduler: JobScheduler, worker: Worker, how: StartKind) -> None:
        """It is resumed where it was suspended; else launched, at once or later where workers were lost of late."""
        if self._suspended.pop(worker.id, None) is not None:
            self._up[worker.id] = SdkWorker(worker, scheduler.now, launched=True)
            self._orders.append(ProcessCommand(worker, ProcessAction.RESUME))
            return
        min_s, max_s = BACK_OFF_S
        wait_s = min(max_s, min_s * 2.0 ** min(self._losses - 1, 16)) if self._losses else 0.0
        worker.shifts[-1].started_at = scheduler.now + wait_s
        self._up[worker.id] = SdkWorker(worker, scheduler.now + wait_s)

    def on_stop(self, worker: Worker) -> None:
        """An idle worker is suspended, or is to end where none is ever revived."""
        del self._up[worker.id]
        stopped_at = worker.shifts[-1].stopped_at
        if self._revived_within_s > 0 and stopped_at is not None:
            self._suspended[worker.id] = (stopped_at + self._revived_within_s + FORGOTTEN_AFTER_S, worker)
        self._orders.append(
            ProcessCommand(
                worker, ProcessAction.SUSPEND if worker.id in self._suspended else ProcessAction.END, ExitReason.IDLE
            )
        )

    def on_work_available(self, scheduler: JobScheduler) -> None:
        """Jobs that wait go to workers whose take is open, until either run out."""
        while scheduler.waiting:
            open_to = [
                sdk_worker
                for sdk_worker in self._up.values()
                if sdk_worker.requested_jobs > len(sdk_worker.assigned) and not sdk_worker.draining
            ]
            if not open_to:
                return
            sdk_worker = max(
                open_to, key=lambda each: (each.worker.active, -len(each.worker.jobs), each.worker.idle_since)
            )
            job = scheduler.assign_next(sdk_worker.worker)
            if job is None:
                return
            sdk_worker.assigned.append(job)

    def on_job_revoked(self, scheduler: JobScheduler, worker: Worker, job: Job) -> None:
        """The worker is told to stop it, unless it has yet to be given it."""
        sdk_worker = self._up[worker.id]
        if job in sdk_worker.assigned:
            sdk_worker.assigned.remove(job)
        else:
            sdk_worker.stop_requests.append(job.id)
            sdk_worker.stopping[job.id] = scheduler.now + STOP_WITHIN_S
        self.on_work_available(scheduler)

    def chunks(self, job: Job, now: float) -> list[Chunk]:
        """The chunks that were posted since the last read."""
        posted = job.posted or []
        unread, job.chunks_read = [chunk for _, chunk in posted[job.chunks_read :]], len(posted)
        return unread

    def due_at(self) -> float:
        """When a worker is next to be launched, is lost, or can no longer be revived."""
        acting = (sdk_worker.due()[0] for sdk_worker in self._up.values())
        forgotten = (until for until, _ in self._suspended.values())
        return min(chain(acting, forgotten), default=math.inf)

    def step(self, scheduler: JobScheduler) -> None:
        """The worker that is due is launched, counts as lost, or ends since it can no longer be revived."""
        until, worker = min(self._suspended.values(), key=lambda each: each[0], default=(math.inf, None))
        if worker is not None and until <= scheduler.now:
            del self._suspended[worker.id]
            self._orders.append(ProcessCommand(worker, ProcessAction.END, ExitReason.IDLE))
            return
        sdk_worker = min(self._up.values(), key=lambda each: each.due()[0])
        why = sdk_worker.due()[1]
        if why is not None:
            self._remove(scheduler, sdk_worker, why)
        else:
            sdk_worker.launched = True
            self._orders.append(ProcessCommand(sdk_worker.worker, ProcessAction.LAUNCH))

    def _job_of(self, scheduler: JobScheduler, worker_id: str, job_id: str) -> Job | None:
        """A job that this worker has in hand."""
        sdk_worker, job = self._up.get(worker_id), scheduler.jobs.get(job_id)
        return job if sdk_worker is not None and job is not None and job in sdk_worker.worker.jobs else None

    def _remove(self, scheduler: JobScheduler, sdk_worker: SdkWorker, why: ExitReason) -> None:
        """A worker leaves, and gives back what it has."""
        del self._up[sdk_worker.worker.id]
        self._losses += why.lost
        if why is not ExitReason.EXITED:
            self._orders.append(ProcessCommand(sdk_worker.worker, ProcessAction.END, why))
        scheduler.worker_lost(sdk_worker.worker)
