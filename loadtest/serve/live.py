"""The endpoint model in real time: a timer advances it to its next event and wakes answers that are held open."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from loadtest.clock import Clock
from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.job import Job
from loadtest.protocol.operations import JobState
from loadtest.serve.journal import Journal
from loadtest.serve.webhooks import Notifier

_MAX_TIMER_S = 86_400.0
"""A longer wait is continued when this time is over, since no timer is infinite."""


class Waiter:
    """One answer that is held open; the endpoint, a timer or the client's disconnect wakes it."""

    def __init__(self) -> None:
        self.client_left = False
        self.wakes_at = -math.inf
        """When it wakes by itself if it waits for a chunk."""
        self._woken: asyncio.Future[None] | None = None

    def notify(self) -> None:
        """Wake the waiter, so that it checks again whether it may answer."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def wait(self, timeout_s: float) -> None:
        """Return at the next notification, or after `timeout_s` seconds."""
        loop = asyncio.get_running_loop()
        self._woken = loop.create_future()
        timer = loop.call_later(timeout_s, self.notify)
        try:
            await self._woken
        finally:
            timer.cancel()


class LiveEndpoint:
    """An endpoint whose events happen by themselves, if `process_due` is called after each operation on it."""

    def __init__(self, endpoint: Endpoint, clock: Clock, journal: Journal, notifier: Notifier) -> None:
        self.endpoint = endpoint
        self.clock = clock
        self.journal = journal
        self._notifier = notifier
        self.stopping = False
        self._waiting: dict[str, set[Waiter]] = {}
        self._streams_in_queue: dict[str, Job] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self.on_settled: list[Callable[[], None]] = []
        """Called after due events were processed, and when the server stops."""

    def process_due(self) -> float:
        """Process the events that are due, set the timer for the next, and return the present time.

        Jobs that ended are journalled and sent to their webhooks, and requests that wait for them are woken.
        """
        now = self.clock.now()
        self.endpoint.advance(now)
        for job in self.endpoint.drain_ended():
            self.journal.job(job)
            self._notifier.notify(job)
            self.wake(job.id)
        for job in [job for job in self._streams_in_queue.values() if job.state is not JobState.IN_QUEUE]:
            self.wake(job.id)
        self._wake_for_earlier_chunks()
        self._settled()
        at = self.endpoint.next_due_at()
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = asyncio.get_running_loop().call_later(self._seconds_until(at), self._on_timer)
        return now

    async def wait_for_end(self, job: Job, until: float, waiter: Waiter) -> None:
        """Return when the job has ended, at `until`, when the client has left, or when the server stops."""
        while self._may_wait(job, until, waiter):
            await self._wait(job, until, waiter)

    async def wait_for_chunk(self, job: Job, until: float, waiter: Waiter) -> None:
        """Return when a chunk can be read, and whenever `wait_for_end` would."""
        while self._may_wait(job, until, waiter):
            chunk_at = job.next_chunk_at()
            if chunk_at is not None and chunk_at <= self.clock.now():
                return
            if job.state is JobState.IN_QUEUE:
                self._streams_in_queue[job.id] = job
            waiter.wakes_at = until if chunk_at is None else min(until, chunk_at)
            await self._wait(job, waiter.wakes_at, waiter)

    def wake(self, job_id: str) -> None:
        """Wake the requests that wait for a job, since it changed."""
        self._streams_in_queue.pop(job_id, None)
        for waiter in self._waiting.pop(job_id, ()):
            waiter.notify()

    def stop(self) -> None:
        """End all waiting, now and from now on."""
        self.stopping = True
        for job_id in list(self._waiting):
            self.wake(job_id)
        self._settled()

    def write_unfinished(self) -> None:
        """Journal the jobs that ended last and those that did not end. Call it once the server has stopped."""
        self.endpoint.advance(self.clock.now())
        for job in self.endpoint.drain_ended() + self.endpoint.unfinished():
            self.journal.job(job)

    def _wake_for_earlier_chunks(self) -> None:
        """Wake the requests whose next chunk comes before they would wake by themselves."""
        for job in self.endpoint.drain_rescheduled():
            waiters = self._waiting.get(job.id)
            chunk_at = job.next_chunk_at() if waiters else None
            for waiter in waiters or ():
                if chunk_at is not None and chunk_at < waiter.wakes_at:
                    waiter.notify()

    def _settled(self) -> None:
        for callback in self.on_settled:
            callback()

    def _may_wait(self, job: Job, until: float, waiter: Waiter) -> bool:
        return not (job.final or waiter.client_left or self.stopping or self.clock.now() >= until)

    async def _wait(self, job: Job, until: float, waiter: Waiter) -> None:
        self._waiting.setdefault(job.id, set()).add(waiter)
        try:
            await waiter.wait(self._seconds_until(until))
        finally:
            waiting = self._waiting.get(job.id, set())
            waiting.discard(waiter)
            if not waiting:
                self._waiting.pop(job.id, None)
                self._streams_in_queue.pop(job.id, None)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, math.inf
        self.process_due()

    def _seconds_until(self, at: float) -> float:
        """Return the seconds until `at`, up to whole milliseconds, so that the loop's timer is never early."""
        return max(0, math.ceil(min(at - self.clock.now(), _MAX_TIMER_S) * 1000)) / 1000


@asynccontextmanager
async def long_poll(request: Request) -> AsyncIterator[Waiter]:
    """Yield a waiter for the request's answer. Raises ClientDisconnect at the end if the client left meanwhile."""
    waiter = Waiter()

    async def watch_connection() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            continue
        waiter.client_left = True
        waiter.notify()

    watch = asyncio.create_task(watch_connection())
    try:
        yield waiter
        if waiter.client_left:
            raise ClientDisconnect
    finally:
        watch.cancel()
