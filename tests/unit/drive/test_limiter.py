"""Who enters a lane and when; the clock stands still unless it is moved, and waiting is seen without waiting."""

from __future__ import annotations

import gevent
import pytest
from gevent import Greenlet

from loadtest.drive.limiter import OperationLimiter
from loadtest.protocol.operations import Limit
from loadtest.traffic.limit_shares import NO_SHARE, Share


class StillClock:
    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> float:
        return self.at


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


def entering(limiter: OperationLimiter) -> Greenlet[[], float]:
    """Somebody who has come as far as the lane lets them, this moment."""
    greenlet: Greenlet[[], float] = gevent.spawn(limiter.acquire)
    _let_all_go_on()
    return greenlet


def _let_all_go_on() -> None:
    for _ in range(5):
        gevent.sleep(0)


@pytest.mark.parametrize("limit", [None, Limit(1000, 10.0)], ids=["without a limit", "within a limit"])
def test_nobody_enters_from_until_on_before_it_is_moved(limit: Limit | None, clock: StillClock) -> None:
    limiter = OperationLimiter(limit, clock)
    limiter.extend_lease(101.0)
    assert entering(limiter).value == 100.0
    clock.at = 101.0
    waiting = [entering(limiter) for _ in range(3)]
    limiter.extend_lease(100.5)
    _let_all_go_on()
    assert not any(each.ready() for each in waiting)
    limiter.extend_lease(102.0)
    _let_all_go_on()
    assert [each.value for each in waiting] == [101.0] * 3


def test_one_without_a_share_enters_when_it_has_one(clock: StillClock) -> None:
    limiter = OperationLimiter(Limit(10, 10.0), clock, share=NO_SHARE)
    waiting = entering(limiter)
    assert not waiting.ready()
    limiter.set_share(Share(1, 2))
    _let_all_go_on()
    assert waiting.value == 100.0


def test_a_place_among_the_concurrent_is_free_when_one_leaves(clock: StillClock) -> None:
    limiter = OperationLimiter(Limit(1000, 10.0, 2), clock)
    first, second, third = (entering(limiter) for _ in range(3))
    assert first.ready()
    assert second.ready()
    assert not third.ready()
    limiter.release()
    _let_all_go_on()
    assert third.value == 100.0
