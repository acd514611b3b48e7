"""The endpoint model on the wall clock: it wakes up when something is due, and tells those who wait."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from loadtest.clock import Clock
from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.job import Job
from loadtest.protocol.operations import JobState
from loadtest.serve.journal import Journal
from loadtest.serve.webhooks import Notifier


class Waiter:
    """One answer that is held open, and by whom it may be ended: the endpoint, a timer, or the client who leaves."""

    def __init__(self) -> None:
        self.client_left = False
        self._bell: asyncio.Future[None] | None = None

    def notify(self) -> None:
        """Something happened: look again."""
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    def disconnect(self) -> None:
        """The client hung up."""
        self.client_left = True
        self.notify()

    async def wait(self, within_s: float) -> None:
        """Returns at the next ring, or after `within_s` seconds."""
        loop = asyncio.get_running_loop()
        self._bell = loop.create_future()
        timer = loop.call_later(within_s, self.notify)
        try:
            await self._bell
        finally:
            timer.cancel()


class LiveEndpoint:
    """An endpoint whose events happen by themselves, as long as `settle` is called after each operation on it."""

    def __init__(self, endpoint: Endpoint, clock: Clock, journal: Journal, notifier: Notifier) -> None:
        self.endpoint = endpoint
        self.clock = clock
        self.journal = journal
        self._notifier = notifier
        self.stopping = False
        self._waiting: dict[str, list[Waiter]] = {}
        self._streams_in_queue: dict[str, Job] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        self.on_settled: Callable[[], None] = lambda: None
        """Called when the endpoint has settled: what is new may concern others than those who wait for a job."""

    def process_due(self) -> float:
        """Carries out what is due, tells of the jobs that ended, wakes those who wait, sets the next alarm; the time.

        Jobs that ended are told to the journal and to their webhooks.
        """
        now = self.clock.now()
        self.endpoint.advance(now)
        for job in self.endpoint.drain_ended():
            self.journal.job(job)
            self._notifier.notify(job)
            self.ring(job.id)
        if self._streams_in_queue:
            for job in [each for each in self._streams_in_queue.values() if each.state is not JobState.IN_QUEUE]:
                self.ring(job.id)
        self.on_settled()
        at = self.endpoint.next_due_at()
        if at < self._alarm_at:
            if self._timer is not None:
                self._timer.cancel()
            self._alarm_at = at
            self._timer = asyncio.get_running_loop().call_later(self._until(at), self._wake_up)
        return now

    async def wait_for_end(self, job: Job, until: float, hold: Waiter) -> None:
        """Returns when the job has ended, at `until`, when the client has left, or when the server stops."""
        while self._open(job, until, hold):
            await self._rung(job, until, hold)

    async def wait_for_chunk(self, job: Job, until: float, hold: Waiter) -> None:
        """Returns when a chunk can be read, and where `ended` does."""
        while self._open(job, until, hold):
            chunk_at = job.next_chunk_at()
            if chunk_at is not None and chunk_at <= self.clock.now():
                return
            if job.state is JobState.IN_QUEUE:
                self._streams_in_queue[job.id] = job
            await self._rung(job, until if chunk_at is None else min(until, chunk_at), hold)

    def stop(self) -> None:
        """Ends all waiting, now and from now on."""
        self.stopping = True
        for job_id in list(self._waiting):
            self.ring(job_id)

    def write_unfinished(self) -> None:
        """Journals, once the server has stopped, what ended last and the jobs that did not end."""
        self.endpoint.advance(self.clock.now())
        for job in self.endpoint.drain_ended() + self.endpoint.unfinished():
            self.journal.job(job)

    def _open(self, job: Job, until: float, hold: Waiter) -> bool:
        return not (job.final or hold.client_left or self.stopping or self.clock.now() >= until)

    async def _rung(self, job: Job, until: float, hold: Waiter) -> None:
        self._waiting.setdefault(job.id, []).append(hold)
        try:
            await hold.wait(self._until(until))
        finally:
            self._forget(job.id, hold)

    def ring(self, job_id: str) -> None:
        """Something is new about a job: those who wait for it look again."""
        self._streams_in_queue.pop(job_id, None)
        for hold in self._waiting.pop(job_id, ()):
            hold.notify()

    def _forget(self, job_id: str, hold: Waiter) -> None:
        waiting = self._waiting.get(job_id)
        if waiting is not None and hold in waiting:
            waiting.remove(hold)
            if not waiting:
                del self._waiting[job_id]
                self._streams_in_queue.pop(job_id, None)

    def _wake_up(self) -> None:
        self._timer, self._alarm_at = None, math.inf
        self.process_due()

    def _until(self, at: float) -> float:
        """Seconds until `at`, up to whole milliseconds: the loop's timers round, and one that is early spins."""
        return max(0, math.ceil((at - self.clock.now()) * 1000)) / 1000
