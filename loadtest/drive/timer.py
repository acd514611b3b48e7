"""The clock of the load generator, whose sleep is accurate to some ten microseconds.

The timers of the event loop are late by up to a millisecond, since epoll counts whole milliseconds; at 1000
arrivals per second that is the gap between two of them. Linux has timers that are files (timerfd), which epoll
reports at once: one of them is set to the earliest time that any greenlet waits for. Other systems use the
timers of the loop.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from functools import cache
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import Any

import gevent
from gevent import get_hub, getcurrent

from loadtest.clock import Event, WallClock

READ = 1
ABSOLUTE = 1
CLOCK_MONOTONIC = 1
"""Of Linux; the module can be imported elsewhere."""
NANOSECONDS = 10**9


class GeventClock(WallClock):
    """The wall clock of a process that runs on gevent: while one greenlet waits, others run."""

    def sleep_until(self, at: float) -> None:
        """Let others run until this time; return at once if it has passed."""
        wait_s = at - self.now()
        if wait_s > 0:
            if sys.platform == "linux":
                _process_timer().wait(wait_s)
            else:
                gevent.sleep(wait_s)

    def sleep(self, seconds: float) -> None:
        """Let others run for this many seconds."""
        gevent.sleep(seconds)

    def wait(self, event: Event, until: float) -> bool:
        """Let others run until the event is set or this time has passed; return whether the event is set."""
        event.wait(timeout=None if until == math.inf else max(0.0, until - self.now()))
        return bool(event.ready())


class PreciseTimer:
    """One timer of the system for all greenlets of this process that wait until a time."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        # The flags of timerfd_create are those of open.
        self._file = self._libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._waiting: list[list[Any]] = []
        self._order = count()
        self._hub = get_hub()
        self._watcher = self._hub.loop.io(self._file, READ)
        self._watcher.start(self._on_expired)

    def wait(self, seconds: float) -> None:
        """Let others run for this many seconds."""
        at = monotonic() + seconds
        waiter: list[Any] = [at, next(self._order), getcurrent()]
        heappush(self._waiting, waiter)
        if self._waiting[0] is waiter:
            self._arm(at)
        try:
            self._hub.switch()
        # A greenlet whose wait was ended otherwise, by a kill for one, must not be switched to at its time.
        except BaseException:
            waiter[2] = None
            raise

    def _on_expired(self) -> None:
        now = monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            waiting = heappop(self._waiting)[2]
            if waiting is not None:
                waiting.switch()
        # Setting the timer, even to never, also clears that it has expired.
        self._arm(self._waiting[0][0] if self._waiting else 0.0)

    def _arm(self, at: float) -> None:
        """Expire at this time of the monotonic clock, at once if it has passed; never if it is 0."""
        seconds = int(at)
        times = (ctypes.c_long * 4)(0, 0, seconds, int((at - seconds) * NANOSECONDS))
        if self._libc.timerfd_settime(self._file, ABSOLUTE, times, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")


@cache
def _process_timer() -> PreciseTimer:
    return PreciseTimer()
