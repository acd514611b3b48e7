"""Rate and concurrency limits, strict: a sliding log of the requests that were let through."""

from __future__ import annotations

import math
from collections import deque

from loadtest.protocol.operations import Limit

CONCURRENCY_WAIT_S = 1.0
"""What a request over the concurrent limit is told to wait: when one will be answered is not known."""


class RateLimiter:
    """Lets requests through so that no interval of `per_s` seconds, half open, holds more than `requests`.

    With `per_worker` the number is the larger of that and running workers × `per_worker`, as it is at each request.
    Requests that are turned away count for nothing.
    """

    def __init__(self, limit: Limit, per_worker: int = 0) -> None:
        self._limit = limit
        self._per_worker = per_worker
        self._let_through: deque[float] = deque()
        self._concurrent = 0

    def admit(self, now: float, running: int = 0) -> float | None:
        """None where the request may pass, and is counted; else the seconds after which it may."""
        limit, log = self._limit, self._let_through
        while log and now >= log[0] + limit.per_s:
            log.popleft()
        allowed = max(limit.requests, running * self._per_worker)
        if len(log) >= allowed:
            return _wait(log[len(log) - allowed] + limit.per_s, now)
        if limit.concurrent is not None and self._concurrent >= limit.concurrent:
            return CONCURRENCY_WAIT_S
        log.append(now)
        self._concurrent += 1
        return None

    def release(self) -> None:
        """A request that was let through has been answered."""
        self._concurrent -= 1


def _wait(until: float, now: float) -> float:
    """Seconds that, added to `now` in floating point, do not fall short of `until`."""
    wait_s = until - now
    while now + wait_s < until:
        wait_s = math.nextafter(wait_s, math.inf)
    return wait_s
