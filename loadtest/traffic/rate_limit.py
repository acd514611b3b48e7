"""A client's rate limit: no interval of the limit's length, wherever it starts, holds more requests than allowed.

A token bucket would not do: full at the start, it lets almost twice the limit through in its first window. Here the
n-th request waits until a whole window has passed since the (n - limit)-th was sent.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable

import numpy as np

from loadtest.protocol.operations import Limit, window_free_at

MARGIN_S = 0.1
"""The window is longer by this much, since travel times to the server may differ by it, less LATE_S, between two
requests."""
LATE_S = 0.02
"""A request that goes out later than this after it took its place in the window moves to a later place."""
TRIM_BATCH = 65_536
"""This many times that are older than the window are removed together."""
CATCH_UP_S = 0.05
"""How far an evenly spaced sender that was late may run ahead of its spacing to catch up."""


class SlidingWindowLimiter:
    """Computes when the next request may be sent, from the times of those sent before.

    `spaced` spreads requests evenly instead of letting bursts through. A closed load pushes against its limit for as
    long as it runs: without spacing it would send a window's worth at once and then nothing until the window is over.
    A process that shares a limit with others gets less than all of it by `set_limit`.
    """

    def __init__(self, limit: Limit, spaced: bool = False, margin_s: float = MARGIN_S) -> None:
        self._window_s = limit.per_s + margin_s
        self._spaced = spaced
        self._sent_at: deque[float] = deque(maxlen=limit.requests)
        self._paced_at = float("-inf")
        self.set_limit(limit.requests)

    def __repr__(self) -> str:
        sent = f"last sent at {self._sent_at[-1]:.3f}" if self._sent_at else "none sent"
        return f"<SlidingWindowLimiter {self._allowed} per {self._window_s:g} s, {sent}>"

    @property
    def per_second(self) -> float:
        """Return the rate that the limiter allows over a long time."""
        return self._allowed / self._window_s

    def set_limit(self, requests: int) -> None:
        """Allow this many requests in a window from now on, at most the whole limit; 0 stops them."""
        assert self._sent_at.maxlen is not None
        self._allowed = min(requests, self._sent_at.maxlen)
        self._spacing_s = self._window_s / max(1, self._allowed)

    def next_at(self, now: float) -> float:
        """Return the earliest time, from `now` on, at which a request may be sent; infinite if none may."""
        if self._allowed == 0:
            return float("inf")
        return max(now, self._paced_at, window_free_at(self._sent_at, self._allowed, self._window_s))

    def record(self, now: float) -> None:
        """Record a request that is sent now; times come in order."""
        self._sent_at.append(now)
        if self._spaced:
            paced_at, min_at = self._paced_at, now - CATCH_UP_S
            self._paced_at = (paced_at if paced_at > min_at else min_at) + self._spacing_s

    def postpone(self, recorded_at: float, now: float) -> bool:
        """Move a recorded request that is sent only now; return False if its place is no longer there.

        After a whole window others may have gone out in its place: it needs a new one.
        """
        times = self._sent_at
        if now - recorded_at >= self._window_s:
            return False
        index = next((index for index, at in enumerate(reversed(times), 1) if at == recorded_at), None)
        if index is None:
            return False
        del times[-index]
        times.append(now)
        return True


class PeakWindow:
    """The number of requests in the fullest window yet; a window is half-open and starts anywhere.

    Windows are counted when `peak` or `count` is read, all since the last time together: read one of them about once
    per second.
    """

    span_s = 10.0

    def __init__(self) -> None:
        # An array, since hundreds of thousands of separate objects would cause as many cache misses.
        self._times = array("d")
        self._seen = self._peak = 0
        self.add: Callable[[float], None] = self._times.append
        """Count a request sent at this time; times come in order."""

    @property
    def peak(self) -> int:
        """Return how many requests the fullest window holds."""
        self._count_windows()
        return self._peak

    def count(self, now: float) -> int:
        """Return how many requests the window that ends now holds."""
        self._count_windows()
        times = np.frombuffer(self._times)
        return len(times) - int(np.searchsorted(times, now - self.span_s, side="right"))

    def _count_windows(self) -> None:
        """Count the windows that end at the latest requests, and drop the times that no later window holds."""
        times = np.frombuffer(self._times)
        ends = times[self._seen :]
        if not len(ends):
            return
        firsts = np.searchsorted(times, ends - self.span_s, side="right")
        held = np.arange(self._seen + 1, len(times) + 1) - firsts
        self._peak = max(self._peak, int(held.max()))
        self._seen, gone = len(times), int(firsts[-1])
        del times, ends
        if gone >= TRIM_BATCH:
            del self._times[:gone]
            self._seen -= gone
