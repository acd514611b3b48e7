"""Real workers, as the endpoint knows them from their requests and their pings.

A worker is up from its launch, ready from its first take, and gets jobs only while a take of it is open. The owner of
its process carries out the commands that `drain_commands` returns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain

import msgspec

from loadtest.endpoint.fleet import StartKind, Worker
from loadtest.endpoint.job import Job
from loadtest.endpoint.scheduler import JobScheduler
from loadtest.endpoint.sdk_worker import STOP_WITHIN_S, ExitReason, ProcessAction, ProcessCommand, SdkWorker
from loadtest.protocol.client_messages import Chunk, Submission
from loadtest.protocol.operations import JobState
from loadtest.protocol.worker_messages import Result

FORGOTTEN_AFTER_S = 1.0  # a suspended worker is ended this much later than it can be revived for the last time
BACK_OFF_S = (1.0, 30.0)
"""The delay of a launch after a lost worker: the first since the last completed job, doubling up to the second."""


class SdkWorkerPool:
    """All real workers that are up.

    Of the workers whose take is open, an active one gets the next job; of several, the one with the fewest jobs; of
    these, the one that became idle last, so that flex workers that are not needed can stop. Requests of a worker that
    has left are ignored: its jobs belong to the scheduler again. A worker that stopped for idleness is suspended for
    as long as it may be revived.
    """

    def __init__(self, revived_within_s: float = 0.0) -> None:
        self._revived_within_s = revived_within_s
        self._up: dict[str, SdkWorker] = {}
        self._suspended: dict[str, tuple[float, Worker]] = {}
        self._commands: list[ProcessCommand] = []
        self._losses = 0
        self.ever_ready = False
        """Whether a worker was ever ready, which shows that the handler can be started at all."""

    def drain_commands(self) -> list[ProcessCommand]:
        """Return the commands for processes since the last call, in order."""
        commands, self._commands = self._commands, []
        return commands

    def is_registered(self, worker_id: str) -> bool:
        """Return whether a worker with this id is up."""
        return worker_id in self._up

    def has_jobs_or_left(self, worker_id: str) -> bool:
        """Return whether a worker whose take is open has jobs assigned, or has left."""
        sdk_worker = self._up.get(worker_id)
        return sdk_worker is None or bool(sdk_worker.assigned)

    def has_stop_requests(self, worker_id: str) -> bool:
        """Return whether a worker has stop requests that were not sent yet, or has left."""
        sdk_worker = self._up.get(worker_id)
        return sdk_worker is None or bool(sdk_worker.stop_requests)

    def open_take(self, scheduler: JobScheduler, worker_id: str, jobs: int, busy: bool) -> None:
        """Open a take of a worker for this many jobs; `busy` is whether it runs any."""
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
        """Close a worker's take and return the jobs assigned to it."""
        sdk_worker = self._up.get(worker_id)
        if sdk_worker is None:
            return []
        offered, sdk_worker.assigned, sdk_worker.requested_jobs = sdk_worker.assigned, [], 0
        return offered

    def take_disconnected(self, scheduler: JobScheduler, worker_id: str) -> None:
        """Close a take whose connection broke; a worker with jobs assigned is lost: they may not have arrived."""
        sdk_worker = self._up.get(worker_id)
        if sdk_worker is not None and self.close_take(worker_id):
            self._remove(scheduler, sdk_worker, ExitReason.BROKEN)

    def jobs_to_stop(self, worker_id: str) -> list[str]:
        """Return the jobs that a worker is to stop and that were not sent yet."""
        sdk_worker = self._up.get(worker_id)
        if sdk_worker is None:
            return []
        job_ids, sdk_worker.stop_requests = sdk_worker.stop_requests, []
        return job_ids

    def ping(self, worker_id: str, running: Iterable[str], now: float) -> None:
        """Renew a worker's lease; jobs that it was to stop and still runs are sent again, the others have stopped.

        The SDK ignores stop requests within the first 0.1 s of a job (`jobs_tasks` of its JobScaler).
        """
        sdk_worker = self._up.get(worker_id)
        if sdk_worker is not None:
            sdk_worker.heard_at = now
            unknown_or_running = {*running, *sdk_worker.stop_requests}
            sdk_worker.stopping = {job: at for job, at in sdk_worker.stopping.items() if job in unknown_or_running}
            sdk_worker.stop_requests = list(sdk_worker.stopping)

    def add_chunk(self, scheduler: JobScheduler, worker_id: str, job_id: str, chunk: Chunk) -> None:
        """Add a chunk of a job's output."""
        job = self._job_of(scheduler, worker_id, job_id)
        if job is not None:
            job.posted = job.posted or []
            job.posted.append((scheduler.now, chunk))

    def job_result(self, scheduler: JobScheduler, worker_id: str, job_id: str, result: Result) -> None:
        """Take a job's result or progress from a worker; note that a revoked job has stopped."""
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

    def fail_job(self, scheduler: JobScheduler, worker_id: str, job_id: str, error: msgspec.Raw) -> None:
        """End a job that a worker still runs as FAILED, and ask the worker to stop it."""
        job = self._job_of(scheduler, worker_id, job_id)
        if job is not None:
            scheduler.fail(job, error)
            self.on_job_revoked(scheduler, self._up[worker_id].worker, job)

    def exited(self, scheduler: JobScheduler, worker_id: str) -> None:
        """Remove a worker whose process has ended."""
        self._suspended.pop(worker_id, None)
        sdk_worker = self._up.get(worker_id)
        if sdk_worker is not None:
            self._remove(scheduler, sdk_worker, ExitReason.EXITED)

    def prepare(self, job: Job, submission: Submission) -> None:
        """Keep the job's input; nothing else is known of its work."""
        job.input = submission.input

    def prepare_retry(self, job: Job) -> None:
        """Do nothing: the retry is the same job."""

    def on_start(self, scheduler: JobScheduler, worker: Worker, how: StartKind) -> None:
        """Resume the worker if it is suspended; otherwise launch it, later if workers were lost recently."""
        if self._suspended.pop(worker.id, None) is not None:
            self._up[worker.id] = SdkWorker(worker, scheduler.now, launched=True)
            self._commands.append(ProcessCommand(worker, ProcessAction.RESUME))
            return
        min_s, max_s = BACK_OFF_S
        wait_s = min(max_s, min_s * 2.0 ** min(self._losses - 1, 16)) if self._losses else 0.0
        worker.shifts[-1].started_at = scheduler.now + wait_s
        self._up[worker.id] = SdkWorker(worker, scheduler.now + wait_s)

    def on_stop(self, worker: Worker) -> None:
        """Suspend an idle worker, or end it if workers are never revived."""
        del self._up[worker.id]
        stopped_at = worker.shifts[-1].stopped_at
        if self._revived_within_s > 0 and stopped_at is not None:
            self._suspended[worker.id] = (stopped_at + self._revived_within_s + FORGOTTEN_AFTER_S, worker)
        action = ProcessAction.SUSPEND if worker.id in self._suspended else ProcessAction.END
        self._commands.append(ProcessCommand(worker, action, ExitReason.IDLE))

    def on_work_available(self, scheduler: JobScheduler) -> None:
        """Assign waiting jobs to workers whose take is open, until either run out."""
        while scheduler.waiting:
            candidates = [
                sdk_worker
                for sdk_worker in self._up.values()
                if sdk_worker.requested_jobs > len(sdk_worker.assigned) and not sdk_worker.draining
            ]
            if not candidates:
                return
            sdk_worker = max(
                candidates, key=lambda each: (each.worker.active, -len(each.worker.jobs), each.worker.idle_since)
            )
            job = scheduler.assign_next(sdk_worker.worker)
            if job is None:
                return
            sdk_worker.assigned.append(job)

    def on_job_revoked(self, scheduler: JobScheduler, worker: Worker, job: Job) -> None:
        """Ask the worker to stop the job, unless the job has not been sent to it yet."""
        sdk_worker = self._up[worker.id]
        if job in sdk_worker.assigned:
            sdk_worker.assigned.remove(job)
        else:
            sdk_worker.stop_requests.append(job.id)
            sdk_worker.stopping[job.id] = scheduler.now + STOP_WITHIN_S
        self.on_work_available(scheduler)

    def on_timeout(self, scheduler: JobScheduler, worker: Worker) -> None:
        """End the worker's process at once: it goes on with a job that has timed out."""
        self._remove(scheduler, self._up[worker.id], ExitReason.OVERDUE)

    def chunks(self, job: Job, now: float) -> list[Chunk]:
        """Return the chunks posted since the last read."""
        posted = job.posted or []
        unread, job.chunks_read = [chunk for _, chunk in posted[job.chunks_read :]], len(posted)
        return unread

    def drain_rescheduled(self) -> list[Job]:
        """Return no jobs: the times of chunks are not known in advance."""
        return []

    def next_due_at(self) -> float:
        """Return when a worker is next to be launched, counts as lost, or can no longer be revived."""
        acting = (sdk_worker.due()[0] for sdk_worker in self._up.values())
        forgotten = (until for until, _ in self._suspended.values())
        return min(chain(acting, forgotten), default=math.inf)

    def step(self, scheduler: JobScheduler) -> None:
        """Launch the worker that is due, count it as lost, or end it if it can no longer be revived."""
        until, worker = min(self._suspended.values(), key=lambda each: each[0], default=(math.inf, None))
        if worker is not None and until <= scheduler.now:
            del self._suspended[worker.id]
            self._commands.append(ProcessCommand(worker, ProcessAction.END, ExitReason.IDLE))
            return
        sdk_worker = min(self._up.values(), key=lambda each: each.due()[0])
        why = sdk_worker.due()[1]
        if why is not None:
            self._remove(scheduler, sdk_worker, why)
        else:
            sdk_worker.launched = True
            self._commands.append(ProcessCommand(sdk_worker.worker, ProcessAction.LAUNCH))

    def _job_of(self, scheduler: JobScheduler, worker_id: str, job_id: str) -> Job | None:
        """Return a job if this worker has it."""
        sdk_worker, job = self._up.get(worker_id), scheduler.jobs.get(job_id)
        return job if sdk_worker is not None and job is not None and job in sdk_worker.worker.jobs else None

    def _remove(self, scheduler: JobScheduler, sdk_worker: SdkWorker, why: ExitReason) -> None:
        """Remove a worker; its jobs return to the scheduler."""
        del self._up[sdk_worker.worker.id]
        self._losses += why.lost
        if why is not ExitReason.EXITED:
            self._commands.append(ProcessCommand(sdk_worker.worker, ProcessAction.END, why))
        scheduler.worker_lost(sdk_worker.worker)
