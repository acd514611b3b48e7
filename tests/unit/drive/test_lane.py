"""Who enters a lane and when; the clock stands still unless it is moved, and waiting is seen without waiting."""

from __future__ import annotations

import gevent
import pytest
from gevent import Greenlet

from loadtest.drive.lane import Lane
from loadtest.protocol import Limit
from loadtest.traffic.shares import NOWHERE, Place


class StillClock:
    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> float:
        return self.at


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


def entering(lane: Lane) -> Greenlet[[], float]:
    """Somebody who has come as far as the lane lets them, this moment."""
    greenlet: Greenlet[[], float] = gevent.spawn(lane.enter)
    _let_all_go_on()
    return greenlet


def _let_all_go_on() -> None:
    for _ in range(5):
        gevent.sleep(0)


@pytest.mark.parametrize("limit", [None, Limit(1000, 10.0)], ids=["without a limit", "within a limit"])
def test_nobody_enters_from_until_on_before_it_is_moved(limit: Limit | None, clock: StillClock) -> None:
    lane = Lane(limit, clock)
    lane.allow(101.0)
    assert entering(lane).value == 100.0
    clock.at = 101.0
    waiting = [entering(lane) for _ in range(3)]
    lane.allow(100.5)
    _let_all_go_on()
    assert not any(each.ready() for each in waiting)
    lane.allow(102.0)
    _let_all_go_on()
    assert [each.value for each in waiting] == [101.0] * 3


def test_one_without_a_share_enters_when_it_has_one(clock: StillClock) -> None:
    lane = Lane(Limit(10, 10.0), clock, place=NOWHERE)
    waiting = entering(lane)
    assert not waiting.ready()
    lane.resize(Place(1, 2))
    _let_all_go_on()
    assert waiting.value == 100.0


def test_a_place_among_the_concurrent_is_free_when_one_leaves(clock: StillClock) -> None:
    lane = Lane(Limit(1000, 10.0, 2), clock)
    first, second, third = (entering(lane) for _ in range(3))
    assert first.ready()
    assert second.ready()
    assert not third.ready()
    lane.leave()
    _let_all_go_on()
    assert third.value == 100.0
