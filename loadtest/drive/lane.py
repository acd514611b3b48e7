"""One operation under its limit: its requests wait here for the budget and for a place among the concurrent."""

from __future__ import annotations

import gevent
from gevent.lock import Semaphore

from loadtest.clock import Clock
from loadtest.protocol import Limit
from loadtest.traffic.budget import RateBudget


def sleep_until(at: float, clock: Clock) -> None:
    """Let others run until this time."""
    wait_s = at - clock.now()
    if wait_s > 0:
        gevent.sleep(wait_s)


class Lane:
    """Lets requests of one operation through, in order, as its limit allows; without a limit, all at once."""

    def __init__(self, limit: Limit | None, clock: Clock, spaced: bool = False) -> None:
        self._clock = clock
        self._budget = RateBudget(limit, spaced) if limit is not None else None
        concurrent = limit.concurrent if limit is not None else None
        self._places = Semaphore(concurrent) if concurrent is not None else None

    def enter(self) -> int:
        """Wait until one more request may go out; its place in the budget, to be told to `sent`."""
        if self._places is not None:
            self._places.acquire()
        if self._budget is None:
            return 0
        try:
            place, at = self._budget.reserve(self._clock.now())
            sleep_until(at, self._clock)
        except BaseException:
            self.leave()
            raise
        return place

    def sent(self, place: int, at: float) -> None:
        """The request goes out at this time."""
        if self._budget is not None:
            self._budget.settle(place, at)

    def leave(self) -> None:
        """The request has its answer."""
        if self._places is not None:
            self._places.release()
