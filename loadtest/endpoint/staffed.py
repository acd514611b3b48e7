"""The endpoint with real workers: queue, scaler and answers are the model's, what workers do is told to it.

A job whose worker is lost goes back to the head of the queue and counts as retried. `take_orders` says what the
workers' keeper has to do: launch some, let others go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from loadtest.endpoint.job import Job, Order
from loadtest.endpoint.model import Endpoint
from loadtest.endpoint.settings import EndpointSettings
from loadtest.endpoint.staff import Hand, Leave, Staff
from loadtest.endpoint.workers import Worker
from loadtest.protocol import JobEvent, JobState
from loadtest.wire import ABSENT, Chunk
from loadtest.worker_wire import Result

RETRIES = 1
"""How often a job whose worker is lost is given to another, before it fails, as users of the live service saw it."""
_LOST = msgspec.Raw(msgspec.json.encode(f"job timed out after {RETRIES} retries"))


@dataclass(frozen=True)
class Launch:
    """A worker is to be started."""

    worker: Worker


@dataclass(frozen=True)
class Dismissal:
    """A worker is to be ended, and why."""

    worker: Worker
    why: Leave


class StaffedEndpoint(Endpoint):
    """An endpoint whose workers are told of. Times are as in `Endpoint`.

    What a worker that has left says is passed over: its jobs are no longer its own.
    """

    def __init__(self, settings: EndpointSettings, seed: int, start_at: float) -> None:
        self._staff = Staff(settings, seed, start_at)
        self._orders: list[Launch | Dismissal] = []
        super().__init__(settings, seed, start_at, self._staff)

    def take_orders(self) -> list[Launch | Dismissal]:
        """What is to be done with workers since last asked, in order."""
        orders, self._orders = self._orders, []
        return orders

    @property
    def proven(self) -> bool:
        """Whether a worker has ever been ready, so that the handler can be started at all."""
        return self._staff.proven

    @property
    def ready(self) -> int:
        """How many workers are past their start."""
        return self._staff.up - self._staff.starting

    def called(self, worker_id: str) -> bool:
        """Whether a worker whose take is open has got jobs, or has left."""
        hand = self._staff.hand(worker_id)
        return hand is None or bool(hand.offered)

    def warned(self, worker_id: str) -> bool:
        """Whether a worker is to stop jobs and was not told of yet, or has left."""
        hand = self._staff.hand(worker_id)
        return hand is None or bool(hand.to_stop)

    def knows(self, worker_id: str) -> bool:
        """Whether such a worker is up."""
        return self._staff.hand(worker_id) is not None

    def ask(self, worker_id: str, jobs: int, busy: bool, now: float) -> None:
        """A worker opens a take for so many jobs; `busy` tells whether it runs any."""
        hand = self._hand(worker_id, now)
        if hand is None:
            return
        if not hand.ready:
            self._staff.ready(hand.worker, self._now)
        if not busy:
            for job_id in list(hand.stopping):
                self._staff.stopped(hand, job_id, self._now)
        hand.wants = jobs
        self._serve_queue()

    def collect(self, worker_id: str) -> list[Job]:
        """Closes a worker's take, and hands over the jobs that it got."""
        hand = self._staff.hand(worker_id)
        if hand is None:
            return []
        self._quiet_until = -math.inf
        offered, hand.offered, hand.wants = hand.offered, [], 0
        return offered

    def withdraw(self, worker_id: str, now: float) -> None:
        """A worker's take was broken off: what it got goes back to the queue, and was never run."""
        hand = self._hand(worker_id, now)
        if hand is None:
            return
        for job in reversed(self.collect(worker_id)):
            self._staff.done(hand, job, self._now)
            self._requeue(job)
        self._serve_queue()

    def jobs_to_stop(self, worker_id: str) -> list[str]:
        """The jobs that a worker is to stop and was not told of yet."""
        hand = self._staff.hand(worker_id)
        if hand is None:
            return []
        told, hand.to_stop = hand.to_stop, []
        return told

    def ping(self, worker_id: str, running: set[str], now: float) -> None:
        """A worker lives, and runs these jobs."""
        hand = self._hand(worker_id, now)
        if hand is not None:
            self._staff.heard(hand, running, self._now)

    def posted(self, worker_id: str, job_id: str, chunk: Chunk, now: float) -> None:
        """A worker has a chunk of a job's output."""
        hand = self._hand(worker_id, now)
        job = None if hand is None else hand.jobs.get(job_id)
        if job is not None and job.order is not None:
            job.order.chunks.append(chunk)

    def done(self, worker_id: str, job_id: str, result: Result, now: float) -> None:
        """A worker has a job's result, or how far it is; of a job that was taken from it only that it has stopped."""
        hand = self._hand(worker_id, now)
        if hand is None:
            return
        job = hand.jobs.get(job_id)
        if result.status == JobState.IN_PROGRESS:
            if job is not None:
                job.output = result.output
            return
        self._staff.stopped(hand, job_id, self._now)
        if job is not None:
            self._staff.done(hand, job, self._now)
            self._staff.succeeded()
            self._conclude(job, result)
        hand.leaving = hand.leaving or result.stop_worker
        if hand.leaving and not hand.jobs:
            self._let_go(hand, Leave.REFRESH)
        self._serve_queue()

    def exited(self, worker_id: str, now: float) -> None:
        """A worker's process has ended."""
        hand = self._hand(worker_id, now)
        if hand is not None:
            self._let_go(hand, Leave.REFRESH if hand.leaving and not hand.jobs else Leave.EXITED)

    def read_stream(self, job_id: str, now: float) -> list[Chunk] | None:
        """The chunks that came since the last read; None where the job is unknown or has expired."""
        job = self.job(job_id, now)
        if job is None or job.order is None:
            return None
        unread = job.order.chunks[job.chunks_read :]
        job.chunks_read = len(job.order.chunks)
        return unread

    def _hand(self, worker_id: str, now: float) -> Hand | None:
        """The worker that says something, once everything due until then is done."""
        self.advance(now)
        self._quiet_until = -math.inf
        return self._staff.hand(worker_id)

    def _order(self, job_input: msgspec.Raw) -> Order | None:
        return Order(job_input)

    def _holder(self, job: Job) -> Worker | None:
        return self._staff.holder(job)

    def _stop_workers(self, at: float) -> None:
        first = self._staff.next_due()
        if first is None or first[0] > at:
            return
        _, hand, why = first
        if why is not None:
            self._let_go(hand, why)
        else:
            hand.launched = True
            self._orders.append(Launch(hand.worker))

    def _let_go(self, hand: Hand, why: Leave) -> None:
        """A worker leaves; what it had goes back, and where it is needed another takes its place."""
        self._staff.leave(hand, self._now)
        if why is not Leave.EXITED:
            self._orders.append(Dismissal(hand.worker, why))
        for job in reversed(hand.jobs.values()):
            if job in hand.offered:
                self._requeue(job)
            else:
                self._give_back(job)
        if why is not Leave.IDLE and (hand.worker.active or self._in_queue):
            self._staff.replace(hand, why.lost, self._now)

    def _give_back(self, job: Job) -> None:
        if job.order is None or job.order.given_back >= RETRIES:
            job.error = _LOST
            job.move(JobEvent.FAILED)
            self._failed += 1
            self._end(job)
            return
        job.order.given_back += 1
        self._retried += 1
        self._requeue(job)

    def _requeue(self, job: Job) -> None:
        """Back to the head of the queue, as if no worker had had it; only a replacement is started for it."""
        job.move(JobEvent.GIVEN_BACK)
        job.taken_at, job.worker_id, job.output = None, None, ABSENT
        if job.order is not None:
            job.order.chunks.clear()
            job.chunks_read = 0
        self._queue.appendleft(job)
        self._in_queue += 1

    def _conclude(self, job: Job, result: Result) -> None:
        job.output, job.error = result.output, result.error
        job.move(JobEvent.FAILED if result.failed else JobEvent.COMPLETED)
        if result.failed:
            self._failed += 1
        else:
            self._completed += 1
            job.error = ABSENT
        self._end(job)
