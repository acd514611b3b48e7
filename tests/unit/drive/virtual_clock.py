"""A clock for greenlets that jumps to the next wake-up when all of them wait, as trio's autojump clock does."""

from __future__ import annotations

import math
from bisect import insort
from itertools import count

import gevent
from gevent.event import Event as GeventEvent

from loadtest.clock import Event


class VirtualClock:
    """Time that does not pass while greenlets run; `run` moves it. Times are seconds since the epoch."""

    def __init__(self, at: float = 0.0) -> None:
        self._now = at
        self._waiting: list[tuple[float, int, GeventEvent]] = []
        self._order = count()

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.sleep_until(self._now + seconds)

    def sleep_until(self, at: float) -> None:
        if at > self._now:
            self.wait(GeventEvent(), at)

    def wait(self, event: Event, until: float) -> bool:
        """Wait in the list of wake-ups, unless it is for ever; a killed greenlet leaves the list."""
        if event.ready() or until <= self._now:
            return event.ready()
        woken = GeventEvent()
        waiter = (until, next(self._order), woken)

        def wake(_: object) -> None:
            woken.set()

        event.rawlink(wake)
        if until < math.inf:
            insort(self._waiting, waiter)
        try:
            woken.wait()
        finally:
            event.unlink(wake)
            if waiter in self._waiting:
                self._waiting.remove(waiter)
        return event.ready()

    def run(self, until: float = math.inf) -> None:
        """Let greenlets run, and jump from wake-up to wake-up, until all wait for longer than `until`."""
        self.settle()
        while self._waiting and self._waiting[0][0] <= until:
            self._now, _, woken = self._waiting.pop(0)
            woken.set()
            self.settle()
        if until < math.inf:
            self._now = max(self._now, until)

    def settle(self) -> None:
        """Let all greenlets run until each of them waits."""
        gevent.idle()

    def __repr__(self) -> str:
        return f"VirtualClock(now={self._now:g}, wake-ups at {[at for at, _, _ in self._waiting]})"
