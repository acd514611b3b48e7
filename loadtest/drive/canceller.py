"""Cancels the jobs of one process that were given up: each at that moment, as far as the limit allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import gevent
from gevent import Greenlet
from gevent.event import Event

from loadtest.clock import SleepingClock
from loadtest.drive.executor import FlowExecutor
from loadtest.flows.job_flow import cancel
from loadtest.record.sample import Sample

CANCEL_CONCURRENCY = 20

CancelSink: TypeAlias = Callable[[Sample, float], object]
"""Called with each job that the endpoint has cancelled, and the time at which it said so."""


class Canceller:
    """The jobs that were given up, cancelled by greenlets of their own: no user waits for that.

    `confirmed` counts the jobs of which the endpoint says that they have ended.
    """

    def __init__(self, executor: FlowExecutor, clock: SleepingClock, on_confirmed: CancelSink) -> None:
        self._executor = executor
        self._clock = clock
        self._on_confirmed = on_confirmed
        self._waiting: deque[Sample] = deque()
        self._unconfirmed: list[Sample] = []
        self._workers: set[Greenlet[[], None]] = set()
        self._idle = Event()
        self.confirmed = 0

    def __repr__(self) -> str:
        return f"<Canceller: {self.confirmed} cancelled, {self.pending} not>"

    @property
    def pending(self) -> int:
        """Return the number of jobs that were given up and are not known to have ended."""
        return len(self._waiting) + len(self._unconfirmed) + len(self._workers)

    def add(self, sample: Sample) -> None:
        """Cancel a job as soon as the limit allows it, without waiting for that."""
        self._waiting.append(sample)
        if len(self._workers) < CANCEL_CONCURRENCY:
            self._idle.clear()
            self._workers.add(gevent.spawn(self._work))

    def _work(self) -> None:
        try:
            while self._waiting:
                self._cancel(self._waiting.popleft())
        finally:
            self._workers.discard(gevent.getcurrent())
            if not self._workers:
                self._idle.set()

    def _cancel(self, sample: Sample) -> None:
        confirmed_at: list[float] = []
        assert sample.job_id is not None
        try:
            self._executor.run(cancel(sample.job_id, confirmed_at), sample)
        finally:
            if confirmed_at:
                self.confirmed += 1
                self._on_confirmed(sample, confirmed_at[0])
            else:
                self._unconfirmed.append(sample)

    def finish(self, within_s: float, stall_s: float) -> None:
        """Try again what has failed; stop when all is done, after `within_s`, or if none succeeds for `stall_s`."""
        failed, self._unconfirmed = self._unconfirmed, []
        for sample in failed:
            self.add(sample)
        until, confirmed = self._clock.now() + within_s, -1
        while self._workers and self._clock.now() < until and self.confirmed > confirmed:
            confirmed = self.confirmed
            self._clock.wait(self._idle, min(until, self._clock.now() + stall_s))
        gevent.killall(list(self._workers))
