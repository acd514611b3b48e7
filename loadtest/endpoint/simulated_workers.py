"""Simulated workers: one with a free slot takes a job, at once or after its pause, and works for a drawn time."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import count

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadtest.endpoint.distributions import BLOCK, sample, sample_stream
from loadtest.endpoint.fleet import StartKind, Worker
from loadtest.endpoint.free_slots import FreeSlots
from loadtest.endpoint.job import Job
from loadtest.endpoint.processor_sharing import ProcessorSharing
from loadtest.endpoint.scheduler import JobScheduler
from loadtest.endpoint.settings import Chunks, EndpointSettings
from loadtest.protocol.client_messages import Chunk, Submission
from loadtest.protocol.json_values import encode_json

_HYPHEN, _VERSION = b"-4"
_VARIANTS = np.frombuffer(b"89ab", dtype=np.uint8)
_CHUNK_TIMES_PER_BLOCK = 2**16
_ZERO_METRICS = ("avg_gen_throughput", "avg_prompt_throughput", "cpu_kv_cache_usage", "gpu_kv_cache_usage")
_OTHER_METRICS = dict.fromkeys((*_ZERO_METRICS, "input_tokens", "pending"), 0) | {
    "running": 1,
    "scenario": "stream",
    "swapped": 0,
}
"""Metrics of a chunk, with the field names of the service's documentation, next to its tokens and its index."""


def uuids(rng: np.random.Generator) -> Iterator[str]:
    """Yield random UUIDs (version 4) as text."""
    text = np.full((BLOCK, 36), _HYPHEN, dtype=np.uint8)
    while True:
        drawn = rng.bytes(16 * BLOCK)
        digits = np.frombuffer(drawn.hex().encode(), dtype=np.uint8).reshape(BLOCK, 32)
        for first, last, hyphens in ((0, 8, 0), (8, 12, 1), (12, 16, 2), (16, 20, 3), (20, 32, 4)):
            text[:, first + hyphens : last + hyphens] = digits[:, first:last]
        text[:, 14] = _VERSION
        text[:, 19] = _VARIANTS[(np.frombuffer(drawn, dtype=np.uint8)[8::16] >> 4) % 4]
        yield from text.view("S36").ravel().astype(str).tolist()


def failures(rate: float, rng: np.random.Generator) -> Iterator[bool]:
    """Yield for each job whether it fails, with probability `rate`."""
    while True:
        yield from (rng.random(BLOCK) < rate).tolist()


