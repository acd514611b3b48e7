"""The queue of an endpoint, its workers and its scaler at one moment.

Nothing here happens by itself. The endpoint moves `now` on and calls `step` for what is due; a backend, simulated or
real, reports on its workers by `ready`, `assign_next`, `complete`, `fail` and `worker_lost`.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

import msgspec
import numpy as np

from loadtest.endpoint.fleet import Fleet, StartKind, Worker
from loadtest.endpoint.job import Deadlines, Job, ResultStore
from loadtest.endpoint.scaler import scaler_for
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.client_messages import Chunk, Health, JobCounts, Submission
from loadtest.protocol.operations import JobEvent, JobState

TIMED_OUT = msgspec.Raw(b'"executionTimeout exceeded"')
# Module constants, since access through the enum takes as long as a job's transition.
_IN_QUEUE = JobState.IN_QUEUE
_TAKEN, _COMPLETED = JobEvent.TAKEN, JobEvent.COMPLETED
WORKERS_DIED = msgspec.Raw(b'"the worker died, as often as such a job is tried"')


class WorkerBackend(Protocol):
    """Carries out what the scheduler decides, which calls these methods while it decides.

    Only `on_work_available`, `on_job_revoked`, `on_timeout`, `step` and, for warm workers, `on_start` may call the
    scheduler back.
    """

    def prepare(self, job: Job, submission: Submission) -> None:
        """Fill in what is known of the work of a job that was just submitted."""

    def prepare_retry(self, job: Job) -> None:
        """Fill in the work of a job before it is tried once more."""

    def on_start(self, scheduler: JobScheduler, worker: Worker, how: StartKind) -> None:
        """Start a worker; call `JobScheduler.ready` when its start is over."""

    def on_stop(self, worker: Worker) -> None:
        """Stop a worker that was idle for the idle timeout; it takes no more jobs."""

    def on_work_available(self, scheduler: JobScheduler) -> None:
        """Give waiting jobs to idle workers, if there are both."""

    def on_job_revoked(self, scheduler: JobScheduler, worker: Worker, job: Job) -> None:
        """Stop a job of the worker after it was cancelled or timed out; its result is not used."""

    def on_timeout(self, scheduler: JobScheduler, worker: Worker) -> None:
        """Stop a worker at once, one of whose jobs timed out; call `JobScheduler.worker_lost` then."""

    def chunks(self, job: Job, now: float) -> list[Chunk]:
        """Return the chunks of a job since the last call."""

    def drain_rescheduled(self) -> list[Job]:
        """Return the jobs whose next chunks may come earlier than at the last call."""

    def next_due_at(self) -> float:
        """Return when a worker next does something that no client triggers; infinite if nothing is due."""

    def step(self, scheduler: JobScheduler) -> None:
        """Carry out the one thing that is due now, at `scheduler.now`."""


class JobScheduler:
    """Jobs, workers and the scaler at the time `now`, in epoch seconds. Jobs are taken first come, first served.

    `waiting` is the number of jobs in the queue. Nothing is due here before `quiet_until`.
    """

    def __init__(
        self, settings: EndpointSettings, backend: WorkerBackend, ids: np.random.Generator, now: float
    ) -> None:
        self.now = now
        self.quiet_until = -math.inf  # a lower bound, since computing `next_due_at` at each event is slow
        self.waiting = 0
        self.jobs: dict[str, Job] = {}
        self.ended: list[Job] = []
        self.fleet = Fleet(settings, ids)
        self.results = ResultStore(settings.retention)
        self.deadlines = Deadlines()
        self.scaler = scaler_for(settings.scaler)
        self._backend = backend
        self._timeout_event = JobEvent[settings.policy.timeout_outcome]
        self._timeout_stops_worker = settings.policy.timeout_stops_worker
        self._tries = settings.tries
        self._slowest = max(settings.slowdowns())
        self._queue: deque[Job] = deque()
        self._scaling = 0  # unfinished jobs that make workers start
        self._in_progress = 0
        self._completed = self._failed = self._retried = 0
        for _ in range(settings.workers.active):
            backend.on_start(self, self.fleet.add_worker(now, active=True), StartKind.WARM)

    def __repr__(self) -> str:
        jobs = f"{self.waiting} in queue, {self._in_progress} in progress"
        return f"<JobScheduler at {self.now:.3f}: {jobs}, {self.fleet!r}>"

    def health(self) -> Health:
        """Return the jobs since the start by state and outcome, and the workers by state."""
        counts = JobCounts(self._completed, self._failed, self._in_progress, self.waiting, self._retried)
        return Health(counts, self.fleet.counts(self.now))

    def enqueue(self, job: Job) -> None:
        """Put a job in the queue that is new, or is retried by a client."""
        self.jobs[job.id] = job
        self._scaling += not job.low_priority
        self._queue.append(job)
        self._push(job)

    def retry(self, job: Job) -> None:
        """Put a FAILED or TIMED_OUT job in the queue as if it came now; raises KeyError in any other state."""
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
                self._due_at(self.scaler.next_due_at())

    def ready(self, worker: Worker) -> None:
        """Let the worker take jobs: its start is over."""
        self.fleet.ready(worker, self.now)
        self._due_at(self.fleet.next_stop_at())
        self._backend.on_work_available(self)

    def assign_next(self, worker: Worker) -> Job | None:
        """Assign the job that has waited longest to this worker and return it; None if none waits."""
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
        self.fleet.assign(worker, job)
        job.transition(_TAKEN)
        job.taken_at = self.now
        job.worker_id = worker.id
        longest_s = job.service_s * self._slowest
        if longest_s > job.execution_timeout_s:
            job.times_out_at = self.now + job.execution_timeout_s
            self._put_deadline(job, job.times_out_at)
        if self.now + longest_s > job.expires_at:
            self._put_deadline(job, job.expires_at)
        return job

    def complete(self, job: Job, output: msgspec.Raw) -> None:
        """End a job with its output."""
        job.output = output
        self._completed += 1
        self._end(job, _COMPLETED)

    def fail(self, job: Job, error: msgspec.Raw) -> None:
        """End a job as FAILED with its error."""
        job.error = error
        self._failed += 1
        self._end(job, JobEvent.FAILED)

    def worker_lost(self, worker: Worker) -> None:
        """Remove a worker that died or was stopped; its jobs return to the front of the queue, or fail after enough
        tries.

        An active worker is replaced at once. So is any other if a job waits and no worker is starting, because
        scalers assume that no worker stops while a job waits.
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
        scaling = (job.state is _IN_QUEUE and not job.low_priority for job in self._queue)
        if not self.fleet.starting and any(scaling):
            self._start(1)

    def end_early(self, job: Job, event: JobEvent) -> None:
        """End an unfinished job by cancellation or a deadline; its worker, if any, is notified."""
        worker = self.fleet.by_id[job.worker_id] if job.worker_id is not None else None
        self._end(job, event)
        if worker is not None:
            self._backend.on_job_revoked(self, worker, job)

    def purge(self) -> int:
        """Cancel all jobs in the queue and return how many; jobs in progress go on."""
        waiting = [job for job in self._queue if job.state is JobState.IN_QUEUE]
        self._queue.clear()
        for job in waiting:
            self.end_early(job, JobEvent.CANCELLED)
        return len(waiting)

    def next_due_at(self) -> float:
        """Return when something is due here; infinite if nothing is."""
        self.quiet_until = min(
            self.deadlines.next_due_at(),
            self.scaler.next_due_at(),
            self.fleet.next_stop_at(),
            self.results.next_due_at(),
        )
        return self.quiet_until

    def step(self) -> None:
        """Carry out one thing that is due now: deadlines first, then scaling, stops of workers, expired results."""
        if self.deadlines.next_due_at() == self.now:
            self._end_by_deadline()
        elif self.scaler.next_due_at() == self.now:
            self._start(self.scaler.decide(self.fleet))
        elif self.fleet.next_stop_at() == self.now:
            self._backend.on_stop(self.fleet.stop(self.now))
        else:
            self._expire()

    def _end_by_deadline(self) -> None:
        """End the job whose deadline is now; a job whose time to live is over is removed at once.

        A job past its execution timeout may stop its worker.
        """
        job = self.deadlines.pop()
        if self.now == job.expires_at:
            self.end_early(job, JobEvent.TIMED_OUT)
            del self.jobs[job.id]
        else:
            self._time_out(job)

    def _time_out(self, job: Job) -> None:
        """End a job past its execution timeout; if that stops its worker, end others there that are past theirs."""
        stopped = self.fleet.by_id[job.worker_id] if self._timeout_stops_worker and job.worker_id else None
        ending = [job] if stopped is None else [each for each in stopped.jobs if each.times_out_at == self.now]
        for each in ending:
            each.error = TIMED_OUT
            self._failed += self._timeout_event is JobEvent.FAILED
            self.end_early(each, self._timeout_event) if stopped is None else self._end(each, self._timeout_event)
        if stopped is not None:
            self._backend.on_timeout(self, stopped)

    def _expire(self) -> None:
        """Remove the job whose result expires now, unless it ended again since."""
        job_id, ended_at = self.results.expire()
        job = self.jobs.get(job_id)
        if job is not None and job.finished_at == ended_at:
            del self.jobs[job_id]

    def _end(self, job: Job, event: JobEvent) -> None:
        if job.state is _IN_QUEUE:
            self.waiting -= 1
            self.scaler.dequeued(job)
        elif job.worker_id is not None:
            self._in_progress -= 1
            self.fleet.release(self.fleet.by_id[job.worker_id], job, self.now)
        self._scaling -= not job.low_priority
        job.transition(event)
        job.finished_at = self.now
        self.ended.append(job)
        self.results.put(job, self.now)
        self._due_at(min(self.fleet.next_stop_at(), self.results.next_due_at()))

    def _put_deadline(self, job: Job, at: float) -> None:
        self.deadlines.put(job, at)
        self._due_at(at)

    def _due_at(self, at: float) -> None:
        if at < self.quiet_until:
            self.quiet_until = at

    def _start(self, wanted: int) -> None:
        for _ in range(wanted):
            if self.fleet.full:
                return
            self._backend.on_start(self, *self.fleet.start(self.now))
