"""What goes on inside an endpoint at one moment: jobs that wait, workers that take them, the scaler between them.

Nothing here happens by itself: the endpoint moves `now` on and calls what is due, clients come in by the endpoint,
and those who do the work, simulated or real, come in by `ready`, `take`, `complete`, `fail` and `lose`.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

import msgspec
import numpy as np

from loadtest.endpoint.expiry import Deadlines, ResultStore
from loadtest.endpoint.fleet import Fleet, StartKind, Worker
from loadtest.endpoint.job import Job
from loadtest.endpoint.scaler import scaler_for
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.client_messages import Chunk, Health, JobCounts, Submission
from loadtest.protocol.operations import JobEvent, JobState

TIMED_OUT = msgspec.Raw(b'"executionTimeout exceeded"')
# To look a member up through its enumeration takes as long as to move a job does.
_IN_QUEUE = JobState.IN_QUEUE
_TAKEN, _COMPLETED = JobEvent.TAKEN, JobEvent.COMPLETED
WORKERS_DIED = msgspec.Raw(b'"the worker died, as often as such a job is tried"')


class WorkerBackend(Protocol):
    """Carries out what the floor decides; what comes of it is `ready`, `take`, `complete`, `fail`, `lose`.

    The floor calls these while it decides: they may note, ring or schedule, and only `offered`, `dropped`, `act`
    and, for warm ones, `started` may call the floor back.
    """

    def prepare(self, job: Job, submission: Submission) -> None:
        """A job was submitted: fill in what is known of the work that it will be."""
        ...

    def prepare_retry(self, job: Job) -> None:
        """The job will be tried once more."""
        ...

    def on_start(self, scheduler: JobScheduler, worker: Worker, how: StartKind) -> None:
        """A worker is to start; `Floor.ready` when it has."""
        ...

    def on_stop(self, worker: Worker) -> None:
        """A worker has been idle for so long that it is to stop; it takes no more jobs."""
        ...

    def on_work_available(self, scheduler: JobScheduler) -> None:
        """There are jobs that wait, or workers that rest, or both."""
        ...

    def on_job_revoked(self, scheduler: JobScheduler, worker: Worker, job: Job) -> None:
        """A job that the worker had in hand was cancelled or has timed out: what comes of it is of no use."""
        ...

    def chunks(self, job: Job, now: float) -> list[Chunk]:
        """The chunks of a job that came since they were last asked for."""
        ...

    def due_at(self) -> float:
        """When something is due that nobody will tell the floor; infinite where nothing is."""
        ...

    def step(self, scheduler: JobScheduler) -> None:
        """Carries out the one thing that is due now, at `floor.now`."""
        ...


class JobScheduler:
    """Jobs, workers and the scaler at the time `now`, in epoch seconds. Jobs are taken first come, first served.

    `waiting` is how many jobs are in the queue. Nothing that happens by itself is due before `quiet_until`; when it
    is, `due_at` tells.
    """

    def __init__(
        self, settings: EndpointSettings, backend: WorkerBackend, ids: np.random.Generator, now: float
    ) -> None:
        self.now = now
        self.waiting = 0
        self.next_due_at = -math.inf
        self.jobs: dict[str, Job] = {}
        self.ended: list[Job] = []
        self.fleet = Fleet(settings, ids)
        self.results = ResultStore(settings.retention)
        self.deadlines = Deadlines()
        self.scaler = scaler_for(settings.scaler)
        self._backend = backend
        self._overdue = JobEvent.TIMED_OUT if settings.policy.timeout_outcome == "TIMED_OUT" else JobEvent.FAILED
        self._tries = settings.tries
        self._queue: deque[Job] = deque()
        self._scaling = 0  # unfinished jobs that make workers start
        self._in_progress = 0
        self._completed = self._failed = self._retried = 0
        for _ in range(settings.workers.active):
            backend.on_start(self, self.fleet.add_worker(now, active=True), StartKind.WARM)

    def health(self) -> Health:
        """Jobs since the start by what became of them, and workers by state."""
        counts = JobCounts(self._completed, self._failed, self._in_progress, self.waiting, self._retried)
        return Health(counts, self.fleet.counts())

    def enqueue(self, job: Job) -> None:
        """A job comes in that is new, or as good as new."""
        self.jobs[job.id] = job
        self._scaling += not job.low_priority
        self._queue.append(job)
        self._push(job)

    def retry(self, job: Job) -> None:
        """A job that FAILED or TIMED_OUT is in the queue again, as if it came now; KeyError in any other state."""
        job.transition(JobEvent.RETRIED)
        job.expires_at += self.now - job.submitted_at
        job.submitted_at = self.now
        job.requeue(self.now)
        job.requeues = 0
        job.retries += 1
        self._retried += 1
        self._backend.prepare_retry(job)
        self.enqueue(job)

    def _push(self, job: Job) -> None:
        self.waiting += 1
        self._backend.on_work_available(self)
        if job.state is _IN_QUEUE:
            self._put_deadline(job, job.expires_at)
            if not job.low_priority:
                self._start(self.scaler.queued(job, self._scaling, self.fleet))
                self._notice(self.scaler.due_at())

    def ready(self, worker: Worker) -> None:
        """The worker's start is over: it may take jobs."""
        self.fleet.ready(worker, self.now)
        self._notice(self.fleet.next_stop_at())
        self._backend.on_work_available(self)

    def assign_next(self, worker: Worker) -> Job | None:
        """The job that has waited longest, in this worker's hands from now on; None where none waits."""
        queue = self._queue
        while queue:
            job = queue.popleft()
            if job.state is _IN_QUEUE:
                break
        else:
            return None
        self.waiting -= 1
        self._in_progress += 1
        self.scaler.dequeued(job)
        self._notice(self.scaler.due_at())
        self.fleet.assign(worker, job)
        job.transition(_TAKEN)
        job.taken_at = self.now
        job.worker_id = worker.id
        if job.service_s > job.execution_timeout_s:
            job.times_out_at = self.now + job.execution_timeout_s
            self._put_deadline(job, job.times_out_at)
        if self.now + job.service_s > job.expires_at:
            self._put_deadline(job, job.expires_at)
        return job

    def complete(self, job: Job, output: msgspec.Raw) -> None:
        """The worker that has the job is done with it."""
        job.output = output
        self._completed += 1
        self._end(job, _COMPLETED)

    def fail(self, job: Job, error: msgspec.Raw) -> None:
        """The worker that has the job could not do it."""
        job.error = error
        self._failed += 1
        self._end(job, JobEvent.FAILED)

    def worker_lost(self, worker: Worker) -> None:
        """The worker is gone, whatever it was at: its jobs wait anew, before all others, or fail when tried enough.

        An active one is replaced at once. So is any other where a job waits and no worker is starting: scalers take
        it that none stops then.
        """
        in_progress = list(worker.jobs)
        for job in in_progress:
            job.requeues += 1
            if job.requeues >= self._tries:
                self.fail(job, WORKERS_DIED)
        self.fleet.remove(worker, self.now)
        if worker.active:
            self._backend.on_start(self, self.fleet.add_worker(self.now, active=True), StartKind.COLD)
        for job in reversed(in_progress):
            if job.state is JobState.IN_PROGRESS:
                job.transition(JobEvent.GIVEN_BACK)
                self._in_progress -= 1
                self._retried += 1
                self._backend.prepare_retry(job)
                job.requeue(self.now)
                self._queue.appendleft(job)
                self._push(job)
        self._backend.on_work_available(self)
        if not self.fleet.starting and any(
            job.state is JobState.IN_QUEUE and not job.low_priority for job in self._queue
        ):
            self._start(1)

    def end_early(self, job: Job, event: JobEvent) -> None:
        """An unfinished job is cancelled, or its time is over; a worker that has it in hand is told."""
        worker = self.fleet.by_id[job.worker_id] if job.worker_id is not None else None
        self._end(job, event)
        if worker is not None:
            self._backend.on_job_revoked(self, worker, job)

    def purge(self) -> int:
        """Cancels all jobs that wait in the queue, and says how many; those in progress go on."""
        waiting = [job for job in self._queue if job.state is JobState.IN_QUEUE]
        self._queue.clear()
        for job in waiting:
            self.end_early(job, JobEvent.CANCELLED)
        return len(waiting)

    def due_at(self) -> float:
        """When something is due here; infinite where nothing is."""
        self.next_due_at = min(
            self.deadlines.due_at(), self.scaler.due_at(), self.fleet.next_stop_at(), self.results.due_at
        )
        return self.next_due_at

    def step(self) -> None:
        """Carries out one thing that is due now: deadlines come first, then scaling, then workers that stop."""
        if self.deadlines.due_at() == self.now:
            self._meet_deadline()
        elif self.scaler.due_at() == self.now:
            self._start(self.scaler.decide(self.fleet))
        elif self.fleet.next_stop_at() == self.now:
            self._backend.on_stop(self.fleet.stop(self.now))
        else:
            self._expire()

    def _meet_deadline(self) -> None:
        """The job whose deadline is now ends by it; one whose time to live is over is gone at once."""
        job = self.deadlines.pop()
        if self.now == job.expires_at:
            self.end_early(job, JobEvent.TIMED_OUT)
            del self.jobs[job.id]
        else:
            job.error = TIMED_OUT
            self._failed += self._overdue is JobEvent.FAILED
            self.end_early(job, self._overdue)

    def _expire(self) -> None:
        """The result that is due to be dropped is dropped, unless its job ended anew since."""
        job_id, ended_at = self.results.expire()
        job = self.jobs.get(job_id)
        if job is not None and job.finished_at == ended_at:
            del self.jobs[job_id]

    def _end(self, job: Job, event: JobEvent) -> None:
        if job.state is _IN_QUEUE:
            self.waiting -= 1
            self.scaler.dequeued(job)
            self._notice(self.scaler.due_at())
        elif job.worker_id is not None:
            self._in_progress -= 1
            self.fleet.release(self.fleet.by_id[job.worker_id], job, self.now)
            self._notice(self.fleet.next_stop_at())
        self._scaling -= not job.low_priority
        job.transition(event)
        job.finished_at = self.now
        self.ended.append(job)
        self.results.put(job, self.now)
        self._notice(self.results.due_at)

    def _put_deadline(self, job: Job, at: float) -> None:
        self.deadlines.put(job, at)
        self._notice(at)

    def _notice(self, at: float) -> None:
        """Something may be due at this time."""
        if at < self.next_due_at:
            self.next_due_at = at

    def _start(self, wanted: int) -> None:
        for _ in range(wanted):
            if self.fleet.full:
                return
            self._backend.on_start(self, *self.fleet.start(self.now))
