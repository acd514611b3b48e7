"""One operation under its limit: its requests wait here for the budget and for a place among the concurrent."""

from __future__ import annotations

import math

from gevent.event import Event
from gevent.lock import Semaphore

from loadtest.clock import Clock
from loadtest.protocol import Limit
from loadtest.traffic.budget import RateBudget
from loadtest.traffic.shares import ALONE, Place, part


class Lane:
    """Lets requests of one operation through, in order, as its limit allows; without a limit, all at once.

    None goes through from `until` on, which `allow` moves.
    """

    def __init__(self, limit: Limit | None, clock: Clock, spaced: bool = False, place: Place = ALONE) -> None:
        self._clock = clock
        self._limit = limit
        self._budget = RateBudget(limit, spaced) if limit is not None else None
        self._open = 0
        self._most_open = math.inf
        self._until = math.inf
        self._turn = Semaphore()
        self._changed = Event()
        self.resize(place)

    def resize(self, place: Place) -> None:
        """From now on this process has this share of the limit."""
        if self._limit is None or self._budget is None:
            return
        self._budget.resize(part(self._limit.requests, place))
        at_once = self._limit.concurrent
        self._most_open = math.inf if at_once is None else part(at_once, place)
        self._changed.set()

    def allow(self, until: float) -> None:
        """Requests may go out until then, and none from then on."""
        self._until = until
        self._changed.set()

    def enter(self) -> float:
        """Wait until one more request may go out, and count it as sent; the time then. `leave` must follow."""
        now, budget = self._clock.now(), self._budget
        if budget is None:
            return now if now < self._until else self._waited()
        if self._open >= self._most_open or now >= self._until or self._turn.locked() or budget.next_at(now) > now:
            now = self._waited()
        budget.take(now)
        self._open += 1
        return now

    def _waited(self) -> float:
        """The time when it is this request's turn."""
        with self._turn:
            while (at := self._next_at(now := self._clock.now())) > now:
                self._changed.clear()
                self._changed.wait(at - now if at < math.inf else None)
        return now

    def _next_at(self, now: float) -> float:
        """When one more request may go out; infinite until one has its answer, the share grows, or `until` moves."""
        if now >= self._until or self._open >= self._most_open:
            return math.inf
        return now if self._budget is None else self._budget.next_at(now)

    def leave(self) -> None:
        """A request has its answer."""
        if self._budget is not None:
            self._open -= 1
            if self._open + 1 >= self._most_open:
                self._changed.set()
