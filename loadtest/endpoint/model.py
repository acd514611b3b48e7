"""The endpoint, whole: a queue, its workers, its scaler, its limits, what it keeps; time is an argument.

Jobs are taken first come, first served. Every operation first carries out what was due until then, each
thing at its own time, so that no result depends on when somebody looked. Things due at the same time are
done in this order: jobs that end and workers that get ready (in the order in which that was known),
scaling, workers that stop, results that expire.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from itertools import count

import msgspec
import numpy as np

from loadtest.endpoint.chunks import ChunkBodies
from loadtest.endpoint.job import Job, Order
from loadtest.endpoint.limits import Gate
from loadtest.endpoint.retention import Shelf
from loadtest.endpoint.scaler import scaler
from loadtest.endpoint.settings import EndpointSettings
from loadtest.endpoint.work import Work
from loadtest.endpoint.workers import Fleet, Worker, Workforce
from loadtest.protocol import JobEvent, JobState, Op
from loadtest.wire import ABSENT, Chunk, Health, JobCounts

_FAILURE = msgspec.Raw(b'"the simulated handler failed, as failure_rate asks"')


class Endpoint:
    """A model of one endpoint. Times are seconds since the epoch; one that lies before the last is taken as the last.

    The same settings, seed and calls give the same answers.
    """

    def __init__(
        self, settings: EndpointSettings, seed: int, start_at: float, workforce: Workforce | None = None
    ) -> None:
        work, workers = np.random.SeedSequence(seed).spawn(2)
        self._work = Work(settings, work)
        self._fleet: Workforce = workforce or Fleet(settings, workers, start_at)
        self._scaler = scaler(settings.scaler)
        self._shelf = Shelf(settings.retention)
        limits = ((op, settings.limit(op)) for op in Op)
        self._gates = {op: Gate(limit) for op, limit in limits if limit is not None}
        self._chunks = None if settings.chunks is None else ChunkBodies(settings.chunks)
        self._output = msgspec.Raw(msgspec.json.encode(settings.output)) if self._chunks is None else self._chunks.all
        self._now = start_at
        self._quiet_until = -math.inf  # nothing is due before; as low as that once a request may have changed it
        self._jobs: dict[str, Job] = {}
        self._queue: deque[Job] = deque()
        self._in_queue = 0
        self._completed = 0
        self._failed = 0
        self._retried = 0
        self._ended: list[Job] = []
        self._due: list[tuple[float, int, Worker, Job | None]] = []
        self._numbers = count()

    @property
    def workers(self) -> list[Worker]:
        """Every worker there has been, stopped ones included, with the shifts that are billed."""
        return self._fleet.everyone

    def admit(self, op: Op, now: float) -> float | None:
        """None where a request is within its limits, and then counts as concurrent; else seconds to wait."""
        gate = self._gates.get(op)
        return None if gate is None else gate.admit(max(now, self._now))

    def release(self, op: Op) -> None:
        """A request that was admitted has been answered."""
        gate = self._gates.get(op)
        if gate is not None:
            gate.release()

    def submit(self, op: Op, now: float, job_input: msgspec.Raw = ABSENT) -> Job:
        """A new job of `/run` or `/runsync`; an idle worker takes it at once, else it waits in the queue."""
        self.advance(now)
        self._quiet_until = -math.inf
        job = self._work.next_job(op, self._now)
        job.order = self._order(job_input)
        self._jobs[job.id] = job
        self._queue.append(job)
        self._in_queue += 1
        self._serve_queue()
        if job.state is JobState.IN_QUEUE:
            self._start_workers(self._scaler.queued(job, self._in_queue + self._fleet.jobs, self._fleet))
        return job

    def job(self, job_id: str, now: float) -> Job | None:
        """The job with this id; None where it is unknown or has expired."""
        self.advance(now)
        return self._jobs.get(job_id)

    def read_stream(self, job_id: str, now: float) -> list[Chunk] | None:
        """The chunks that came since the last read; None where the job is unknown or has expired."""
        self.advance(now)
        job = self._jobs.get(job_id)
        if job is None or job.chunk_at is None or self._chunks is None:
            return None if job is None else []
        until = self._now if job.finished_at is None else job.finished_at
        first, job.chunks_read = job.chunks_read, int(job.chunk_at.searchsorted(until, side="right"))
        return self._chunks.between(first, job.chunks_read)

    def cancel(self, job_id: str, now: float) -> Job | None:
        """The job, now cancelled unless it had ended already; None where it is unknown or has expired."""
        self.advance(now)
        job = self._jobs.get(job_id)
        if job is not None and not job.final:
            self._quiet_until = -math.inf
            worker = self._holder(job)
            self._cancel(job)
            if worker is not None:
                self._next_job(worker, job)
        return job

    def purge(self, now: float) -> int:
        """Cancels all jobs that wait in the queue, and says how many; those in progress go on."""
        self.advance(now)
        self._quiet_until = -math.inf
        waiting = [job for job in self._queue if job.state is JobState.IN_QUEUE]
        for job in waiting:
            self._cancel(job)
        self._queue.clear()
        return len(waiting)

    def health(self, now: float) -> Health:
        """Jobs since the start by what became of them, and workers by state."""
        self.advance(now)
        jobs = JobCounts(self._completed, self._failed, self._fleet.jobs, self._in_queue, self._retried)
        return Health(jobs, self._fleet.counts())

    def unfinished(self) -> list[Job]:
        """The jobs that are in the queue or in progress, in the order of their submission."""
        return [job for job in self._jobs.values() if not job.final]

    def take_ended(self) -> list[Job]:
        """The jobs that reached a final state since last asked, in the order in which they did."""
        ended, self._ended = self._ended, []
        return ended

    def next_event_at(self) -> float | None:
        """When the endpoint will next do something by itself; None where it waits for a request.

        That a chunk can be read is no event; `Job.next_chunk_at` tells when.
        """
        if self._quiet_until == -math.inf:
            due_at, scale_at = self._next_due_at(), self._scaler.due_at()
            self._quiet_until = min(due_at, scale_at, self._fleet.next_stop_at(), self._shelf.due_at())
        return None if self._quiet_until == math.inf else self._quiet_until

    def advance(self, now: float) -> None:
        """Carries out everything due up to and including `now`, each thing at its own time."""
        while now >= self._quiet_until:
            due_at, scale_at = self._next_due_at(), self._scaler.due_at()
            stop_at, expire_at = self._fleet.next_stop_at(), self._shelf.due_at()
            at = min(due_at, scale_at, stop_at, expire_at)
            if at > now:
                self._quiet_until = at
                break
            self._now = at
            if due_at == at:
                _, _, worker, job = heapq.heappop(self._due)
                self._ready(worker) if job is None else self._finish(worker, job)
            elif scale_at == at:
                self._start_workers(self._scaler.decide(self._fleet))
            elif stop_at == at:
                self._stop_workers(at)
            else:
                del self._jobs[self._shelf.expire()]
        self._now = max(self._now, now)

    def _next_due_at(self) -> float:
        due = self._due
        while due and due[0][3] is not due[0][2].job:
            heapq.heappop(due)
        return due[0][0] if due else math.inf

    def _order(self, job_input: msgspec.Raw) -> Order | None:
        """What a real worker is to be given; None where workers are simulated."""
        return None

    def _holder(self, job: Job) -> Worker | None:
        """The worker that has the job."""
        return next((worker for _, _, worker, running in self._due if running is job), None)

    def _begin(self, worker: Worker, job: Job) -> None:
        job.move(JobEvent.TAKEN)
        job.taken_at = self._now
        job.worker_id = worker.id
        if job.order is not None:
            return
        ends_at = self._now + job.service_s
        if job.chunk_offsets_s is not None:
            job.chunk_at = self._now + job.chunk_offsets_s
            job.chunk_offsets_s = None
            ends_at = float(job.chunk_at[-1])
        heapq.heappush(self._due, (ends_at, next(self._numbers), worker, job))

    def _finish(self, worker: Worker, job: Job) -> None:
        if job.fails:
            job.move(JobEvent.FAILED)
            job.error = _FAILURE
            self._failed += 1
        else:
            job.move(JobEvent.COMPLETED)
            job.output = self._output
            self._completed += 1
        self._end(job)
        self._next_job(worker, job)

    def _cancel(self, job: Job) -> None:
        if job.state is JobState.IN_QUEUE:
            self._in_queue -= 1
            self._scaler.left(job)
        job.move(JobEvent.CANCELLED)
        self._end(job)

    def _end(self, job: Job) -> None:
        job.finished_at = self._now
        self._ended.append(job)
        self._shelf.put(job, self._now)

    def _ready(self, worker: Worker) -> None:
        self._fleet.ready(worker, self._now)
        self._serve_queue()

    def _stop_workers(self, at: float) -> None:
        self._fleet.stop(at)

    def _next_job(self, worker: Worker, job: Job) -> None:
        self._fleet.finish(worker, job, self._now)
        self._serve_queue()

    def _serve_queue(self) -> None:
        """Gives waiting jobs, the oldest first, to idle workers until either run out."""
        queue = self._queue
        while queue:
            if queue[0].state is JobState.IN_QUEUE:
                worker = self._fleet.engage(queue[0])
                if worker is None:
                    return
                self._in_queue -= 1
                self._scaler.left(queue[0])
                self._begin(worker, queue[0])
            queue.popleft()

    def _start_workers(self, wanted: int) -> None:
        for _ in range(wanted):
            if self._fleet.full:
                return
            worker, ready_at = self._fleet.start(self._now)
            if ready_at < math.inf:
                heapq.heappush(self._due, (ready_at, next(self._numbers), worker, None))
