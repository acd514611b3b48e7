"""Time as an argument: the same code runs against the wall clock and against a virtual one."""

from __future__ import annotations

import time
from typing import Any, Protocol, TypeAlias

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
    """Epoch time that never steps: read once at the start, carried on by the monotonic clock.

    `correction_s` is added, so that a machine whose clock is off can follow the clock of another.
    """

    def __init__(self, correction_s: float = 0.0) -> None:
        self._offset_s = time.time() - time.perf_counter() + correction_s

    def now(self) -> float:
        """Return the present time, in seconds since the epoch."""
        return self._offset_s + time.perf_counter()
