"""Waiting until a time, to some ten microseconds.

The loop's own timers are late by up to a millisecond, since epoll counts in whole ones; at 1000 arrivals a
second that is the gap between two of them. Linux has timers that are files and that epoll tells of at once:
one of them is set to the earliest time that anybody waits for. Elsewhere the loop's timers do.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from heapq import heappop, heappush
from itertools import count
from time import CLOCK_MONOTONIC, clock_gettime
from typing import Any

import gevent
from gevent import get_hub, getcurrent

from loadtest.clock import Clock

READ = 1
ABSOLUTE = 1
NANOSECONDS = 10**9


def sleep_until(at: float, clock: Clock) -> None:
    """Let others run until this time."""
    wait_s = at - clock.now()
    if wait_s > 0:
        if sys.platform == "linux":
            _process_timer().wait(wait_s)
        else:
            gevent.sleep(wait_s)


class PreciseTimer:
    """One timer of the system for all who wait in this process."""

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
        """Let others run for so long."""
        at = clock_gettime(CLOCK_MONOTONIC) + seconds
        waiter: list[Any] = [at, next(self._order), getcurrent()]
        heappush(self._waiting, waiter)
        if self._waiting[0] is waiter:
            self._arm(at)
        try:
            self._hub.switch()
        # Whatever ends the wait, a killed user too, must not be switched to when the time has come.
        except BaseException:
            waiter[2] = None
            raise

    def _on_expired(self) -> None:
        now = clock_gettime(CLOCK_MONOTONIC)
        while self._waiting and self._waiting[0][0] <= now:
            waiting = heappop(self._waiting)[2]
            if waiting is not None:
                waiting.switch()
        # Setting it, be it to never, also takes back that it has rung.
        self._arm(self._waiting[0][0] if self._waiting else 0.0)

    def _arm(self, at: float) -> None:
        """Ring at this time of the monotonic clock, at once where it has passed; 0 is never."""
        seconds = int(at)
        times = (ctypes.c_long * 4)(0, 0, seconds, int((at - seconds) * NANOSECONDS))
        if self._libc.timerfd_settime(self._file, ABSOLUTE, times, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")


@cache
def _process_timer() -> PreciseTimer:
    return PreciseTimer()
