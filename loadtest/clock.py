"""Time as an argument: the same code runs against the wall clock and against a virtual one."""

from __future__ import annotations

import time
from copy import copy
from typing import Any, Protocol, Self, TypeAlias

Event: TypeAlias = Any
"""An Event or AsyncResult of gevent, which this layer does not import."""


class Clock(Protocol):
    """A source of the present time."""

    def now(self) -> float:
        """Return the present time, in seconds since the epoch."""


class SleepingClock(Clock, Protocol):
    """A clock that also waits, so that a virtual one can jump when all wait. Times are seconds since the epoch."""

    def sleep_until(self, at: float) -> None:
        """Let others run until this time; return at once if it has passed."""

    def sleep(self, seconds: float) -> None:
        """Let others run for this many seconds."""

    def wait(self, event: Event, until: float) -> bool:
        """Let others run until the event is set or this time has passed; return whether the event is set."""


class WallClock:
    """Epoch time that never steps: read once at the start of a process, carried on by a monotonic clock.

    That clock stops while the machine is suspended, unless it `counts_suspension` (on Linux): a process whose
    time others rely on must not fall behind theirs.
    """

    def __init__(self, counts_suspension: bool = False) -> None:
        self._read = _boot_time if counts_suspension and hasattr(time, "CLOCK_BOOTTIME") else time.perf_counter
        self._offset_s = time.time() - self._read()

    def now(self) -> float:
        """Return the present time, in seconds since the epoch."""
        return self._offset_s + self._read()

    def shifted(self, by_s: float) -> Self:
        """Return the same clock ahead by some seconds, to follow the clock of another machine."""
        shifted = copy(self)
        shifted._offset_s += by_s
        return shifted


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
