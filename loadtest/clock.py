"""Time as something you hold: the same code runs against the wall clock and against a virtual one."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time, in seconds since the epoch."""

    def now(self) -> float:
        """The present, in seconds since the epoch."""
        ...


class WallClock:
    """Epoch time that never steps: read once at the start, carried on by the monotonic clock.

    `correction_s` is added, so that a machine whose clock is off can tell the time of another.
    """

    def __init__(self, correction_s: float = 0.0) -> None:
        self._offset_s = time.time() - time.perf_counter() + correction_s

    def now(self) -> float:
        """The present, in seconds since the epoch."""
        return self._offset_s + time.perf_counter()
