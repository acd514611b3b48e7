"""Who waits until a time wakes then, in the order of the times and not before; a few milliseconds of real waiting."""

from __future__ import annotations

import gevent
import pytest
from gevent import Greenlet

from loadtest.clock import WallClock
from loadtest.drive.timer import sleep_until

CLOCK = WallClock()
STEP_S = 0.001
BEFORE_S = 0.05
"""Long enough that all wait before the first is due, whatever else the machine does."""
RESOLUTION_S = 1e-6
"""Of seconds since the epoch as a float."""


def waiting(woken: list[float], at: float) -> Greenlet[..., None]:
    """Begin to wait, and note the time waited for when it has come."""

    def wait() -> None:
        sleep_until(at, CLOCK)
        assert CLOCK.now() >= at - RESOLUTION_S
        woken.append(at)

    greenlet: Greenlet[..., None] = gevent.spawn(wait)
    gevent.sleep(0)
    return greenlet


@pytest.mark.parametrize("steps", [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 1, 5, 2, 4]])
def test_they_wake_in_the_order_of_their_times(steps: list[int]) -> None:
    woken: list[float] = []
    began = CLOCK.now()
    times = [began + BEFORE_S + STEP_S * step for step in steps]
    gevent.joinall([waiting(woken, at) for at in times], raise_error=True)
    assert woken == sorted(times)


def test_all_who_wait_for_one_time_wake() -> None:
    woken: list[int] = []
    at = CLOCK.now() + 2 * STEP_S

    def wait(number: int) -> None:
        sleep_until(at, CLOCK)
        woken.append(number)

    gevent.joinall([gevent.spawn(wait, number) for number in range(5)], raise_error=True)
    assert sorted(woken) == list(range(5))


def test_a_time_that_has_passed_is_not_waited_for() -> None:
    others: list[int] = []
    gevent.spawn(others.append, 1)
    sleep_until(CLOCK.now() - 1.0, CLOCK)
    assert others == []
    gevent.sleep(0)
    assert others == [1]


def test_one_that_is_killed_holds_nobody_up_and_is_not_woken() -> None:
    woken: list[float] = []
    first, second = CLOCK.now() + 2 * STEP_S, CLOCK.now() + 4 * STEP_S
    killed, other = waiting(woken, first), waiting(woken, second)
    killed.kill()
    other.get()
    assert woken == [second]


def test_one_that_gives_up_may_wait_anew() -> None:
    far, near = CLOCK.now() + 3600.0, CLOCK.now() + 4 * STEP_S
    with pytest.raises(gevent.Timeout), gevent.Timeout(STEP_S):
        sleep_until(far, CLOCK)
    sleep_until(near, CLOCK)
    assert near <= CLOCK.now() < far


def test_whoever_wakes_may_wait_for_an_earlier_time_than_the_others() -> None:
    woken: list[float] = []
    began = CLOCK.now()

    def step_by_step() -> None:
        for step in (2, 3, 4):
            sleep_until(began + STEP_S * step, CLOCK)
            woken.append(step)

    last = waiting(woken, began + 8 * STEP_S)
    gevent.spawn(step_by_step)
    last.get()
    assert woken == [2, 3, 4, began + 8 * STEP_S]
