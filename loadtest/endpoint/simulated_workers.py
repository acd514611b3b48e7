"""Simulated workers: one with a free slot takes a job, at once or after its pause, and works for a drawn time."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from enum import Enum
from itertools import count

import msgspec
import numpy as np

from loadtest.endpoint.chunk_bodies import ChunkBodies
from loadtest.endpoint.completion import read_completion
from loadtest.endpoint.distributions import sample_stream
from loadtest.endpoint.fleet import StartKind, Worker
from loadtest.endpoint.free_slots import FreeSlots
from loadtest.endpoint.job import Job
from loadtest.endpoint.job_sampler import JobSampler
from loadtest.endpoint.processor_sharing import ProcessorSharing
from loadtest.endpoint.scheduler import JobScheduler
from loadtest.endpoint.settings import EndpointSettings
from loadtest.endpoint.slowdown import slowdown_factors
from loadtest.endpoint.token_sharing import TokenSharing
from loadtest.protocol.client_messages import ABSENT, Chunk, Submission
from loadtest.protocol.json_values import encode_json

_FAILURE = msgspec.Raw(b'"the simulated handler failed, as failure_rate asks"')


class Event(Enum):
    """What a simulated worker does next by itself."""

    READY = "ready"
    JOB_ENDS = "job ends"
    SLOT_FREE = "slot free"


# Module constants, since access through the enum is slow.
_READY, _JOB_ENDS, _SLOT_FREE = Event


class SimulatedWorkers:
    """The backend of a purely simulated endpoint: the end of each start is known when it begins, and that of a job
    as long as its worker's jobs stay the same.
    """

    def __init__(self, settings: EndpointSettings, seeds: Sequence[np.random.SeedSequence]) -> None:
        times, outcomes, crashes, retries, cold, revivals = seeds
        self._jobs = JobSampler(settings, times, outcomes, crashes)
        self._retries = JobSampler(settings, *retries.spawn(3))
        self._cold_start_s = sample_stream(settings.cold_start, np.random.default_rng(cold))
        revival = settings.cold_start if settings.revival is None else settings.revival.duration
        self._revival_s = sample_stream(revival, np.random.default_rng(revivals))
        self._chunks = None if settings.chunks is None else ChunkBodies(settings.chunks)
        self._output = msgspec.Raw(encode_json(settings.output)) if self._chunks is None else self._chunks.all
        if settings.llm is not None:
            self._output = ABSENT  # each job has its own
        self._take_pause = settings.take_pause
        self._slowdowns = settings.slowdowns()
        self._llm = settings.llm
        self._changes_chunks = settings.llm is not None or (self._chunks is not None and len(self._slowdowns) > 2)
        self._rescheduled: set[Worker] = set()
        self._free = FreeSlots(settings.workers.concurrency)
        self._shared: dict[Worker, ProcessorSharing | TokenSharing] = {}
        self._due: list[tuple[float, int, Worker, Event]] = []
        self._order = count()

    def prepare(self, job: Job, submission: Submission) -> None:
        """Draw the job: the n-th submitted takes the same time and has the same outcome whenever it comes."""
        if self._llm is not None:
            job.completion = read_completion(submission.input, self._llm)
        self._jobs.draw(job)

    def prepare_retry(self, job: Job) -> None:
        """Draw the retry from a stream of its own, so that later jobs are not changed by it."""
        self._retries.draw(job)

    def on_start(self, scheduler: JobScheduler, worker: Worker, how: StartKind) -> None:
        """Make a warm worker ready at once, others when their drawn start is over."""
        self._shared[worker] = self._sharing()
        if how is StartKind.WARM:
            self._make_ready(scheduler, worker)
            return
        duration_s = next(self._revival_s if how is StartKind.REVIVED else self._cold_start_s)
        self._schedule(scheduler.now + duration_s, worker, _READY)

    def _sharing(self) -> ProcessorSharing | TokenSharing:
        if self._llm is None:
            return ProcessorSharing(self._slowdowns)
        slowdowns, concurrency = (self._llm.prefill_slowdown, self._llm.decode_slowdown), len(self._slowdowns) - 1
        return TokenSharing(*(slowdown_factors(each, concurrency) for each in slowdowns))

    def on_stop(self, worker: Worker) -> None:
        """Forget a worker that stops."""
        self._free.remove(worker)
        del self._shared[worker]

    def on_work_available(self, scheduler: JobScheduler) -> None:
        """Assign waiting jobs to workers with a free slot, until either run out."""
        while scheduler.waiting:
            worker = self._free.first()
            job = None if worker is None else scheduler.assign_next(worker)
            if worker is None or job is None:
                return
            self._begin(worker, job, scheduler.now)

    def on_job_revoked(self, scheduler: JobScheduler, worker: Worker, job: Job) -> None:
        """Stop the job at once and free the worker, as if the job were done."""
        self._shared[worker].remove(job, scheduler.now)
        self._after(scheduler, worker, job)

    def on_timeout(self, scheduler: JobScheduler, worker: Worker) -> None:
        """Stop the worker at once, whatever else it does."""
        self._lose(scheduler, worker)

    def _lose(self, scheduler: JobScheduler, worker: Worker) -> None:
        shared = self._shared[worker]
        if isinstance(shared, TokenSharing):
            shared.stop(scheduler.now)
        self.on_stop(worker)
        worker.due = -1
        scheduler.worker_lost(worker)

    def chunks(self, job: Job, now: float) -> list[Chunk]:
        """Return the chunks whose time has come."""
        until, first = now if job.finished_at is None else job.finished_at, job.chunks_read
        if job.tokens is not None:
            job.chunks_read = job.tokens.due(until)
        elif job.chunk_at is not None:
            job.chunks_read = int(job.chunk_at.searchsorted(until, side="right"))
        if job.completion is not None and job.taken_at is not None:
            return job.completion.chunks(job.id, int(job.taken_at), first, job.chunks_read)
        return [] if self._chunks is None else self._chunks.between(first, job.chunks_read)

    def drain_rescheduled(self) -> list[Job]:
        """Return the jobs whose next chunks may come earlier than at the last call."""
        if not self._rescheduled:
            return []
        workers, self._rescheduled = self._rescheduled, set()
        return [job for worker in workers for job in worker.jobs]

    def next_due_at(self) -> float:
        """Return when the next start, job or pause is over."""
        due = self._due
        while due and self._outdated(*due[0]):
            heapq.heappop(due)
        return due[0][0] if due else math.inf

    def step(self, scheduler: JobScheduler) -> None:
        """Make a worker ready, end its next job, let it die of that, or end a pause after a job."""
        _, _, worker, event = heapq.heappop(self._due)
        if event is _JOB_ENDS:
            self._end_job(scheduler, worker)
        elif event is _READY:
            self._make_ready(scheduler, worker)
        else:
            self._free.release(worker)
            self.on_work_available(scheduler)

    def _outdated(self, _: float, order: int, worker: Worker, event: Event) -> bool:
        return worker.due != order if event is _JOB_ENDS else worker not in self._shared

    def _make_ready(self, scheduler: JobScheduler, worker: Worker) -> None:
        self._free.add(worker)
        scheduler.ready(worker)

    def _begin(self, worker: Worker, job: Job, now: float) -> None:
        self._free.occupy(worker)
        if job.chunk_offsets_s is not None:
            job.chunk_at = now + job.chunk_offsets_s
        shared = self._shared[worker]
        shared.add(job, min(job.service_s, job.crashes_after_s), now)
        self._schedule_next_end(worker, shared)

    def _end_job(self, scheduler: JobScheduler, worker: Worker) -> None:
        shared = self._shared[worker]
        job = shared.pop(scheduler.now)
        if job is None:  # its first token has come
            self._rescheduled.add(worker)
            self._schedule_next_end(worker, shared)
            return
        if job.crashes_after_s < job.service_s:
            self._lose(scheduler, worker)
            return
        if job.chunk_at is not None:
            np.minimum(job.chunk_at, scheduler.now, out=job.chunk_at)  # a sum of speeds may be off by its last digit
        self._report(scheduler, job)
        self._after(scheduler, worker, job)

    def _report(self, scheduler: JobScheduler, job: Job) -> None:
        """Complete a job whose time is over, or fail it."""
        completion = job.completion
        if job.fails:
            scheduler.fail(job, _FAILURE)
        elif completion is not None and completion.error is not None:
            scheduler.fail(job, msgspec.Raw(msgspec.json.encode(completion.error)))
        else:
            if completion is not None and not completion.stream:
                job.chunk_at = np.array([scheduler.now])  # the whole answer is one chunk
            scheduler.complete(job, self._output)

    def _after(self, scheduler: JobScheduler, worker: Worker, job: Job) -> None:
        """Free the slot of a job that left its worker, at once or after a pause; the others may now be faster."""
        now, shared = scheduler.now, self._shared[worker]
        job.chunk_offsets_s = None
        if shared:
            if self._changes_chunks:
                self._rescheduled.add(worker)
            self._schedule_next_end(worker, shared)
        else:
            worker.due = -1
        free_at = now
        if self._take_pause.pauses and job.taken_at is not None:
            free_at = job.taken_at + self._take_pause.occupancy_s(now - job.taken_at)
        if free_at > now:
            self._schedule(free_at, worker, _SLOT_FREE)
        else:
            self._free.release(worker)
        self.on_work_available(scheduler)

    def _schedule_next_end(self, worker: Worker, shared: ProcessorSharing | TokenSharing) -> None:
        if self._changes_chunks and isinstance(shared, ProcessorSharing):
            shared.update_chunks()
        worker.due = self._schedule(shared.next_end_at(), worker, _JOB_ENDS)

    def _schedule(self, at: float, worker: Worker, event: Event) -> int:
        order = next(self._order)
        heapq.heappush(self._due, (at, order, worker, event))
        return order
