"""When requests of one operation may go out, in virtual time."""

from __future__ import annotations

import gevent
import numpy as np
import pytest
from gevent import Greenlet

from loadtest.drive.limiter import OperationLimiter
from loadtest.protocol.operations import Limit
from loadtest.traffic.arrivals import max_in_window
from loadtest.traffic.limit_shares import NO_SHARE, Share
from tests.unit.drive.virtual_clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(100.0)


def acquiring(limiter: OperationLimiter, requests: int) -> list[Greenlet[[], float]]:
    return [gevent.spawn(limiter.acquire) for _ in range(requests)]


def passed_at(waiting: list[Greenlet[[], float]]) -> list[float | None]:
    """When each request could go out; None while it waits."""
    return [greenlet.value for greenlet in waiting]


@pytest.mark.parametrize("limit", [None, Limit(1000, 10.0)], ids=["without a limit", "within a limit"])
def test_no_request_goes_out_after_the_lease_until_it_is_extended(limit: Limit | None, clock: VirtualClock) -> None:
    limiter = OperationLimiter(limit, clock)
    limiter.extend_lease(101.0)
    before = acquiring(limiter, 1)
    clock.run(until=101.0)
    assert passed_at(before) == [100.0]
    after = acquiring(limiter, 3)
    limiter.extend_lease(100.5)
    clock.run(until=110.0)
    assert passed_at(after) == [None] * 3
    limiter.extend_lease(120.0)
    clock.run()
    assert passed_at(after) == [110.0] * 3


def test_process_without_a_share_sends_when_it_has_one(clock: VirtualClock) -> None:
    limiter = OperationLimiter(Limit(10, 10.0), clock, share=NO_SHARE)
    waiting = acquiring(limiter, 1)
    clock.run(until=130.0)
    assert passed_at(waiting) == [None]
    limiter.set_share(Share(1, 2))
    clock.run()
    assert passed_at(waiting) == [130.0]


def test_release_lets_the_next_concurrent_request_out(clock: VirtualClock) -> None:
    limiter = OperationLimiter(Limit(1000, 10.0, 2), clock)
    waiting = acquiring(limiter, 3)
    clock.run(until=105.0)
    assert passed_at(waiting) == [100.0, 100.0, None]
    assert "2 of 2 in flight, lease until inf" in repr(limiter)
    limiter.release()
    clock.run()
    assert passed_at(waiting) == [100.0, 100.0, 105.0]


def test_requests_beyond_the_limit_wait_in_order_for_the_next_window(clock: VirtualClock) -> None:
    limiter = OperationLimiter(Limit(5, 10.0), clock)
    waiting = acquiring(limiter, 12)
    clock.run()
    times = [at for at in passed_at(waiting) if at is not None]
    assert times == sorted(times)
    assert len(times) == 12
    assert max_in_window(np.array(times), 10.0) == 5
    assert times[-1] < 121.0
