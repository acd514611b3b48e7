"""The promise to stay within a limit: no interval of its length, wherever it starts, holds more requests.

A token bucket would not do: full at the start, it lets almost twice the limit through in its first window.
Here the n-th request waits until a whole window has passed since the (n - limit)-th.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from loadtest.protocol import Limit

MARGIN_S = 0.1
"""How far apart two requests' ways to the server may be in time before the server sees another order of
gaps than was sent; the window that is kept is longer by this much."""


class RateBudget:
    """Grants sending times under a limit; `spaced` spreads them evenly instead of letting bursts through.

    A closed load pushes against its limit for as long as it runs: without spacing it would send a window's
    worth at once and then nothing until the window is over.
    """

    def __init__(self, limit: Limit, spaced: bool = False, margin_s: float = MARGIN_S) -> None:
        self._window_s = limit.per_s + margin_s
        self._spacing_s = self._window_s / limit.requests if spaced else 0.0
        self._sent_at = [float("-inf")] * limit.requests
        self._granted = 0
        self._last_at = float("-inf")

    def __repr__(self) -> str:
        return f"<RateBudget {len(self._sent_at)} per {self._window_s:g} s, {self._granted} granted>"

    @property
    def per_second(self) -> float:
        """The rate that the budget can keep up."""
        return len(self._sent_at) / self._window_s

    def reserve(self, now: float) -> tuple[int, float]:
        """A place in the budget: its number, and the earliest time (not before `now`) to send at."""
        number = self._granted
        place = number % len(self._sent_at)
        at = max(now, self._last_at + self._spacing_s, self._sent_at[place] + self._window_s)
        self._granted += 1
        self._sent_at[place] = self._last_at = at
        return number, at

    def settle(self, number: int, sent_at: float) -> None:
        """Tell when a reserved request was really sent: a late one counts from then."""
        place = number % len(self._sent_at)
        if number > self._granted - 1 - len(self._sent_at):
            self._sent_at[place] = max(self._sent_at[place], sent_at)


@dataclass
class FullestWindow:
    """How many requests the fullest window held so far; a window is half-open and starts anywhere."""

    span_s: float = 10.0
    most: int = 0

    def __post_init__(self) -> None:
        self._recent: deque[float] = deque()

    def add(self, at: float) -> None:
        """Count a request sent at this time; times come in order."""
        self._recent.append(at)
        self.most = max(self.most, self.held(at))

    def held(self, now: float) -> int:
        """How many requests the window that ends now holds."""
        recent = self._recent
        while recent and recent[0] <= now - self.span_s:
            recent.popleft()
        return len(recent)
