"""An endpoint whose jobs are all known in advance, and ended by nothing but a worker, at twice the speed.

The workers, the scaler and the slots are those of the whole model. What is left out is what such jobs do not need:
ids, calls between submissions, deadlines, chunks and results. The times are the same to the last digit.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import numpy as np

from loadtest.endpoint.distributions import sample_stream
from loadtest.endpoint.endpoint import drawn_failures, drawn_service_s, job_seeds, worker_seeds
from loadtest.endpoint.fleet import Fleet, StartKind, Worker
from loadtest.endpoint.free_slots import FreeSlots
from loadtest.endpoint.job import Job
from loadtest.endpoint.job_sampler import JobSampler, crashes
from loadtest.endpoint.processor_sharing import ProcessorSharing
from loadtest.endpoint.scaler import scaler_for
from loadtest.endpoint.settings import EndpointSettings
from loadtest.protocol.operations import JobState, Op

_READY, _JOB_ENDS, _SLOT_FREE = range(3)
# Module constants, since access through the enum is slow.
_RUN, _IN_QUEUE, _IN_PROGRESS = Op.RUN, JobState.IN_QUEUE, JobState.IN_PROGRESS
_COMPLETED, _FAILED = JobState.COMPLETED, JobState.FAILED
_WORKERS = {"workers", "slowdown", "scaler", "idle_timeout", "take_pause", "cold_start", "revival"}
_JOBS = {"service", "failure_rate", "crash_rate", "tries"}
_LIMITS = {"policy", "retention"}  # without effect on a job that reaches none, which `Batch.within_policy` checks


def can_be_batch(settings: EndpointSettings) -> bool:
    """Return whether all settings that a batch does not follow are as by default."""
    default = EndpointSettings()
    others = EndpointSettings.model_fields.keys() - _WORKERS - _JOBS - _LIMITS
    return all(getattr(settings, name) == getattr(default, name) for name in others)


class Batch:
    """Jobs submitted at given times, in seconds from a start at 0; after `run` all have ended."""

    def __init__(self, settings: EndpointSettings, seed: int, at_s: Sequence[float]) -> None:
        ids, cold, revivals = (np.random.default_rng(each) for each in worker_seeds(seed))
        service_s = drawn_service_s(settings.service_time, seed, len(at_s)).tolist()
        self.jobs = [
            Job("", _RUN, at, service_s=work_s, queued_at=at) for at, work_s in zip(at_s, service_s, strict=True)
        ]
        if settings.failure_rate:
            for job, fails in zip(self.jobs, drawn_failures(settings.failure_rate, seed, len(at_s)), strict=True):
                job.fails = bool(fails)
        _, _, _, crash_seeds, retry_seeds = job_seeds(seed)
        if settings.crash_rate:
            shares = crashes(settings.crash_rate, np.random.default_rng(crash_seeds))
            for job, share in zip(self.jobs, shares, strict=False):
                job.crashes_after_s = share * job.service_s
        self._retries = JobSampler(settings, *retry_seeds.spawn(3))
        self._tries = settings.tries
        self._policy = settings.policy
        self._longest_lost_s = 0.0
        self.fleet = Fleet(settings, ids)
        revival = settings.cold_start if settings.revival is None else settings.revival.duration
        self._cold_start_s = sample_stream(settings.cold_start, cold)
        self._revival_s = sample_stream(revival, revivals)
        self._idle_timeout_s = settings.idle_timeout
        self._take_pause = settings.take_pause if settings.take_pause.pauses else None
        self._slowdowns = settings.slowdowns()
        self._one_at_once = settings.workers.concurrency == 1
        self._scaler = scaler_for(settings.scaler)
        self._free = FreeSlots(settings.workers.concurrency)
        self._shared: dict[Worker, ProcessorSharing] = {}
        self._due: list[tuple[float, int, int, Worker]] = []
        self._order = 0
        self._quiet_until = math.inf  # no scaling and no stop is due before
        self._submitted = self._taken = self._ended = 0
        self._returned: list[Job] = []
        """Jobs whose worker died, before all others in the queue; the last one is the first to be taken."""
        for _ in range(settings.workers.active):
            self._make_ready(self.fleet.add_worker(0.0, active=True), 0.0)

    def __repr__(self) -> str:
        return f"<Batch {self._submitted} of {len(self.jobs)} jobs submitted, {self._ended} ended, {self.fleet!r}>"

    def run(self, until_s: float) -> None:
        """Submit all jobs and go on until the last has ended, and until this time."""
        for job in self.jobs:
            self._advance(job.submitted_at)
            self._submit(job)
        while self._ended < len(self.jobs):
            self._advance(min(self._next_end_or_start_at(), self._next_change_at()))
        self._advance(until_s)

    def within_policy(self) -> bool:
        """Return whether each try ended before its execution timeout, and each job within its time to live."""
        timeout_s, ttl_s = self._policy.execution_timeout, self._policy.ttl
        return self._longest_lost_s < timeout_s and all(
            job.finished_at is not None
            and job.finished_at - (job.taken_at or 0.0) < timeout_s
            and job.finished_at - job.submitted_at < ttl_s
            for job in self.jobs
        )

    def _submit(self, job: Job) -> None:
        now = job.submitted_at
        self._submitted += 1
        worker = self._free.first() if self._submitted - self._taken == 1 and not self._returned else None
        if worker is not None:
            self._taken += 1
            self._begin(worker, job, now)
            return
        self._scale(job, now)

    def _scale(self, job: Job, now: float) -> None:
        """Start the workers that a job in the queue needs by the rule of the scaler."""
        if self.fleet.full:
            return
        for _ in range(self._scaler.queued(job, self._submitted - self._ended, self.fleet)):
            if self.fleet.full:
                break
            self._start(now)
        self._quiet_until = min(self._quiet_until, self._scaler.next_due_at())

    def _advance(self, now: float) -> None:
        """Carry out everything due up to and including `now`: at equal times jobs and starts, scaling, then stops."""
        while True:
            at = self._next_end_or_start_at()
            if at > self._quiet_until:
                change_at = self._next_change_at()
                if change_at < at:
                    if change_at > now:
                        return
                    self._change(change_at)
                    continue
            if at > now:
                return
            _, _, event, worker = heapq.heappop(self._due)
            if event == _JOB_ENDS:
                self._end(worker, at)
            elif event == _READY:
                self._make_ready(worker, at)
            elif worker in self._free:
                self._free.release(worker)
            if self._taken < self._submitted or self._returned:
                self._take_waiting(at)

    def _next_end_or_start_at(self) -> float:
        due = self._due
        while due and due[0][2] == _JOB_ENDS and due[0][1] != due[0][3].due:
            heapq.heappop(due)
        return due[0][0] if due else math.inf

    def _next_change_at(self) -> float:
        self._quiet_until = min(self._scaler.next_due_at(), self.fleet.next_stop_at())
        return self._quiet_until

    def _change(self, now: float) -> None:
        if self._scaler.next_due_at() == now:
            for _ in range(self._scaler.decide(self.fleet)):
                if not self.fleet.full:
                    self._start(now)
        else:
            worker = self.fleet.stop(now)
            self._free.remove(worker)
            self._shared.pop(worker, None)

    def _start(self, now: float) -> None:
        worker, how = self.fleet.start(now)
        duration_s = next(self._revival_s if how is StartKind.REVIVED else self._cold_start_s)
        self._schedule(now + duration_s, _READY, worker)

    def _make_ready(self, worker: Worker, now: float) -> None:
        if not self._one_at_once:
            self._shared[worker] = ProcessorSharing(self._slowdowns)
        self._free.add(worker)
        self.fleet.ready(worker, now)
        self._quiet_until = min(self._quiet_until, self.fleet.next_stop_at())

    def _take_waiting(self, now: float) -> None:
        while self._returned or self._taken < self._submitted:
            worker = self._free.first()
            if worker is None:
                return
            if self._returned:
                job = self._returned.pop()
            else:
                job = self.jobs[self._taken]
                self._taken += 1
            self._scaler.dequeued(job)
            self._begin(worker, job, now)

    def _begin(self, worker: Worker, job: Job, now: float) -> None:
        job.state, job.taken_at, job.worker_id = _IN_PROGRESS, now, worker.id
        self.fleet.assign(worker, job)
        self._free.occupy(worker)
        work_s = min(job.service_s, job.crashes_after_s)
        if self._one_at_once:
            worker.due = self._schedule(now + work_s, _JOB_ENDS, worker)
        else:
            shared = self._shared[worker]
            shared.add(job, work_s, now)
            worker.due = self._schedule(shared.next_end_at(), _JOB_ENDS, worker)

    def _end(self, worker: Worker, now: float) -> None:
        job = worker.jobs[0] if self._one_at_once else self._shared[worker].pop(now)
        if job.crashes_after_s < job.service_s:
            self._lose(worker, now)
            return
        job.state, job.finished_at = _FAILED if job.fails else _COMPLETED, now
        self._ended += 1
        self.fleet.release(worker, job, now)
        if worker.jobs:
            worker.due = self._schedule(self._shared[worker].next_end_at(), _JOB_ENDS, worker)
        elif now + self._idle_timeout_s < self._quiet_until:
            self._quiet_until = now + self._idle_timeout_s
        free_at = now
        if self._take_pause is not None and job.taken_at is not None:
            free_at = job.taken_at + self._take_pause.occupancy_s(now - job.taken_at)
        if free_at > now:
            self._schedule(free_at, _SLOT_FREE, worker)
        else:
            self._free.release(worker)

    def _lose(self, worker: Worker, now: float) -> None:
        """Remove a worker that dies, and give its jobs back or fail them, as `JobScheduler.worker_lost` does."""
        self._free.remove(worker)
        self._shared.pop(worker, None)
        worker.due = -1
        jobs = list(worker.jobs)
        for job in jobs:
            self._longest_lost_s = max(self._longest_lost_s, now - (job.taken_at or 0.0))
            job.requeues += 1
            if job.requeues >= self._tries:
                self.fleet.release(worker, job, now)
                job.state, job.finished_at = _FAILED, now
                self._ended += 1
        self.fleet.remove(worker, now)
        if worker.active:
            self._schedule(now + next(self._cold_start_s), _READY, self.fleet.add_worker(now, active=True))
        for job in reversed(jobs):
            if job.finished_at is None:
                self._give_back(job, now)
        self._take_waiting(now)
        waits = bool(self._returned) or self._taken < self._submitted
        if waits and not self.fleet.starting and not self.fleet.full:
            self._start(now)

    def _give_back(self, job: Job, now: float) -> None:
        job.state = _IN_QUEUE
        self._retries.draw(job)
        job.requeue(now)
        self._returned.append(job)
        self._take_waiting(now)
        if job.state is _IN_QUEUE:
            self._scale(job, now)

    def _schedule(self, at: float, event: int, worker: Worker) -> int:
        self._order += 1
        heapq.heappush(self._due, (at, self._order, event, worker))
        return self._order