def chunk_offsets(chunks: Chunks, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """Yield for each job when its chunks come, in seconds since a worker took it."""
    rows = max(1, _CHUNK_TIMES_PER_BLOCK // chunks.count)
    while True:
        gaps = sample(chunks.gap, rows * chunks.count, rng).reshape(rows, chunks.count)
        gaps[:, 0] = sample(chunks.first, rows, rng)
        yield from np.cumsum(gaps, axis=1)


def crashes(rate: float, rng: np.random.Generator) -> Iterator[float]:
    """Yield for each job the share of its time after which its worker dies, with probability `rate`; else inf."""
    while True:
        dies, share = rng.random((2, BLOCK))
        yield from np.where(dies < rate, share, np.inf).tolist()


class JobSampler:
    """Draws jobs: the n-th has the same service time, chunks and outcome whenever it comes."""

    def __init__(
        self,
        settings: EndpointSettings,
        times: np.random.SeedSequence,
        outcomes: np.random.SeedSequence,
        deaths: np.random.SeedSequence,
    ) -> None:
        rng = np.random.default_rng(times)
        fails = failures(settings.failure_rate, np.random.default_rng(outcomes))
        self._fails = fails if settings.failure_rate else None
        self._crashes = crashes(settings.crash_rate, np.random.default_rng(deaths)) if settings.crash_rate else None
        self._service_s = sample_stream(settings.service_time, rng)
        self._offsets = None if settings.chunks is None else chunk_offsets(settings.chunks, rng)

    def draw(self, job: Job) -> None:
        """Fill in the work of the next job."""
        if self._fails is not None:
            job.fails = next(self._fails)
        if self._offsets is None:
            job.service_s = next(self._service_s)
        else:
            job.chunk_offsets_s = next(self._offsets)
            job.service_s = float(job.chunk_offsets_s[-1])
        if self._crashes is not None:
            job.crashes_after_s = next(self._crashes) * job.service_s


class ChunkBodies:
    """The bodies of a job's chunks, each encoded once: the n-th chunk of every job is the same.

    `all` is the completed job's output, the list of its chunks' outputs.
    """

    def __init__(self, chunks: Chunks) -> None:
        self._tokens = chunks.tokens
        self._made: list[Chunk] = []
        self.all = msgspec.Raw(msgspec.json.encode([self._output(index) for index in range(1, chunks.count + 1)]))

    def between(self, first: int, end: int) -> list[Chunk]:
        """Return the chunks from index `first`, counted from 0, up to but without `end`."""
        for index in range(len(self._made) + 1, end + 1):
            output = msgspec.json.encode(self._output(index))
            metrics = {"output_tokens": self._tokens, "stream_index": index, **_OTHER_METRICS}
            self._made.append(Chunk(msgspec.Raw(output), msgspec.Raw(msgspec.json.encode(metrics))))
        return self._made[first:end]

    def _output(self, index: int) -> dict[str, object]:
        return {"text": [f" {index}"], "output_tokens": self._tokens, "input_tokens": 0}


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
        self._take_pause = settings.take_pause
        self._slowdowns = settings.slowdowns()
        self._free = FreeSlots(settings.workers.concurrency)
        self._shared: dict[Worker, ProcessorSharing] = {}
        self._due: list[tuple[float, int, Worker, Event]] = []
        self._order = count()

    def prepare(self, job: Job, submission: Submission) -> None:
        """Draw the job: the n-th submitted takes the same time and has the same outcome whenever it comes."""
        self._jobs.draw(job)

    def prepare_retry(self, job: Job) -> None:
        """Draw the retry from a stream of its own, so that later jobs are not changed by it."""
        self._retries.draw(job)

    def on_start(self, scheduler: JobScheduler, worker: Worker, how: StartKind) -> None:
        """Make a warm worker ready at once, others when their drawn start is over."""
        self._shared[worker] = ProcessorSharing(self._slowdowns)
        if how is StartKind.WARM:
            self._make_ready(scheduler, worker)
            return
        duration_s = next(self._revival_s if how is StartKind.REVIVED else self._cold_start_s)
        self._schedule(scheduler.now + duration_s, worker, _READY)

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
        self.on_stop(worker)
        worker.due = -1
        scheduler.worker_lost(worker)

    def chunks(self, job: Job, now: float) -> list[Chunk]:
        """Return the chunks whose time has come."""
        if job.chunk_at is None or self._chunks is None:
            return []
        until = now if job.finished_at is None else job.finished_at
        first, job.chunks_read = job.chunks_read, int(job.chunk_at.searchsorted(until, side="right"))
        return self._chunks.between(first, job.chunks_read)

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
        job = self._shared[worker].pop(scheduler.now)
        if job.crashes_after_s < job.service_s:
            self._lose(scheduler, worker)
            return
        if job.chunk_at is not None:
            np.minimum(job.chunk_at, scheduler.now, out=job.chunk_at)  # a sum of speeds may be off by its last digit
        scheduler.fail(job, _FAILURE) if job.fails else scheduler.complete(job, self._output)
        self._after(scheduler, worker, job)

    def _after(self, scheduler: JobScheduler, worker: Worker, job: Job) -> None:
        """Free the slot of a job that left its worker, at once or after a pause; the others may now be faster."""
        now, shared = scheduler.now, self._shared[worker]
        job.chunk_offsets_s = None
        if shared:
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

    def _schedule_next_end(self, worker: Worker, shared: ProcessorSharing) -> None:
        if self._chunks is not None and len(self._slowdowns) > 2:
            shared.update_chunks()
        worker.due = self._schedule(shared.next_end_at(), worker, _JOB_ENDS)

    def _schedule(self, at: float, worker: Worker, event: Event) -> int:
        order = next(self._order)
        heapq.heappush(self._due, (at, order, worker, event))
        return order
