"""The endpoint, whole: what clients may ask of it, its limits, and what happens in it by itself; time is an argument.

Every operation first carries out what was due until then, each thing at its own time, so that no result depends
on when somebody looked. Things due at the same time are done in this order: jobs that end and workers that get
ready (in the order in which that was known), deadlines, scaling, workers that stop, results that expire.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from loadtest.endpoint.fleet import Worker
from loadtest.endpoint.job import Job
from loadtest.endpoint.rate_limit import RateLimiter
from loadtest.endpoint.scheduler import JobScheduler, WorkerBackend
from loadtest.endpoint.settings import EndpointSettings
from loadtest.endpoint.simulated_workers import SimulatedWorkers, uuids
from loadtest.protocol.client_messages import Chunk, Health, Submission
from loadtest.protocol.operations import JobEvent, Op

EMPTY_SUBMISSION = Submission(msgspec.Raw(b"null"))
_RUNSYNC = Op.RUNSYNC  # looked up once, since an enumeration is slow at it


class Endpoint:
    """A model of one endpoint. Times are seconds since the epoch; one that lies before the last is taken as the last.

    The same settings, seed and calls give the same answers. Without `hands` the work is simulated; others reach the
    floor by `at`.
    """

    def __init__(
        self, settings: EndpointSettings, seed: int, start_at: float, backend: WorkerBackend | None = None
    ) -> None:
        jobs, workers = np.random.SeedSequence(seed).spawn(2)
        job_ids, times, fates, crashes, again = jobs.spawn(5)
        worker_ids, cold, revivals = workers.spawn(3)
        self._policy = settings.policy
        self._backend = backend or SimulatedWorkers(settings, (times, fates, crashes, again, cold, revivals))
        self._scheduler = JobScheduler(settings, self._backend, np.random.default_rng(worker_ids), start_at)
        self._ids = uuids(np.random.default_rng(job_ids))
        limits = ((op, settings.limit(op)) for op in Op)
        per_worker = settings.requests_per_worker
        self._gates = {op: RateLimiter(limit, per_worker.get(op, 0)) for op, limit in limits if limit is not None}
        self._quiet_until = -math.inf  # nothing is due before; as low as that once something may have changed it

    @property
    def workers(self) -> list[Worker]:
        """Every worker there has been, stopped ones included, with the shifts that are billed."""
        return self._scheduler.fleet.all_workers

    def advanced_to(self, now: float) -> JobScheduler:
        """The floor at this time, with everything done that was due; for one change, made before anything else."""
        self.advance(now)
        self._quiet_until = -math.inf
        return self._scheduler

    def admit(self, op: Op, now: float) -> float | None:
        """None where a request is within its limits, and then counts as concurrent; else seconds to wait."""
        gate = self._gates.get(op)
        return None if gate is None else gate.admit(max(now, self._scheduler.now), self._scheduler.fleet.running)

    def release(self, op: Op) -> None:
        """A request that was admitted has been answered."""
        gate = self._gates.get(op)
        if gate is not None:
            gate.release()

    def submit(self, op: Op, now: float, submission: Submission = EMPTY_SUBMISSION) -> Job:
        """A new job of `/run` or `/runsync`; an idle worker takes it at once, else it waits in the queue."""
        scheduler = self.advanced_to(now)
        job_id = next(self._ids)
        job = Job("sync-" + job_id if op is _RUNSYNC else job_id, op, scheduler.now, queued_at=scheduler.now)
        asked, default = submission.policy, self._policy
        job.execution_timeout_s, ttl_s = default.execution_timeout, default.ttl
        if asked is not None:
            job.low_priority = asked.low_priority
            if asked.execution_timeout_ms is not None:
                job.execution_timeout_s = asked.execution_timeout_ms / 1000
            if asked.ttl_ms is not None:
                ttl_s = asked.ttl_ms / 1000
        job.expires_at = scheduler.now + ttl_s
        job.webhook = submission.webhook
        self._backend.prepare(job, submission)
        scheduler.enqueue(job)
        return job

    def job(self, job_id: str, now: float) -> Job | None:
        """The job with this id; None where it is unknown or has expired."""
        self.advance(now)
        return self._scheduler.jobs.get(job_id)

    def read_stream(self, job_id: str, now: float) -> list[Chunk] | None:
        """The chunks that came since the last read; None where the job is unknown or has expired."""
        job = self.job(job_id, now)
        return None if job is None else self._backend.chunks(job, self._scheduler.now)

    def cancel(self, job_id: str, now: float) -> Job | None:
        """The job, now cancelled unless it had ended already; None where it is unknown or has expired."""
        job = self.job(job_id, now)
        if job is not None and not job.final:
            self.advanced_to(now).end_early(job, JobEvent.CANCELLED)
        return job

    def retry(self, job_id: str, now: float) -> Job | None:
        """The job, in the queue again where it is `retriable`; None where it is unknown or has expired.

        One that ended since `take_ended` was last asked is forgotten there: ask before.
        """
        job = self.job(job_id, now)
        if job is not None and job.retriable:
            self.advanced_to(now).retry(job)
        return job

    def purge(self, now: float) -> int:
        """Cancels all jobs that wait in the queue, and says how many; those in progress go on."""
        return self.advanced_to(now).purge()

    def health(self, now: float) -> Health:
        """Jobs since the start by what became of them, and workers by state."""
        self.advance(now)
        return self._scheduler.health()

    def unfinished(self) -> list[Job]:
        """The jobs that are in the queue or in progress, in the order of their submission."""
        return [job for job in self._scheduler.jobs.values() if not job.final]

    def drain_ended(self) -> list[Job]:
        """The jobs that reached a final state since last asked, in the order in which they did."""
        scheduler = self._scheduler
        ended, scheduler.ended = scheduler.ended, []
        return ended

    def next_event_at(self) -> float | None:
        """When the endpoint will next do something by itself; None where it waits for a request.

        That a chunk can be read is no event; `Job.next_chunk_at` tells when.
        """
        if self._quiet_until == -math.inf:
            self._quiet_until = min(self._backend.due_at(), self._scheduler.due_at())
        return None if self._quiet_until == math.inf else self._quiet_until

    def advance(self, now: float) -> None:
        """Carries out everything due up to and including `now`, each thing at its own time."""
        scheduler, backend = self._scheduler, self._backend
        while now >= self._quiet_until:
            at = backend.due_at()
            by_backend = at <= scheduler.next_due_at or at <= scheduler.due_at()
            if not by_backend:
                at = scheduler.next_due_at
            if at > now:
                self._quiet_until = at
                break
            scheduler.now = at
            if by_backend:
                backend.step(scheduler)
            else:
                scheduler.step()
        if now > scheduler.now:
            scheduler.now = now
