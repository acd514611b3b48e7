"""The limits of operations: requests wait for the sliding window and for the concurrent limit."""

from __future__ import annotations

import math

from gevent.event import Event
from gevent.lock import Semaphore

from loadtest.clock import SleepingClock
from loadtest.protocol.operations import Limit, Op
from loadtest.scenario.flows import FlowName
from loadtest.scenario.model import Scenario
from loadtest.traffic.limit_shares import WHOLE, Share, share_of
from loadtest.traffic.polling import LongPolls, PollGroup, PollPacer
from loadtest.traffic.rate_limit import MARGIN_S, SlidingWindowLimiter


class OperationLimiter:
    """A limiter of one operation that lets its requests through in order; without a limit, all at once.

    After the lease, which `extend_lease` extends, no request goes through. A request may take long to go out, for one
    if a connection must be opened first: then `postpone` moves its place in the window.
    """

    def __init__(self, limit: Limit | None, clock: SleepingClock, spaced: bool = False, share: Share = WHOLE) -> None:
        self._clock = clock
        self._limit = limit
        self._window = SlidingWindowLimiter(limit, spaced) if limit is not None else None
        self.in_flight = 0
        self._closed = False
        self._max_in_flight = math.inf
        self._lease_until = math.inf
        self._lock = Semaphore()
        self._changed = Event()
        self.set_share(share)

    def __repr__(self) -> str:
        in_flight = f"{self.in_flight} of {self._max_in_flight} in flight" if self._limit is not None else "no limit"
        return f"<OperationLimiter {self._window or ''} {in_flight}, lease until {self._lease_until:.1f}>"

    def set_share(self, share: Share) -> None:
        """Take another share of the limit."""
        if self._limit is None or self._window is None:
            return
        self._window.set_limit(share_of(self._limit.requests, share))
        concurrent = self._limit.concurrent
        self._max_in_flight = math.inf if concurrent is None else share_of(concurrent, share)
        self._changed.set()

    def extend_lease(self, until: float) -> None:
        """Let requests go out until this time, and none after it."""
        if not self._closed:
            self._lease_until = until
            self._changed.set()

    def close(self) -> None:
        """Let no further request go out, not even as a repetition."""
        self.extend_lease(-math.inf)
        self._closed = True

    def acquire(self) -> float:
        """Wait until one more request may go out, count it as sent, and return the time; `release` must follow."""
        now, window = self._clock.now(), self._window
        if window is None:
            now = now if now < self._lease_until else self._wait_for_turn()
            self.in_flight += 1
            return now
        if (
            self.in_flight >= self._max_in_flight
            or now >= self._lease_until
            or self._lock.locked()
            or window.next_at(now) > now
        ):
            now = self._wait_for_turn()
        window.record(now)
        self.in_flight += 1
        return now

    def _wait_for_turn(self) -> float:
        """Wait behind earlier requests, and return the time at which this one may go out."""
        with self._lock:
            while (at := self._next_at(now := self._clock.now())) > now:
                self._changed.clear()
                self._clock.wait(self._changed, at)
        return now

    def _next_at(self, now: float) -> float:
        """Return when one more request may go out; infinite until a response, a larger share or a longer lease."""
        if now >= self._lease_until or self.in_flight >= self._max_in_flight:
            return math.inf
        return now if self._window is None else self._window.next_at(now)

    def postpone(self, acquired_at: float, now: float) -> bool:
        """Return whether an acquired request may still go out now; its place in the window is then now."""
        return now < self._lease_until and (self._window is None or self._window.postpone(acquired_at, now))

    def release(self) -> None:
        """Count a request that has its response, or that did not go out."""
        self.in_flight -= 1
        if self.in_flight + 1 >= self._max_in_flight:
            self._changed.set()


MIN_POLLS_PER_S = 0.1
"""The polling rate of a process without a share, whose polls wait for the share."""


def pacers(scenario: Scenario) -> dict[FlowName, PollPacer]:
    """Return one pacer per flow; flows that poll by the same operation share its limit."""
    groups, long = {Op.STATUS: PollGroup(), Op.STREAM: PollGroup()}, LongPolls()
    return {
        name: PollPacer(flow.polling, math.inf, groups[_polled_by(name)], long)
        for name, flow in scenario.flows.items()
    }


def apply_share(pacers: dict[FlowName, PollPacer], scenario: Scenario, share: Share) -> None:
    """Pace polls within another share of the limits."""
    for flow, pacer in pacers.items():
        limit, held = scenario.limit(_polled_by(flow)), scenario.limit(Op.STATUS_SYNC)
        if limit is not None:
            pacer.polls_per_s = max(share_of(limit.requests, share) / (limit.per_s + MARGIN_S), MIN_POLLS_PER_S)
        if pacer.long is not None and held is not None and held.concurrent is not None:
            pacer.long.max_held = share_of(held.concurrent, share)


def _polled_by(flow: FlowName) -> Op:
    return Op.STREAM if flow == "stream" else Op.STATUS
