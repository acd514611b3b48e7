from __future__ import annotations

import gevent
from gevent.event import Event

from tests.unit.drive.virtual_clock import VirtualClock


def test_run_jumps_from_wake_up_to_wake_up() -> None:
    clock, woken = VirtualClock(100.0), []

    def sleep_twice(seconds: float) -> None:
        for _ in range(2):
            clock.sleep(seconds)
            woken.append((seconds, clock.now()))

    for seconds in (3600.0, 5.0):
        gevent.spawn(sleep_twice, seconds)
    clock.run(until=106.0)
    assert woken == [(5.0, 105.0)]
    assert repr(clock) == "VirtualClock(now=106, wake-ups at [110.0, 3700.0])"
    clock.run()
    assert woken == [(5.0, 105.0), (5.0, 110.0), (3600.0, 3700.0), (3600.0, 7300.0)]


def test_killed_greenlet_leaves_the_wake_ups() -> None:
    clock = VirtualClock()
    sleeper = gevent.spawn(clock.sleep, 10.0)
    clock.run(until=1.0)
    sleeper.kill()
    clock.run()
    assert clock.now() == 1.0


def test_wait_ends_at_the_event_or_at_its_time() -> None:
    clock, event = VirtualClock(), Event()
    first, second = gevent.spawn(clock.wait, event, 5.0), gevent.spawn(clock.wait, event, 20.0)
    gevent.spawn(lambda: (clock.sleep_until(10.0), event.set()))
    clock.run()
    assert (first.value, second.value) == (False, True)
    assert clock.now() == 10.0


def test_all_greenlets_that_can_run_do_so_before_the_clock_jumps() -> None:
    clock, passed = VirtualClock(), []
    events = [Event() for _ in range(2000)]

    def pass_on(number: int) -> None:
        events[number].wait()
        passed.append(clock.now())
        if number + 1 < len(events):
            events[number + 1].set()

    for number in range(len(events)):
        gevent.spawn(pass_on, number)
    gevent.spawn(clock.sleep, 1.0)
    events[0].set()
    clock.run()
    assert passed == [0.0] * len(events)
