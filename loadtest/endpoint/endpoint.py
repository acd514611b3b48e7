"""A whole endpoint as a pure model: operations, limits, and what changes in it by itself; time is an argument.

Every operation first carries out everything that was due until then, each thing at its own time, so that no result
depends on when it was asked for. Things due at the same time are done in this order: jobs that end and workers that
become ready (in the order in which they were scheduled), deadlines, scaling, workers that stop, results that expire.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.endpoint.distributions import BLOCK, Distribution, sample
from loadtest.endpoint.fleet import Worker
from loadtest.endpoint.job import Job
from loadtest.endpoint.job_ids import uuids
from loadtest.endpoint.job_sampler import failures
from loadtest.endpoint.rate_limit import RateLimiter
from loadtest.endpoint.scheduler import JobScheduler, WorkerBackend
from loadtest.endpoint.settings import EndpointSettings
from loadtest.endpoint.simulated_workers import SimulatedWorkers
from loadtest.protocol.client_messages import Chunk, Health, Submission
from loadtest.protocol.operations import JobEvent, Op

EMPTY_SUBMISSION = Submission(msgspec.Raw(b"null"))
_RUNSYNC = Op.RUNSYNC  # a module constant, since access through the enum is slow


def _seeds(seed: int) -> tuple[list[np.random.SeedSequence], list[np.random.SeedSequence]]:
    """Return the seeds of all that is drawn for jobs, and for workers."""
    jobs, workers = np.random.SeedSequence(seed).spawn(2)
    return jobs.spawn(5), workers.spawn(3)


def job_seeds(seed: int) -> list[np.random.SeedSequence]:
    """Return the seeds of all that it draws for jobs: ids, times, failures, crashes, and the work of retries."""
    return _seeds(seed)[0]


def worker_seeds(seed: int) -> list[np.random.SeedSequence]:
    """Return the seeds of all that an endpoint with this seed draws for workers: ids, cold starts, revivals."""
    return _seeds(seed)[1]


def drawn_service_s(service: Distribution, seed: int, jobs: int) -> NDArray[np.float64]:
    """Return the times that an endpoint with this seed draws for its first jobs, each alone, in seconds."""
    rng = np.random.default_rng(_seeds(seed)[0][1])
    return np.concatenate([sample(service, BLOCK, rng) for _ in range(0, jobs, BLOCK)] or [np.empty(0)])[:jobs]


def drawn_failures(rate: float, seed: int, jobs: int) -> NDArray[np.bool_]:
    """Return which of its first jobs an endpoint with this seed lets fail, at a failure rate of 0 to 1."""
    return np.fromiter(failures(rate, np.random.default_rng(_seeds(seed)[0][2])), bool, jobs)


class Endpoint:
    """A model of one endpoint. Times are seconds since the epoch; a time before the last one counts as the last one.

    The same settings, seed and calls give the same responses; with `own_ids`, an endpoint started at another
    time gives other ids. Without a `backend` the work is simulated; other backends reach the scheduler by
    `advanced_to`.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        seed: int,
        start_at: float,
        backend: WorkerBackend | None = None,
        own_ids: bool = False,
    ) -> None:
        (job_ids, times, failures, crashes, retries), (worker_ids, cold, revivals) = _seeds(seed)
        self._policy = settings.policy
        self._backend = backend or SimulatedWorkers(settings, (times, failures, crashes, retries, cold, revivals))
        self._scheduler = JobScheduler(settings, self._backend, np.random.default_rng(worker_ids), start_at)
        drawn_from = [*job_ids.generate_state(2), int(start_at * 1e6)] if own_ids else job_ids
        self._ids = uuids(np.random.default_rng(drawn_from))
        limits = ((op, settings.limit(op)) for op in Op)
        per_worker = settings.requests_per_worker
        self._limiters = {op: RateLimiter(limit, per_worker.get(op, 0)) for op, limit in limits if limit is not None}
        self._quiet_until = -math.inf  # nothing is due before; unknown once the scheduler may have changed

    def __repr__(self) -> str:
        return f"<Endpoint {self._scheduler!r}>"

    @property
    def workers(self) -> list[Worker]:
        """Return every worker there has been, stopped ones included, with its intervals from start to stop."""
        return self._scheduler.fleet.all_workers

    def advanced_to(self, now: float) -> JobScheduler:
        """Return the scheduler at this time, with everything done that was due, for one change before other calls."""
        self.advance(now)
        self._quiet_until = -math.inf
        return self._scheduler

    def admit(self, op: Op, now: float) -> float | None:
        """Count a request within its limits and return None; if it is over a limit, return the seconds to wait."""
        if op not in self._limiters:
            return None
        return self._limiters[op].admit(max(now, self._scheduler.now), self._scheduler.fleet.running)

    def release(self, op: Op) -> None:
        """Count an admitted request as answered."""
        if op in self._limiters:
            self._limiters[op].release()

    def submit(self, op: Op, now: float, submission: Submission = EMPTY_SUBMISSION) -> Job:
        """Submit a job by the operation of this name; an idle worker takes it at once, else it waits in the queue."""
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
        """Return the job with this id; None if it is unknown or has expired."""
        self.advance(now)
        return self._scheduler.jobs.get(job_id)

    def read_stream(self, job_id: str, now: float) -> list[Chunk] | None:
        """Return the chunks since the last read; None if the job is unknown or has expired."""
        job = self.job(job_id, now)
        return None if job is None else self.unread_chunks(job, now)

    def unread_chunks(self, job: Job, now: float) -> list[Chunk]:
        """Return the chunks of a job since the last read, although its result may have expired."""
        self.advance(now)
        return self._backend.chunks(job, self._scheduler.now)

    def drain_rescheduled(self) -> list[Job]:
        """Return the jobs whose next chunks may come earlier than at the last call."""
        return self._backend.drain_rescheduled()

    def cancel(self, job_id: str, now: float) -> Job | None:
        """Cancel the job unless it has ended, and return it; None if it is unknown or has expired."""
        job = self.job(job_id, now)
        if job is not None and not job.final:
            self.advanced_to(now).end_early(job, JobEvent.CANCELLED)
        return job

    def retry(self, job_id: str, now: float) -> Job | None:
        """Put the job in the queue again if it is `retriable`, and return it; None if it is unknown or has expired.

        The job leaves the list of `drain_ended`: call that before, if the job ended since the last call.
        """
        job = self.job(job_id, now)
        if job is not None and job.retriable:
            self.advanced_to(now).retry(job)
        return job

    def purge(self, now: float) -> int:
        """Cancel all jobs in the queue and return how many; jobs in progress go on."""
        return self.advanced_to(now).purge()

    def health(self, now: float) -> Health:
        """Return the jobs since the start by state and outcome, and the workers by state."""
        self.advance(now)
        return self._scheduler.health()

    def unfinished(self) -> list[Job]:
        """Return the jobs in the queue or in progress, in the order of their submission."""
        return [job for job in self._scheduler.jobs.values() if not job.final]

    def drain_ended(self) -> list[Job]:
        """Return the jobs that ended since the last call, in the order in which they ended."""
        scheduler = self._scheduler
        ended, scheduler.ended = scheduler.ended, []
        return ended

    def next_due_at(self) -> float:
        """Return when the endpoint next changes by itself, chunks aside; infinite if it waits for a request."""
        if self._quiet_until == -math.inf:
            self._quiet_until = min(self._backend.next_due_at(), self._scheduler.next_due_at())
        return self._quiet_until

    def advance(self, now: float) -> None:
        """Carry out everything due up to and including `now`, each thing at its own time."""
        scheduler, backend = self._scheduler, self._backend
        while now >= self._quiet_until:
            at = backend.next_due_at()
            by_backend = at <= scheduler.quiet_until or at <= scheduler.next_due_at()
            self._quiet_until = at if by_backend else scheduler.quiet_until
            if self._quiet_until > now:
                break
            scheduler.now = self._quiet_until
            backend.step(scheduler) if by_backend else scheduler.step()
        if now > scheduler.now:
            scheduler.now = now
