"""Notifications and the waits for them, in virtual time, without a server."""

from __future__ import annotations

import gevent
import pytest

from loadtest.drive.webhook_receiver import EARLY_KEPT_S, MAX_BODY_BYTES, MAX_EARLY_BYTES, Notifications
from loadtest.flows.steps import NO_RESPONSE, Response
from tests.unit.drive.virtual_clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(100.0)


@pytest.fixture
def notifications(clock: VirtualClock) -> Notifications:
    return Notifications(clock)


def notification(at: float, body: bytes = b"{}") -> Response:
    return Response(200, body, at, at)


def test_notification_reaches_a_wait_that_came_before_or_after_it(
    clock: VirtualClock, notifications: Notifications
) -> None:
    waiting = gevent.spawn(notifications.wait_for, "a", 200.0)
    clock.settle()
    notifications.deliver("a", notification(100.0))
    notifications.deliver("b", notification(100.0))
    clock.run()
    assert waiting.value == notification(100.0)
    assert notifications.wait_for("b", 200.0) == notification(100.0)
    assert repr(notifications) == "<Notifications: 0 jobs awaited, 0 early notifications>"


def test_wait_ends_without_a_notification(clock: VirtualClock, notifications: Notifications) -> None:
    waiting = gevent.spawn(notifications.wait_for, "a", 200.0)
    clock.run()
    assert waiting.value is NO_RESPONSE
    assert repr(notifications) == "<Notifications: 0 jobs awaited, 0 early notifications>"


def test_jobs_with_one_id_all_get_its_notification(clock: VirtualClock, notifications: Notifications) -> None:
    waiting = [gevent.spawn(notifications.wait_for, "a", until) for until in (110.0, 200.0, 200.0)]
    clock.run(until=120.0)
    notifications.deliver("a", notification(120.0))
    notifications.deliver("a", notification(120.0))
    clock.run()
    assert [each.value for each in waiting] == [NO_RESPONSE, notification(120.0), notification(120.0)]
    assert repr(notifications) == "<Notifications: 0 jobs awaited, 0 early notifications>"


def test_notification_without_a_wait_is_forgotten_after_a_while(notifications: Notifications) -> None:
    notifications.deliver("a", notification(100.0))
    notifications.deliver("b", notification(100.0 + EARLY_KEPT_S + 1))
    assert repr(notifications) == "<Notifications: 0 jobs awaited, 1 early notifications>"


@pytest.mark.parametrize("size", [0, 1000, 100_000, MAX_BODY_BYTES])
@pytest.mark.parametrize("ids", [1, 10_000_000])
def test_notifications_without_a_wait_take_bounded_memory(notifications: Notifications, size: int, ids: int) -> None:
    body = bytes(size)
    for number in range(min(70_000, 3 * MAX_EARLY_BYTES // (size + 1000) + 2)):
        notifications.deliver(str(number % ids), notification(100.0, body))
    kept = len(notifications._early)
    assert kept * (size + 1000) == notifications._early_bytes <= MAX_EARLY_BYTES
    assert kept <= ids
    assert kept >= 1
