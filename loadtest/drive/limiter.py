"""One operation under its limit: its requests wait here for the budget and for a place among the concurrent."""

from __future__ import annotations

import math

from gevent.event import Event
from gevent.lock import Semaphore

from loadtest.clock import Clock
from loadtest.protocol.operations import Limit, Op
from loadtest.scenario.flows import FlowName
from loadtest.scenario.model import Scenario
from loadtest.traffic.limit_shares import WHOLE, Share, share_of
from loadtest.traffic.polling import LongPolls, PollGroup, PollPacer
from loadtest.traffic.rate_limit import MARGIN_S, SlidingWindowLimiter


class OperationLimiter:
    """Lets requests of one operation through, in order, as its limit allows; without a limit, all at once.

    None goes through from `until` on, which `allow` moves.
    """

    def __init__(self, limit: Limit | None, clock: Clock, spaced: bool = False, share: Share = WHOLE) -> None:
        self._clock = clock
        self._limit = limit
        self._budget = SlidingWindowLimiter(limit, spaced) if limit is not None else None
        self._in_flight = 0
        self._max_in_flight = math.inf
        self._until = math.inf
        self._lock = Semaphore()
        self._changed = Event()
        self.set_share(share)

    def set_share(self, share: Share) -> None:
        """From now on this process has this share of the limit."""
        if self._limit is None or self._budget is None:
            return
        self._budget.set_limit(share_of(self._limit.requests, share))
        at_once = self._limit.concurrent
        self._max_in_flight = math.inf if at_once is None else share_of(at_once, share)
        self._changed.set()

    def extend_lease(self, until: float) -> None:
        """Requests may go out until then, and none from then on."""
        self._until = until
        self._changed.set()

    def acquire(self) -> float:
        """Wait until one more request may go out, and count it as sent; the time then. `leave` must follow."""
        now, budget = self._clock.now(), self._budget
        if budget is None:
            return now if now < self._until else self._wait_for_turn()
        if (
            self._in_flight >= self._max_in_flight
            or now >= self._until
            or self._lock.locked()
            or budget.next_at(now) > now
        ):
            now = self._wait_for_turn()
        budget.record(now)
        self._in_flight += 1
        return now

    def _wait_for_turn(self) -> float:
        """The time when it is this request's turn."""
        with self._lock:
            while (at := self._next_at(now := self._clock.now())) > now:
                self._changed.clear()
                self._changed.wait(at - now if at < math.inf else None)
        return now

    def _next_at(self, now: float) -> float:
        """When one more request may go out; infinite until one has its answer, the share grows, or `until` moves."""
        if now >= self._until or self._in_flight >= self._max_in_flight:
            return math.inf
        return now if self._budget is None else self._budget.next_at(now)

    def release(self) -> None:
        """A request has its answer."""
        if self._budget is not None:
            self._in_flight -= 1
            if self._in_flight + 1 >= self._max_in_flight:
                self._changed.set()


MIN_POLLS_PER_S = 0.1
"""What a process without a share plans with; its polls wait for the share, not for the plan."""


def pacers(scenario: Scenario) -> dict[FlowName, PollPacer]:
    """A pacer a flow; flows that poll by the same operation share its limit."""
    groups, long = {Op.STATUS: PollGroup(), Op.STREAM: PollGroup()}, LongPolls()
    return {
        name: PollPacer(flow.polling, math.inf, groups[_polled_by(name)], long)
        for name, flow in scenario.flows.items()
    }


def apply_share(pacers: dict[FlowName, PollPacer], scenario: Scenario, share: Share) -> None:
    """From now on the process has this share of the limits."""
    for flow, pacer in pacers.items():
        limit, held = scenario.limit(_polled_by(flow)), scenario.limit(Op.STATUS_SYNC)
        if limit is not None:
            pacer.polls_per_s = max(share_of(limit.requests, share) / (limit.per_s + MARGIN_S), MIN_POLLS_PER_S)
        if pacer.long is not None and held is not None and held.concurrent is not None:
            pacer.long.max_held = share_of(held.concurrent, share)


def _polled_by(flow: FlowName) -> Op:
    return Op.STREAM if flow == "stream" else Op.STATUS
