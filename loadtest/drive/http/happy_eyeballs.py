"""Connecting to a host with several addresses: one that does not answer blocks no other (RFC 8305)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any, TypeAlias

from gevent import socket
from gevent.event import Event
from gevent.pool import Group

from loadtest.clock import SleepingClock

ATTEMPT_DELAY_S = 0.25
"""How long an attempt has before the next address is tried as well (RFC 8305, section 8)."""

Address: TypeAlias = tuple[int, tuple[Any, ...]]
"""The family and the address of a socket."""


def alternate_families(addresses: Sequence[Address]) -> list[Address]:
    """Return addresses in their order, each once, but the two families in turn, that of the first address first."""
    addresses = list(dict.fromkeys(addresses))
    first = [each for each in addresses if each[0] == addresses[0][0]]
    other = [each for each in addresses if each[0] != addresses[0][0]]
    return [each for each in chain.from_iterable(zip_longest(first, other)) if each is not None]


def connect(address: Address) -> Any:
    """Return a socket connected to this address. Raises OSError if there is none."""
    family, name = address
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.connect(name)
    except BaseException:
        connected.close()
        raise
    return connected


def connect_first(
    addresses: Sequence[Address], connect: Callable[[Address], Any], clock: SleepingClock
) -> tuple[Address, Any]:
    """Return the first socket that connects, and its address.

    The next address is tried when the one before has failed, or has not connected within ATTEMPT_DELAY_S. Raises the
    OSError of the first address if all fail.
    """
    if len(addresses) == 1:
        return addresses[0], connect(addresses[0])
    connected: list[tuple[Address, Any]] = []
    errors: dict[Address, OSError] = {}
    attempts, changed = Group(), Event()

    def attempt(address: Address) -> None:
        try:
            connected.append((address, connect(address)))
        except OSError as error:
            errors[address] = error
        changed.set()

    try:
        untried = list(addresses)
        while not connected and len(errors) < len(addresses):
            changed.clear()
            if untried:
                attempts.spawn(attempt, untried.pop(0))
            clock.wait(changed, clock.now() + ATTEMPT_DELAY_S if untried else math.inf)
        if not connected:
            raise errors[addresses[0]]
        return connected.pop(0)
    finally:
        attempts.kill()
        for _, late in connected:
            late.close()
