"""One operation under its limit: its requests wait here for the budget and for a place among the concurrent."""

from __future__ import annotations

import math

import gevent
from gevent.event import Event
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
        self._turn = Semaphore()
        self._resized = Event()

    def enter(self) -> None:
        """Wait until one more request may go out, and count it as sent; `leave` must follow."""
        if self._places is not None:
            self._places.acquire()
        if self._budget is None:
            return
        try:
            with self._turn:
                while (at := self._budget.next_at(now := self._clock.now())) > now:
                    self._wait(at - now)
                self._budget.take(now)
        except BaseException:
            self.leave()
            raise

    def _wait(self, wait_s: float) -> None:
        """Wait for a time, or until the share of the limit is another one."""
        self._resized.clear()
        self._resized.wait(wait_s if wait_s < math.inf else None)

    def resize(self, requests: int) -> None:
        """This process may send so many requests in a window from now on."""
        if self._budget is not None:
            self._budget.resize(requests)
            self._resized.set()

    def leave(self) -> None:
        """The request has its answer."""
        if self._places is not None:
            self._places.release()
