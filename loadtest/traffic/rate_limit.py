"""A client's rate limit: no interval of the limit's length, wherever it starts, holds more requests than allowed.

A token bucket would not do: full at the start, it lets almost twice the limit through in its first window. Here the
n-th request waits until a whole window has passed since the (n - limit)-th was sent.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass

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


@dataclass
class PeakWindow:
    """The number of requests in the fullest window yet; a window is half-open and starts anywhere."""

    span_s: float = 10.0
    peak: int = 0

    def __post_init__(self) -> None:
        # An array, since hundreds of thousands of separate objects would cause as many cache misses.
        self._times = array("d")
        self._first = 0

    def add(self, at: float) -> None:
        """Count a request sent at this time; times come in order."""
        self._times.append(at)
        held = self.count(at)
        if held > self.peak:
            self.peak = held

    def count(self, now: float) -> int:
        """Return how many requests the window that ends now holds."""
        times, first, gone_at = self._times, self._first, now - self.span_s
        held = len(times) - first
        while held and times[first] <= gone_at:
            first += 1
            held -= 1
        if first >= TRIM_BATCH:
            del times[:first]
            first = 0
        self._first = first
        return held
