"""The endpoint's rate and concurrency limits, strict: a sliding log of admitted requests."""

from __future__ import annotations

import math
from collections import deque

from loadtest.protocol.operations import Limit, window_free_at

CONCURRENCY_WAIT_S = 1.0
"""The wait that a request over the concurrency limit is given; when a place becomes free is not known."""


class RateLimiter:
    """Admits requests so that no half-open interval of `per_s` seconds holds more than `requests`.

    With `per_worker` the limit is the larger of `requests` and running workers × `per_worker`, at the time of each
    request. Rejected requests do not count.
    """

    def __init__(self, limit: Limit, per_worker: int = 0) -> None:
        self._limit = limit
        self._per_worker = per_worker
        self._admitted: deque[float] = deque()
        self._concurrent = 0

    def admit(self, now: float, running: int = 0) -> float | None:
        """Count the request and return None; if it is over a limit, return the seconds after which it may come."""
        limit, log = self._limit, self._admitted
        while log and now >= log[0] + limit.per_s:
            log.popleft()
        allowed = max(limit.requests, running * self._per_worker)
        free_at = window_free_at(log, allowed, limit.per_s)
        if free_at > now:
            return _wait(free_at, now)
        if limit.concurrent is not None and self._concurrent >= limit.concurrent:
            return CONCURRENCY_WAIT_S
        log.append(now)
        self._concurrent += 1
        return None

    def release(self) -> None:
        """Count an admitted request as answered."""
        self._concurrent -= 1


def _wait(until: float, now: float) -> float:
    """Return a wait that, added to `now` in floating point, is not before `until`."""
    wait_s = until - now
    while now + wait_s < until:
        wait_s = math.nextafter(wait_s, math.inf)
    return wait_s
