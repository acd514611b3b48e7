"""A day of load in virtual time: nothing drifts, and nothing grows."""

from __future__ import annotations

from collections import deque
from typing import Any

import gevent
import numpy as np
import pytest

from loadtest.protocol.operations import Op
from loadtest.traffic.arrivals import max_in_window
from loadtest.traffic.rate_limit import MARGIN_S
from tests.unit.drive.test_dispatcher import Process
from tests.unit.drive.virtual_clock import VirtualClock

DAY_S = 86_400
NOW = 1_795_000_000.0
"""A time of today: seconds since the epoch as a float have a resolution of 0.2 µs."""
RESOLUTION_S = 1e-6


def sent_in_a_day(load: dict[str, Any], limit: str, users: int) -> tuple[list[float], list[float]]:
    """Return when jobs were meant to be sent, and when they were, in seconds from the start."""
    clock = VirtualClock(NOW - 1.0)
    process = Process(clock, load, keys={"limits": {"runsync": limit}}, starts_at=NOW)
    greenlets = process.start_users(users)
    sizes = list[int]()
    for hour in range(1, 25):
        clock.run(NOW + hour * 3600.0)
        process.jobs.counters.recent_starts(clock.now())
        sizes.append(held(process) + len(clock._waiting))
    clock.run()
    gevent.killall(greenlets)
    assert process.jobs.all_done()
    assert max(sizes[12:]) <= max(sizes[:12]) + users, "the second half of the day holds no more than the first"
    return (
        [sample.intended_at - NOW for sample in process.samples],
        [sample.sent_at - NOW for sample in process.samples if sample.sent_at is not None],
    )


def held(process: Process) -> int:
    """Return how many entries the limiter and the counters of a process keep."""
    owners = [process.limiters[Op.RUNSYNC]._window, process.jobs.counters]
    return sum(
        len(value)
        for owner in owners
        for value in vars(owner).values()
        if isinstance(value, deque | dict) or (isinstance(value, list) and value is not process.jobs.counters._fresh)
    )


def test_open_load_of_a_day_has_no_send_lag_and_keeps_its_limit() -> None:
    load = {"arrivals": "constant", "stages": [{"rate": "6/min", "for": f"{DAY_S}s"}]}
    intended_s, sent_s = sent_in_a_day(load, "3 per 20 s", users=3)
    assert sent_s == pytest.approx(10.0 * np.arange(DAY_S / 10), abs=RESOLUTION_S)
    assert sent_s == intended_s


def test_closed_load_of_a_day_uses_exactly_its_limit() -> None:
    load = {"model": "closed", "stages": [{"users": 2, "for": f"{DAY_S}s"}]}
    _, sent_s = sent_in_a_day(load, "12 per 120 s", users=2)
    assert max_in_window(np.sort(sent_s), 120.0) == 12
    assert len(sent_s) == pytest.approx(12 * DAY_S / (120.0 + MARGIN_S), abs=12)
