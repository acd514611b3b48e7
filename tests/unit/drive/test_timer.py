"""The sleep of the wall clock: in the order of the times and never short; a few milliseconds of real waiting."""

from __future__ import annotations

import gevent
import pytest
from gevent import Greenlet

from loadtest.drive.timer import GeventClock

CLOCK = GeventClock()
STEP_S = 0.001
BEFORE_S = 0.05
"""Long enough for all greenlets to wait before the first is due, even on a busy machine."""
RESOLUTION_S = 1e-6
"""The resolution of seconds since the epoch as a float."""


def waiting(woken: list[float], at: float) -> Greenlet[..., None]:
    """Start a greenlet that waits until `at` and appends it to `woken` then."""

    def wait() -> None:
        CLOCK.sleep_until(at)
        assert CLOCK.now() >= at - RESOLUTION_S
        woken.append(at)

    greenlet: Greenlet[..., None] = gevent.spawn(wait)
    gevent.sleep(0)
    return greenlet


@pytest.mark.parametrize("steps", [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 1, 5, 2, 4]])
def test_greenlets_wake_in_the_order_of_their_times(steps: list[int]) -> None:
    woken: list[float] = []
    began = CLOCK.now()
    times = [began + BEFORE_S + STEP_S * step for step in steps]
    gevent.joinall([waiting(woken, at) for at in times], raise_error=True)
    assert woken == sorted(times)


def test_all_greenlets_that_wait_for_one_time_wake() -> None:
    woken: list[int] = []
    at = CLOCK.now() + 2 * STEP_S

    def wait(number: int) -> None:
        CLOCK.sleep_until(at)
        woken.append(number)

    gevent.joinall([gevent.spawn(wait, number) for number in range(5)], raise_error=True)
    assert sorted(woken) == list(range(5))


def test_sleep_until_a_past_time_returns_at_once() -> None:
    others: list[int] = []
    gevent.spawn(others.append, 1)
    CLOCK.sleep_until(CLOCK.now() - 1.0)
    assert others == []
    gevent.sleep(0)
    assert others == [1]


def test_killed_greenlet_is_not_woken_and_delays_no_other() -> None:
    woken: list[float] = []
    first, second = CLOCK.now() + 2 * STEP_S, CLOCK.now() + 4 * STEP_S
    killed, other = waiting(woken, first), waiting(woken, second)
    killed.kill()
    other.get()
    assert woken == [second]


def test_greenlet_whose_wait_timed_out_can_wait_again() -> None:
    far, near = CLOCK.now() + 3600.0, CLOCK.now() + 4 * STEP_S
    with pytest.raises(gevent.Timeout), gevent.Timeout(STEP_S):
        CLOCK.sleep_until(far)
    CLOCK.sleep_until(near)
    assert near <= CLOCK.now() < far


def test_woken_greenlet_can_wait_for_an_earlier_time_than_the_others() -> None:
    woken: list[float] = []
    began = CLOCK.now()

    def step_by_step() -> None:
        for step in (2, 3, 4):
            CLOCK.sleep_until(began + STEP_S * step)
            woken.append(step)

    last = waiting(woken, began + 8 * STEP_S)
    gevent.spawn(step_by_step)
    last.get()
    assert woken == [2, 3, 4, began + 8 * STEP_S]
